"""Cases that the network learns from: a head, a bowl and a pose at random, the march and the solver's answer.

A case is determined by its specification, and its file is named by the hash of that: simulating it again
gives the same file, and a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from trifocal import io
from trifocal.files import atomic_file, sha256_file
from trifocal.focus.acoustics import AcousticModel
from trifocal.focus.angular_spectrum import march
from trifocal.focus.head import Head
from trifocal.focus.phantoms import HeadSpec, head_ct
from trifocal.focus.placement import random_pose
from trifocal.focus.predictor import FocusInput, sample_medium, water_peak_pa
from trifocal.focus.solver import solve
from trifocal.focus.transducer import Bowl
from trifocal.predictor import one_core

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from trifocal.focus.acoustics import Medium

FORMAT = 1
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Bowls:
    """What the bowls of the cases may be: each figure evenly between its two bounds.

    Attributes:
        radius_of_curvature_mm: Least and most.
        aperture_mm: Least and most.
        frequency_hz: Least and most.
    """

    radius_of_curvature_mm: tuple[float, float] = (55.0, 75.0)
    aperture_mm: tuple[float, float] = (48.0, 68.0)
    frequency_hz: tuple[float, float] = (220e3, 280e3)

    def draw(self, rng: np.random.Generator) -> Bowl:
        """A bowl at random, of round figures."""
        radius, aperture, frequency = (
            float(rng.uniform(*bounds))
            for bounds in (self.radius_of_curvature_mm, self.aperture_mm, self.frequency_hz)
        )
        return Bowl(round(radius, 1), round(aperture, 1), round(frequency, -3))


@dataclass(frozen=True)
class HeadSource:
    """Where a head comes from: a procedural one, or a CT file or folder.

    Attributes:
        head: The specification of a phantom, or the path of a CT.
        resample: Accept a CT with gantry tilt or uneven slices.
    """

    head: HeadSpec | Path
    resample: bool = False

    def identity(self) -> dict[str, Any]:
        """What determines the head: its parameters, or the hash of its files."""
        if isinstance(self.head, HeadSpec):
            return {"phantom": asdict(self.head)}
        files = sorted(p for p in self.head.rglob("*") if p.is_file()) if self.head.is_dir() else [self.head]
        digest = hashlib.sha256("".join(sha256_file(f) for f in files).encode()).hexdigest()
        return {"ct": digest, "name": self.head.name, "resample": self.resample}

    def load(self) -> Head:
        """Make the phantom or read the CT, and prepare it.

        Raises:
            ImageError: If the CT cannot be used.
        """
        made = isinstance(self.head, HeadSpec)
        return Head.from_image(head_ct(self.head) if made else io.read(self.head, resample=self.resample))  # type: ignore[arg-type]


@dataclass(frozen=True)
class CaseSpec:
    """What determines a case.

    Attributes:
        head: `HeadSource.identity` of its head.
        seed: Of the bowl and the pose.
        bowls: What the bowl may be.
    """

    head: dict[str, Any]
    seed: int
    bowls: Bowls

    @property
    def head_id(self) -> str:
        """Names the head, whatever its poses."""
        return _digest({k: v for k, v in self.head.items() if k != "name"})

    @property
    def file_name(self) -> str:
        """Names the case."""
        content = asdict(self) | {"head": self.head_id, "format": FORMAT, "model": asdict(AcousticModel())}
        return f"{_digest(content)}.safetensors"

    def inputs(self, head: Head) -> FocusInput:
        """Draw bowl and pose; three in four as a clinician would place it, the fourth worse."""
        rng = np.random.default_rng([self.seed, 7])
        bowl = self.bowls.draw(rng)
        limits = {"tilt_deg": 25.0, "lowest": -0.4} if rng.uniform() < 0.25 else {}
        return FocusInput(head, bowl, random_pose(head, bowl, rng, **limits))


@dataclass(frozen=True, eq=False)
class Case:
    """One simulation. Pressures are relative to the peak of the bowl in water.

    Attributes:
        inputs: JSON-able: bowl, pose and the specification.
        bowl: The transducer.
        hu: (x, y, z) int16 on the bowl's box at 6 points per wavelength.
        water: (x, y, z) uint8, fraction of coupling water, 255 for all of it.
        field: (2, x, y, z) float16, real and imaginary part of the march's phasor.
        pressure: (x, y, z) float16, amplitude by the solver.
        preview_hu: The same as hu on the preview's box.
        preview_water: The same as water on the preview's box.
        preview_field: The same as field on the preview's box, without reverberation.
    """

    inputs: dict[str, Any]
    bowl: Bowl
    hu: NDArray[np.int16]
    water: NDArray[np.uint8]
    field: NDArray[np.float16]
    pressure: NDArray[np.float16]
    preview_hu: NDArray[np.int16]
    preview_water: NDArray[np.uint8]
    preview_field: NDArray[np.float16]

    @classmethod
    def simulate(cls, spec: CaseSpec, head: Head, *, device: str = "cpu", threads: int | None = None) -> Case:
        """March and solve.

        Raises:
            ValueError: If no pose that couples is found on the head.
        """
        inputs = spec.inputs(head)
        bowl, unit = inputs.bowl, water_peak_pa(inputs.bowl)
        medium, hu, water, field = _march(inputs, unit)
        pressure = np.abs(solve(*medium.arrays(), bowl, inputs.box, device=device, threads=threads)) / unit
        _, coarse_hu, coarse_water, coarse_field = _march(inputs.preview(), unit)
        amplitude = pressure.astype(np.float16)
        facts = {"bowl": asdict(bowl), "pose": inputs.pose.record(), "spec": asdict(spec)}
        return cls(facts, bowl, hu, water, field, amplitude, coarse_hu, coarse_water, coarse_field)

    def save(self, path: Path) -> None:
        """Write the case, whole or not at all."""
        # safetensors writes the buffer as it lies, whatever the strides say
        arrays = {k: np.ascontiguousarray(v) for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        with atomic_file(path) as part:
            part.write_bytes(save(arrays, {"facts": json.dumps(self.inputs)}))

    @classmethod
    def load(cls, path: Path) -> Case:
        """Read a case.

        Raises:
            ValueError: If the file is damaged or not a case.
        """
        try:
            with safe_open(path, "np") as file:
                facts = json.loads((file.metadata() or {})["facts"])
            arrays = load_file(path)
            return cls(facts, Bowl(**facts["bowl"]), **arrays)
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            msg = f"{path} is damaged or no case of `simulate focus` ({error}): delete it and simulate again"
            raise ValueError(msg) from error


def _march(
    inputs: FocusInput, unit: float
) -> tuple[Medium, NDArray[np.int16], NDArray[np.uint8], NDArray[np.float16]]:
    """Medium, HU, water and field of one grid, the arrays packed."""
    pose = torch.from_numpy(inputs.pose.matrix.copy())[None]
    _, water = inputs.head.sample(pose, inputs.box)
    medium = sample_medium(inputs, CPU)
    with one_core(), torch.no_grad():
        field = march(medium, inputs.bowl, inputs.box, reverberations=inputs.reverberations)[0].numpy() / unit
    hu = medium.hu[0].numpy().round().astype(np.int16)
    packed = (water[0].numpy() * 255).round().astype(np.uint8)
    return medium, hu, packed, np.stack([field.real, field.imag]).astype(np.float16)


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:24]
