from __future__ import annotations

import json
import shutil
import warnings
import zipfile
from math import dist

import numpy as np
import pytest

from trifocal.focus.pose import Pose
from trifocal.focus.tfuscapes import DataSet, SampleFacts, bowl_of, surface_voxels
from trifocal.focus.tfuscapes.arrays import read_arrays
from trifocal.focus.transducer import Bowl

N = 8
NAMES = ("A1/exp_0.npz", "A1/exp_1.npz", "B2/exp_0.npz", "C3/exp_10.npz")


def arrays(**changes):
    """What a file holds; None leaves an array out."""
    index = np.indices((N, N, N))
    usual = {
        "ct": (100 * index[0]).astype(np.float32),
        "pmap": (index[0] + 10 * index[1] + 100 * index[2]).astype(np.float32),
        "tr_coords": np.array([[0, 1, 2], [7, 7, 7]]),
    }
    return {k: v for k, v in (usual | changes).items() if v is not None}


def published(folder, save=np.savez, train=NAMES[:2], val=NAMES[2:3], test=NAMES[3:]):
    """A data set as it is published: no facts, no record."""
    for name in NAMES:
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, **arrays())
    (folder / "splits").mkdir()
    for split, names in (("train", train), ("val", val), ("test", test)):
        (folder / "splits" / f"{split}.txt").write_text("\n".join(names) + "\n")
    return folder


# ---------------------------------------------------------------------------------------------- good files


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_sample_comes_back_as_it_was_written(tmp_path, save):
    data = DataSet.open(published(tmp_path, save), "train")
    sample = data.load("A1/exp_1.npz")
    wanted = arrays()
    for found, name in ((sample.ct, "ct"), (sample.pressure, "pmap"), (sample.transducer, "tr_coords")):
        np.testing.assert_array_equal(found, wanted[name])
        assert found.dtype == wanted[name].dtype
    assert (sample.name, sample.subject, sample.facts) == ("A1/exp_1.npz", "A1", None)
    np.testing.assert_array_equal(sample.affine, np.diag([0.5, 0.5, 0.5, 1]))


def test_arrays_of_numpy_savez_are_mapped_and_writing_to_them_leaves_the_file_alone(tmp_path):
    path = tmp_path / "exp_0.npz"
    np.savez(path, **arrays())
    before = path.read_bytes()
    found = read_arrays(path)
    assert all(isinstance(array, np.memmap) for array in found.values())
    found["ct"][:] = 5
    assert path.read_bytes() == before


def test_volumes_in_fortran_order_are_not_transposed(tmp_path):
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays(pmap=np.asfortranarray(arrays()["pmap"])))
        np.testing.assert_array_equal(read_arrays(tmp_path / "a.npz")["pmap"], arrays()["pmap"])


def test_a_data_set_lists_its_splits_and_subjects(tmp_path):
    published(tmp_path)
    assert DataSet.open(tmp_path, "train").names == NAMES[:2]
    assert DataSet.open(tmp_path, "test").names == NAMES[3:]
    every = DataSet.open(tmp_path)
    assert every.names == NAMES
    assert len(every) == 4
    assert every.subjects == ("A1", "B2", "C3")
    assert every.of_subject("A1") == NAMES[:2]


def test_lines_of_a_split_may_end_as_windows_ends_them(tmp_path):
    published(tmp_path)
    (tmp_path / "splits" / "train.txt").write_bytes("\ufeffA1/exp_0.npz\r\n\r\nA1/exp_1.npz\r\n".encode())
    assert DataSet.open(tmp_path, "train").names == NAMES[:2]


def test_the_spacing_is_the_published_one_unless_the_data_or_the_caller_say_otherwise(tmp_path):
    published(tmp_path)
    assert DataSet.open(tmp_path).spacing_mm == 0.5
    assert DataSet.open(tmp_path, spacing_mm=0.7).spacing_mm == 0.7
    (tmp_path / "data_set.json").write_text(json.dumps({"spacing_mm": 1.5, "shape": N}))
    assert DataSet.open(tmp_path).spacing_mm == 1.5
    with pytest.raises(ValueError, match=r"spacing of .* is 1\.5 mm, got 0\.7 mm: leave it out"):
        DataSet.open(tmp_path, spacing_mm=0.7)
    (tmp_path / "data_set.json").write_text("{}")
    with pytest.raises(ValueError, match=r"data_set\.json is damaged .*export again"):
        DataSet.open(tmp_path)


# ----------------------------------------------------------------------------------------------- bad files


def nan_at_one_place():
    pressure = arrays()["pmap"]
    pressure[1, 2, 3] = np.nan
    return pressure


