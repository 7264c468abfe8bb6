"""What each part of the hybrid network is worth: trained alike, with the part and without it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trifocal.predictor import silent
from trifocal.xray.models.config import COMPACT, TOGGLES
from trifocal.xray.models.saved import SavedNet
from trifocal.xray.training.judging import baseline
from trifocal.xray.training.recipes import XrayRecipe, train
from trifocal.xray.training.side_by_side import Row, row_of, write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trifocal.predictor import Progress
    from trifocal.xray.models.config import XrayModelConfig
    from trifocal.xray.training.kept_crops import Volumes

ALL = "all parts"
"""Name of the run that no part is missing from."""

SMALL = replace(
    COMPACT,
    film_widths=(16, 32, 48),
    lifted=8,
    local=(16, 32),
    local_blocks=(1, 1),
    expansion=2,
    dim=64,
    feed_forwards=2,
    most_tokens=8,
)
"""Half a second a step of 4 volumes of 32^3 on one core."""


def without(model: XrayModelConfig, toggle: str) -> XrayModelConfig:
    """The network with one part switched off.

    Raises:
        ValueError: If there is no such part.
    """
    if toggle not in TOGGLES:
        msg = f"a part must be one of {', '.join(TOGGLES)}, got {toggle!r}"
        raise ValueError(msg)
    return replace(model, **{toggle: False})  # type: ignore[arg-type]


def ablate(
    volumes: Volumes,
    out: Path,
    recipe: XrayRecipe,
    toggles: Sequence[str] = TOGGLES,
    *,
    device: str = "auto",
    resume: bool = True,
    progress: Progress = silent,
) -> list[Row]:
    """Train the network whole and without each part in turn, by the same plan and seed on the same crops.

    Give the plan epochs rather than minutes: how many steps fit into a minute differs between the networks,
    and with what else the machine does. Finished runs are not repeated.

    Args:
        volumes: To learn from; the last ones are held out, and judged on.
        out: A folder for each run, and `ablation.csv`.
        recipe: Of kind "direct".
        toggles: Parts to leave out.
        device: "auto", "cpu" or "cuda".
        resume: Go on with the runs in `out`.
        progress: May raise `Cancelled`.

    Returns:
        A row for least squares, for all parts, and for each part that was left out.

    Raises:
        ValueError: If a part is unknown or the recipe is of another kind.
    """
    if recipe.kind != "direct":
        msg = f"an ablation must be of a direct network, got {recipe.kind}"
        raise ValueError(msg)
    models = {ALL: recipe.model} | {f"without {name}": without(recipe.model, name) for name in toggles}
    judged = volumes.held_out(recipe.validation_volumes, recipe.voxels)
    rows = [row_of("least squares, nothing learned", baseline, 0, "held out", judged, recipe.voxels)]
    for i, (name, model) in enumerate(models.items()):

        def told(done: float, what: str, i: int = i, name: str = name) -> None:
            progress((i + done) / len(models), f"{name}: {what}")

        folder = out / name.replace(" ", "-")
        train(volumes, folder, replace(recipe, model=model), device=device, resume=resume, progress=told)
        saved = SavedNet.load(folder / "xray.safetensors")
        size = sum(p.numel() for p in saved.network.parameters())
        rows.append(row_of(name, saved.network, size, "held out", judged, recipe.voxels))
        write_rows(out / "ablation.csv", rows)
    return rows
