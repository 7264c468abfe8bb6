from __future__ import annotations

import errno
import json
import shutil
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from small_cases import BOWLS, head_id, no_skull, shell_jobs
from trifocal.files import sha256_file
from trifocal.focus import cases as room
from trifocal.focus import data
from trifocal.focus.box import Box
from trifocal.focus.cases import Bowls, Case, CaseSpec, HeadSource
from trifocal.focus.data import HeadJob, read_manifest, simulate, split_of
from trifocal.focus.losses import LossWeights, correction_loss
from trifocal.focus.model import CorrectionNet, ModelConfig, corrected
from trifocal.focus.phantoms import HeadSpec
from trifocal.focus.placement import coupling_problem
from trifocal.focus.predictor import FocusPredictor, water_peak_pa
from trifocal.focus.samples import Samples, View, resampled
from trifocal.focus.transducer import PRESETS
from trifocal.predictor import Cancelled, one_core, silent

IDENTITY = {"ct": "0123", "name": "a.nii", "resample": False}


@pytest.fixture(scope="module", autouse=True)
def _one_core():
    with one_core():
        yield


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """Two heads to train with, one to validate with, and a CT without a skull between them."""
    folder = tmp_path_factory.mktemp("heads")
    found = shell_jobs(folder, train=2, val=1)
    return [found[0], HeadJob(no_skull(folder), 9, 2, BOWLS), *found[1:]]


@pytest.fixture(scope="module")
def whole(jobs, tmp_path_factory):
    """Folder, manifest and progress of a run that nothing disturbed."""
    told = []
    out = tmp_path_factory.mktemp("data") / "set"
    manifest = run(jobs, out, progress=lambda fraction, what: told.append((fraction, what)))
    return out, manifest, told


@pytest.fixture(scope="module")
def head(jobs):
    return jobs[0].source.load()


@pytest.fixture(scope="module")
def files(whole):
    """The cases, of several sizes."""
    return sorted(whole[0].glob("*.safetensors"))


def run(jobs, out, processes=1, progress=silent):
    return simulate(jobs, out, processes=processes, device="cpu", progress=progress)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}


