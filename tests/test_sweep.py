"""The bowl goes round the head: where it stands, what it finds there, and what is written of it."""

import csv
import json
import subprocess
from dataclasses import replace
from itertools import pairwise

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image as Picture

from heads import shell_ct
from trifocal import io
from trifocal.cli import main
from trifocal.film import write_gif, write_mp4
from trifocal.focus import sweep as sweeping
from trifocal.focus.head import Head
from trifocal.focus.placement import aim, clearance_mm
from trifocal.focus.pose import Pose
from trifocal.focus.predictor import FocusInput, FocusPredictor
from trifocal.focus.sweep import Sweep, across_beam, frames, run_sweep, turned, with_clearance
from trifocal.focus.sweep_output import all_warnings
from trifocal.focus.sweep_scene import Plane
from trifocal.focus.transducer import PRESETS
from trifocal.predictor import Cancelled

BOWL = PRESETS["default"]
CENTRE = (0.0, 0.0, 0.0)
FILES = {"sweep.csv", "sweep.png", "sweep.gif", "sweep.mp4", "provenance.json"}


@pytest.fixture(scope="module")
def head():
    return Head.from_image(shell_ct(radii_mm=(72.0, 66.0, 60.0)))


@pytest.fixture(scope="module")
def inputs(head):
    pose, _ = aim(head, BOWL, [25.0, 20.0, 8.0])
    return FocusInput(head, BOWL, pose, None, 3.0)


@pytest.fixture(scope="module")
def result(inputs):
    sweep = Sweep(centre=CENTRE, steps=7, step_deg=8.0)
    return run_sweep(FocusPredictor("has", device="cpu"), inputs, sweep)


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    path = tmp_path_factory.mktemp("head") / "ct.nii.gz"
    io.write(shell_ct(radii_mm=(72.0, 66.0, 60.0)), path)
    return path


def command(ct, out, *options):
    words = ["--ct", str(ct), "--out", str(out), "--points-per-wavelength", "3", *options]
    return main(["sweep", "focus", *words])


@pytest.mark.parametrize("axis", ["x", "y", "z", (1.0, -2.0, 0.5), None])
def test_turning_is_exact_about_the_axis(inputs, axis):
    sweep = Sweep(axis, steps=9, step_deg=-5.0)
    unit = sweep.axis_for(inputs.pose)
    poses = [turned(inputs.pose, unit, CENTRE, angle) for angle in sweep.angles_deg]

    for before, after in pairwise(poses):
        for a, b in ((before.apex_mm, after.apex_mm), (before.direction, after.direction)):
            across_a, across_b = a - (a @ unit) * unit, b - (b @ unit) * unit
            angle = np.arctan2(np.cross(across_a, across_b) @ unit, across_a @ across_b)
            assert np.rad2deg(angle) == pytest.approx(-5.0, abs=1e-9)
            assert b @ unit == pytest.approx(a @ unit)


def test_the_middle_frame_is_the_given_pose(inputs):
    poses = Sweep(steps=5).poses(inputs)

    assert poses[2] is inputs.pose
    assert Sweep().angles_deg == pytest.approx(np.arange(-17, 18) * 1.6)
    assert Sweep(steps=4, step_deg=2.0).angles_deg == pytest.approx([-3, -1, 1, 3])


def test_the_axis_is_across_the_beam_as_upright_as_that_allows():
    level = Pose.from_apex([100.0, 0, 0], [-1.0, 0, -0.5])
    steep = Pose.from_apex([20.0, 0, 100.0], [-0.2, 0, -1.0])

    for pose in (level, steep):
        assert across_beam(pose) @ pose.direction == pytest.approx(0, abs=1e-12)
    assert across_beam(level) == pytest.approx(np.array([-1, 0, 2]) / np.sqrt(5))
    assert across_beam(steep) == pytest.approx(np.array([5, 0, -1]) / np.sqrt(26))


def test_every_frame_has_the_clearance_of_the_given_pose(inputs, result):
    gaps = [clearance_mm(inputs.head, BOWL, frame.pose) for frame in result.frames]

    assert gaps == pytest.approx([gaps[3]] * 7, abs=0.3)
    assert gaps[3] > 5


