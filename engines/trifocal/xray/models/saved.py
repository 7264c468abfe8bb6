"""Networks as checkpoints hold them: what kind they are, and how to build them again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from trifocal import checkpoint
from trifocal.checkpoint import CheckpointError
from trifocal.xray.models.cascade import Cascade
from trifocal.xray.models.config import XrayModelConfig, build
from trifocal.xray.models.diffusion import DiffusionConfig
from trifocal.xray.models.lifting import LiftingConfig, LiftingEnsemble
from trifocal.xray.models.refiner import RefinerConfig
from trifocal.xray.models.sampled import SampledNet
from trifocal.xray.models.started import StartedNet

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

KINDS = ("lifting", "direct", "cascade", "diffusion")


@dataclass(frozen=True, eq=False)
class SavedNet:
    """A trained network of any kind.

    Attributes:
        network: Takes films, a lift and optionally a stage before; gives density. In evaluation mode.
        config: What the checkpoint says.
        card: For people.
        sha256: Of the weights.
    """

    network: nn.Module
    config: dict[str, Any]
    card: dict[str, Any]
    sha256: str

    @classmethod
    def load(cls, path: Path | str, device: torch.device | str = "cpu") -> Self:
        """Read a checkpoint of any kind.

        Raises:
            CheckpointError: If it is missing, damaged, or of something else.
        """
        stored = checkpoint.load(path, "xray")
        network = network_of(stored.config)
        checkpoint.load_into(network, stored)
        return cls(network.eval().to(device), stored.config, stored.card, stored.sha256)

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return str(self.config["kind"])

    @property
    def voxels(self) -> int:
        """Edge of the cube that it was trained on."""
        return int(self.config["voxels"])


def lifting_record(network: LiftingConfig, members: int, voxels: int) -> dict[str, Any]:
    """Config of a `LiftingEnsemble`."""
    return {"kind": "lifting", "network": asdict(network), "members": members, "voxels": voxels}


def direct_record(model: XrayModelConfig, voxels: int, start_steps: int) -> dict[str, Any]:
    """Config of a `StartedNet`."""
    return {"kind": "direct", "model": model.record(), "voxels": voxels, "start_steps": start_steps}


def cascade_record(base: dict[str, Any], refiner: RefinerConfig, stages: int) -> dict[str, Any]:
    """Config of a `Cascade` on a base of this config."""
    voxels = int(base["voxels"]) * 2**stages
    return {"kind": "cascade", "base": base, "refiner": asdict(refiner), "stages": stages, "voxels": voxels}


def diffusion_record(base: dict[str, Any], config: DiffusionConfig, count: int, steps: int) -> dict[str, Any]:
    """Config of a `SampledNet` on a base of this config."""
    sizes = {"diffusion": asdict(config), "count": count, "steps": steps}
    return {"kind": "diffusion", "base": base, **sizes, "voxels": int(base["voxels"])}


def network_of(config: dict[str, Any]) -> nn.Module:
    """Build the network that a config describes, untrained.

    Raises:
        CheckpointError: If the config describes none.
    """
    try:
        kind = config["kind"]
        if kind == "direct":
            return StartedNet(build(XrayModelConfig.from_record(config["model"])), int(config["start_steps"]))
        if kind == "cascade":
            refiner = RefinerConfig(**_tuples(config["refiner"]))
            return Cascade(network_of(config["base"]), refiner, stages=int(config["stages"]))
        if kind == "diffusion":
            size = DiffusionConfig(**_tuples(config["diffusion"]))
            counts = {"count": int(config["count"]), "steps": int(config["steps"])}
            return SampledNet(network_of(config["base"]), size, **counts)
        if kind == "lifting":
            return LiftingEnsemble(LiftingConfig(**_tuples(config["network"])), int(config["members"]))
    except (KeyError, TypeError, ValueError) as error:
        msg = f"a network's config must describe one of {', '.join(KINDS)}, got {config} ({error!r})"
        raise CheckpointError(msg) from error
    msg = f"a network's config must be of one of the kinds {', '.join(KINDS)}, got {config}"
    raise CheckpointError(msg)


def _tuples(record: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no tuples."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in record.items()}
