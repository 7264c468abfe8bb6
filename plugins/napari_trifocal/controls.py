"""Small controls that the panels share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QToolButton

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtCore import Qt


def text() -> QLabel:
    """A label that breaks its lines."""
    label = QLabel("")
    label.setWordWrap(True)
    return label


def combo() -> QComboBox:
    """A choice that does not widen the panel with its longest entry."""
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    return box


def arrow(kind: Qt.ArrowType, tip: str) -> QToolButton:
    """A button with an arrow."""
    button = QToolButton()
    button.setArrowType(kind)
    button.setToolTip(tip)
    return button


def button(label: str, tip: str, clicked: Callable[[], object]) -> QPushButton:
    """A button with a tip."""
    button = QPushButton(label)
    button.setToolTip(tip)
    button.clicked.connect(lambda: clicked())
    return button
