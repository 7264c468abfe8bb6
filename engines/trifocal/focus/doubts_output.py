"""Doubts and exposure on disk, beside the prediction that they belong to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from trifocal import RESEARCH_USE_ONLY, __version__, io
from trifocal.files import output_folder
from trifocal.focus.exposure_output import sheet_csv, sheet_json, sheet_text
from trifocal.provenance import jsonable

if TYPE_CHECKING:
    from pathlib import Path

    from trifocal.focus.exposure import ExposureSheet
    from trifocal.focus.uncertainty import Doubts


def save_doubts(out: Path | str, doubts: Doubts | None, sheet: ExposureSheet | None) -> None:
    """Write what there is: doubts.json and std.nii.gz (Pa); exposure.txt, exposure.csv and exposure.json.

    Raises:
        OSError: If the folder cannot be written; nothing is left behind.
    """
    with output_folder(out) as folder:
        if doubts is not None:
            io.write(doubts.std_pa, folder / "std.nii.gz")
            prediction = doubts.prediction
            content = {
                "notice": RESEARCH_USE_ONLY,
                "version": __version__,
                "weights": prediction.weights,
                **doubts.record(),
                "nominal": prediction.record() | {"figures": prediction.figures.record()},
            }
            text = json.dumps(jsonable(content), indent=2) + "\n"
            (folder / "doubts.json").write_text(text, encoding="utf-8")
        if sheet is not None:
            for suffix, write in (("txt", sheet_text), ("csv", sheet_csv), ("json", sheet_json)):
                (folder / f"exposure.{suffix}").write_text(write(sheet), encoding="utf-8")


def doubts_text(doubts: Doubts) -> str:
    """A few lines to read."""
    long, middle, short = doubts.ellipsoid.half_lengths_mm
    low, high = (p / 1e3 for p in doubts.peak_bounds_pa)
    lines = [
        f"95 % ellipsoid of the focus: half axes {long:.1f}, {middle:.1f}, {short:.1f} mm "
        f"({doubts.samples} samples); peak {low:.1f} to {high:.1f} kPa"
    ]
    if doubts.p_in_target is not None:
        within = f"the focus lies within {doubts.target_radius_mm:g} mm of the target"
        lines.append(f"probability that {within}: {doubts.p_in_target:.0%}")
    return "\n".join([*lines, *(f"out of range: {r}" for r in doubts.out_of_range)]) + "\n"
