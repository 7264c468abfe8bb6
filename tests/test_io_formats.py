"""NRRD, MetaImage and the choice of a reader."""

from __future__ import annotations

import zlib

import nrrd
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data import reads_or_says_why
from trifocal import io
from trifocal.image import ImageError

ROTATION = Rotation.from_euler("xyz", (10, 20, 30), degrees=True).as_matrix()
SPACING = np.array([0.5, 0.7, 1.3])
ORIGIN = np.array([11.0, -22.0, 33.0])
TO_RAS = {
    "left-posterior-superior": [-1, -1, 1],
    "RAS": [1, 1, 1],
    "left-anterior-superior": [-1, 1, 1],
}


def ramp(dtype=np.int16):
    return np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(dtype)


def save_nrrd(path, array=None, **changes):
    header = {
        "space": "left-posterior-superior",
        "space directions": (ROTATION * SPACING).T,  # a row for each array axis
        "space origin": ORIGIN,
        "encoding": "gzip",
        **changes,
    }
    nrrd.write(
        str(path), ramp() if array is None else array, {k: v for k, v in header.items() if v is not None}
    )
    return path


def save_mha(path, array=None, *, data=None, local=True, **changes):
    array = ramp() if array is None else array
    data = array.tobytes(order="F") if data is None else data
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        # one array axis after the other, as ITK writes it
        "TransformMatrix": " ".join(map(repr, ROTATION.T.ravel().tolist())),
        "Offset": " ".join(map(repr, ORIGIN.tolist())),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": " ".join(map(repr, SPACING.tolist())),
        "DimSize": " ".join(map(str, array.shape)),
        "ElementType": "MET_SHORT",
        **changes,
        "ElementDataFile": "LOCAL" if local is True else local,
    }
    text = "".join(f"{key} = {value}\n" for key, value in header.items() if value is not None)
    path.write_bytes(text.encode() + (data if local is True else b""))
    return path


def expected(signs):
    affine = np.eye(4)
    affine[:3, :3] = np.diag(signs) @ (ROTATION * SPACING)
    affine[:3, 3] = signs * ORIGIN
    return affine


@pytest.mark.parametrize("space", TO_RAS)
@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_nrrd_lies_in_ras(tmp_path, space, encoding):
    image = io.read(save_nrrd(tmp_path / "a.nrrd", space=space, encoding=encoding))
    np.testing.assert_array_equal(image.array, ramp())
    np.testing.assert_allclose(image.affine, expected(TO_RAS[space]), atol=1e-9)
    assert image.array.dtype == np.int16
    assert image.unit == "HU"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_nrrd_types(tmp_path, dtype):
    np.testing.assert_array_equal(io.read(save_nrrd(tmp_path / "a.nrrd", ramp(dtype))).array, ramp())


def test_nrrd_with_its_data_beside_it(tmp_path):
    save_nrrd(tmp_path / "a.nhdr")
    np.testing.assert_array_equal(io.read(tmp_path / "a.nhdr").array, ramp())


def test_nrrd_data_outside_the_folder_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    path = save_nrrd(tmp_path / "in" / "a.nhdr")
    (tmp_path / "in" / "a.raw.gz").rename(tmp_path / "a.raw.gz")
    path.write_text(path.read_text().replace("a.raw.gz", "../a.raw.gz"))
    with pytest.raises(ImageError, match="one file in the same folder was expected"):
        io.read(path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"space": None, "space origin": None, "space directions": None}, "does not say how it lies"),
        ({"space": "scanner-xyz"}, "does not say how it lies in the patient"),
        ({"space origin": None}, "does not say how it lies in the patient"),
        ({"space units": ["inch"] * 3}, r"space units \['inch'\]"),
        ({"encoding": "bzip2"}, "encoding 'bzip2': raw or gzip was expected"),
    ],
)
def test_nrrd_refused(tmp_path, changes, sentence):
    with pytest.raises(ImageError, match=sentence):
        io.read(save_nrrd(tmp_path / "a.nrrd", **changes))


def test_nrrd_in_metres(tmp_path):
    image = io.read(save_nrrd(tmp_path / "a.nrrd", **{"space units": ["m", "m", "m"]}))
    np.testing.assert_allclose(image.spacing_mm, SPACING * 1000)


def test_nrrd_4d_is_refused(tmp_path):
    with pytest.raises(ImageError, match=r"sizes \(2, 4, 5, 6\)|does not say how it lies"):
        io.read(save_nrrd(tmp_path / "a.nrrd", np.zeros((2, 4, 5, 6), np.int16)))


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_truncated_nrrd_is_refused(tmp_path, encoding):
    array = np.random.default_rng(0).integers(0, 999, (16, 16, 16), np.int16)
    path = save_nrrd(tmp_path / "a.nrrd", array, encoding=encoding)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImageError, match="truncated"):
        io.read(path)


