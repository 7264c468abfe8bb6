"""Each X-ray beside the re-projection of the volume and what is left of their difference. Qt only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QFont, QPainter, QPixmap
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_trifocal.xray_layers import limits_of
from napari_trifocal.xray_slot_panel import as_picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from qtpy.QtGui import QPaintEvent

    from trifocal.xray.predictor import Reprojection

GROUND, TEXT = "#101214", "#c8ccd0"
GAP, LINE = 4, 15
TITLES = ("X-ray", "re-projected", "difference")


@dataclass(frozen=True, eq=False)
class ResidualRow:
    """What is drawn of one view.

    Attributes:
        title: Name of the view and its residual.
        film: (rows, columns) line integrals.
        projected: The same through the volume.
        residual: Root mean square of the difference over that of the film.
    """

    title: str
    film: NDArray[np.float32]
    projected: NDArray[np.float32]
    residual: float

    @classmethod
    def of(cls, view: Reprojection, *, refined: bool) -> ResidualRow:
        """Before the refinement or after it."""
        residual = view.residual if refined else view.residual_before
        name = view.film.view.name
        projected = view.after if refined else view.before
        return cls(f"{name}: residual {residual:.1%}", view.film.line_integrals, projected, residual)

    @property
    def pictures(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Film, re-projection and film - re-projection."""
        return self.film, self.projected, self.film - self.projected


class ResidualPlot(QWidget):
    """A row of three pictures for each view, on the same grey scale; the difference around grey.

    Attributes:
        rows: What is drawn.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[ResidualRow] = []
        self._drawn: list[list[QPixmap]] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "Difference: grey where they agree, white where the volume attenuates too little, black too much;"
            " full scale is a quarter of the X-ray's range"
        )
        self.show_views((), refined=True)

    def show_views(self, views: Sequence[Reprojection], *, refined: bool) -> None:
        """Draw these, before the refinement or after it."""
        self.rows = [ResidualRow.of(view, refined=refined) for view in views]
        self._drawn = [_pixmaps(row) for row in self.rows]
        self._fit()
        self.setVisible(bool(self.rows))
        self.update()

    def resizeEvent(self, _: object) -> None:  # noqa: N802 - Qt's name
        """Keep the pictures square to the width."""
        self._fit()

    def paintEvent(self, _: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.fillRect(self.rect(), QColor(GROUND))
        font = QFont(self.font())
        font.setPixelSize(11)
        painter.setFont(font)
        painter.setPen(QColor(TEXT))
        side, top = self._side(), 0.0
        for number, (row, pictures) in enumerate(zip(self.rows, self._drawn, strict=True)):
            left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(QRectF(GAP, top, self.width() - GAP, LINE), left, row.title)
            top += LINE
            for place, picture in enumerate(pictures):
                box = QRectF(GAP + place * (side + GAP), top, side, side)
                painter.drawPixmap(_within(box, picture), picture, QRectF(picture.rect()))
                if number == 0:
                    painter.drawText(box.adjusted(3, 1, 0, 0), Qt.AlignmentFlag.AlignLeft, TITLES[place])
            top += side + GAP
        painter.end()

    def _side(self) -> float:
        return max(20.0, (self.width() - 4 * GAP) / 3)

    def _fit(self) -> None:
        height = len(self.rows) * (LINE + self._side() + GAP)
        if self.height() != round(height) or self.minimumHeight() != round(height):
            self.setFixedHeight(max(1, round(height)))


def _pixmaps(row: ResidualRow) -> list[QPixmap]:
    film, projected, difference = row.pictures
    limits = limits_of(film)
    quarter = (limits[1] - limits[0]) / 4
    # where the film shows nothing there is no difference
    difference = np.where(np.isfinite(difference), difference, 0)
    pairs = ((film, limits), (projected, limits), (difference, (-quarter, quarter)))
    return [QPixmap.fromImage(as_picture(values, lim)) for values, lim in pairs]


def _within(box: QRectF, picture: QPixmap) -> QRectF:
    scale = min(box.width() / picture.width(), box.height() / picture.height())
    fitted = QRectF(0, 0, picture.width() * scale, picture.height() * scale)
    fitted.moveCenter(box.center())
    return fitted
