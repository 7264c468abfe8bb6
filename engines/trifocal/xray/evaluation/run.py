"""Projects CTs, reconstructs them by every engine, and judges the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from trifocal.predictor import one_core, silent
from trifocal.xray import baselines
from trifocal.xray.attenuation import mu_water
from trifocal.xray.evaluation import BASELINES, ORACLE, Case, Evaluation, EvaluationPlan, Row
from trifocal.xray.evaluation.engines import names_of, parameters, toggles
from trifocal.xray.evaluation.reliability import Reliability
from trifocal.xray.film import Film
from trifocal.xray.films.exposure import expose
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import average_onto
from trifocal.xray.metrics import score
from trifocal.xray.planning import project_ct, upright_ct, without_padding
from trifocal.xray.predictor import LEAST_SQUARES, XrayInput, XrayPredictor
from trifocal.xray.projection import Projectors
from trifocal.xray.regions import body_mask
from trifocal.xray.sirt import residual

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from trifocal.image import Image
    from trifocal.predictor import Progress
    from trifocal.xray.evaluation.sources import Source
    from trifocal.xray.geometry import Geometry
    from trifocal.xray.grid import Grid
    from trifocal.xray.predictor import XrayPrediction

    Seen = Callable[[Case, XrayPrediction, Image], None]
    Maker = Callable[[Projectors, Sequence[Tensor]], Tensor]

_MAKERS: dict[str, Maker] = dict(
    zip(BASELINES, (baselines.constant, baselines.visual_hull, baselines.least_squares), strict=True)
)


def evaluate(
    sources: Sequence[Source],
    plan: EvaluationPlan,
    *,
    seen: Seen | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Project each CT at its own resolution, reconstruct it by every engine, and compare.

    Args:
        sources: Of the CTs.
        plan: How.
        seen: Called with each case, its prediction by the first checkpoint and the truth on its grid.
        progress: Told for each engine and case; may raise Cancelled.

    Raises:
        ValueError: If there is no CT, one cannot be used, or the weights cannot.
    """
    if not sources:
        msg = "an evaluation must have at least one CT, got none"
        raise ValueError(msg)
    names = names_of(plan.checkpoints)
    engines = {
        name: XrayPredictor.load(path, device=plan.device)
        for name, path in zip(names, plan.checkpoints, strict=True)
    }
    cases = []
    for number, source in enumerate(sources):

        def part(done: float, what: str, number: int = number, source: Source = source) -> None:
            progress((number + done) / len(sources), f"{source.name}: {what}")

        cases.append(_case(source, plan, engines, number, seen, part))
    progress(1.0, "done")
    about = {
        name: {
            "sha256": engine.learned.sha256 if engine.learned else "",
            "parameters": parameters(engine),
            **toggles(path),
        }
        for (name, engine), path in zip(engines.items(), plan.checkpoints, strict=True)
    }
    rows = tuple(r.engine for r in cases[0].rows if r.engine not in (*BASELINES, ORACLE))
    return Evaluation(plan, tuple(cases), rows, about)


def _case(
    source: Source,
    plan: EvaluationPlan,
    engines: dict[str, XrayPredictor],
    number: int,
    seen: Seen | None,
    progress: Progress,
) -> Case:
    progress(0.0, "reading and projecting")
    ct, grid, region = source.load(plan.voxels)
    truth = grid.image(average_onto(without_padding(upright_ct(ct)), grid), "HU")
    geometry = frontal_and_lateral(grid, frontal=plan.frontal, pixels=plan.pixels, energy_kev=plan.energy_kev)
    inputs = XrayInput(_films(ct, geometry, plan, number), grid, plan.energy_kev, plan.refine, plan.samples)
    rows: list[Row] = []
    answers: list[tuple[XrayPrediction, str]] = []
    for i, (name, engine) in enumerate(engines.items()):
        progress((1 + i) / (2 + len(engines)), name)
        prediction = engine.predict(inputs)
        own = _network_rows(name, prediction, truth, plan)
        rows += own
        answers = answers or [(prediction, own[-1].engine if own else BASELINES[-1])]
    main, shown = answers[0]
    progress((1 + len(engines)) / (2 + len(engines)), "baselines")
    before = _baseline_rows(main, grid, truth, plan)
    silhouette = baselines.oracle_silhouette(truth.array, truth.spacing_mm)
    oracle = Row(ORACLE, score(grid.image(silhouette, "HU"), truth, plan.window_hu), {})
    doubt = _reliability(main, truth)
    case = Case(source, region, grid, (*before, *rows, oracle), shown, doubt, main.warnings)
    if seen is not None:
        seen(case, main, truth)
    return case


def _films(ct: Image, geometry: Geometry, plan: EvaluationPlan, number: int) -> tuple[Film, ...]:
    """The CT's films as the detector sees them."""
    generator = torch.Generator().manual_seed(plan.seed + number)
    films = []
    for view, clean in zip(geometry.views, project_ct(ct, geometry), strict=True):
        shown = expose(torch.from_numpy(clean), plan.exposure, generator).numpy()
        off = float(np.sqrt(np.mean((shown - clean) ** 2)) / max(float(clean.max()), 1e-6))
        error = plan.film_error if plan.film_error is not None else (off if off > 1e-5 else 0.0)
        films.append(Film(view, shown, min(error, 0.5)))
    return {"both": tuple(films), "frontal": (films[0],), "lateral": (films[1],)}[plan.films]


def _network_rows(name: str, prediction: XrayPrediction, truth: Image, plan: EvaluationPlan) -> list[Row]:
    """The answer of a network before and after the refinement; least squares is a baseline already."""
    if prediction.engine == LEAST_SQUARES:
        return []
    before = {v.film.view.name: v.residual_before for v in prediction.views}
    after = {v.film.view.name: v.residual for v in prediction.views}
    rows = [Row(name, score(prediction.network, truth, plan.window_hu), before, prediction.seconds)]
    if plan.refine:
        refined = score(prediction.ct, truth, plan.window_hu)
        rows.append(Row(f"{name} + {plan.refine} SIRT", refined, after, prediction.seconds))
    return rows


def _baseline_rows(prediction: XrayPrediction, grid: Grid, truth: Image, plan: EvaluationPlan) -> list[Row]:
    """What the same films say without learning."""
    per_mm = mu_water(plan.energy_kev)
    seen = [view.film for view in prediction.views]
    films = [torch.as_tensor(f.line_integrals / per_mm)[None].float() for f in seen]  # mm of water
    projectors = Projectors.of(tuple(f.view for f in seen), grid)
    rows = []
    for name, make in _MAKERS.items():
        with one_core(), torch.no_grad():
            density = make(projectors, films)
            left = residual(projectors, density, films)
        hu = (1000 * (density[0].clamp(0, 4) - 1)).numpy().astype(np.float32)
        off = {f.view.name: float(r) for f, r in zip(seen, left, strict=True)}
        rows.append(Row(name, score(grid.image(hu, "HU"), truth, plan.window_hu), off))
    return rows


def _reliability(prediction: XrayPrediction, truth: Image) -> Reliability | None:
    if not np.isfinite(prediction.std.array).all():
        return None
    inside = body_mask(truth.array, truth.spacing_mm)
    if not inside.any():
        return None
    error = prediction.ct.array - np.clip(truth.array, -1000, 3000)
    return Reliability.of(prediction.std.array[inside], error[inside])
