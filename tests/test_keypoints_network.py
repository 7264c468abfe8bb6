"""The compact network's geometry: what is put in at a point must come out at that point."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trifocal.keypoints.augment import Augmentation, inverse, random_affines, spoil, warp
from trifocal.keypoints.decode import (
    decode_outline,
    decode_points,
    ellipse_from_conjugate,
    frame_heat,
    to_frame,
)
from trifocal.keypoints.ellipse import Ellipse
from trifocal.keypoints.network import (
    CANVAS,
    OUTLINED,
    STRIDE,
    Canvas,
    CompactConfig,
    CompactNetwork,
    heat_channels,
)
from trifocal.keypoints.targets import gaussian_maps, inside_maps, losses
from trifocal.keypoints.tasks import TASKS

CELLS = (CANVAS[0] // STRIDE, CANVAS[1] // STRIDE)
TINY = CompactConfig((4, 8, 8, 8), (0, 1, 0, 0))


def blob(x: float, y: float, shape: tuple[int, int], spread: float = 4.0) -> torch.Tensor:
    rows, columns = torch.arange(shape[0])[:, None], torch.arange(shape[1])[None]
    return torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * spread**2)).float()


def centre(image: torch.Tensor) -> np.ndarray:
    rows, columns = torch.arange(image.shape[0])[:, None], torch.arange(image.shape[1])[None]
    return np.array([(image * columns).sum(), (image * rows).sum()]) / float(image.sum())


def test_the_tasks_share_the_heat_maps_without_gap_or_overlap():
    channels = [heat_channels(task) for task in TASKS]
    assert [c.start for c in channels] == [0] + [c.stop for c in channels[:-1]]
    assert channels[-1].stop == 60
    with pytest.raises(ValueError, match="task must be one of HC, FA"):
        heat_channels("knee")


@pytest.mark.parametrize("size", [(400, 270), (1024, 768), (90, 200), (320, 224)])
def test_a_point_of_the_frame_lies_at_the_same_place_on_the_canvas(size):
    canvas = Canvas(size)
    point = np.array([0.3 * size[0], 0.6 * size[1]])
    placed = canvas.place(blob(*point, (size[1], size[0]), spread=min(size) / 25))
    expected = canvas.affine[:, :2].numpy() @ point + canvas.affine[:, 2].numpy()
    assert placed.shape == CANVAS
    assert centre(placed) == pytest.approx(expected, abs=0.05)
    assert to_frame(expected, canvas.affine) == pytest.approx(point)


def test_augmentation_moves_image_and_points_alike():
    torch.manual_seed(0)
    affines = random_affines(6, Augmentation(shift=0.02))
    point = torch.tensor([150.0, 120.0], dtype=torch.float64)
    moved = warp(blob(150, 120, CANVAS).expand(6, 1, *CANVAS), affines)
    expected = (affines[:, :, :2] @ point) + affines[:, :, 2]
    for image, (x, y) in zip(moved[:, 0], expected.tolist(), strict=True):
        if 20 < x < CANVAS[1] - 20 and 20 < y < CANVAS[0] - 20:
            assert centre(image) == pytest.approx([x, y], abs=0.1)
    round_trip = inverse(inverse(affines))
    torch.testing.assert_close(round_trip, affines)


def test_spoiled_images_stay_in_range_and_depend_on_torchs_seed_alone():
    images = torch.rand(4, 1, 32, 48)
    torch.manual_seed(3)
    first = spoil(images, Augmentation())
    torch.manual_seed(3)
    again = spoil(images, Augmentation())
    torch.testing.assert_close(first, again)
    assert first.min() >= 0
    assert first.max() <= 1
    assert (first != images).any()


def test_a_gaussian_map_is_decoded_to_its_point():
    points = torch.tensor([[40.3, 77.7], [25.0, 18.0], [300.2, 200.9]], dtype=torch.float64)
    heat = gaussian_maps(points, CELLS).reshape(3, *CELLS)
    found, mass = decode_points(heat)
    assert heat.sum((1, 2)).numpy() == pytest.approx(1)
    assert found.numpy() == pytest.approx(points.numpy(), abs=0.25)
    assert mass.min() > 0.98


def test_two_candidates_give_one_of_them_and_not_the_middle():
    both = torch.tensor([[60.0, 60.0], [250.0, 150.0]], dtype=torch.float64)
    maps = gaussian_maps(both, CELLS).reshape(2, *CELLS)
    found, mass = decode_points((0.6 * maps[0] + 0.4 * maps[1])[None])
    assert found[0].numpy() == pytest.approx([60, 60], abs=0.2)
    assert float(mass[0]) == pytest.approx(0.6, abs=0.01)


def test_the_outline_of_a_soft_inside_is_its_ellipse():
    canvas = Canvas((400, 270))
    true = Ellipse((190.0, 140.0), (110.0, 80.0), 25.0)
    ends = torch.from_numpy(true.axis_ends()) @ canvas.affine[:, :2].T + canvas.affine[:, 2]
    halves = torch.stack([ends[1] - ends[0], ends[3] - ends[2]], -1) / 2
    inside = inside_maps(torch.cat([ends.mean(0)[:, None], halves], -1)[None], CELLS)[0]
    found = decode_outline(inside.numpy(), canvas.affine)
    assert found is not None
    assert found.center == pytest.approx(true.center, abs=0.1)
    assert found.semi_axes == pytest.approx(true.semi_axes, abs=0.3)
    assert found.angle == pytest.approx(true.angle, abs=0.3)
    assert decode_outline(np.zeros(CELLS, np.float32), canvas.affine) is None


def test_conjugate_diameters_are_not_taken_for_axes():
    true = Ellipse((10.0, 20.0), (8.0, 5.0), 30.0)
    short, long = np.diff(true.axis_ends()[:2], axis=0)[0] / 2, np.diff(true.axis_ends()[2:], axis=0)[0] / 2
    c, s = np.cos(0.7), np.sin(0.7)
    first, second = c * long + s * short, -s * long + c * short
    middle = np.array(true.center)
    found = ellipse_from_conjugate(
        np.stack([middle - first, middle + first, middle - second, middle + second])
    )
    assert found.semi_axes == pytest.approx(true.semi_axes)
    assert found.angle == pytest.approx(true.angle)


def test_the_loss_is_zero_only_where_the_maps_are_the_targets():
    points = torch.tensor([[40.0, 77.0], [100.0, 30.0]])
    ellipses = torch.tensor([[[150.0, 80.0, 0.0], [100.0, 0.0, 60.0]]])
    heat = torch.zeros(1, 60, *CELLS)
    heat[0, :2] = gaussian_maps(points, CELLS).clamp_min(1e-20).log().reshape(2, *CELLS)
    outline = torch.zeros(1, len(OUTLINED), *CELLS)
    inside = inside_maps(ellipses, CELLS)
    outline[0, 0] = torch.logit(inside[0].clamp(1e-6, 1 - 1e-6))
    zeros = torch.zeros(1, dtype=torch.long)
    rows, channels = torch.zeros(2, dtype=torch.long), torch.arange(2)
    fixed, free = torch.arange(2), torch.tensor([1, 0])
    found = losses(heat, outline, channels, rows, points, fixed, ellipses, zeros, zeros)
    shifted = losses(heat, outline, channels, rows, points + 8, fixed, ellipses * 0.9, zeros, zeros)
    swapped = [
        losses(heat, outline, channels, rows, points.flip(0), p, ellipses, zeros, zeros)
        for p in (fixed, free)
    ]
    assert float(found["loss"]) == pytest.approx(0, abs=0.02)
    assert float(shifted["point"]) > 0.5
    assert float(swapped[0]["point"]) > 5
    assert float(swapped[1]["point"]) == pytest.approx(0, abs=0.01)
    assert float(shifted["outline"]) > 0.1


def test_the_network_answers_for_every_task_at_a_quarter_of_the_canvas():
    torch.manual_seed(0)
    network = CompactNetwork(TINY).eval()
    heat, outline = network(torch.rand(2, 1, *CANVAS))
    assert heat.shape == (2, 60, *CELLS)
    assert outline.shape == (2, 2, *CELLS)
    with pytest.raises(ValueError, match="3 to 5 levels"):
        CompactConfig((16, 32), (0, 1))


def test_the_heat_for_the_eye_peaks_at_the_point_of_the_frame():
    canvas = Canvas((400, 270))
    point = canvas.affine[:, :2] @ torch.tensor([250.0, 100.0], dtype=torch.float64) + canvas.affine[:, 2]
    heat = frame_heat(gaussian_maps(point[None], CELLS).reshape(1, *CELLS).float(), canvas)
    assert heat.shape == (270, 400)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert [column, row] == pytest.approx([250, 100], abs=4)
