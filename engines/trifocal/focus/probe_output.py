"""What is left on disk after the analysis of a network: probes, channels along a sweep, pictures."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from trifocal import RESEARCH_USE_ONLY, __version__
from trifocal.files import output_folder
from trifocal.focus.evaluation_output import write_csv
from trifocal.focus.probe_pictures import draw_feature_sweep, draw_probes
from trifocal.provenance import jsonable, record, write_record

if TYPE_CHECKING:
    from pathlib import Path

    from trifocal.focus.dataset_evaluation.attributes import Features
    from trifocal.focus.probes import Probe
    from trifocal.focus.smoothness import FeatureSweep
    from trifocal.focus.sweep import SweepResult


@dataclass(frozen=True, eq=False)
class Analysis:
    """What was found about one network.

    Attributes:
        weights: Name, version and hash of the network.
        features: Of the samples that were probed.
        probes: What linear models read from them.
        sweep: Features along a sweep.
        fields: Predictions of the same sweep.
        parameters: Data set, split and head, for the provenance.
    """

    weights: dict[str, str]
    features: Features
    probes: tuple[Probe, ...]
    sweep: FeatureSweep
    fields: SweepResult
    parameters: dict[str, Any]

    def lines(self) -> list[str]:
        """The figures, a line each."""
        found = [
            f"{row['probe']} ({row['held_out']} held out): {row['figure']} {row['value']:.3f}, "
            f"chance {row['chance']:.3f}, shuffled {row['shuffled']:.3f}"
            for probe in self.probes
            for row in probe.rows()
        ]
        a, b = self.sweep.found, self.sweep.shuffled
        found.append(
            f"sweep of {len(self.sweep.angles_deg)}: step {a.step:.3f} (shuffled {b.step:.3f}), "
            f"bend {a.bend:.3f} (shuffled {b.bend:.3f}), largest jump {a.largest_jump:.2f}"
        )
        return found


def save_analysis(analysis: Analysis, out: Path | str) -> None:
    """Write an analysis to a folder: all of it, or nothing.

    The files are probes.csv, probes.png, features.csv (a row for each sample), channels.csv (a row for each
    placement of the sweep), channels.png, summary.json and provenance.json.

    Raises:
        OSError: If the folder cannot be written; nothing is left behind.
    """
    features, name = analysis.features, analysis.weights["name"]
    with output_folder(out) as folder:
        write_csv(folder / "probes.csv", [row for probe in analysis.probes for row in probe.rows()])
        draw_probes(
            folder / "probes.png",
            analysis.probes,
            f"What linear probes read from the bottleneck of {name}: {features.values.shape[1]} channels",
        )
        write_csv(folder / "features.csv", _feature_rows(features))
        write_csv(folder / "channels.csv", _channel_rows(analysis.sweep, analysis.fields))
        draw_feature_sweep(folder / "channels.png", analysis.sweep, analysis.fields)
        text = json.dumps(jsonable(_summary(analysis)), indent=2)
        (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
        provenance = record(
            "focus/deeptfus-analysis",
            inputs={"ct": analysis.fields.inputs.head.ct},
            parameters=analysis.parameters,
            device=analysis.fields.frames[0].prediction.device,
            weights=analysis.weights,
            outputs=sorted(folder.iterdir()),
        )
        write_record(folder / "provenance.json", provenance)


def _feature_rows(features: Features) -> list[dict[str, Any]]:
    known = features.attributes
    return [
        {
            "sample": name,
            "subject": known.subject[i],
            "azimuth_deg": known.azimuth_deg[i],
            "aperture_mm": known.aperture_mm[i],
            "depth_mm": known.depth_mm[i],
            **{f"channel_{c}": float(v) for c, v in enumerate(features.values[i])},
        }
        for i, name in enumerate(features.names)
    ]


def _channel_rows(sweep: FeatureSweep, fields: SweepResult) -> list[dict[str, Any]]:
    return [
        {
            "angle_deg": round(float(angle), 6),
            **{f"focus_{a}_mm": float(v) for a, v in zip("xyz", frame.focus_mm, strict=True)},
            **{f"channel_{c}": float(v) for c, v in enumerate(values)},
        }
        for angle, values, frame in zip(sweep.angles_deg, sweep.features, fields.frames, strict=True)
    ]


def _summary(analysis: Analysis) -> dict[str, Any]:
    sweep = analysis.sweep
    return {
        "notice": RESEARCH_USE_ONLY,
        "version": __version__,
        "weights": analysis.weights,
        "probes": [row for probe in analysis.probes for row in probe.rows()],
        "sweep": {
            "placements": len(sweep.angles_deg),
            "found": asdict(sweep.found),
            "shuffled": asdict(sweep.shuffled),
            "shown_channels": sweep.shown,
        },
    }
