"""Finding the heat-map heads of the nine tasks among tensors whose names follow no known rule."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from trifocal.keypoints.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

_ALIASES = {"fetal_femur": r"fetal[_-]?femur|foetal[_-]?femur|femur"}
_NUMBERED = re.compile(r"^(.*?(?:heads|decoders|head|decoder)\.(\d+))\.")
_NORM_LEAVES = ("weight", "bias", "running_mean", "running_var")


@dataclass
class Heads:
    """What was found.

    Attributes:
        found: State dict of each task's head, by the names of transformers' classic decoder.
        prefixes: What its keys begin with in the file.
        missing: Tasks without a head.
        filters: Channels of the deconvolutions.
    """

    found: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    prefixes: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    filters: int = 0


def find_heads(tensors: Mapping[str, Tensor], hidden: int, order: Sequence[str]) -> tuple[Heads, set[str]]:
    """Match heads to tasks: by the task's name in the keys, else by number and shape.

    Numbered heads are matched by the order of the tasks in the configuration if every head has as many points
    as its task there; without such an order, only those whose number of points occurs once among the tasks.

    Args:
        tensors: All that is not of the backbone.
        hidden: Channels that go into a head.
        order: Tasks as the configuration lists them; may be empty.

    Returns:
        The heads, and the keys that belong to none.
    """
    heads, unexpected = Heads(), set(tensors)
    groups = _groups(tensors)
    decoders = {
        name: decoder for name, keys in groups.items() if (decoder := _decoder(tensors, keys, hidden))
    }
    for task, name in _assigned(decoders, order).items():
        filters = decoders[name]["conv.weight"].shape[1]
        if heads.filters not in (0, filters):
            continue  # a head of another size cannot be in the same model
        heads.filters = filters
        heads.found[task] = decoders[name]
        heads.prefixes[task] = _common(groups[name])
        unexpected -= set(groups[name])
    heads.missing = tuple(task for task in TASKS if task not in heads.found)
    return heads, unexpected


def _groups(tensors: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Keys that may be one head's: by the task that they name, else by the number behind "heads"."""
    groups: dict[str, list[str]] = {}
    for key in tensors:
        named = [t for t in TASKS if re.search(rf"(?<![a-z0-9])(?:{_pattern(t)})(?![a-z0-9])", key.lower())]
        numbered = _NUMBERED.match(key)
        if len(named) == 1:
            groups.setdefault(named[0], []).append(key)
        elif not named and numbered:
            groups.setdefault(numbered[1], []).append(key)
    return groups


def _pattern(task: str) -> str:
    return _ALIASES.get(task, re.escape(task.lower()))


def _assigned(decoders: Mapping[str, Mapping[str, Tensor]], order: Sequence[str]) -> dict[str, str]:
    """Task -> name of its group."""
    points = {name: len(decoder["conv.bias"]) for name, decoder in decoders.items()}
    out = {t: t for t in TASKS if points.get(t) == TASKS[t].count}
    numbered = sorted((n for n in decoders if n not in TASKS), key=_natural)
    listed = [next((t for t in TASKS if re.fullmatch(_pattern(t), o.lower())), "") for o in order]
    pairs = list(zip(listed, numbered, strict=False))
    if 0 < len(listed) <= len(numbered) and all(t and TASKS[t].count == points[n] for t, n in pairs):
        return dict(pairs) | out
    counts = [task.count for task in TASKS.values()]
    for task in TASKS.values():
        fitting = [n for n in numbered if points[n] == task.count]
        if counts.count(task.count) == 1 and len(fitting) == 1:
            out.setdefault(task.id, fitting[0])
    return out


def _decoder(tensors: Mapping[str, Tensor], keys: Sequence[str], hidden: int) -> dict[str, Tensor] | None:
    """The classic decoder of a group of keys, or None if they are not one.

    Layers are told by their shapes and stand in the natural order of their names. A deconvolution's bias is
    taken into the mean of the batch norm that follows it, which is the same function: (x + b) - m = x - (m -
    b).
    """
    layers: dict[str, dict[str, Tensor]] = {}
    for key in sorted(keys, key=_natural):
        stem, _, leaf = key.rpartition(".")
        layers.setdefault(stem, {})[leaf] = tensors[key]
    kernels = [_kernel(layer) for layer in layers.values()]
    deconvolutions = [v for v, k in zip(layers.values(), kernels, strict=True) if k == (4, 4)]
    final = [v for v, k in zip(layers.values(), kernels, strict=True) if k == (1, 1)]
    norms = [v for v in layers.values() if "running_mean" in v]
    if (len(deconvolutions), len(norms), len(final), len(layers)) != (2, 2, 1, 5) or "bias" not in final[0]:
        return None
    out: dict[str, Tensor] = {"conv.weight": final[0]["weight"], "conv.bias": final[0]["bias"]}
    for i, (deconvolution, norm) in enumerate(zip(deconvolutions, norms, strict=True), 1):
        if any(leaf not in norm for leaf in _NORM_LEAVES):
            return None
        out[f"deconv{i}.weight"] = deconvolution["weight"]
        out |= {f"batchnorm{i}.{leaf}": norm[leaf] for leaf in _NORM_LEAVES}
        out[f"batchnorm{i}.num_batches_tracked"] = norm.get("num_batches_tracked", torch.tensor(0))
        if "bias" in deconvolution:
            out[f"batchnorm{i}.running_mean"] = norm["running_mean"] - deconvolution["bias"]
    return out if _fits(out, hidden) else None


def _fits(decoder: Mapping[str, Tensor], hidden: int) -> bool:
    filters = decoder["conv.weight"].shape[1]
    norms = all(decoder[f"batchnorm{i}.{leaf}"].shape == (filters,) for i in (1, 2) for leaf in _NORM_LEAVES)
    return norms and (
        decoder["deconv1.weight"].shape == (hidden, filters, 4, 4)
        and decoder["deconv2.weight"].shape == (filters, filters, 4, 4)
        and decoder["conv.bias"].shape == decoder["conv.weight"].shape[:1]
    )


def _kernel(layer: Mapping[str, Tensor]) -> tuple[int, ...]:
    return tuple(layer["weight"].shape[2:]) if "weight" in layer else ()


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Sort key by which 2 comes before 10."""
    return [(not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in re.split(r"(\d+)", name)]


def _common(keys: Sequence[str]) -> str:
    """What all keys begin with, up to a dot."""
    first, last = min(keys), max(keys)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:same].rpartition(".")[0]
