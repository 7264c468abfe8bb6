"""The tables that an evaluation is printed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.evaluation import BASELINES, ORACLE
from trifocal.xray.evaluation.summary import gains, reliability, spacing_range, summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trifocal.xray.evaluation import Evaluation
    from trifocal.xray.evaluation.summary import Statistic

COLUMNS = {
    "psnr_db": ("PSNR dB", 2),
    "body_psnr_db": ("body", 2),
    "mae_hu": ("MAE HU", 0),
    "body_mae_hu": ("body", 0),
    "ssim": ("SSIM", 3),
    "body_ssim": ("body", 3),
    "lung_dice": ("lung Dice", 2),
    "lung_surface_mm": ("lung mm", 1),
    "bone_dice": ("bone Dice", 2),
}
"""Figure -> heading, decimals."""

FOREMOST = ("psnr_db", "body_psnr_db", "mae_hu", "body_mae_hu")
"""Figures that are printed with their interval; those of the others are in summary.json."""

NONE = "-"


@dataclass(frozen=True)
class Table:
    """What is printed: text only.

    Attributes:
        title: What it is about.
        header: Of the columns.
        rows: Cells, as many as columns.
    """

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(evaluation: Evaluation) -> list[Table]:
    """Scores by engine, the gain over baselines, the patients, and the ablation where there is one."""
    out = [_scores(evaluation), _medians(evaluation)]
    if evaluation.engines:
        out += [_gains(evaluation), _patients(evaluation)]
    if len(evaluation.about) > 1:
        out.append(_ablation(evaluation))
    return out


def caption(evaluation: Evaluation) -> list[str]:
    """What the figures of the tables are."""
    plan = evaluation.plan
    low, high = plan.window_hu
    finest, coarsest = spacing_range(evaluation)
    patients = len({c.source.patient for c in evaluation.cases})
    lines = [
        f"{len(evaluation.cases)} volumes of {patients} patients; PSNR and SSIM on [{low:g}, {high:g}] HU"
        f" with a data range of {high - low:g} HU, voxels of {finest:.2f} to {coarsest:.2f} mm.",
        "Body: over the true body alone.",
        *([f"From the {plan.films} film alone."] if plan.films != "both" else []),
        "[95 % interval of the mean, resampling patients; too narrow for few, - for one].",
        "The oracle silhouette (needs the truth) is given the true outline and mean, to compare with.",
    ]
    curve = reliability(evaluation)
    if curve:
        lines.append(
            f"Predicted errors inside the body: rank correlation {curve.spearman:.2f} with the actual ones,"
            f" {curve.ratio:.2f} times as large (root mean square), {curve.coverage:.0%} of the voxels within"
            " one standard deviation."
        )
    return lines


def named(engine: str) -> str:
    """A row's name in words."""
    words = engine.replace("_", " ") if engine in ("visual_hull", "least_squares", ORACLE) else engine
    return words.replace("oracle silhouette", "oracle silhouette (needs the truth)")


def _scores(evaluation: Evaluation) -> Table:
    found = summarise(evaluation)
    views = [f for f in found[evaluation.names[0]] if f.startswith("residual ")]
    body = []
    for name in evaluation.names:
        own = found[name]
        cells = [
            (_with_interval if f in FOREMOST else _mean)(own[f], digits) for f, (_, digits) in COLUMNS.items()
        ]
        cells += [_percent(own[v].mean) if v in own else NONE for v in views]
        body.append((named(name), *cells))
    header = ("mean [95 %]", *(heading for heading, _ in COLUMNS.values()), *views)
    return Table("Scores", header, body)


def _medians(evaluation: Evaluation) -> Table:
    found = summarise(evaluation)
    body = [
        (named(name), *(_number(found[name][f].median, digits) for f, (_, digits) in COLUMNS.items()))
        for name in evaluation.names
    ]
    return Table("Medians", ("median", *(heading for heading, _ in COLUMNS.values())), body)


