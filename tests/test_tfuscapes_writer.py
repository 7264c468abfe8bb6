from __future__ import annotations

import json
import shutil
from dataclasses import replace
from math import dist
from pathlib import Path

import numpy as np
import pytest

from small_cases import shell_jobs
from trifocal.cli import main
from trifocal.focus.analysis import beyond_near_skull
from trifocal.focus.box import Box
from trifocal.focus.cases import Case, HeadSource
from trifocal.focus.data import simulate, split_of
from trifocal.focus.pose import Pose
from trifocal.focus.predictor import FocusPredictor, water_peak_pa
from trifocal.focus.tfuscapes import DataSet, SampleFacts, bowl_of
from trifocal.focus.tfuscapes.cube import OFFSET_MM, Cube, CubeSpec, to_box, to_cube
from trifocal.focus.tfuscapes.writer import write_data_set
from trifocal.focus.transducer import Bowl
from trifocal.predictor import Cancelled, one_core, silent

SPECS = {"world": CubeSpec("world", 40, 1.5), "bowl": CubeSpec("bowl", 40, 1.5)}


@pytest.fixture(scope="module", autouse=True)
def _one_core():
    with one_core():
        yield


@pytest.fixture(scope="module", autouse=True)
def _heads_once():
    """Heads are prepared once: what is tested is what is made of them."""
    load, known = HeadSource.load, {}

    def once(self):
        if self not in known:
            known[self] = load(self)
        return known[self]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HeadSource, "load", once)
        yield


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    return shell_jobs(tmp_path_factory.mktemp("heads"), train=2, val=1)


@pytest.fixture(scope="module")
def cts(jobs):
    return [job.source.head for job in jobs]


@pytest.fixture(scope="module")
def cases(jobs, tmp_path_factory):
    """Six cases on three heads."""
    folder = tmp_path_factory.mktemp("cases")
    simulate(jobs, folder, processes=1, device="cpu", progress=silent)
    return folder


@pytest.fixture(scope="module")
def both(cases, cts, tmp_path_factory):
    """A data set of each frame that nothing disturbed."""
    found = {}
    for frame, spec in SPECS.items():
        found[frame] = tmp_path_factory.mktemp("cubes") / frame
        result = write_data_set([cases], found[frame], spec, cts=cts, has=True)
        assert (result.written, result.kept, result.failures) == (6, 0, {})
    return found


@pytest.fixture(params=["world", "bowl"])
def whole(request, both):
    """The two of them, with their frames."""
    return both[request.param], request.param


@pytest.fixture
def copy(both, tmp_path):
    return Path(shutil.copytree(both["bowl"], tmp_path / "copy"))


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def boxed(case):
    return Box.around(case.bowl, 6.0), Pose(case.inputs["pose"]["matrix"])


# ------------------------------------------------------------------------------------------------- content


def test_heads_are_on_the_sides_that_training_puts_them_on(whole, jobs):
    for job in jobs:
        head_id = job.specs()[0].head_id
        names = DataSet.open(whole[0], split_of(head_id)).of_subject(head_id)
        assert names == (f"{head_id}/exp_0.npz", f"{head_id}/exp_1.npz")
    assert len(DataSet.open(whole[0])) == 6


def test_the_cube_shows_head_and_field_where_they_are_in_the_world(whole, cases, jobs):
    out, frame = whole
    data = DataSet.open(out)
    head = jobs[0].source.load()
    for name in data.of_subject(jobs[0].specs()[0].head_id):
        sample = data.load(name)
        case = Case.load(cases / sample.facts.case)
        assert sample.facts.bowl == case.bowl
        assert (sample.spacing_mm, sample.facts.frame) == (1.5, frame)
        box, pose = boxed(case)
        np.testing.assert_array_equal(sample.facts.pose.matrix, pose.matrix)
        back = to_box(np.asarray(sample.ct), sample.affine, box, pose)
        placed = FocusPredictor("free-field").predict(job_inputs(jobs[0], sample.facts.case, head)).hu
        assert np.corrcoef(back.ravel(), placed.ravel())[0, 1] > 0.97
        unit = water_peak_pa(case.bowl)
        assert sample.facts.water_peak_pa == pytest.approx(unit)
        again = to_box(np.asarray(sample.pressure), sample.affine, box, pose) / unit
        inner = (slice(2, -2), slice(2, -2), slice(2, -2))
        assert np.corrcoef(again[inner].ravel(), case.pressure[inner].ravel().astype(float))[0, 1] > 0.95
        assert sample.ct.max() > 800
        assert abs(sample.ct[sample.transducer[0, 0], sample.transducer[0, 1], sample.transducer[0, 2]]) < 1


