"""Placing points by hand, taking them away and taking back. Qt only; it knows no session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QSpinBox, QWidget
from superqt.utils import signals_blocked

from napari_trifocal.controls import button, text
from napari_trifocal.rows import column, row

if TYPE_CHECKING:
    from napari_trifocal.keypoints_modes import Modes
    from napari_trifocal.keypoints_sheet import Sheet
    from napari_trifocal.reel import Reel


class EditPanel(QWidget):
    """Placing, taking away and taking back.

    Signals:
        placing_wanted: Whether clicks place points.
        carry_wanted: How many frames the edits are to be carried to; 0 for all that follow.
    """

    placing_wanted = Signal(bool)
    carry_wanted = Signal(int)
    undo = Signal()
    redo = Signal()
    delete = Signal()
    reset = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.place = QPushButton("Place by clicking")
        self.place.setCheckable(True)
        self.place.toggled.connect(self.placing_wanted)
        self.next = text()
        self.undo_button = button("Undo", "Take back the newest edit (Ctrl+Z)", self.undo.emit)
        self.redo_button = button("Redo", "Do again what was taken back (Ctrl+Shift+Z)", self.redo.emit)
        self.delete_button = button(
            "Delete", "Take the chosen point away: missing (Delete)", self.delete.emit
        )
        self.reset_button = button("Reset", "Drop the edits of this frame", self.reset.emit)
        self.count = QSpinBox()
        self.count.setRange(0, 100_000)
        self.count.setSpecialValueText("all that follow")
        self.count.setSuffix(" frames")
        self.carry = QPushButton("Carry edits to")
        self.carry.setToolTip(
            "Carry this frame's edits to the next frames of the file: by as much as a point was moved\n"
            "where they have a prediction, else to the same place. Points that were edited there stay."
        )
        self.carry.clicked.connect(lambda: self.carry_wanted.emit(self.count.value()))
        self._carrying = row(self.carry, self.count)
        column(
            self,
            row(self.place, self.undo_button, self.redo_button),
            self.next,
            row(self.delete_button, self.reset_button),
            self._carrying,
        ).setContentsMargins(0, 0, 0, 0)

    def show_state(self, sheet: Sheet | None, step: int, modes: Modes, upcoming: str | None) -> None:
        """Bring the buttons up to date.

        Args:
            sheet: Points of all frames.
            step: The frame that is looked at.
            modes: What a click does.
            upcoming: Name of the point that a click would place; None if none is missing.
        """
        edited = sheet is not None and bool(sheet[step].edited.any())
        self.setEnabled(sheet is not None)
        self.undo_button.setEnabled(sheet is not None and sheet.can_undo)
        self.redo_button.setEnabled(sheet is not None and sheet.can_redo)
        self.delete_button.setEnabled(modes.selected is not None)
        self.reset_button.setEnabled(edited)
        self.carry.setEnabled(edited)
        with signals_blocked(self.place):
            self.place.setChecked(modes.mode == "place")
        placing = "all points are placed" if upcoming is None else f"click on the image: {upcoming}"
        self.next.setText(
            placing if modes.mode == "place" else "drag a point on the image; Delete takes it away"
        )

    def show_reel(self, reel: Reel | None) -> None:
        """Offer to carry edits where there are frames to carry them to."""
        self._carrying.setVisible(reel is not None and any(clip.count > 1 for clip in reel.clips))
