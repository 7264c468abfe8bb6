"""Data sets of simulated cases: made by several processes, split by head, read back for training."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from trifocal import __version__
from trifocal.files import sha256_file
from trifocal.focus.cases import FORMAT, Bowls, Case, CaseSpec, HeadSource
from trifocal.focus.cluster import JobLostError
from trifocal.provenance import write_record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from trifocal.focus.cluster import Cluster
    from trifocal.predictor import Progress

MANIFEST = "manifest.json"
JOBS = "jobs"  # folder for the logs of a cluster
VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class HeadJob:
    """One head and the cases that are wanted of it.

    Attributes:
        source: The head.
        seed: Of its bowls and poses.
        poses: How many.
        bowls: What the bowls may be.
    """

    source: HeadSource
    seed: int
    poses: int
    bowls: Bowls

    def specs(self) -> list[CaseSpec]:
        """The specifications of the cases."""
        identity = self.source.identity()
        return [CaseSpec(identity, 1000 * self.seed + i, self.bowls) for i in range(self.poses)]


def split_of(head_id: str) -> str:
    """By the head alone, "train" or "val": all cases of a head are on the same side."""
    return "val" if int(head_id[:8], 16) / 16**8 < VALIDATION_SHARE else "train"


def simulate(
    jobs: Sequence[HeadJob],
    out: Path,
    *,
    processes: int,
    device: str,
    progress: Progress,
    cluster: Cluster | None = None,
) -> dict[str, Any]:
    """Simulate the cases of many heads into a folder, and write its manifest.

    Cases whose file is there are not simulated again. A head that fails is written down with its reason, and
    so is one on which a pose fails; its cases before that stay, and the other heads go on.

    Args:
        jobs: The heads.
        out: Folder of the data set; made if it does not exist.
        processes: How many heads at a time, each on its share of the processors.
        device: Where the solver runs.
        progress: Called after every head; may raise Cancelled.
        cluster: Runs a job for each head in place of the processes. A job that is lost is a failure of its
            head; starting again runs it again.

    Returns:
        The manifest: format, version, cases (file, sha256, head, split, specification), those of earlier runs
        among them, and the failures of this one.

    Raises:
        OSError: If the folder cannot be written or the disk is full; finished cases stay.
    """
    out.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, Any] = {"format": FORMAT, "version": __version__, "cases": [], "failures": []}
    with suppress(ValueError):  # of an earlier run, perhaps with other heads; a damaged one is made anew
        manifest["cases"] = [c for c in read_manifest(out)["cases"] if (out / c["file"]).exists()]
    written = time.monotonic()
    run = _run(jobs, out, processes, device) if cluster is None else _run_on(cluster, jobs, out, device)
    for done, (cases, failures) in enumerate(run, 1):
        known = {case["file"] for case in cases}
        manifest["cases"] = [c for c in manifest["cases"] if c["file"] not in known] + cases
        manifest["failures"] += failures
        if done == len(jobs) or time.monotonic() - written > 30:
            _write_manifest(out, manifest)
            written = time.monotonic()
        failed = f", {len(manifest['failures'])} failed" if manifest["failures"] else ""
        progress(done / len(jobs), f"{len(manifest['cases'])} cases of {done} heads{failed}")
    return manifest


def _write_manifest(out: Path, manifest: dict[str, Any]) -> None:
    manifest["cases"].sort(key=lambda case: case["file"])
    write_record(out / MANIFEST, manifest)


def _run(
    jobs: Sequence[HeadJob], out: Path, processes: int, device: str
) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Results of the jobs as they come."""
    if processes == 1:
        yield from (simulate_head(job, out, device, None) for job in jobs)
        return
    threads = max(1, (os.cpu_count() or 1) // processes)
    # spawned: a forked process inherits the locks of the libraries' threads
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        try:
            pending = {pool.submit(simulate_head, job, out, device, threads) for job in jobs}
            while pending:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        finally:
            pool.shutdown(cancel_futures=True)


def _run_on(
    cluster: Cluster, jobs: Sequence[HeadJob], out: Path, device: str
) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Results of the jobs as they come; a head that is complete needs none."""
    missing = [any(not (out / spec.file_name).exists() for spec in job.specs()) for job in jobs]
    yield from (simulate_head(job, out, device, None) for job, m in zip(jobs, missing, strict=True) if not m)
    wanted = [job for job, m in zip(jobs, missing, strict=True) if m]
    local = cluster.kind == "local"
    threads = max(1, (os.cpu_count() or 1) // cluster.at_once) if local else cluster.cpus
    calls = [(job, out.absolute(), device, threads) for job in wanted]
    for index, result in cluster.results(simulate_head, calls, out.absolute() / JOBS):
        if isinstance(result, JobLostError):
            yield [], [{"head": str(wanted[index].source.head), "error": str(result)}]
        else:
            yield result


def simulate_head(
    job: HeadJob, out: Path, device: str, threads: int | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Simulate what is missing of one head.

    Returns:
        Entries of the manifest: cases, failures.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    cases, failures, head = [], [], None
    name = str(job.source.head)
    try:
        specs = job.specs()
        for spec in specs:
            path = out / spec.file_name
            if not path.exists():
                head = head or job.source.load()
                Case.simulate(spec, head, device=device, threads=threads).save(path)
            entry = {"file": path.name, "sha256": sha256_file(path), "head": spec.head_id}
            cases.append(entry | {"split": split_of(spec.head_id), "spec": asdict(spec)})
    except ValueError as error:  # the head cannot be read, or no pose couples
        failures.append({"head": name, "error": str(error)})
    return cases, failures


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what `simulate` has written.

    Raises:
        ValueError: If there is no manifest, or it is of another format.
    """
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        msg = f"{folder} holds no {MANIFEST}: make the data first, with `trifocal simulate focus --heads ...`"
        raise ValueError(msg) from error
    except json.JSONDecodeError as error:
        msg = f"{path} is damaged ({error}): run `simulate focus` again, it keeps the cases that are there"
        raise ValueError(msg) from error
    if manifest.get("format") != FORMAT:
        msg = f"{path} must have format {FORMAT}, got {manifest.get('format')}: simulate again"
        raise ValueError(msg)
    return manifest
