"""A training that tests start as several processes, some of which are to die.

`torchrun --nproc-per-node 2 ranks.py FOLDER KILLS`, or `python ranks.py FOLDER KILLS` for the same agent
without a start of Python for each process. KILLS are words of rank, call of the loss and signal, as 1:7:9;
each start of the processes carries out the next one, and leaves a file that says so.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trifocal.training import Plan, fit

PLAN = Plan(epochs=4, batch_size=3, learning_rate=0.02, ema=0.9, seed=5, accumulate=2, validate_every=0.5)
SAMPLES = 41  # a prime: nothing comes out even


class Points:
    """y = A x with noise, and an augmentation that seed, epoch and index decide."""

    def __init__(self, samples=SAMPLES):
        generator = np.random.default_rng(1)
        self.x = generator.normal(size=(samples, 3)).astype(np.float32)
        self.y = self.x @ np.float32([1, -2, 0.5]) + np.float32(0.3)
        self.epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        noise = np.random.default_rng([7, self.epoch, index]).normal(size=3).astype(np.float32)
        return {"x": self.x[index] + 0.1 * noise, "y": self.y[index]}


class Net(nn.Module):
    """Has what could break exactness: dropout (random numbers) and a batch norm (buffers)."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 1)
        )

    def forward(self, x):
        return self.layers(x)[:, 0]


def score(model):
    data = Points()
    error = model(torch.tensor(data.x)).detach() - torch.tensor(data.y)
    return {"score": float((error**2).mean())}


def main(out, kills):
    """Train; die as told."""
    left = [word for number, word in enumerate(kills) if not Path(out, f"killed{number}").exists()]
    dies = tuple(map(int, left[0].split(":"))) if left else None
    rank = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")))
    calls = []

    def loss(model, batch):
        calls.append(1)
        time.sleep(float(os.environ.get("PAUSE", "0")))
        if dies and dies[:2] == (rank, len(calls)):
            Path(out, f"killed{len(kills) - len(left)}").touch()
            os.kill(os.getpid(), dies[2])
        return {"loss": ((model(batch["x"]) - batch["y"]) ** 2).mean()}

    torch.manual_seed(11)
    net = Net()
    fit(net, Points(), loss, PLAN, out, validate=score, device="cpu")
    Path(out, f"rank{rank}.hash").write_text(digest(net.state_dict()))


def digest(weights):
    """A hash over the bits of weights."""
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(name.encode() + weights[name].numpy().tobytes())
    return found.hexdigest()


def launch(out, kills):
    """Start two processes as torchrun does, as often as they die, by forks of one that has imported torch."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    multiprocessing.set_forkserver_preload(["trifocal.training", "lightning_fabric"])
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=len(kills) + 3,  # a start may fail while what is left of the one before goes
        monitor_interval=0.05,
        start_method="forkserver",
        run_id="ranks",
    )
    elastic_launch(config, main)(out, kills)


if __name__ == "__main__":
    run = main if "RANK" in os.environ or "SLURM_PROCID" in os.environ else launch
    run(sys.argv[1], sys.argv[2:])
