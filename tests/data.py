"""Public data that may not be committed: it lies beside the checkout, or it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

_SHARED = Path(__file__).parents[2] / "shared" / "data"


def shared_data(name: str) -> Path:
    """Path of a shared file or folder; the test that asks is skipped where it is absent."""
    path = _SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    return path
