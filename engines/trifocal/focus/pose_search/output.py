"""What is left on disk after a search for poses: a table, the poses, the map of the scalp, the provenance."""

from __future__ import annotations

import csv
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from trifocal import RESEARCH_USE_ONLY, __version__
from trifocal.files import output_folder
from trifocal.provenance import record, write_record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trifocal.focus.head import Head
    from trifocal.focus.pose_search.limits import PoseLimits
    from trifocal.focus.pose_search.scalp import ScalpMap
    from trifocal.focus.pose_search.search import PoseCandidate
    from trifocal.focus.pose_search.solver_loop import Aimed
    from trifocal.focus.transducer import Bowl

VIEWS = {"from the right": 0, "from the front": 90, "from the left": 180, "from behind": 270}


def save_poses(
    results: Sequence[tuple[NDArray[np.float64], Aimed]],
    out: Path,
    *,
    head: Head,
    bowl: Bowl,
    limits: PoseLimits,
    maps: Sequence[ScalpMap] = (),
    warnings: Sequence[str] = (),
    seconds: float,
) -> None:
    """Write poses.csv, pose-1.json (of the first target; target-2-pose-1.json of the next), scalp-map.png.

    Args:
        results: Targets (3,) in world mm with what was made of each.
        out: The folder; made if it does not exist.
        head: The head.
        bowl: The transducer.
        limits: Of the search.
        maps: Of the scalp, one for each target, or none.
        warnings: Sentences that the user is shown.
        seconds: Wall clock.

    Raises:
        OSError: If the folder cannot be written; nothing is left behind.
    """
    with output_folder(out) as folder:
        rows = [row for i, (target, aimed) in enumerate(results, 1) for row in _rows(i, target, aimed)]
        with (folder / "poses.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        for i, (_, aimed) in enumerate(results, 1):
            prefix = "" if i == 1 else f"target-{i}-"
            for rank, candidate in enumerate(aimed.poses, 1):
                candidate.pose.to_json(folder / f"{prefix}pose-{rank}.json")
        for i, scalp in enumerate(maps, 1):
            draw_scalp(
                scalp, results[i - 1][0], folder / ("scalp-map.png" if i == 1 else f"scalp-map-{i}.png")
            )
        outputs = sorted(p for p in folder.iterdir() if p.suffix in (".csv", ".json", ".png"))
        parameters: dict[str, Any] = {
            "version": __version__,
            "bowl": bowl,
            "limits": asdict(limits),
            "targets_mm": [target for target, _ in results],
            "seconds": round(seconds, 1),
        }
        about = record(
            "focus/pose-search",
            inputs={"ct": head.ct},
            parameters=parameters,
            warnings=warnings,
            outputs=outputs,
        )
        write_record(folder / "provenance.json", about)


def _rows(number: int, target: NDArray[np.float64], aimed: Aimed) -> list[dict[str, Any]]:
    rows = []
    for rank, candidate in enumerate(aimed.poses, 1):
        predicted, first = _before(aimed, candidate)
        rows.append(
            {"target": number, "rank": rank, "found_by": "aim" if predicted is None else "search"}
            | _row(target, candidate)
            | {
                "aim_distance_mm": round(aimed.geometric.distance_mm, 3),
                "predicted_distance_mm": "" if predicted is None else round(predicted.distance_mm, 3),
                "searched_distance_mm": "" if first is None else round(first.distance_mm, 3),
            }
        )
    return rows


def _before(
    aimed: Aimed, candidate: PoseCandidate
) -> tuple[PoseCandidate, PoseCandidate] | tuple[None, None]:
    """What the search predicted of a pose and what the solver first measured; nothing for the aim."""
    for predicted, trace in zip(aimed.predicted, aimed.traces, strict=True):
        if any(measured is candidate for measured in trace):
            return predicted, trace[0]
    return None, None


def _row(target: NDArray[np.float64], found: PoseCandidate) -> dict[str, Any]:
    vectors = {"target": target, "apex": found.pose.apex_mm, "focus": found.focus_mm}
    places = {
        f"{n}_{a}_mm": round(float(x), 3) for n, v in vectors.items() for a, x in zip("xyz", v, strict=True)
    }
    return {
        "distance_mm": round(found.distance_mm, 3),
        "transmission": round(found.transmission, 4),
        "incidence_deg": round(found.incidence_deg, 1),
        "clearance_mm": round(found.clearance_mm, 2),
        "simulations": found.simulations,
        **places,
    }


def draw_scalp(scalp: ScalpMap, target: NDArray[np.float64], path: Path) -> None:
    """Draw the transmission over the scalp from four sides; grey where the bowl may not stand."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    values = scalp.transmission[scalp.faces].mean(1)  # of a face; NaN where a corner has none
    known = np.isfinite(values)
    colours = colormaps["viridis"].with_extremes(bad="0.85")
    limits = (float(values[known].min()), float(values[known].max())) if known.any() else (0.0, 1.0)
    for ax, (name, azimuth) in zip(figure.subplots(1, len(VIEWS)), VIEWS.items(), strict=True):
        angle = np.deg2rad(azimuth)
        toward = np.array([np.cos(angle), np.sin(angle), 0.0])
        across = np.array([-np.sin(angle), np.cos(angle), 0.0])
        corners = scalp.points_mm[scalp.faces]  # (m, 3, 3)
        depth = corners.mean(1) @ toward
        order = np.argsort(depth)[len(depth) // 3 :]  # the far side is hidden
        flat = np.stack([corners @ across, corners[..., 2]], -1)[order]
        patches = PolyCollection(list(flat), array=values[order], cmap=colours, norm=Normalize(*limits))
        patches.set_edgecolor("face")
        ax.add_collection(patches)
        ax.autoscale_view()
        ax.plot(target @ across, target[2], "x", color="tab:red", ms=8)
        ax.set_aspect("equal")
        ax.set_title(name)
        ax.set_xlabel("mm")
    scale = ScalarMappable(Normalize(*limits), colours)
    figure.colorbar(scale, ax=figure.axes, label="predicted transmission to the target (x)")
    figure.suptitle(RESEARCH_USE_ONLY, fontsize=8)
    figure.savefig(path, dpi=110)