def test_nrrd_that_claims_too_much_is_refused(tmp_path):
    path = save_nrrd(tmp_path / "a.nrrd")
    path.write_bytes(path.read_bytes().replace(b"sizes: 4 5 6", b"sizes: 32767 32767 32767"))
    with pytest.raises(ImageError, match="claims 70,"):
        io.read(path)


def test_nrrd_garbage_is_refused(tmp_path):
    (tmp_path / "a.nrrd").write_bytes(b"NRRD000x\nnothing\n\n")
    with pytest.raises(ImageError, match="no NRRD header that can be read"):
        io.read(tmp_path / "a.nrrd")


def test_mha_lies_in_ras(tmp_path):
    image = io.read(save_mha(tmp_path / "a.mha"))
    np.testing.assert_array_equal(image.array, ramp())
    np.testing.assert_allclose(image.affine, expected([-1, -1, 1]), atol=1e-9)
    assert image.notes["format"] == "MetaImage"


def test_compressed_mha(tmp_path):
    data = zlib.compress(ramp().tobytes(order="F"))
    changes = {"CompressedData": "True", "CompressedDataSize": len(data)}
    np.testing.assert_array_equal(io.read(save_mha(tmp_path / "a.mha", data=data, **changes)).array, ramp())


def test_big_endian_mha(tmp_path):
    data = ramp(">i2").tobytes(order="F")
    image = io.read(save_mha(tmp_path / "a.mha", data=data, BinaryDataByteOrderMSB="True"))
    np.testing.assert_array_equal(image.array, ramp())


def test_mhd_takes_its_voxels_from_the_file_beside_it(tmp_path):
    (tmp_path / "a.raw").write_bytes(ramp().tobytes(order="F"))
    np.testing.assert_array_equal(io.read(save_mha(tmp_path / "a.mhd", local="a.raw")).array, ramp())


@pytest.mark.parametrize("where", ["../a.raw", "/etc/passwd", "LIST", "none.raw", "%03d.raw 1 3 1", ".."])
def test_mhd_that_leaves_its_folder_is_refused(tmp_path, where):
    with pytest.raises(ImageError, match="one file in the same folder was expected"):
        io.read(save_mha(tmp_path / "a.mhd", local=where))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"TransformMatrix": None}, "no usable TransformMatrix"),
        ({"Offset": None}, "no usable Offset"),
        ({"ElementSpacing": None}, "no usable ElementSpacing"),
        ({"CenterOfRotation": "1 0 0"}, "CenterOfRotation"),
        ({"ElementType": "MET_STRING"}, "voxels of type MET_STRING"),
        ({"ElementNumberOfChannels": "3"}, "3 channels"),
        ({"DimSize": "4 5 6 2"}, r"DimSize \(4, 5, 6, 2\)"),
        ({"DimSize": "32767 32767 32767"}, "claims 70,"),
        ({"DimSize": "4 5 7"}, "claims 280 bytes"),
        ({"DimSize": "4 five 6"}, "is damaged or not what its name says"),
        ({"BinaryData": "False"}, "as text"),
        ({"ElementSpacing": "1 nan 1"}, "affine must be a finite"),
    ],
)
def test_mha_refused(tmp_path, changes, sentence):
    with pytest.raises(ImageError, match=sentence):
        io.read(save_mha(tmp_path / "a.mha", **changes))


def test_truncated_compressed_mha_is_refused(tmp_path):
    array = np.random.default_rng(0).integers(0, 999, (16, 16, 16), np.int16)
    data = zlib.compress(array.tobytes(order="F"))[:-1000]
    path = save_mha(tmp_path / "a.mha", array, data=data, CompressedData="True")
    with pytest.raises(ImageError, match="is truncated: 8,192 bytes were expected"):
        io.read(path)


def test_mha_garbage_is_refused(tmp_path):
    (tmp_path / "a.mha").write_bytes(b"\x00\x01" * 500)
    with pytest.raises(ImageError, match="no MetaImage header"):
        io.read(tmp_path / "a.mha")


@pytest.mark.parametrize("save", [save_nrrd, save_mha])
def test_changed_bytes_give_an_image_or_a_sentence(tmp_path, save):
    path = save(tmp_path / ("a.nrrd" if save is save_nrrd else "a.mha"))
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        data = np.frombuffer(whole, np.uint8).copy()
        data[random.integers(0, len(data), 3)] = random.integers(0, 256, 3)
        path.write_bytes(data.tobytes())
        assert reads_or_says_why(path)
