"""How often films that were exchanged, mirrored, turned or mixed up are noticed: the tables in xray-views.md.

    trifocal simulate xray --phantoms 1200 --seed 0 --spacing-mm 4 --out build/phantoms
    python docs/xray_views.py train build/phantoms --leave 200 --out build/views
    python docs/xray_views.py measure build/phantoms --last 200
    python docs/xray_views.py measure chest.nii.gz

`train` makes the network (all but the last phantoms, none of the real CTs) and writes xray-views.safetensors;
`measure` counts on phantoms that it never saw, or on CTs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from trifocal import checkpoint, io
from trifocal.radiograph import Radiograph
from trifocal.training import Plan
from trifocal.xray.attenuation import hu_to_mu
from trifocal.xray.film import Film
from trifocal.xray.films.display import Display
from trifocal.xray.films.exposure import Exposure, expose
from trifocal.xray.films.from_radiograph import film_from_radiograph
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import average_onto
from trifocal.xray.phantoms import field_of_view
from trifocal.xray.projection import Projectors
from trifocal.xray.views.check import check_views
from trifocal.xray.views.classifier import ViewClassifier
from trifocal.xray.views.net import turn
from trifocal.xray.views.train import ViewRecipe, film_pairs, train_views

if TYPE_CHECKING:
    from trifocal.xray.geometry import Geometry

UPRIGHT, MIRROR, UPSIDE_DOWN = (0, False), (0, True), (180, False)
CASES = {
    "right pair": (False, UPRIGHT, UPRIGHT),
    "exchanged": (True, UPRIGHT, UPRIGHT),
    "frontal mirrored": (False, MIRROR, UPRIGHT),
    "lateral mirrored": (False, UPRIGHT, MIRROR),
    "frontal upside down": (False, UPSIDE_DOWN, UPRIGHT),
    "lateral upside down": (False, UPRIGHT, UPSIDE_DOWN),
    "both upside down": (False, UPSIDE_DOWN, UPSIDE_DOWN),
    "frontal on its side": (False, (90, False), UPRIGHT),
}
OFFERS = {
    "exchanged": {"swap"},
    "frontal mirrored": {"mirror-ap"},
    "lateral mirrored": {"mirror-lateral"},
    "frontal upside down": {"turn-180-ap"},
    "lateral upside down": {"turn-180-lateral"},
    "both upside down": {"turn-180-ap", "turn-180-lateral"},
    "frontal on its side": {"turn-270-ap"},
}
OTHERS = ("another patient's lateral", "frontal twice")


def pair(path: Path, whole: bool) -> tuple[Geometry, list[torch.Tensor]]:
    """Line integrals of one field of view of a volume, in a geometry that is random but known."""
    image = io.read(path)
    rng = np.random.default_rng([5, *path.name.encode()])
    if whole:
        from trifocal.xray.planning import plan_grid

        grid = plan_grid(image)
    else:
        grid, _ = field_of_view(image, rng)
    distance, behind = float(rng.uniform(1000, 2200)), float(rng.uniform(180, 320))
    frontal = str(rng.choice(["AP", "PA"]))
    geometry = frontal_and_lateral(
        grid, frontal=frontal, source_to_detector_mm=distance, center_to_detector_mm=behind
    )
    mu = torch.from_numpy(hu_to_mu(average_onto(image, grid), 70.0)).float()
    return geometry, Projectors.of(geometry.views, grid).forward(mu)


def as_films(geometry: Geometry, images: list[torch.Tensor], quality: str, seed: int) -> tuple[Film, ...]:
    """Line integrals as films: as projected, as measured, or as a picture whose curve nobody knows."""
    if quality == "line integrals":
        return tuple(Film(v, i.numpy()) for v, i in zip(geometry.views, images, strict=True))
    generator = torch.Generator().manual_seed(seed)
    exposure = Exposure(photons=2e4, scatter_fraction=0.1, blur_px=0.5)
    seen = [expose(image, exposure, generator) for image in images]
    if quality == "10 % scatter, noise":
        return tuple(Film(v, s.numpy(), 0.05) for v, s in zip(geometry.views, seen, strict=True))
    films = []
    for view, image in zip(geometry.views, seen, strict=True):
        low, high, gamma = (
            float(torch.empty(()).uniform_(a, b, generator=generator))
            for a, b in ((0, 0.3), (0.8, 1.0), (0.6, 1.6))
        )
        grey = Display(low, high * float(image.max()), gamma, 255.0).grey(image)
        radiograph = Radiograph(grey.round().numpy(), "display", pixel_mm=view.pixel_mm)
        films.append(film_from_radiograph(radiograph, view))
    return tuple(films)


def arranged(films: tuple[Film, ...], swapped: bool, *ways: tuple[int, bool]) -> tuple[Film, ...]:
    """The films as somebody in a hurry hands them over."""
    images = [turn(torch.from_numpy(f.line_integrals), *w).numpy() for f, w in zip(films, ways, strict=True)]
    if swapped:
        images = images[::-1]
    return tuple(
        Film(film.view, np.ascontiguousarray(image), film.relative_error)
        for film, image in zip(films, images, strict=True)
    )


def measure(paths: list[Path], quality: str, classifier: ViewClassifier, whole: bool) -> dict[str, list[int]]:
    """By case: how many films were noticed, for how many the offer mends it, of how many."""
    counts = {case: [0, 0, 0] for case in (*CASES, *OTHERS)}
    before: tuple[Film, ...] | None = None
    for number, path in enumerate(paths):
        geometry, images = pair(path, whole)
        films = as_films(geometry, images, quality, number)
        handed = {case: arranged(films, *how) for case, how in CASES.items()}
        frontal, lateral = films
        if before is not None:
            handed[OTHERS[0]] = (
                frontal,
                Film(lateral.view, before[1].line_integrals, lateral.relative_error),
            )
        handed[OTHERS[1]] = (frontal, Film(lateral.view, frontal.line_integrals, lateral.relative_error))
        before = films
        for case, given in handed.items():
            found = check_views(given, geometry.grid, classifier=classifier)
            offers = {word for finding in found for word in finding.offer}
            row = counts[case]
            row[0] += bool(found)
            row[1] += bool(found) and offers == OFFERS.get(case)
            row[2] += 1
    return counts


def table(by_quality: dict[str, dict[str, list[int]]]) -> str:
    """Markdown: noticed (and mended by the offer) in percent."""
    qualities = list(by_quality)
    lines = ["| films | " + " | ".join(qualities) + " |", "|---" * (len(qualities) + 1) + "|"]
    for case in (*CASES, *OTHERS):
        cells = []
        for quality in qualities:
            noticed, mended, of = by_quality[quality][case]
            cell = f"{100 * noticed / of:.0f} %" if of else "-"
            if of and case in OFFERS:
                cell += f" ({100 * mended / of:.0f} %)"
            cells.append(cell)
        name = f"**{case}** (false alarms)" if case == "right pair" else case
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def volumes(folders: list[Path]) -> list[Path]:
    """Files of volumes, by name."""
    found = [sorted(f.glob("*.nii*")) if f.is_dir() else [f] for f in folders]
    return [path for group in found for path in group]


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["train", "measure"])
    parser.add_argument("volumes", type=Path, nargs="+")
    parser.add_argument("--leave", type=int, default=200, help="train: leave the last ones for `measure`")
    parser.add_argument("--crops", type=int, default=4, help="train: pairs of films of each")
    parser.add_argument("--epochs", type=int, default=24, help="train")
    parser.add_argument("--start", type=Path, help="train: weights to begin with")
    parser.add_argument("--minutes", type=float, help="train: limit")
    parser.add_argument("--out", type=Path, default=Path("build/views"), help="train: folder of the run")
    parser.add_argument("--last", type=int, help="measure: only the last ones")
    parser.add_argument("--whole", action="store_true", help="measure: the whole CT, no random crop")
    parser.add_argument(
        "--qualities", nargs="+", default=["line integrals", "10 % scatter, noise", "picture"]
    )
    parser.add_argument("--weights", default="xray-views", help="measure: name or file")
    return parser.parse_args()


def train(asked: argparse.Namespace) -> None:
    """Make the films once, then train."""
    paths = volumes(asked.volumes)[: -asked.leave or None]
    asked.out.mkdir(parents=True, exist_ok=True)
    kept = asked.out / "pairs.npz"
    if not kept.exists():
        pairs = [
            film_pairs(io.read(p), np.random.default_rng([3, i]), asked.crops) for i, p in enumerate(paths)
        ]
        np.savez(kept, pairs=np.concatenate(pairs))
    plan = Plan(
        epochs=asked.epochs,
        batch_size=32,
        learning_rate=2e-3,
        ema=0.98,
        precision="bf16-mixed",
        budget_minutes=asked.minutes,
        validate_every=max(1, asked.epochs // 8),
    )
    card = {
        "data": f"{len(paths)} procedural phantoms ({paths[0].name} to {paths[-1].name}), {asked.crops} each",
        "command": "python docs/xray_views.py " + " ".join(sys.argv[1:]),
        "seed": plan.seed,
    }
    start = None if asked.start is None else checkpoint.load(asked.start, "xray").weights
    stored = train_views(np.load(kept)["pairs"], asked.out, ViewRecipe(plan), card, start=start)
    print(json.dumps(stored.card, indent=2))  # noqa: T201


def main() -> None:
    """Do what was asked."""
    asked = parsed()
    torch.set_num_threads(1)
    if asked.what == "train":
        train(asked)
        return
    classifier = ViewClassifier.load(asked.weights)
    paths = volumes(asked.volumes)[-(asked.last or 10**9) :]
    by_quality = {q: measure(paths, q, classifier, asked.whole) for q in asked.qualities}
    print(table(by_quality))  # noqa: T201


if __name__ == "__main__":
    main()
