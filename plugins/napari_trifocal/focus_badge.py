"""The figures of a comparison in a few lines. No Qt, no napari."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_trifocal.focus_compare import Compared
    from napari_trifocal.focus_jobs import Answer
    from trifocal.focus.metrics import FieldErrors

CENTROID_MM, PEAK = 1.5, 0.10
RULE = (
    f"green: centroid within {CENTROID_MM:g} mm and peak within {100 * PEAK:.0f} % of the solver; amber: not"
)
GREEN, AMBER, PLAIN = "#50d070", "#ffb020", "#f0f0f0"


@dataclass(frozen=True)
class Badge:
    """Lines to show on the canvas.

    Attributes:
        text: The lines.
        colour: By `RULE` against the solver; plain otherwise.
    """

    text: str
    colour: str

    @classmethod
    def of(cls, found: Compared) -> Badge:
        """The badge of a comparison."""
        comparison = found.comparison
        errors, against = comparison.errors, found.reference.order.engine
        if errors is None:
            return cls(_moved(found), PLAIN)
        if against != "solver":
            return cls("\n".join([f"{found.answer.order.engine} - pinned {against}", *_lines(errors)]), PLAIN)
        good = errors.centroid_error_mm <= CENTROID_MM and abs(errors.peak_error) <= PEAK
        lines = [f"{found.answer.order.engine} - solver", *_lines(errors)]
        return cls("\n".join(lines), GREEN if good else AMBER)


def name_of(answer: Answer) -> str:
    """What to call an answer: its engine and where the apex of its bowl is."""
    apex = ", ".join(f"{c:.0f}" for c in answer.order.pose.apex_mm)
    return f"{answer.order.engine} at ({apex}) mm"


def _lines(errors: FieldErrors) -> list[str]:
    return [
        f"centroid {errors.centroid_error_mm:.2f} mm",
        f"  lateral {errors.lateral_mm:.2f}, axial {errors.axial_mm:+.2f}",
        f"rel. L2 {errors.rel_l2:.3f}",
        f"peak {100 * errors.peak_error:+.1f} %",
        f"-6 dB IoU {errors.iou_6db:.2f}",
    ]


def _moved(found: Compared) -> str:
    comparison = found.comparison
    return "\n".join(
        [
            f"{found.answer.order.engine} - pinned {name_of(found.reference)}",
            f"focus moved {comparison.distance_mm:.1f} mm",
            f"  along pinned beam {comparison.axial_mm:+.1f}, across {comparison.lateral_mm:.1f}",
            f"peak x {comparison.peak_ratio:.2f}",
        ]
    )
