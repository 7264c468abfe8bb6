"""`trifocal app`: the window, or the same job without one where there is no display."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from trifocal import RESEARCH_USE_ONLY

if TYPE_CHECKING:
    from trifocal.image import Image


@dataclass
class App:
    """Open the desktop app with sample data or with your own files.

    With no display it does the same job headless: it predicts the field of the default bowl on the head and
    writes the volumes and pictures to a folder, or finds the points on the ultrasound and writes the tables,
    or reconstructs the CT from X-ray films.

    Examples:
        trifocal app

        trifocal app head.nii.gz

        trifocal app dicom_folder --resample

        trifocal app cine.dcm

        trifocal app ap.dcm lateral.dcm

    Attributes:
        files: Head CTs: NIfTI, NRRD or MHA files, DICOM folders or zips; or ultrasound: pictures, films,
            DICOM, folders of them; or one or two X-ray films: DICOM, or TIFF or PNG of 16 bits. The sample
            data if none is given.
        resample: Accept a CT with gantry tilt or uneven slices, and resample it by the true positions.
        out: Where the headless run writes.
    """

    files: tyro.conf.Positional[list[Path]] = field(default_factory=list)
    resample: bool = False
    out: Path = Path("trifocal-out")

    def run(self) -> int:
        """Open the window, or work without one."""
        for path in self.files:
            if not path.exists():
                msg = f"there is no file or folder {path}"
                raise FileNotFoundError(msg)
        if has_display():
            spare_a_core()
            from trifocal_app.window import open_window

            return open_window(self.files, resample=self.resample)
        from napari_trifocal.reel import shows_frames
        from napari_trifocal.xray_kind import is_film

        films = [path for path in self.files if is_film(path)]
        if films:
            return self._headless_xray(films)
        frames = [path for path in self.files if shows_frames(path)]
        return self._headless_keypoints(frames) if frames else self._headless()

    def _headless_xray(self, films: list[Path]) -> int:
        from napari_trifocal.xray_arrangement import Arrangement
        from napari_trifocal.xray_films import read_films
        from trifocal.cli.xray import PredictXray

        found, sides = Arrangement(), {}
        for path, slot in zip(films, read_films(films[:2]).slots, strict=False):
            side = found.side_for(slot, sides)
            found, sides[side] = found.placed(slot, side), path
        sys.stdout.write("there is no display, so no window was opened; the CT without one:\n")
        done = PredictXray(ap=sides.get("frontal"), lateral=sides.get("lateral"), out=self.out).run()
        sys.stdout.write(f"{RESEARCH_USE_ONLY}\n")
        return done

    def _headless_keypoints(self, frames: list[Path]) -> int:
        from napari_trifocal.reel import task_named
        from trifocal.cli.keypoints import PredictKeypoints

        task = task_named(frames[0])
        if task is None:
            msg = (
                f"there is no display, and the name of {frames[0].name} does not say its task: "
                "use trifocal predict keypoints with --task"
            )
            raise ValueError(msg)
        sys.stdout.write("there is no display, so no window was opened; the points without one:\n")
        done = PredictKeypoints(paths=tuple(frames), task=task.id, out=self.out).run()
        sys.stdout.write(f"{RESEARCH_USE_ONLY}\n")
        return done

    def _headless(self) -> int:
        from trifocal.focus.head import Head
        from trifocal.focus.output import save
        from trifocal.focus.placement import aim, first_target
        from trifocal.focus.predictor import FocusInput, FocusPredictor
        from trifocal.focus.transducer import PRESETS

        if sys.platform == "linux":  # VTK would look for an X server first, and complain
            os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
        from trifocal_app.scene import draw_scene_3d

        head = Head.from_image(self._ct())
        bowl = PRESETS["default"]
        target = first_target(head, bowl)
        pose, warnings = aim(head, bowl, target)
        prediction = FocusPredictor("network").predict(FocusInput(head, bowl, pose, target))
        save(prediction, self.out, warnings=warnings)
        draw_scene_3d(prediction, self.out / "scene_3d.png")
        found = prediction.figures
        sys.stdout.write(
            "there is no display, so no window was opened; the same prediction was made without one:\n"
            f"focus {found.distance_to_target_mm:.1f} mm from the target, "
            f"peak {found.peak_pa / 1e3:.0f} kPa, transmission {found.transmission:.2f}\n"
            f"pictures: {self.out / 'scene_3d.png'}, {self.out / 'scene.png'}\n"
            f"volume and figures: {self.out / 'pressure.nii.gz'}, {self.out / 'summary.json'}\n"
            f"{RESEARCH_USE_ONLY}\n"
        )
        return 0

    def _ct(self) -> Image:
        if self.files:
            from trifocal import io

            return io.read(self.files[0], resample=self.resample)
        from trifocal.focus.phantoms import sample_head

        return sample_head()


def spare_a_core() -> None:
    """On two cores, keep Mesa's software renderer to the interface thread; call it before a window is made.

    It draws with a thread for each core otherwise, and takes the one that predictions need: with it, the way
    from a mouse move to the new cloud was half as long again. A real GPU takes no notice.
    """
    if (os.cpu_count() or 1) <= 2:
        os.environ.setdefault("LP_NUM_THREADS", "0")


def has_display() -> bool:
    """Whether a window can be opened: always on Windows and macOS, by the environment elsewhere."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
