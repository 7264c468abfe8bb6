"""The `trifocal` command. Each sub-command is a dataclass with `run()`, parsed by tyro.

Exit codes: 0 done; 1 an unforeseen error, with its traceback; 2 wrong usage or an input that cannot be used,
with one sentence on stderr; 3 a check of `trifocal self-test` failed; 75 the system asked for the end
(SIGTERM, SIGUSR1), and the same command goes on from there; 130 interrupted.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from importlib.metadata import entry_points
from typing import Any

from trifocal import RESEARCH_USE_ONLY, __version__

COMMANDS = {
    "predict focus": ("trifocal.cli.focus:PredictFocus", "the pressure field of a bowl inside a skull"),
    "predict keypoints": (
        "trifocal.cli.keypoints:PredictKeypoints",
        "landmarks on ultrasound, and what they measure",
    ),
    "predict xray": ("trifocal.cli.xray:PredictXray", "a CT from a frontal and a lateral X-ray, or from one"),
    "project": ("trifocal.cli.project:ProjectXray", "the X-rays that a CT would give"),
    "simulate focus": (
        "trifocal.cli.simulate:SimulateFocus",
        "the same by the solver, or a data set of many",
    ),
    "simulate keypoints": (
        "trifocal.cli.simulate_keypoints:SimulateKeypoints",
        "synthetic ultrasound images with landmarks",
    ),
    "simulate xray": ("trifocal.cli.simulate_xray:SimulateXray", "synthetic CTs of the trunk"),
    "export tfuscapes": (
        "trifocal.cli.export:ExportTfuscapes",
        "simulated cases in the published format of TFUScapes",
    ),
    "sweep focus": ("trifocal.cli.sweep:SweepFocus", "how the focus moves as the bowl goes round the head"),
    "train focus": ("trifocal.cli.train:TrainFocus", "the network of the focus engine, on simulated cases"),
    "train deeptfus": (
        "trifocal.cli.train_deeptfus:TrainDeeptfus",
        "the published network, on data of its format",
    ),
    "train keypoints": (
        "trifocal.cli.train_keypoints:TrainKeypoints",
        "the networks of the keypoints engine, and SONICHU's training story",
    ),
    "train xray": (
        "trifocal.cli.train_xray:TrainXray",
        "the networks that make a CT from X-rays, and their comparison",
    ),
    "evaluate focus": (
        "trifocal.cli.evaluate:EvaluateFocus",
        "every rung against the solver, on random poses",
    ),
    "evaluate keypoints": (
        "trifocal.cli.evaluate_keypoints:EvaluateKeypoints",
        "points and measurements against the truth, by task and by model",
    ),
    "evaluate xray": (
        "trifocal.cli.evaluate_xray:EvaluateXray",
        "reconstructed CTs against true ones, beside what needs no learning",
    ),
    "calibrate focus": (
        "trifocal.cli.calibrate:CalibrateFocus",
        "how wrong the network is on held-out heads, for the doubts",
    ),
    "curves": ("trifocal.cli.curves:Curves", "the validation curves of several training runs in one figure"),
    "analyse deeptfus": (
        "trifocal.cli.analyse:AnalyseDeepTFUS",
        "what the features of a published kind of network tell, and how smooth they are",
    ),
    "fetal-weight": (
        "trifocal.cli.fetal_weight:FetalWeight",
        "grams from head, abdomen and femur, by Hadlock's formulas",
    ),
    "optimise focus": (
        "trifocal.cli.optimise:OptimiseFocus",
        "poses of the bowl that bring the focus to a target",
    ),
    "self-test": ("trifocal.cli.self_test:SelfTest", "check the physics against closed forms and references"),
}
CHECK_FAILED = 3
COME_AGAIN = 75  # EX_TEMPFAIL of sysexits.h


def main(arguments: list[str] | None = None) -> int:
    """Run one sub-command; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    commands = _commands()
    name = next((n for n in commands if words[: len(n.split())] == n.split()), None)
    if name is None:
        return _help(commands, words)
    command = _load(commands[name][0])
    return _run(command, f"trifocal {name}", words[len(name.split()) :])


def _run(command: type[Any], program: str, words: list[str]) -> int:
    import tyro

    from trifocal.predictor import Cancelled, Stopped

    try:
        # tyro leaves the docstring's examples out of the help unless they are handed to it
        text = (inspect.getdoc(command) or "").partition("Attributes:")[0].strip()
        config = (tyro.conf.FlagCreatePairsOff,)
        job = tyro.cli(command, prog=program, description=text, args=words, config=config)
        code: int = job.run() or 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    except Stopped as stop:
        sys.stderr.write(f"stopped by {stop}: start the same command again to go on\n")
        return COME_AGAIN
    except (KeyboardInterrupt, Cancelled):
        stays = getattr(command, "INTERRUPTED", "nothing was written")
        sys.stderr.write(f"interrupted: {stays}\n")
        return 130
    except (ValueError, OSError, MemoryError, ImportError, FloatingPointError) as error:
        sys.stderr.write(f"{program}: {' '.join(str(error).split()) or type(error).__name__}\n")
        return 2
    return code


def _commands() -> dict[str, tuple[str, str]]:
    """Our own sub-commands and those that need a window, which the app contributes."""
    windowed = {p.name: (p.value, "") for p in entry_points(group="trifocal.commands")}
    return COMMANDS | windowed


def _load(path: str) -> type[Any]:
    module, _, name = path.partition(":")
    command: type[Any] = getattr(importlib.import_module(module), name)
    return command


def _help(commands: dict[str, tuple[str, str]], words: list[str]) -> int:
    lines = [
        f"trifocal {__version__}: {RESEARCH_USE_ONLY.lower()}",
        "",
        "usage: trifocal COMMAND [OPTIONS]",
        "",
    ]
    for name, (path, summary) in commands.items():
        text = summary or (_load(path).__doc__ or "").strip().partition("\n")[0]
        lines.append(f"  {name:<18} {text[:1].lower()}{text[1:].rstrip('.')}")
    lines += ["", "trifocal COMMAND --help says more, with examples."]
    asked = not words or words[0] in ("-h", "--help", "--version")
    if not asked:
        lines.insert(0, f"trifocal: no command {' '.join(words[:2])!r}\n")
    (sys.stdout if asked else sys.stderr).write("\n".join(lines) + "\n")
    return 0 if asked else 2
