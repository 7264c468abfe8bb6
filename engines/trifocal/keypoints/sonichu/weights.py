"""Reading published SONICHU weights, whose names are not known: what is likely is tried, the rest refused.

The backbone's names may be those of I-JEPA's own code (timm's are the same), of transformers 4 or of
transformers 5, behind any of the usual prefixes. A head is found by the name of its task in the keys, and its
layers by their shapes, so that any of the usual namings will do (mmpose's deconv_layers.0 and final_layer,
transformers' deconv1, a plain nn.Sequential). Only safetensors files are read: a pickle can run code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
import safetensors
import safetensors.torch
import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from trifocal.checkpoint import CheckpointError
from trifocal.keypoints.sonichu.heads import find_heads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

_WRAPPERS = r"(?:(?:model|module|_orig_mod|net|backbone|encoder|vit|ijepa)\.)*"
_EMBEDDINGS = "embeddings.patch_embeddings.projection", "embeddings.position_embeddings"
_NORMS = {"norm1": "layernorm_before", "norm2": "layernorm_after"}

# Tail of a key -> our name of it, for each naming; {} is the number of the block.
_NAMINGS: dict[str, dict[str, str]] = {
    "I-JEPA or timm": {
        r"patch_embed\.proj": _EMBEDDINGS[0],
        r"pos_embed": _EMBEDDINGS[1],
        r"norm": "layernorm",
        **{rf"blocks\.(\d+)\.{theirs}": "layers.{}." + ours for theirs, ours in _NORMS.items()},
        r"blocks\.(\d+)\.attn\.qkv": "layers.{}.attention.qkv",
        r"blocks\.(\d+)\.attn\.proj": "layers.{}.attention.o_proj",
        r"blocks\.(\d+)\.mlp\.(fc1|fc2)": "layers.{}.mlp.{}",
    },
    "transformers 4": {
        r"layer\.(\d+)\.attention\.attention\.(query|key|value)": "layers.{}.attention.{}",
        r"layer\.(\d+)\.attention\.output\.dense": "layers.{}.attention.o_proj",
        r"layer\.(\d+)\.intermediate\.dense": "layers.{}.mlp.fc1",
        r"layer\.(\d+)\.output\.dense": "layers.{}.mlp.fc2",
        r"layer\.(\d+)\.(layernorm_before|layernorm_after)": "layers.{}.{}",
    },
    "transformers 5": {
        r"embeddings\.patch_embeddings\.projection": _EMBEDDINGS[0],
        r"embeddings\.position_embeddings": _EMBEDDINGS[1],
        r"layernorm": "layernorm",
        r"layers\.(\d+)\.attention\.([qkvo])_proj": "layers.{}.attention.{}_proj",
        r"layers\.(\d+)\.(layernorm_before|layernorm_after|mlp\.fc1|mlp\.fc2)": "layers.{}.{}",
    },
}
_LONG_NAMES = {"query": "q_proj", "key": "k_proj", "value": "v_proj"}
_IN_BLOCK = (
    *(f"attention.{x}_proj" for x in "qkvo"), "mlp.fc1", "mlp.fc2", "layernorm_before", "layernorm_after",
)  # fmt: skip


@dataclass(frozen=True)
class LoadReport:
    """What a file held, and what not.

    Attributes:
        naming: Whose names the backbone's keys have.
        heads: What the keys of each task's head begin with.
        missing: Tasks that the file has no head for; they cannot be predicted.
        unexpected: Keys that belong to nothing; they were left out.
    """

    naming: str
    heads: dict[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def find_file(model_id: str, name: str, **hub: Any) -> Path:
    """A file of a folder, or of a model on the Hugging Face hub (which is then cached).

    Args:
        model_id: The folder, or "owner/name" on the hub.
        name: Of the file.
        hub: Options of `huggingface_hub.hf_hub_download`.

    Raises:
        CheckpointError: If there is no such file, or the hub cannot be reached.
    """
    folder = Path(model_id)
    if folder.is_dir():
        if not (folder / name).is_file():
            there = ", ".join(sorted(p.name for p in folder.iterdir() if p.is_file())) or "no files"
            msg = f"{folder} must hold {name}, got {there} (pickled weights are not read: convert them)"
            raise CheckpointError(msg)
        return folder / name
    if model_id.count("/") != 1 or model_id.startswith((".", "/", "~")):
        msg = f'a model must be a folder or "owner/name" on the Hugging Face hub, got {model_id!r}'
        raise CheckpointError(msg)
    try:
        return Path(huggingface_hub.hf_hub_download(model_id, name, **hub))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        msg = f"{name} of {model_id} cannot be had from the Hugging Face hub ({first}): give a folder instead"
        raise CheckpointError(msg) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, floating-point ones as float32.

    Raises:
        CheckpointError: If it is not such a file, or a number in it is not finite.
    """
    try:
        tensors = safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        msg = f"{path} must be a safetensors file, got something else ({error}): get it again"
        raise CheckpointError(msg) from error
    tensors = {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}
    bad = [k for k, t in tensors.items() if not torch.isfinite(t).all()]
    if bad:
        msg = f"the weights in {path} must be finite, got NaN or infinity in {bad[0]}: get the file again"
        raise CheckpointError(msg)
    return tensors


