"""`trifocal self-test`: the physics against closed forms and references, as a table."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from trifocal import cli
from trifocal.focus.validation import Check, run_checks


@dataclass(kw_only=True)
class SelfTest:
    """Check the physics on this machine: closed forms, convergence, one rung against the next.

    Exits with 3 if a check fails.

    Examples:
        trifocal self-test

        trifocal self-test --reference itrusst_BM4_SC1_STRIDE_amp_phase_0p5mm.npz

    Attributes:
        reference: Field of the code STRIDE for the ITRUSST benchmark BM4-SC1 (npz with p_amp and dx_mm).
    """

    reference: Path | None = None

    def run(self) -> int:
        """Run every check and print the table."""
        if self.reference is not None and not self.reference.is_file():
            msg = f"there is no file {self.reference}: give the npz of the ITRUSST reference field"
            raise FileNotFoundError(msg)
        checks = []
        for check in run_checks(self.reference):
            checks.append(check)
            if sys.stderr.isatty():
                sys.stderr.write(f"\r\033[K{len(checks)} checks done, the last: {check.name}")
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")
        # wide enough for every name where the output is a file
        Console(width=None if sys.stdout.isatty() else 120).print(_table(checks))
        return 0 if all(check.passed for check in checks) else cli.CHECK_FAILED


def _table(checks: list[Check]) -> Table:
    table = Table(title="trifocal self-test")
    for name in ("check", "measured", "bound", "seconds", ""):
        table.add_column(name)
    for check in checks:
        unit = f" {check.unit}" if check.unit else ""
        table.add_row(
            check.name,
            f"{check.value:.3g}{unit}",
            f"{'>=' if check.at_least else '<='} {check.bound:.3g}{unit}",
            f"{check.seconds:.1f}" if check.seconds else "",
            "ok" if check.passed else "FAILED",
        )
    return table
