"""What the keypoints widget shows: every control, bound to a session."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QComboBox, QLabel, QProgressBar, QPushButton, QWidget
from superqt.utils import signals_blocked

from napari_trifocal.controls import text
from napari_trifocal.group import Group
from napari_trifocal.keypoints_curve import Curve, first_name
from napari_trifocal.keypoints_edit_panel import EditPanel
from napari_trifocal.keypoints_export_panel import ExportPanel
from napari_trifocal.keypoints_plot import KeypointsPlot
from napari_trifocal.keypoints_predict_panel import PredictPanel
from napari_trifocal.keypoints_scale_panel import ScalePanel
from napari_trifocal.keypoints_source_panel import SourcePanel
from napari_trifocal.keypoints_tables import MeasurementTable, PointTable
from napari_trifocal.layers import COLOURS
from napari_trifocal.rows import column, row
from trifocal import RESEARCH_USE_ONLY

if TYPE_CHECKING:
    from napari_trifocal.keypoints_session import KeypointsSession
    from napari_trifocal.message import Message

CURVE_MS = 60  # a curve is drawn this long after a change: it takes every frame, and the mouse moves faster


class KeypointsForm(QWidget):
    """Controls and read-outs. What needs the viewer is passed on as a signal of the panels.

    Attributes:
        notice: What stands above the groups, whatever is scrolled.
        footer: What stands below them.
    """

    def __init__(self, session: KeypointsSession) -> None:
        super().__init__()
        self._session = session
        self.source, self.predict, self.edit = SourcePanel(), PredictPanel(), EditPanel()
        self.scale, self.measured, self.points = ScalePanel(), MeasurementTable(), PointTable()
        self.export = ExportPanel()
        self.plot, self.followed, self.extremes = KeypointsPlot(), QComboBox(), text()
        self.time_group = Group("Over time", self.followed, self.plot, self.extremes)
        self._later = QTimer(self, singleShot=True, interval=CURVE_MS)
        self._later.timeout.connect(self.show_curve)
        self._make_state()
        self._arrange()
        self._connect_session()
        self._connect_panels()
        self._on_session_opened()
        self._on_choice()

    def show_curve(self) -> None:
        """Plot the followed measurement of the file that is looked at."""
        session, book = self._session, self._session.book
        began = time.monotonic()
        self._later.stop()
        name = self.followed.currentText()
        clip = None if book is None else book.reel.locate(session.step)
        curve = None
        if book is not None and clip is not None and name in session.task.measurements:
            curve = Curve.of(book, session.task, clip[0], name)
        self.time_group.setVisible(curve is not None)
        self.plot.show_curve(curve)
        self.extremes.setText("" if curve is None else "\n".join(curve.said))
        self.extremes.setVisible(curve is not None and bool(curve.said))
        if clip is not None:
            self.plot.show_frame(clip[1])
        # Of a long cine less often: the window is to answer in between.
        self._later.setInterval(max(CURVE_MS, int(5e3 * (time.monotonic() - began))))

    def _on_session_opened(self) -> None:
        reel = self._session.reel
        self.predict.show_reel(reel)
        self.edit.show_reel(reel)
        self.scale.setEnabled(reel is not None)
        self._on_session_task()

    def _on_session_task(self) -> None:
        task = self._session.task
        self.source.show_task(task)
        with signals_blocked(self.followed):
            self.followed.clear()
            self.followed.addItems(list(task.measurements))
            self.followed.setCurrentText(first_name(task))
        self._on_session_step()
        self.show_curve()

    def _on_session_step(self) -> None:
        session = self._session
        self.source.show_step(session.reel, session.step)
        self._on_session_marks()
        if session.reel is not None:
            self.plot.show_frame(session.reel.locate(session.step)[1])

    def _on_session_marks(self) -> None:
        session = self._session
        marks = session.marks
        if marks is not None:
            self.points.show_marks(session.task, marks)
        self.predict.show_prediction(None if marks is None else marks.prediction, session.sheet, session.step)
        self._on_session_scale()
        self._on_modes()

    def _on_session_scale(self) -> None:
        session, book = self._session, self._session.book
        if book is None:
            self.scale.show_scale("open an image or a cine", known=True, by_hand=False)
        else:
            assert session.marks is not None
            said, known = book.scales.said(session.step, session.marks.points)
            self.scale.show_scale(said, known=known, by_hand=book.scales.by_hand)
            reason = book.scales.at(session.step, session.marks.points)[1]
            self.measured.show_measurements(session.measurements, reason)
        self._later.start()

    def _on_modes(self) -> None:
        session, modes = self._session, self._session.modes
        upcoming = session.next_to_place
        name = None if upcoming is None else session.task.points[upcoming]
        self.edit.show_state(session.sheet, session.step, modes, name)
        self.scale.show_modes(modes, several=session.reel is not None and len(session.reel.clips) > 1)
        self.points.show_chosen(upcoming if modes.mode == "place" else modes.selected)

    def _on_choice(self) -> None:
        self.predict.show_choice(self._session.predicting.engine, self._session.predicting.device)

    def _on_session_said(self, message: Message) -> None:
        self.message.setText(message.text)
        self.message.setStyleSheet(f"color: {COLOURS['uncoupled']};" if message.is_error else "")

    def _on_session_progress(self, fraction: float, what: str) -> None:
        self.bar.setValue(int(100 * fraction) if fraction < 1 else 0)
        self.bar.setFormat(what if fraction < 1 else "")
        self.cancel.setEnabled(fraction < 1)

    def _make_state(self) -> None:
        self.notice = QLabel(f"<b>{RESEARCH_USE_ONLY}</b>")
        self.notice.setWordWrap(True)
        self.notice.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.message = text()
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.message.setText("Open an ultrasound image, a cine or a folder, or choose an image layer.")
        self.bar, self.cancel = QProgressBar(), QPushButton("Cancel")
        self.cancel.setEnabled(False)

    def _arrange(self) -> None:
        layout = column(
            self,
            Group("Frames and task", self.source),
            Group("Prediction", self.predict),
            Group("Points", self.edit),
            Group("Where they are", self.points, folded=True),
            Group("Measurements", self.scale, self.measured),
            self.time_group,
            Group("Export", self.export),
        )
        layout.addStretch(1)
        self.footer = QWidget()
        column(self.footer, row(self.bar, self.cancel), self.message)

    def _connect_session(self) -> None:
        session = self._session
        session.opened.connect(self._on_session_opened)
        session.task_changed.connect(self._on_session_task)
        session.step_changed.connect(self._on_session_step)
        session.marks_changed.connect(self._on_session_marks)
        session.scale_changed.connect(self._on_session_scale)
        session.modes.changed.connect(self._on_modes)
        session.predicting.changed.connect(self._on_choice)
        session.predicting.arrived.connect(lambda _: self._later.isActive() or self._later.start())
        session.said.connect(self._on_session_said)
        session.progress.connect(self._on_session_progress)

    def _connect_panels(self) -> None:
        session, source, predict = self._session, self.source, self.predict
        edit, scale = self.edit, self.scale
        source.files_chosen.connect(session.open)
        source.task_chosen.connect(session.set_task)
        source.clip_wanted.connect(session.go_to_clip)
        predict.chosen.connect(session.predicting.choose)
        predict.tta_chosen.connect(lambda tta: session.predicting.choose(tta=tta))
        predict.wanted.connect(session.predicting.start)
        predict.review_wanted.connect(session.look_again)
        edit.placing_wanted.connect(lambda on: session.modes.choose("place" if on else "move"))
        edit.carry_wanted.connect(lambda count: session.carry(count or None))
        edit.undo.connect(session.undo)
        edit.redo.connect(session.redo)
        edit.delete.connect(session.delete)
        edit.reset.connect(session.reset)
        scale.ruler_wanted.connect(lambda on: session.modes.choose("ruler" if on else "move"))
        scale.distance_given.connect(
            lambda mm, everywhere: session.set_known_distance(mm, everywhere=everywhere)
        )
        scale.table_chosen.connect(lambda path: session.set_scale_table(Path(path)))
        scale.drop.connect(session.drop_scale)
        self.points.picked.connect(session.modes.select)
        self.followed.activated.connect(lambda _: self.show_curve())
        self.plot.picked.connect(self._on_plot_picked)
        self.cancel.clicked.connect(session.cancel)

    def _on_plot_picked(self, frame: int) -> None:
        reel = self._session.reel
        if reel is not None:
            self._session.set_step(reel.steps(reel.locate(self._session.step)[0])[frame])
