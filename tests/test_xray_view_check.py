from functools import cache

import numpy as np
import pytest
import torch

from trifocal.checkpoint import CheckpointError, save
from trifocal.training import Plan
from trifocal.xray.attenuation import mu_water
from trifocal.xray.film import Film
from trifocal.xray.films.fix import FIXES
from trifocal.xray.geometry import c_arm, frontal_and_lateral
from trifocal.xray.grid import Grid, average_onto
from trifocal.xray.phantoms import torso
from trifocal.xray.projection import Projectors
from trifocal.xray.views.check import check_views
from trifocal.xray.views.classifier import ViewClassifier
from trifocal.xray.views.net import TURNS, ViewNet, ViewNetConfig, normalised, square, turn
from trifocal.xray.views.train import ViewRecipe, taken, train_views

GRID = Grid.cube(320, 40)
UPRIGHT, MIRROR, OVER = (0, False), (0, True), (180, False)


@cache
def body(seed=0):
    """A trunk of water that narrows upwards, with a lung, a spine and dense things at either side."""
    x, y, z = np.meshgrid(*(GRID.centers_mm(a) for a in range(3)), indexing="ij")
    wide = np.clip((150 - z) / 60, 0.35, 1) * (1 - 0.1 * seed)
    density = ((x / (130 * wide)) ** 2 + (y / 100) ** 2 < 1).astype(float)
    density[((x - 60) / 45) ** 2 + (y / 75) ** 2 + ((z - 40) / 80) ** 2 < 1] = 0.25
    density[(x**2 + (y + 70) ** 2 < 18**2)] = 1.5
    for where in ((-95, 40, 60), (95, -30, -110), (-95, 20, -120), (40, 75, 100)):
        distance = sum((c - w) ** 2 for c, w in zip((x, y, z), where, strict=True))
        density[distance < 24**2] = 4.0
    return torch.tensor(density * (np.abs(z) < 150), dtype=torch.float32)


@cache
def pair(seed=0, error=0.01):
    geometry = frontal_and_lateral(GRID, pixels=80, source_to_detector_mm=1000)
    images = Projectors.of(geometry.views, GRID).forward(body(seed) * mu_water(70))
    return tuple(Film(v, i.numpy(), error) for v, i in zip(geometry.views, images, strict=True))


def given(first=UPRIGHT, second=UPRIGHT, error=0.01, seed=0):
    ways = (first, second)
    return tuple(
        Film(f.view, turn(torch.from_numpy(f.line_integrals), *w).numpy().copy(), error)
        for f, w in zip(pair(seed), ways, strict=True)
    )


@cache
def phantom_films():
    image = torso(3, spacing_mm=8.0)
    grid = Grid.cube(380, 48, (0, 0, 60))
    density = torch.from_numpy(average_onto(image, grid) / 1000 + 1).clamp(min=0)
    views = frontal_and_lateral(grid, pixels=64).views
    films = Projectors.of(views, grid).forward(density * mu_water(70))
    return tuple(Film(v, f.numpy(), 0.05) for v, f in zip(views, films, strict=True))


class Told:
    """A classifier that says what it is told: the kind and the way that sets each film right."""

    def __init__(self, *answers):
        self.answers = answers

    def log_odds(self, films):
        odds = np.full((len(films), 8, 2), -8.0)
        for i, (kind, way) in enumerate(self.answers):
            odds[i, TURNS.index(way), ("frontal", "lateral").index(kind)] = 0.0
        return odds


class Blind:
    def log_odds(self, films):
        return np.zeros((len(films), 8, 2))


RIGHT = Told(("frontal", UPRIGHT), ("lateral", UPRIGHT))


def test_a_right_pair_raises_no_alarm():
    assert check_views(given(), GRID, classifier=RIGHT) == ()
    assert check_views(given(), GRID, classifier=Blind()) == ()
    assert check_views(given(error=0.15), GRID, classifier=Blind()) == ()


@pytest.mark.parametrize(
    ("first", "second", "what", "film", "offer"),
    [
        (OVER, UPRIGHT, "upside down", 0, ("turn-180-ap",)),
        (UPRIGHT, OVER, "upside down", 1, ("turn-180-lateral",)),
        (UPRIGHT, MIRROR, "mirrored", 1, ("mirror-lateral",)),
        (MIRROR, UPRIGHT, "mirrored", 0, ("mirror-ap",)),
    ],
)
def test_one_wrong_film_is_seen_in_line_integrals_without_any_network(first, second, what, film, offer):
    (finding,) = check_views(given(first, second), GRID, classifier=Blind())
    assert (finding.what, finding.film, finding.offer) == (what, film, offer)
    assert offer[0] in finding.text
    assert finding.sure > 0.6


