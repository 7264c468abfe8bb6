"""Films that were exchanged, mirrored, turned or mixed up: noticed before a reconstruction is believed.

Four witnesses are heard. A slice of the body has the same mass in both films: that tells if one of them is
upside down. No volume explains two films of a cone beam of which one is mirrored: that is seen in what a
short reconstruction leaves over, if the films are line integrals. Neither can tell that the films changed
places or that both are upside down, since a volume turned the same way explains them as well: for that there
are the network of `view_classifier`, which knows what frontal and lateral films look like, and what the files
say of themselves. What the witnesses say is added up as logarithms of odds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from trifocal.checkpoint import CheckpointError
from trifocal.xray.views.classifier import ViewClassifier
from trifocal.xray.views.consistency import Stand
from trifocal.xray.views.net import TURNS, square

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trifocal.xray.film import Film
    from trifocal.xray.grid import Grid
    from trifocal.xray.views.consistency import Way

_AS_IT_IS: Way = (0, False)
_PRIOR = {(0, False): 0.0, (0, True): -2.5, (180, False): -3.5, (180, True): -4.5}
_PRIOR_SIDEWAYS, _PRIOR_SWAPPED = -6.0, -4.0
_POSITION = 6.0  # what a file's own view position is worth; it is wrong in one of some hundred
_RESIDUAL = 14.0  # what it is worth that a residual is e times larger
_CLEAN = 0.04  # expected error of films up to which the residual can tell mirrored ones
_PROFILE_SIGMA, _PROFILE_MOST = 0.012, 8.0
_SURE = 0.6
_NEAREST_AXIS = 0.9  # cosine beyond which a view counts as frontal or lateral (25 degrees)
_PROFILE, _MASS = 0.05, 0.8
_SAME = 0.99
_LEAST_LINE_INTEGRAL = 0.05
_LEFT = {(0, True): "mirrored", (180, False): "upside down", (180, True): "flipped top for bottom"}
_WORDS = {"frontal": "ap", "lateral": "lateral"}


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong about the films, and what would mend it.

    Attributes:
        what: "exchanged", "mirrored", "upside down", "flipped", "turned", "same view twice", "not a pair" or
            "empty".
        film: Number of the film that it is about; None for both.
        sure: 0 to 1.
        text: A sentence for the user.
        offer: Words for `fix.read_fixes`, to be applied only if the user says so; none where none helps.
    """

    what: str
    film: int | None
    sure: float
    text: str
    offer: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Arrangement:
    """Whether the films change places, and how each is turned before that."""

    swapped: bool
    ways: tuple[Way, ...]


def check_views(
    films: Sequence[Film],
    grid: Grid,
    *,
    positions: Sequence[str] = (),
    classifier: ViewClassifier | None = None,
) -> tuple[Finding, ...]:
    """Look for films that were exchanged, mirrored, turned, mixed up or are empty; nothing is changed.

    Args:
        films: One, or a frontal and a lateral one in any order.
        grid: The box that they look at.
        positions: What each film's file says that it is ("AP", "PA", "LATERAL", ...), "" where nothing.
        classifier: The bundled one if left out; without its weights only the residual and the files speak.

    Returns:
        What looks wrong; nothing if nothing does.
    """
    empty = [_empty(i, film) for i, film in enumerate(films) if _is_empty(film)]
    sides = [_side(film) for film in films]
    if empty or "" in sides:
        return tuple(empty)
    odds = _film_odds(films, classifier) + _position_odds(positions, len(films))[:, None]
    if len(films) == 1:
        return _judged([_Arrangement(False, (way,)) for way in TURNS], sides, odds, None)
    stand = Stand.of(films, grid)
    arrangements = [_Arrangement(swap, pair) for swap in (False, True) for pair in product(TURNS, TURNS)]
    noise = max(film.relative_error for film in films[:2])
    pair_odds = _pair_odds(stand, noise)
    more = np.array([pair_odds[_mirrored(a.ways[0]), _mirrored(a.ways[1]), _parity(a)] for a in arrangements])
    found = _twice(films, sides, odds) or _judged(arrangements, sides, odds, more)
    return found or _no_pair(stand, noise)


