"""Image layers out of napari as NIfTI, with the provenance beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.transforms import Affine, CompositeAffine

from napari_trifocal.layers import image_of
from trifocal import io, provenance
from trifocal.image import Image

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def write_image(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a 3-D image layer and `<name>.provenance.json`.

    Args:
        path: Ends in .nii.gz or .nii.
        data: (i, j, k) values.
        attributes: The layer's own: all of its transforms count.

    Returns:
        The paths written.

    Raises:
        ImageError: If the layer is not a 3-D volume.
    """
    image = layer_image(data, attributes)
    io.write(image, path)
    name = Path(path).name.removesuffix(".gz").removesuffix(".nii")
    beside = Path(path).with_name(f"{name}.provenance.json")
    record = provenance.record(
        "napari/write",
        inputs={"layer": image},
        parameters={"layer": attributes.get("name", "")},
        outputs=[Path(path)],
    )
    provenance.write_record(beside, record)
    return [path, str(beside)]


def layer_image(data: ArrayLike, attributes: dict[str, Any]) -> Image:
    """The image that a layer shows, in the world where it shows it.

    A layer made by this plugin gives back the image that it was made from, unless it has been moved.
    """
    array = np.asarray(data)
    affine = data_to_world(attributes)
    origin = image_of(data, affine, attributes)
    if origin is not None:
        return origin
    notes = {"source": str(attributes.get("name", ""))}
    return Image(array, affine, str((attributes.get("metadata") or {}).get("unit", "")), notes)


def data_to_world(attributes: dict[str, Any]) -> NDArray[np.float64]:
    """(4, 4) matrix of all transforms of a layer: scale, rotate, shear and translate, then the affine."""
    parts = {key: attributes[key] for key in ("scale", "translate", "rotate", "shear") if key in attributes}
    inner = CompositeAffine(ndim=3, **parts).affine_matrix
    outer = attributes.get("affine", np.eye(4))
    outer = outer.affine_matrix if isinstance(outer, Affine) else np.asarray(outer, float)
    matrix: NDArray[np.float64] = outer @ inner
    return matrix
