"""Which frames and which task. Qt only; it knows no session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QLabel, QPushButton, QSizePolicy, QWidget
from superqt import QElidingLabel
from superqt.utils import signals_blocked

from napari_trifocal.controls import arrow, combo
from napari_trifocal.reel import DICOM, PICTURES
from napari_trifocal.rows import form, row
from trifocal.keypoints.tasks import TASKS

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_trifocal.reel import Reel
    from trifocal.keypoints.tasks import Task

OPEN_FILTER = f"Ultrasound ({' '.join('*' + s for s in PICTURES + DICOM)});;All files (*)"


class SourcePanel(QWidget):
    """Which frames, and which task.

    Signals:
        files_chosen: Paths of files, or of one folder.
        layer_chosen: An image layer to work on.
        task_chosen: Id of a task.
        clip_wanted: -1 for the file before, 1 for the next.
    """

    files_chosen = Signal(list)
    layer_chosen = Signal(object)
    task_chosen = Signal(str)
    clip_wanted = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._layers: list[Layer] = []
        self.layer = combo()
        self.layer.activated.connect(lambda i: i and self.layer_chosen.emit(self._layers[i - 1]))
        self.files, self.folder = QPushButton("Open files..."), QPushButton("Open folder...")
        self.files.clicked.connect(self._on_files)
        self.folder.clicked.connect(self._on_folder)
        self.task = combo()
        for task in TASKS.values():
            self.task.addItem(f"{task.id}: {task.title}", task.id)
            tip = f"{task.anatomy}, {task.modality}: {task.count} points\n{task.source}"
            self.task.setItemData(self.task.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.task.activated.connect(lambda _: self.task_chosen.emit(self.task.currentData()))
        self.before = arrow(Qt.ArrowType.LeftArrow, "The file before")
        self.after = arrow(Qt.ArrowType.RightArrow, "The next file")
        self.before.clicked.connect(lambda: self.clip_wanted.emit(-1))
        self.after.clicked.connect(lambda: self.clip_wanted.emit(1))
        self.file, self.frame = QElidingLabel(), QLabel()
        self.file.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.file.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.frame.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        rows = form(self)
        rows.addRow("frames", row(self.files, self.folder))
        rows.addRow("or layer", self.layer)
        rows.addRow("task", self.task)
        rows.addRow(row(self.before, self.after, self.file, self.frame))

    def show_layers(self, layers: list[Layer]) -> None:
        """Offer these image layers."""
        self._layers = layers
        with signals_blocked(self.layer):
            self.layer.clear()
            self.layer.addItem("choose an image layer")
            self.layer.addItems([layer.name for layer in layers])

    def show_task(self, task: Task) -> None:
        """Show which task is chosen."""
        with signals_blocked(self.task):
            self.task.setCurrentIndex(self.task.findData(task.id))

    def show_step(self, reel: Reel | None, step: int) -> None:
        """Say which frame of which file is looked at."""
        if reel is None:
            return
        clip, frame = reel.locate(step)
        found = reel.clips[clip]
        several, count = len(reel.clips) > 1, len(reel.clips)
        self.before.setVisible(several)
        self.after.setVisible(several)
        self.before.setEnabled(clip > 0)
        self.after.setEnabled(clip < count - 1)
        self.file.setText(f"{clip + 1} of {count}: {found.name}" if several else found.name)
        self.file.setToolTip(found.name)
        # Counted from 0, as napari's slider and the tables do.
        self.frame.setText(f"frame {frame} / {found.count - 1}" if found.count > 1 else "")

    def _on_files(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, "Open ultrasound", filter=OPEN_FILTER)
        if paths:
            self.files_chosen.emit(paths)

    def _on_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open a folder of ultrasound")
        if path:
            self.files_chosen.emit([path])