def disk_full_after(writes):
    """Stand in for Path.write_bytes: the disk takes so many files and half of the next."""
    write, done = Path.write_bytes, []

    def full(self, content):
        done.append(self)
        if len(done) > writes:
            write(self, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write(self, content)

    return full


# ------------------------------------------------------------------------------------------ specifications


def test_a_case_is_named_by_its_specification():
    spec = CaseSpec(IDENTITY, 4, BOWLS)
    again = CaseSpec(dict(reversed(IDENTITY.items())), 4, Bowls(*map(tuple, map(list, vars(BOWLS).values()))))
    assert spec.file_name == again.file_name
    others = [
        CaseSpec(IDENTITY, 5, BOWLS),
        CaseSpec(IDENTITY | {"ct": "0124"}, 4, BOWLS),
        CaseSpec(IDENTITY | {"resample": True}, 4, BOWLS),
        *(CaseSpec(IDENTITY, 4, replace(BOWLS, **{name: (20, 26)})) for name in vars(BOWLS)),
    ]
    assert len({s.file_name for s in [spec, *others]}) == 1 + len(others)


def test_a_head_is_named_whatever_its_poses_and_its_files_are_called(jobs, tmp_path):
    source = jobs[0].source
    renamed = HeadSource(Path(shutil.copy(source.head, tmp_path / "anonymous.nii")))
    spec, other = (CaseSpec(s.identity(), 3, BOWLS) for s in (source, renamed))
    assert renamed.identity()["name"] != source.identity()["name"]
    assert (spec.head_id, spec.file_name) == (other.head_id, other.file_name)
    assert CaseSpec(source.identity(), 8, Bowls()).head_id == spec.head_id
    assert head_id(jobs[2].source) != spec.head_id


def test_a_procedural_head_is_named_by_its_parameters():
    ids = {head_id(HeadSource(spec)) for spec in (HeadSpec(1), HeadSpec(2), HeadSpec(1, scalp_mm=7))}
    assert len(ids) == 3
    assert head_id(HeadSource(HeadSpec(seed=1, scalp_mm=6))) in ids


def test_a_ct_in_several_files_is_named_by_what_all_of_them_hold(tmp_path):
    for name, content in (("a", b"1"), ("b", b"2")):
        (tmp_path / name).write_bytes(content)
    before = head_id(HeadSource(tmp_path))
    assert head_id(HeadSource(tmp_path)) == before
    (tmp_path / "b").write_bytes(b"3")
    assert head_id(HeadSource(tmp_path)) != before


def test_bowls_are_drawn_within_their_bounds_and_fill_them():
    rng = np.random.default_rng(0)
    drawn = [BOWLS.draw(rng) for _ in range(300)]
    for name, (low, high) in asdict(BOWLS).items():
        values = np.array([getattr(bowl, name) for bowl in drawn])
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
    assert all(bowl.frequency_hz % 1000 == 0 for bowl in drawn)


def test_the_poses_of_a_head_couple_and_its_seed_decides_them(head):
    inputs = [CaseSpec(IDENTITY, seed, BOWLS).inputs(head) for seed in range(6)]
    assert all(coupling_problem(head, i.bowl, i.pose) is None for i in inputs)
    assert len({i.bowl for i in inputs}) > 3
    again = CaseSpec(IDENTITY, 5, BOWLS).inputs(head)
    np.testing.assert_array_equal(again.pose.matrix, inputs[5].pose.matrix)
    assert again.bowl == inputs[5].bowl
    assert not np.allclose(inputs[4].pose.matrix, inputs[5].pose.matrix)


# ------------------------------------------------------------------------------------------------- one case


def test_the_same_specification_gives_bitwise_the_same_file(jobs, head, whole, tmp_path):
    spec = jobs[0].specs()[1]
    Case.simulate(spec, head, threads=1).save(tmp_path / spec.file_name)
    assert (tmp_path / spec.file_name).read_bytes() == (whole[0] / spec.file_name).read_bytes()


def test_a_case_holds_what_the_predictor_gives_on_either_grid(jobs, head, whole):
    spec = jobs[0].specs()[0]
    case, inputs = Case.load(whole[0] / spec.file_name), spec.inputs(head)
    assert case.bowl == inputs.bowl
    np.testing.assert_allclose(case.inputs["pose"]["matrix"], inputs.pose.matrix)
    assert case.inputs["spec"] == json.loads(json.dumps(asdict(spec)))
    unit = water_peak_pa(inputs.bowl)
    has, solver = (FocusPredictor(name, device="cpu") for name in ("has", "solver"))
    for view, placed in ((View.full(case), inputs), (View.preview(case), inputs.preview())):
        marched = has.predict(placed)
        assert view.box == marched.box
        np.testing.assert_allclose(view.field[0].abs(), marched.pressure.array / unit, rtol=2e-3, atol=1e-5)
        np.testing.assert_allclose(view.medium.hu[0], marched.hu, atol=0.5)
        assert (view.region != marched.region).mean() < 0.01  # HU are rounded: 300.4 is not bone in a case
    solved = solver.predict(inputs).pressure.array / unit
    np.testing.assert_allclose(View.full(case).truth[0], solved, rtol=1e-3, atol=1e-5)


def test_a_case_comes_back_from_its_file_as_it_was(jobs, head, tmp_path):
    case = Case.simulate(jobs[0].specs()[0], head)
    case.save(tmp_path / "a.safetensors")
    found = Case.load(tmp_path / "a.safetensors")
    for name, value in vars(case).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(found, name), value)
            assert getattr(found, name).dtype == value.dtype
    assert found.bowl == case.bowl
    assert found.inputs == json.loads(json.dumps(case.inputs))
    assert 0.1 < found.pressure.max() < 2  # of the peak in water


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def damage_header(path):
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


def damage_text(path):
    path.write_text("not a case")


def damage_foreign(path):
    path.write_bytes(safetensors.numpy.save({"weight": np.zeros(3)}, {"format": "pt"}))


def damage_missing(path):
    arrays = safetensors.numpy.load_file(path)
    arrays.pop("water")
    facts = {"facts": json.dumps({"bowl": asdict(PRESETS["default"])})}
    path.write_bytes(safetensors.numpy.save(arrays, facts))


