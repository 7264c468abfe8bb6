"""Crops that are made once and kept, where reading the volumes would take longer than learning from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.training.crops import Crops

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from trifocal.image import Image

HELD_OUT_SEED = 987654321


class KeptCrops:
    """So many crops of each volume, made when the volume is first asked for; an epoch sees one of them.

    Which one follows from seed, epoch and index alone. A crop of 32^3 takes 100 kB, one of 64^3 0.8 MB.

    Args:
        readers: Give the volumes; each is read once.
        voxels: Along the edges of the cube.
        seed: Of the crops and their order.
        variants: Crops kept of each volume.
    """

    def __init__(
        self, readers: Sequence[Callable[[], Image]], *, voxels: int, seed: int = 0, variants: int = 8
    ) -> None:
        self.readers = readers
        self.voxels = voxels
        self.variants = variants
        self._seed = seed
        self._epoch = 0
        self._kept: dict[int, list[dict[str, Tensor]]] = {}

    def set_epoch(self, epoch: int) -> None:
        """Other crops in each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self.readers)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """See `crops.Crops`; the density is float16 (0.002 of water's at worst)."""
        chosen = np.random.default_rng([self._seed, self._epoch, index]).integers(self.variants)
        return self.of(index)[int(chosen)]

    def of(self, index: int) -> list[dict[str, Tensor]]:
        """All crops of a volume."""
        if index not in self._kept:
            image = self.readers[index]()
            seed = int(np.random.SeedSequence([self._seed, index]).generate_state(1)[0])
            crops = Crops([lambda: image], voxels=self.voxels, seed=seed, per_volume=self.variants)
            made = [crops[i] for i in range(self.variants)]
            self._kept[index] = [{**crop, "density": crop["density"].half()} for crop in made]
        return self._kept[index]


class Volumes:
    """Volumes to learn from, with the crops that were made of them; several runs can share them.

    Attributes:
        readers: Give the volumes in HU; the last ones are held out.
    """

    def __init__(self, readers: Sequence[Callable[[], Image]]) -> None:
        self.readers = readers
        self._made: dict[tuple[int, int, int, int], KeptCrops] = {}

    def __len__(self) -> int:
        return len(self.readers)

    def learned(self, held: int, voxels: int, seed: int, variants: int) -> KeptCrops:
        """Crops of all but the last `held` volumes."""
        key = (held, voxels, seed, variants)
        if key not in self._made:
            chosen = self.readers[: len(self.readers) - held]
            self._made[key] = KeptCrops(chosen, voxels=voxels, seed=seed, variants=variants)
        return self._made[key]

    def held_out(self, held: int, voxels: int) -> list[dict[str, Tensor]]:
        """Two crops of each of the last `held` volumes, always the same."""
        key = (-held, voxels, HELD_OUT_SEED, 2)
        if key not in self._made:
            chosen = self.readers[len(self.readers) - held :]
            self._made[key] = KeptCrops(chosen, voxels=voxels, seed=HELD_OUT_SEED, variants=2)
        kept = self._made[key]
        return [crop for i in range(len(kept)) for crop in kept.of(i)]
