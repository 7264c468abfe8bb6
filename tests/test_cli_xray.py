"""`trifocal project` and `trifocal predict xray` as a user runs them, with good films and bad ones."""

from __future__ import annotations

import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import numpy as np
import pytest
from PIL import Image as Picture

from radiograph_files import film_dataset, save
from trifocal import io
from trifocal.cli import main
from trifocal.cli.xray import PredictXray
from trifocal.image import Image
from trifocal.predictor import Cancelled
from trifocal.xray.predictor import XrayPredictor

KEYS = {"window_hu", "spacing_mm", "psnr_db", "ssim", "mae_hu", "body_psnr_db", "body_mae_hu"}


def chest():
    """A small trunk in HU: two unlike lungs, a spine at the back, a heart on the left."""
    x, y, z = np.meshgrid(*(np.linspace(-150, 150, 30),) * 3, indexing="ij")
    hu = np.where((x / 135) ** 2 + (y / 95) ** 2 < 1, 20, -1000)
    for side, height in ((1, 10), (-1, 30)):
        lung = ((x - 65 * side) / 42) ** 2 + (y / 65) ** 2 + ((z - height) / 95) ** 2 < 1
        hu = np.where(lung, -820, hu)
    hu = np.where(((x + 30) / 40) ** 2 + ((y - 25) / 35) ** 2 + ((z + 30) / 45) ** 2 < 1, 40, hu)
    hu = np.where((np.abs(x) < 15) & (np.abs(y + 70) < 15), 500, hu)
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    affine[:3, 3] = -145
    return Image(hu.astype(np.int16), affine, "HU")


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    io.write(chest(), folder / "ct.nii.gz")
    for form in ("dicom", "tiff"):
        assert project(folder / "ct.nii.gz", "--out", folder / form, "--format", form) == 0
    return folder


def project(*words):
    return main(["project", *map(str, words), "--voxels", "20", "--pixels", "80"])


def predict(*words):
    return main(["predict", "xray", "--checkpoint", "least-squares", "--refine", "2", *map(str, words)])


def pair(folder):
    return "--ap", next(folder.glob("ap.*")), "--lateral", next(folder.glob("lateral.*"))


def prepared(folder, **options):
    paths = {name: next(folder.glob(f"{name}.*")) for name in ("ap", "lateral")}
    return PredictXray(**paths, out=folder, **options).prepare()


def refused(capsys, tmp_path, *words):
    """The one sentence with which a command refuses; nothing is left behind."""
    assert predict(*words, "--out", tmp_path / "refused") == 2
    assert not (tmp_path / "refused").exists()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.fixture(scope="module")
def result(films, tmp_path_factory):
    """The folder of a prediction with a truth, and what was printed."""
    out = tmp_path_factory.mktemp("result")
    printed, warned = StringIO(), StringIO()
    with redirect_stdout(printed), redirect_stderr(warned):
        assert predict(*pair(films / "dicom"), "--out", out, "--truth", films / "ct.nii.gz") == 0
    return out, printed.getvalue(), warned.getvalue()


def test_a_prediction_writes_its_volume_its_doubts_and_its_figures(result):
    out, printed, warned = result
    assert "range 2000" in printed
    assert not warned
    assert {path.name for path in out.iterdir()} == {
        *("ct.nii.gz", "null_space.nii.gz", "truth.nii.gz", "error.nii.gz", "summary.json", "panel.png"),
        *("residual_ap.tif", "residual_ap.png", "residual_lateral.tif", "residual_lateral.png"),
        *("geometry_used.json", "provenance.json"),
    }


def test_films_of_a_ct_reconstruct_it_better_than_a_constant(result):
    metrics = json.loads((result[0] / "summary.json").read_text())["metrics"]
    baselines = metrics["baselines"]
    assert set(baselines) == {"constant", "visual_hull", "least_squares"}
    for row in (metrics, metrics["oracle_silhouette"], *baselines.values()):
        assert set(row) >= KEYS
        assert row["window_hu"] == [-1000, 1000]
    assert metrics["psnr_db"] > baselines["constant"]["psnr_db"] + 1
    assert metrics["mae_hu"] < baselines["constant"]["mae_hu"]


def test_the_volume_lies_where_the_ct_lies(result):
    ct, truth, error = (io.read(result[0] / f"{name}.nii.gz") for name in ("ct", "truth", "error"))
    np.testing.assert_allclose(ct.affine, truth.affine)
    np.testing.assert_allclose(ct.bounds_mm.mean(0), chest().bounds_mm.mean(0), atol=1e-6)
    np.testing.assert_allclose(error.array, ct.array - truth.array, atol=1e-3)
    spine, lung = ct.sample([[0, -70, 0], [65, 0, 10]])
    assert spine > lung + 200
    with Picture.open(result[0] / "residual_ap.tif") as residual:
        assert np.abs(np.asarray(residual)).mean() < 0.1