@pytest.mark.parametrize(
    "damage",
    [damage_cut, damage_header, damage_text, damage_foreign, damage_missing],
    ids=lambda f: f.__name__,
)
def test_a_damaged_case_is_named_and_what_to_do(damage, files, tmp_path):
    path = Path(shutil.copy(files[0], tmp_path / "broken.safetensors"))
    damage(path)
    with pytest.raises(ValueError, match=r"broken\.safetensors is damaged.* delete it and simulate again"):
        Case.load(path)


# ----------------------------------------------------------------------------------------------- data sets


def test_the_manifest_names_every_case_with_its_hash_head_and_side(jobs, whole):
    out, manifest, told = whole
    assert read_manifest(out) == json.loads(json.dumps(manifest))
    wanted = {spec.file_name: spec for job in jobs if job.seed != 9 for spec in job.specs()}
    assert {c["file"] for c in manifest["cases"]} == wanted.keys()
    assert {p.name for p in out.iterdir()} == {*wanted, data.MANIFEST}
    for case in manifest["cases"]:
        assert case["sha256"] == sha256_file(out / case["file"])
        assert case["head"] == wanted[case["file"]].head_id
        assert case["split"] == split_of(case["head"])
    assert [fraction for fraction, _ in told] == [0.25, 0.5, 0.75, 1]
    assert told[-1][1] == "6 cases of 4 heads, 1 failed"


def test_a_head_that_fails_is_written_down_with_its_reason_and_the_rest_goes_on(whole):
    (failure,) = whole[1]["failures"]
    assert failure["head"].endswith("water.nii")
    assert "the CT holds no skull" in failure["error"]


def test_all_cases_of_a_head_are_on_one_side(whole):
    sides = {}
    for case in whole[1]["cases"]:
        sides.setdefault(case["head"], set()).add(case["split"])
    assert sorted(map(len, sides.values())) == [1, 1, 1]
    assert sorted(side for (side,) in sides.values()) == ["train", "train", "val"]


def test_a_tenth_of_the_heads_is_held_back():
    ids = [head_id(HeadSource(HeadSpec(seed))) for seed in range(1000)]
    assert 70 < sum(split_of(i) == "val" for i in ids) < 130  # 3 standard deviations
    assert [split_of(i) for i in ids] == [split_of(i) for i in ids]
    assert split_of("19999999" + 16 * "f") == "val"  # 0.1 of 2^32 is 0x1999999a
    assert split_of("1999999a" + 16 * "0") == "train"


def test_what_is_there_is_not_simulated_again(jobs, whole, monkeypatch):
    out, manifest, _ = whole
    before, load = times(out), HeadSource.load

    def only_the_failed(self):
        assert self.head.name == "water.nii"
        return load(self)

    monkeypatch.setattr(HeadSource, "load", only_the_failed)
    assert run(jobs, out) == manifest
    assert times(out) == before


def test_a_damaged_manifest_is_made_anew_from_the_cases_that_are_there(jobs, whole, tmp_path):
    out = Path(shutil.copytree(whole[0], tmp_path / "set"))
    (out / data.MANIFEST).write_text("{")
    before = times(out)
    run(jobs, out)
    assert times(out) == before
    assert contents(out) == contents(whole[0])


def test_the_heads_of_earlier_runs_stay_in_the_manifest_while_their_cases_are_there(jobs, whole, tmp_path):
    out = Path(shutil.copytree(whole[0], tmp_path / "set"))
    run(jobs[:1], out)
    assert read_manifest(out)["cases"] == read_manifest(whole[0])["cases"]
    gone = whole[1]["cases"][0]["file"]
    (out / gone).unlink()
    kept = {case["file"] for case in run([], out)["cases"]}
    assert kept == {case["file"] for case in whole[1]["cases"]} - {gone}


def test_an_interrupted_run_goes_on_where_it_stopped_and_ends_like_any_other(jobs, whole, tmp_path):
    def stop(fraction, what):
        raise Cancelled

    with pytest.raises(Cancelled):
        run(jobs, tmp_path, progress=stop)
    first = times(tmp_path)
    assert first.keys() == {spec.file_name for spec in jobs[0].specs()}
    run(jobs, tmp_path)
    assert first.items() <= times(tmp_path).items()
    assert contents(tmp_path) == contents(whole[0])


