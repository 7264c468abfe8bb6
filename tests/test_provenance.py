from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import trifocal
from trifocal.files import output_folder
from trifocal.image import Image
from trifocal.provenance import jsonable, record, write_record


@dataclasses.dataclass(frozen=True)
class Parameters:
    frequency_hz: float
    steps: np.int64
    target_mm: np.ndarray


def image():
    notes = {"source": "head.nii.gz", "resampled": {"tilt_deg": np.float64(18.5)}}
    return Image(np.zeros((2, 3, 4), np.int16), np.eye(4), "HU", notes)


def example(**changes):
    parameters = Parameters(250e3, np.int64(7), np.array([1.0, 2.0, np.nan]))
    arguments = {"inputs": {"ct": image()}, "parameters": parameters, "seed": 3, "warnings": ["saturated"]}
    return record("focus/has", **{**arguments, **changes})


def test_a_record_says_what_how_where_and_by_what(tmp_path):
    (tmp_path / "pressure.nii.gz").write_bytes(b"field")
    path = write_record(
        tmp_path / "provenance.json",
        example(outputs=[tmp_path / "pressure.nii.gz"], device=torch.device("cpu")),
    )
    found = json.loads(path.read_text())
    assert found["notice"] == trifocal.RESEARCH_USE_ONLY
    assert found["engine"] == {"name": "focus/has", "version": trifocal.__version__}
    assert found["inputs"]["ct"]["name"] == "head.nii.gz"
    assert found["inputs"]["ct"]["sha256"] == image().sha256
    assert found["inputs"]["ct"]["notes"]["resampled"] == {"tilt_deg": 18.5}
    assert found["parameters"] == {"frequency_hz": 250e3, "steps": 7, "target_mm": [1.0, 2.0, None]}
    assert found["outputs"]["pressure.nii.gz"]["sha256"] == hashlib.sha256(b"field").hexdigest()
    assert found["device"]["name"] == "cpu"
    assert found["seed"] == 3
    assert found["warnings"] == ["saturated"]
    assert found["time_utc"].endswith("+00:00")
    assert {"python", "numpy", "torch", "nibabel", "pydicom", "trifocal"} <= set(found["versions"])
    assert found["versions"]["numpy"] == np.__version__


def test_anything_becomes_json():
    value = {
        1: np.float32(0.5),
        "flag": np.bool_(True),
        "path": Path("a") / "b",
        "set": {3, 1, 2},
        "tuple": (np.arange(3), None),
        "infinite": float("inf"),
        "large": np.zeros((100, 100)),
        "other": object,
    }
    out = jsonable(value)
    json.dumps(out, allow_nan=False)
    assert out["1"] == 0.5
    assert out["flag"] is True
    assert out["set"] == [1, 2, 3]
    assert out["tuple"] == [[0, 1, 2], None]
    assert out["infinite"] is None
    assert out["large"]["shape"] == [100, 100]


def test_a_record_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write .*provenance\.json \(No space left on device\)"):
        write_record(tmp_path / "provenance.json", example())
    assert os.listdir(tmp_path) == []


def test_an_output_folder_appears_whole(tmp_path):
    with output_folder(tmp_path / "deep" / "out") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text("a")
        assert not (tmp_path / "deep" / "out").exists()
    assert (tmp_path / "deep" / "out" / "sub" / "a.txt").read_text() == "a"
    assert os.listdir(tmp_path / "deep") == ["out"]


def test_an_output_folder_keeps_its_other_files(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "a.txt").write_text("old")
    with output_folder(tmp_path) as folder:
        (folder / "a.txt").write_text("new")
        (folder / "sub").mkdir()
        (folder / "sub" / "b.txt").write_text("b")
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "mine.txt", "sub"]
    assert (tmp_path / "a.txt").read_text() == "new"
    assert (tmp_path / "sub" / "b.txt").read_text() == "b"


def write_and_fail(out, error):
    with output_folder(out) as folder:
        (folder / "a.txt").write_text("new")
        raise error


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
@pytest.mark.parametrize("exists", [False, True])
def test_a_failed_run_leaves_nothing_behind(tmp_path, error, exists):
    out = tmp_path / "deep" / "out"
    if exists:
        out.mkdir(parents=True)
        (out / "a.txt").write_text("old")
    with pytest.raises(type(error)):
        write_and_fail(out, error)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == (["deep", "deep/out", "deep/out/a.txt"] if exists else [])
    if exists:
        assert (out / "a.txt").read_text() == "old"


def test_a_full_disk_names_the_output_folder(tmp_path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.txt")
    sentence = r"cannot write .*out \(No space left on device\): nothing was left behind"
    with pytest.raises(OSError, match=sentence) as raised:
        write_and_fail(tmp_path / "out", full)
    assert raised.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == []


def test_an_error_about_something_else_passes_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError, match="model"), output_folder(tmp_path / "out"):
        raise FileNotFoundError(errno.ENOENT, "No such file", "model.safetensors")
    assert os.listdir(tmp_path) == []


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("a file")
    with (
        pytest.raises(NotADirectoryError, match="is a file where a folder was expected"),
        output_folder(tmp_path / "out"),
    ):
        pass