def test_a_bowl_of_an_oval_head_follows_its_skin(head, inputs):
    closer = turned(inputs.pose.moved(-15.0), across_beam(inputs.pose), CENTRE, 10.0)

    moved = with_clearance(head, BOWL, closer, 4.0)

    assert clearance_mm(head, BOWL, moved) == pytest.approx(4.0, abs=0.1)
    assert moved.direction == pytest.approx(closer.direction)
    shift = moved.apex_mm - closer.apex_mm
    assert np.cross(shift, closer.direction) == pytest.approx([0, 0, 0], abs=1e-9)


def test_a_bowl_that_beams_past_the_head_stays_where_it_is(head):
    past = Pose.from_apex([0, -120.0, 150.0], [0, 1.0, 0])

    assert with_clearance(head, BOWL, past, 5.0) is past


def test_on_a_sphere_every_frame_is_the_same_and_the_focus_goes_round_with_the_bowl(result):
    found = [frame.prediction.figures for frame in result.frames]
    peaks = np.array([f.peak_pa for f in found])
    focus = np.array([f.focus_mm for f in found])
    angles = np.array([frame.angle_deg for frame in result.frames])

    assert peaks == pytest.approx(peaks.mean(), rel=0.03)
    assert np.array([f.transmission for f in found]) == pytest.approx(found[3].transmission, rel=0.03)
    assert np.linalg.norm(focus, axis=1) == pytest.approx(np.linalg.norm(focus[3]), abs=0.6)
    chord = 2 * np.linalg.norm(focus[3]) * np.abs(np.sin(np.deg2rad(angles) / 2))
    assert sweeping.displacements_mm(result.frames) == pytest.approx(chord, abs=0.6)
    assert sweeping.distances_mm(result.frames) == pytest.approx(chord, abs=0.6)
    unit = result.axis
    flat = focus - np.outer(focus @ unit, unit)
    turns = np.arctan2(np.cross(flat[3], flat) @ unit, flat @ flat[3])
    assert np.rad2deg(turns) == pytest.approx(angles, abs=1.0)


def test_the_distance_is_to_the_target_where_there_is_one(inputs):
    aimed = replace(inputs, target_mm=np.array([25.0, 20.0, 8.0]))
    sweep = Sweep("z", "target", steps=3, step_deg=20.0)
    made = tuple(frames(FocusPredictor("free-field", device="cpu"), aimed, sweep))

    # in water, turned about its own geometric focus, the bowl goes on focusing there
    expected = [np.linalg.norm(frame.focus_mm - aimed.target_mm) for frame in made]
    assert sweeping.distances_mm(made) == pytest.approx(expected)
    assert max(expected) < 8
    with pytest.raises(ValueError, match="needs a target"):
        sweep.poses(inputs)


def test_frames_that_do_not_couple_say_so(inputs):
    far = Sweep("z", (0.0, 150.0, 0.0), steps=3, step_deg=90.0)
    made = tuple(frames(FocusPredictor("free-field", device="cpu"), inputs, far))

    assert "past the head" in made[0].prediction.warnings[0]
    assert not made[1].prediction.warnings
    assert any("past the head" in w and "deg" in w for w in all_warnings(made))


def test_warnings_that_differ_in_numbers_only_are_said_once(inputs):
    made = frames(FocusPredictor("free-field", device="cpu"), inputs, Sweep("z", steps=3, step_deg=5.0))
    told = [
        replace(frame, prediction=replace(frame.prediction, warnings=(f"bone of 3.{i} mm",)))
        for i, frame in enumerate(made)
    ]
    assert all_warnings(told) == ["bone of 3.0 mm"]
    assert all_warnings([*told, replace(told[0], prediction=replace(told[0].prediction, warnings=()))]) == [
        "bone of 3.0 mm (in 3 frames, first at -5.0 deg)"
    ]


def test_a_cancelled_sweep_keeps_its_finished_frames(inputs):
    made, said = [], []

    def progress(fraction, what):
        said.append((fraction, what))
        if len(made) == 2:
            raise Cancelled

    predictor, sweep = FocusPredictor("free-field", device="cpu"), Sweep(steps=5)
    with pytest.raises(Cancelled):
        for frame in frames(predictor, inputs, sweep, progress=progress):
            made.append(frame)
    fractions = [fraction for fraction, _ in said]

    assert [frame.angle_deg for frame in made] == pytest.approx([-3.2, -1.6])
    assert fractions == sorted(fractions)
    assert said[-1] == (pytest.approx(0.4), "frame 3 of 5")
    assert sweeping.displacements_mm(tuple(made))[-1] == 0


