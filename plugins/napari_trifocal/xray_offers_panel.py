"""What looks wrong with the X-rays, each with a button that mends it. Qt only; it knows no session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_trifocal.controls import text
from napari_trifocal.layers import COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_trifocal.xray_offers import Offer


class OffersPanel(QWidget):
    """Findings and buttons. Nothing is done until one is pressed.

    Signals:
        accepted: An `Offer`.

    Attributes:
        buttons: By what they say.
    """

    accepted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.buttons: dict[str, QPushButton] = {}
        self._rows = QVBoxLayout(self)
        self._rows.setContentsMargins(6, 0, 6, 0)
        self._rows.setSpacing(3)
        self.show_offers(())

    @property
    def said(self) -> list[str]:
        """The sentences that are shown."""
        labels = (self._rows.itemAt(i).widget() for i in range(self._rows.count()))
        return [label.text() for label in labels if not isinstance(label, QPushButton)]

    def show_offers(self, offers: Sequence[Offer], findings: Sequence[str] = ()) -> None:
        """Show these and no others; there is no button for what cannot be mended here."""
        self.buttons.clear()
        while self._rows.count():
            widget = self._rows.takeAt(0).widget()
            widget.setParent(None)
            widget.deleteLater()
        for finding in findings:
            self._say(finding)
        for offer in offers:
            self._say(offer.text)
            button = QPushButton(offer.label)
            button.clicked.connect(lambda _, offer=offer: self.accepted.emit(offer))
            self._rows.addWidget(button)
            self.buttons[offer.label] = button
        self.setVisible(bool(offers) or bool(findings))

    def _say(self, sentence: str) -> None:
        label = text()
        label.setText(sentence)
        label.setStyleSheet(f"color: {COLOURS['uncoupled']};")
        self._rows.addWidget(label)
