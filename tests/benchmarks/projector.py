"""The projector against DiffDRR 0.6.1 and nanodrr 0.1.7 at equal error: CPU time and memory of a pair.

The volume is a sum of ellipsoids, whose line integrals are known in closed form. The others sample each
ray at points; they get as many as bring their error to ours (within 5 %), or the most that are tried. They
live in an environment of their own, on top of the project's:

    python -m venv build/bench-drr
    echo "import site; site.addsitedir('$(realpath .venv/lib/python3*/site-packages)')" \\
        > $(echo build/bench-drr/lib/python3*/site-packages)/parent.pth
    build/bench-drr/bin/pip install --no-deps diffdrr==0.6.1 nanodrr==0.1.7 jaxtyping wadler-lindig roma
"""

import json
import resource
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np

PYTHON = Path(__file__).parents[2] / "build" / "bench-drr" / "bin" / "python"
CASES = {"64^3 -> 128^2": (64, 128), "128^3 -> 256^2": (128, 256), "128^3 -> 512^2": (128, 512)}
SAMPLES = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)  # per voxel along an edge
EDGE_MM = 300.0
FINE = 3  # points per voxel along each axis
ROUNDS = 3


def ellipsoids(count=24):
    """Centres, half axes and attenuation (1/mm) of upright ellipsoids well within the box."""
    rng = np.random.default_rng(0)
    return rng.uniform(-60, 60, (count, 3)), rng.uniform(6, 50, (count, 3)), rng.uniform(0.002, 0.02, count)


def scene(voxels, pixels):
    """Two views, the volume (X, Y, Z) as means over the voxels, and the true line integrals."""
    import torch

    from trifocal.xray.geometry import frontal_and_lateral
    from trifocal.xray.grid import Grid

    grid = Grid.cube(EDGE_MM, voxels)
    fine = grid.with_voxels((FINE * voxels,) * 3)
    views = frontal_and_lateral(grid, pixels=pixels).views
    volume, films = np.zeros(fine.shape, np.float32), [0] * len(views)
    for center, half, height in zip(*ellipsoids(), strict=True):
        x, y, z = (((fine.centers_mm(a) - center[a]) / half[a]) ** 2 for a in range(3))
        volume += np.float32(height) * (x[:, None, None] + y[:, None] + z < 1)
        for i, view in enumerate(views):
            ray = (view.pixels_mm() - view.source_mm) / half
            length = np.linalg.norm(ray * half, axis=-1) / np.linalg.norm(ray, axis=-1)
            ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
            offset = (view.source_mm - center) / half
            closest = (offset**2).sum() - (ray @ offset) ** 2  # of a unit sphere
            films[i] = films[i] + height * 2 * np.sqrt(np.clip(1 - closest, 0, None)) * length
    volume = volume.reshape(voxels, FINE, voxels, FINE, voxels, FINE).mean((1, 3, 5))
    return grid, views, torch.as_tensor(volume), films


def ours(grid, views, samples):
    """Projection of a volume (X, Y, Z); `samples` has no meaning here."""
    from trifocal.xray.projection import Projectors

    return Projectors.of(views, grid).forward


def diffdrr(grid, views, samples):
    import torch
    from diffdrr.renderers import Trilinear

    render, prepared = Trilinear(), []
    for view in views:
        ends = [view.source_mm.reshape(1, 3), view.pixels_mm().reshape(-1, 3)]
        index = [(e - grid.affine[:3, 3]) / grid.spacing_mm for e in ends]
        source, target = (torch.as_tensor(i, dtype=torch.float32)[None] for i in index)
        length = torch.as_tensor(np.linalg.norm(ends[1] - ends[0], axis=-1), dtype=torch.float32)
        prepared.append((source, target, length[None, None], view.shape))

    def forward(volume):
        return [render(volume, s, t, n, n_points=samples).reshape(shape) for s, t, n, shape in prepared]

    return forward


def nanodrr(grid, views, samples):
    import torch

    files = types.ModuleType("torchio")  # it reads files with it, and nothing else
    files.LabelMap = files.ScalarImage = object
    sys.modules.setdefault("torchio", files)
    from nanodrr.data import Subject
    from nanodrr.drr import render

    to_world = torch.as_tensor(grid.affine, dtype=torch.float32)
    start = torch.zeros(1, 1, *grid.shape[::-1])
    to_grid = Subject._make_voxel_to_grid(start.shape)
    center = torch.tensor(grid.center_mm)
    subject = Subject(
        start, start, to_world, to_world.inverse(), to_grid, center, max_label=0, convert_to_mu=False
    )
    prepared = []
    for view in views:
        source = torch.tensor(view.source_mm, dtype=torch.float32).reshape(1, 1, 3)
        target = torch.as_tensor(view.pixels_mm(), dtype=torch.float32).reshape(1, -1, 3)
        prepared.append((source, target, view))
    eye, sdd = torch.eye(4)[None], torch.tensor([views[0].source_to_detector_mm])

    def forward(volume):
        subject._image_hu = volume.permute(2, 1, 0)[None, None].contiguous()
        return [
            render(subject, eye[:, :3, :3], eye, sdd, *view.shape, n_samples=samples, src=s, tgt=t)[0, 0]
            for s, t, view in prepared
        ]

    return forward


ENGINES = {"trifocal": ours, "DiffDRR": diffdrr, "nanodrr": nanodrr}


def best(work):
    work()
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()  # one thread: what else the machine does is left out
        work()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def one(name, voxels, pixels, wanted):
    """Error, CPU times in ms and peak memory in MB of one engine, at its fewest samples within the error."""
    import torch

    torch.set_num_threads(1)
    grid, views, volume, films = scene(voxels, pixels)
    chosen, error = 0, np.inf
    for share in SAMPLES if wanted else SAMPLES[:1]:
        samples = int(share * voxels)
        forward = ENGINES[name](grid, views, samples)
        with torch.no_grad():
            found = forward(volume)
        now = max(
            float(np.sqrt(((p.numpy() - q) ** 2).mean() / (q**2).mean()))
            for p, q in zip(found, films, strict=True)
        )
        if now < error:
            chosen, error = samples, now
        if now <= 1.05 * wanted:
            break
    forward = ENGINES[name](grid, views, chosen)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with torch.no_grad():
        times = {"forward": best(lambda: forward(volume))}
    leaf = volume.clone().requires_grad_()
    times["forward and backward"] = best(lambda: sum(p.sum() for p in forward(leaf)).backward())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"error": error, "samples": chosen, "times": times, "peak_mb": peak, "extra_mb": peak - before}


def measure():
    """Figures by name; only ours where the others are not installed."""
    python = str(PYTHON) if PYTHON.exists() else sys.executable
    names = list(ENGINES) if PYTHON.exists() else ["trifocal"]
    results = {}
    for case, (voxels, pixels) in CASES.items():
        wanted = 0.0
        for name in names:
            words = [python, __file__, name, str(voxels), str(pixels), str(wanted)]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout)
            wanted = wanted or found["error"]
            for what, value in found["times"].items():
                results[f"{name}, {case}, {what}"] = value
            results[f"{name}, {case}, relative error, %"] = 100 * found["error"]
            results[f"{name}, {case}, peak memory, MB"] = found["peak_mb"]
    if names == ["trifocal"]:
        results["DiffDRR and nanodrr are not installed: tests/benchmarks/projector.py says how"] = 0.0
    return results


if __name__ == "__main__":
    engine, *numbers, limit = sys.argv[1:]
    sys.stdout.write(json.dumps(one(engine, *map(int, numbers), float(limit))) + "\n")
