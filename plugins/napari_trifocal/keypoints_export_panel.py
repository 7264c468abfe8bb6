"""What is exported, and where to. Qt only; it knows no session."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QPushButton, QWidget

from napari_trifocal.keypoints_export import ExportPlan
from napari_trifocal.rows import column, row


class ExportPanel(QWidget):
    """Tables always; pictures and reports, which may show who the patient is, where they are asked for.

    Signals:
        folder_chosen: Where to export to.
        command_wanted: The command that does the same.
    """

    folder_chosen = Signal(str)
    command_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.predictions = QCheckBox("FU_Biometry JSON")
        self.overlays = QCheckBox("pictures, with what is burnt into the frames")
        self.overlays.setToolTip("Names and dates that are burnt into the frames are seen in the pictures")
        self.reports = QCheckBox("DICOM reports, which name the patient")
        self.reports.setToolTip("A structured report (TID 1500) in the study of each DICOM file")
        self.export, self.copy = QPushButton("Export..."), QPushButton("Copy as command")
        self.export.setToolTip("keypoints.csv, measurements.csv, provenance.json, and what is ticked")
        self.copy.setToolTip("The command that predicts the same files in the same way")
        self.export.clicked.connect(self._on_export)
        self.copy.clicked.connect(self.command_wanted)
        layout = column(self, self.predictions, self.overlays, self.reports, row(self.export, self.copy))
        layout.setContentsMargins(0, 0, 0, 0)

    @property
    def plan(self) -> ExportPlan:
        """What is ticked."""
        return ExportPlan(self.predictions.isChecked(), self.overlays.isChecked(), self.reports.isChecked())

    def _on_export(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Export to a folder")
        if folder:
            self.folder_chosen.emit(folder)
