"""Two films in; a volume in HU with its uncertainty, its null space and its re-projections out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trifocal.image import Image
    from trifocal.xray.film import Film
    from trifocal.xray.grid import Grid


@dataclass(frozen=True, eq=False)
class XrayInput:
    """What a prediction is made from.

    Attributes:
        films: The frontal one and the lateral one, in this order; or one alone.
        grid: Where the volume is wanted; 64 voxels along its longest axis for the bundled model.
        energy_kev: Effective energy of the beam, by which attenuation becomes HU.
        refine: Steps of the physics refinement; 0 leaves the network's answer as it is.
        samples: Of the uncertainty, beyond the network's own estimate; 0 for that alone.
    """

    films: tuple[Film, ...]
    grid: Grid
    energy_kev: float = 70.0
    refine: int = 15
    samples: int = 4


@dataclass(frozen=True, eq=False)
class Reprojection:
    """How well a volume explains one film.

    Attributes:
        film: Of the input, on the detector that the comparison was made on.
        before: (rows, columns) line integrals through the network's volume.
        after: The same through the refined volume.
        residual_before: Root mean square of the difference over that of the film, 0 to 1 and more.
        residual: The same after the refinement.
    """

    film: Film
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    residual_before: float
    residual: float


@dataclass(frozen=True, eq=False)
class XrayPrediction:
    """A reconstructed volume and its doubts, all on the same grid.

    Attributes:
        ct: HU, float32.
        std: Expected error of each voxel in HU, as a standard deviation.
        null_space: Share of each voxel's structure that the films do not determine, 0 to 1.
        network: HU before the physics refinement.
        views: One for each film.
        engine: "network" or the name of a baseline.
        weights_sha256: Of the network's file; "" for none.
        device: Where it was computed.
        seconds: That it took.
        warnings: What the user should know (single view, flipped film, out of range, ...).
        notes: For the provenance record (JSON-able).
    """

    ct: Image
    std: Image
    null_space: Image
    network: Image
    views: tuple[Reprojection, ...]
    engine: str = "network"
    weights_sha256: str = ""
    device: str = "cpu"
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)
