"""Results as napari layer data. The only place that knows napari's axes; imports no GUI.

World axes are napari's axes: axis 0 is R, 1 is A and 2 is S, in millimetres, so that coordinates read as they
are. How they lie on the canvas is said by `VIEWS`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_trifocal.meshes import as_glass, bowl_mesh, shell_mesh, skull_mesh, spot_range
from trifocal.focus.head import Head, regular_grid
from trifocal.focus.predictor import FocusPrediction
from trifocal.image import Image

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.focus.comparison import Comparison
    from trifocal.focus.ellipsoid import Ellipsoid
    from trifocal.focus.pose import Pose
    from trifocal.focus.pose_search import ScalpMap
    from trifocal.focus.transducer import Bowl
    from trifocal.focus.uncertainty import Doubts

    LayerData = tuple[Any, dict[str, Any], str]

CT, SKULL, BOWL, TARGET = "CT", "Skull", "Bowl", "Target"
SLICES, CLOUD, SHELL = "Pressure on slices (kPa)", "Focal cloud (kPa)", "-6 dB shell"
DIFFERENCE = "Difference (kPa)"
SCALP = "Transmission over the scalp"
ELLIPSOID, SPREAD = "95 % ellipsoid of the focus", "Standard deviation (kPa)"
PINNED_CLOUD, PINNED_SHELL = "Pinned cloud (kPa)", "Pinned -6 dB shell"
GLASS = [[0.95, 0.93, 0.9, 0.0], [0.95, 0.93, 0.9, 1.0]]  # from invisible to bone
COLOURS = {BOWL: "#e02020", "uncoupled": "#ff9010", SHELL: "#2f7bff", TARGET: "#40e060"}
COLOURS |= {PINNED_SHELL: "#ffb020", ELLIPSOID: "#d060ff"}
MOST_CLOUD_VOXELS = 48  # along an edge: what a volume costs without a GPU is its rays' steps
CLOUD_LEVEL = 0.25  # of the peak, -12 dB: where the cloud ends
CLOUD_COLOURS = [[0.0, 0.05, 0.3, 0.0], [0.1, 0.35, 1.0, 0.5], [0.6, 0.85, 1.0, 1.0]]
PINNED_COLOURS = [[0.3, 0.1, 0.0, 0.0], [1.0, 0.55, 0.05, 0.5], [1.0, 0.9, 0.6, 1.0]]
DIFFERENCE_COLOURS = [
    [0.6, 0.9, 1.0, 1.0],
    [0.1, 0.45, 1.0, 0.9],
    [0.0, 0.0, 0.0, 0.0],
    [1.0, 0.25, 0.05, 0.9],
    [1.0, 0.9, 0.4, 1.0],
]
MOST_DIFFERENCE_VOXELS = 160  # along an edge
WORLD = {"units": ("mm", "mm", "mm"), "axis_labels": ("R", "A", "S")}


@dataclass(frozen=True)
class View:
    """How the world lies on the canvas.

    Attributes:
        order: World axes along depth, vertical and horizontal (napari's `dims.order`).
        orientation: Where each of them points (napari's `camera.orientation`); always right-handed, so that
            left is never shown as right. The 3-D view keeps the world's own order: napari draws surfaces at
            the wrong place in any other.
        ndisplay: 2 for slices, 3 for the scene.
    """

    order: tuple[int, int, int]
    orientation: tuple[str, str, str]
    ndisplay: int = 2


VIEWS = {
    "3-D": View((0, 1, 2), ("towards", "down", "right"), 3),
    "axial": View((2, 1, 0), ("towards", "up", "right")),
    "coronal": View((1, 2, 0), ("away", "up", "right")),
    "sagittal": View((0, 2, 1), ("towards", "up", "right")),
}
"""Neurological convention: the patient's left is on the left."""


@singledispatch
def to_layers(result: Any, *, name: str = "") -> list[LayerData]:
    """Turn a result into napari layer data: (data, attributes, kind) for each layer.

    Raises:
        TypeError: If nothing is known of such a result.
    """
    msg = f"no layers are known for a {type(result).__name__}"
    raise TypeError(msg)


@to_layers.register(Image)
def _(image: Image, *, name: str = CT) -> list[LayerData]:
    shown = upright(image)
    metadata = {"trifocal_image": image, "trifocal_affine": shown.affine, "trifocal_array": shown.array}
    metadata |= {"unit": image.unit, **image.notes}
    if not image.is_axis_aligned:
        name = f"{name} (resampled: its axes are oblique)"
    attributes = {"name": name, "affine": shown.affine, "colormap": "gray", "metadata": metadata, **WORLD}
    if image.unit == "HU":
        attributes["contrast_limits"] = (-200.0, 1500.0)
    return [(shown.array, attributes, "image")]


@to_layers.register(Head)
def _(head: Head, *, name: str = CT) -> list[LayerData]:
    look = {"name": SKULL, "colormap": {"colors": GLASS, "name": "skull"}, "contrast_limits": (0.0, 1.0)}
    look |= {"shading": "smooth", "opacity": 0.5}
    return [*to_layers(head.ct, name=name), (as_glass(skull_mesh(head)), look | WORLD, "surface")]


@to_layers.register(FocusPrediction)
def _(prediction: FocusPrediction, *, name: str = "") -> list[LayerData]:
    inputs = prediction.inputs
    layers = [slices_layer(prediction), cloud_layer(prediction), shell_layer(prediction)]
    layers.append(bowl_layer(inputs.bowl, inputs.pose))
    if inputs.target_mm is not None:
        layers.append(target_layer(inputs.target_mm))
    return layers


def shell_layer(prediction: FocusPrediction) -> LayerData:
    """The -6 dB surface in blue."""
    look = {"name": SHELL, "colormap": COLOURS[SHELL], "shading": "smooth", "opacity": 0.75}
    return _surface(shell_mesh(prediction)), look | WORLD, "surface"


def cloud_layer(prediction: FocusPrediction) -> LayerData:
    """The field around the focus as a volume for the 3-D view."""
    start, stop = spot_range(prediction, CLOUD_LEVEL)
    affine, shape = upright_grid(prediction.pressure, start, stop - 1, MOST_CLOUD_VOXELS)
    field = replace(prediction.pressure, array=np.where(prediction.region, prediction.pressure.array, 0))
    peak = prediction.figures.peak_pa / 1e3
    look = {
        "name": CLOUD,
        "affine": affine,
        "colormap": {"colors": CLOUD_COLOURS, "name": "focal blue"},
        "contrast_limits": (CLOUD_LEVEL * peak, peak),
        "rendering": "attenuated_mip",
        "attenuation": 0.3,
        "blending": "additive",
    }
    return field.resample(affine, shape).array / 1e3, look | WORLD, "image"


def pinned_layers(prediction: FocusPrediction) -> list[LayerData]:
    """Cloud and -6 dB surface of a prediction that was kept, in amber."""
    field, look, kind = cloud_layer(prediction)
    look |= {"name": PINNED_CLOUD, "colormap": {"colors": PINNED_COLOURS, "name": "pinned amber"}}
    shell, shell_look, shell_kind = shell_layer(prediction)
    shell_look |= {"name": PINNED_SHELL, "colormap": COLOURS[PINNED_SHELL], "opacity": 0.45}
    return [(field, look, kind), (shell, shell_look, shell_kind)]


def difference_layer(comparison: Comparison) -> LayerData:
    """Prediction - reference in kPa on a grid along the world axes; in 3-D the plane of the beam."""
    image, reference = comparison.difference, comparison.reference
    last = np.array(image.shape) - 1
    affine, shape = upright_grid(image, np.zeros(3), last, MOST_DIFFERENCE_VOXELS)
    shown = image.resample(affine, shape)
    most = max(float(np.abs(image.array).max()) / 1e3, 1e-3)
    plane = {"position": shown.world_to_index(reference.figures.focus_mm), "thickness": 1.0}
    plane["normal"] = across_beam(reference.inputs.pose, np.array([0.0, 1.0, 0.0]))
    look = {
        "name": DIFFERENCE,
        "affine": affine,
        "colormap": {"colors": DIFFERENCE_COLOURS, "name": "less blue, more red"},
        "contrast_limits": (-most, most),
        "depiction": "plane",
        "plane": plane,
        "blending": "translucent_no_depth",
        "interpolation2d": "linear",
        "metadata": {"unit": "kPa"},
    }
    return shown.array / 1e3, look | WORLD, "image"


def across_beam(pose: Pose, toward: NDArray[np.float64]) -> NDArray[np.float64]:
    """The direction (3,) across a beam that is nearest to another one (3,)."""
    part = toward - (toward @ pose.direction) * pose.direction
    length = float(np.linalg.norm(part))
    return pose.matrix[:3, 0] if length < 1e-3 else part / length


def upright_grid(
    image: Image, first: NDArray[Any], last: NDArray[Any], most_voxels: int
) -> tuple[NDArray[np.float64], tuple[int, int, int]]:
    """A grid along the world axes around the voxels `first` to `last` (3,) of an image: affine and shape.

    Its voxels are no smaller than the image's, and no more than `most_voxels` along an edge. napari slices
    hidden layers too, and warns of each that is rotated as soon as it goes to 2-D.
    """
    world = image.index_to_world(_corners(first, last))
    size = np.ptp(world, axis=0)
    spacing = max(float(image.spacing_mm.min()), float(size.max()) / (most_voxels - 1))
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = world.min(0)
    n_i, n_j, n_k = (int(n) + 1 for n in np.ceil(size / spacing))
    return affine, (n_i, n_j, n_k)


def slices_layer(prediction: FocusPrediction) -> LayerData:
    """The field resampled onto the CT's grid and cropped to the box: for the slice views."""
    ct = upright(prediction.inputs.head.ct)
    field = prediction.pressure
    last = np.array(field.shape) - 1
    index = ct.world_to_index(field.index_to_world(_corners(np.zeros(3), last)))
    start, stop = np.floor(index.min(0)).astype(int), np.ceil(index.max(0)).astype(int) + 1
    affine = ct.affine.copy()
    affine[:3, 3] = ct.index_to_world(start)
    n_i, n_j, n_k = (int(n) for n in stop - start)
    shown = field.resample(affine, (n_i, n_j, n_k))
    look = {
        "name": SLICES,
        "affine": affine,
        "colormap": "inferno",
        "contrast_limits": slices_limits(prediction),
        "blending": "additive",
        "opacity": 0.8,
        "interpolation2d": "linear",
        "metadata": {"unit": "kPa"},
    }
    return shown.array / 1e3, look | WORLD, "image"


def slices_limits(prediction: FocusPrediction) -> tuple[float, float]:
    """Least and most kPa of the colours on slices: the peak beyond the near skull is the brightest."""
    return 0.0, prediction.figures.peak_pa / 1e3


def bowl_layer(bowl: Bowl, pose: Pose, problem: str | None = None) -> LayerData:
    """The bowl with its beam axis and geometric focus in red; orange if it does not couple."""
    look = {"name": BOWL, "colormap": bowl_colour(problem), "shading": "smooth", "opacity": 0.6}
    return _surface((bowl_vertices(bowl, pose), bowl_mesh(bowl)[1])), look | WORLD, "surface"


def scalp_layer(scalp: ScalpMap) -> LayerData:
    """The transmission to the target from each place of the scalp where the bowl may stand."""
    kept = np.isfinite(scalp.transmission)
    whole = kept[scalp.faces].all(1)  # faces of which every corner is known
    used, faces = np.unique(scalp.faces[whole], return_inverse=True)
    values = scalp.transmission[used].astype(np.float32)
    vertices = scalp.points_mm[used].astype(np.float32)
    limits = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    look = {"name": SCALP, "colormap": "viridis", "shading": "none", "opacity": 0.85}
    look["contrast_limits"] = (limits[0], max(limits[1], limits[0] + 1e-3))
    return (vertices, faces.reshape(-1, 3), values), look | WORLD, "surface"


def ellipsoid_layer(ellipsoid: Ellipsoid, rings: int = 16) -> LayerData:
    """The surface within which the focus lies at the ellipsoid's level."""
    theta = np.linspace(0, np.pi, rings + 1)[:, None]
    phi = np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)[None]
    ball = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta) + 0 * phi], -1)
    vertices = (ellipsoid.centre_mm + ball.reshape(-1, 3) @ ellipsoid.axes_mm).astype(np.float32)
    ring, place = np.meshgrid(np.arange(rings), np.arange(2 * rings), indexing="ij")
    a, b = 2 * rings * ring + place, 2 * rings * ring + (place + 1) % (2 * rings)
    c, d = a + 2 * rings, b + 2 * rings
    faces = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, c, b), (b, c, d))]).astype(np.int32)
    look = {"name": ELLIPSOID, "colormap": COLOURS[ELLIPSOID], "shading": "smooth", "opacity": 0.5}
    return _surface((vertices, faces)), look | WORLD, "surface"


