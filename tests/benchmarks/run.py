"""Times and peak memory, each benchmark in a process of its own; ratios are of figures measured in this run.

`make bench` prints the table; `python tests/benchmarks/run.py NAME` runs one.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

REPEATS = 7


def best(work, repeats=REPEATS):
    """Shortest of several runs, after one that is not counted, in ms: other load only ever adds."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def skull_case(points_per_wavelength=6.0):
    from trifocal.focus.box import Box
    from trifocal.focus.transducer import PRESETS
    from trifocal.focus.validation import skull_cap

    bowl = PRESETS["default"]
    box = Box.around(bowl, points_per_wavelength)
    return bowl, box, skull_cap(box, bowl)


def bench_free_field():
    """Free field in water, 1 M points (ms)."""
    import torch

    from trifocal.focus.freefield import FreeField
    from trifocal.focus.transducer import PRESETS

    points = torch.rand(1_000_000, 3) * torch.tensor([70.0, 70, 95]) + torch.tensor([-35.0, -35, 9])
    field = FreeField(PRESETS["default"])
    results = {"table, once per bowl": best(lambda: FreeField(PRESETS["default"]), 3)}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with torch.no_grad():
            results[f"{threads} thread{'s'[: threads - 1]}"] = best(lambda: field.amplitude(points))
    return results


def bench_has():
    """Hybrid angular spectrum, full box and preview (ms)."""
    import torch

    from trifocal.focus.angular_spectrum import march
    from trifocal.focus.predictor import PREVIEW_POINTS_PER_WAVELENGTH

    results = {}
    for name, points, rounds in (("full", 6.0, 1), ("preview", PREVIEW_POINTS_PER_WAVELENGTH, 0)):
        bowl, box, medium = skull_case(points)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with torch.no_grad():
                shape = "x".join(map(str, box.shape))
                results[f"{name} {shape}, {threads} thread{'s'[: threads - 1]}"] = best(
                    lambda m=medium, w=bowl, b=box, r=rounds: march(m, w, b, reverberations=r)
                )
    return results


def bench_solver():
    """Solver, default bowl, skull (ms; ns per voxel and step, voxels of the absorbing layer included)."""
    from trifocal.focus.solver import bowl_source, solve, typical_speed
    from trifocal.focus.solver_cpu import CpuStepper
    from trifocal.focus.solver_grid import build

    bowl, box, medium = skull_case()
    arrays = medium.arrays()
    source = bowl_source(bowl, box, typical_speed(*arrays[:2]))
    scheme = build(*arrays, box, source, bowl.frequency_hz)
    results = {f"{'x'.join(map(str, box.shape))} box": best(lambda: solve(*arrays, bowl, box), 3)}
    steps = 60
    for threads in (1, 2):
        stepper = CpuStepper(scheme, threads)
        took = best(lambda s=stepper: s.advance(0, steps, lambda done: None))
        name = f"ns per voxel and step, {threads} thread{'s'[: threads - 1]}"
        results[name] = took * 1e6 / steps / scheme.density.size
    return results


def bench_prediction():
    """Prediction as the viewer makes it: sampling the head, HAS, figures (ms)."""
    import torch

    from trifocal.focus.head import Head
    from trifocal.focus.phantoms import sample_head
    from trifocal.focus.placement import aim
    from trifocal.focus.predictor import FocusInput, FocusPredictor
    from trifocal.focus.transducer import PRESETS

    torch.set_num_threads(2)
    ct = sample_head()
    start = time.perf_counter()
    head = Head.from_image(ct)
    prepared = 1e3 * (time.perf_counter() - start)
    bowl = PRESETS["default"]
    pose, _ = aim(head, bowl, head.centre_mm)
    predictor = FocusPredictor("has", device="cpu")
    full = FocusInput(head, bowl, pose)
    preview = full.preview()
    return {
        "preparing the head, once": prepared,
        "full": best(lambda: predictor.predict(full)),
        "preview": best(lambda: predictor.predict(preview)),
    }


