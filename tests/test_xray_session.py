"""The model behind the X-ray widget, without a window: the test is the interface thread."""

import json
import queue
import threading

import numpy as np
import pytest
from PIL import Image as Picture

from data import shared_data
from napari_trifocal.layers import to_layers
from napari_trifocal.reader import get_reader, read_either, read_films, read_frames, read_volumes
from napari_trifocal.xray_export import save
from napari_trifocal.xray_kind import is_film
from napari_trifocal.xray_layers import (
    ERROR,
    FRONTAL_FILM,
    LATERAL_FILM,
    RADIOGRAPH,
    RAYS,
    RECONSTRUCTION,
    SOURCES,
    STD,
    corners_of,
    scene_layers,
    surface_layers,
)
from napari_trifocal.xray_meshes import bone_mesh, lung_mesh, skin_mesh
from napari_trifocal.xray_offers import merged, offer_of
from napari_trifocal.xray_session import XraySession
from napari_trifocal.xray_slot import FRONTAL, INVERT, LATERAL, MIRROR, TURN, Slot, radiograph_of
from radiograph_files import film_dataset
from radiograph_files import save as save_dicom
from trifocal import io
from trifocal.image import Image, ImageError
from trifocal.radiograph import Radiograph
from trifocal.xray.film import Film
from trifocal.xray.films.output import save_films
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import Grid
from trifocal.xray.planning import plan_grid, project_ct
from xray_cases import MARKER_MM, TrunkEngine, trunk


