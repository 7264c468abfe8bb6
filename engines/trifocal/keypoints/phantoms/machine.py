"""How a machine makes and shows its images: what differs from maker to maker, and from preset to preset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

Layout = Literal["crop", "tight", "screen"]


@dataclass(frozen=True)
class Machine:
    """Settings from the echo to the grey value.

    Attributes:
        layout: "crop": a part of the sector fills the picture (as in HC18); "tight": the whole sector fills
            it;
            "screen": the sector with margins that hold text and scales.
        size: (width, height) of the picture in pixels.
        dynamic_range_db: From black to white.
        white_db: What is shown white, above soft tissue.
        gamma: Of the grey map; above 1 darkens the mid greys.
        f_number: Focal length over aperture: the lateral resolution is f_number * wavelength at the focus.
        focus: Depth of the focus as a part of the probe's depth.
        cycles: Length of the pulse (full width at half maximum, in wavelengths).
        side_lobe: Amplitude of the wide part of the lateral response, against its main lobe.
        haze: Amplitude of the near-field clutter, against soft tissue.
        noise: Amplitude of the electronic noise at the deepest point, against soft tissue.
        tgc_db: Deviation of the errors of the time gain compensation and of the contact with the skin.
        reverberation: Amplitude of the echoes that come a second time.
        smoothing_px: Deviation of the smoothing of the finished picture.
        compounding: Part by which the speckle is evened out (0 none, 1 strong).
    """

    layout: Layout
    size: tuple[int, int]
    dynamic_range_db: float = 55.0
    white_db: float = 22.0
    gamma: float = 1.3
    f_number: float = 3.0
    focus: float = 0.5
    cycles: float = 1.2
    side_lobe: float = 0.02
    haze: float = 0.1
    noise: float = 0.02
    tgc_db: float = 1.5
    reverberation: float = 0.02
    smoothing_px: float = 0.5
    compounding: float = 0.3


SIZES = ((480, 360), (400, 300), (448, 336), (480, 320), (512, 384), (400, 270), (384, 384), (544, 336))
HC_SIZE = (400, 270)
HC_SIZE_SHARE = 0.75
LAYOUTS: dict[str, tuple[float, float, float]] = {
    "HC": (0.72, 0.14, 0.14),
    "FA": (0.5, 0.2, 0.3),
    "fetal_femur": (0.5, 0.2, 0.3),
    "FUGC": (0.4, 0.35, 0.25),
    "AOP": (0.3, 0.45, 0.25),
}
CARDIAC_LAYOUTS = (0.08, 0.42, 0.5)


def random_machine(task_id: str, rng: np.random.Generator) -> Machine:
    """Some machine with some preset, as likely for that task."""
    kinds: tuple[Layout, Layout, Layout] = ("crop", "tight", "screen")
    layout = kinds[int(rng.choice(3, p=LAYOUTS.get(task_id, CARDIAC_LAYOUTS)))]
    size = SIZES[int(rng.integers(len(SIZES)))]
    if task_id == "HC" and layout == "crop" and rng.random() < HC_SIZE_SHARE:
        size = HC_SIZE
    soft = rng.random()  # a soft image has a wide range and even speckle; a hard one neither
    return Machine(
        layout=layout,
        size=size,
        dynamic_range_db=float(44 + 18 * soft + rng.normal(0, 3)),
        white_db=float(rng.normal(21, 3)),
        gamma=float(1.3 + 0.6 * soft + rng.normal(0, 0.15)),
        f_number=float(rng.uniform(1.8, 3.4)),
        focus=float(rng.uniform(0.35, 0.75)),
        cycles=float(rng.uniform(0.8, 1.6)),
        side_lobe=float(rng.choice([0.0, rng.uniform(0.005, 0.03)])),
        haze=float(10 ** rng.uniform(-2, -0.5)),
        noise=float(10 ** rng.uniform(-2.5, -1.1)),
        tgc_db=float(rng.uniform(0.5, 3.5)),
        reverberation=float(rng.uniform(0, 0.05)),
        smoothing_px=float(rng.uniform(0.0, 1.1)),
        compounding=float(rng.uniform(0.1, 1.0)),
    )