def spread_layer(doubts: Doubts) -> LayerData:
    """The standard deviation of the pressure over the samples, beyond the near skull, along world axes."""
    prediction = doubts.prediction
    image = replace(doubts.std_pa, array=np.where(prediction.region, doubts.std_pa.array, 0))
    last = np.array(image.shape) - 1
    affine, shape = upright_grid(image, np.zeros(3), last, MOST_DIFFERENCE_VOXELS)
    values = image.resample(affine, shape).array / 1e3
    look = {
        "name": SPREAD,
        "affine": affine,
        "colormap": "magma",
        "contrast_limits": (0.0, max(float(values.max()), 1e-3)),
        "blending": "additive",
        "interpolation2d": "linear",
        "metadata": {"unit": "kPa"},
    }
    return values, look | WORLD, "image"


def bowl_vertices(bowl: Bowl, pose: Pose) -> NDArray[np.float32]:
    """Vertices (n, 3) of the bowl's surface in the world."""
    return pose.to_world(bowl_mesh(bowl)[0]).astype(np.float32)


def bowl_colour(problem: str | None) -> str:
    """Colour of a bowl with a coupling problem or without."""
    return COLOURS[BOWL] if problem is None else COLOURS["uncoupled"]


def target_layer(target_mm: ArrayLike) -> LayerData:
    """The target as a ball of its own colour."""
    look = {"name": TARGET, "size": 6.0, "face_color": COLOURS[TARGET], "border_color": "white"}
    look |= {"shading": "spherical", "border_width": 0.0}
    look |= {"projection_mode": "all", "blending": "translucent_no_depth"}
    return np.asarray(target_mm, float)[None], look | WORLD, "points"


