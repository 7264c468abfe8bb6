from __future__ import annotations

import errno
import gzip
import os
import struct

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data import reads_or_says_why, shared_data
from trifocal import RESEARCH_USE_ONLY, io
from trifocal.image import Image, ImageError

AFFINE = np.diag([-2.0, 2.0, 3.0, 1.0])


def oblique():
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (10, 20, 30), degrees=True).as_matrix() * [0.451, -0.7, 1.1]
    affine[:3, 3] = 694.21, -1.85, np.pi
    return affine


def ramp(shape=(4, 5, 6), dtype=np.int16):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def save(path, array, affine=AFFINE, *, sform=1, qform=0, units="mm", **fields):
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, sform)
    image.set_qform(None, qform)
    image.header.set_xyzt_units(units)
    for key, value in fields.items():
        image.header[key] = value
    nib.save(image, path)
    return path


def patch(path, offset, form, *values):
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, offset, *values)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_what_is_written_is_read_back_bit_for_bit(tmp_path, suffix, dtype):
    image = Image(ramp(dtype=dtype), oblique(), "Pa")
    io.write(image, tmp_path / f"a{suffix}")
    back = io.read(tmp_path / f"a{suffix}")
    assert back.array.dtype == dtype
    assert back.unit == "Pa"
    np.testing.assert_array_equal(back.array, image.array)
    np.testing.assert_array_equal(back.affine, image.affine)
    assert back.sha256 == image.sha256
    assert os.listdir(tmp_path) == [f"a{suffix}"]


def test_the_written_header_is_understood_by_others(tmp_path):
    io.write(Image(ramp(), oblique(), "HU"), tmp_path / "a.nii.gz")
    image = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(image.get_sform(), oblique(), atol=1e-4)
    np.testing.assert_allclose(image.get_qform(), oblique(), atol=1e-4)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert bytes(image.header["descrip"]).startswith(RESEARCH_USE_ONLY.encode())
    np.testing.assert_array_equal(np.asarray(image.dataobj), ramp())


def test_a_sheared_affine_has_no_qform(tmp_path):
    affine = oblique()
    affine[1, 2] += 0.4
    io.write(Image(ramp(), affine), tmp_path / "a.nii")
    assert nib.load(tmp_path / "a.nii").header["qform_code"] == 0
    np.testing.assert_array_equal(io.read(tmp_path / "a.nii").affine, affine)


def test_an_affine_changed_by_another_program_is_the_one_that_counts(tmp_path):
    io.write(Image(ramp(), oblique()), tmp_path / "a.nii")
    other = nib.load(tmp_path / "a.nii")
    other.set_sform(AFFINE, 1)
    nib.save(other, tmp_path / "b.nii")
    np.testing.assert_array_equal(io.read(tmp_path / "b.nii").affine, AFFINE)


def test_equal_images_give_equal_files(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        io.write(Image(ramp(), AFFINE), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_double_precision_is_written_as_float32(tmp_path):
    io.write(Image(ramp(dtype=float) / 3, AFFINE), tmp_path / "a.nii")
    assert io.read(tmp_path / "a.nii").array.dtype == np.float32


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "a.nii").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write .*a\.nii \(No space left on device\): nothing was left"):
        io.write(Image(ramp(), AFFINE), tmp_path / "a.nii")
    assert os.listdir(tmp_path) == ["a.nii"]
    assert (tmp_path / "a.nii").read_bytes() == b"old"


def test_a_write_that_the_system_stops_halfway_leaves_nothing_behind(tmp_path):
    resource = pytest.importorskip("resource")
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match=r"File too large.*nothing was left behind"):
            io.write(Image(np.zeros((64, 64, 64), np.float32), AFFINE), tmp_path / "a.nii")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == []


def test_writing_into_a_missing_folder_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cannot write .*No such file or directory"):
        io.write(Image(ramp(), AFFINE), tmp_path / "no" / "a.nii")


def test_an_unknown_suffix_is_not_written(tmp_path):
    with pytest.raises(ImageError, match=r"written as \.nii or \.nii\.gz"):
        io.write(Image(ramp(), AFFINE), tmp_path / "a.mha")


def test_a_file_without_unit_is_taken_as_hu_and_the_notes_say_so(tmp_path):
    image = io.read(save(tmp_path / "a.nii", ramp()))
    assert image.unit == "HU"
    assert image.notes["unit"] == "none in the file, taken as HU"
    assert image.notes["source"] == "a.nii"


def test_orientation_is_that_of_the_file(tmp_path):
    """One bright voxel toward the right, anterior and superior: a flipped axis would move it."""
    array = np.zeros((10, 12, 14), np.int16)
    array[2, 9, 11] = 1000  # i runs to the left
    affine = np.diag([-1.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = 9.0, 0.0, 0.0
    image = io.read(save(tmp_path / "a.nii.gz", array, affine))
    np.testing.assert_allclose(image.index_to_world(np.argwhere(image.array == 1000)[0]), [7.0, 18.0, 33.0])


def test_slope_and_intercept_are_applied(tmp_path):
    path = save(tmp_path / "a.nii", ramp())
    patch(path, 112, "<ff", 2.0, -1024.0)
    image = io.read(path)
    np.testing.assert_array_equal(image.array, ramp() * 2.0 - 1024.0)
    assert image.array.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float64, ">i2", ">f4"])
def test_every_number_type_becomes_int16_or_float32(tmp_path, dtype):
    image = io.read(save(tmp_path / "a.nii", ramp(dtype=dtype)))
    assert image.array.dtype in (np.dtype(np.int16), np.dtype(np.float32))
    np.testing.assert_array_equal(image.array, ramp())


