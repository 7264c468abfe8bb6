"""`trifocal analyse deeptfus`: what a network's features tell, and how smoothly they follow the bowl."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from trifocal import io
from trifocal.cli.progress import Bar
from trifocal.focus.dataset_evaluation.attributes import gather
from trifocal.focus.deeptfus.predictor import DeepTFUSPredictor
from trifocal.focus.head import Head
from trifocal.focus.phantoms import sample_head
from trifocal.focus.placement import aim, first_target
from trifocal.focus.predictor import FocusInput
from trifocal.focus.probe_output import Analysis, save_analysis
from trifocal.focus.probes import probe
from trifocal.focus.smoothness import sweep_features
from trifocal.focus.sweep import Sweep, run_sweep
from trifocal.focus.tfuscapes import DataSet
from trifocal.focus.transducer import find_bowl


@dataclass(kw_only=True)
class AnalyseDeepTFUS:
    """Ask what the bottleneck of a network of the published kind encodes. Research use only.

    Linear probes read subject, azimuth, aperture and depth of the focus from its features (means over space)
    on samples of a data set, by five-fold cross-validation, with samples and with whole subjects held out.
    Then the bowl is turned in even steps about a head, and the features are followed. Writes probes.csv,
    probes.png, features.csv, channels.csv, channels.png, summary.json and provenance.json; nothing if it is
    interrupted.

    Examples:
        trifocal analyse deeptfus --weights run/base/deeptfus.safetensors --data world --out analysis

        trifocal analyse deeptfus --weights base.safetensors --data world --split val --ct head.nii.gz --out a

    Attributes:
        weights: Of `train deeptfus`.
        data: Folder of a data set in the TFUScapes format.
        split: Which samples are probed.
        samples: So many at most, evenly from the list.
        spacing_mm: Edge of a voxel, where the data do not tell and it is not the published one.
        ct: Head CT for the sweep; the sample head if left out.
        resample: Accept a CT with gantry tilt or uneven slices.
        bowl: Of the sweep: name of a preset or the path of a bowl JSON file.
        steps: Placements of the sweep.
        step_deg: Degrees from one placement to the next.
        seed: Of folds and shuffling.
        out: Folder for the results; made if it does not exist.
        device: Where to compute.
    """

    weights: Path
    data: Path
    split: Literal["train", "val", "test", "all"] = "all"
    samples: int | None = None
    spacing_mm: float | None = None
    ct: Path | None = None
    resample: bool = False
    bowl: str = "default"
    steps: int = 35
    step_deg: float = 1.6
    seed: int = 0
    out: Path
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def run(self) -> int:
        """Gather, probe, sweep, write, report."""
        sweep = Sweep(steps=self.steps, step_deg=self.step_deg)
        predictor = DeepTFUSPredictor.load(self.weights, device=self.device)
        data = DataSet.open(self.data, None if self.split == "all" else self.split, self.spacing_mm)
        names = data.names
        if self.samples is not None and self.samples < len(names):
            names = tuple(names[i] for i in np.linspace(0, len(names) - 1, self.samples).round().astype(int))
        inputs = self._inputs()
        features = gather(predictor, data, names, progress=Bar())
        probes = probe(features.values, features.attributes, self.seed)
        curves = sweep_features(predictor, inputs, sweep, progress=Bar())
        fields = run_sweep(predictor, inputs, sweep, progress=Bar())
        parameters = vars(self) | {"data": self.data.name, "weights": self.weights.name, "out": None}
        weights = predictor.learned.checkpoint
        assert weights is not None
        analysis = Analysis(weights.record(), features, probes, curves, fields, parameters)
        save_analysis(analysis, self.out)
        sys.stdout.write("\n".join([*analysis.lines(), f"written to {self.out}"]) + "\n")
        return 0

    def _inputs(self) -> FocusInput:
        image = sample_head() if self.ct is None else io.read(self.ct, resample=self.resample)
        head = Head.from_image(image)
        bowl = find_bowl(self.bowl)
        target = first_target(head, bowl)
        pose, _ = aim(head, bowl, target)
        return FocusInput(head, bowl, pose, target)