def _is_empty(film: Film) -> bool:
    values = film.line_integrals[np.isfinite(film.line_integrals)]
    return values.size == 0 or float(np.ptp(values)) < _LEAST_LINE_INTEGRAL


def _empty(i: int, film: Film) -> Finding:
    text = f"the {film.view.name} film shows nothing: every pixel is nearly the same; choose another file"
    return Finding("empty", i, 1.0, text)


def _side(film: Film) -> str:
    """What the film's view should show: "frontal", "lateral", or "" for an oblique view."""
    across, ahead, _ = np.abs(film.view.normal)
    return "frontal" if ahead > _NEAREST_AXIS else "lateral" if across > _NEAREST_AXIS else ""


def _film_odds(films: Sequence[Film], classifier: ViewClassifier | None) -> np.ndarray:
    """(n, 8, 2) by turns and kinds: prior and network together."""
    prior = np.array([_PRIOR.get(way, _PRIOR_SIDEWAYS) for way in TURNS])[None, :, None]
    if classifier is None:
        try:
            classifier = ViewClassifier.load()
        except CheckpointError:
            return np.broadcast_to(prior, (len(films), len(TURNS), 2)).copy()
    return prior + classifier.log_odds([film.line_integrals for film in films])


def _position_odds(positions: Sequence[str], count: int) -> np.ndarray:
    """(n, 2) by kinds, from what the files say."""
    odds = np.zeros((count, 2))
    for i, position in enumerate(positions):
        if position:
            odds[i, 0 if position in ("AP", "PA") else 1] = _POSITION
    return odds


def _score(arrangement: _Arrangement, sides: Sequence[str], odds: np.ndarray) -> float:
    """Logarithm of the odds of an arrangement by the films alone."""
    total = _PRIOR_SWAPPED if arrangement.swapped else 0.0
    for i, way in enumerate(arrangement.ways):
        side = sides[1 - i] if arrangement.swapped else sides[i]
        total += odds[i, TURNS.index(way), 0 if side == "frontal" else 1]
    return total


def _pair_odds(stand: Stand, noise: float) -> np.ndarray:
    """(2, 2, 2): logarithm of the odds by first film mirrored, second mirrored, one of them upside down."""
    sigma = _PROFILE_SIGMA + 0.1 * noise
    apart = np.array([stand.profile_difference(upside_down=over) for over in (False, True)])
    odds = np.zeros((2, 2, 2)) - np.minimum((apart / sigma) ** 2 / 2, _PROFILE_MOST)
    if noise <= _CLEAN:
        over = int(odds[0, 0].argmax())
        ways = [((0, bool(a)), (180 * over, bool(b) != bool(over))) for a in (0, 1) for b in (0, 1)]
        shares = np.reshape(stand.residuals(ways), (2, 2))
        odds -= _RESIDUAL * np.log(shares + 0.003 + 0.3 * noise)[..., None]
    return odds


def _mirrored(way: Way) -> int:
    """Whether a way of turning exchanges left and right; half a turn does."""
    return int((way[0] == 180) != way[1])


def _parity(arrangement: _Arrangement) -> int:
    """Whether one of the films, not both, is turned over."""
    return int(arrangement.ways[0][0] == 180) ^ int(arrangement.ways[1][0] == 180)


