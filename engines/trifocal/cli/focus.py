"""`trifocal predict focus`, and how a placement is given on the command line."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from trifocal import io
from trifocal.cli.progress import Bar
from trifocal.focus import placement
from trifocal.focus.doubts_output import doubts_text, save_doubts
from trifocal.focus.exposure import PulseProtocol, exposure
from trifocal.focus.exposure_output import sheet_text
from trifocal.focus.head import Head
from trifocal.focus.learned import BUNDLED
from trifocal.focus.output import save
from trifocal.focus.pose import Pose
from trifocal.focus.predictor import (
    FULL_POINTS_PER_WAVELENGTH,
    Engine,
    FocusInput,
    FocusPrediction,
    FocusPredictor,
)
from trifocal.focus.transducer import find_bowl
from trifocal.focus.uncertainty import LEAST_SAMPLES, doubts

Point = Annotated[str | None, tyro.conf.arg(metavar="X,Y,Z")]


@dataclass(kw_only=True)
class Placement:
    """Where the bowl goes: what the commands for one placement have in common.

    Attributes:
        ct: Head CT: a NIfTI, NRRD or MHA file, a DICOM folder, a zip of one, or a DICOM file.
        bowl: Name of a preset (default, ctx-500, h-101, itrusst-sc1) or the path of a bowl JSON file.
        out: Folder for the results; made if it does not exist.
        pose: Pose JSON file: {"matrix": 4x4 bowl-to-world} or {"apex_mm": [...], "direction": [...]}.
        target: Point that the focus is wanted at, in RAS mm. Alone, it aims from the nearest point of the
            skin where the bowl couples; with --pose, only the distance to it is measured.
        entry: Point of the skin that the beam goes in at, in RAS mm.
        device: Where to compute.
        resample: Accept a CT with gantry tilt or uneven slices, and resample it by the true positions.
        points_per_wavelength: Of the grid, in water.
    """

    ct: Path
    bowl: str = "default"
    out: Path
    pose: Path | None = None
    target: Point = None
    entry: Point = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    resample: bool = False
    points_per_wavelength: float = FULL_POINTS_PER_WAVELENGTH

    def inputs(self) -> tuple[FocusInput, tuple[str, ...]]:
        """Read everything and place the bowl.

        Returns:
            The inputs of a prediction, and what there is to warn of.

        Raises:
            ValueError: If an input cannot be used or the pose is not determined.
        """
        if self.pose is None and self.target is None:
            msg = "give --pose POSE.json, or --target X,Y,Z (with --entry X,Y,Z if you like)"
            raise ValueError(msg)
        if self.entry is not None and self.pose is not None:
            msg = "--entry and --pose exclude each other: the pose says where the beam goes in"
            raise ValueError(msg)
        if self.points_per_wavelength < 2:
            msg = f"--points-per-wavelength must be 2 or more, got {self.points_per_wavelength:g}"
            raise ValueError(msg)
        bowl = find_bowl(self.bowl)
        pose = Pose.from_json(self.pose) if self.pose else None
        target, entry = parse_point("--target", self.target), parse_point("--entry", self.entry)
        head = Head.from_image(io.read(self.ct, resample=self.resample))
        warnings: tuple[str, ...] = ()
        if pose is None:
            assert target is not None
            pose, warnings = placement.aim(head, bowl, target, entry)
        problem = placement.coupling_problem(head, bowl, pose)
        if problem is not None and placement.clearance_mm(head, bowl, pose) < 0:
            raise ValueError(problem)
        return FocusInput(head, bowl, pose, target, self.points_per_wavelength), warnings


@dataclass(kw_only=True)
class PredictFocus(Placement):
    """Predict the pressure field of an ultrasound bowl inside a skull. Research use only.

    Writes pressure.nii.gz (Pa), summary.json, pose.json, figures.csv, scene.png and provenance.json.

    Examples:
        trifocal predict focus --ct head.nii.gz --target 10,-20,40 --out result

        trifocal predict focus --ct dicom_folder --bowl ctx-500 --pose pose.json --out result --verify

        trifocal predict focus --ct head.nii.gz --target 10,-20,40 --out result --doubts 32 --exposure

    Attributes:
        engine: Rung of the ladder: free-field ignores the skull, has is the hybrid angular spectrum march,
            regression and network correct it by what they have learned, solver is the reference.
        weights: Weights of regression or network: a .safetensors file, or the name of a bundled model.
        verify: Run the solver on the same grid and compare; writes its field to solver.nii.gz too.
        doubts: How many times to draw skull properties and pose at random, to say how sure the focus is:
            writes doubts.json and std.nii.gz (Pa). It is the network that is asked.
        target_radius: Of the target in mm, for the probability that the focus lies in it.
        exposure: Also write the exposure sheet: exposure.txt, exposure.csv, exposure.json. Its bounds need
            --doubts, its thermal estimate --verify or --engine solver.
        pulse: Duration of a pulse in ms, for the exposure.
        prf: Pulses a second.
        duration: Of the sonication in s.
        drive_scale: Factor on the drive of the bowl, for the exposure.
    """

    engine: Engine = "network"
    weights: str = BUNDLED
    verify: bool = False
    doubts: int = 0
    target_radius: float = 3.0
    exposure: bool = False
    pulse: float = 20.0
    prf: float = 5.0
    duration: float = 80.0
    drive_scale: float = 1.0

    def run(self) -> int:
        """Predict, verify if asked, save; then the doubts and the exposure, if asked."""
        protocol = PulseProtocol(self.pulse / 1e3, self.prf, self.duration, self.drive_scale)
        if self.doubts and (self.doubts < LEAST_SAMPLES or self.engine != "network"):
            msg = (
                f"--doubts must be {LEAST_SAMPLES} or more and asks the network (--engine network), got "
                f"{self.doubts} and --engine {self.engine}"
            )
            raise ValueError(msg)
        predictor = FocusPredictor(self.engine, device=self.device, checkpoint=self.weights)
        inputs, warnings = self.inputs()
        prediction = predictor.predict(inputs)
        truth = None
        if self.verify:
            truth = FocusPredictor("solver", device=self.device).predict(inputs, progress=Bar())
        save(prediction, self.out, truth=truth, warnings=warnings)
        report(prediction, self.out, truth, warnings)
        if self.doubts or self.exposure:
            self._say_how_sure(inputs, prediction, truth, protocol)
        return 0

    def _say_how_sure(
        self,
        inputs: FocusInput,
        prediction: FocusPrediction,
        truth: FocusPrediction | None,
        protocol: PulseProtocol,
    ) -> None:
        """Write doubts and exposure beside the prediction, and print them."""
        unsure = sheet = None
        if self.doubts:
            unsure = doubts(
                inputs,
                samples=self.doubts,
                device=self.device,
                networks=(self.weights,),
                target_radius_mm=self.target_radius,
                progress=Bar(),
            )
            sys.stdout.write(doubts_text(unsure))
        if self.exposure:
            solved = prediction if self.engine == "solver" else truth
            sheet = exposure(prediction, protocol, doubts=unsure, solved=solved, progress=Bar())
            sys.stdout.write(sheet_text(sheet))
        save_doubts(self.out, unsure, sheet)


def parse_point(option: str, text: str | None) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """Read the X,Y,Z of an option; None where it was not given."""
    if text is None:
        return None
    try:
        values = [float(v) for v in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 3 or not np.isfinite(values).all():
        msg = f"{option} must be three numbers in RAS mm, as in {option} 10,-20,40, got {text!r}"
        raise ValueError(msg)
    return np.array(values)


def report(
    prediction: FocusPrediction, out: Path, truth: FocusPrediction | None, warnings: tuple[str, ...]
) -> None:
    """Print the figures of a prediction, and its warnings on stderr."""
    found = prediction.figures
    focus = ", ".join(f"{c:.1f}" for c in found.focus_mm)
    lines = [
        f"focus ({focus}) mm, peak {found.peak_pa / 1e3:.1f} kPa, transmission {found.transmission:.3f}, "
        f"-6 dB {found.fwhm_mm[0]:.1f} x {found.fwhm_mm[1]:.1f} mm"
    ]
    if found.distance_to_target_mm is not None:
        lines.append(f"{found.distance_to_target_mm:.1f} mm from the target")
    if truth is not None:
        errors = prediction.errors_against(truth)
        lines.append(
            f"against the solver ({truth.seconds:.1f} s): centroid {errors.centroid_error_mm:.2f} mm, "
            f"shape {errors.shape_l2:.3f}, peak {errors.peak_error:+.1%}, -6 dB overlap {errors.iou_6db:.2f}"
        )
    lines.append(f"{prediction.engine} on {prediction.device}, {prediction.seconds:.2f} s; written to {out}")
    sys.stdout.write("\n".join(lines) + "\n")
    for warning in dict.fromkeys((*warnings, *prediction.warnings)):
        sys.stderr.write(f"warning: {warning}\n")