def test_a_full_disk_keeps_the_finished_cases_and_leaves_no_half_one(jobs, whole, tmp_path, monkeypatch):
    out = tmp_path / "set"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", disk_full_after(1))
        with pytest.raises(OSError, match=r"cannot write .*\.safetensors \(No space left on device\)"):
            run(jobs[:1], out)
    (path,) = out.iterdir()
    assert path.read_bytes() == (whole[0] / path.name).read_bytes()
    run(jobs[:1], out)
    assert contents(out).items() >= {
        (s.file_name, (whole[0] / s.file_name).read_bytes()) for s in jobs[0].specs()
    }


@pytest.mark.slow
def test_two_processes_make_the_same_files_as_one(jobs, whole, tmp_path):
    run(jobs, tmp_path, processes=2)
    assert contents(tmp_path) == contents(whole[0])


def test_a_folder_without_a_usable_manifest_is_named(whole, tmp_path):
    with pytest.raises(ValueError, match=r"holds no manifest\.json: make the data first"):
        read_manifest(tmp_path)
    with pytest.raises(ValueError, match=r"holds no manifest\.json"):
        read_manifest(tmp_path / "nowhere")
    path = tmp_path / data.MANIFEST
    path.write_text((whole[0] / data.MANIFEST).read_text()[:-20])
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        read_manifest(tmp_path)
    path.write_text(json.dumps(whole[1] | {"format": 99}))
    with pytest.raises(ValueError, match="must have format 1, got 99"):
        read_manifest(tmp_path)


# ------------------------------------------------------------------------------------- what the network sees


def ramp(box):
    """2 + 0.3 x - 0.2 y + 0.1 z in mm, over a box whose edge values go on outside of the first box."""
    x, y, z = (torch.from_numpy(box.axis_mm(a)) for a in range(3))
    return 2 + 0.3 * x[:, None, None] - 0.2 * y[:, None] + 0.1 * z


def test_a_linear_function_is_resampled_exactly_and_its_edges_go_on():
    bowl = PRESETS["default"]
    fine, coarse = Box.around(bowl, 6), Box.around(bowl, 3)
    found = resampled(ramp(fine)[None].float(), fine, coarse)[0]
    axes = [coarse.axis_mm(a).clip(fine.axis_mm(a)[0], fine.axis_mm(a)[-1]) for a in range(3)]
    x, y, z = (torch.from_numpy(axis) for axis in axes)
    wanted = 2 + 0.3 * x[:, None, None] - 0.2 * y[:, None] + 0.1 * z
    torch.testing.assert_close(found.double(), wanted, atol=2e-5, rtol=0)
    assert found.shape == coarse.shape


def test_the_truth_of_a_preview_is_that_of_the_full_grid(files):
    case = Case.load(files[0])
    fine, coarse = Box.around(case.bowl, 6), Box.around(case.bowl, 3)
    view = View.preview(replace(case, pressure=ramp(fine).numpy().astype(np.float32)))
    within = [
        (coarse.axis_mm(a) >= fine.axis_mm(a)[0]) & (coarse.axis_mm(a) <= fine.axis_mm(a)[-1])
        for a in range(3)
    ]
    inside = np.ix_(*map(np.flatnonzero, within))
    assert all(w.sum() > 4 for w in within)
    np.testing.assert_allclose(view.truth[0].numpy()[inside], ramp(coarse).numpy()[inside], atol=2e-5)
    assert view.truth[0].shape == coarse.shape == view.region.shape


def turned_case(case, flip_x, flip_y, swap):
    """The same case seen in a mirror, or with x and y exchanged; x, y, z are the last three axes."""

    def turn(volume):
        axes = [axis for axis, flip in ((-3, flip_x), (-2, flip_y)) if flip]
        volume = np.flip(volume, axes)
        return np.ascontiguousarray(np.swapaxes(volume, -3, -2) if swap else volume)

    return replace(case, **{k: turn(v) for k, v in vars(case).items() if isinstance(v, np.ndarray)})


def alike(a, b):
    same_size = all(a[name].shape == b[name].shape for name in a)
    return same_size and all(np.allclose(a[name], b[name], atol=1e-5) for name in reversed(a))


