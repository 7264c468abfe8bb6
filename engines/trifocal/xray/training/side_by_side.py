"""Networks side by side on the same crops: what each gets wrong, and what it costs."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from time import process_time
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from trifocal.files import atomic_file
from trifocal.xray.grid import average_onto
from trifocal.xray.models.cascade import averaged
from trifocal.xray.models.saved import SavedNet
from trifocal.xray.planning import plan_grid, without_padding
from trifocal.xray.training.crops import on_cube
from trifocal.xray.training.judging import baseline, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from trifocal.image import Image
    from trifocal.xray.models.lift import Lift

    Crops = Sequence[dict[str, Tensor]]

LEAST_SQUARES = "least squares, nothing learned"


@dataclass(frozen=True)
class Row:
    """One network on one set of crops.

    Attributes:
        name: Of the network.
        crops: What it was judged on.
        voxels: Edge of the cube that it was judged on; coarser answers are interpolated.
        parameters: In millions.
        seconds: Of one core for one prediction.
        mae_hu: Mean absolute error at [-1000, 1000] HU over the field of view.
        psnr_db: Over the same.
        ssim: Over the cube.
    """

    name: str
    crops: str
    voxels: int
    parameters: float
    seconds: float
    mae_hu: float
    psnr_db: float
    ssim: float


def compare(models: Mapping[str, Path], crops: Mapping[str, Crops], voxels: int) -> list[Row]:
    """Judge checkpoints of any kind, and least squares beside them, on the same crops.

    Args:
        models: Checkpoints by name.
        crops: Sets of crops of `voxels`, by name.
        voxels: Along the edges of their cubes.

    Raises:
        CheckpointError: If a checkpoint cannot be read.
        ValueError: If a network's cube has more voxels than the crops', or does not divide them.
    """
    saved = {name: SavedNet.load(path) for name, path in models.items()}
    rows = [row_of(LEAST_SQUARES, baseline, 0, name, chosen, voxels) for name, chosen in crops.items()]
    for name, one in saved.items():
        size = sum(p.numel() for p in one.network.parameters())
        rows += [
            row_of(name, raised(one.network, one.voxels, voxels), size, kind, chosen, voxels)
            for kind, chosen in crops.items()
        ]
    return rows


def row_of(
    name: str, net: Callable[[Tensor, Lift], Tensor], parameters: int, kind: str, crops: Crops, voxels: int
) -> Row:
    """Judge one network on one set of crops."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    began = process_time()
    try:
        figures = judge(net, crops, voxels)
    finally:
        torch.set_num_threads(threads)
    seconds = (process_time() - began) / len(crops)
    return Row(name, kind, voxels, parameters / 1e6, seconds, **figures)


def raised(net: nn.Module, own: int, voxels: int) -> Callable[[Tensor, Lift], Tensor]:
    """A network of `own` voxels as one of `voxels`: asked on its own grid, its answer interpolated.

    Raises:
        ValueError: If the one is not a multiple of the other.
    """
    if voxels % own:
        msg = f"the crops must have a multiple of the network's {own} voxels, got {voxels}"
        raise ValueError(msg)

    def answer(films: Tensor, lift: Lift) -> Tensor:
        coarse = lift.coarser(voxels // own)
        found: Tensor = net(averaged(films, coarse), coarse).float()
        shape = lift.grid.shape
        return interpolate(found, shape, mode="trilinear", align_corners=False) if own != voxels else found

    return answer


def whole(image: Image, voxels: int) -> dict[str, Tensor]:
    """All of a CT as one crop, in the grid that `project` chooses for it."""
    grid = plan_grid(image, voxels)
    return on_cube(average_onto(without_padding(image), grid) / 1000 + 1, grid, voxels)


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write a comparison as CSV.

    Raises:
        OSError: If it cannot be written; the file is as it was.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Row.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        figures = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in asdict(row).items()}
        writer.writerow(figures)
    with atomic_file(path) as part:
        part.write_text(text.getvalue(), encoding="utf-8")


def table(rows: Sequence[Row]) -> list[str]:
    """The comparison as lines of text (Markdown)."""
    lines = [
        "| network | on | voxels | million parameters | s of one core | MAE, HU | PSNR, dB | SSIM |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r.name} | {r.crops} | {r.voxels} | {r.parameters:.2f} | {r.seconds:.2f} | {r.mae_hu:.1f} |"
            f" {r.psnr_db:.2f} | {r.ssim:.3f} |"
        )
    return [*lines, "", "window [-1000, 1000] HU, range 2000 HU, field of view; films without noise"]
