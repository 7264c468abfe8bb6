"""Reconstructions from X-rays, and the films themselves, as napari layer data. Imports no GUI.

The volumes lie upright in world millimetres (R, A, S). A film stands at its detector as a textured rectangle:
napari draws a flat image in the plane of the last two axes only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_trifocal.layers import DIFFERENCE_COLOURS, VIEWS, WORLD, View, to_layers
from napari_trifocal.meshes import as_glass
from napari_trifocal.xray_meshes import bone_mesh, lung_mesh, skin_mesh
from trifocal.radiograph import Radiograph
from trifocal.xray.predictor import XrayPrediction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_trifocal.layers import LayerData
    from trifocal.image import Image
    from trifocal.xray.film import Film
    from trifocal.xray.geometry import View as XrayView

RECONSTRUCTION = "CT from X-rays (HU)"
STD, NULL_SPACE, ERROR = "Uncertainty (HU)", "Null space (0 to 1)", "Error (HU)"
SKIN, LUNG, BONE = "Skin", "Lung", "Bone"
FRONTAL_FILM, LATERAL_FILM, RAYS, SOURCES = "Frontal film", "Lateral film", "Rays", "X-ray sources"
FILMS = (FRONTAL_FILM, LATERAL_FILM)
RADIOGRAPH = "trifocal_radiograph"
"""Key of a layer's metadata: the `Radiograph` that it shows."""
WINDOWS = {
    "bone": (-500.0, 1300.0),
    "lung": (-1350.0, 150.0),
    "soft": (-160.0, 240.0),
    "all": (-1000.0, 1000.0),
}
"""Least and most HU of the usual windows; "all" is the range that the metrics are taken on."""
SET_UP = "set-up"
XRAY_VIEWS = {
    "3-D": VIEWS["3-D"],
    SET_UP: VIEWS["3-D"],
    "axial": View((2, 1, 0), ("away", "up", "left")),
    "coronal": View((1, 2, 0), ("towards", "up", "left")),
    "sagittal": View((0, 2, 1), ("away", "up", "left")),
}
"""Slices as the films are seen: the patient's right on the left, from the side facing left.

The set-up is the 3-D scene from so far away that the sources are in the picture."""
ERROR_HU = 500.0
MOST_TEXELS = 512  # along an edge of a film in the 3-D scene
RAY_COLOUR, RAY_MM = "#ffd02f", 4.0
SURFACES = {
    SKIN: (skin_mesh, [0.93, 0.80, 0.70], 0.30),
    LUNG: (lung_mesh, [0.45, 0.75, 1.0], 0.75),
    BONE: (bone_mesh, [1.0, 0.97, 0.88], 0.95),
}


@to_layers.register(XrayPrediction)
def _(prediction: XrayPrediction, *, name: str = RECONSTRUCTION) -> list[LayerData]:
    films = [view.film for view in prediction.views]
    return [
        ct_layer(prediction.ct, name=name),
        *std_layer(prediction),
        null_space_layer(prediction),
        *surface_layers(prediction.ct),
        *scene_layers(films),
    ]


@to_layers.register(Radiograph)
def _(radiograph: Radiograph, *, name: str = "") -> list[LayerData]:
    look: dict[str, Any] = {
        "name": name or radiograph.name or "radiograph",
        "colormap": "gray",
        "contrast_limits": limits_of(radiograph.pixels),
        "metadata": {RADIOGRAPH: radiograph, "unit": radiograph.scale, **radiograph.notes},
    }
    if radiograph.pixel_mm is not None:
        look |= {"scale": radiograph.pixel_mm, "units": ("mm", "mm")}
    return [(radiograph.pixels, look, "image")]


def ct_layer(ct: Image, *, name: str = RECONSTRUCTION, window: str = "all") -> LayerData:
    """A volume in HU, seen through one of `WINDOWS`."""
    look = {"name": name, "colormap": "gray", "contrast_limits": WINDOWS[window]}
    return _volume(ct, look)


def std_layer(prediction: XrayPrediction) -> list[LayerData]:
    """Expected error of each voxel in HU, if the engine gives one."""
    if not np.isfinite(prediction.std.array).all():
        return []
    most = max(float(np.percentile(prediction.std.array, 99.5)), 1.0)
    return [_volume(prediction.std, {"name": STD, "colormap": "magma", "contrast_limits": (0.0, most)})]


def null_space_layer(prediction: XrayPrediction) -> LayerData:
    """Share of each voxel's structure that the films do not determine."""
    look = {"name": NULL_SPACE, "colormap": "viridis", "contrast_limits": (0.0, 1.0)}
    return _volume(prediction.null_space, look)


def error_layer(error: Image) -> LayerData:
    """Prediction - truth in HU: blue where too thin, red where too dense."""
    look: dict[str, Any] = {"name": ERROR, "contrast_limits": (-ERROR_HU, ERROR_HU)}
    look["colormap"] = {"colors": DIFFERENCE_COLOURS, "name": "thin blue, dense red"}
    return _volume(error, look)