def bench_network():
    """Network, as the viewer uses it: sampling the head, march, correction, figures (ms)."""
    import torch

    from trifocal.focus.head import Head
    from trifocal.focus.phantoms import sample_head
    from trifocal.focus.placement import aim
    from trifocal.focus.predictor import FocusInput, FocusPredictor
    from trifocal.focus.transducer import PRESETS

    torch.set_num_threads(2)
    head = Head.from_image(sample_head())
    pose, _ = aim(head, PRESETS["default"], head.centre_mm)
    full = FocusInput(head, PRESETS["default"], pose)
    preview = full.preview()
    FocusPredictor("has", device="cpu").predict(full)  # so that the first use is the network's own
    start = time.perf_counter()
    predictor = FocusPredictor("network", device="cpu")
    loaded = time.perf_counter()
    predictor.predict(full)
    return {
        "reading and checking the weights, once": 1e3 * (loaded - start),
        "first full prediction": 1e3 * (time.perf_counter() - loaded),
        "full": best(lambda: predictor.predict(full)),
        "preview": best(lambda: predictor.predict(preview)),
    }


def bench_start():
    """From the command to a window's first frame (ms)."""
    import startup

    return {
        "bare napari": best(lambda: startup.start(startup.BARE), 3),
        "app": best(lambda: startup.start(startup.APP), 3),
        "app, to the focal cloud of the sample head": best(lambda: startup.start(startup.CLOUD), 3),
    }


def bench_drag():
    """Mouse move to the new cloud on screen, real mouse events on the sample head (ms)."""
    from drag import measure

    return measure()


def bench_keypoints():
    """Keypoints, the bundled networks: a 30-frame cine of the heart, a fetal head (ms a frame)."""
    import torch

    from trifocal.keypoints.phantoms import phantom
    from trifocal.keypoints.phantoms.cine import phantom_cine
    from trifocal.keypoints.predictor import KeypointsInput, KeypointsPredictor
    from trifocal.keypoints.tasks import TASKS

    frames, _, _ = phantom_cine("A4C", 1, frames=30)
    head = phantom("HC", 1).image
    torch.set_num_threads(2)
    start = time.perf_counter()
    predictor = KeypointsPredictor.load("keypoints", device="cpu")
    results = {"reading and checking the weights, once": 1e3 * (time.perf_counter() - start)}

    def cine(tta):
        for frame in frames:
            predictor.predict(KeypointsInput(frame, TASKS["A4C"], tta=tta))

    results["cine"] = best(lambda: cine(False), 3) / len(frames)
    results["cine, mirrored too"] = best(lambda: cine(True), 3) / len(frames)
    results["head"] = best(lambda: predictor.predict(KeypointsInput(head, TASKS["HC"])))
    classical = KeypointsPredictor.load("classical", device="cpu")
    results["head, classical ellipse"] = best(lambda: classical.predict(KeypointsInput(head, TASKS["HC"])))
    return results


def bench_sonichu():
    """SONICHU-124M and transformers' ViTPose of that size, one 256 x 256 image (ms)."""
    from vitpose import measure

    return measure()


def bench_xray():
    """X-ray, the bundled network: a chest of 64 voxels a side from an AP and a lateral film (ms)."""
    import numpy as np
    import torch

    from trifocal.xray.attenuation import mu_water
    from trifocal.xray.film import Film
    from trifocal.xray.geometry import frontal_and_lateral
    from trifocal.xray.grid import average_onto
    from trifocal.xray.phantoms import torso
    from trifocal.xray.planning import plan_grid
    from trifocal.xray.predictor import XrayInput, XrayPredictor
    from trifocal.xray.projection import Projector

    results = {}
    start = time.perf_counter()
    body = torso(1)
    results["a phantom of the trunk at 4 mm"] = 1e3 * (time.perf_counter() - start)
    grid = plan_grid(body)
    mu = torch.from_numpy(average_onto(body, grid) / 1000 + 1)[None] * mu_water(70.0)
    views = frontal_and_lateral(grid).views
    films = tuple(Film(v, np.asarray(Projector(v, grid).forward(mu)[0])) for v in views)
    start = time.perf_counter()
    predictor = XrayPredictor.load("xray", device="cpu")
    results["reading and checking the weights, once"] = 1e3 * (time.perf_counter() - start)
    cases = {
        "network alone": {"refine": 0, "samples": 0},
        "with refinement": {"samples": 0},
        "with refinement and 4 samples of the error": {"samples": 4},
    }
    for name, how in cases.items():
        results[name] = best(lambda how=how: predictor.predict(XrayInput(films, grid, **how)), 3)
    plain = XrayPredictor.load("least-squares", device="cpu")
    results["least squares"] = best(lambda: plain.predict(XrayInput(films, grid, refine=0)), 3)
    return results