def job_inputs(job, case, head):
    (spec,) = [spec for spec in job.specs() if spec.file_name == case]
    return spec.inputs(head)


def test_the_axes_of_the_cube_are_those_of_its_frame(whole):
    out, frame = whole
    data = DataSet.open(out)
    for name in data.names:
        facts = data.load(name).facts
        axes = np.eye(3) if frame == "world" else facts.pose.matrix[:3, :3]
        np.testing.assert_allclose(facts.affine[:3, :3], 1.5 * axes, atol=1e-12)


def test_the_transducer_is_the_bowl_where_it_is(whole):
    data = DataSet.open(whole[0])
    for name in data.names:
        sample = data.load(name)
        found = bowl_of(sample.transducer, sample.spacing_mm, sample.affine)
        assert dist(found.pose.apex_mm, sample.facts.pose.apex_mm) < 2
        assert found.pose.direction @ sample.facts.pose.direction > np.cos(np.radians(4))


def test_region_and_march_lie_on_the_same_cube(whole, cases):
    data = DataSet.open(whole[0])
    for name in data.names:
        sample = data.load(name)
        case = Case.load(cases / sample.facts.case)
        box, pose = boxed(case)
        region, has = data.load_region(name), data.load_has(name)
        assert region.shape == has.shape == sample.ct.shape
        wanted = beyond_near_skull(case.hu.astype(np.float32), box.spacing_mm).astype(np.float32)
        np.testing.assert_array_equal(region, to_cube(wanted, box, pose, sample.affine, region.shape) > 0.5)
        assert 0 < region.sum() < region.size / 2
        march = np.abs(case.field[0].astype(np.float32) + 1j * case.field[1].astype(np.float32))
        again = to_box(np.asarray(has), sample.affine, box, pose) / sample.facts.water_peak_pa
        inner = (slice(2, -2), slice(2, -2), slice(2, -2))
        assert np.corrcoef(again[inner].ravel(), march[inner].ravel())[0, 1] > 0.95


# ------------------------------------------------------------------------------------------------- cubes


def test_the_middle_of_a_cube_does_not_give_the_focus_away():
    bowl, pose = Bowl(60, 50, 250e3), Pose.from_apex((0, 0, 0), (0, 0.6, -0.8))
    middle = [63.5, 63.5, 63.5, 1]
    middles = [(Cube.about(bowl, pose, CubeSpec(), str(key)).affine @ middle)[:3] for key in range(30)]
    offsets = np.array(middles) - pose.to_world([0, 0, 48])
    assert np.abs(offsets).max() <= OFFSET_MM
    assert (np.ptp(offsets, axis=0) > 1.5 * OFFSET_MM).all()
    same = Cube.about(bowl, pose, CubeSpec(), "5")
    np.testing.assert_array_equal((same.affine @ middle)[:3], middles[5])


@pytest.mark.parametrize("frame", ["world", "bowl"])
def test_the_whole_bowl_is_inside_its_cube(frame):
    for radius, aperture, direction in [(75, 68, (1, 0, 0)), (75, 48, (0, 0, -1)), (55, 68, (1, 1, 1))]:
        bowl, pose = Bowl(radius, aperture, 250e3), Pose.from_apex((9, 8, 7), direction)
        for key in "abcdefgh":
            cube = Cube.about(bowl, pose, CubeSpec(frame), key)
            assert cube.transducer.min() >= 1
            assert cube.transducer.max() <= 126
            focus = np.linalg.inv(cube.affine) @ np.append(pose.to_world([0, 0, radius]), 1)
            assert (focus[:3] > 20).all()
            assert (focus[:3] < 108).all()


def test_a_cube_that_is_too_small_or_no_cube_is_refused():
    with pytest.raises(
        ValueError, match=r"a cube of 47 mm does not hold a bowl of radius 60 mm .*more voxels"
    ):
        Cube.about(Bowl(60, 50, 250e3), Pose(np.eye(4)), CubeSpec("world", 48), "a")
    for wrong, sentence in (
        ({"frame": "head"}, 'frame must be "world" or "bowl"'),
        ({"shape": 4}, "8 voxels or more"),
        ({"spacing_mm": 0}, "0.1 to 10 mm"),
    ):
        with pytest.raises(ValueError, match=sentence):
            CubeSpec(**wrong)


