"""Public data that may not be committed, and what is asked of damaged data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trifocal import io
from trifocal.image import ImageError

_SHARED = Path(__file__).parents[2] / "shared" / "data"


def shared_data(name: str) -> Path:
    """Path of a file or folder that lies beside the checkout; where it does not, the test is skipped."""
    path = _SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    return path


def reads_or_says_why(path: Path) -> bool:
    """Whether it gives a volume with a finite place, or an ImageError of one sentence; others pass on."""
    try:
        image = io.read(path)
    except ImageError as error:
        return bool(str(error)) and "\n" not in str(error)
    return image.array.ndim == 3 and bool(np.isfinite(image.affine).all())
