"""How much memory and work a training step takes, before a GPU is asked for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from trifocal.focus.deeptfus.model import DeepTFUS

if TYPE_CHECKING:
    from torch import Tensor

    from trifocal.focus.deeptfus.config import DeepTFUSConfig

SMALL = 32  # voxels of the cube that is measured; memory and work grow with the number of voxels
STATE_BYTES = 16  # of a parameter: itself, its gradient, two moments of Adam, float32


@dataclass(frozen=True)
class StepCost:
    """Of one training step.

    Attributes:
        parameters: Of the network.
        state_gib: Parameters, gradients and moments, in GiB.
        kept_gib: What the forward pass keeps for the gradient, in GiB; the largest part of the peak memory.
        tera_flops: Forward and backward, 10^12 operations (backward counted as two forwards).
    """

    parameters: int
    state_gib: float
    kept_gib: float
    tera_flops: float


def step_cost(config: DeepTFUSConfig, voxels: int = 256, batch: int = 4) -> StepCost:
    """Estimate the cost of a step in pure bfloat16 from what autograd keeps on a cube of 32 voxels.

    What each layer keeps is counted on torch's meta device, where nothing is computed, and scaled by the
    number of voxels; the libraries' workspace and fragmentation are left out. Under mixed precision norms and
    activations are float32, which takes up to twice as much. With checkpointing, the inputs of the levels are
    kept, and what lies within the finest one while it is computed again.

    Args:
        config: The network.
        voxels: Edge of the cube.
        batch: Samples in a step.
    """
    plain = _meta(replace(config, checkpointing=False))
    volume = torch.zeros(1, config.channels, SMALL, SMALL, SMALL, device="meta", dtype=torch.bfloat16)
    points = torch.zeros(1, config.points, 3, device="meta", dtype=torch.bfloat16)
    kept = _kept_bytes(plain, volume, points)
    if config.checkpointing:
        finest = _kept_bytes(plain.up[0], *_finest_inputs(plain, volume))
        kept = _kept_bytes(_meta(config), volume, points) + finest
    parameters = sum(p.numel() for p in plain.parameters())
    plain.requires_grad_(False)  # which the counter asks of what runs without gradients
    with FlopCounterMode(display=False) as counter:
        plain(volume, points)
    share = batch * (voxels / SMALL) ** 3
    return StepCost(
        parameters,
        STATE_BYTES * parameters / 2**30,
        share * kept / 2**30,
        3 * share * counter.get_total_flops() / 1e12,
    )


def _finest_inputs(net: DeepTFUS, volume: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    first, second = net.config.widths[:2]
    half = volume.new_zeros(1, second, *(n // 2 for n in volume.shape[2:]))
    return half, volume.new_zeros(1, first, *volume.shape[2:]), volume.new_zeros(1, net.config.token)


def _meta(config: DeepTFUSConfig) -> DeepTFUS:
    with torch.device("meta"):
        return DeepTFUS(config).to(torch.bfloat16).train()


def _kept_bytes(module: torch.nn.Module, *inputs: Tensor) -> int:
    """Bytes of the distinct buffers that a forward pass keeps, parameters left out."""
    own = {p.untyped_storage()._cdata for p in module.parameters()}
    seen: dict[int, Tensor] = {}  # held, or another buffer could get the same address

    def keep(tensor: Tensor) -> Tensor:
        key = tensor.untyped_storage()._cdata
        if key not in own:
            seen[key] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        module(*(x.detach().requires_grad_() for x in inputs))
    return sum(t.untyped_storage().nbytes() for t in seen.values())
