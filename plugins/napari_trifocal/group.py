"""A part of the panel that can be folded away."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QToolButton, QVBoxLayout, QWidget


class Group(QWidget):
    """A heading that shows or hides what is below it.

    Args:
        title: The heading.
        parts: What is below it, from top to bottom.
        folded: Whether it starts folded.
    """

    def __init__(self, title: str, *parts: QWidget, folded: bool = False) -> None:
        super().__init__()
        self.header = QToolButton()
        self.header.setText(title)
        self.header.setCheckable(True)
        self.header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.header.setStyleSheet("QToolButton { border: none; background: transparent; font-weight: bold; }")
        self.header.toggled.connect(self._on_toggled)
        self._body = QWidget()
        layout, body = QVBoxLayout(self), QVBoxLayout(self._body)
        for box in (layout, body):
            box.setContentsMargins(0, 0, 0, 0)
            box.setSpacing(3)
        for part in parts:
            body.addWidget(part)
        layout.addWidget(self.header)
        layout.addWidget(self._body)
        self.header.setChecked(not folded)
        self._on_toggled(not folded)

    def _on_toggled(self, opened: bool) -> None:
        self.header.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)
        self._body.setVisible(opened)
