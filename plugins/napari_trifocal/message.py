"""What is said to the user."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """A sentence for the user."""

    text: str
    is_error: bool = False