def objects():
    held = np.empty((N, N, N), object)
    held[:] = 1.0
    return held


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pmap": None}, r"must hold the arrays .* got \['ct', 'tr_coords'\]: pmap is missing"),
        ({"ct": np.zeros((N, N), np.float32)}, r"ct in .* must have shape \(n, n, n\), got \(8, 8\)"),
        ({"ct": np.zeros((N, N, 9), np.float32)}, r"ct in .* must be a cube .* got shape \(8, 8, 9\)"),
        ({"ct": np.zeros((0, 0, 0), np.float32)}, r"ct in .* must have shape \(n, n, n\), got \(0, 0, 0\)"),
        ({"ct": np.zeros((9, 9, 9), np.float32)}, r"same shape, got \(9, 9, 9\) and \(8, 8, 8\)"),
        ({"ct": np.zeros((N, N, N))}, r"ct in .* must be float32, got float64: convert it"),
        ({"ct": np.zeros((N, N, N), ">f4")}, r"ct in .* must be float32, got >f4: convert it"),
        ({"ct": np.full((N, N, N), np.inf, np.float32)}, r"ct in .* must hold finite Hounsfield units"),
        ({"pmap": objects()}, r"pmap in .* pickled objects, which are never loaded"),
        ({"pmap": np.ones((N, N, N), np.complex64)}, r"pmap in .* must be float32, got complex64"),
        ({"pmap": np.ones((1, N, N, N), np.float32)}, r"pmap in .* got \(1, 8, 8, 8\)"),
        ({"pmap": nan_at_one_place()}, r"pmap in .* finite pressures in Pa, got NaN or infinity"),
        ({"pmap": arrays()["pmap"] - 1}, r"pmap in .* 0 Pa or more, got -1 Pa"),
        ({"pmap": np.zeros((N, N, N), np.float32)}, r"pmap in .* is 0 everywhere: .* leave it out"),
        ({"tr_coords": np.zeros((0, 3), int)}, r"tr_coords in .* shape \(m, 3\), m at least 1, got \(0, 3\)"),
        ({"tr_coords": np.zeros((4, 2), int)}, r"tr_coords in .* shape \(m, 3\), got \(4, 2\)"),
        ({"tr_coords": np.zeros(3, int)}, r"tr_coords in .* got \(3,\)"),
        ({"tr_coords": np.zeros((4, 3))}, r"tr_coords in .* must be int64, got float64"),
        ({"tr_coords": np.array([[0, 0, 0], [0, 8, 0], [0, -1, 0]])}, r"0 to 7, got \[0, 8, 0\] and 1 more"),
    ],
)
def test_each_way_an_array_can_be_wrong_is_named(tmp_path, save, changes, sentence):
    path = tmp_path / "exp_0.npz"
    save(path, **arrays(**changes))
    with pytest.raises(ValueError, match=sentence) as caught:
        read_arrays(path)
    assert "exp_0.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def text(path):
    path.write_text("not a zip")


def empty(path):
    path.write_bytes(b"")


def plain_npy(path):
    with path.open("wb") as file:
        np.save(file, arrays()["ct"])


