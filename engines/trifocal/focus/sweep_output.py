"""What is left on disk after a sweep: the figures of every frame, pictures, films, provenance."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trifocal.files import output_folder
from trifocal.film import write_gif, write_mp4
from trifocal.focus.sweep import displacements_mm
from trifocal.focus.sweep_scene import SweepFilm, draw_poster
from trifocal.provenance import record, write_record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trifocal.focus.sweep import Frame, SweepResult


def save_sweep(result: SweepResult, out: Path | str, *, warnings: tuple[str, ...] = ()) -> None:
    """Write a sweep to a folder: all of it, or nothing.

    The files are sweep.csv, sweep.png, sweep.gif, sweep.mp4 and provenance.json.

    Args:
        result: What to write.
        out: The folder; made if it does not exist, other files in it are left alone.
        warnings: What there is to warn of beside the frames' own warnings.

    Raises:
        OSError: If the folder cannot be written; nothing is left behind.
    """
    film = SweepFilm(result)
    pictures = [film.picture(i) for i in range(len(result.frames))]
    with output_folder(out) as folder:
        write_csv(result.frames, folder / "sweep.csv")
        draw_poster(result, folder / "sweep.png")
        write_gif(folder / "sweep.gif", pictures, width=960)
        write_mp4(folder / "sweep.mp4", pictures)
        first = result.frames[0].prediction
        provenance = record(
            f"focus/{first.engine}",
            inputs={"ct": result.inputs.head.ct},
            parameters=parameters(result),
            device=first.device,
            weights=first.weights,
            warnings=all_warnings(result.frames, warnings),
            outputs=sorted(folder.iterdir()),
        )
        write_record(folder / "provenance.json", provenance)


def parameters(result: SweepResult) -> dict[str, Any]:
    """Every resolved parameter of a sweep: those of a prediction in the given pose, and how it went round."""
    sweep, inputs = result.sweep, result.inputs
    return {
        **replace(result.frames[0].prediction, inputs=inputs, box=inputs.box).record(),
        "sweep": {
            "axis": result.axis,
            "centre_mm": sweep.centre_for(inputs),
            "steps": sweep.steps,
            "step_deg": sweep.step_deg,
            "seconds": result.seconds,
        },
    }


def all_warnings(frames: Sequence[Frame], more: tuple[str, ...] = ()) -> list[str]:
    """Every warning once; one that not all frames have says which do.

    Warnings that differ in their numbers only are one, with the numbers of its first frame.
    """
    at: dict[str, tuple[str, list[float]]] = {}
    for frame in frames:
        for warning in frame.prediction.warnings:
            kind = re.sub(r"[\d.]+", "#", warning)
            at.setdefault(kind, (warning, []))[1].append(frame.angle_deg)
    found = list(more)
    for warning, angles in at.values():
        where = "" if len(angles) == len(frames) else f" ({_angles(angles)})"
        found.append(f"{warning}{where}")
    return list(dict.fromkeys(found))


def write_csv(frames: tuple[Frame, ...], path: Path) -> None:
    """Write a row for each frame.

    Positions are in RAS mm; displacement_mm is from the focus in the frame nearest to the given pose.
    """
    rows = [_row(frame, shift) for frame, shift in zip(frames, displacements_mm(frames), strict=True)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def _row(frame: Frame, displacement_mm: float) -> dict[str, Any]:
    found, pose = frame.prediction.figures, frame.pose
    distance = found.distance_to_target_mm
    return {
        "angle_deg": round(frame.angle_deg, 6),
        **_columns("apex_{}_mm", pose.apex_mm),
        **_columns("direction_{}", pose.direction),
        **_columns("focus_{}_mm", found.focus_mm),
        "distance_to_target_mm": "" if distance is None else distance,
        "displacement_mm": float(displacement_mm),
        "peak_pa": found.peak_pa,
        "transmission": found.transmission,
        "length_6db_mm": found.fwhm_mm[0],
        "width_6db_mm": found.fwhm_mm[1],
        "seconds": frame.prediction.seconds,
        "warnings": "; ".join(frame.prediction.warnings),
    }


def _columns(name: str, vector: Any) -> dict[str, float]:
    return {name.format(axis): float(value) for axis, value in zip("xyz", vector, strict=True)}


def _angles(angles: list[float]) -> str:
    if len(angles) == 1:
        return f"at {angles[0]:+.1f} deg"
    return f"in {len(angles)} frames, first at {angles[0]:+.1f} deg"