def test_mirroring_needs_a_cone_beam():
    """In a parallel beam a mirrored film is explained by a mirrored body as well."""
    geometry = frontal_and_lateral(GRID, pixels=80, parallel=True)
    images = Projectors.of(geometry.views, GRID).forward(body() * mu_water(70))
    films = [Film(v, i.numpy()) for v, i in zip(geometry.views, images, strict=True)]
    mirrored = (Film(films[0].view, films[0].line_integrals[:, ::-1].copy()), films[1])
    assert check_views(mirrored, GRID, classifier=Blind()) == ()


def test_what_the_residual_cannot_see_needs_the_network():
    both = given(OVER, OVER)
    told = Told(("frontal", OVER), ("lateral", OVER))
    findings = check_views(both, GRID, classifier=told)
    assert [f.offer for f in findings] == [("turn-180-ap",), ("turn-180-lateral",)]
    frontal, lateral = pair()
    swapped = (Film(frontal.view, lateral.line_integrals), Film(lateral.view, frontal.line_integrals))
    (finding,) = check_views(swapped, GRID, classifier=Told(("lateral", UPRIGHT), ("frontal", UPRIGHT)))
    assert (finding.what, finding.film, finding.offer) == ("exchanged", None, ("swap",))
    assert check_views(given(), GRID, classifier=RIGHT) == ()


def test_a_file_that_says_its_view_is_heard_though_the_network_is_not_sure():
    (finding,) = check_views(given(error=0.15), GRID, positions=("LATERAL", "PA"), classifier=Blind())
    assert finding.what == "exchanged"
    assert check_views(given(error=0.15), GRID, positions=("PA", "LL"), classifier=Blind()) == ()


def test_the_offer_after_an_exchange_names_the_film_by_its_new_place():
    told = Told(("lateral", UPRIGHT), ("frontal", OVER))
    findings = check_views(given(UPRIGHT, OVER, error=0.15), GRID, classifier=told)
    assert [f.offer for f in findings] == [("swap",), ("turn-180-ap",)]
    assert all(word in FIXES for f in findings for word in f.offer)


def test_one_view_given_twice_is_noticed():
    frontal, lateral = pair()
    for image in (frontal.line_integrals, frontal.line_integrals[:, ::-1].copy()):
        (finding,) = check_views((frontal, Film(lateral.view, image)), GRID, classifier=Blind())
        assert finding.what == "same view twice"
    told = Told(("frontal", UPRIGHT), ("frontal", UPRIGHT))
    (finding,) = check_views(given(), GRID, classifier=told)
    assert finding.what == "same view twice"
    assert finding.offer == ()


def test_films_of_different_patients_or_heights_are_no_pair():
    frontal, lateral = pair()
    moved = Film(lateral.view, np.roll(lateral.line_integrals, 8, axis=0))
    (finding,) = check_views((frontal, moved), GRID, classifier=RIGHT)
    assert finding.what == "not a pair"
    assert "height" in finding.text
    thin = Film(lateral.view, 0.63 * lateral.line_integrals)
    (finding,) = check_views((frontal, thin), GRID, classifier=RIGHT)
    assert "attenuates 6" in finding.text  # some 60 %


@pytest.mark.parametrize("value", [0.0, 3.0, np.nan])
def test_an_empty_film_is_noticed_before_all_else(value):
    frontal, lateral = pair()
    empty = Film(lateral.view, np.full(lateral.view.shape, value, np.float32))
    (finding,) = check_views((frontal, empty), GRID, classifier=Blind())
    assert (finding.what, finding.film) == ("empty", 1)


def test_a_film_alone_is_judged_by_the_network():
    frontal = given()[:1]
    assert check_views(frontal, GRID, classifier=Told(("frontal", UPRIGHT))) == ()
    (finding,) = check_views(frontal, GRID, classifier=Told(("frontal", OVER)))
    assert finding.offer == ("turn-180-ap",)
    (finding,) = check_views(frontal, GRID, classifier=Told(("lateral", UPRIGHT)))
    assert finding.what == "exchanged"
    (finding,) = check_views(frontal, GRID, classifier=Told(("frontal", (270, True))))
    assert finding.offer == ("turn-270-ap", "mirror-ap")