def blob(points, centre, width=6.0):
    return np.exp(-(((points - centre) / width) ** 2).sum(-1)).astype(np.float32)


@pytest.mark.parametrize("frame", ["world", "bowl"])
def test_a_smooth_field_goes_from_box_to_cube_and_back(frame):
    bowl, pose = Bowl(60, 50, 250e3), Pose.from_apex((5, -20, 30), (0.3, 0.5, -0.8), 25)
    box = Box.around(bowl, 6.0)
    points = np.stack(np.meshgrid(*[box.axis_mm(a) for a in range(3)], indexing="ij"), -1)
    centre = np.array([1.0, -2.0, 57.0])
    values = blob(points, centre)
    cube = Cube.about(bowl, pose, CubeSpec(frame), "key")
    placed = to_cube(values, box, pose, cube.affine, cube.box.shape)
    index = np.stack(np.indices(placed.shape), -1)
    world = index @ cube.affine[:3, :3].T + cube.affine[:3, 3]
    np.testing.assert_allclose(placed, blob(pose.from_world(world), centre), atol=0.03)
    back = to_box(placed, cube.affine, box, pose)
    np.testing.assert_allclose(back, values, atol=0.05)
    weight = back[..., None] * points
    np.testing.assert_allclose(weight.sum((0, 1, 2)) / back.sum(), centre, atol=0.05)


def test_outside_of_a_box_or_cube_the_field_is_zero():
    bowl, pose = Bowl(60, 50, 250e3), Pose(np.eye(4))
    box = Box.around(bowl, 6.0)
    cube = Cube.about(bowl, pose, CubeSpec(), "key")
    placed = to_cube(np.ones(box.shape, np.float32), box, pose, cube.affine, cube.box.shape)
    assert set(np.unique(placed)) == {0, 1}
    assert placed.sum() == pytest.approx(np.prod(box.shape), rel=0.05)
    far = replace(box, origin_mm=(1000.0, 0.0, 0.0))
    assert not to_box(placed, cube.affine, far, pose).any()


# --------------------------------------------------------------------------------------------- being again


def test_what_is_there_is_kept_and_what_is_missing_is_made_the_same(copy, cases, cts):
    before = contents(copy)
    spec = SPECS["bowl"]
    again = write_data_set([cases], copy, spec, cts=cts, has=True)
    assert (again.written, again.kept) == (0, 6)
    name = DataSet.open(copy).names[3]
    path = copy / "data" / name
    path.with_suffix(".json").unlink()  # as when it was killed between the two
    next(copy.glob("data/*/exp_0_has.npy")).unlink()
    next(copy.glob("data/*/exp_1_region.npy")).unlink()
    again = write_data_set([cases], copy, spec, cts=cts, has=True)
    assert again.failures == {}
    assert contents(copy) == before


def test_an_interrupted_run_lists_what_it_made_and_goes_on(both, cases, cts, tmp_path):
    def stop(fraction, what):
        raise Cancelled

    out, spec = tmp_path / "set", SPECS["bowl"]
    with pytest.raises(Cancelled):
        write_data_set([cases], out, spec, cts=cts, has=True, progress=stop)
    assert len(DataSet.open(out)) == 2
    write_data_set([cases], out, spec, cts=cts, has=True)
    assert contents(out) == contents(both["bowl"])


def test_cases_that_come_later_are_added_and_numbers_stay(cases, cts, tmp_path):
    early = tmp_path / "early"
    early.mkdir()
    for path in sorted(cases.glob("*.safetensors"))[::2]:
        shutil.copy(path, early)
    out, spec = tmp_path / "set", SPECS["bowl"]
    write_data_set([early], out, spec, cts=cts)
    first = {SampleFacts.load(p).case: p for p in out.glob("data/*/exp_*.json")}
    write_data_set([early, cases], out, spec, cts=cts)
    then = {SampleFacts.load(p).case: p for p in out.glob("data/*/exp_*.json")}
    assert first.items() <= then.items()
    assert then.keys() == {p.name for p in cases.glob("*.safetensors")}


