"""The 15-panel figure of a network: what went in, what it saw, what came out and how wrong that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from trifocal.files import atomic_file
from trifocal.xray.models.feature_stats import FeatureStats
from trifocal.xray.models.inside import Inside
from trifocal.xray.training.crops import Scene
from trifocal.xray.training.judging import WINDOW_HU, errors

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray

    from trifocal.xray.models.depth_boundaries import Boundaries

REGIONS = ("near", "middle", "far")
_COLOURS = ("tab:red", "tab:green", "tab:blue")
_PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}
_LARGEST_ERROR_HU = 600


@torch.no_grad()
def diagnose(net: nn.Module, crop: dict[str, Tensor], voxels: int, path: Path) -> dict[str, float]:
    """Reconstruct one crop from films without noise and draw the figure as PNG.

    Args:
        net: Of any kind, in evaluation mode.
        crop: As `crops.Crops` gives it.
        voxels: Along the edges of its cube.
        path: Where to.

    Returns:
        mae_hu, psnr_db and ssim of the crop, as in the figure's title.

    Raises:
        OSError: If it cannot be written; the file is as it was.
    """
    truth, inside = crop["density"][None, None].float(), crop["inside"][None, None]
    scene = Scene.usual(voxels, truth.device)
    films = scene.films(truth[:, 0])
    found = net(films, scene.lift).float()
    seen = Inside.of(net, films, scene.lift)
    depths = [scene.lift.depth(i) for i in range(len(seen.boundaries))]
    masks = [b.masks(depth) for b, depth in zip(seen.boundaries, depths, strict=True)]
    figures = errors(found, truth, inside)
    spacing = float(crop["edge_mm"]) / voxels
    figure = Figure(figsize=(11.5, 7.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, 5)
    figure.suptitle(_title(figures, spacing), fontsize=10)
    _draw_films(axes[:2, 0], films)
    _draw_features(axes[:2, 1], seen.maps)
    _draw_depths(axes[2, 0], seen.boundaries)
    _draw_weights(axes[2, 1], masks)
    _draw_planes(axes[:, 2:], _hu(found), _hu(truth))
    with atomic_file(path) as part:
        figure.savefig(part, format="png", dpi=90)
    return figures


def _title(figures: dict[str, float], spacing: float) -> str:
    low, high = WINDOW_HU
    return (
        f"MAE {figures['mae_hu']:.0f} HU, PSNR {figures['psnr_db']:.1f} dB, SSIM {figures['ssim']:.2f}:"
        f" window [{low}, {high}] HU, range {high - low} HU, spacing {spacing:.1f} mm, in the field of view"
    )


def _draw_films(axes: NDArray[Any], films: Tensor) -> None:
    for ax, film, name in zip(axes, films[0].cpu().numpy(), ("frontal", "lateral"), strict=False):
        picture = ax.imshow(film, cmap="gray", vmin=0)
        _scale(ax, picture)
        _bare(ax, f"{name} film, dm of water")


def _draw_features(axes: NDArray[Any], maps: tuple[Tensor, ...]) -> None:
    for ax, each, name in zip(axes, maps, ("frontal", "lateral"), strict=False):
        stats = FeatureStats.of(each)
        ax.imshow(each[0].float().abs().mean(0).cpu().numpy(), cmap="magma")
        _bare(ax, f"{name} features, std {stats.std:.2f}" + (" COLLAPSED" if stats.collapsed else ""))
    for ax in axes[len(maps) :]:
        _none(ax, "no features")


def _draw_depths(ax: Axes, boundaries: tuple[Boundaries, ...]) -> None:
    """Weight of each region along the central ray of the frontal film, boundaries with bands of 1 std."""
    if not boundaries:
        _none(ax, "no depth boundaries\nin this network")
        return
    depth = torch.linspace(0, 1, 101, device=boundaries[0].position.device)
    weights = boundaries[0].masks(depth[:, None, None])[0, :, :, 0, 0].float().cpu().numpy()
    for name, colour, curve in zip(REGIONS, _COLOURS, weights, strict=True):
        ax.plot(depth.cpu().numpy(), curve, color=colour, label=name, lw=1)
    position = boundaries[0].position[0, 1:3].float().cpu().numpy()
    spread = boundaries[0].uncertainty[0].float().cpu().numpy()
    for where, std in zip(position, spread, strict=True):
        ax.axvspan(where - std, where + std, color="gray", alpha=0.25, lw=0)
        ax.axvline(where, color="black", lw=0.8)
    ax.set_title("depth weights, frontal ray", fontsize=8)
    said = ", ".join(f"{100 * w:.0f} ± {100 * s:.0f} %" for w, s in zip(position, spread, strict=True))
    ax.set_xlabel(f"depth; boundaries {said}", fontsize=7)
    ax.tick_params(labelsize=6)
    ax.legend(fontsize=6)


def _draw_weights(ax: Axes, masks: list[Tensor]) -> None:
    """Weights of near, middle and far as red, green and blue: frontal above lateral, in the axial plane."""
    if not masks:
        _none(ax, "no depth weights\nin this network")
        return
    middle = masks[0].shape[-1] // 2
    rows = [mask[0, :, :, :, middle].float().cpu().numpy() for mask in masks]
    ax.imshow(np.concatenate([_upright(np.moveaxis(row, 0, -1)) for row in rows]), interpolation="nearest")
    _bare(ax, "depth weights, axial: frontal, lateral")


def _draw_planes(axes: NDArray[Any], found: NDArray[Any], truth: NDArray[Any]) -> None:
    low, high = WINDOW_HU
    off = np.abs(np.clip(found, low, high) - np.clip(truth, low, high))
    for row, (plane, axis) in zip(axes, _PLANES.items(), strict=True):
        at = truth.shape[axis] // 2
        for ax, volume, name in zip(row, (found, truth, off), ("prediction", "truth", "error"), strict=True):
            error = name == "error"
            limits = {"vmin": 0, "vmax": _LARGEST_ERROR_HU} if error else {"vmin": low, "vmax": high}
            picture = ax.imshow(
                _upright(volume.take(at, axis)), cmap="inferno" if error else "gray", **limits
            )
            _bare(ax, f"{name}, {plane}, HU")
            if name != "prediction":
                _scale(ax, picture)


def _upright(plane: NDArray[Any]) -> NDArray[Any]:
    """A plane's picture: the patient's right (sagittal: front) on the left, head (axial: front) up."""
    return np.flip(np.swapaxes(plane, 0, 1), axis=(0, 1))


def _hu(density: Tensor) -> NDArray[Any]:
    hu: NDArray[Any] = (1000 * density[0, 0] - 1000).float().cpu().numpy()
    return hu


def _scale(ax: Axes, picture: AxesImage) -> None:
    ax.figure.colorbar(picture, ax=ax, shrink=0.7).ax.tick_params(labelsize=6)


def _bare(ax: Axes, title: str) -> None:
    ax.set_title(title, fontsize=8)
    ax.set_xticks([])
    ax.set_yticks([])


def _none(ax: Axes, text: str) -> None:
    ax.text(0.5, 0.5, text, ha="center", va="center", fontsize=8, transform=ax.transAxes)
    _bare(ax, "")
