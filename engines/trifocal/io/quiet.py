"""DICOM headers without a word: pydicom's warnings and log quote values, and with them the patient."""

from __future__ import annotations

import logging
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydicom.config import disable_value_validation

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = threading.RLock()
"""The settings are those of the whole process: whoever changes them restores them before another may."""


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Parse and convert values of a header inside this: nothing is warned of, logged or validated.

    Values are converted when they are first asked for, so that must happen inside it too. Errors still come,
    and their text may quote values: tell the user their type only, and raise `from None`.
    """
    logger = logging.getLogger("pydicom")
    with _lock, warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        disabled, logger.disabled = logger.disabled, True
        try:
            yield
        finally:
            logger.disabled = disabled