def test_a_sweep_of_large_boxes_keeps_the_focal_regions(inputs, monkeypatch):
    predictor, sweep = FocusPredictor("has", device="cpu"), Sweep(steps=2)
    whole = tuple(frames(predictor, inputs, sweep))
    monkeypatch.setattr(sweeping, "MOST_BYTES", 2**20)
    small = tuple(frames(predictor, inputs, sweep))

    for a, b in zip(whole, small, strict=True):
        assert b.nbytes < 0.7 * a.nbytes
        assert b.prediction.figures == a.prediction.figures
        inside = b.prediction.pressure.index_to_world([3, 3, 3])
        assert a.prediction.pressure.sample(inside) == pytest.approx(b.prediction.pressure.array[3, 3, 3])
        placed = b.pose.matrix @ b.prediction.box.affine
        assert placed == pytest.approx(b.prediction.pressure.affine)
        assert b.prediction.pressure.array.max() == pytest.approx(
            np.where(a.prediction.region, a.prediction.pressure.array, 0).max(), rel=0.5
        )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"axis": "up"}, "axis of a sweep must be one of"),
        ({"axis": (0.0, 0.0, 0.0)}, "not all zero"),
        ({"axis": (0.0, float("nan"), 1.0)}, "three numbers"),
        ({"centre": "nose"}, "centre of a sweep must be one of"),
        ({"centre": (1.0, 2.0)}, "three numbers"),
        ({"steps": 1}, "must be 2 to 1000, got 1"),
        ({"step_deg": 0.0}, "more than 0 degrees"),
        ({"steps": 100, "step_deg": 4.0}, "360 together"),
    ],
)
def test_what_is_no_sweep_is_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Sweep(**options)


@pytest.mark.parametrize(("axis", "labels"), [("z", "LRPA"), ("y", "LRIS"), ("x", "PAIS")])
def test_the_plane_of_a_sweep_holds_its_beams_and_is_not_mirrored(result, axis, labels):
    unit = np.array(sweeping.AXES[axis])
    plane = Plane.of(replace(result, axis=unit))

    assert "".join(plane.labels) == labels
    assert plane.axes @ unit == pytest.approx([0, 0])
    assert plane.points_mm @ unit == pytest.approx(result.inputs.pose.to_world([0, 0, 63.2]) @ unit)
    assert (plane.points_mm @ plane.axes.T)[0, 0] == pytest.approx([plane.extent[0], plane.extent[2]])


