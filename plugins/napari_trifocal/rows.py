"""How controls stand below and beside each other in the panels."""

from __future__ import annotations

from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QVBoxLayout, QWidget


def row(*widgets: QWidget) -> QWidget:
    """Put widgets beside each other."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return row


def form(parent: QWidget) -> QFormLayout:
    """A form of labels and fields."""
    form = QFormLayout(parent)
    form.setContentsMargins(0, 0, 0, 0)
    form.setVerticalSpacing(3)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return form


def column(parent: QWidget, *widgets: QWidget) -> QVBoxLayout:
    """Put widgets below each other."""
    layout = QVBoxLayout(parent)
    layout.setContentsMargins(6, 6, 6, 6)
    layout.setSpacing(3)
    for widget in widgets:
        layout.addWidget(widget)
    return layout
