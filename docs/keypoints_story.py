"""Renders the curves of a run of `trifocal train keypoints --recipe story`.

    python docs/keypoints_story.py STORY_FOLDER

writes keypoints-story.png beside this file.
"""

import csv
import sys
from pathlib import Path

from matplotlib.figure import Figure

STEPS = ("labels", "R1", "R2", "R3", "selective", "r3capped")


def read(folder):
    """Columns of a run's curves.csv; NaN where a cell is empty."""
    with (folder / "curves.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) if row[name] else float("nan") for row in rows] for name in rows[0]}


def draw(story, out):
    """Pretraining on the left; teachers and student, one after the other, on the right."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    first = read(story / "pretrain")
    left.plot(first["epoch"], first["train_loss"], "o-", label="loss of the predictor")
    left.plot(first["epoch"], first["train_spread"], "o-", label="spread of the targets (0: collapsed)")
    left.set(title="I-JEPA pretraining", xlabel="epoch", ylim=(0, None))
    left.legend()
    began = 0.0
    for name, folder in [*((s, story / "teachers" / s) for s in STEPS), ("student", story / "student")]:
        curve = read(folder)
        minutes = [began + s / 60 for s in curve["seconds"]]
        right.plot(minutes, curve["val_score"], "o-", label=name)
        began = minutes[-1]
    right.set(title="validation", xlabel="minutes of training", ylabel="mean radial error, px of 256")
    right.legend(ncols=2)
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    draw(Path(sys.argv[1]), Path(__file__).with_name("keypoints-story.png"))
