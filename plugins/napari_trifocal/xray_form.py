"""What the X-ray widget shows: every control, bound to a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QLabel, QProgressBar, QPushButton, QWidget

from napari_trifocal.controls import text
from napari_trifocal.group import Group
from napari_trifocal.layers import COLOURS
from napari_trifocal.rows import column, row
from napari_trifocal.xray_compare import TITLES as SCORE_TITLES
from napari_trifocal.xray_geometry_panel import GeometryPanel
from napari_trifocal.xray_layers import XRAY_VIEWS
from napari_trifocal.xray_offers_panel import OffersPanel
from napari_trifocal.xray_result_panel import ResultPanel
from napari_trifocal.xray_run_panel import RunPanel, SimulatePanel
from napari_trifocal.xray_slot import FRONTAL, LATERAL, SIDES
from napari_trifocal.xray_slot_panel import SlotPanel
from trifocal import RESEARCH_USE_ONLY

if TYPE_CHECKING:
    from napari_trifocal.message import Message
    from napari_trifocal.xray_jobs import Answer
    from napari_trifocal.xray_session import XraySession
    from napari_trifocal.xray_slot import Side

TITLES = {FRONTAL: "AP or PA", LATERAL: "Lateral"}


class XrayForm(QWidget):
    """Controls and read-outs. What needs the viewer is passed on as a signal of the panels.

    Signals:
        view_chosen: A name of `XRAY_VIEWS`.
        folder_chosen: Path of the folder to save to.

    Attributes:
        notice: What stands above the groups, whatever is scrolled.
        doubt: What a result must not be read without; also above.
        footer: What stands below them.
        widest: Pixels across that everything needs.
    """

    view_chosen = Signal(str)
    folder_chosen = Signal(str)

    def __init__(self, session: XraySession) -> None:
        super().__init__()
        self._session = session
        self.slots: dict[Side, SlotPanel] = {side: SlotPanel(side, TITLES[side]) for side in SIDES}
        self.offers, self.geometry = OffersPanel(), GeometryPanel()
        self.run, self.simulate, self.result = RunPanel(), SimulatePanel(), ResultPanel()
        self.result_group = Group("Result", self.result)
        self._make_state()
        self._arrange()
        self._connect_session()
        self._connect_panels()
        self._on_arranged()
        self._on_checked()
        self._on_options()
        self.layout().activate()
        self.widest = self.minimumSizeHint().width()  # with everything shown: the panel is not to grow later
        self.show_answer(None)

    def show_answer(self, answer: Answer | None) -> None:
        """Show what a reconstruction doubts, and the X-rays beside their re-projections."""
        self.result_group.setVisible(answer is not None)
        self._show_doubt()
        if answer is None:
            return
        prediction = answer.prediction
        ct = prediction.ct
        grid = f"{' x '.join(map(str, ct.shape))} voxels of {ct.spacing_mm[0]:.2f} mm"
        self.result.about.setText(f"{grid}, by {prediction.engine} in {prediction.seconds:.1f} s")
        self._on_refined()

    def _show_doubt(self) -> None:
        session = self._session
        doubts = [] if session.answer is None else list(session.answer.doubts)
        if session.stale:
            doubts.insert(0, "the result is of other X-rays or another geometry: reconstruct again")
        self.doubt.setText("\n".join(doubts))
        self.doubt.setVisible(bool(doubts))

    def _on_typed(self, side: Side, name: str, value: object) -> None:
        session = self._session
        session.take(lambda: session.arrangement.typed(side, name, value))

    def _on_slots(self) -> None:
        resolved = self._session.arrangement.resolved
        for side, panel in self.slots.items():
            view, assumed = resolved.view(side), resolved.assumed(side, "pixel_mm")
            slot = self._session.slots.get(side)
            pixel = None
            if slot is not None and view is not None:
                pixel = view.pixel_mm[1] * view.shape[1] / slot.shape().pixels.shape[1]
            panel.show_slot(slot, pixel, "" if assumed is None else assumed.why)
        self.exchange.setEnabled(bool(self._session.slots))

    def _on_arranged(self) -> None:
        arrangement = self._session.arrangement
        self._on_slots()
        exact = arrangement.setup.given is not None and not arrangement.resolved.assumptions
        self.geometry.show_geometry(arrangement.resolved, exact=exact)
        self._show_doubt()

    def _on_checked(self) -> None:
        found = self._session.found
        self.offers.show_offers(
            () if found is None else found.offers, () if found is None else found.findings
        )
        self.geometry.show_doubts(() if found is None else found.doubts)

    def _on_options(self) -> None:
        self.run.show_options(self._session.options)

    def _on_refined(self) -> None:
        session = self._session
        if session.answer is not None:
            self.result.show_refined(session.refined, possible=session.answer.refined)
            self.result.plot.show_views(session.answer.prediction.views, refined=session.refined)

    def _on_compared(self) -> None:
        found = self._session.comparison
        if found is None:
            self.result.show_scores("", (), ())
        else:
            self.result.show_scores(found.about, SCORE_TITLES, found.rows)

    def _on_said(self, message: Message) -> None:
        self.message.setText(message.text)
        self.message.setStyleSheet(f"color: {COLOURS['uncoupled']};" if message.is_error else "")

    def _on_progress(self, fraction: float, what: str) -> None:
        self.bar.setValue(int(100 * fraction) if fraction < 1 else 0)
        self.bar.setFormat(what if fraction < 1 else "")
        self.cancel.setEnabled(fraction < 1)

    def _on_save(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Save to a folder")
        if folder:
            self.folder_chosen.emit(folder)

    def _make_state(self) -> None:
        self.notice = QLabel(f"<b>{RESEARCH_USE_ONLY}</b>")
        self.notice.setWordWrap(True)
        self.notice.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.doubt, self.message = text(), text()
        self.doubt.setStyleSheet(f"color: {COLOURS['uncoupled']}; padding: 0 6px;")
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.message.setText("Open one or two X-rays, or simulate them from a CT.")
        self.bar, self.cancel = QProgressBar(), QPushButton("Cancel")
        self.cancel.setEnabled(False)
        self.views = {name: QPushButton(name) for name in XRAY_VIEWS}
        for name, button in self.views.items():
            button.setToolTip("Slices as the films are seen: the patient's right on the left, or facing left")
            button.clicked.connect(lambda _, name=name: self.view_chosen.emit(name))
        self.save = QPushButton("Save...")
        self.save.setToolTip(
            "CT, uncertainty and null space as NIfTI, films, panel, summary.json, provenance"
        )
        self.save.clicked.connect(self._on_save)
        self.exchange = QPushButton("Exchange the two")
        self.exchange.setToolTip("The frontal X-ray becomes the lateral one and the other way round")

    def _arrange(self) -> None:
        layout = column(
            self,
            Group("X-rays", *self.slots.values(), self.exchange, self.offers),
            Group("From a CT", self.simulate),
            Group("Geometry", self.geometry, folded=False),
            Group("Reconstruction", self.run),
            self.result_group,
        )
        layout.addStretch(1)
        self.footer = QWidget()
        column(self.footer, row(*self.views.values()), self.save, row(self.bar, self.cancel), self.message)

    def _connect_session(self) -> None:
        session = self._session
        session.arranged.connect(self._on_arranged)
        session.checked.connect(self._on_checked)
        session.options_changed.connect(self._on_options)
        session.predicted.connect(self.show_answer)
        session.refined_changed.connect(self._on_refined)
        session.compared.connect(self._on_compared)
        session.said.connect(self._on_said)
        session.progress.connect(self._on_progress)

    def _connect_panels(self) -> None:
        session = self._session
        for side, panel in self.slots.items():
            panel.files_chosen.connect(
                lambda paths, side=side: session.open(paths, side if len(paths) == 1 else None)
            )
            panel.cleared.connect(lambda side=side: session.clear(side))
            panel.change_wanted.connect(lambda what, side=side: session.change(side, what))
            panel.pixel_typed.connect(lambda mm, side=side: self._on_typed(side, "pixel_mm", mm or None))
        self.exchange.clicked.connect(session.exchange)
        self.offers.accepted.connect(session.accept)
        take = session.take
        self.geometry.typed.connect(self._on_typed)
        self.geometry.extent_typed.connect(lambda mm: take(lambda: session.arrangement.boxed(mm)))
        self.geometry.energy_typed.connect(lambda kev: take(lambda: session.arrangement.with_energy(kev)))
        self.run.chosen.connect(lambda options: session.choose(**options))
        self.run.wanted.connect(session.reconstruct)
        self.simulate.story.connect(session.tell_story)
        self.result.refined_wanted.connect(session.show_refined)
        self.cancel.clicked.connect(session.cancel)
