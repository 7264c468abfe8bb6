"""A second canvas beside the first: another field in the same head, seen from the same side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.components import ViewerModel
from napari.qt import QtViewer
from qtpy.QtWidgets import QFrame, QVBoxLayout

from napari_trifocal.focus_scene import FocusScene
from napari_trifocal.layers import BOWL, CT, SKULL, SLICES, slices_limits
from napari_trifocal.view_link import ViewLink
from trifocal.focus.placement import coupling_problem

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_trifocal.focus_jobs import Answer
    from trifocal.focus.predictor import FocusPrediction


class FocusPane(QFrame):
    """Takes the right half of the middle of a viewer's window, and shows an answer there.

    Args:
        viewer: What it stands beside; the two look the same way.
        scene: Has the head that the answer is shown in.

    Attributes:
        model: The second viewer.
        scene: Its layers.
        canvas: Its canvas and sliders.
    """

    def __init__(self, viewer: Viewer, scene: FocusScene) -> None:
        super().__init__()
        self._viewer, self._main = viewer, scene
        self.model = ViewerModel(ndisplay=viewer.dims.ndisplay)
        self.scene = FocusScene(self.model)
        self.canvas = QtViewer(self.model)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.canvas)
        for role in (CT, SKULL):
            layer = scene.layer(role)
            if layer is not None:
                self.scene.show(layer.as_layer_data_tuple(), role)  # shares the arrays
        self.model.dims.axis_labels = viewer.dims.axis_labels
        for name in ("axes", "scale_bar"):
            self.model.canvas.overlays[name].visible = viewer.canvas.overlays[name].visible
        self._link = ViewLink(viewer, self.model)
        self._open()

    def show_answer(self, answer: Answer) -> None:
        """Show the field of an answer, with its bowl and target."""
        order = answer.order
        self.scene.drop(BOWL)  # it may be another one
        self.scene.show_bowl(order.bowl, order.pose, coupling_problem(order.head, order.bowl, order.pose))
        for layer in answer.layers:
            self.scene.show(layer)
        self.scene.show_target(order.target_mm)

    def share_scale(self, prediction: FocusPrediction) -> None:
        """Colour the slices on the scale of the prediction's, to be compared by eye."""
        layer = self.scene.layer(SLICES)
        if layer is not None:
            layer.contrast_limits = slices_limits(prediction)

    def end(self) -> None:
        """Let go of the other viewer and give its room back."""
        self._link.close()
        self.scene.close()
        self._viewer.window._qt_window.centralWidget().layout().removeWidget(self)
        self._viewer.scene.camera.zoom /= self._zoomed
        self.canvas.close()
        self.setParent(None)
        self.deleteLater()

    def _open(self) -> None:
        # Not a dock: Qt gives docks the room that they ask for, and this one is to have half.
        row = self._viewer.window._qt_window.centralWidget().layout()
        row.setStretch(0, 1)
        row.addWidget(self, 1)
        height, width = self._viewer.canvas.size
        fit = self._main.zoom_to_fit
        self._zoomed = fit((height, width / 2)) / fit((height, width))
        self._viewer.scene.camera.zoom *= self._zoomed
