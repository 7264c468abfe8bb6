"""The record that lies beside every result: what it was made from, how, where and by which versions."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import trifocal
from trifocal.files import atomic_file, output_folder, sha256_file

if TYPE_CHECKING:
    from trifocal.image import Image

__all__ = ["jsonable", "output_folder", "record", "write_record"]

_LIBRARIES = ("numpy", "scipy", "torch", "numba", "nibabel", "pydicom")
_LONGEST = 1000  # numbers of an array that are written out; a longer one is described by its hash


def record(
    engine: str,
    *,
    inputs: Mapping[str, Image],
    parameters: object,
    device: object = "cpu",
    seed: int | None = None,
    weights: Mapping[str, Any] | None = None,
    warnings: Iterable[str] = (),
    outputs: Iterable[Path] = (),
) -> dict[str, Any]:
    """Describe a run so that it can be traced and repeated. Everything returned is JSON.

    Args:
        engine: Which engine and rung, e.g. "focus/has".
        inputs: The images that went in, by role ("ct"); name, hash, geometry and notes of each are recorded.
        parameters: Every resolved parameter: a mapping or a (nested) dataclass.
        device: Where it ran, e.g. "cpu" or a torch.device.
        seed: Of the random numbers, if any were drawn.
        weights: Name and sha256 of the weights, where the engine has any.
        warnings: Sentences that the user was shown.
        outputs: Files written, hashed here; only their names are recorded.

    Raises:
        OSError: If an output cannot be read.
    """
    return {
        "notice": trifocal.RESEARCH_USE_ONLY,
        "engine": {"name": engine, "version": trifocal.__version__},
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": {role: _image(image) for role, image in inputs.items()},
        "parameters": jsonable(parameters),
        "weights": jsonable(weights),
        "seed": seed,
        "device": _device(str(device)),
        "platform": {"system": platform.platform(), "machine": platform.machine()},
        "versions": {"python": platform.python_version(), "trifocal": trifocal.__version__, **_versions()},
        "warnings": [str(warning) for warning in warnings],
        "outputs": {path.name: {"sha256": sha256_file(path)} for path in map(Path, outputs)},
    }


def write_record(path: Path | str, content: Mapping[str, Any]) -> Path:
    """Write a record as JSON, whole or not at all.

    Raises:
        OSError: If it cannot be written; nothing is left behind.
    """
    path = Path(path)
    text = json.dumps(jsonable(content), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_file(path) as part:
        part.write_text(text + "\n", encoding="utf-8")
    return path


def git_commit() -> str | None:
    """Commit of the sources, where they lie in a git checkout."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def jsonable(value: object) -> Any:
    """Turn numpy, dataclasses, paths and the like into what JSON can say; NaN and infinity become null.

    Arrays of more than 1000 numbers are described by shape, dtype and sha256.
    """
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist()) if value.size <= _LONGEST else _described(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(jsonable, value), key=repr)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [jsonable(item) for item in value]
    return repr(value)


def _described(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    digest = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
    return {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": digest}


def _image(image: Image) -> dict[str, Any]:
    return {
        "name": image.notes.get("source", ""),
        "sha256": image.sha256,
        "shape": list(image.shape),
        "spacing_mm": jsonable(image.spacing_mm),
        "affine_ras_mm": jsonable(image.affine),
        "unit": image.unit,
        "notes": jsonable(image.notes),
    }


def _device(name: str) -> dict[str, str]:
    if not name.startswith("cuda"):
        return {"name": name, "model": platform.processor() or platform.machine()}
    import torch

    return {
        "name": name,
        "model": torch.cuda.get_device_name(name) if torch.cuda.is_available() else "absent",
    }


def _versions() -> dict[str, str]:
    found = {}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "absent"
    return found
