"""Small ultrasound frames whose points are known, and an engine that finds them."""

from __future__ import annotations

import threading

import numpy as np

from napari_trifocal.reel import Clip, Reel
from trifocal.cine import Cine, grey
from trifocal.keypoints.ellipse import ellipse_from_axes
from trifocal.keypoints.predictor import KeypointsPrediction
from trifocal.keypoints.tasks import TASKS

SIZE = (120, 90)  # columns, rows


def picture(centre=(60.0, 45.0), radius=20, size=SIZE):
    """A bright disc on black: its middle is where the engine below looks."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return np.where(np.hypot(x - centre[0], y - centre[1]) <= radius, 200, 10).astype(np.uint8)


def cine(frames=5, *, mm_per_px=(0.5, 0.5), name="disc.avi", times=True, radii=None):
    """A disc that moves a pixel to the right with every frame."""
    radii = [20] * frames if radii is None else radii
    made = [picture((50.0 + i, 45.0), radius) for i, radius in enumerate(radii)]
    times_s = np.arange(frames) / 20.0 if times and frames > 1 else None
    return Cine(made, SIZE, name, times_s, pixel_spacing_mm=mm_per_px)


def reel(frames=5, task="HC", **kwargs):
    made = cine(frames, **kwargs)
    return Reel([Clip.of(made, TASKS[task] if task else None)], made.name)


class DiscEngine:
    """Finds the disc: the ends of its vertical and horizontal diameter, in turn for all points of a task.

    Attributes:
        seen: Threads and tasks of the frames that it was given.
        gate: Waited for before each frame.
    """

    def __init__(self):
        self.seen = []
        self.gate = threading.Event()
        self.gate.set()
        self.inputs = []

    def predict(self, inputs, /, *, progress=None):
        assert self.gate.wait(20)
        self.seen.append(threading.current_thread().name)
        self.inputs.append(inputs)
        rows, columns = np.nonzero(grey(inputs.frame) > 100)
        if not len(rows):
            raise ValueError("there is no disc")
        ends = np.array(
            [
                [columns.mean(), rows.min()],
                [columns.mean(), rows.max()],
                [columns.min(), rows.mean()],
                [columns.max(), rows.mean()],
            ]
        )
        task = inputs.task
        points = ends[np.arange(task.count) % 4].astype(float)
        return KeypointsPrediction(
            task=task,
            points=points,
            scores=np.full(task.count, 0.9),
            spread_px=np.full(task.count, 1.5),
            review=float(columns.mean()) / inputs.frame.shape[1],
            hints=("a hint",),
            ellipse=ellipse_from_axes(points) if task.ellipse else None,
            heat=grey(inputs.frame).astype(np.float32) / 255,
            weights_sha256="0" * 64,
            warnings=("it has only ever seen discs",),
        )