def bench_projector():
    """Two cone-beam views against DiffDRR and nanodrr at equal error (CPU ms on one core; %; MB)."""
    from projector import measure

    return measure()


BENCHMARKS = {n.removeprefix("bench_"): f for n, f in list(globals().items()) if n.startswith("bench_")}


def run_one(name):
    results = BENCHMARKS[name]()
    own, children = (
        resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    peak = max(own, children) / 1024
    sys.stdout.write(json.dumps({"results": results, "peak_mb": peak}) + "\n")


def run_all(names):
    rows, found = [], {}
    for name in names:
        done = subprocess.run(
            [sys.executable, __file__, name, "--json"],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parent,
        )
        if done.returncode:
            sys.stderr.write(done.stderr)
            return done.returncode
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        found[name] = answer["results"]
        title = (BENCHMARKS[name].__doc__ or name).strip().rstrip(".")
        rows += [
            (title, case, f"{value:.3g}", f"{answer['peak_mb']:.0f}")
            for case, value in answer["results"].items()
        ]
    rows += ratios(found)
    sys.stdout.write(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n\n")
    sys.stdout.write("| what | case | figure | peak memory, MB |\n|---|---|---|---|\n")
    for row in rows:
        sys.stdout.write("| " + " | ".join(row) + " |\n")
    return 0


def ratios(found):
    """What is told as a ratio, from figures of the same run."""
    rows = []
    if {"has", "solver"} <= set(found):
        has = min(v for k, v in found["has"].items() if k.startswith("full"))
        solver = next(v for k, v in found["solver"].items() if k.endswith("box"))
        rows.append(("ratio", "solver / HAS, full box", f"{solver / has:.3g}", ""))
    if {"network", "prediction", "solver"} <= set(found):
        full = found["network"]["full"]
        solver = next(v for k, v in found["solver"].items() if k.endswith("box"))
        below = found["prediction"]["full"]
        rows.append(("ratio", "solver / network, full prediction", f"{solver / full:.3g}", ""))
        rows.append(("ratio", "network / HAS, full prediction", f"{full / below:.3g}", ""))
    sonichu = found.get("sonichu", {})
    for case in [c for c in sonichu if c.startswith("SONICHU")]:
        same = next(c for c in sonichu if c.startswith("trans") and c.split(", ")[-1] == case.split(", ")[-1])
        rows.append(("ratio", f"{case} / transformers' ViTPose", f"{sonichu[case] / sonichu[same]:.3g}", ""))
    projector = found.get("projector", {})
    for case in [c for c in projector if c.startswith(("DiffDRR", "nanodrr")) and "ward" in c]:
        other, what = case.split(", ", 1)
        ratio = projector[case] / projector[f"trifocal, {what}"]
        rows.append(("ratio", f"{other} / trifocal, {what}", f"{ratio:.3g}", ""))
    if "start" in found:
        rows.append(
            ("ratio", "app / bare napari", f"{found['start']['app'] / found['start']['bare napari']:.3g}", "")
        )
    return rows


if __name__ == "__main__":
    words = sys.argv[1:]
    if "--json" in words:
        run_one(words[0])
    else:
        sys.exit(run_all(words or list(BENCHMARKS)))
