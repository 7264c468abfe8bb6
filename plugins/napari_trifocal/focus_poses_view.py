"""Binds the search for a pose to its panel and to the scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_trifocal.focus_poses import PoseFinding
from napari_trifocal.layers import SCALP, scalp_layer

if TYPE_CHECKING:
    from napari_trifocal.focus_form import FocusForm
    from napari_trifocal.focus_scene import FocusScene
    from napari_trifocal.focus_session import FocusSession
    from napari_trifocal.worker import Post
    from trifocal.focus.pose_search import PoseLimits


class PosesView(QObject):
    """Shows what the search finds: rows of the panel, and the map of the scalp in the scene.

    Args:
        session: Head, bowl, target.
        scene: The layers.
        form: Holds the panel.
        post: Runs a function on the interface thread, later.

    Attributes:
        finding: The search; without Qt.
    """

    def __init__(self, session: FocusSession, scene: FocusScene, form: FocusForm, post: Post) -> None:
        super().__init__(form)
        self._scene, self._panel = scene, form.poses
        self.finding = PoseFinding(session, post)
        self._wants_map = False
        self._shown: object = None
        self.finding.changed.connect(self._on_finding_changed)
        self.finding.progress.connect(self._panel.show_progress)
        self._panel.find.connect(self.finding.find)
        self._panel.cancel.connect(self._on_panel_cancel)
        self._panel.flown.connect(self.finding.fly)
        self._panel.scalp.connect(self._on_panel_scalp)

    @property
    def busy(self) -> bool:
        """Whether a thread is at work."""
        return self.finding.busy

    def close(self) -> None:
        """Stop."""
        self.finding.end()

    def _on_finding_changed(self) -> None:
        finding = self.finding
        self._panel.show_found(finding.found, running=finding.running)
        scalp = finding.scalp if self._wants_map else None
        if scalp is not self._shown:
            self._shown = scalp
            self._scene.drop(SCALP)
            if scalp is not None:
                self._scene.show(scalp_layer(scalp))
        if self._wants_map and scalp is None and not finding.running:  # another target: it is out of date
            self._wants_map = False
            self._panel.show_map(shown=False)

    def _on_panel_scalp(self, wanted: bool, limits: PoseLimits) -> None:
        self._wants_map = wanted
        if wanted and self.finding.scalp is None:
            self.finding.map_scalp(limits)
        else:
            self._on_finding_changed()

    def _on_panel_cancel(self) -> None:
        self.finding.cancel()
