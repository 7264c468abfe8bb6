"""From Hounsfield units to what sound feels: speed, density, attenuation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

REFERENCE_FREQUENCY_HZ = 500e3  # the frequency at which attenuations are stated below


@dataclass(frozen=True)
class Tissue:
    """A uniform material: m/s, kg/m3 and dB/cm at 500 kHz."""

    sound_speed: float
    density: float
    attenuation: float


@dataclass(frozen=True)
class AcousticModel:
    """How HU become acoustic properties.

    Bone follows the porosity mapping of Aubry et al. 2003 (doi 10.1121/1.1529663, eqs. 1 to 4):

        porosity = 1 - HU / hu_dense_bone
        density = porosity * density_marrow + (1 - porosity) * density_dense_bone
        sound speed: the same mixture
        attenuation = dense + (porous - dense) * sqrt(porosity)

    with the soft tissue of the head in place of the marrow. The end points are explicit. With the defaults,
    cortical bone of 1600 HU gets 2792 m/s and 1888 kg/m3 (the ITRUSST benchmark of Aubry et al. 2022,
    doi 10.1121/10.0013426, has 2800 and 1850); the two attenuations of bone are its cortical and trabecular
    figures, and brain and water are its too. Attenuation grows with (f / 500 kHz) ** attenuation_power.

    Attributes:
        hu_bone: From here on a voxel of the head is bone; below `hu_soft` it is soft tissue, in between a
            mixture, so that a partial-volume voxel at the surface is neither.
        hu_soft: See `hu_bone`.
        hu_dense_bone: HU of bone without pores; voxels above it count as such.
        hu_air: Below this a voxel inside the head is air.
        dense_bone: Bone without pores.
        porous_bone_attenuation: dB/cm at 500 kHz of bone that is all pores.
        soft_tissue: Everything in the head that is neither bone nor air.
        water: Around the head (coupling).
        air: In sinuses and airways.
        attenuation_power: Exponent of the frequency.
    """

    hu_bone: float = 300.0
    hu_soft: float = 100.0
    hu_dense_bone: float = 2000.0
    hu_air: float = -400.0
    dense_bone: Tissue = Tissue(3100.0, 2100.0, 4.0)
    porous_bone_attenuation: float = 8.0
    soft_tissue: Tissue = Tissue(1560.0, 1040.0, 0.3)
    water: Tissue = Tissue(1500.0, 1000.0, 0.0)
    air: Tissue = Tissue(343.0, 1.2, 0.0)
    attenuation_power: float = 1.0


@dataclass(frozen=True, eq=False)
class Medium:
    """Acoustic properties on a box in the bowl's frame, batched.

    Attributes:
        sound_speed: (b, x, y, z) float32, m/s.
        density: (b, x, y, z) float32, kg/m3.
        attenuation: (b, x, y, z) float32, dB/cm at the bowl's frequency.
        hu: (b, x, y, z) float32, what they were made from (water outside the head is 0 HU).
    """

    sound_speed: Tensor
    density: Tensor
    attenuation: Tensor
    hu: Tensor = field(repr=False)

    def to(self, device: torch.device) -> Medium:
        """The same on a device."""
        return Medium(*(a.to(device) for a in (self.sound_speed, self.density, self.attenuation, self.hu)))

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Sound speed, density and attenuation of the first of the batch, each (x, y, z), for the solver."""
        speed, density, attenuation = (
            a[0].detach().cpu().numpy() for a in (self.sound_speed, self.density, self.attenuation)
        )
        return speed, density, attenuation


def medium_from_hu(
    hu: Tensor, water: Tensor, frequency_hz: float, model: AcousticModel | None = None
) -> Medium:
    """Map HU to sound speed, density and attenuation; differentiable in both tensors.

    Args:
        hu: (b, x, y, z) Hounsfield units.
        water: (b, x, y, z) fraction of each voxel that is coupling water outside the head, 0 to 1.
        frequency_hz: Scales the attenuation.
        model: The mapping; the default one if None.
    """
    m = model or AcousticModel()
    is_bone = ((hu - m.hu_soft) / (m.hu_bone - m.hu_soft)).clamp(0, 1)
    solid = (hu / m.hu_dense_bone).clamp(0, 1)  # 1 - porosity
    air = (hu < m.hu_air) & (water < 0.5)

    def mix(name: str, bone: Tensor) -> Tensor:
        soft, wet, gas = (float(getattr(t, name)) for t in (m.soft_tissue, m.water, m.air))
        base = soft + (wet - soft) * water
        return torch.where(air, gas, base + (bone - base) * is_bone)

    def pores(name: str) -> Tensor:
        marrow, dense = (float(getattr(t, name)) for t in (m.soft_tissue, m.dense_bone))
        return marrow + (dense - marrow) * solid

    dense, porous = m.dense_bone.attenuation, m.porous_bone_attenuation
    bone_attenuation = dense + (porous - dense) * torch.sqrt((1 - solid).clamp_min(1e-6))
    scale = (frequency_hz / REFERENCE_FREQUENCY_HZ) ** m.attenuation_power
    return Medium(
        mix("sound_speed", pores("sound_speed")),
        mix("density", pores("density")),
        mix("attenuation", bone_attenuation) * scale,
        hu,
    )
