"""`trifocal curves`: validation curves of several runs."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from trifocal.training.runs import Run, draw_runs


@dataclass
class Curves:
    """Draw the validation curves of several training runs in one figure.

    A panel for each figure that was validated, a colour for each run. It may be drawn while the runs go on.

    Examples:
        trifocal curves run/base run/C run/E --out curves.png

        trifocal curves run/base --names "base, world" --reference relative_l2=0.414 max_pressure_error=0.199

    Attributes:
        runs: Folders of `trifocal train`, with curves.csv in them.
        names: What to call them, in their order; like their folders if left out.
        reference: Dashed lines, such as published values: figure=value.
        figures: Which figures; all that the runs share if left out.
        out: The picture.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]] = field(default_factory=tuple)
    names: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    out: Path = Path("curves.png")

    def run(self) -> int:
        """Read and draw."""
        if not self.runs:
            msg = "name the folder of a run, or several"
            raise ValueError(msg)
        found = read_runs(self.runs, self.names)
        draw_runs(self.out, found, parse_references(self.reference), self.figures)
        sys.stdout.write(f"{len(found)} runs in {self.out}\n")
        return 0


def read_runs(folders: tuple[Path, ...], names: tuple[str, ...]) -> list[Run]:
    """The runs of some folders, by the given names.

    Raises:
        ValueError: If there are names, and not one for each run.
    """
    if names and len(names) != len(folders):
        msg = f"--names must be one for each of the {len(folders)} runs, got {len(names)}"
        raise ValueError(msg)
    return [Run.read(f, n) for f, n in zip(folders, names or (None,) * len(folders), strict=True)]


def parse_references(texts: tuple[str, ...]) -> dict[str, float]:
    """figure=value -> figure: value.

    Raises:
        ValueError: If one is not of that form.
    """
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        try:
            found[key.strip()] = float(value)
        except ValueError as error:
            msg = f"--reference must be figure=value, such as relative_l2=0.414, got {text!r}"
            raise ValueError(msg) from error
        if not equals or not key.strip():
            msg = f"--reference must be figure=value, such as relative_l2=0.414, got {text!r}"
            raise ValueError(msg)
    return found