def test_oblique_views_are_not_judged():
    views = c_arm(GRID, ((45, 0), (-45, 0)), pixels=40).views
    films = [
        Film(view, np.random.default_rng(i).random((40, 40), np.float32)) for i, view in enumerate(views)
    ]
    assert check_views(films, GRID, classifier=Told(("lateral", OVER), ("frontal", OVER))) == ()


# The network


def test_a_turned_film_gets_the_answers_of_the_film_in_the_turned_order():
    torch.manual_seed(0)
    network = ViewNet().eval()
    film = torch.rand(1, 2, 64, 64)
    upright = network(film)[0]
    for degrees, mirror in TURNS:
        answers = network(turn(film, degrees, mirror))[0]
        back = TURNS.index(((degrees if mirror else -degrees) % 360, mirror))  # undoes the turn
        torch.testing.assert_close(answers[back], upright[0], rtol=1e-4, atol=1e-5)


def test_neither_unit_nor_curve_of_the_grey_values_matters_to_the_ranks():
    film = torch.from_numpy(pair()[0].line_integrals)[None]
    small = square(film[0].numpy())[None]
    one, other = normalised(small), normalised(3 + 100 * small**1.7)
    alike = (one[:, 1] - other[:, 1]).abs() < 2e-3  # but for what rounding makes equal to the air
    assert alike.float().mean() > 0.99
    torch.testing.assert_close(one[:, 0], normalised(50 * small)[:, 0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [(30, 50), (400, 200), (64, 64), (1, 3)])
def test_films_of_all_shapes_keep_their_proportions(shape):
    small = square(np.ones(shape, np.float32))
    assert small.shape == (64, 64)
    rows, columns = int((small.sum(1) > 0).sum()), int((small.sum(0) > 0).sum())
    assert max(rows, columns) == 64
    assert rows / columns == pytest.approx(shape[0] / shape[1], rel=0.05)


def test_unknown_pixels_count_as_nothing():
    film = np.ones((64, 64), np.float32)
    film[:10] = np.nan
    assert square(film)[:10].abs().max() == 0


def test_films_as_they_are_taken_are_finite_and_differ():
    torch.manual_seed(1)
    films = torch.rand(6, 96, 96) * 4
    one, other = taken(films), taken(films)
    assert one.shape == (6, 64, 64)
    assert torch.isfinite(one).all()
    assert not torch.equal(one, other)


def test_a_network_learns_and_comes_back_from_its_file(tmp_path):
    """Frontal: a bright upper right; lateral: a bright lower left. A few steps beat chance."""
    generator = torch.Generator().manual_seed(0)
    pairs = 0.3 * torch.rand(20, 2, 96, 96, generator=generator)
    pairs[:, 0, 24:44, 52:72] += 3
    pairs[:, 1, 60:72, 20:60] += 3
    plan = Plan(epochs=3, batch_size=4, learning_rate=1e-2, validate_every=3)
    recipe = ViewRecipe(plan, ViewNetConfig(widths=(8, 8, 8, 8)), held=0.2)
    stored = train_views(pairs.numpy().astype(np.float16), tmp_path, recipe, {"data": "two rectangles"})
    assert stored.card["figures"]["loss"] < 0.9 * np.log(16)
    classifier = ViewClassifier.load(tmp_path / "xray-views.safetensors")
    odds = classifier.log_odds([pairs[0, 0].numpy(), pairs[0, 1].numpy()])
    assert odds.shape == (2, 8, 2)
    assert odds.max() == 0
    assert odds.min() >= -8


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    save(tmp_path / "other.safetensors", {"x": torch.zeros(1)}, engine="xray", config={"kind": "x"}, card={})
    with pytest.raises(CheckpointError, match="must describe a view network"):
        ViewClassifier.load(tmp_path / "other.safetensors")


def test_the_bundled_network_knows_a_trunk_when_it_sees_one():
    """The kind and the upright way; left and right of this one only the heart and the stomach would tell."""
    classifier = ViewClassifier.load()
    odds = classifier.log_odds([film.line_integrals for film in phantom_films()])
    assert (odds.max(1).argmax(1) == [0, 1]).all()
    for i in range(2):
        assert TURNS[odds[i, :, i].argmax()][0] == 0