def surface_layers(ct: Image) -> list[LayerData]:
    """Bone, lung and skin; those of which there is nothing are left out. The translucent one comes last."""
    layers: list[LayerData] = []
    for name in (BONE, LUNG, SKIN):
        make, colour, opacity = SURFACES[name]
        mesh = make(ct)
        if not len(mesh[0]):
            continue
        look = {"name": name, "contrast_limits": (0.0, 1.0), "shading": "smooth", "opacity": opacity}
        look["colormap"] = {"colors": [[*colour, 0.0], [*colour, 1.0]], "name": f"glass {name.lower()}"}
        if name == SKIN:
            data: tuple[Any, ...] = as_glass(mesh)
        else:
            data = *mesh, np.ones(len(mesh[0]), np.float32)
        layers.append((data, look | WORLD, "surface"))
    return layers


def scene_layers(films: Sequence[Film]) -> list[LayerData]:
    """Films at their detectors, the sources, and rays from them to the detectors' corners."""
    layers = [film_layer(film, role) for film, role in zip(films, roles_of(films), strict=True)]
    views = [film.view for film in films]
    return [*layers, rays_layer(views), sources_layer(views)] if views else []


def roles_of(films: Sequence[Film]) -> list[str]:
    """Which film is the frontal one and which the lateral."""
    return [LATERAL_FILM if film.view.name == "LATERAL" else FRONTAL_FILM for film in films]


def film_layer(film: Film, name: str) -> LayerData:
    """A film as a rectangle in the plane of its detector, bone white."""
    look: dict[str, Any] = {"name": name, "shading": "none", "blending": "translucent", "opacity": 1.0}
    look["texture"] = texture_of(film.line_integrals)
    # napari's texture coordinates rise to the right and upwards (seen with a marker in a corner).
    look["texcoords"] = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)
    look["metadata"] = {"view": film.view.record(), **film.notes}
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return (corners_of(film.view).astype(np.float32), faces, np.ones(4, np.float32)), look | WORLD, "surface"


def corners_of(view: XrayView) -> NDArray[np.float64]:
    """(4, 3) outer corners of a detector in world mm: of row 0, column 0, then clockwise on the picture."""
    rows, columns = view.shape
    first = view.origin_mm - (view.u_mm + view.v_mm) / 2
    across, down = columns * view.u_mm, rows * view.v_mm
    return np.stack([first, first + across, first + across + down, first + down])


def texture_of(line_integrals: NDArray[np.float32]) -> NDArray[np.float32]:
    """(rows, columns, 4) RGBA from 0 to 1, bone white, invisible where the film shows nothing."""
    rows, columns = line_integrals.shape
    step = max(1, -(-max(rows, columns) // MOST_TEXELS))
    shown = line_integrals[::step, ::step]
    low, high = limits_of(shown)
    grey = np.clip((np.nan_to_num(shown, nan=low) - low) / (high - low), 0, 1)
    return np.stack([grey, grey, grey, np.isfinite(shown)], axis=-1).astype(np.float32)


def rays_layer(views: Sequence[XrayView]) -> LayerData:
    """Lines from each source to its detector's corners, and the detectors' edges."""
    lines = []
    for view in views:
        corners = corners_of(view)
        starts = np.broadcast_to(view.source_mm, corners.shape)
        if view.parallel:
            starts = corners - view.normal * view.source_to_detector_mm
        lines += [np.stack([starts, corners - starts], axis=1)]
        lines += [np.stack([corners, np.roll(corners, -1, axis=0) - corners], axis=1)]
    look = {"name": RAYS, "edge_color": RAY_COLOUR, "edge_width": RAY_MM, "vector_style": "line"}
    return np.concatenate(lines).astype(np.float32), look | WORLD, "vectors"


def sources_layer(views: Sequence[XrayView]) -> LayerData:
    """The focal spots as balls."""
    look = {"name": SOURCES, "size": 30.0, "face_color": RAY_COLOUR, "border_width": 0.0}
    look |= {"shading": "spherical", "projection_mode": "all"}
    return np.stack([view.source_mm for view in views]), look | WORLD, "points"


def limits_of(values: NDArray[Any]) -> tuple[float, float]:
    """Contrast limits that leave out the last thousandth at either end; never equal."""
    found = values[np.isfinite(values)]
    if not len(found):
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(found, (0.1, 99.9)))
    return low, max(high, low + 1e-6)


def _volume(image: Image, look: dict[str, Any]) -> LayerData:
    metadata = {"trifocal_image": image, "trifocal_affine": image.affine, "trifocal_array": image.array}
    metadata |= {"unit": image.unit, **image.notes}
    look = look | {"affine": image.affine, "metadata": metadata, "interpolation2d": "linear"}
    return image.array, look | WORLD, "image"
