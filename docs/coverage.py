"""Measures how often the 95 % ellipsoid holds the solver's focus, and draws docs/coverage.png.

    .venv/bin/python docs/coverage.py --stored CASES... --worlds 20 --out coverage.json

Two questions. (a) Nothing is unknown but the network's error: stored cases, no simulation. (b) Speed and
attenuation of the skull and the pose are unknown too: a true world is drawn for each case of procedural
heads, the solver runs in it, and the ellipsoid was made without that knowledge.
"""

import argparse
import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
from scipy.stats import binomtest, chi2

mpl.use("Agg")
from matplotlib import pyplot as plt

from trifocal.files import atomic_file
from trifocal.focus.calibration import Measured
from trifocal.focus.cases import Bowls, Case, CaseSpec, HeadSource
from trifocal.focus.data import read_manifest
from trifocal.focus.doubts_reference import Reference
from trifocal.focus.ellipsoid import factor
from trifocal.focus.learned import Learned
from trifocal.focus.phantoms import HeadSpec
from trifocal.focus.predictor import FocusPredictor
from trifocal.focus.uncertainty import Ranges, doubts

LEVELS = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99])
PICTURE = Path(__file__).parent / "coverage.png"


def stored(folder, learned, reference):
    """Squared distances of the solver's foci of all cases of a folder, by the error of the model alone."""
    squares = []
    for case in read_manifest(folder)["cases"]:
        found = Measured.of(case["head"], Case.load(folder / case["file"]), learned)
        squares.append(float((found.error_mm**2 / reference.error.variances(found.disagreement_mm)).sum()))
    return squares


def specs(folder, count):
    """Specifications of that many cases of procedural heads, head by head in turn."""
    found = [c["spec"] for c in read_manifest(folder)["cases"] if "phantom" in c["spec"]["head"]]
    found.sort(key=lambda s: (s["seed"] % 1000, s["seed"]))
    for s in found[:count]:
        bowls = Bowls(**{name: tuple(bounds) for name, bounds in s["bowls"].items()})
        head = HeadSpec(**s["head"]["phantom"])
        yield CaseSpec(HeadSource(head).identity(), s["seed"], bowls), head


def world(spec, head, samples, solver):
    """One true world: the solver's focus in it, and the squared distance in the ellipsoid."""
    inputs = spec.inputs(HeadSource(head).load())
    unsure = doubts(inputs, samples=samples, device="cpu")
    truth = solver.predict(Ranges().draw(inputs, np.random.default_rng([spec.seed, 99])))
    distance = float(unsure.ellipsoid.distance(truth.figures.focus_mm))
    low, high = unsure.peak_bounds_pa
    return {
        "seed": spec.seed,
        "square": distance**2 * factor(0.95),
        "half_lengths_mm": unsure.ellipsoid.half_lengths_mm.tolist(),
        "error_mm": float(np.linalg.norm(np.subtract(truth.figures.focus_mm, unsure.ellipsoid.centre_mm))),
        "peak_held": bool(low <= truth.figures.peak_pa <= high),
        "out_of_range": list(unsure.out_of_range),
    }


def draw(rows, path):
    """Coverage against the nominal level with Clopper-Pearson intervals."""
    figure, axes = plt.subplots(figsize=(7.2, 5.4), layout="constrained")
    axes.plot([45, 100], [45, 100], color="0.6", lw=1, label="as often as it says")
    axes.axhspan(90, 99, color="0.93", label="goal at 95 %: 90 to 99 %")
    for i, (name, squares) in enumerate(rows.items()):
        n = len(squares)
        inside = [int((np.array(squares) <= chi2.ppf(level, 3)).sum()) for level in LEVELS]
        intervals = [binomtest(k, n).proportion_ci(0.95) for k in inside]
        share = 100 * np.array(inside) / n
        below = share - [100 * c.low for c in intervals]
        above = [100 * c.high for c in intervals] - share
        at = 100 * LEVELS + 0.35 * (i - (len(rows) - 1) / 2)
        label = f"{name}: {inside[5]} of {n} at 95 %"
        axes.errorbar(at, share, [below, above], fmt="o-", ms=4, capsize=2, lw=1.2, label=label)
    axes.set(xlabel="nominal level, %", ylabel="solver's foci inside, %", xlim=(45, 101), ylim=(20, 102))
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_file(path) as part:
        figure.savefig(part, dpi=140)
    plt.close(figure)


def main():
    """Measure what is missing in the JSON file, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stored", type=Path, nargs="+", required=True, help="held-out data sets")
    parser.add_argument("--worlds", type=int, default=20, help="true worlds, on heads of the first data set")
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--out", type=Path, required=True, help="JSON file; an interrupted run goes on")
    options = parser.parse_args()
    found = json.loads(options.out.read_text()) if options.out.exists() else {"stored": {}, "worlds": []}
    solver = FocusPredictor("solver", device="cpu")
    done = {w["seed"] for w in found["worlds"]}
    for spec, head in specs(options.stored[0], options.worlds):
        if spec.seed not in done:
            found["worlds"].append(world(spec, head, options.samples, solver))
            options.out.write_text(json.dumps(found, indent=1))
    learned, reference = Learned.load(), Reference.load()
    for folder in options.stored:
        if folder.name not in found["stored"]:
            found["stored"][folder.name] = stored(folder, learned, reference)
            options.out.write_text(json.dumps(found, indent=1))
    rows = {f"(a) {name}": squares for name, squares in found["stored"].items()}
    draw(rows | {"(b) unknown skull and pose": [w["square"] for w in found["worlds"]]}, PICTURE)


if __name__ == "__main__":
    main()