def _judged(
    arrangements: list[_Arrangement], sides: Sequence[str], odds: np.ndarray, more: np.ndarray | None
) -> tuple[Finding, ...]:
    """What is wrong if another arrangement than the given one is the likeliest."""
    scores = np.array([_score(a, sides, odds) for a in arrangements])
    scores = scores if more is None else scores + more
    share = np.exp(scores - scores.max())
    share /= share.sum()
    best = arrangements[int(share.argmax())]
    sure = 1 - float(share[0])  # the given one is the first
    if len(sides) == 1 and odds[0].max(0)[_index(sides[0])] < odds[0].max() - 2.0:
        return (_wrong_kind(0, sides[0], odds),)
    if sure < _SURE or best == arrangements[0]:
        return ()
    found = []
    if best.swapped:
        text = "the two films look exchanged: the frontal one is the lateral, and the lateral one the frontal"
        found.append(Finding("exchanged", None, sure, f"{text}; to exchange them, use --fix swap", ("swap",)))
    for i, way in enumerate(best.ways):
        side = sides[1 - i] if best.swapped else sides[i]
        if way != _AS_IT_IS:
            found.append(_turned(i, side, way, sure))
    return tuple(found)


def _index(side: str) -> int:
    return 0 if side == "frontal" else 1


def _turned(i: int, side: str, way: Way, sure: float) -> Finding:
    word, (degrees, mirror) = _WORDS[side], way
    how = _LEFT.get(way, "turned on its side" + (" and mirrored" if mirror else ""))
    if way == (180, True):
        offer: tuple[str, ...] = (f"flip-{word}",)
    else:
        offer = (f"turn-{degrees}-{word}",) if degrees else ()
        offer += (f"mirror-{word}",) if mirror else ()
    text = f"the {side} film looks {how}; if it is, use " + " ".join(f"--fix {o}" for o in offer)
    return Finding(how if degrees in (0, 180) else "turned", i, sure, text, offer)


def _wrong_kind(i: int, side: str, odds: np.ndarray) -> Finding:
    other = "lateral" if side == "frontal" else "frontal"
    gap = odds[i].max() - odds[i].max(0)[_index(side)]
    text = f"the film given as {side} looks {other}: to use it as that, use --fix swap"
    return Finding("exchanged", i, float(1 / (1 + np.exp(-gap))), text, ("swap",))


def _twice(films: Sequence[Film], sides: Sequence[str], odds: np.ndarray) -> tuple[Finding, ...]:
    """Whether both films show the same view: one picture, or two of one kind for certain."""
    pictures = [square(film.line_integrals) for film in films[:2]]
    one, mirrored, other = (p.numpy().ravel() for p in (pictures[0], pictures[0].flip(-1), pictures[1]))
    alike = max(np.corrcoef(one, other)[0, 1], np.corrcoef(mirrored, other)[0, 1])
    text = "both films show the same view: give the other one, or leave one out and use a single film"
    if alike > _SAME and np.corrcoef(one, mirrored)[0, 1] < _SAME:
        return (Finding("same view twice", None, float(alike), text),)
    kinds = odds.max(1)  # (2, 2) by film and kind
    gaps = kinds[:, 0] - kinds[:, 1]  # above 0: frontal
    if len(set(sides)) == 2 and (np.sign(gaps) == np.sign(gaps[0])).all() and np.abs(gaps).min() > 3.0:
        sure = float(1 / (1 + np.exp(-np.abs(gaps).min())))
        return (Finding("same view twice", None, sure, text),)
    return ()


def _no_pair(stand: Stand, noise: float) -> tuple[Finding, ...]:
    """Whether the films' mass is spread so differently over the height that they are not of one patient."""
    difference, mass = stand.profile_difference(), stand.mass_ratio()
    text = (
        "the two films do not fit together: {}; check that they are of the same patient, height and pixel"
        " spacing"
    )
    if difference > _PROFILE + 0.2 * noise:
        sure = min(0.99, difference / (2 * _PROFILE))
        why = f"their shadows are spread differently over the height (by {difference:.0%})"
        return (Finding("not a pair", None, sure, text.format(why)),)
    if noise <= _CLEAN and mass < _MASS:
        why = f"one attenuates {mass:.0%} of what the other does"
        return (Finding("not a pair", None, min(0.99, 1.5 - mass), text.format(why)),)
    return ()
