"""Weights and what they are: a safetensors file and a JSON of the same stem, checked by its hash."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch

import trifocal
from trifocal.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn

FORMAT = 1
"""Of the JSON; a reader refuses a higher one."""

_TEXTS = ("name", "engine", "version", "sha256")
_KINDS = dict.fromkeys(_TEXTS, str) | {"bytes": int, "config": dict, "card": dict}


class CheckpointError(ValueError):
    """The weights are missing, damaged, or not those of this model; the message says which and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """A model's weights and what is known about them.

    Attributes:
        weights: State dict on the CPU; floating-point tensors are float32, whatever the file holds.
        config: Everything to rebuild the model, and what it has seen in training; JSON values.
        card: For people: data, command (that remakes it), seed, commit, figures, limits, licence; JSON.
        engine: "focus", "keypoints" or "xray".
        name: Stem of the file that was written.
        version: Of the trifocal that wrote it.
        sha256: Of the safetensors file, lower-case hexadecimal.
    """

    weights: dict[str, Tensor]
    config: dict[str, Any]
    card: dict[str, Any]
    engine: str
    name: str
    version: str
    sha256: str

    def record(self) -> dict[str, str]:
        """What a result's provenance says about the weights."""
        return {"name": self.name, "engine": self.engine, "version": self.version, "sha256": self.sha256}


def save(
    path: Path | str,
    weights: Mapping[str, Tensor],
    *,
    engine: str,
    config: Mapping[str, Any],
    card: Mapping[str, Any],
    half: bool = True,
) -> Checkpoint:
    """Write weights and JSON, both or neither; an earlier pair of the same name stays whole if it fails.

    Args:
        path: Ends with .safetensors; the JSON gets the same stem.
        weights: State dict; moved to the CPU. Integers are kept as they are.
        engine: Whose weights these are; `load` asks for it.
        config: JSON values only (use `dataclasses.asdict`).
        card: JSON values only.
        half: Round floating-point tensors to float16 (relative error at most 2^-11 from 6.1e-5 to 65504,
            absolute at most 3e-8 below), which halves the file; otherwise they are written as float32.

    Returns:
        What `load` returns for the file: with the rounded weights.

    Raises:
        ValueError: If the path has another suffix, a weight is not finite or too large for float16, or
            config or card hold something that JSON cannot.
        OSError: If the disk is full or the folder cannot be written.
    """
    path = _weights_path(path)
    dtype = torch.float16 if half else torch.float32
    tensors = {name: _rounded(name, tensor, dtype) for name, tensor in weights.items()}
    data = safetensors.torch.save(tensors)
    content = {
        "format": FORMAT,
        "engine": engine,
        "name": path.stem,
        "version": trifocal.__version__,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "config": dict(config),
        "card": dict(card),
    }
    text = _json(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Both lie on the disk before either is renamed; the weights first, so that no JSON names absent ones.
    with atomic_file(path.with_suffix(".json")) as json_part, atomic_file(path) as part:
        part.write_bytes(data)
        json_part.write_text(text, encoding="utf-8")
        with json_part.open("rb+") as file:
            os.fsync(file.fileno())
    return load(path, engine)


def load(path_or_name: Path | str, engine: str = "focus") -> Checkpoint:
    """Read a checkpoint and check it; no tensor is built from a file whose size or hash is wrong.

    Args:
        path_or_name: A .safetensors file with its JSON beside it, or the name of a bundled model.
        engine: Whose weights are wanted.

    Raises:
        CheckpointError: If a file is missing, damaged, of a newer format, or of another engine.
    """
    path = _found(path_or_name)
    about = _read_json(path)
    if about["engine"] != engine:
        msg = (
            f"{path} must hold weights of the {engine} engine, got weights of the {about['engine']} engine: "
            f"choose a checkpoint that was trained for {engine}"
        )
        raise CheckpointError(msg)
    data = path.read_bytes()
    _check_bytes(path, data, about)
    return Checkpoint(
        weights=_tensors(path, data),
        config=about["config"],
        card=about["card"],
        engine=about["engine"],
        name=about["name"],
        version=about["version"],
        sha256=about["sha256"],
    )


def bundled(name: str) -> Path:
    """Find the weights file of a model that comes with trifocal.

    Raises:
        CheckpointError: If there is no such model; the message names those that there are.
    """
    try:
        folder = Path(str(resources.files("trifocal_assets"))) / "models"
    except ModuleNotFoundError as error:
        msg = (
            f"the bundled model {name!r} cannot be found: the package trifocal_assets is not installed; "
            "install trifocal whole, or give the path of a .safetensors file"
        )
        raise CheckpointError(msg) from error
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in folder.glob("*.safetensors"))) or "none"
        msg = (
            f"a checkpoint must be a .safetensors file or the name of a bundled model ({there}), got {name!r}"
        )
        raise CheckpointError(msg)
    return path


