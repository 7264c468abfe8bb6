"""Folders of CTs: who is a patient, what is read, and a split that no patient crosses."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from PIL import Image as Picture

from data import shared_data
from trifocal import io
from trifocal.image import Image, ImageError
from trifocal.xray.datasets import folders as ct_folders
from trifocal.xray.datasets.folders import Patient, list_patients
from trifocal.xray.datasets.pairs import make_pair
from trifocal.xray.datasets.scan import CtScan
from trifocal.xray.datasets.split import PARTS, PatientSplit, split


def ct(shape=(12, 10, 8), hu=40):
    array = np.full(shape, -1000, np.int16)
    array[3:-3, 3:-3, 2:-2] = hu
    array[3, 3:-3, 2:-2] = 700  # bone on the left
    return Image(array, np.diag([20.0, 20.0, 20.0, 1.0]), "HU")


@pytest.fixture
def folder(tmp_path):
    for name in ("b", "a", "c"):
        (tmp_path / name).mkdir()
        io.write(ct(), tmp_path / name / "ct.nii.gz")
    io.write(ct(), tmp_path / "b" / "segmentation.nii.gz")
    io.write(ct(), tmp_path / "d.nii.gz")
    (tmp_path / "notes.txt").write_text("nothing")
    return tmp_path


def test_every_entry_of_a_folder_is_a_patient_without_its_masks(folder):
    patients = list_patients(folder)
    assert [p.id for p in patients] == ["a", "b", "c", "d"]
    assert [len(p.scans) for p in patients] == [1, 1, 1, 1]
    np.testing.assert_array_equal(patients[1].scans[0].read().array, ct().array)


def test_no_more_is_looked_at_than_is_asked_for(folder, monkeypatch):
    seen = []
    original = ct_folders._scans
    monkeypatch.setattr(ct_folders, "_scans", lambda entry: seen.append(entry.name) or original(entry))
    assert [p.id for p in list_patients(folder, max_patients=2)] == ["a", "b"]
    assert "d.nii.gz" not in seen
    with pytest.raises(ValueError, match="1 or more, got 0"):
        list_patients(folder, max_patients=0)


def test_scans_of_one_person_are_one_patient_and_count_as_one(tmp_path):
    for name in ("LIDC-IDRI-0001.2000.1", "LIDC-IDRI-0001.2001.2", "LIDC-IDRI-0002.2000.1"):
        (tmp_path / name).mkdir()
        x2ct(tmp_path / name / "ct_xray_data.h5")
    patients = list_patients(tmp_path, max_patients=1)
    assert [(p.id, len(p.scans)) for p in patients] == [("LIDC-IDRI-0001", 2)]


def x2ct(path, **more):
    """A file like X2CT-GAN's: (z, y, x) from 0 up, LPS, with the patient's left bright."""
    array = np.transpose(ct().array[::-1, ::-1], (2, 1, 0)) + 1000
    with h5py.File(path, "w") as file:
        file["ct"] = array.astype(np.int16)
        file["xray1"] = np.tile(np.arange(16, dtype=np.uint8), (16, 1))
        file["xray2"] = np.tile(np.arange(16, dtype=np.uint8), (16, 1)).T
        for name, value in more.items():
            file[name] = value
    return path


def test_x2ct_files_give_hu_upright_in_millimetres(tmp_path):
    path = x2ct(tmp_path / "ct_xray_data.h5", spacing=[1.0, 1.0, 1.0], ori_size=[80, 100, 120])
    scan = list_patients(path)[0].scans[0]
    image = scan.read()
    np.testing.assert_array_equal(image.array, ct().array)
    np.testing.assert_allclose(image.spacing_mm, 10.0)
    films = scan.radiographs()
    assert set(films) == {"frontal", "lateral"}
    assert films["lateral"].pixels[-1, 0] == 15


def test_x2ct_files_without_a_spacing_are_cubes_of_320_mm_and_say_so(tmp_path):
    image = CtScan(x2ct(tmp_path / "x.h5"), "hdf5").read()
    np.testing.assert_allclose(image.spacing_mm, np.divide(320, image.shape))
    assert "assumed" in image.notes["spacing"]


def test_files_that_are_no_x2ct_say_why(tmp_path):
    (tmp_path / "bad.h5").write_bytes(b"no HDF5 file at all")
    with pytest.raises(ImageError, match="damaged or no HDF5"):
        CtScan(tmp_path / "bad.h5", "hdf5").read()
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["volume"] = np.zeros((3, 3, 3))
    with pytest.raises(ImageError, match="must hold a volume 'ct'"):
        CtScan(tmp_path / "other.h5", "hdf5").read()


def test_drr_pictures_are_found_beside_a_ct_of_their_name(tmp_path):
    (tmp_path / "p1").mkdir()
    io.write(ct(), tmp_path / "p1" / "p1.nii.gz")
    io.write(ct(), tmp_path / "p1" / "p1_swapped_bmd.nii.gz")
    for name, column in (("pa", 3), ("lat", 6)):
        film = np.zeros((20, 20), np.uint8)
        film[:, column] = 200
        Picture.fromarray(film).save(tmp_path / "p1" / f"p1_{name}_drr.png")
    (tmp_path / "p2").mkdir()
    io.write(ct(), tmp_path / "p2" / "p2.nii.gz")
    first, second = list_patients(tmp_path)
    (scan,) = first.scans
    assert scan.path.name == "p1.nii.gz"
    assert scan.radiographs()["lateral"].pixels[0, 6] == 200
    assert scan.radiographs()["frontal"].scale == "display"
    assert second.scans[0].radiographs() == {}


def test_a_dicom_folder_is_one_patient_whose_name_is_not_taken_from_the_header():
    path = shared_data("head_ct/skull_phantom_dicom")
    (patient,) = list_patients(path.parent / path.name)
    assert patient.id == path.name
    assert [scan.layout for scan in patient.scans] == ["dicom"]


def test_a_folder_without_cts_says_what_was_expected(tmp_path):
    with pytest.raises(ValueError, match="holds no CT"):
        list_patients(tmp_path)
    with pytest.raises(FileNotFoundError, match="check the path"):
        list_patients(tmp_path / "none")


def people(count):
    return tuple(Patient(f"p{i}", ()) for i in range(count))


def test_a_split_puts_every_patient_into_one_part_and_follows_from_the_seed():
    drawn = split(people(40), (0.7, 0.2, 0.1), seed=3)
    assert [len(getattr(drawn, part)) for part in PARTS] == [28, 8, 4]
    assert {*drawn.train, *drawn.validation, *drawn.test} == {p.id for p in people(40)}
    assert drawn == split(people(40)[::-1], (0.7, 0.2, 0.1), seed=3)
    assert drawn.test != split(people(40), (0.7, 0.2, 0.1), seed=4).test


def test_a_part_with_a_share_is_not_empty():
    drawn = split(people(3), (0.9, 0.05, 0.05))
    assert [len(getattr(drawn, part)) for part in PARTS] == [1, 1, 1]
    with pytest.raises(ValueError, match="as many patients, got 2"):
        split(people(2))
    with pytest.raises(ValueError, match="add up to 1"):
        split(people(20), (0.5, 0.1, 0.1))


def test_a_split_is_written_down_and_read_again(tmp_path):
    drawn = split(people(10))
    drawn.write(tmp_path / "split.json")
    again = PatientSplit.read(tmp_path / "split.json")
    assert again == drawn
    assert [p.id for p in again.of(people(10), "test")] == list(drawn.test)
    with pytest.raises(ValueError, match="2 patients are in no part"):
        again.of(people(12), "train")


def test_a_split_that_a_patient_crosses_is_refused(tmp_path):
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": ["a", "b"], "validation": ["b"], "test": []}))
    with pytest.raises(ValueError, match="one part of a split only, got b"):
        PatientSplit.read(path)
    path.write_text('{"train": 3}')
    with pytest.raises(ValueError, match="must be JSON with train"):
        PatientSplit.read(path)


def test_a_pair_holds_the_density_and_films_of_the_same_box():
    pair = make_pair(ct(), voxels=12, pixels=24)
    assert pair.density.shape == pair.geometry.grid.shape == (12, 10, 8)
    np.testing.assert_allclose(pair.density, np.clip(ct().array / 1000 + 1, 0, None), atol=1e-5)
    frontal, lateral = pair.films
    assert frontal.line_integrals.shape == (24, 24)
    # bone lies at low x, the patient's left, on the right of a frontal film
    rows = frontal.line_integrals[10:14]
    assert rows[:, 12:].max() > 1.1 * rows[:, :12].max()
    assert lateral.line_integrals.max() > 0


def test_random_pairs_follow_from_their_generator():
    pairs = [make_pair(ct((30, 24, 30)), rng=np.random.default_rng(5), voxels=16, pixels=8) for _ in range(2)]
    np.testing.assert_array_equal(pairs[0].density, pairs[1].density)
    np.testing.assert_array_equal(pairs[0].films[0].line_integrals, pairs[1].films[0].line_integrals)