def test_a_head_stays_in_its_split(copy, cases, cts, tmp_path):
    result = write_data_set([cases], copy, SPECS["bowl"], cts=cts, split="test")
    assert len(result.failures) == 3
    assert all("cannot be in test too: a head has one split" in why for why in result.failures.values())
    fresh = write_data_set([cases], tmp_path / "test", SPECS["bowl"], cts=cts, split="test")
    assert fresh.splits == {"train": 0, "val": 0, "test": 6}
    assert len(DataSet.open(tmp_path / "test", "test")) == 6


def test_a_data_set_of_other_cubes_is_not_mixed(copy, cases, cts, tmp_path):
    for other in (replace(SPECS["bowl"], shape=48), replace(SPECS["bowl"], spacing_mm=2)):
        with pytest.raises(ValueError, match="to be added to, got .*choose another folder"):
            write_data_set([cases], copy, other, cts=cts)
    (tmp_path / "published" / "data").mkdir(parents=True)
    with pytest.raises(ValueError, match="not ours to add to"):
        write_data_set([cases], tmp_path / "published", SPECS["world"], cts=cts)


# ---------------------------------------------------------------------------------------------- bad inputs


def test_what_cannot_be_used_is_named_and_the_rest_goes_on(cases, cts, tmp_path):
    mixed = Path(shutil.copytree(cases, tmp_path / "mixed"))
    (mixed / "broken.safetensors").write_bytes(b"no case")
    result = write_data_set([mixed], tmp_path / "out", SPECS["world"], cts=cts[1:])
    assert result.written == 4
    assert set(result.failures) == {"broken.safetensors", f"head {cts[0].name}"}
    assert "damaged or no case of `simulate focus`" in result.failures["broken.safetensors"]
    assert result.failures[f"head {cts[0].name}"].endswith("name it with --ct")


def test_a_head_that_is_not_the_one_simulated_is_refused(cases, jobs, cts, tmp_path, monkeypatch):
    other = jobs[1].source.load()
    moved = replace(other, tissue=other.tissue * 1.5)
    monkeypatch.setattr("trifocal.focus.cases.HeadSource.load", lambda self: moved)
    result = write_data_set([cases], tmp_path / "out", SPECS["world"], cts=cts)
    assert result.written == 0
    assert all("HU on average from the one that was simulated" in why for why in result.failures.values())


def test_a_folder_without_cases_is_named(tmp_path):
    with pytest.raises(ValueError, match="there are no cases in .*simulate focus"):
        write_data_set([tmp_path], tmp_path / "out", SPECS["world"])
    assert not (tmp_path / "out").exists()


def test_damaged_extras_are_named(copy):
    data = DataSet.open(copy)
    name = data.names[0]
    for suffix, load in (("_has.npy", data.load_has), ("_region.npy", data.load_region)):
        path = copy / "data" / name.replace(".npz", suffix)
        content = path.read_bytes()
        for damage in (content[:-50], b"", b"text", content[:80]):
            path.write_bytes(damage)
            with pytest.raises(ValueError, match=rf"{suffix[:-4]}\.npy is damaged.* export again"):
                load(name)


# ------------------------------------------------------------------------------------------------ command


def test_the_command_exports_and_reports(cases, cts, tmp_path, capsys):
    out = tmp_path / "cubes"
    words = ["export", "tfuscapes", "--data", str(cases), "--out", str(out), "--ct", str(cts[0].parent)]
    assert main([*words, "--shape", "40", "--spacing-mm", "1.5", "--frame", "bowl"]) == 0
    assert "6 samples written, 0 kept" in capsys.readouterr().out
    assert main([*words, "--shape", "40", "--spacing-mm", "1.5", "--frame", "bowl"]) == 0
    assert "0 samples written, 6 kept" in capsys.readouterr().out
    assert json.loads((out / "data_set.json").read_text())["frame"] == "bowl"
    assert main([*words, "--shape", "40"]) == 2
    error = capsys.readouterr().err
    assert "choose another folder" in error
    assert error.count("\n") == 1


def test_the_command_fails_when_no_head_can_be_used(cases, tmp_path, capsys):
    words = ["export", "tfuscapes", "--data", str(cases), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert capsys.readouterr().err.count("name it with --ct") == 3
    assert main([*words, "--processes", "0"]) == 2


@pytest.mark.slow
def test_two_processes_make_the_same_files_as_one(both, cases, cts, tmp_path):
    write_data_set([cases], tmp_path / "set", SPECS["bowl"], cts=cts, has=True, processes=2)
    assert contents(tmp_path / "set") == contents(both["bowl"])