def load_into(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Give a model the weights of a checkpoint: every name and shape must fit; else the model is not changed.

    Raises:
        CheckpointError: Naming what is missing, unexpected or of another shape.
    """
    wanted, got = model.state_dict(), checkpoint.weights
    shapes = [
        f"{key} is {tuple(got[key].shape)}, not {tuple(wanted[key].shape)}"
        for key in wanted.keys() & got.keys()
        if got[key].shape != wanted[key].shape
    ]
    problems = {
        "missing": sorted(wanted.keys() - got.keys()),
        "unexpected": sorted(got.keys() - wanted.keys()),
        "other shape": sorted(shapes),
    }
    if any(problems.values()):
        found = "; ".join(f"{what}: {_first(names)}" for what, names in problems.items() if names)
        msg = (
            f"the weights {checkpoint.name!r} must fit the model key by key, got {found}. "
            f"Build the model from the checkpoint's own config (written by trifocal {checkpoint.version})"
        )
        raise CheckpointError(msg)
    model.load_state_dict(got)


def _weights_path(path: Path | str) -> Path:
    path = Path(path)
    if path.suffix != ".safetensors":
        msg = f"a checkpoint's path must end with .safetensors, got {path}"
        raise CheckpointError(msg)
    return path


def _rounded(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy of its own for the file (safetensors refuses shared memory)."""
    tensor = tensor.detach().cpu()
    if not tensor.is_floating_point():
        return tensor.clone().contiguous()
    rounded = tensor.to(dtype, copy=True).contiguous()
    if not torch.isfinite(tensor).all():
        msg = f"weights must be finite, got NaN or infinity in {name}: go back to an earlier state of the run"
        raise ValueError(msg)
    if not torch.isfinite(rounded).all():
        msg = (
            f"weights must be below 65504 for float16, got {tensor.abs().max():.3g} in {name}: use half=False"
        )
        raise ValueError(msg)
    return rounded


def _json(content: Mapping[str, Any]) -> str:
    try:
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        msg = f"config and card must hold what JSON can (text, finite numbers, lists, dicts), got: {error}"
        raise ValueError(msg) from error


def _found(path_or_name: Path | str) -> Path:
    """Resolve to a weights file that exists."""
    bare = isinstance(path_or_name, str) and Path(path_or_name).name == path_or_name
    if bare and Path(path_or_name).suffix != ".safetensors":
        return bundled(str(path_or_name))
    path = _weights_path(path_or_name)
    if not path.is_file():
        msg = f"the weights {path} are missing: check the path, or give the name of a bundled model"
        raise CheckpointError(msg)
    return path


def _read_json(path: Path) -> dict[str, Any]:
    file = path.with_suffix(".json")
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        msg = f"{file.name} is missing beside {path}: the weights cannot be used without it, get both again"
        raise CheckpointError(msg) from error
    except ValueError as error:
        msg = f"{file} must be JSON, got something else ({error}): the file is damaged, get it again"
        raise CheckpointError(msg) from error
    number = about.get("format") if isinstance(about, dict) else None
    if not isinstance(number, int) or number < 1:
        msg = f'{file} must be the JSON of a checkpoint with "format": {FORMAT}, got {number!r}: get it again'
        raise CheckpointError(msg)
    if number > FORMAT:
        msg = f"{file} must have format {FORMAT} or lower, got {number}: it needs a newer trifocal"
        raise CheckpointError(msg)
    wrong = [key for key, kind in _KINDS.items() if not isinstance(about.get(key), kind)]
    if wrong:
        msg = f"{file} must say {_first(wrong)}, and does not: the file is damaged, get it again"
        raise CheckpointError(msg)
    return dict(about)


def _check_bytes(path: Path, data: bytes, about: Mapping[str, Any]) -> None:
    command = about["card"].get("command")
    again = "get it again" + (f", or remake it with: {command}" if command else "")
    if len(data) != about["bytes"]:
        msg = f"{path} must have {about['bytes']} bytes, got {len(data)}: the file is not whole; {again}"
        raise CheckpointError(msg)
    digest = hashlib.sha256(data).hexdigest()
    if digest != about["sha256"]:
        msg = (
            f"{path} must have the sha256 {about['sha256']}, got {digest}: "
            f"the file is damaged or was changed; {again}"
        )
        raise CheckpointError(msg)


def _tensors(path: Path, data: bytes) -> dict[str, Tensor]:
    """Build the state dict; floating-point tensors become float32."""
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        msg = f"{path} must be a safetensors file, got something else ({error}): get it again"
        raise CheckpointError(msg) from error
    weights = {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}
    bad = sorted(k for k, t in weights.items() if t.is_floating_point() and not torch.isfinite(t).all())
    if bad:
        msg = f"the weights in {path} must be finite, got NaN or infinity in {_first(bad)}: remake them"
        raise CheckpointError(msg)
    return weights


def _first(names: Iterable[str], most: int = 5) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