def test_everything_that_went_in_is_recorded(result):
    record = json.loads((result[0] / "provenance.json").read_text())
    assert record["engine"]["name"] == "xray/least-squares"
    film = record["parameters"]["films"]["frontal"]
    assert film["name"] == "ap.dcm"
    assert len(film["sha256"]) == 64
    assert film["source_to_detector_mm"] == 1800.0
    assert len(record["outputs"]["ct.nii.gz"]["sha256"]) == 64
    assert record["parameters"]["geometry"]["grid"]["shape"] == [20, 20, 20]


def test_dicom_and_tiff_films_are_the_same(films):
    one, other = (prepared(films / form).inputs.films for form in ("dicom", "tiff"))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a.line_integrals, b.line_integrals, atol=1e-3)
        assert a.view.record() == b.view.record()


def test_one_film_alone_is_reconstructed_and_its_uncertainty_stated(films, tmp_path, capsys):
    assert predict("--lateral", films / "dicom" / "lateral.dcm", "--out", tmp_path, "--json") == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert [view["name"] for view in summary["views"]] == ["LATERAL"]
    assert any("alone" in warning for warning in summary["warnings"])
    assert "alone" in printed.err


def test_noise_and_scatter_are_in_the_films_and_their_size_is_known(films, tmp_path):
    ct = films / "ct.nii.gz"
    assert project(ct, "--out", tmp_path, "--photons", "2000", "--scatter", "0.2", "--frontal", "PA") == 0
    clean, noisy = (io.read_radiograph(p) for p in (films / "dicom" / "ap.dcm", tmp_path / "pa.dcm"))
    assert noisy.position == "PA"
    assert 0.02 < noisy.notes["expected_error"] < 0.5
    assert noisy.pixels.max() < clean.pixels.max()  # scatter lightens what is dense


def test_a_film_on_its_side_is_mended_by_the_fix(films, tmp_path):
    film = io.read_radiograph(films / "dicom" / "ap.dcm")
    io.write_film(tmp_path / "ap.tif", np.rot90(film.pixels, -1), pixel_mm=film.pixel_mm, position="AP")
    for name in ("lateral.dcm", "geometry.json"):
        shutil.copy(films / "dicom" / name, tmp_path)
    assert prepared(tmp_path).warnings
    mended = prepared(tmp_path, fix=("turn-90-ap",))
    assert not mended.warnings
    np.testing.assert_allclose(mended.inputs.films[0].line_integrals, film.pixels, atol=2e-3)


def test_films_given_as_each_other_are_noticed_and_never_exchanged_unasked(films):
    ap, lateral = (films / "dicom" / f"{name}.dcm" for name in ("ap", "lateral"))
    wrong = {"ap": lateral, "lateral": ap, "out": films}
    noticed = PredictXray(**wrong).prepare()
    assert any("--fix swap" in warning for warning in noticed.warnings)
    assert noticed.radiographs["frontal"].name == "lateral.dcm"
    mended = PredictXray(**wrong, fix=("swap",)).prepare()
    assert mended.radiographs["frontal"].name == "ap.dcm"
    assert not mended.warnings


def grey(films, name="ap"):
    pixels = io.read_radiograph(films / "dicom" / f"{name}.dcm").pixels
    return np.rint(np.kron(pixels, np.ones((2, 2))) * 40).clip(0, 255).astype(np.uint8)


def test_pictures_of_8_bits_are_used_with_everything_assumed_said(films, tmp_path):
    for name in ("ap", "lateral"):
        Picture.fromarray(grey(films, name)).save(tmp_path / f"{name}.png")
    ready = prepared(tmp_path)
    said = " ".join(ready.warnings)
    for word in ("assumed pixel_mm", "assumed source_to_detector_mm", "260 mm of water", "300 mm of water"):
        assert word in said
    assert {a.field for a in ready.assumptions} >= {"pixel_mm", "source_to_detector_mm", "edge_mm"}
    assert all(film.relative_error >= 0.05 for film in ready.inputs.films)


def test_what_the_user_says_of_the_geometry_is_not_assumed(films, tmp_path):
    Picture.fromarray(grey(films)).save(tmp_path / "ap.png")
    known = {"pixel_mm": 2.4, "source_to_detector_mm": 1500.0, "center_to_detector_mm": 200.0}
    ready = PredictXray(ap=tmp_path / "ap.png", out=tmp_path, **known).prepare()
    assert not {a.field for a in ready.assumptions} & set(known)
    view = ready.geometry.views[0]
    assert view.source_to_detector_mm == pytest.approx(1500)
    assert view.pixel_mm == pytest.approx((2.4, 2.4), rel=1e-6)


def test_a_dicom_film_without_a_distance_is_used_with_one_assumed(films, tmp_path):
    film = save(film_dataset(grey(films).astype(np.uint16), ViewPosition="PA"), tmp_path / "film.dcm")
    assert any("1.8 m is usual" in w for w in PredictXray(ap=film, out=tmp_path).prepare().warnings)


