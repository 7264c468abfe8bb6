"""`trifocal sweep focus`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from trifocal.cli.focus import Placement, parse_point
from trifocal.cli.progress import Bar
from trifocal.focus.learned import BUNDLED
from trifocal.focus.predictor import Engine, FocusPredictor
from trifocal.focus.sweep import AXES, CENTRES, Sweep, SweepResult, distances_mm, run_sweep
from trifocal.focus.sweep_output import all_warnings, save_sweep


@dataclass(kw_only=True)
class SweepFocus(Placement):
    """Turn the bowl in even steps about the head and follow its focus. Research use only.

    The given pose is the middle frame. Each turned bowl is moved along its own beam until its clearance to
    the skin is that of the given pose. Writes sweep.csv (a row for each frame), sweep.png, sweep.gif,
    sweep.mp4 and provenance.json; nothing if it is interrupted.

    Examples:
        trifocal sweep focus --ct head.nii.gz --target 10,-20,40 --out result

        trifocal sweep focus --ct dicom_folder --pose pose.json --axis z --steps 21 --step-deg 2 --out result

    Attributes:
        axis: Direction to turn about: x, y, z or three numbers in RAS, right-handed. Default: across the
            beam, as near to z as that allows, or to x where the beam is within 45 degrees of z.
        centre: Where the axis goes through: head (its middle), target, or a point in RAS mm.
        steps: Frames, 2 to 1000; an odd number has the given pose itself among them.
        step_deg: Degrees from one frame to the next.
        engine: Rung of the ladder, as in `predict focus`.
        weights: Weights of regression or network: a .safetensors file, or the name of a bundled model.
    """

    axis: Annotated[str | None, tyro.conf.arg(metavar="x|y|z|A,B,C")] = None
    centre: Annotated[str, tyro.conf.arg(metavar="head|target|X,Y,Z")] = "head"
    steps: int = 35
    step_deg: float = 1.6
    engine: Engine = "network"
    weights: str = BUNDLED

    def run(self) -> int:
        """Sweep, save, report."""
        axis = self.axis if self.axis is None or self.axis in AXES else _triple("--axis", self.axis)
        centre = self.centre if self.centre in CENTRES else _triple("--centre", self.centre)
        sweep = Sweep(axis, centre, self.steps, self.step_deg)
        predictor = FocusPredictor(self.engine, device=self.device, checkpoint=self.weights)
        inputs, warnings = self.inputs()
        result = run_sweep(predictor, inputs, sweep, progress=Bar())
        save_sweep(result, self.out, warnings=warnings)
        _report(result, self.out)
        for warning in all_warnings(result.frames, warnings):
            sys.stderr.write(f"warning: {warning}\n")
        return 0


def _triple(option: str, text: str) -> tuple[float, float, float]:
    point = parse_point(option, text)
    assert point is not None
    x, y, z = map(float, point)
    return x, y, z


def _report(result: SweepResult, out: Path) -> None:
    distance = distances_mm(result.frames)
    figures = [frame.prediction.figures for frame in result.frames]
    peak = np.array([f.peak_pa for f in figures]) / 1e3
    transmission = np.array([f.transmission for f in figures])
    what = "focus to target" if result.inputs.target_mm is not None else "shift of the focus"
    axis = ", ".join(f"{c:.2f}" for c in result.axis)
    first, last = result.frames[0], result.frames[-1]
    lines = [
        f"{len(figures)} frames from {first.angle_deg:+.1f} to {last.angle_deg:+.1f} deg about ({axis})",
        f"{what} {distance.min():.1f} to {distance.max():.1f} mm, peak {peak.min():.1f} to {peak.max():.1f} "
        f"kPa, transmission {transmission.min():.3f} to {transmission.max():.3f}",
        f"{first.prediction.engine} on {first.prediction.device}, {result.seconds:.1f} s; written to {out}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
