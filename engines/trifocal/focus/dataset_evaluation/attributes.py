"""What the linear probes are asked for, from the samples of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, degrees, nan
from typing import TYPE_CHECKING

import numpy as np

from trifocal.focus.analysis import BONE_HU, centroid_mm
from trifocal.focus.dataset_evaluation.scene import Scene
from trifocal.focus.probes import Attributes
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trifocal.focus.deeptfus.predictor import DeepTFUSPredictor
    from trifocal.focus.tfuscapes import DataSet

STEP_MM = 0.25


@dataclass(frozen=True, eq=False)
class Features:
    """What a network has made of some samples.

    Attributes:
        names: Of the samples.
        values: (n, channels) features of its bottleneck, means over space.
        attributes: What is true of each.
    """

    names: tuple[str, ...]
    values: NDArray[np.float32]
    attributes: Attributes


def gather(
    predictor: DeepTFUSPredictor, data: DataSet, names: Sequence[str], *, progress: Progress = silent
) -> Features:
    """Run the encoder on samples, and read what is true of them.

    Raises:
        ValueError: If a file is damaged, or the network needs what the data do not hold.
        Cancelled: If `progress` raises it.
    """
    values, rows = [], []
    for i, name in enumerate(names):
        progress(i / len(names), f"features {i + 1} of {len(names)}")
        sample = data.load(name)
        scene = Scene.of(sample)
        values.append(predictor.features(sample, data))
        rows.append((azimuth_deg(scene), scene.bowl.aperture_mm, focal_depth_mm(scene)))
    progress(1.0, "done")
    azimuth, aperture, depth = np.array(rows).T
    subject = np.array([name.split("/")[0] for name in names])
    return Features(tuple(names), np.stack(values), Attributes(subject, azimuth, aperture, depth))


def azimuth_deg(scene: Scene) -> float:
    """Side of the head that the bowl is on, about the vertical: 0 at the right, 90 in front, -180 to 180.

    The direction against the beam, in the world where the sample tells it, else in the cube. It means little
    where the beam is nearly vertical.
    """
    x, y, _ = -scene.pose.direction
    return degrees(atan2(y, x))


def focal_depth_mm(scene: Scene) -> float:
    """Depth of the true focus (-3 dB centroid) below the outer surface of the skull, along the beam.

    The surface is the first bone on the beam's axis. NaN where there is none before the focus.
    """
    focus = float(centroid_mm(scene.truth, scene.region, scene.box)[2])
    depth = np.arange(0.0, focus, STEP_MM)
    middle = [(n - 1) / 2 for n in scene.box.shape[:2]]
    near = scene.hu[int(middle[0]) : int(middle[0]) + 2, int(middle[1]) : int(middle[1]) + 2].mean((0, 1))
    on_axis = np.interp(depth, scene.box.axis_mm(2), near)
    bone = np.flatnonzero(on_axis > BONE_HU)
    return focus - float(depth[bone[0]]) if len(bone) else nan