def converted(
    tensors: Mapping[str, Tensor], said: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor], LoadReport]:
    """Sizes and weights of a `SonichuModel` from tensors of any of the namings.

    The sizes are those of the tensors. Only what no shape tells is taken from the configuration: the number
    of attention heads (else hidden / 64, as in every ViT from Ti to H/16), the patch grid being square.

    Args:
        tensors: Of the file.
        said: Its config.json, or nothing.

    Returns:
        Arguments of `SonichuConfig`, the state dict, and what was found.

    Raises:
        CheckpointError: If a tensor of the backbone is missing, there twice, or of a shape that does not fit.
    """
    backbone, naming, left = _backbone(tensors)
    sizes = _sizes(backbone, said)
    heads, unexpected = find_heads({k: tensors[k] for k in left}, sizes["hidden"], _order(said))
    weights = {f"backbone.{name}": tensor for name, tensor in backbone.items()}
    for task, head in heads.found.items():
        weights |= {f"heads.{task}.{name}": tensor for name, tensor in head.items()}
    sizes["tasks"] = {task: len(head["conv.bias"]) for task, head in heads.found.items()}
    if heads.found:
        sizes["head_filters"] = heads.filters
    report = LoadReport(naming, heads.prefixes, heads.missing, tuple(sorted(unexpected)))
    return sizes, weights, report


def _backbone(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str, list[str]]:
    """The backbone by our names, whose naming it was, and the keys that are not of it."""
    found: dict[str, Tensor] = {}
    whose: dict[str, str] = {}
    left: list[str] = []
    namings: dict[str, int] = {}
    for key, tensor in tensors.items():
        match = _our_name(key)
        if match is None:
            left.append(key)
            continue
        naming, name = match
        if name in whose:
            msg = f"the backbone must be in the file once, got {whose[name]} and {key}: remove one of them"
            raise CheckpointError(msg)
        whose[name] = key
        namings[naming] = namings.get(naming, 0) + 1
        found[name] = tensor
    if any(re.search(r"(^|[._])cls_token$", key) for key in left):
        msg = "SONICHU's backbone has no class token, and the file has one: these weights are another model's"
        raise CheckpointError(msg)
    _split_qkv(found)
    _check(found)
    return found, max(namings, key=lambda n: namings[n]), left