def test_the_command_writes_the_figures_of_every_frame_and_films_that_can_be_read(ct, head, tmp_path, capsys):
    out = tmp_path / "result"
    options = "--target 25,20,8 --steps 5 --step-deg 4 --axis 0,0,2 --centre target --engine has"
    assert command(ct, out, *options.split()) == 0

    pose, _ = aim(head, BOWL, [25.0, 20.0, 8.0])
    same = FocusInput(head, BOWL, pose, np.array([25.0, 20.0, 8.0]), 3.0)
    sweep = Sweep("z", "target", 5, 4.0)
    expected = run_sweep(FocusPredictor("has", device="auto"), same, sweep)
    with (out / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {p.name for p in out.iterdir()} == FILES
    assert [float(row["angle_deg"]) for row in rows] == [-8, -4, 0, 4, 8]
    for row, frame in zip(rows, expected.frames, strict=True):
        figures = frame.prediction.figures
        assert [float(row[f"focus_{a}_mm"]) for a in "xyz"] == pytest.approx(figures.focus_mm, abs=1e-3)
        assert [float(row[f"apex_{a}_mm"]) for a in "xyz"] == pytest.approx(frame.pose.apex_mm, abs=1e-3)
        assert float(row["distance_to_target_mm"]) == pytest.approx(figures.distance_to_target_mm, abs=1e-3)
        assert float(row["peak_pa"]) == pytest.approx(figures.peak_pa, rel=1e-3)
        assert float(row["transmission"]) == pytest.approx(figures.transmission, rel=1e-3)
        assert (float(row["length_6db_mm"]), float(row["width_6db_mm"])) == pytest.approx(figures.fwhm_mm)
    assert float(rows[2]["displacement_mm"]) == 0
    with Picture.open(out / "sweep.gif") as film:
        assert film.n_frames == 5
        assert film.info["loop"] == 0
    assert imageio_ffmpeg.count_frames_and_secs(str(out / "sweep.mp4"))[0] == 5
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["parameters"]["sweep"]["centre_mm"] == [25, 20, 8]
    assert provenance["parameters"]["sweep"]["axis"] == [0, 0, 1]
    assert set(provenance["outputs"]) == FILES - {"provenance.json"}
    assert "5 frames from -8.0 to +8.0 deg" in capsys.readouterr().out


def test_an_interrupted_command_leaves_nothing(ct, tmp_path, capsys, monkeypatch):
    calls = []
    predict = FocusPredictor.predict

    def interrupted(self, inputs, /, *, progress):
        calls.append(inputs)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return predict(self, inputs, progress=progress)

    monkeypatch.setattr(FocusPredictor, "predict", interrupted)
    assert command(ct, tmp_path / "out", "--target", "25,20,8", "--engine", "free-field") == 130
    assert len(calls) == 3
    assert "nothing was written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--axis", "up"), "--axis must be three numbers"),
        (("--axis", "0,0,0"), "not all zero"),
        (("--centre", "nose"), "--centre must be three numbers"),
        (("--steps", "1"), "must be 2 to 1000"),
    ],
)
def test_what_the_command_cannot_do_is_one_sentence(ct, tmp_path, capsys, options, sentence):
    assert command(ct, tmp_path / "out", "--target", "25,20,8", *options) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_sweep_about_no_target_is_refused(ct, tmp_path, capsys, inputs):
    inputs.pose.to_json(tmp_path / "pose.json")
    options = ("--pose", str(tmp_path / "pose.json"), "--centre", "target", "--engine", "has")
    assert command(ct, tmp_path / "out", *options) == 2
    assert "needs a target" in capsys.readouterr().err


def striped(count, shape=(41, 63)):
    """Pictures with a red line that moves over a grey slope."""
    slope = np.repeat(np.linspace(0, 255, shape[1]).astype(np.uint8)[None, :, None], shape[0], axis=0)
    pictures = [np.repeat(slope, 3, axis=2) for _ in range(count)]
    for i, picture in enumerate(pictures):
        picture[4 * i : 4 * i + 3] = (255, 0, 0)
    return pictures


def test_a_gif_keeps_thin_colours_and_every_picture(tmp_path):
    write_gif(tmp_path / "film.gif", striped(6))

    with Picture.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 6
        for i in (0, 5):
            film.seek(i)
            got = np.asarray(film.convert("RGB")).astype(int)
            assert np.abs(got - striped(6)[i]).max() < 40


def test_an_mp4_of_odd_size_is_cut_to_what_players_know(tmp_path):
    write_mp4(tmp_path / "film.mp4", striped(6))

    decode = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(tmp_path / "film.mp4")]
    decode += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    decoded = subprocess.run(decode, capture_output=True, check=True)
    pictures = np.frombuffer(decoded.stdout, np.uint8).reshape(-1, 40, 62, 3)
    stream = next(line for line in decoded.stderr.decode().splitlines() if "Video: h264" in line)
    assert "yuv420p" in stream
    assert "62x40" in stream
    assert len(pictures) == 6
    assert pictures[2][9].mean(0) == pytest.approx([255, 0, 0], abs=40)


@pytest.mark.parametrize("write", [write_gif, write_mp4])
def test_pictures_that_make_no_film_are_refused(tmp_path, write):
    with pytest.raises(ValueError, match="at least one picture"):
        write(tmp_path / "film", [])
    with pytest.raises(ValueError, match="of one size"):
        write(tmp_path / "film", [*striped(1), *striped(1, (50, 50))])
    with pytest.raises(OSError, match="film"):
        write(tmp_path / "no folder" / "film", striped(2))
