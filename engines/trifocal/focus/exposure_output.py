"""The exposure sheet as text, CSV and JSON; each says that it is for research use only."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from trifocal import RESEARCH_USE_ONLY
from trifocal.provenance import jsonable

if TYPE_CHECKING:
    from trifocal.focus.exposure import Bounded, ExposureSheet

COLUMNS = ("figure", "value", "low", "high", "unit", "level", "verdict")


def sheet_text(sheet: ExposureSheet) -> str:
    """A table to read, with the protocol above it and the notes below."""
    p = sheet.protocol
    lines = [
        f"Exposure: {RESEARCH_USE_ONLY}",
        f"pulses of {p.pulse_s * 1e3:g} ms at {p.prf_hz:g} Hz (duty cycle {p.duty_cycle:.1%}) "
        f"for {p.total_s:g} s, drive x {p.drive_scale:g}",
        "",
        f"{'':28}{'value':>12}{'95 % bounds':>24}  {'level':>8}  ",
    ]
    lines += [_line(figure) for figure in sheet.figures]
    return "\n".join([*lines, "", *sheet.notes]) + "\n"


def sheet_csv(sheet: ExposureSheet) -> str:
    """A row for each figure; the last column of every row says what the sheet is for."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, "notice"])
    for figure in sheet.figures:
        low, high = figure.bounds or ("", "")
        level = "" if figure.level is None else figure.level
        row = [figure.name, figure.value, low, high, figure.unit, level, figure.verdict]
        writer.writerow([*row, RESEARCH_USE_ONLY])
    return text.getvalue()


def sheet_json(sheet: ExposureSheet) -> str:
    """The sheet as JSON."""
    content: dict[str, Any] = jsonable({"notice": RESEARCH_USE_ONLY} | sheet.record())
    return json.dumps(content, indent=2) + "\n"


def _line(figure: Bounded) -> str:
    bounds = "" if figure.bounds is None else f"{figure.bounds[0]:.3g} to {figure.bounds[1]:.3g}"
    level = "" if figure.level is None else f"{figure.level:g}"
    name = f"{figure.name} ({figure.unit})" if figure.unit else figure.name
    return f"{name:28}{figure.value:12.4g}{bounds:>24}  {level:>8}  {figure.verdict}".rstrip()
