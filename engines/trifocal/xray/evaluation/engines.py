"""The checkpoints of an evaluation: which, how they are called, what they say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trifocal import checkpoint
from trifocal.xray.learned import BUNDLED
from trifocal.xray.predictor import LEAST_SQUARES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trifocal.xray.predictor import XrayPredictor


def toggles(path: Path | str) -> dict[str, Any]:
    """What a checkpoint says of its network's kind and switches, flat: for the ablation table."""
    if path == LEAST_SQUARES:
        return {"kind": "least squares"}
    config = checkpoint.load(path, "xray").config
    model = config.get("model", config.get("base", {}).get("model", {}))
    flags = {name: value for name, value in model.items() if isinstance(value, bool)}
    return {"kind": config.get("kind", ""), **flags}


def parameters(engine: XrayPredictor) -> int:
    """Numbers that were learned."""
    return sum(p.numel() for p in engine.learned.network.parameters()) if engine.learned else 0


def find_checkpoints(given: Sequence[Path | str]) -> list[Path | str]:
    """Checkpoints by name or path; a folder stands for all that lie in it, at any depth.

    Raises:
        ValueError: If a folder has none, or one is named twice.
    """
    found: list[Path | str] = []
    for one in given:
        path = Path(one)
        if str(one) in (BUNDLED, LEAST_SQUARES):
            found.append(str(one))
        elif path.is_dir():
            inside = sorted(path.rglob("*.safetensors"))
            if not inside:
                msg = f"the folder {path.name} must hold checkpoints (*.safetensors), got none"
                raise ValueError(msg)
            found += inside
        else:
            found.append(path)
    if len({str(Path(p).resolve()) for p in found}) < len(found):
        msg = "every checkpoint must be given once"
        raise ValueError(msg)
    return found


def names_of(paths: Sequence[Path | str]) -> list[str]:
    """A short name for each checkpoint: its stem, with its folder where stems are alike."""
    stems = [Path(p).name.removesuffix(".safetensors") for p in paths]
    alike = {s for s in stems if stems.count(s) > 1}
    return [f"{Path(p).parent.name}/{s}" if s in alike else s for p, s in zip(paths, stems, strict=True)]
