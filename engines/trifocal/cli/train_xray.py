"""`trifocal train xray`: the bundled network, the seed's networks, and what tells them apart."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from trifocal import io
from trifocal.cli.progress import Bar
from trifocal.training import Fitted, Plan
from trifocal.xray.models.config import COMPACT, SEED, TOGGLES, XrayModelConfig
from trifocal.xray.models.diffusion import DiffusionConfig
from trifocal.xray.models.saved import SavedNet
from trifocal.xray.training.ablation import SMALL, ablate
from trifocal.xray.training.diagnostics import diagnose
from trifocal.xray.training.kept_crops import Volumes
from trifocal.xray.training.recipes import XrayRecipe, train
from trifocal.xray.training.side_by_side import compare, table, whole, write_rows

if TYPE_CHECKING:
    from torch import Tensor

    from trifocal.checkpoint import Checkpoint

PRESETS = {"small": SMALL, "compact": COMPACT, "seed": SEED}
EPOCHS = {"lifting": 60, "direct": 40, "cascade": 20, "diffusion": 60, "ablation": 10}
RATES = {"lifting": 6e-4, "direct": 2e-3, "cascade": 2e-3, "diffusion": 1e-3, "ablation": 2e-3}
EMA = 0.99  # of a diffusion; the others have batch norms, which an average does not fit


@dataclass(kw_only=True)
class TrainXray:
    """Train the networks that make a CT from two X-rays, and compare them. Research use only.

    lifting: the bundled, geometry-aware network. direct: the seed's hybrid network, regressing the volume.
    cascade: a stage (or two) at twice the resolution after another network (--init). diffusion: samples
    around another network's answer (--init). ablation: direct networks without each part in turn. compare:
    checkpoints (--models) side by side on the held-out volumes and a real CT (--truth). diagnose: the
    15-panel figure of a checkpoint (--init).

    Examples:
        trifocal train xray --recipe direct --voxels 32 --out run/direct --budget-minutes 15

        trifocal train xray --recipe cascade --init run/direct/xray.safetensors --out run/cascade

        trifocal train xray --recipe compare --models run/direct run/cascade --voxels 64 --out run/compare

    Attributes:
        recipe: What to do.
        out: Folder of the run.
        data: phantoms:N makes N phantoms in out/phantoms; or a folder of CTs in HU, the last ones (by name)
            of which are held out.
        voxels: Along the edges of the volume of a direct network; of the crops of a comparison.
        budget_minutes: End after so long, the learning rate having come down; no limit if left out.
        preset: Size of a direct network.
        toggles: Parts of a direct network to switch, as cnn_branch=off. Of an ablation: the parts to leave
            out, by name; the seed's six, depth and lifting if left out.
        init: Checkpoint, or folder of a run, to begin from.
        models: Checkpoints, or folders of runs, to compare.
        truth: A real CT to compare on.
        stages: Of a cascade.
        predicts: What a diffusion's network answers with.
        validation_volumes: How many volumes are held out.
        epochs: End after so many passes over the data at the latest.
        batch_size: Volumes per step.
        learning_rate: Highest of the schedule.
        validate_every: Epochs from validation to validation.
        seed: Of the initial weights, the crops, the geometry, the noise and the order.
        precision: Of the arithmetic; bf16-mixed is faster on processors that have it.
        device: Where to train.
        resume: Go on with the run in `out`, if there is one.
    """

    INTERRUPTED: ClassVar[str] = "what is finished stays; start the same command again to go on"

    recipe: Literal["lifting", "direct", "cascade", "diffusion", "ablation", "compare", "diagnose"]
    out: Path
    data: str = "phantoms:240"
    voxels: int = 64
    budget_minutes: float | None = None
    preset: Literal["small", "compact", "seed"] = "compact"
    toggles: tuple[str, ...] = ()
    init: Path | None = None
    models: tuple[Path, ...] = ()
    truth: Path | None = None
    stages: int = 1
    predicts: Literal["epsilon", "v_prediction"] = "epsilon"
    validation_volumes: int = 16
    epochs: int | None = None
    batch_size: int = 4
    learning_rate: float | None = None
    validate_every: float = 1.0
    seed: int = 0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    resume: bool = True

    def run(self) -> int:
        """Train and report."""
        special = {
            "lifting": self._lifting,
            "ablation": self._ablation,
            "compare": self._compare,
            "diagnose": self._diagnose,
        }
        lines = special.get(self.recipe, self._train)()
        sys.stdout.write("\n".join([*lines, f"written to {self.out}"]) + "\n")
        return 0

    def _train(self) -> list[str]:
        recipe = self._recipe()  # before phantoms are made, which takes minutes
        fitted, checkpoint = train(
            self._volumes(),
            self.out,
            recipe,
            base=_checkpoint(self.init) if self.init else None,
            device=self.device,
            resume=self.resume,
            progress=Bar(),
        )
        return [_told(fitted), *_judged(checkpoint), *_costs(self.out / "xray.safetensors")]

    def _lifting(self) -> list[str]:
        from trifocal.xray.training.lifting import LiftingRecipe, train_lifting

        recipe = LiftingRecipe(self._plan(), voxels=self.voxels, validation_volumes=self.validation_volumes)
        paths = self._paths()
        fits, checkpoint = train_lifting(paths, self.out, recipe, device=self.device, progress=Bar())
        return [*map(_told, fits), *_judged(checkpoint)]

    def _ablation(self) -> list[str]:
        names = self.toggles or tuple(name for name in TOGGLES if name != "batch_norm")
        recipe = replace(self._recipe(), kind="direct", model=PRESETS[self.preset])
        rows = ablate(
            self._volumes(), self.out, recipe, names, device=self.device, resume=self.resume, progress=Bar()
        )
        return table(rows)

    def _compare(self) -> list[str]:
        if not self.models:
            msg = "a comparison must have networks: give their checkpoints or folders with --models"
            raise ValueError(msg)
        held = self._volumes().held_out(self.validation_volumes, self.voxels)
        crops: dict[str, list[dict[str, Tensor]]] = {"held out": held}
        if self.truth is not None:
            crops[self.truth.name] = [whole(io.read(self.truth), self.voxels)]
        chosen = {path.parent.name if path.suffix else path.name: _checkpoint(path) for path in self.models}
        rows = compare(chosen, crops, self.voxels)
        self.out.mkdir(parents=True, exist_ok=True)
        write_rows(self.out / "comparison.csv", rows)
        return table(rows)

    def _diagnose(self) -> list[str]:
        if self.init is None:
            msg = "a figure must be of a network: give its checkpoint with --init"
            raise ValueError(msg)
        saved = SavedNet.load(_checkpoint(self.init))
        if self.truth is not None:
            crop = whole(io.read(self.truth), saved.voxels)
        else:
            crop = self._volumes().held_out(self.validation_volumes, saved.voxels)[0]
        self.out.mkdir(parents=True, exist_ok=True)
        figures = diagnose(saved.network, crop, saved.voxels, self.out / "diagnostics.png")
        return [", ".join(f"{name} {value:.3g}" for name, value in figures.items())]

    def _recipe(self) -> XrayRecipe:
        kind = self.recipe if self.recipe in ("cascade", "diffusion") else "direct"
        toggles = () if self.recipe == "ablation" else self.toggles
        return XrayRecipe(
            self._plan(),
            kind=kind,
            model=_switched(PRESETS[self.preset], toggles),
            voxels=self.voxels,
            stages=self.stages,
            diffusion=DiffusionConfig(predicts=self.predicts),
            validation_volumes=self.validation_volumes,
        )

    def _plan(self) -> Plan:
        return Plan(
            epochs=self.epochs or EPOCHS[self.recipe],
            batch_size=self.batch_size,
            learning_rate=self.learning_rate or RATES[self.recipe],
            budget_minutes=self.budget_minutes,
            seed=self.seed,
            precision=self.precision,
            ema=EMA if self.recipe == "diffusion" else 0.0,
            validate_every=self.validate_every,
        )

    def _volumes(self) -> Volumes:
        return Volumes([partial(io.read, path) for path in self._paths()])

    def _paths(self) -> list[Path]:
        """Files of the CTs; phantoms are made first."""
        if self.data.startswith("phantoms:"):
            return _phantoms(self.data, self.out / "phantoms")
        found = [p for p in sorted(Path(self.data).rglob("*")) if p.name.endswith((".nii", ".nii.gz"))]
        if not found:
            msg = f"the data must be phantoms:N or a folder with CTs (.nii, .nii.gz), got {self.data}"
            raise ValueError(msg)
        return found


def _phantoms(asked: str, folder: Path) -> list[Path]:
    """So many phantoms as files; those that are there already stay."""
    from trifocal.xray.phantoms import torso

    number = asked.removeprefix("phantoms:")
    if not number.isdecimal() or int(number) < 2:
        msg = f"the data must be phantoms:N with 2 phantoms or more, got {asked}"
        raise ValueError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"phantom-{seed:05d}.nii.gz" for seed in range(int(number))]
    bar = Bar()
    for seed, path in enumerate(paths):
        bar(seed / len(paths), "making phantoms")
        if not path.exists():
            io.write(torso(seed), path)
    return paths


def _switched(model: XrayModelConfig, toggles: tuple[str, ...]) -> XrayModelConfig:
    """Parts on or off, as "cnn_branch=off".

    Raises:
        ValueError: If a part is unknown, or it is neither on nor off.
    """
    for asked in toggles:
        name, _, state = asked.partition("=")
        if name not in TOGGLES or state not in ("on", "off"):
            msg = f"a toggle must be one of {', '.join(TOGGLES)} with =on or =off, got {asked!r}"
            raise ValueError(msg)
        model = replace(model, **{name: state == "on"})  # type: ignore[arg-type]
    return model


def _checkpoint(path: Path) -> Path:
    """A checkpoint, or that of a run's folder."""
    return path / "xray.safetensors" if path.is_dir() else path


def _told(fitted: Fitted) -> str:
    best = "" if fitted.best_score is None else f", best validation score {fitted.best_score:.4g}"
    minutes = fitted.seconds / 60
    return f"{fitted.epochs:.1f} epochs in {minutes:.0f} min, ended by the {fitted.stopped_by}{best}"


def _judged(checkpoint: Checkpoint) -> list[str]:
    figures = checkpoint.card["validation"]
    return ["on held-out volumes, mean: " + ", ".join(f"{n} {v:.4g}" for n, v in figures.items())]


def _costs(path: Path) -> list[str]:
    """What a prediction will take, for networks whose predictions are long."""
    saved = SavedNet.load(path)
    cost = getattr(saved.network, "cost", None)
    return [] if cost is None else [f"a prediction of {saved.voxels}^3 beyond the base: {cost(saved.voxels)}"]