def _gains(evaluation: Evaluation) -> Table:
    body = []
    for engine in evaluation.engines:
        cells = []
        for gain in gains(evaluation, engine):
            s = gain.difference
            share = gain.figure.endswith("mae_hu")
            other = "" if gain.baseline == BASELINES[-1] else f" ({named(gain.baseline)})"
            ends = (
                ""
                if np.isnan(s.low)
                else (
                    f" [{100 * s.low:+.0f}, {100 * s.high:+.0f}]"
                    if share
                    else f" [{s.low:+.2f}, {s.high:+.2f}]"
                )
            )
            mean = f"{100 * s.mean:+.0f} %" if share else f"{s.mean:+.2f}"
            cells.append((NONE if np.isnan(s.mean) else mean + ends) + other)
        body.append((engine, *cells))
    header = ("engine", "PSNR dB", "body PSNR dB", "SSIM", "MAE", "body MAE", "lung Dice")
    title = (
        "Gain over the best baseline without learning or truth (least squares where none is named), by volume"
    )
    return Table(title, header, body)


def _patients(evaluation: Evaluation) -> Table:
    shown = ("least_squares", *evaluation.engines, ORACLE)
    body = []
    for case in evaluation.cases:
        step = "x".join(f"{s:.1f}" for s in case.grid.spacing_mm)
        cells = [
            f"{s.psnr_db:.2f}/{s.body_psnr_db:.2f} {s.mae_hu:.0f}/{s.body_mae_hu:.0f}"
            for s in (case.row(name).score for name in shown)
        ]
        body.append((case.source.name, case.region, "x".join(map(str, case.grid.shape)), step, *cells))
    header = ("volume", "region", "voxels", "mm", *map(named, shown))
    return Table("Each volume: PSNR whole/body in dB, MAE whole/body in HU", header, body)


def _ablation(evaluation: Evaluation) -> Table:
    """A row for each checkpoint: its switches, its size, its time, its scores with the refinement."""
    found = summarise(evaluation)
    flags = list(dict.fromkeys(k for about in evaluation.about.values() for k in about))
    flags = [f for f in flags if f not in ("sha256", "parameters")]
    body = []
    for name, about in evaluation.about.items():
        own = [e for e in evaluation.engines if e == name or e.startswith(f"{name} + ")]
        if not own:
            continue
        seconds = np.median([case.row(own[-1]).seconds for case in evaluation.cases])
        cells = [_flag(about.get(flag, NONE)) for flag in flags]
        scores = [
            f"{_number(found[e]['psnr_db'].mean, 2)}/{_number(found[e]['body_psnr_db'].mean, 2)}"
            f" {_number(found[e]['mae_hu'].mean, 0)}/{_number(found[e]['body_mae_hu'].mean, 0)}"
            for e in (own[0], own[-1])
        ]
        body.append((name, *cells, f"{about['parameters'] / 1e6:.2f} M", f"{seconds:.2f}", *scores))
    header = ("checkpoint", *flags, "parameters", "s", "network: PSNR, MAE", "refined: PSNR, MAE")
    return Table("Ablation: PSNR whole/body in dB, MAE whole/body in HU", header, body)


def _flag(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _with_interval(found: Statistic, digits: int) -> str:
    mean = _number(found.mean, digits)
    if np.isnan(found.low):
        return mean
    return f"{mean} [{_number(found.low, digits)}, {_number(found.high, digits)}]"


def _mean(found: Statistic, digits: int) -> str:
    return _number(found.mean, digits)


def _number(value: float, digits: int) -> str:
    return NONE if not np.isfinite(value) else f"{value:.{digits}f}"


def _percent(value: float) -> str:
    return NONE if not np.isfinite(value) else f"{100 * value:.1f} %"


def markdown(evaluation: Evaluation) -> str:
    """The caption and all tables."""
    lines = [*caption(evaluation), ""]
    for table in tables(evaluation):
        columns = ["---"] * len(table.header)
        lines += [f"**{table.title}**", "", *map(_line, (table.header, columns, *table.rows)), ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(c.replace('|', chr(92) + '|') for c in cells)} |"