def test_an_inverted_film_is_said_to_look_so(films, tmp_path):
    Picture.fromarray(255 - grey(films)).save(tmp_path / "ap.png")
    ready = PredictXray(ap=tmp_path / "ap.png", out=tmp_path).prepare()
    assert any("--fix invert-ap" in warning for warning in ready.warnings)


def test_one_view_twice_is_refused(films, tmp_path, capsys):
    film = films / "dicom" / "ap.dcm"
    assert "same picture" in refused(capsys, tmp_path, "--ap", film, "--lateral", film)


def test_films_of_patients_of_different_sizes_are_noticed(films, tmp_path, capsys):
    ct = chest()
    io.write(Image(ct.array[:, :, 4:-12], ct.affine, "HU"), tmp_path / "short.nii.gz")
    assert project(tmp_path / "short.nii.gz", "--out", tmp_path / "short") == 0
    ap, lateral = films / "dicom" / "ap.dcm", tmp_path / "short" / "lateral.dcm"
    capsys.readouterr()
    assert "different geometry.json" in refused(capsys, tmp_path, "--ap", ap, "--lateral", lateral)
    geometry = films / "dicom" / "geometry.json"
    ready = PredictXray(ap=ap, lateral=lateral, geometry=geometry, out=tmp_path).prepare()
    assert any("do not fit together" in warning for warning in ready.warnings)


def test_a_film_larger_than_the_detector_of_its_geometry_is_noticed(films, tmp_path):
    film = io.read_radiograph(films / "dicom" / "ap.dcm")
    io.write_film(tmp_path / "ap.dcm", film.pixels, pixel_mm=(6.0, 6.0), position="AP")
    ready = PredictXray(
        ap=tmp_path / "ap.dcm", geometry=films / "dicom" / "geometry.json", out=tmp_path
    ).prepare()
    assert any("check that the geometry belongs to this film" in warning for warning in ready.warnings)


def test_a_colour_photograph_and_an_empty_film_are_refused(films, tmp_path, capsys):
    colours = np.zeros((40, 40, 3), np.uint8)
    colours[:20, :, 0] = 200
    Picture.fromarray(colours).save(tmp_path / "photo.png")
    assert "picture with colours" in refused(capsys, tmp_path, "--ap", tmp_path / "photo.png")
    Picture.fromarray(np.full((40, 40), 9, np.uint8)).save(tmp_path / "empty.png")
    assert "the film is empty" in refused(capsys, tmp_path, "--ap", tmp_path / "empty.png")


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (("views", 0, "source_mm", 1), float("nan"), "finite"),
        (("views", 0, "source_mm"), [0.0, 100.0, 0.0], "outside"),
        (("views", 0, "u_mm"), [0.0, 0.0, 0.0], "plane"),
        (("grid", "spacing_mm", 0), 0.0, "positive"),
        (("energy_kev",), 1.0, "energy"),
        (("views",), [], "view"),
    ],
)
def test_an_impossible_geometry_is_refused(films, tmp_path, capsys, path, value, why):
    record = json.loads((films / "dicom" / "geometry.json").read_text())
    place = record
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (tmp_path / "g.json").write_text(json.dumps(record))
    assert why in refused(capsys, tmp_path, *pair(films / "dicom"), "--geometry", tmp_path / "g.json")


def test_a_source_within_the_ct_is_refused(films, tmp_path, capsys):
    words = (films / "ct.nii.gz", "--out", tmp_path / "out", "--source-to-detector-mm", "300")
    assert project(*words) == 2
    assert "outside the volume" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_wrong_words_are_refused_with_one_sentence(films, tmp_path, capsys):
    both = pair(films / "dicom")
    assert "--ap FILM" in refused(capsys, tmp_path)
    assert "--fix must be of" in refused(capsys, tmp_path, *both, "--fix", "rotate")
    assert "leave out --source-to-detector-mm" in refused(capsys, tmp_path, *both, "--pixel-mm", "1")
    assert "no geometry file" in refused(capsys, tmp_path, *both, "--geometry", tmp_path / "none.json")
    assert "check the path" in refused(capsys, tmp_path, "--ap", tmp_path / "none.dcm")
    assert "--voxels must be within" in _project_error(capsys, films, tmp_path, "--voxels", "9999")


def _project_error(capsys, films, tmp_path, *words):
    assert main(["project", str(films / "ct.nii.gz"), "--out", str(tmp_path / "out"), *words]) == 2
    return capsys.readouterr().err


def test_a_truth_that_lies_elsewhere_is_refused(films, tmp_path, capsys):
    affine = chest().affine.copy()
    affine[0, 3] += 1000
    io.write(Image(chest().array, affine, "HU"), tmp_path / "far.nii.gz")
    words = (*pair(films / "dicom"), "--truth", tmp_path / "far.nii.gz")
    assert "must lie in the same place" in refused(capsys, tmp_path, *words)


def test_nothing_is_written_when_it_is_interrupted(films, tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise Cancelled

    monkeypatch.setattr(XrayPredictor, "predict", stop)
    assert predict(*pair(films / "dicom"), "--out", tmp_path / "out") == 130
    assert "nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