class Bench:
    def __init__(self):
        self.calls = queue.Queue()
        self.engine = TrunkEngine()
        self.session = XraySession(self.calls.put, "cpu", lambda checkpoint, device: self.engine)
        self.session.take(lambda: self.session.arrangement.with_voxels(24))
        self.said = []
        self.session.said.connect(self.said.append)

    def pump(self, until=lambda: False):
        while self.session.busy and not until():
            self.calls.get(timeout=60)()

    def simulate(self, **kwargs):
        self.session.simulate(trunk(), "small trunk", **kwargs)
        self.pump()


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.engine.gate.set()
    made.session.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What `trifocal project` writes for the trunk."""
    path = tmp_path_factory.mktemp("films") / "films"
    ct = trunk()
    geometry = frontal_and_lateral(plan_grid(ct), pixels=96)
    save_films(path, geometry, project_ct(ct, geometry), ct=ct)
    return path


def plain(rows=40, columns=30, **kwargs):
    """A film that says nothing of itself: dark around a bright middle."""
    y, x = np.mgrid[:rows, :columns]
    inside = ((x - 0.4 * columns) / columns) ** 2 + ((y - 0.55 * rows) / rows) ** 2 < 0.1
    return Radiograph(np.where(inside, 3000.0 - y, 100.0).astype(np.float32), name="film.png", **kwargs)


def test_a_ct_is_projected_reconstructed_and_compared_without_any_file(bench):
    bench.simulate(then_reconstruct=True)
    session = bench.session

    assert {side: slot.radiograph.scale for side, slot in session.slots.items()} == {
        FRONTAL: "line integral",
        LATERAL: "line integral",
    }
    assert session.answer.prediction.engine == "known"
    assert session.answer.prediction.ct.affine == pytest.approx(
        session.arrangement.resolved.geometry.grid.affine
    )
    assert session.comparison.truth.name == "small trunk"
    rows = {row[0]: row for row in session.comparison.rows}
    assert set(rows) == {
        "refined", "not refined", "constant", "visual hull", "least squares", "silhouette *"
    }  # fmt: skip
    assert rows["not refined"][3].startswith("100 / 100")  # MAE of a volume that is 100 HU too dense
    assert "[-1000, 1000] HU, range 2000 HU, voxels" in session.comparison.about
    assert session.comparison.after[1]["name"] == ERROR
    assert session.comparison.after[0] == pytest.approx(5.0, abs=0.01)
    assert session.comparison.before[0] == pytest.approx(100.0, abs=0.01)


def test_the_films_see_the_marker_where_the_geometry_says(bench):
    bench.simulate()
    session = bench.session
    point = np.array([10.0, -20.0, 300.0]) + MARKER_MM

    for side in (FRONTAL, LATERAL):
        view = session.arrangement.resolved.view(side)
        row, column = view.project(point).round().astype(int)
        film = session.slots[side].radiograph.pixels
        around = film[row - 12 : row + 13, column - 12 : column + 13]
        assert film[row, column] > np.percentile(around, 90)


def test_a_simulated_geometry_is_exact_until_a_field_is_typed_and_the_rest_stays(bench):
    bench.simulate()
    session = bench.session
    exact = session.arrangement.resolved.geometry
    assert session.arrangement.setup.given is exact
    assert not session.arrangement.resolved.assumptions

    assert session.take(lambda: session.arrangement.typed(FRONTAL, "source_to_detector_mm", 1500.0))

    assert session.arrangement.setup.given is None
    view = session.arrangement.resolved.view(FRONTAL)
    assert view.source_to_detector_mm == pytest.approx(1500.0)
    assert session.arrangement.resolved.view(LATERAL).source_mm == pytest.approx(exact.views[1].source_mm)
    assert view.center_mm == pytest.approx(exact.views[0].center_mm)
    assert view.pixel_mm == pytest.approx(exact.views[0].pixel_mm)
    assert session.arrangement.resolved.geometry.grid == exact.grid


def test_a_source_within_the_volume_is_refused_and_nothing_changes(bench):
    bench.simulate()
    before = bench.session.arrangement.resolved.geometry

    assert not bench.session.take(
        lambda: bench.session.arrangement.typed(FRONTAL, "center_to_detector_mm", 1790.0)
    )
    assert bench.session.arrangement.resolved.geometry is before
    assert bench.said[-1].is_error
    assert "source" in bench.said[-1].text


def test_what_a_film_does_not_say_is_assumed_and_named_until_it_is_typed(bench):
    session = bench.session
    session.place(Slot(plain()), FRONTAL)
    bench.pump()
    assert session.arrangement.resolved.assumed("frontal", "pixel_mm").value == pytest.approx(430 / 40)
    assert session.arrangement.resolved.assumed("frontal", "source_to_detector_mm") is not None

    session.take(lambda: session.arrangement.typed(FRONTAL, "pixel_mm", 9.0))

    assert session.arrangement.resolved.assumed("frontal", "pixel_mm") is None
    assert session.arrangement.resolved.view(FRONTAL).pixel_mm == pytest.approx((9.0, 9.0))
    session.reconstruct()
    bench.pump()
    assert any("frontal source to detector 1800 mm" in doubt for doubt in session.answer.doubts)
    assert any("film.png" in d or "frontal film" in d for d in session.answer.doubts)  # display scale


def test_one_film_alone_is_reconstructed(bench):
    bench.simulate()
    bench.session.clear(LATERAL)
    bench.session.reconstruct()
    bench.pump()

    assert len(bench.engine.seen[-1][0].films) == 1
    names = {look["name"] for _, look, _ in bench.session.answer.scene}
    assert FRONTAL_FILM in names
    assert LATERAL_FILM not in names


def test_files_find_their_slots_with_the_geometry_beside_them(bench, folder):
    bench.session.open([folder / "lateral.dcm", folder / "ap.dcm"])
    bench.pump()
    session = bench.session

    assert session.slots[FRONTAL].radiograph.name == "ap.dcm"
    assert session.slots[LATERAL].radiograph.name == "lateral.dcm"
    assert session.arrangement.setup.given is not None
    assert session.arrangement.resolved.geometry.grid == plan_grid(trunk())
    assert not session.found.left

    session.reconstruct()
    bench.pump()
    assert session.answer.prediction.views[0].residual < 0.02


def test_exchanged_views_are_found_offered_and_exchanged_only_when_asked(bench, folder):
    session = bench.session
    session.open([folder / "lateral.dcm"], FRONTAL)
    bench.pump()
    session.open([folder / "ap.dcm"], LATERAL)
    bench.pump()

    (offer,) = [o for o in session.found.offers if o.words == ("swap",)]
    assert offer.label == "Exchange the views"
    assert "--" not in offer.text
    assert session.slots[FRONTAL].radiograph.name == "lateral.dcm"  # nothing was done
    session.reconstruct()
    bench.pump()
    assert any(doubt.startswith("made in spite of: ") for doubt in session.answer.doubts)

    session.accept(offer)
    bench.pump()
    assert session.slots[FRONTAL].radiograph.name == "ap.dcm"
    assert not session.found.offers


@pytest.mark.parametrize(
    ("sentence", "words", "label", "text"),
    [
        ("it looks mirrored; if it is, use --fix mirror-lateral", ("mirror-lateral",), "Mirror lateral",
         "it looks mirrored"),
        ("it lies on its side: if the picture shows it so, use --fix turn-270-ap or turn-90-ap",
         ("turn-270-ap",), "Turn frontal by 270°", "it lies on its side"),
        ("on its side and mirrored; if it is, use --fix turn-90-ap --fix mirror-ap",
         ("turn-90-ap", "mirror-ap"), "Turn frontal by 90°, mirror frontal", "on its side and mirrored"),
        ("dark is dense, or use --fix invert-ap", ("invert-ap",), "Invert frontal", "dark is dense"),
        ("one is the other: exchange them, or use --fix swap", ("swap",), "Exchange the views",
         "one is the other"),
    ],
)  # fmt: skip
def test_a_sentence_with_a_fix_becomes_a_button(sentence, words, label, text):
    offer = offer_of(sentence)

    assert (offer.words, offer.label, offer.text) == (words, label, text)


def test_what_two_witnesses_offer_is_offered_once_with_what_both_say():
    offers = [offer_of(f"{who} says so; use --fix swap") for who in ("the file", "the network")]

    (offer,) = merged(offers)
    assert offer.text == "the file says so; the network says so"


def test_a_sentence_without_a_fix_is_no_offer():
    assert offer_of("the source is 200 mm from the detector") is None


def test_changes_of_a_film_are_views_of_it_and_come_back(bench):
    session = bench.session
    session.place(Slot(plain()), FRONTAL)
    for what in (MIRROR, INVERT, *[TURN] * 4, MIRROR, INVERT):
        session.change(FRONTAL, what)
    bench.pump()

    assert not session.slots[FRONTAL].fix.record()
    session.change(FRONTAL, TURN)
    assert session.slots[FRONTAL].shape().pixels.shape == (30, 40)
    assert "by you: turn_deg 90" in session.slots[FRONTAL].said()
    bench.pump()


def test_cancel_stops_a_reconstruction_and_the_window_may_close_during_one(bench):
    bench.simulate()
    bench.engine.gate.clear()
    bench.session.reconstruct()
    bench.pump(lambda: bool(bench.engine.seen))
    bench.session.cancel()
    bench.pump()
    assert bench.said[-1].text == "cancelled"
    assert bench.session.answer is None

    bench.session.reconstruct()
    bench.pump(lambda: len(bench.engine.seen) == 2)
    bench.session.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("trifocal-xray")]
    assert bench.session.answer is None


def test_the_result_is_labelled_by_what_was_left_as_it_was_and_saved_with_it(bench, tmp_path):
    bench.simulate(then_reconstruct=True)
    session = bench.session

    save(session.answer, session.truth, session.comparison, tmp_path / "out")

    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["metrics"]["window_hu"] == [-1000.0, 1000.0]
    assert set(summary["metrics"]["baselines"]) == {"constant", "visual_hull", "least_squares"}
    assert "it has only ever seen one trunk" in summary["warnings"]
    ct = io.read(tmp_path / "out" / "ct.nii.gz")
    assert ct.affine == pytest.approx(session.answer.prediction.ct.affine, abs=1e-4)
    assert {"std.nii.gz", "null_space.nii.gz", "geometry_used.json", "panel.png", "provenance.json"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }


def test_simulated_films_are_saved_as_files_that_open_with_their_geometry(bench, tmp_path):
    bench.simulate(then_reconstruct=True)
    session = bench.session
    before = session.arrangement.resolved.geometry
    save(session.answer, session.truth, session.comparison, tmp_path / "out")

    session.open([tmp_path / "out" / "films" / name for name in ("ap.dcm", "lateral.dcm")])
    bench.pump()

    after = session.arrangement.resolved.geometry
    assert after.grid == before.grid
    for one, other in zip(after.views, before.views, strict=True):
        assert one.origin_mm == pytest.approx(other.origin_mm)
    assert not session.found.left


def test_a_truth_that_lies_elsewhere_is_refused_in_a_sentence(bench):
    bench.simulate(then_reconstruct=True)
    bench.session.set_truth(trunk(center_mm=(0.0, 0.0, 2000.0)), "far away")
    bench.pump()

    assert bench.session.comparison is None
    assert bench.said[-1].is_error
    assert "same place" in bench.said[-1].text


def test_a_reconstruction_without_films_says_what_to_do(bench):
    bench.session.reconstruct()
    assert "open an X-ray first" in bench.said[-1].text


def test_the_layers_of_a_reconstruction_lie_in_the_world(bench):
    bench.simulate(then_reconstruct=True)
    layers = {
        look["name"]: (data, look, kind) for data, look, kind in to_layers(bench.session.answer.prediction)
    }

    data, look, kind = layers[RECONSTRUCTION]
    at = np.argwhere(data > 1500).mean(0)
    world = look["affine"][:3, :3] @ at + look["affine"][:3, 3]
    assert world == pytest.approx(np.array([10.0, -20.0, 300.0]) + MARKER_MM, abs=4.0)
    assert kind == "image"
    assert {STD, RAYS, SOURCES, FRONTAL_FILM, LATERAL_FILM} < set(layers)
    vertices, faces, _ = layers[FRONTAL_FILM][0]
    view = bench.session.arrangement.resolved.view(FRONTAL)
    assert (vertices - view.center_mm) @ view.normal == pytest.approx(0.0, abs=1e-2)
    assert len(faces) == 2


def test_the_corners_of_a_detector_are_the_outer_edges_of_its_pixels():
    view = frontal_and_lateral(Grid.cube(200.0, 8), pixels=4).views[0]
    corners = corners_of(view)

    assert np.linalg.norm(corners[1] - corners[0]) == pytest.approx(4 * view.pixel_mm[1])
    assert corners.mean(0) == pytest.approx(view.center_mm)
    assert corners[0, 0] > corners[1, 0]  # the patient's right is on the left of the film
    assert corners[0, 2] > corners[3, 2]


def test_rays_run_from_the_source_to_the_corners():
    geometry = frontal_and_lateral(Grid.cube(200.0, 8), pixels=4)
    films = [Film(view, np.ones((4, 4), np.float32)) for view in geometry.views]
    rays = next(data for data, look, _ in scene_layers(films) if look["name"] == RAYS)

    assert rays.shape == (16, 2, 3)
    assert rays[:4, 0] == pytest.approx(np.tile(geometry.views[0].source_mm, (4, 1)))
    assert rays[:4].sum(1) == pytest.approx(corners_of(geometry.views[0]), abs=1e-3)


def test_surfaces_of_a_trunk_lie_where_its_parts_are_and_an_empty_volume_has_none():
    ct = trunk()
    skin, lung, bone = skin_mesh(ct)[0], lung_mesh(ct)[0], bone_mesh(ct)[0]

    assert np.ptp(skin, axis=0)[:2] == pytest.approx([210, 150], abs=10)
    assert np.ptp(lung, axis=0)[2] == pytest.approx(160, abs=16)
    assert bone[:, 1].min() == pytest.approx(-20 - 48 - 15, abs=6)
    assert not surface_layers(Image(np.full((4, 4, 4), -1000.0, np.float32), np.eye(4), "HU"))


def test_a_colour_layer_becomes_grey_and_a_volume_is_refused():
    colours = np.zeros((6, 5, 3), np.uint8)
    colours[..., 1] = 30
    assert radiograph_of(colours, "photo", rgb=True).pixels == pytest.approx(10.0)
    with pytest.raises(ImageError, match="flat"):
        radiograph_of(np.zeros((3, 4, 5)), "volume")


def test_films_are_told_from_ultrasound_and_volumes_by_their_headers(tmp_path):
    deep, shallow = tmp_path / "deep.tif", tmp_path / "shallow.png"
    Picture.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)).save(deep)
    Picture.fromarray(np.zeros((20, 30), np.uint8)).save(shallow)
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30)
    film = save_dicom(film_dataset(pixels, Modality="DX"), tmp_path / "film.dcm")
    slice_ = save_dicom(film_dataset(pixels, Modality="CT"), tmp_path / "slice.dcm")
    (tmp_path / "broken.tif").write_bytes(b"II*\0broken")

    assert [is_film(p) for p in (deep, film)] == [True, True]
    others = (shallow, slice_, tmp_path / "broken.tif", tmp_path, tmp_path / "nowhere.dcm")
    assert not any(map(is_film, others))
    assert get_reader(str(shallow)) is read_frames
    assert get_reader(str(deep)) is read_either
    assert get_reader(str(tmp_path / "a.nii")) is read_volumes

    layers = read_either([str(film), str(shallow), str(deep)])
    assert [RADIOGRAPH in look["metadata"] for _, look, _ in layers] == [True, True, False]
    (data, look, kind) = read_films(str(film))[0]
    assert data == pytest.approx(pixels)
    assert (look["name"], kind) == ("film.dcm", "image")


def test_the_real_film_reads_into_a_layer_inverted_once_and_its_pixel_is_asked_for(bench):
    path = shared_data("xray/RG1_J2KI.dcm")
    ((data, look, _),) = read_either(str(path))
    assert look["metadata"]["inverted"]

    bench.session.open([path])
    bench.pump()
    slot = bench.session.slots[FRONTAL]
    assert data.shape == slot.radiograph.pixels.shape
    assert any("inverted once" in line for line in slot.said())
    assert bench.session.arrangement.resolved.assumed("frontal", "pixel_mm") is not None
    assert bench.session.arrangement.resolved.view(FRONTAL).source_to_detector_mm == pytest.approx(1996.0)
