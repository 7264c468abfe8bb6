"""The head without a network: drawn heads are found, and nothing is found where there is nothing."""

import numpy as np
import pytest
from scipy import ndimage

from trifocal.keypoints.classical import classical_ellipse
from trifocal.keypoints.ellipse import Ellipse, rim_distance, scaled

SHAPE = (270, 400)


def drawn(head: Ellipse, shape: tuple[int, int] = SHAPE, rim: float = 7.0, seed: int = 0) -> np.ndarray:
    """A speckled sector with a bright band from `head` inwards, dark where the rim is along the beam."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    grid = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float)
    inward = -rim_distance(head, grid).reshape(shape)
    band = np.clip(inward + 0.5, 0, 1) * np.clip(rim - inward + 0.5, 0, 1)
    steep = np.abs(rows - head.center[1]) / head.semi_axes[1]
    tissue = np.where(inward > 0, 25.0, 60.0) * rng.gamma(3.0, 1 / 3.0, shape)
    image = ndimage.gaussian_filter(tissue, 1.0) + band * 180.0 * np.clip(steep * 1.5, 0.15, 1.0)
    apex = np.abs(columns - shape[1] / 2) < 0.25 * shape[1] + 0.75 * rows
    return np.clip(image * apex, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "head",
    [
        Ellipse((205.0, 140.0), (115.0, 90.0), 5.0),
        Ellipse((180.0, 150.0), (70.0, 57.0), 150.0),
        Ellipse((210.0, 130.0), (50.0, 41.0), 80.0),
    ],
    ids=["large", "middle", "upright"],
)
def test_a_drawn_head_is_found_along_its_outer_rim(head: Ellipse) -> None:
    found = classical_ellipse(drawn(head))
    assert found is not None
    assert found.ellipse.perimeter == pytest.approx(head.perimeter, rel=0.03)
    assert np.hypot(*np.subtract(found.ellipse.center, head.center)) < 5.0
    assert 0 < found.score < 1


def test_a_head_that_the_border_cuts_off_keeps_its_size() -> None:
    head = Ellipse((200.0, 95.0), (125.0, 100.0), 0.0)
    found = classical_ellipse(drawn(head))
    assert found is not None
    assert found.ellipse.perimeter == pytest.approx(head.perimeter, rel=0.05)


def test_the_answer_does_not_depend_on_the_size_of_the_pixels() -> None:
    head = Ellipse((205.0, 140.0), (115.0, 90.0), 5.0)
    double = ndimage.zoom(drawn(head).astype(float), 2, order=1, grid_mode=True, mode="nearest")
    one, other = classical_ellipse(drawn(head)), classical_ellipse(double.astype(np.uint8))
    assert one is not None
    assert other is not None
    halved = scaled(other.ellipse, 0.5, 0.5, fixed=-0.5)
    assert halved.perimeter == pytest.approx(one.ellipse.perimeter, rel=0.02)
    assert halved.center == pytest.approx(one.ellipse.center, abs=2.0)


def test_two_runs_agree_exactly() -> None:
    image = drawn(Ellipse((205.0, 140.0), (115.0, 90.0), 5.0))
    assert classical_ellipse(image) == classical_ellipse(image.copy())


def test_speckle_without_a_head_scores_lower_than_a_head() -> None:
    head = classical_ellipse(drawn(Ellipse((205.0, 140.0), (115.0, 90.0), 5.0)))
    speckle = np.random.default_rng(1).gamma(3.0, 20.0, SHAPE).clip(0, 255).astype(np.uint8)
    none = classical_ellipse(speckle)
    assert head is not None
    assert none is None or none.score < 0.5 * head.score


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros(SHAPE, np.uint8),
        np.full(SHAPE, 80, np.uint8),
        np.full((1, 1), 9, np.uint8),
        np.zeros((500, 40), np.uint8),
    ],
    ids=["black", "grey", "one pixel", "a strip"],
)
def test_where_there_is_no_rim_there_is_no_head(frame: np.ndarray) -> None:
    assert classical_ellipse(frame) is None


def test_a_colour_frame_is_refused() -> None:
    with pytest.raises(ValueError, match=r"grey \(rows, columns\), got shape \(40, 40, 3\)"):
        classical_ellipse(np.zeros((40, 40, 3), np.uint8))
