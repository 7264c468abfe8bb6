"""One of the two X-rays: its picture, what is known of it, and what can be done to it. Qt only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QDoubleSpinBox, QFileDialog, QFrame, QGridLayout, QLabel, QToolButton
from superqt.utils import signals_blocked

from napari_trifocal.controls import combo, text
from napari_trifocal.layers import COLOURS
from napari_trifocal.rows import row
from napari_trifocal.xray_layers import limits_of
from napari_trifocal.xray_slot import FLIP, INVERT, MIRROR, TURN
from trifocal.io import RADIOGRAPH_SUFFIXES

if TYPE_CHECKING:
    from napari.layers import Layer
    from numpy.typing import NDArray
    from qtpy.QtGui import QDragEnterEvent, QDropEvent

    from napari_trifocal.xray_slot import Side, Slot
    from trifocal.radiograph import Radiograph

OPEN_FILTER = f"X-ray ({' '.join('*' + s for s in RADIOGRAPH_SUFFIXES)});;All files (*)"
THUMBNAIL = 116
CHANGES = {
    MIRROR: ("⇋", "Mirror, left for right"),
    FLIP: ("⇅", "Flip, top for bottom"),
    TURN: ("↺", "Turn by 90 degrees, counter-clockwise"),
    INVERT: ("◐", "Invert: dark was dense"),
}
PIXEL_TIP = "Size of a pixel on the detector; what you type goes before what the file says"
ATTRIBUTES = {MIRROR: "mirror", FLIP: "flip", TURN: "turn_deg", INVERT: "invert"}


class SlotPanel(QFrame):
    """Opens an X-ray, by a button, by a drop or from a layer, and shows what is known of it.

    Signals:
        files_chosen: Paths that were chosen or dropped.
        layer_chosen: An image layer.
        cleared: The slot is to be empty.
        change_wanted: One of `xray_slot`'s changes.
        pixel_typed: Size of a pixel in mm; 0 to go by the file.

    Attributes:
        side: Which slot.
        picture: The thumbnail.
        about: What is known.
    """

    files_chosen = Signal(list)
    layer_chosen = Signal(object)
    cleared = Signal()
    change_wanted = Signal(str)
    pixel_typed = Signal(float)

    def __init__(self, side: Side, title: str) -> None:
        super().__init__()
        self.side = side
        self._layers: list[Layer] = []
        self.setAcceptDrops(True)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.title, self.picture, self.about = QLabel(f"<b>{title}</b>"), QLabel(), text()
        self.picture.setFixedSize(THUMBNAIL, THUMBNAIL)
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.picture.setWordWrap(True)
        self.picture.setStyleSheet("background: #101214; color: #9aa0a6;")
        self.about.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.layer = combo()
        self.layer.activated.connect(lambda i: i and self.layer_chosen.emit(self._layers[i - 1]))
        self.open, self.clear = QToolButton(), QToolButton()
        self.open.setText("Open...")
        self.clear.setText("✕")
        self.clear.setToolTip("Take this X-ray out")
        self.open.clicked.connect(self._on_open)
        self.clear.clicked.connect(self.cleared)
        self.changes = {}
        for change, (sign, tip) in CHANGES.items():
            button = QToolButton()
            button.setText(sign)
            button.setToolTip(tip)
            button.setCheckable(True)
            button.clicked.connect(lambda _, change=change: self.change_wanted.emit(change))
            self.changes[change] = button
        self.pixel = QDoubleSpinBox()
        self.pixel.setRange(0.0, 10.0)
        self.pixel.setDecimals(4)
        self.pixel.setSingleStep(0.01)
        self.pixel.setSpecialValueText("unknown")
        self.pixel.setSuffix(" mm")
        self.pixel.setKeyboardTracking(False)
        self.pixel.valueChanged.connect(self.pixel_typed)
        self._arrange()
        self.show_slot(None)

    def show_slot(self, slot: Slot | None, pixel_mm: float | None = None, why: str = "") -> None:
        """Show an X-ray, or that there is none.

        Args:
            slot: The X-ray.
            pixel_mm: Size of its pixels on the detector.
            why: Where that was assumed, why: it is asked for.
        """
        there = slot is not None
        for widget in (self.clear, self.pixel, *self.changes.values()):
            widget.setEnabled(there)
        for change, button in self.changes.items():
            button.setChecked(slot is not None and bool(getattr(slot.fix, ATTRIBUTES[change])))
        with signals_blocked(self.pixel):
            self.pixel.setValue(pixel_mm or 0.0)
        self.pixel.setStyleSheet(f"color: {COLOURS['uncoupled']};" if why else "")
        self.pixel.setToolTip(f"Assumed: {why}. Type what is true" if why else PIXEL_TIP)
        if slot is None:
            self.picture.setPixmap(QPixmap())
            self.picture.setText("drop a DICOM, PNG or TIFF here")
            self.about.setText("")
            return
        self.picture.setPixmap(thumbnail(slot.thumbnail()))
        film = slot.radiograph
        name = film.name if len(film.name) <= 40 else f"{film.name[:37]}..."
        self.about.setText("\n".join([name, *slot.said()]))
        self.about.setToolTip(film.name)

    def show_layers(self, layers: list[Layer]) -> None:
        """Offer these image layers."""
        self._layers = layers
        with signals_blocked(self.layer):
            self.layer.clear()
            self.layer.addItem("or from a layer")
            self.layer.addItems([layer.name for layer in layers])

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802 - Qt's name
        """Take files."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802 - Qt's name
        """Open what is dropped; of two files each finds its own slot."""
        paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            self.files_chosen.emit(paths)

    def _on_open(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, f"Open the {self.side} X-ray", filter=OPEN_FILTER)
        if paths:
            self.files_chosen.emit(paths)

    def _arrange(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(4, 4, 4, 4)
        grid.setSpacing(4)
        grid.addWidget(row(self.title, self.open, self.clear), 0, 0, 1, 2)
        grid.addWidget(self.picture, 1, 0)
        grid.addWidget(self.about, 1, 1)
        grid.addWidget(row(*self.changes.values()), 2, 0)
        grid.addWidget(row(QLabel("pixel"), self.pixel), 2, 1)
        grid.addWidget(self.layer, 3, 0, 1, 2)
        grid.setColumnStretch(1, 1)


def thumbnail(film: Radiograph, size: int = THUMBNAIL) -> QPixmap:
    """A small picture of a film, bone white, in its true proportions."""
    pixels = film.pixels
    high, wide = np.multiply(pixels.shape, film.pixel_mm or (1.0, 1.0))
    scale = size / max(high, wide)
    return QPixmap.fromImage(as_picture(pixels)).scaled(
        max(1, round(wide * scale)),
        max(1, round(high * scale)),
        Qt.AspectRatioMode.IgnoreAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )


def as_picture(values: NDArray[np.float32], limits: tuple[float, float] | None = None) -> QImage:
    """(rows, columns) as a grey picture between two limits, by default the values' own; NaN is black."""
    low, high = limits_of(values) if limits is None else limits
    share = (np.nan_to_num(values, nan=low) - low) / (high - low)
    grey = np.ascontiguousarray(np.clip(255 * share, 0, 255).astype(np.uint8))
    rows, columns = grey.shape
    return QImage(grey.data, columns, rows, columns, QImage.Format.Format_Grayscale8).copy()
