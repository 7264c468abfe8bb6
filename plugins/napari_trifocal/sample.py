"""Sample data, made offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_trifocal.keypoints_layers import to_layers
from napari_trifocal.reel import Clip, Reel
from trifocal.cine import Cine
from trifocal.keypoints.tasks import find_task

if TYPE_CHECKING:
    from napari.types import LayerDataTuple
    from numpy.typing import NDArray

HC_SEED, CINE_SEED = 29, 3
CINE_FRAMES, CINE_S = 20, {"A4C": 0.9, "IVC": 4.0}  # of a beat, of a breath


def sample_head() -> list[LayerDataTuple]:
    """Make the head CT that the project generates itself."""
    from trifocal.focus.phantoms import sample_head as make

    return to_layers(make(), name="sample head")


def sample_hc() -> list[LayerDataTuple]:
    """Make an ultrasound image of a fetal head."""
    return to_layers(hc_reel())


def sample_a4c() -> list[LayerDataTuple]:
    """Make an ultrasound cine of a heart."""
    return to_layers(cine_reel("A4C"))


def sample_ivc() -> list[LayerDataTuple]:
    """Make an ultrasound cine of an inferior vena cava."""
    return to_layers(cine_reel("IVC"))


def sample_trunk() -> list[LayerDataTuple]:
    """Make a chest CT that X-rays can be simulated from."""
    from napari_trifocal.xray_jobs import SAMPLE_NAME, sample_ct

    return to_layers(sample_ct(), name=SAMPLE_NAME)


def hc_reel() -> Reel:
    """A synthetic fetal head as frames to work on."""
    from trifocal.keypoints.phantoms import phantom

    made = phantom("HC", HC_SEED)
    return _reel(made.image[None], made.mm_per_px, "HC")


def cine_reel(task_id: str) -> Reel:
    """A synthetic cine of one beat or breath as frames to work on."""
    from trifocal.keypoints.phantoms.cine import phantom_cine

    frames, _, mm_per_px = phantom_cine(task_id, CINE_SEED, CINE_FRAMES)
    times = np.arange(CINE_FRAMES) * CINE_S[task_id] / CINE_FRAMES
    return _reel(frames, mm_per_px, task_id, times)


def _reel(
    frames: NDArray[np.uint8], mm_per_px: float, task_id: str, times_s: NDArray[np.float64] | None = None
) -> Reel:
    name = f"synthetic {task_id}"
    size = frames.shape[2], frames.shape[1]
    cine = Cine(
        list(frames), size, name, times_s, pixel_spacing_mm=(mm_per_px, mm_per_px), notes={"source": name}
    )
    return Reel([Clip.of(cine, find_task(task_id))], name)
