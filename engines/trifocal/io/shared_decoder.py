"""One child for all frames of all ultrasound files: starting it takes longer than decoding many frames."""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING, Any

from trifocal.io.decode import DecodeError, Decoder, RefusedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_lock = threading.Lock()
_running: tuple[int, Decoder] | None = None
"""The process that started the child, and the child: a forked process must not write to its parent's."""


def decode_frame(data: bytes, shape: tuple[int, ...]) -> NDArray[Any]:
    """See `trifocal.io.decode.Decoder.decode`; from any thread, one at a time.

    Raises:
        DecodeError: If it cannot be decoded.
    """
    global _running
    with _lock:
        if _running is None or _running[0] != os.getpid():
            _running = (os.getpid(), Decoder())
        try:
            return _running[1].decode(data, shape)
        except RefusedError:
            raise
        except DecodeError:
            stop_decoder()
            raise


def stop_decoder() -> None:
    """End the child, if there is one; the next frame starts another."""
    global _running
    if _running is not None and _running[0] == os.getpid():
        _running[1].__exit__()
    _running = None


atexit.register(stop_decoder)