def with_header(path, old, new):
    """The same file, sound as a zip, with another header before ct."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["ct.npy"] = members["ct.npy"].replace(old, new)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def claims_more(path):
    with_header(path, b"(8, 8, 8), }", b"(8, 8, 16),}")


def claims_a_size_below_nothing(path):
    with_header(path, b"(8, 8, 8), }", b"(-8, -8, 8)}")


def header_of_garbage(path):
    with_header(path, b"{'descr'", b"[oh dear")


def flipped(path):
    whole = path.read_bytes()
    at = whole.index(b"(8, 8, 8), }")
    path.write_bytes(whole[:at] + b"(8, 8, 16),}" + whole[at + 12 :])


def foreign_member(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name in arrays():
            archive.writestr(f"{name}.npy", b"no array")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (cut, "is none, or was cut short"),
        (text, "must be a .npz file and is none"),
        (empty, "must be a .npz file and is none"),
        (plain_npy, "must be a .npz file and is none"),
        (claims_more, r"ct in .* must hold 4096 bytes .*\(8, 8, 16\).* got 2048: the file is damaged"),
        (claims_a_size_below_nothing, r"ct in .* shape \(-8, -8, 8\).* the file is damaged"),
        (flipped, "is none, or was cut short .*Bad CRC"),
        (header_of_garbage, "ct in .* has a damaged header"),
        (foreign_member, "ct in .* has a damaged header"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_damaged_file_is_named_and_what_to_do(tmp_path, damage, sentence):
    path = tmp_path / "exp_0.npz"
    np.savez(path, **arrays())
    damage(path)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_arrays(path)
    assert "exp_0.npz" in str(caught.value)
    assert "again" in str(caught.value)


def test_no_way_of_cutting_a_file_short_gives_anything_but_one_sentence(tmp_path):
    np.savez(tmp_path / "whole.npz", **arrays())
    whole = (tmp_path / "whole.npz").read_bytes()
    for size in range(0, len(whole) - 1, 97):
        (tmp_path / "cut.npz").write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"cut\.npz"):
            read_arrays(tmp_path / "cut.npz")


def test_a_flipped_byte_in_a_compressed_file_is_found(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", **arrays())
    whole = bytearray((tmp_path / "a.npz").read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(whole)
    with pytest.raises(ValueError, match=r"a\.npz"):
        read_arrays(tmp_path / "a.npz")


# ------------------------------------------------------------------------------------------------- splits


@pytest.mark.parametrize(
    "line",
    ["../../etc/exp_0.npz", "..\\A/exp_0.npz", "/exp_0.npz", "./exp_0.npz", "A1/B/exp_0.npz", "C:/exp_0.npz"],
)
def test_a_split_cannot_lead_out_of_its_folder(tmp_path, line):
    published(tmp_path, train=[NAMES[0], line])
    with pytest.raises(ValueError, match=r"a line of .*train\.txt must be like A00028185/exp_0\.npz"):
        DataSet.open(tmp_path, "val")


def test_a_sample_that_is_named_and_not_there_is_named(tmp_path):
    published(tmp_path, train=[NAMES[0], "A1/exp_5.npz", "Z/exp_0.npz"])
    with pytest.raises(FileNotFoundError, match=r"2 of 3 samples .* the first is A1/exp_5\.npz: fetch"):
        DataSet.open(tmp_path, "train")
    assert len(DataSet.open(tmp_path, "val")) == 1


def test_a_subject_cannot_be_in_two_splits(tmp_path):
    published(tmp_path, test=[NAMES[1]], train=[NAMES[0]])
    with pytest.raises(ValueError, match="got A1 in train and test"):
        DataSet.open(tmp_path, "train")


def test_a_sample_is_named_once(tmp_path):
    published(tmp_path, train=[NAMES[0], NAMES[0]])
    with pytest.raises(ValueError, match=r"every sample once, got A1/exp_0\.npz twice"):
        DataSet.open(tmp_path)


def test_a_folder_that_is_no_data_set_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold the folders data and splits"):
        DataSet.open(tmp_path)
    published(tmp_path)
    with pytest.raises(ValueError, match="split must be one of .* got 'training'"):
        DataSet.open(tmp_path, "training")
    (tmp_path / "splits" / "val.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"val\.txt is empty"):
        DataSet.open(tmp_path, "val")
    (tmp_path / "splits" / "val.txt").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"there is no .*val\.txt: the data set has \['test', 'train'\]"
    ):
        DataSet.open(tmp_path, "val")
    (tmp_path / "splits" / "val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"val\.txt must be a text file"):
        DataSet.open(tmp_path)


def test_what_only_our_own_data_sets_have_is_missing_by_name(tmp_path):
    data = DataSet.open(published(tmp_path), "train")
    with pytest.raises(ValueError, match="there is no sample 'B2/exp_0.npz' in this split"):
        data.load("B2/exp_0.npz")
    with pytest.raises(FileNotFoundError, match="export the data set with --has"):
        data.load_has(NAMES[0])
    with pytest.raises(
        FileNotFoundError, match="only data sets of `trifocal export tfuscapes` have a region"
    ):
        data.load_region(NAMES[0])


# -------------------------------------------------------------------------------------------------- facts


def facts():
    affine = Pose.from_apex((1, 2, 3), (1, 1, 0)).matrix @ np.diag([1.5, 1.5, 1.5, 1])
    bowl = Bowl(60, 50, 250e3, source="test")
    return SampleFacts(affine, bowl, Pose.from_apex((0, 5, 9), (0, 0, -1)), 5e5, "A1", "bowl", "c.st", "test")


def test_facts_come_back_as_they_were_written(tmp_path):
    wanted = facts()
    wanted.save(tmp_path / "exp_0.json")
    found = SampleFacts.load(tmp_path / "exp_0.json")
    np.testing.assert_array_equal(found.affine, wanted.affine)
    np.testing.assert_array_equal(found.pose.matrix, wanted.pose.matrix)
    for name in ("bowl", "water_peak_pa", "head", "frame", "case", "split"):
        assert getattr(found, name) == getattr(wanted, name)


@pytest.mark.parametrize(
    "change",
    [{"affine": [1, 2]}, {"bowl": {}}, {"pose": {"matrix": [[2] * 4] * 4}}, {"other": 1}, {"frame": "head"}],
)
def test_damaged_facts_are_named(tmp_path, change):
    path = tmp_path / "exp_0.json"
    facts().save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=r"exp_0\.json .*delete it and export again"):
        SampleFacts.load(path)
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"exp_0\.json is damaged"):
        SampleFacts.load(path)


def test_facts_lie_beside_the_sample(tmp_path):
    published(tmp_path)
    facts().save(tmp_path / "data" / "A1" / "exp_0.json")
    data = DataSet.open(tmp_path, "train")
    np.testing.assert_array_equal(data.load("A1/exp_0.npz").affine, facts().affine)
    assert data.load("A1/exp_1.npz").facts is None


# ------------------------------------------------------------------------------------------------ surface


POSES = [((60, 50, 40), (0, 0, 1)), ((3, 4, 5), (1, 0.4, -0.2)), ((0, 0, 0), (-1, -1, -1))]


@pytest.mark.parametrize(("apex", "direction"), POSES)
def test_the_voxels_of_a_surface_are_near_it_and_leave_no_gap(apex, direction):
    bowl, pose = Bowl(60, 55, 250e3), Pose.from_apex(apex, direction)
    affine = np.diag([0.8, 0.8, 0.8, 1])
    affine[:3, 3] = (-3, 2, 1)
    voxels = surface_voxels(bowl, pose, affine)
    assert len(np.unique(voxels, axis=0)) == len(voxels)
    assert voxels.dtype == np.int64
    local = pose.from_world(voxels @ affine[:3, :3].T + affine[:3, 3])
    off = np.linalg.norm(local - [0, 0, 60], axis=1) - 60
    assert np.abs(off).max() <= 0.8 * np.sqrt(3) / 2 + 1e-9
    dense = pose.to_world(bowl.surface_points(0.15)) - affine[:3, 3]
    index = np.unique(np.rint(dense / 0.8).astype(int), axis=0)
    seen = {tuple(v) for v in voxels}
    missed = [v for v in index if tuple(v) not in seen]
    assert len(missed) < 0.1 * len(index)
    near = {
        tuple(v + step) for v in voxels for step in np.vstack([np.eye(3, dtype=int), -np.eye(3, dtype=int)])
    }
    assert all(tuple(v) in near for v in missed)  # cut at a corner only


@pytest.mark.parametrize(("apex", "direction"), POSES)
@pytest.mark.parametrize(("radius", "aperture", "spacing"), [(63.2, 64, 0.5), (70, 50, 1), (60, 110, 1)])
def test_a_bowl_is_recovered_from_its_voxels(apex, direction, radius, aperture, spacing):
    pose = Pose.from_apex(apex, direction)
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = (-10, 20, 5)
    found = bowl_of(surface_voxels(Bowl(radius, aperture, 5e5), pose, affine), spacing, affine)
    assert found.bowl.radius_of_curvature_mm == pytest.approx(radius, rel=0.015)
    assert found.bowl.aperture_mm == pytest.approx(aperture, abs=1.2 * spacing)
    assert dist(found.pose.apex_mm, pose.apex_mm) < 0.8
    assert found.pose.direction @ pose.direction > np.cos(np.radians(0.8))
    assert found.residual_mm < 0.6 * spacing


def test_the_fit_in_voxels_is_that_in_the_world():
    pose, affine = Pose.from_apex((30, 30, 10), (0.2, 0, 1)), np.diag([0.5, 0.5, 0.5, 1])
    voxels = surface_voxels(Bowl(60, 60, 5e5), pose, affine)
    turned = Pose.from_apex((4, 5, 6), (1, 2, 3)).matrix @ affine
    one, two = bowl_of(voxels, 0.5), bowl_of(voxels, 0.5, turned)
    assert two.bowl.radius_of_curvature_mm == pytest.approx(one.bowl.radius_of_curvature_mm)
    moved = turned @ np.linalg.inv(affine) @ np.append(one.pose.apex_mm, 1)
    np.testing.assert_allclose(two.pose.apex_mm, moved[:3], atol=1e-6)


def test_voxels_that_are_no_bowl_are_refused():
    plane = np.argwhere(np.ones((10, 10, 1)))
    with pytest.raises(ValueError, match="lie in one plane"):
        bowl_of(plane, 1.0)
    whole = surface_voxels(Bowl(20, 40, 5e5), Pose.from_apex((0, 0, 0), (0, 0, 1)), np.eye(4))
    mirrored = np.vstack([whole, whole * [1, 1, -1] + [0, 0, 40]])
    with pytest.raises(ValueError, match="must be one bowl, a hemisphere at most"):
        bowl_of(mirrored, 1.0)


def test_reading_warns_of_nothing(tmp_path):
    import torch

    data = DataSet.open(published(tmp_path), "train")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample = data.load(NAMES[0])
        assert torch.from_numpy(sample.ct).max() == 700
        assert torch.from_numpy(sample.transducer).shape == (2, 3)
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(FileNotFoundError, match=r"no file .*exp_1\.npz: the data set is incomplete"):
        data.load(NAMES[1])
