"""The X-ray widget: two X-rays in, a CT with its doubts out."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image as Picture
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QApplication, QScrollArea, QVBoxLayout, QWidget

from napari_trifocal.interface import Interface
from napari_trifocal.keypoints_layers import REEL
from napari_trifocal.layers import to_layers
from napari_trifocal.settings import default_device
from napari_trifocal.turns import Turns
from napari_trifocal.writer import layer_image
from napari_trifocal.xray_engines import load_engine
from napari_trifocal.xray_export import save
from napari_trifocal.xray_form import XrayForm
from napari_trifocal.xray_layers import ERROR, RADIOGRAPH, RECONSTRUCTION, STD
from napari_trifocal.xray_result_panel import MAPS, REFINED_KEY, WINDOW_KEYS
from napari_trifocal.xray_scene import ONLY_3D, TRUTH, XrayScene
from napari_trifocal.xray_session import XraySession
from napari_trifocal.xray_slot import SIDES, Slot, radiograph_of
from trifocal.image import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari.layers import Layer
    from napari.viewer import Viewer

    from napari_trifocal.xray_jobs import Answer, Simulation
    from napari_trifocal.xray_slot import Side
    from trifocal.image import Image
    from trifocal.radiograph import Radiograph

KEYS = (*WINDOW_KEYS.values(), REFINED_KEY)


class XrayWidget(QWidget):
    """Dock widget of a napari viewer.

    Args:
        napari_viewer: The viewer that it belongs to.

    Attributes:
        session: X-rays, geometry, reconstruction; without Qt.
        scene: The layers.
        form: The controls.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        self._docked = self._released = False
        super().__init__()
        self._viewer = napari_viewer
        interface = Interface()
        self.session = XraySession(interface.call.emit, default_device(), load_engine)
        self.scene = XrayScene(napari_viewer)
        self.form = XrayForm(self.session)
        self._turns = Turns(self)
        self._simulated_from: Layer | None = None
        self._arrange()
        self._connect()
        self._bind_keys()
        session = self.session
        # `interface` is named to be kept: the threads post through it until they have ended
        self.destroyed.connect(lambda *_, kept=interface: session.close())
        self._on_viewer_layers()
        for layer in [layer for layer in napari_viewer.layers if RADIOGRAPH in layer.metadata]:
            self._adopt(layer)

    def load(
        self, source: str | Path | Radiograph | Layer | Iterable[str | Path], side: Side | None = None
    ) -> None:
        """Put X-rays into the slots: files, a radiograph, or a flat image layer of the viewer.

        Files take a while; see `wait`.
        """
        if isinstance(source, str | Path):
            self.session.open([source], side)
        elif isinstance(source, Picture):
            self._load_layer(source, side)
        elif hasattr(source, "pixels"):
            self.session.place(Slot(source), side)
        else:
            self.session.open(source, side)

    def simulate(self, layer: Layer, *, then_reconstruct: bool = False) -> None:
        """Project a CT layer into both slots. Returns at once; see `wait`."""
        ct = self._ct_of(layer)
        if ct is not None:
            self._simulated_from = layer
            self.session.simulate(ct, layer.name, then_reconstruct=then_reconstruct)

    def set_view(self, name: str) -> None:
        """Choose "3-D", "axial", "coronal" or "sagittal"."""
        self.scene.look(name)

    def save(self, folder: str | Path) -> None:
        """Write volumes, films, figures and provenance to a folder. Returns at once; see `wait`."""
        session = self.session
        if session.answer is None:
            session.say("reconstruct first: there is nothing to save", is_error=True)
            return
        work = partial(save, session.answer, session.truth, session.comparison, Path(folder))
        session.run_saving(work, lambda path: session.say(f"saved to {path}"))

    def wait(self, timeout: float = 60.0) -> bool:
        """Let the window live until nothing is being computed any more; False if that takes too long."""
        end = time.monotonic() + timeout
        while self.session.busy or self._turns.waiting:
            if time.monotonic() > end:
                return False
            QApplication.processEvents()
            time.sleep(0.002)  # a loop without it would keep the interpreter's lock from the threads
        return True

    def closeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Stop the threads and let go of the viewer."""
        self._release()
        super().closeEvent(event)

    def event(self, event: QEvent) -> bool:
        """Also let go when napari takes the widget out of its dock: it is never docked again."""
        if event.type() == QEvent.Type.ParentChange:
            was_docked, self._docked = self._docked, self.parent() is not None
            if was_docked and not self._docked:
                self._release()
        return bool(super().event(event))

    def _release(self) -> None:
        if self._released:
            return
        self._released = True
        self._turns.clear()
        self.session.close()
        self.scene.close()
        self._viewer.layers.events.inserted.disconnect(self._on_viewer_inserted)
        self._viewer.layers.events.removed.disconnect(self._on_viewer_layers)
        for key in KEYS:
            self._viewer.bind_key(key, None, overwrite=True)

    def _load_layer(self, layer: Picture, side: Side | None) -> None:
        found = layer.metadata.get(RADIOGRAPH)
        try:
            if found is None:
                known = all(str(unit) == "millimeter" for unit in layer.units) and layer.ndim == 2
                pixel = tuple(float(s) for s in layer.scale) if known else None
                found = radiograph_of(layer.data, layer.name, pixel_mm=pixel, rgb=layer.rgb)
        except ImageError as error:
            self.session.refuse(error)
            return
        layer.visible = False
        self.session.place(Slot(found), side)

    def _ct_of(self, layer: Layer) -> Image | None:
        try:
            return layer_image(layer.data, layer.as_layer_data_tuple()[1])
        except ImageError as error:
            self.session.refuse(error)
            return None

    def _on_simulated(self, simulation: Simulation) -> None:
        layer, self._simulated_from = self._simulated_from, None
        self.scene.drop_results()
        self._take_box(simulation.arrangement.resolved.geometry.grid)
        old = self.scene.layer(TRUTH)
        if layer is not None and layer in self._viewer.layers:
            self.scene.adopt(TRUTH, layer)
        else:
            if old is not None:
                self.scene.drop(TRUTH)
            self.scene.show(to_layers(simulation.ct, name=simulation.name)[0], TRUTH)
        self.scene.set_window(self.scene.window)
        self._on_viewer_layers()
        self.set_view("coronal")

    def _take_box(self, grid: Any) -> None:
        self.scene.set_box(grid.low_mm, grid.low_mm + grid.extent_mm)

    def _on_predicted(self, answer: Answer) -> None:
        there = {look["name"] for _, look, _ in answer.scene}
        self.form.result.maps[STD].setEnabled(STD in there)
        first = self.scene.layer(RECONSTRUCTION) is None
        self._take_box(answer.prepared.inputs.grid)
        shown = answer.after if self.session.refined else answer.before
        layers = [*shown[:1], *answer.scene, *shown[1:]]
        # napari takes up to half a second to add a layer: one in each turn.
        self._turns.clear()
        self._turns.add(
            lambda: self.scene.keep({look["name"] for _, look, _ in layers}, (RECONSTRUCTION, STD, *ONLY_3D)),
            *(partial(self.scene.show, layer) for layer in layers),
            self._on_viewer_layers,
            *([lambda: self.set_view("3-D")] if first else []),
        )

    def _on_refined(self) -> None:
        answer = self.session.answer
        if answer is None:
            return
        layers = answer.after if self.session.refined else answer.before
        surfaces = {look["name"] for _, look, _ in layers}
        self._turns.add(
            *(partial(self.scene.show, layer) for layer in layers),
            lambda: self.scene.keep(
                surfaces, [look["name"] for _, look, _ in (*answer.after, *answer.before)]
            ),
        )
        self._on_compared()

    def _on_compared(self) -> None:
        found = self.session.comparison
        if found is None:
            self.scene.drop(ERROR)
        else:
            self.scene.show(found.after if self.session.refined else found.before)
        self.form.result.maps[ERROR].setEnabled(found is not None)
        self._on_viewer_layers()

    def _on_truth_chosen(self, layer: Layer | None) -> None:
        if layer is None:
            self.session.set_truth(None)
            return
        ct = self._ct_of(layer)
        if ct is not None:
            self.session.set_truth(ct, layer.name)

    def _on_viewer_inserted(self, event: Any) -> None:
        self._on_viewer_layers()
        if RADIOGRAPH in event.value.metadata:
            # Later: layers cannot be changed while one is being added.
            QTimer.singleShot(0, lambda: self._adopt(event.value))

    def _adopt(self, layer: Layer) -> None:
        """Work on an X-ray that was dropped on the viewer; flat, it has no place among volumes."""
        if layer in self._viewer.layers and not self._released:
            path = layer.source.path
            folder = None if path is None else Path(path).absolute().parent
            self.session.place(Slot(layer.metadata[RADIOGRAPH], folder=folder))
            self._viewer.layers.remove(layer)

    def _on_viewer_layers(self, _: object = None) -> None:
        own = [layer for role, layer in self.scene.layers.items() if role != TRUTH]
        layers = [x for x in self._viewer.layers if isinstance(x, Picture) and x not in own]
        layers = [x for x in layers if REEL not in x.metadata and not x.multiscale]
        flat = [x for x in layers if x.ndim == 2]
        volumes = [x for x in layers if x.ndim == 3 and not x.rgb]
        for panel in self.form.slots.values():
            panel.show_layers(flat)
        self.form.simulate.show_layers(volumes)
        truth = self.session.truth
        chosen = [x for x in volumes if truth is not None and x.name == truth.name]
        self.form.result.show_layers(volumes, chosen[0] if chosen else None)

    def _act(self, act: Callable[[], object]) -> None:
        if self.scene.viewer is self._viewer:  # else it is another widget's turn
            act()

    def _connect(self) -> None:
        session, viewer, form = self.session, self._viewer, self.form
        session.simulated.connect(self._on_simulated)
        session.predicted.connect(self._on_predicted)
        session.refined_changed.connect(self._on_refined)
        session.compared.connect(self._on_compared)
        viewer.layers.events.inserted.connect(self._on_viewer_inserted)
        viewer.layers.events.removed.connect(self._on_viewer_layers)
        for side in SIDES:
            form.slots[side].layer_chosen.connect(lambda layer, side=side: self._load_layer(layer, side))
        form.simulate.wanted.connect(self.simulate)
        form.result.window_wanted.connect(self.scene.set_window)
        form.result.map_wanted.connect(lambda role, on: self.scene.reveal(role, visible=on))
        form.result.truth_chosen.connect(self._on_truth_chosen)
        form.view_chosen.connect(self.set_view)
        form.folder_chosen.connect(self.save)
        for role in MAPS:
            form.result.show_map(role, False)

    def _bind_keys(self) -> None:
        acts = {key: partial(self.scene.set_window, name) for name, key in WINDOW_KEYS.items()}
        acts[REFINED_KEY] = lambda: self.form.result.refined.isEnabled() and self.form.result.refined.toggle()
        for key, act in acts.items():
            self._viewer.bind_key(key, lambda _, act=act: self._act(act), overwrite=True)

    def _arrange(self) -> None:
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(self.form)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.form.notice, self.form.doubt, area, self.form.footer):
            layout.addWidget(part)
        self.setMinimumWidth(self.form.widest + 24)
