"""Draws how noise and velocity are learned and sampled at tiny size, and what the seed's sampler does.

    python docs/xray_diffusion.py [STEPS]

writes xray-diffusion.png beside this file: crops of 40 phantoms at 16^3, two films each, least squares as the
estimate; about two minutes of one core.
"""

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

from trifocal.xray.models.diffusion import Diffusion, DiffusionConfig, sampled_levels
from trifocal.xray.models.started import least_squares
from trifocal.xray.phantoms import torso
from trifocal.xray.training.crops import Scene
from trifocal.xray.training.kept_crops import Volumes

VOXELS, PHANTOMS, HELD, BATCH, SAMPLE_STEPS = 16, 40, 6, 16, 20
NAMES = {"epsilon": "noise (epsilon)", "v_prediction": "velocity (v)"}


def pairs():
    """Truth and estimate, density (N, 1, 16, 16, 16) each, of crops to learn from and of held-out ones."""
    volumes = Volumes([lambda seed=seed: torso(seed, spacing_mm=8.0) for seed in range(PHANTOMS)])
    kept = volumes.learned(HELD, VOXELS, 0, 8)
    learned = [crop["density"] for i in range(len(kept)) for crop in kept.of(i)]
    held = [crop["density"] for crop in volumes.held_out(HELD, VOXELS)]
    scene = Scene.usual(VOXELS)
    made = []
    for crops in (learned, held):
        truth = torch.stack(crops).float()
        made.append((truth[:, None], least_squares(scene.films(truth), scene.lift, 15)))
    return made


@torch.no_grad()
def seeds_sampler(diffusion, estimate):
    """What the seed's inference did: x <- x0 + sigma * answer, whatever the answer was of."""
    a = diffusion._noise.alphas_cumprod
    x = torch.randn(estimate.shape, generator=torch.Generator().manual_seed(0))
    for level in sampled_levels(SAMPLE_STEPS, diffusion.config.levels):
        told = diffusion(x, estimate, torch.full((len(x),), level))
        signal, sigma = a[level].sqrt(), (1 - a[level]).sqrt()
        x0 = signal * x - sigma * told
        if diffusion.config.predicts == "epsilon":
            x0 = (x - sigma * told) / signal
        x = x0.clamp(-diffusion.config.limit, diffusion.config.limit) + sigma * told
    return estimate + diffusion.scale * x


def error_hu(found, truth):
    """Mean absolute error in HU of values clipped to [-1000, 1000] HU."""
    return 1000 * float((found.clamp(0, 2) - truth.clamp(0, 2)).abs().mean())


def learn(predicts, learned, held, steps):
    """Rows of step, training loss, error of a sample, error of the mean of 4, error by the seed's sampler."""
    torch.manual_seed(0)
    diffusion = Diffusion(DiffusionConfig(predicts=predicts, widths=(16, 32)))
    diffusion.measure(*learned)
    optimizer = torch.optim.AdamW(diffusion.parameters(), 2e-3)
    rows, losses = [], []
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / (steps + 1))
        chosen = torch.randint(len(learned[0]), (BATCH,))
        with torch.autocast("cpu", torch.bfloat16):
            loss = diffusion.loss(learned[0][chosen], learned[1][chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % (steps // 6) == 0:
            with torch.autocast("cpu", torch.bfloat16):
                drawn = diffusion.samples(held[1], 4, steps=SAMPLE_STEPS)
                seeds = seeds_sampler(diffusion, held[1])
            found = [error_hu(each, held[0]) for each in (drawn[0], drawn.mean(0), seeds)]
            rows.append([step, sum(losses) / len(losses), *found])
            losses = []
    return torch.tensor(rows).T


def main(steps):
    """Learn both and draw them."""
    torch.set_num_threads(1)
    learned, held = pairs()
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    loss, error = figure.subplots(1, 2)
    for colour, (predicts, name) in zip(("tab:blue", "tab:orange"), NAMES.items(), strict=True):
        step, trained, one, mean, seeds = learn(predicts, learned, held, steps)
        loss.plot(step, trained, "o-", color=colour, label=name)
        error.plot(step, one, "o-", color=colour, label=f"{name}, one sample")
        error.plot(step, mean, "s--", color=colour, label=f"{name}, mean of 4")
        error.plot(step, seeds, "x:", color=colour, label=f"{name}, the seed's sampler")
        last = [float(curve[-1]) for curve in (trained, one, mean, seeds)]
        sys.stdout.write(
            f"{name}: loss {last[0]:.3f}; HU of a sample, mean of 4, seed's sampler {last[1:]}\n"
        )
    error.axhline(error_hu(held[1], held[0]), color="gray", label="the estimate: least squares")
    loss.set(
        title="training: loss of each one's own target",
        xlabel="step",
        ylabel="mean squared error",
        ylim=(0, 1),
    )
    error.set(
        title="sampling: error on held-out crops",
        xlabel="step",
        ylabel="MAE, HU, [-1000, 1000]",
        yscale="log",
    )
    loss.legend()
    error.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(Path(__file__).with_name("xray-diffusion.png"), dpi=90)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 600)