def test_samples_are_shown_in_all_eight_symmetries_as_full_and_as_preview(files):
    case = Case.load(files[0])
    wanted = {
        (view.__name__, *turn): view(turned_case(case, *turn)).sample()
        for view in (View.full, View.preview)
        for turn in product((False, True), repeat=3)
    }
    samples, counts = Samples(files[:1], seed=3), dict.fromkeys(wanted, 0)
    for epoch in range(120):
        samples.set_epoch(epoch)
        shown = samples[0]
        (found,) = [key for key, sample in wanted.items() if alike(shown, sample)]
        counts[found] += 1
    assert min(counts.values()) > 0
    previews = sum(n for key, n in counts.items() if key[0] == "preview")
    assert 24 < previews < 56  # one in three of 120, 3 standard deviations


def test_without_augmentation_every_epoch_shows_the_case_as_it_is(files):
    samples = Samples(files, augment=False)
    for epoch in (0, 1, 2):
        samples.set_epoch(epoch)
        assert alike(samples[1], View.full(Case.load(files[1])).sample())
    assert len(samples) == len(files)


def test_the_augmentation_depends_on_seed_epoch_and_index_alone(files):
    def shown(seed, epoch, order):
        samples = Samples(files, seed=seed)
        samples.set_epoch(epoch)
        found = {i: samples[i] for i in order}
        return [found[i] for i in sorted(order)]

    first = shown(1, 2, range(6))
    np.random.seed(5)  # noqa: NPY002 - it must not matter
    torch.manual_seed(5)
    assert all(map(alike, first, shown(1, 2, [3, 5, 0, 4, 1, 2])))
    for other in (shown(2, 2, range(6)), shown(1, 3, range(6))):
        assert not all(map(alike, first, other))


def test_batches_of_unlike_sizes_are_padded_to_one_shape_that_the_region_leaves_out(files):
    alone = [View.full(Case.load(path)).sample() for path in files]
    assert len({sample["prior"].shape for sample in alone}) > 1
    batch = Samples(files, augment=False).__getitems__(list(range(len(files))))
    for name in alone[0]:
        assert len({sample[name].shape for sample in batch}) == 1
    for sample, single in zip(batch, alone, strict=True):
        for name, volume in single.items():
            x, y, z = volume.shape[-3:]
            assert torch.equal(sample[name][..., :x, :y, :z], volume)
        x, y, z = single["region"].shape
        assert sample["region"].sum() == sample["region"][:x, :y, :z].sum() == single["region"].sum()


def test_padding_does_not_change_the_loss(files):
    net = CorrectionNet(ModelConfig((4, 8)))

    def terms(samples):
        stacked = {name: torch.stack([s[name] for s in samples]) for name in samples[0]}
        prediction = corrected(net(stacked["features"]), stacked["prior"])
        return correction_loss(prediction, stacked["truth"], stacked["region"], LossWeights())

    samples = Samples(files, augment=False)
    padded = terms(samples.__getitems__(list(range(len(files)))))
    alone = [terms([samples[i]]) for i in range(len(files))]
    for name, value in padded.items():
        mean = torch.stack([single[name] for single in alone]).mean()
        torch.testing.assert_close(value, mean, rtol=1e-5, atol=0)


def test_augmented_batches_are_wholly_previews_or_wholly_full(files):
    samples = Samples(files, seed=0)
    kinds = set()
    for epoch in range(12):
        samples.set_epoch(epoch)
        batch = samples.__getitems__([0, 1, 2, 3])
        coarse = {bool(sample["features"].shape[-3:] == sample["prior"].shape) for sample in batch}
        assert len(coarse) == 1
        kinds |= coarse
    assert kinds == {True, False}


def test_a_pose_that_cannot_be_found_ends_its_head_and_the_cases_before_it_stay(jobs, tmp_path, monkeypatch):
    draw, drawn = room.random_pose, []

    def once(*arguments, **limits):
        drawn.append(1)
        if len(drawn) > 1:
            msg = "no pose that couples was found in 200 draws"
            raise ValueError(msg)
        return draw(*arguments, **limits)

    monkeypatch.setattr(room, "random_pose", once)
    manifest = run([replace(jobs[0], poses=3)], tmp_path)
    assert [case["file"] for case in manifest["cases"]] == [jobs[0].specs()[0].file_name]
    (failure,) = manifest["failures"]
    assert failure == {
        "head": str(jobs[0].source.head),
        "error": "no pose that couples was found in 200 draws",
    }
