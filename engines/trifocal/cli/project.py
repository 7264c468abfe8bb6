"""`trifocal project`: the X-rays that a CT would give."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro

from trifocal import io
from trifocal.cli.progress import Bar
from trifocal.xray.films.exposure import Exposure, expose
from trifocal.xray.films.output import save_films
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.planning import plan_grid, project_ct


@dataclass(kw_only=True)
class ProjectXray:
    """Make the frontal and the lateral X-ray of a CT. Research use only.

    Writes ap.dcm (pa.dcm) and lateral.dcm, 16-bit line integrals -ln(I/I0) of which the files say the scale,
    geometry.json, which `trifocal predict xray` finds beside them, picture.png and provenance.json; all of it
    or nothing. The box that is projected is the CT's own, at most 450 mm along each edge and then about the
    body's centre; the CT is projected at its own resolution, up to 256 voxels along an edge.

    Examples:
        trifocal project ct.nii.gz --out films

        trifocal project dicom_folder --out films --frontal PA --photons 20000 --scatter 0.1 --format tiff

    Attributes:
        ct: A NIfTI, NRRD or MHA file, a DICOM folder, a zip of one, or a DICOM file, in HU.
        out: Folder for the films; made if it does not exist.
        frontal: AP has the source in front of the patient, PA behind.
        source_to_detector_mm: Distance of the source from the detector.
        center_to_detector_mm: Distance of the middle of the volume from the detector.
        pixels: Rows and columns of each film.
        energy_kev: Effective energy of the beam.
        parallel: Parallel rays instead of a cone.
        voxels: Of the box, along its longest edge: what `predict xray` reconstructs.
        photons: That a pixel counts in the open beam; without noise if left out.
        scatter: Share of scattered photons in the patient's shadow, 0 to 0.95.
        blur_px: Standard deviation of the detector's blur in pixels.
        seed: Of the noise.
        format: DICOM (DX, for processing) or 16-bit TIFF.
        resample: Accept a CT with gantry tilt or uneven slices, and resample it by the true positions.
    """

    ct: tyro.conf.Positional[Path]
    out: Path
    frontal: Literal["AP", "PA"] = "AP"
    source_to_detector_mm: float = 1800.0
    center_to_detector_mm: float = 250.0
    pixels: int = 256
    energy_kev: float = 70.0
    parallel: bool = False
    voxels: int = 64
    photons: Annotated[float | None, tyro.conf.arg(metavar="N")] = None
    scatter: float = 0.0
    blur_px: float = 0.0
    seed: int = 0
    format: Literal["dicom", "tiff"] = "dicom"
    resample: bool = False

    def run(self) -> int:
        """Project, expose, write."""
        for name, value, low, high in (
            ("--pixels", self.pixels, 8, 4096),
            ("--voxels", self.voxels, 8, 256),
        ):
            if not low <= value <= high:
                msg = f"{name} must be within {low} to {high}, got {value}"
                raise ValueError(msg)
        exposure = Exposure(self.photons or math.inf, self.scatter, blur_px=self.blur_px)
        ct = io.read(self.ct, resample=self.resample)
        geometry = frontal_and_lateral(
            plan_grid(ct, self.voxels),
            frontal=self.frontal,
            source_to_detector_mm=self.source_to_detector_mm,
            center_to_detector_mm=self.center_to_detector_mm,
            pixels=self.pixels,
            parallel=self.parallel,
            energy_kev=self.energy_kev,
        )
        clean = project_ct(ct, geometry, progress=Bar())
        films, errors = self._expose(clean, exposure)
        parameters = {"exposure": exposure, "seed": self.seed, "format": self.format}
        names = save_films(
            self.out,
            geometry,
            films,
            ct=ct,
            form=self.format,
            expected_errors=errors,
            parameters=parameters,
        )
        extent = " x ".join(f"{e:.0f}" for e in geometry.grid.extent_mm)
        shape = " x ".join(map(str, geometry.grid.shape))
        sys.stdout.write(
            f"{' and '.join(names)} of a box of {extent} mm ({shape} voxels); written to {self.out}\n"
        )
        return 0

    def _expose(
        self, clean: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]], exposure: Exposure
    ) -> tuple[list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]], list[float]]:
        """The films as the detector sees them, and how far they are off as a share of the largest."""
        if (exposure.photons, exposure.scatter_fraction, exposure.blur_px) == (math.inf, 0.0, 0.0):
            return clean, [0.0] * len(clean)
        generator = torch.Generator().manual_seed(self.seed)
        seen = [expose(torch.from_numpy(film), exposure, generator).numpy() for film in clean]
        off = [
            float(np.sqrt(np.mean((a - b) ** 2)) / max(a.max(), 1e-6))
            for a, b in zip(clean, seen, strict=True)
        ]
        return seen, off
