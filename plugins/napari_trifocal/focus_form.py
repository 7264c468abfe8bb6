"""What the focus widget shows: every control, bound to a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFileDialog, QLabel, QProgressBar, QPushButton, QWidget
from superqt.utils import signals_blocked

from napari_trifocal.focus_compare_panel import ComparePanel
from napari_trifocal.focus_doubts_panel import DoubtsPanel
from napari_trifocal.focus_engine_panel import EnginePanel
from napari_trifocal.focus_panels import PlacingPanel, ReadoutPanel
from napari_trifocal.focus_poses_panel import PosesPanel
from napari_trifocal.focus_sweep_panel import SweepPanel
from napari_trifocal.group import Group
from napari_trifocal.layers import COLOURS, VIEWS
from napari_trifocal.reader import SUFFIXES
from napari_trifocal.rows import column, form, row
from trifocal import RESEARCH_USE_ONLY
from trifocal.focus.transducer import PRESETS

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_trifocal.focus_jobs import Answer
    from napari_trifocal.focus_session import FocusSession
    from napari_trifocal.message import Message

FROM_FILE = "from a JSON file..."
OPEN_FILTER = f"Head CT ({' '.join('*' + s for s in SUFFIXES)});;All files (*)"


class FocusForm(QWidget):
    """Controls and read-outs. What needs the viewer is passed on as a signal.

    Signals:
        file_chosen: Path of a CT, a file or a folder.
        layer_chosen: An image layer to take for the CT.
        view_chosen: A name of `VIEWS`.
        folder_chosen: Path of the folder to save to.
        copy: The command is wanted.

    Attributes:
        notice: What stands above the groups, whatever is scrolled.
        footer: What stands below them.
    """

    file_chosen = Signal(str)
    layer_chosen = Signal(object)
    view_chosen = Signal(str)
    folder_chosen = Signal(str)
    copy = Signal()

    def __init__(self, session: FocusSession) -> None:
        super().__init__()
        self._session = session
        self._layers: list[Layer] = []
        self.engines, self.placing = EnginePanel(), PlacingPanel()
        self.readout, self.compare = ReadoutPanel(), ComparePanel()
        self.doubts = DoubtsPanel()
        self.doubts_group = Group("Doubts", self.doubts, folded=True)
        self.poses = PosesPanel()
        self.poses_group = Group("Find a pose", self.poses, folded=True)
        self.sweep = SweepPanel()
        self.sweep_group = Group("Sweep", self.sweep, folded=True)
        self._make_head()
        self._make_state()
        self._arrange()
        self._connect()

    def show_layers(self, layers: list[Layer], chosen: Layer | None = None) -> None:
        """Offer these image layers as CTs."""
        self._layers = layers
        with signals_blocked(self.layer):
            self.layer.clear()
            self.layer.addItem("choose an image layer")
            self.layer.addItems([layer.name for layer in layers])
            self.layer.setCurrentIndex(layers.index(chosen) + 1 if chosen in layers else 0)

    def show_placing(self) -> None:
        """Bring the fields and the coupling up to date."""
        session = self._session
        history = session.history
        self.placing.show_placing(session.placing, can_undo=history.can_undo, can_redo=history.can_redo)
        self._show_coupling(session.coupling)

    def _on_session_bowl_changed(self) -> None:
        bowl, name = self._session.bowl, self._session.bowl_name
        with signals_blocked(self.bowl):
            if self.bowl.findText(name) < 0:
                self.bowl.insertItem(self.bowl.count() - 1, name)
            self.bowl.setCurrentText(name)
        self.bowl_text.setText(
            f"radius {bowl.radius_of_curvature_mm:g} mm, aperture {bowl.aperture_mm:g} mm, "
            f"{bowl.frequency_hz / 1e3:g} kHz"
        )

    def _on_session_choice(self) -> None:
        self.engines.show_choice(self._session.choice)

    def _on_session_predicted(self, answer: Answer) -> None:
        self.readout.show_prediction(answer.prediction, preview=answer.order.preview)
        if not answer.order.preview:
            self.engines.show_prediction(answer.prediction, self._session.coupling)

    def _on_session_said(self, message: Message) -> None:
        self.message.setText(message.text)
        self.message.setStyleSheet(f"color: {COLOURS['uncoupled']};" if message.is_error else "")

    def _on_session_progress(self, fraction: float, what: str) -> None:
        if self._session.dragging:
            return  # twenty repaints a second for jobs of a tenth of a second
        self.bar.setValue(int(100 * fraction) if fraction < 1 else 0)
        self.bar.setFormat(what if fraction < 1 else "")
        self.cancel.setEnabled(fraction < 1)

    def _on_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a head CT", filter=OPEN_FILTER)
        if path:
            self.file_chosen.emit(path)

    def _on_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open a DICOM folder")
        if path:
            self.file_chosen.emit(path)

    def _on_save(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Save to a folder")
        if folder:
            self.folder_chosen.emit(folder)

    def _on_bowl_activated(self) -> None:
        name = self.bowl.currentText()
        if name == FROM_FILE:
            name, _ = QFileDialog.getOpenFileName(self, "Open a bowl", filter="Bowl (*.json)")
        if not name or not self._session.set_bowl(name):
            self._on_session_bowl_changed()

    def _show_coupling(self, problem: str | None) -> None:
        self.coupling.setText("coupled" if problem is None else problem)
        self.coupling.setStyleSheet(
            "" if problem is None else f"color: {COLOURS['uncoupled']}; font-weight: bold;"
        )

    def _make_head(self) -> None:
        self.layer = QComboBox()
        self.layer.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.layer.activated.connect(lambda i: i and self.layer_chosen.emit(self._layers[i - 1]))
        self.file, self.folder = QPushButton("Open file..."), QPushButton("Open folder...")
        self.file.clicked.connect(self._on_file)
        self.folder.clicked.connect(self._on_folder)
        self.resample = QCheckBox("resample a tilted or uneven series")
        self.bowl = QComboBox()
        self.bowl.addItems([*PRESETS, FROM_FILE])
        self.bowl.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.bowl.activated.connect(self._on_bowl_activated)
        self.bowl_text = _text()

    def _make_state(self) -> None:
        self.notice = QLabel(f"<b>{RESEARCH_USE_ONLY}</b>")
        self.notice.setWordWrap(True)
        self.notice.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.coupling, self.message = _text(), _text()
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.message.setText("Open a head CT, or choose an image layer.")
        self.bar = QProgressBar()
        self.cancel = QPushButton("Cancel")
        self.cancel.setEnabled(False)
        self.views = [QPushButton(name) for name in VIEWS]
        for button, name in zip(self.views, VIEWS, strict=True):
            button.clicked.connect(lambda _, name=name: self.view_chosen.emit(name))
        self.save_button, self.copy_button = QPushButton("Save..."), QPushButton("Copy as command")
        self.save_button.clicked.connect(self._on_save)
        self.copy_button.clicked.connect(self.copy)

    def _arrange(self) -> None:
        controls = QWidget()
        rows = form(controls)
        rows.addRow("CT", self.layer)
        rows.addRow("", row(self.file, self.folder))
        rows.addRow("", self.resample)
        rows.addRow("bowl", self.bowl)
        rows.addRow("", self.bowl_text)
        rows.addRow("engine", self.engines)
        rows.addRow(self.engines.doubts)
        layout = column(
            self,
            Group("Head, bowl, engine", controls),
            Group("Placement: drag the bowl, tilt it with Shift", self.placing, self.coupling),
            Group("Focus", self.readout),
            self.doubts_group,
            self.poses_group,
            Group("Compare", self.compare),
            self.sweep_group,
        )
        layout.addStretch(1)
        self.footer = QWidget()
        column(
            self.footer,
            row(*self.views),
            row(self.save_button, self.copy_button),
            row(self.bar, self.cancel),
            self.message,
        )

    def _connect(self) -> None:
        session, placing = self._session, self.placing
        session.bowl_changed.connect(self._on_session_bowl_changed)
        session.predicted.connect(self._on_session_predicted)
        session.said.connect(self._on_session_said)
        session.progress.connect(self._on_session_progress)
        self.cancel.clicked.connect(session.cancel)
        session.choice.changed.connect(self._on_session_choice)
        self.engines.chosen.connect(session.set_engine)
        placing.axis_chosen.connect(session.set_axis)
        placing.standoff_chosen.connect(session.set_standoff)
        placing.pose_typed.connect(session.set_pose)
        placing.target_typed.connect(self._on_target_typed)
        placing.undo.connect(session.undo)
        placing.redo.connect(session.redo)
        self._on_session_bowl_changed()
        self._on_session_choice()

    def _on_target_typed(self, target_mm: object) -> None:
        if not self._session.set_target(target_mm):
            self.show_placing()  # the fields go back to the target that holds


def _text() -> QLabel:
    label = QLabel("")
    label.setWordWrap(True)
    return label