def upright(image: Image) -> Image:
    """The image with its array along R, A and S, by views of it; an oblique one is resampled."""
    if not image.is_axis_aligned:
        return regular_grid(image, float(image.spacing_mm.min()), image.bounds_mm)
    directions = image.affine[:3, :3]
    axes = np.abs(directions).argmax(1)  # for each world axis, the array axis along it
    array = image.array.transpose(axes)
    affine = np.eye(4)
    affine[:3, :3] = directions[:, axes]
    affine[:3, 3] = image.affine[:3, 3]
    for axis in np.flatnonzero(np.diag(affine)[:3] < 0):
        array = np.flip(array, axis)
        affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
        affine[:3, axis] *= -1
    return Image(array, affine, image.unit, image.notes)


def image_of(data: Any, affine: NDArray[np.float64], attributes: dict[str, Any]) -> Image | None:
    """The image that a layer of this plugin was made from, if the layer still shows it unmoved."""
    metadata = attributes.get("metadata") or {}
    image = metadata.get("trifocal_image")
    if image is None or metadata.get("trifocal_array") is not data:
        return None
    return image if np.allclose(metadata["trifocal_affine"], affine, atol=1e-6) else None


def _corners(first: NDArray[Any], last: NDArray[Any]) -> NDArray[Any]:
    """(8, 3) corners of a block of voxels."""
    return np.array(np.meshgrid(*np.stack([first, last]).T, indexing="ij")).reshape(3, -1).T


def _surface(mesh: tuple[NDArray[np.float32], NDArray[np.int32]]) -> tuple[Any, ...]:
    vertices, faces = mesh
    # Values give every vertex the last colour of the map; without them napari stretches the map itself.
    return vertices, faces, np.ones(len(vertices), np.float32)
