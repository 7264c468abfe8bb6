"""`trifocal evaluate xray`: the X-ray engine on CTs that it is shown X-rays of."""

from __future__ import annotations

import math
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from trifocal.cli.progress import Bar
from trifocal.xray.evaluation import Evaluation, EvaluationPlan
from trifocal.xray.evaluation.engines import find_checkpoints
from trifocal.xray.evaluation.output import evaluate_into
from trifocal.xray.evaluation.sources import UNSEEN, Source
from trifocal.xray.evaluation.tables import caption, tables
from trifocal.xray.films.exposure import Exposure
from trifocal.xray.learned import BUNDLED

WIDTH = 200
PHANTOMS = "phantoms:"


@dataclass(kw_only=True)
class EvaluateXray:
    """Measure the X-ray engine on CTs: project them, reconstruct them, compare. Research use only.

    Prints PSNR, SSIM and MAE (whole volume and body alone), overlap of lungs and bone, and residuals, beside
    what needs no learning (constant, visual hull, least squares) and the oracle silhouette; the gain over the
    best baseline with intervals over patients. Writes scores.csv (a row for each volume and engine),
    summary.json, table.md, a panel of each volume, reliability.png and provenance.json; nothing if it is
    interrupted.

    Examples:
        trifocal evaluate xray --data chest.nii.gz ct_folder --out real

        trifocal evaluate xray --data phantoms:50 --out phantoms

        trifocal evaluate xray --data phantoms:50 --checkpoint ablation_folder --out ablation

    Attributes:
        data: CTs: files, DICOM folders, folders of patients; or phantoms:N for N procedural trunks.
        out: Folder for the results; made if it does not exist.
        checkpoint: Weights: .safetensors files, folders of them (an ablation table is made of several), the
            name of a bundled model, or least-squares for the baselines alone.
        max_patients: Take the first so many only.
        phantom_seed: Of the first procedural trunk; the default is far from those that are trained with.
        refine: Steps of the physics refinement; 0 judges the network's answer alone.
        samples: Of the uncertainty.
        photons: That a pixel counts in the open beam; without noise if left out.
        scatter: Share of scattered photons in the patient's shadow, 0 to 0.95.
        film_error: Expected error of the films that the refinement is told; what the exposure changed if
            left out.
        frontal: AP or PA.
        films: Which the reconstruction is given.
        voxels: Along the longest edge of each volume.
        seed: Of the films' noise.
        device: Where to compute.
    """

    data: tuple[str, ...]
    out: Path
    checkpoint: tuple[str, ...] = (BUNDLED,)
    max_patients: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    phantom_seed: int = UNSEEN
    refine: int = 15
    samples: int = 0
    photons: Annotated[float | None, tyro.conf.arg(metavar="N")] = None
    scatter: float = 0.0
    film_error: Annotated[float | None, tyro.conf.arg(metavar="SHARE")] = None
    frontal: Literal["AP", "PA"] = "AP"
    films: Literal["both", "frontal", "lateral"] = "both"
    voxels: int = 64
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def run(self) -> int:
        """Evaluate, write and print."""
        if self.out.exists() and not self.out.is_dir():
            msg = f"--out must be a folder, got the file {self.out}"
            raise ValueError(msg)
        plan = EvaluationPlan(
            checkpoints=tuple(find_checkpoints(self.checkpoint)),
            refine=self.refine,
            samples=self.samples,
            exposure=Exposure(self.photons or math.inf, self.scatter),
            film_error=self.film_error,
            frontal=self.frontal,
            films=self.films,
            voxels=self.voxels,
            seed=self.seed,
            device=self.device,
        )
        evaluation = evaluate_into(self.out, self._sources(), plan, progress=Bar())
        _print(evaluation, self.out)
        return 0

    def _sources(self) -> list[Source]:
        if not self.data:
            msg = "give CTs to evaluate on: --data FILE_OR_FOLDER ..., or --data phantoms:N"
            raise ValueError(msg)
        if self.max_patients is not None and self.max_patients < 1:
            msg = f"--max-patients must be 1 or more, got {self.max_patients}"
            raise ValueError(msg)
        found: list[Source] = []
        for word in self.data:
            if word.startswith(PHANTOMS):
                found += Source.phantoms(_count(word), self.phantom_seed)
            else:
                found += Source.of(Path(word), self.max_patients)
        if len({s.name for s in found}) < len(found):
            msg = "--data must name every volume once"
            raise ValueError(msg)
        patients = list(dict.fromkeys(s.patient for s in found))[: self.max_patients]
        return [s for s in found if s.patient in patients]


def _count(word: str) -> int:
    number = word.removeprefix(PHANTOMS)
    if not number.isdecimal() or int(number) < 1:
        msg = f"--data {PHANTOMS}N must say how many, 1 or more, got {word!r}"
        raise ValueError(msg)
    return int(number)


def _print(evaluation: Evaluation, out: Path) -> None:
    # wide enough for every column where the output is a file
    console = Console(width=None if sys.stdout.isatty() else WIDTH, markup=False, highlight=False)
    for content in tables(evaluation):
        table = Table(title=content.title, title_justify="left", box=box.SIMPLE, padding=(0, 0, 0, 1))
        for heading in content.header:
            table.add_column(heading)
        for row in content.rows:
            table.add_row(*row)
        console.print(table)
    lines = [line for text in caption(evaluation) for line in textwrap.wrap(text, WIDTH)]
    sys.stdout.write("\n".join([*lines, f"written to {out}"]) + "\n")