@pytest.mark.parametrize(("units", "factor"), [("meter", 1000.0), ("micron", 0.001), ("mm", 1.0)])
def test_other_length_units_become_millimetres(tmp_path, units, factor):
    image = io.read(save(tmp_path / "a.nii", ramp(), units=units))
    np.testing.assert_allclose(image.affine[:3], AFFINE[:3] * factor)
    assert ("length_unit" in image.notes) == (factor != 1.0)


def test_the_qform_places_a_file_without_sform(tmp_path):
    path = save(tmp_path / "a.nii", ramp(), sform=0, qform=1)
    np.testing.assert_allclose(io.read(path).affine, AFFINE)


def test_a_trailing_axis_of_one_is_squeezed(tmp_path):
    assert io.read(save(tmp_path / "a.nii", ramp()[..., None])).shape == (4, 5, 6)


def test_4d_is_refused(tmp_path):
    path = save(tmp_path / "a.nii", np.zeros((4, 5, 6, 2), np.int16))
    with pytest.raises(ImageError, match=r"a\.nii has shape \(4, 5, 6, 2\): one 3-D volume was expected"):
        io.read(path)


def test_rgb_is_refused(tmp_path):
    rgb = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(ImageError, match=r"colour \(RGB\) voxels: .*one number per voxel"):
        io.read(save(tmp_path / "a.nii", rgb))


def test_complex_is_refused(tmp_path):
    with pytest.raises(ImageError, match="voxels of type complex64"):
        io.read(save(tmp_path / "a.nii", ramp(dtype=np.complex64)))


def test_nan_affine_is_refused(tmp_path):
    path = patch(save(tmp_path / "a.nii", ramp()), 280, "<f", float("nan"))
    with pytest.raises(ImageError, match="an affine with NaN in it"):
        io.read(path)


def test_singular_affine_is_refused(tmp_path):
    path = patch(save(tmp_path / "a.nii", ramp()), 280, "<f", 0.0)
    with pytest.raises(ImageError, match="affine must be invertible"):
        io.read(path)


def test_nan_voxels_are_counted_and_refused(tmp_path):
    array = ramp(dtype=np.float32)
    array[0, 0, :3] = np.nan, np.inf, np.nan
    with pytest.raises(ImageError, match="3 voxels that are not finite"):
        io.read(save(tmp_path / "a.nii", array))


def test_a_file_that_does_not_say_how_it_lies_is_refused(tmp_path):
    with pytest.raises(ImageError, match="left and right cannot be told apart"):
        io.read(save(tmp_path / "a.nii", ramp(), sform=0, qform=0))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("part", [0.3, 0.8, 0.999])
def test_truncated_is_refused(tmp_path, suffix, part):
    path = save(tmp_path / f"a{suffix}", np.random.default_rng(0).integers(0, 999, (16, 16, 16), np.int16))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ImageError, match="truncated"):
        io.read(path)


def test_a_changed_byte_in_a_gz_is_noticed(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 999, (16, 16, 16), np.int16))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ImageError, match="damaged"):
        io.read(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_claims_32767_cubed_is_refused_before_allocating(tmp_path, suffix):
    path = patch(save(tmp_path / "a.nii", ramp()), 42, "<hhh", 32767, 32767, 32767)
    if suffix == ".nii.gz":
        path.with_name("a.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ImageError, match=r"claims 70,\d{3},\d{3},\d{3},\d{3} bytes"):
        io.read(path.with_name(f"a{suffix}"))


def test_a_plausible_claim_that_exceeds_the_memory_is_refused(tmp_path, monkeypatch):
    path = save(tmp_path / "a.nii", ramp())
    free = type("Free", (), {"available": 100})
    monkeypatch.setattr("trifocal.io.checks.psutil.virtual_memory", lambda: free)
    with pytest.raises(ImageError, match="GiB of memory"):
        io.read(path)


def test_voxels_beyond_the_end_of_the_file_are_refused(tmp_path):
    path = patch(save(tmp_path / "a.nii", ramp()), 108, "<f", 1e6)
    with pytest.raises(ImageError, match="truncated or its header is wrong"):
        io.read(path)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.nii", b"", "an empty file"),
        ("a.nii", b"not a nifti at all" * 40, "does not begin with a NIfTI header"),
        ("a.nii.gz", b"not a gzip at all" * 40, "is damaged or not what its name says"),
        ("a.txt", b"hello", "of an unknown kind: a DICOM folder, file or zip, or one of .nii"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=sentence):
        io.read(tmp_path / name)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_changed_bytes_give_an_image_or_a_sentence(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", ramp())
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        data = np.frombuffer(whole, np.uint8).copy()
        data[random.integers(0, min(len(data), 400), 3)] = random.integers(0, 256, 3)
        path.write_bytes(data.tobytes())
        assert reads_or_says_why(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder .*none\.nii"):
        io.read(tmp_path / "none.nii")


def test_the_template_reads_upright():
    image = io.read(shared_data("head_ct/template_with_skull_2mm.nii.gz"))
    assert image.shape == (128, 128, 128)
    np.testing.assert_allclose(image.spacing_mm, 2.0)
    assert image.is_axis_aligned
    assert image.array.max() == pytest.approx(1579, abs=1)
    bone = image.index_to_world(np.argwhere(image.array > 700))
    assert bone[:, 2].max() - 200 == pytest.approx(0, abs=8)  # the crown is on top: there is no bone below
    assert np.ptp(bone[bone[:, 2] < np.median(bone[:, 2])], axis=0)[1] > np.ptp(bone[:, 0])
