"""One CT of a data set, in whatever layout it lies there, as a volume in HU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import h5py  # type: ignore[import-untyped]
import numpy as np

from trifocal import io
from trifocal.files import sha256_file
from trifocal.image import Image, ImageError
from trifocal.io.checks import check_memory
from trifocal.radiograph import Radiograph
from trifocal.xray.planning import upright_ct

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Layout = Literal["volume", "dicom", "hdf5"]

_X2CT_EDGE_MM = 320.0
"""Edge of the cubes of X2CT-GAN's files, where they do not say it (Ying et al. 2019, arXiv:1905.06902)."""

_FILMS = {"frontal": "xray1", "lateral": "xray2"}


@dataclass(frozen=True)
class CtScan:
    """A CT file or folder, read when it is asked for.

    Attributes:
        path: NIfTI, NRRD, MetaImage or HDF5 file, or the folder of a DICOM series.
        layout: How it is read.
        films: "frontal" and "lateral" pictures that lie beside it, if any.
    """

    path: Path
    layout: Layout
    films: tuple[tuple[str, Path], ...] = ()

    def read(self) -> Image:
        """The volume in HU with its axes along the world's.

        An HDF5 file holds `ct` (z, y, x) with z up and y to the back, as X2CT-GAN's do: voxels of `spacing`
        (z, y, x in mm) times `ori_size` over its shape; without them a cube of 320 mm. Values from 0 up count
        from air (HU + 1000), values below -500 are HU.

        Raises:
            ImageError: If it cannot be read as a CT.
        """
        image = self._hdf5() if self.layout == "hdf5" else io.read(self.path, resample=self.layout == "dicom")
        if image.unit not in ("HU", ""):
            msg = f"{self.path.name} is in {image.unit}: a CT in HU was expected"
            raise ImageError(msg)
        return upright_ct(image)

    def radiographs(self) -> dict[str, Radiograph]:
        """The films that lie beside the CT, or in its HDF5 file, by side; none where there are none.

        How they were projected is not known from the file: they are pictures made for the eye.

        Raises:
            ImageError: If one cannot be read.
        """
        if self.layout != "hdf5":
            return {side: io.read_radiograph(path) for side, path in self.films}
        found = {}
        for side, array in _arrays(self.path, tuple(_FILMS.values())).items():
            name = {v: k for k, v in _FILMS.items()}[side]
            notes = {"source": f"{self.path.name}, {side}"}
            digest = sha256_file(self.path)
            found[name] = Radiograph(
                array.astype(np.float32).squeeze(),
                "display",
                notes["source"],
                notes=notes,
                sha256=digest + side,
            )
        return found

    def _hdf5(self) -> Image:
        found = _arrays(self.path, ("ct", "spacing", "ori_size"))
        array = np.squeeze(found.get("ct", np.empty(0)))
        if array.ndim != 3 or 0 in array.shape or array.dtype.kind not in "iuf":
            got = f"shape {array.shape}" if "ct" in found else "none"
            msg = f"{self.path.name} must hold a volume 'ct' (z, y, x), got {got}: is it a file of X2CT-GAN?"
            raise ImageError(msg)
        if not np.isfinite(array).all():
            msg = f"{self.path.name} has voxels that are not finite: replace them by air"
            raise ImageError(msg)
        notes: dict[str, Any] = {"source": self.path.name, "format": "HDF5"}
        if array.min() >= -1:
            array = array.astype(np.float32) - 1000
            notes["values"] = "HU + 1000, as they begin at 0"
        spacing = self._spacing(found, array.shape, notes)
        z, y, x = spacing
        affine = np.diag([-x, -y, z, 1.0])  # LPS with z up -> RAS
        return Image(np.transpose(array, (2, 1, 0)), affine, "HU", notes)

    def _spacing(
        self, found: dict[str, NDArray[Any]], shape: tuple[int, ...], notes: dict[str, Any]
    ) -> NDArray[np.float64]:
        """(z, y, x) mm."""
        spacing = np.ravel(found.get("spacing", np.empty(0))).astype(float)
        spacing = np.repeat(spacing, 3) if spacing.size == 1 else spacing
        if spacing.size != 3 or not (np.isfinite(spacing) & (spacing > 0)).all():
            notes["spacing"] = f"not in the file: a cube of {_X2CT_EDGE_MM:g} mm was assumed"
            return _X2CT_EDGE_MM / np.array(shape, float)
        original = np.ravel(found.get("ori_size", np.array(shape))).astype(float)
        original = np.repeat(original, 3) if original.size == 1 else original
        if original.size != 3 or not (np.isfinite(original) & (original > 0)).all():
            original = np.array(shape, float)
        resized: NDArray[np.float64] = spacing * original / np.array(shape)
        return resized


def _arrays(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Data sets of an HDF5 file, those that are there.

    Raises:
        ImageError: If it is damaged or larger than the memory.
    """
    out: dict[str, NDArray[Any]] = {}
    try:
        with h5py.File(path, "r") as file:
            for name in names:
                data = file.get(name)
                if isinstance(data, h5py.Dataset) and data.dtype.kind in "iuf":
                    check_memory(path.name, 3 * data.size * data.dtype.itemsize)
                    out[name] = np.asarray(data)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        msg = f"{path.name} is damaged or no HDF5 file ({error}): copy or export it again"
        raise ImageError(" ".join(msg.split())) from error
    return out
