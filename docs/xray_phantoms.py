"""Renders docs/xray-phantoms.png: ten synthetic trunks, each as a frontal and a lateral X-ray and a slice.

    .venv/bin/python docs/xray_phantoms.py [--to PICTURE] [--seed SEED]

A column is a person: the frontal film (brighter = more attenuation), the left lateral one, a coronal slice of
the CT in front of the spine, -1000 to 500 HU. Nothing is chosen by hand: the seeds follow each other.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image as Picture
from PIL import ImageDraw

from trifocal.xray.attenuation import hu_to_mu
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import Grid, average_onto
from trifocal.xray.phantoms import torso
from trifocal.xray.projection import Projectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DOCS = Path(__file__).parent
COUNT, FIRST_SEED, SPACING_MM = 10, 9000, 3.0
TILE, GAP = (112, 168), 4  # 440 x 660 mm
WINDOW_HU = -1000.0, 500.0


def tiles(seed: int) -> list[Picture.Image]:
    """Frontal film, lateral film and coronal slice of one person."""
    image = torso(seed, spacing_mm=SPACING_MM)
    grid = Grid((146, 120, 220), (SPACING_MM,) * 3, (0.0, 0.0, -60.0))
    hu = average_onto(image, grid)
    geometry = frontal_and_lateral(grid, pixels=256)
    projectors = Projectors.of(geometry.views, grid)
    films = projectors.forward(torch.from_numpy(hu_to_mu(hu, geometry.energy_kev)).float())
    pictures = []
    for film in films:
        integrals = film.numpy()
        wide = round(integrals.shape[0] * TILE[0] / TILE[1])
        start = (integrals.shape[1] - wide) // 2
        middle = integrals[:, start : start + wide]
        pictures.append(grey(middle, 0.0, float(np.quantile(middle, 0.998)), gamma=1.4))
    coronal = hu[::-1, 62].T[::-1]  # rows down, the patient's right on the left
    return [*pictures, grey(coronal, *WINDOW_HU)]


def grey(values: NDArray[np.floating], low: float, high: float, gamma: float = 1.0) -> Picture.Image:
    """Values (rows, columns) as a tile."""
    share = np.clip((values - low) / (high - low), 0, 1) ** gamma
    picture = Picture.fromarray((255 * share).astype(np.uint8))
    return picture.resize(TILE, Picture.Resampling.BILINEAR)


def phantoms_picture(seed: int = FIRST_SEED) -> Picture.Image:
    """Make the contact sheet: a column for each person."""
    wide, tall = TILE[0] + GAP, TILE[1] + GAP
    sheet = Picture.new("L", (COUNT * wide - GAP, 3 * tall - GAP), 255)
    for n in range(COUNT):
        for row, picture in enumerate(tiles(seed + n)):
            sheet.paste(picture, (n * wide, row * tall))
        ImageDraw.Draw(sheet).text((n * wide + 3, 2), str(seed + n), fill=255)
    return sheet


def main(words: Sequence[str]) -> None:
    """Render what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, default=DOCS / "xray-phantoms.png", help="the picture to write")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="of the first phantom")
    given = parser.parse_args(words)
    phantoms_picture(given.seed).quantize(64).save(given.to, optimize=True)
    sys.stdout.write(f"wrote {given.to}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
