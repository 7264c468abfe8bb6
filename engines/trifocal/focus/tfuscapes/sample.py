"""One sample of the published kind, and what only our own samples say about themselves."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from trifocal.focus.pose import Pose
from trifocal.focus.transducer import Bowl
from trifocal.provenance import write_record

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Frame = Literal["world", "bowl"]
FRAMES: tuple[Frame, ...] = get_args(Frame)


@dataclass(frozen=True, eq=False)
class SampleFacts:
    """What the published files do not say; a JSON file beside each of our own.

    Attributes:
        affine: (4, 4) float64, voxel index of the cube -> world in RAS mm.
        bowl: The transducer.
        pose: Bowl frame -> world.
        water_peak_pa: Peak of the bowl in water: pressure / this is the transmission.
        head: Names the head, whatever its poses.
        frame: Whether the cube's axes are those of the world or of the bowl.
        case: File name of the simulated case.
        split: "train", "val" or "test".
    """

    affine: NDArray[np.float64]
    bowl: Bowl
    pose: Pose
    water_peak_pa: float
    head: str
    frame: Frame
    case: str
    split: str

    def save(self, path: Path) -> None:
        """Write the facts as JSON, whole or not at all."""
        content = vars(self) | {"bowl": asdict(self.bowl), "pose": self.pose.record()}
        write_record(path, content)

    @classmethod
    def load(cls, path: Path) -> SampleFacts:
        """Read the facts.

        Raises:
            ValueError: If the file is damaged or says something impossible.
        """
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            record["affine"] = np.array(record["affine"], float).reshape(4, 4)
            record["bowl"] = Bowl(**record["bowl"])
            record["pose"] = Pose(record["pose"]["matrix"])
            facts = cls(**record)
        except (ValueError, TypeError, KeyError) as error:
            msg = f"{path} is damaged or holds no facts of a sample ({error}): delete it and export again"
            raise ValueError(msg) from error
        if facts.frame not in FRAMES:
            msg = f"frame in {path} must be one of {FRAMES}, got {facts.frame!r}: delete it and export again"
            raise ValueError(msg)
        return facts


@dataclass(frozen=True, eq=False)
class Sample:
    """One placement on one head.

    Attributes:
        name: "A00028185/exp_0.npz".
        ct: (n, n, n) float32 HU, background 0.
        pressure: (n, n, n) float32 amplitude in Pa.
        transducer: (m, 3) int64 voxel indices of the bowl's surface.
        spacing_mm: Edge of a voxel.
        facts: Of our own samples; None for published ones.
    """

    name: str
    ct: NDArray[np.float32]
    pressure: NDArray[np.float32]
    transducer: NDArray[np.int64]
    spacing_mm: float
    facts: SampleFacts | None = None

    @property
    def subject(self) -> str:
        """The head, by the name of its folder."""
        return self.name.split("/")[0]

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4) voxel index -> mm: in the world where the facts say so, else from voxel (0, 0, 0)."""
        return np.diag([self.spacing_mm] * 3 + [1.0]) if self.facts is None else self.facts.affine