def _our_name(key: str) -> tuple[str, str] | None:
    """Which naming a key is of, and our name of it."""
    stem, dot, leaf = key.rpartition(".")
    if leaf not in ("weight", "bias"):
        stem, dot, leaf = key, "", ""
    for naming, tails in _NAMINGS.items():
        for tail, ours in tails.items():
            match = re.fullmatch(_WRAPPERS + tail, stem)
            if match:
                return naming, ours.format(*(_LONG_NAMES.get(g, g) for g in match.groups())) + dot + leaf
    return None


def _split_qkv(found: dict[str, Tensor]) -> None:
    """One projection (3 hidden, hidden) for query, key and value -> three, in place."""
    for name in [n for n in found if ".attention.qkv." in n]:
        stacked = found.pop(name)
        for letter, part in zip("qkv", stacked.chunk(3), strict=True):
            found[name.replace(".qkv.", f".{letter}_proj.")] = part.clone()


def _check(found: dict[str, Tensor]) -> None:
    """Refuse a backbone that is not whole.

    Raises:
        CheckpointError: Naming the first tensors that are missing.
    """
    blocks = 1 + max((int(n.split(".")[1]) for n in found if n.startswith("layers.")), default=0)
    wanted = [
        f"layers.{i}.{part}.{leaf}"
        for i in range(blocks)
        for part in _IN_BLOCK
        for leaf in ("weight", "bias")
    ]
    wanted += [f"{name}.{leaf}" for name in (_EMBEDDINGS[0], "layernorm") for leaf in ("weight", "bias")]
    missing = [name for name in (_EMBEDDINGS[1], *wanted) if name not in found]
    if missing:
        more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        msg = (
            f"the backbone must be whole, and {', '.join(missing[:4])}{more} (by the names of "
            "transformers 5) cannot be found in the file: it is not whole, or its names are none of "
            f"{', '.join(_NAMINGS)}"
        )
        raise CheckpointError(msg)


def _sizes(found: dict[str, Tensor], said: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of the model from the shapes of the backbone; its position embeddings get their batch axis."""
    hidden, channels, patch, _ = found[_EMBEDDINGS[0] + ".weight"].shape
    place = found[_EMBEDDINGS[1]].reshape(1, -1, hidden)
    grid = round(place.shape[1] ** 0.5)
    if grid**2 == place.shape[1] - 1:
        msg = (
            f"the position embeddings must be of the patches alone, got {place.shape[1]} = {grid} x {grid} "
            "+ 1 rows: the weights are of a backbone with a class token, and SONICHU's has none"
        )
        raise CheckpointError(msg)
    if grid**2 != place.shape[1] or channels != 3:
        msg = f"the patches must be a square of RGB, got {place.shape[1]} patches of {channels} channels"
        raise CheckpointError(msg)
    found[_EMBEDDINGS[1]] = place
    return {
        "hidden": hidden,
        "layers": 1 + max(int(n.split(".")[1]) for n in found if n.startswith("layers.")),
        "heads": _attention_heads(said, hidden),
        "mlp": len(found["layers.0.mlp.fc1.bias"]),
        "image": grid * patch,
        "patch": patch,
        "norm_eps": float(said.get("norm_eps", said.get("layer_norm_eps", 1e-6))),
    }


def _attention_heads(said: Mapping[str, Any], hidden: int) -> int:
    levels = [said, *(v for v in said.values() if isinstance(v, dict))]
    for level in levels:
        for name in ("heads", "num_attention_heads", "num_heads", "n_heads"):
            if isinstance(level.get(name), int) and level[name] > 0 and hidden % level[name] == 0:
                return int(level[name])
    return max(1, hidden // 64)


def _order(said: Mapping[str, Any]) -> list[str]:
    """The tasks in the order of the configuration, for heads that are numbered."""
    for name in ("tasks", "task_ids", "task_names", "heads", "task_keypoints", "num_keypoints"):
        listed = said.get(name)
        if isinstance(listed, dict) and listed:
            return [str(task) for task in listed]
        if isinstance(listed, list) and listed:
            return [str(t.get("name", t.get("id", "")) if isinstance(t, dict) else t) for t in listed]
    return []
