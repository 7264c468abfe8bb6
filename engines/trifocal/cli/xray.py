"""`trifocal predict xray`: a CT from two X-rays, or from one."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from trifocal import io
from trifocal.cli.progress import Bar
from trifocal.xray.comparison import against_truth, on_grid
from trifocal.xray.films.fix import FIXES
from trifocal.xray.films.geometry import Known
from trifocal.xray.films.inputs import Prepared, find_geometry, load_geometry, prepare, with_meaning
from trifocal.xray.learned import BUNDLED
from trifocal.xray.output import save, summarise
from trifocal.xray.predictor import XrayPredictor

if TYPE_CHECKING:
    from trifocal.radiograph import Radiograph

Millimetres = Annotated[float | None, tyro.conf.arg(metavar="MM")]
FixWord = Annotated[str, tyro.conf.arg(metavar="FIX")]


@dataclass(kw_only=True)
class PredictXray:
    """Reconstruct a CT volume from a frontal and a lateral X-ray, or from one film. Research use only.

    Writes ct.nii.gz (HU), std.nii.gz (HU, expected error of each voxel), null_space.nii.gz (share of each
    voxel's structure that the films do not determine), residual_*.tif and .png (film less re-projection),
    geometry_used.json, summary.json, panel.png and provenance.json; with --truth also truth.nii.gz,
    error.nii.gz and figures beside those of baselines in summary.json. All of it or nothing.

    Where source and detector stood comes from --geometry, else from a geometry.json beside the films (as
    `trifocal project` writes it), else from the files' headers; what nobody says is assumed and listed.
    Films are never turned or exchanged unasked: what looks wrong is said, with the --fix that would mend it.

    Examples:
        trifocal predict xray --ap films/ap.dcm --lateral films/lateral.dcm --out result

        trifocal predict xray --ap ap.png --lateral lat.png --pixel-mm 0.3 --fix mirror-lateral --out result

    Attributes:
        ap: The AP or PA film: DICOM (CR, DX, XA, RF), PNG, TIFF or JPEG.
        lateral: The lateral film; either film may be left out, with a larger uncertainty.
        out: Folder for the results; made if it does not exist.
        geometry: JSON file of the geometry, as `trifocal project` writes it.
        fix: What to do to the films first: swap, mirror-ap, flip-lateral, turn-90-ap (counter-clockwise),
            turn-180-lateral, invert-ap, ...; several may follow each other.
        source_to_detector_mm: Of both films, before what their headers say.
        center_to_detector_mm: From the middle of the patient to the detector, likewise.
        pixel_mm: Size of a pixel on the detector, likewise.
        energy_kev: Effective energy of the beam; the geometry file's, or 70.
        film_error: Expected error of the line integrals as a share of the largest, by which the refinement
            is damped; by the kind of film if left out.
        refine: Steps of the physics refinement; 0 leaves the network's answer as it is.
        samples: Of the uncertainty.
        truth: The true CT in the same place, to compare with.
        checkpoint: A .safetensors file, the name of a bundled model, or least-squares (needs no weights).
        device: Where to compute.
        resample: Accept a truth with gantry tilt or uneven slices.
        json: Print the summary as JSON.
    """

    ap: Path | None = None
    lateral: Path | None = None
    out: Path
    geometry: Path | None = None
    fix: tuple[FixWord, ...] = ()
    source_to_detector_mm: Millimetres = None
    center_to_detector_mm: Millimetres = None
    pixel_mm: Millimetres = None
    energy_kev: float | None = None
    film_error: float | None = None
    refine: int = 15
    samples: int = 4
    truth: Path | None = None
    checkpoint: str = BUNDLED
    device: Literal["auto", "cpu", "cuda"] = "auto"
    resample: bool = False
    json: bool = False

    def run(self) -> int:
        """Read, reconstruct, compare if asked, save."""
        if self.out.exists() and not self.out.is_dir():
            msg = f"--out must be a folder, got the file {self.out}"
            raise ValueError(msg)
        prepared = self.prepare()
        predictor = XrayPredictor.load(self.checkpoint, device=self.device)
        ct = None if self.truth is None else io.read(self.truth, resample=self.resample)
        truth = None if ct is None else on_grid(ct, prepared.inputs.grid)
        prediction = predictor.predict(prepared.inputs, progress=Bar())
        metrics = None if truth is None else against_truth(prediction, truth)
        sha = prediction.weights_sha256
        weights = {"name": Path(self.checkpoint).name, "sha256": sha} if sha else None
        summary = summarise(prediction, prepared, metrics=metrics, weights=weights)
        parameters = {"fix": self.fix, "truth": None if self.truth is None else self.truth.name}
        save(
            prediction,
            prepared,
            self.out,
            summary=summary,
            truth=truth,
            weights=weights,
            parameters=parameters,
        )
        self._report(summary)
        return 0

    def prepare(self) -> Prepared:
        """Read the films and their geometry.

        Raises:
            ValueError: If they cannot be used.
        """
        paths = {s: p for s, p in (("frontal", self.ap), ("lateral", self.lateral)) if p is not None}
        if not paths:
            msg = "give --ap FILM, --lateral FILM or both"
            raise ValueError(msg)
        for word in self.fix:
            if word not in FIXES:
                msg = f"--fix must be of {', '.join(FIXES)}, got {word!r}"
                raise ValueError(msg)
        radiographs: dict[str, Radiograph] = {s: io.read_radiograph(p) for s, p in paths.items()}
        where = self.geometry or find_geometry(paths.values())
        known = Known(
            source_to_detector_mm=self.source_to_detector_mm,
            center_to_detector_mm=self.center_to_detector_mm,
            pixel_mm=self.pixel_mm,
        )
        if where is not None:
            if known != Known():
                msg = (
                    f"the geometry comes from {where.name}: leave out --source-to-detector-mm,"
                    " --center-to-detector-mm and --pixel-mm, or take the file away"
                )
                raise ValueError(msg)
            geometry = load_geometry(where)
            radiographs = {s: with_meaning(r, where) for s, r in radiographs.items()}
        return prepare(
            radiographs,
            geometry=None if where is None else geometry,
            fixes=self.fix,
            known=dict.fromkeys(paths, known),
            energy_kev=self.energy_kev,
            relative_error=self.film_error,
            refine=self.refine,
            samples=self.samples,
        )

    def _report(self, summary: dict[str, Any]) -> None:
        if self.json:
            sys.stdout.write(json.dumps(summary, indent=2) + "\n")
        else:
            sys.stdout.write("\n".join(_lines(summary)) + f"; written to {self.out}\n")
        for warning in summary["warnings"]:
            sys.stderr.write(f"warning: {warning}\n")


def _lines(summary: dict[str, Any]) -> list[str]:
    grid = summary["grid"]
    shape, spacing = (" x ".join(f"{n:.4g}" for n in grid[key]) for key in ("shape", "spacing_mm"))
    lines = [f"{shape} voxels of {spacing} mm"]
    for view in summary["views"]:
        before, after = view["residual_before"], view["residual"]
        lines.append(f"{view['name']}: residual {before:.1%} before, {after:.1%} after the refinement")
    if summary["std_hu"] is not None:
        lines.append(f"expected error {summary['std_hu']:.0f} HU, on average in the body")
    metrics = summary.get("metrics")
    if metrics is not None:
        lines += _table(metrics)
    lines.append(f"{summary['engine']} on {summary['device']}, {summary['seconds']:.2f} s")
    return lines


def _table(metrics: dict[str, Any]) -> list[str]:
    """The prediction beside the baselines, with what makes the figures comparable."""
    low, high = metrics["window_hu"]
    spacing = " x ".join(f"{s:.3g}" for s in metrics["spacing_mm"])
    rows = {"prediction": metrics, **metrics["baselines"]}
    rows["oracle silhouette (needs the truth)"] = metrics["oracle_silhouette"]
    width = max(map(len, rows))
    lines = [
        f"on [{low:g}, {high:g}] HU (range {high - low:g}), voxels of {spacing} mm:",
        f"{'':<{width}}  PSNR dB   SSIM  MAE HU  body PSNR  body MAE",
    ]
    lines += [
        f"{name:<{width}}  {row['psnr_db']:7.2f}  {row['ssim']:5.3f}  {row['mae_hu']:6.1f}"
        f"  {row['body_psnr_db']:9.2f}  {row['body_mae_hu']:8.1f}"
        for name, row in rows.items()
    ]
    return lines
