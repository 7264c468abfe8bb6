"""How a comparison looks: a second canvas for the solver's field, the difference as a layer, a badge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.components.overlays import TextOverlay

from napari_trifocal.focus_badge import AMBER, PLAIN, Badge, name_of
from napari_trifocal.focus_pane import FocusPane
from napari_trifocal.layers import (
    CLOUD,
    DIFFERENCE,
    PINNED_CLOUD,
    PINNED_SHELL,
    SHELL,
    SLICES,
    across_beam,
    pinned_layers,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.viewer import Viewer

    from napari_trifocal.focus_compare import Compared, Comparing
    from napari_trifocal.focus_compare_panel import ComparePanel
    from napari_trifocal.focus_jobs import Answer
    from napari_trifocal.focus_scene import FocusScene

BADGE = "trifocal_badge"
FIELDS = (SLICES, CLOUD, SHELL, PINNED_CLOUD, PINNED_SHELL)  # the map of the difference takes their place


class CompareView:
    """Brings viewer and panel in step with what is compared, and the other way round.

    Args:
        viewer: Where the prediction is shown.
        scene: Its layers.
        comparing: What is compared.
        panel: The buttons.

    Attributes:
        pane: The second canvas, while the solver's field is shown.
    """

    def __init__(self, viewer: Viewer, scene: FocusScene, comparing: Comparing, panel: ComparePanel) -> None:
        self._viewer, self._scene, self._comparing, self._panel = viewer, scene, comparing, panel
        self._reference: Answer | None = None
        self._found: Compared | None = None
        self.pane: FocusPane | None = None
        comparing.changed.connect(self._on_changed)
        panel.verify.connect(comparing.verify)
        panel.pin.connect(comparing.pin)
        panel.closed.connect(comparing.close)
        panel.map_wanted.connect(self._show_map)
        panel.show_state(comparing)
        scene.put_aside(DIFFERENCE)

    @property
    def badge(self) -> str:
        """What the badge says; empty if none is shown."""
        overlay = self._viewer.canvas.overlays.get(BADGE)
        return overlay.text if overlay is not None and overlay.visible else ""

    def close(self) -> None:
        """Take everything away."""
        self._comparing.changed.disconnect(self._on_changed)
        self._show_found(None)
        self._show_reference(None)
        _write(self._viewer, "", PLAIN)

    def _on_changed(self) -> None:
        comparing = self._comparing
        self._panel.show_state(comparing)
        if comparing.reference is not self._reference:
            self._show_reference(comparing.reference)
        if comparing.found is not self._found:
            self._show_found(comparing.found)
        self._show_badge()

    def _show_reference(self, reference: Answer | None) -> None:
        self._reference = reference
        for role in (PINNED_CLOUD, PINNED_SHELL):
            self._scene.drop(role)
        truth = reference is not None and self._comparing.is_truth
        if self.pane is not None and not truth:
            self.pane.end()
            self.pane = None
        if reference is None:
            return
        if truth:
            self.pane = self.pane or FocusPane(self._viewer, self._scene)
            self.pane.show_answer(reference)
        else:
            for layer in pinned_layers(reference.prediction):
                self._scene.show(layer)

    def _show_found(self, found: Compared | None) -> None:
        self._found = found
        if found is None:
            self._scene.drop(DIFFERENCE)
        else:
            self._scene.show(found.layer)
            bar = self._scene.layer(DIFFERENCE).colorbar
            bar.position, bar.size, bar.visible = "top_left", (16, 100), True  # below the badge
        if found is not None and self.pane is not None:
            self.pane.share_scale(found.answer.prediction)
        self._show_map()

    @property
    def _maps(self) -> bool:
        return self._panel.map_button.isChecked() and self._found is not None

    def _show_map(self) -> None:
        """Show the difference alone, or the fields that differ."""
        layer = self._scene.layer(DIFFERENCE)
        if self._maps and layer is not None and self._viewer.dims.ndisplay == 3:
            toward = np.asarray(self._viewer.scene.camera.view_direction)
            layer.plane.normal = across_beam(self._found.reference.order.pose, toward)
        self._scene.put_aside(*(FIELDS if self._maps else (DIFFERENCE,)))
        self._show_badge()

    def _show_badge(self) -> None:
        comparing, reference = self._comparing, self._comparing.reference
        if reference is None:
            text, colour = "", PLAIN
        elif comparing.found is not None:
            badge = Badge.of(comparing.found)
            text, colour = badge.text + ("\ndifference in kPa:" if self._maps else ""), badge.colour
        elif not comparing.is_truth:
            text, colour = f"pinned {name_of(reference)}", PLAIN
        elif comparing.is_current:
            text, colour = "comparing", PLAIN
        else:
            text, colour = "out of date: the bowl has moved\nverify again, or undo", AMBER
        _write(self._viewer, text, colour)
        if self.pane is not None and reference is not None:
            _write(self.pane.model, f"solver (truth), {reference.prediction.seconds:.0f} s", PLAIN)


def _write(viewer: ViewerModel, text: str, colour: str) -> None:
    overlays = viewer.canvas.overlays
    if BADGE not in overlays:
        overlays[BADGE] = TextOverlay(position="top_left", font_size=11)
    overlay = overlays[BADGE]
    overlay.text, overlay.color, overlay.visible = text, colour, bool(text)
