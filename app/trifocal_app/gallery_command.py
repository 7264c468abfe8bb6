"""`trifocal gallery`: samples at percentiles of an engine's error, prediction and truth in 3-D."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from trifocal.cli.progress import Bar
from trifocal.focus.dataset_evaluation.percentiles import BY, PERCENTILES, gallery_cases
from trifocal.focus.dataset_evaluation.saved import SavedEvaluation


@dataclass(kw_only=True)
class Gallery:
    """Show the 5th, 25th, 75th and 95th percentile of an engine's focal error in 3-D. Research use only.

    Skull in grey, bowl in red, cloud in blue; prediction and truth side by side. Predicts the samples again
    with the weights that were evaluated. Writes gallery.png, gallery.html (drag to turn; needs no network)
    and nothing if it is interrupted.

    Examples:
        trifocal gallery --evaluation table --engine base --out gallery

        trifocal gallery --evaluation table --engine network --by centroid_error_mm --out gallery

    Attributes:
        evaluation: Folder of `trifocal evaluate focus --data`.
        engine: What the engine is called there.
        data: Where the data set is now, if it has been moved since.
        cases: Where the simulated cases are now, likewise.
        by: The error whose percentiles are shown: a column of errors.csv.
        percentiles: Which ones.
        out: Folder for the results; made if it does not exist.
    """

    evaluation: Path
    engine: str
    data: tuple[Path, ...] = ()
    cases: tuple[Path, ...] = ()
    by: str = BY
    percentiles: tuple[float, ...] = PERCENTILES
    out: Path

    def run(self) -> int:
        """Predict, draw, write."""
        found = SavedEvaluation.read(self.evaluation)
        plan = replace(found.plan, data=self.data or found.plan.data, cases=self.cases or found.plan.cases)
        cases = gallery_cases(
            replace(found, plan=plan), self.engine, self.percentiles, self.by, progress=Bar()
        )
        if sys.platform == "linux":  # VTK would look for an X server first, and complain
            os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
        from trifocal.files import output_folder
        from trifocal_app.gallery import GalleryScene, draw_gallery
        from trifocal_app.gallery_page import write_page

        scenes = [GalleryScene.of(case) for case in cases]
        title = f"{self.engine}, by {self.by.removesuffix('_mm').replace('_', ' ')}"
        with output_folder(self.out) as folder:
            draw_gallery(folder / "gallery.png", scenes, title)
            write_page(folder / "gallery.html", scenes, title)
        for scene in scenes:
            sys.stdout.write(f"{scene.title}, {scene.sample}\n")
        sys.stdout.write(f"written to {self.out}: gallery.png, gallery.html\n")
        return 0
