"""Our own simulated cases in the published format.

A case holds its head only inside the bowl's box. The whole head is made again from the case's facts (a
procedural head from its parameters; a CT by the hash of its files) and held against the case's box.
"""

from __future__ import annotations

import multiprocessing
import re
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from trifocal.files import atomic_file
from trifocal.focus.analysis import beyond_near_skull
from trifocal.focus.box import Box
from trifocal.focus.cases import Case
from trifocal.focus.pose import Pose
from trifocal.focus.predictor import FULL_POINTS_PER_WAVELENGTH, water_peak_pa
from trifocal.focus.tfuscapes.cube import Cube, CubeSpec, to_cube
from trifocal.focus.tfuscapes.data_set import RECORD, SPLITS, Split, has_path, read_record, region_path
from trifocal.focus.tfuscapes.grouping import HeadCases, find_cases
from trifocal.focus.tfuscapes.sample import SampleFacts
from trifocal.predictor import Progress, one_core, silent
from trifocal.provenance import write_record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from trifocal.focus.head import Head

FORMAT = 1
SAME_HEAD_HU = 2.0  # mean difference at most: the case's HU are rounded


@dataclass(frozen=True)
class Written:
    """What `write_data_set` has done.

    Attributes:
        written: Samples made by this run.
        kept: Samples that were there already.
        splits: Samples in each list, those of earlier runs among them.
        failures: Head or case -> why it was left out.
    """

    written: int
    kept: int
    splits: dict[str, int]
    failures: dict[str, str]


def write_data_set(
    data: Sequence[Path],
    out: Path,
    spec: CubeSpec,
    *,
    cts: Sequence[Path] = (),
    split: Split | None = None,
    has: bool = False,
    processes: int = 1,
    progress: Progress = silent,
) -> Written:
    """Write the cases of some folders as a TFUScapes data set, or add them to one.

    Samples that are there are kept; a head or case that fails is named and the others go on.

    Args:
        data: Folders that `simulate focus` has written.
        out: Folder of the data set.
        spec: Axes and size of the cubes: those of the data set, if there is one.
        cts: Where the CTs are that some cases were made on.
        split: Of all these heads; by the head, as for training, if None.
        has: Also write the amplitude of the hybrid angular spectrum beside each sample.
        processes: Heads at a time.
        progress: Called after every head; may raise Cancelled.

    Raises:
        ValueError: If there is no case, or the data set at `out` has other cubes.
        OSError: If the folder cannot be written or the disk is full; finished samples stay.
    """
    jobs, failures = find_cases(data, cts, split)
    _claim(out, spec)
    written = kept = 0
    try:
        for done, (made, there, failed) in enumerate(_run(jobs, out, spec, has, processes), 1):
            written, kept, failures = written + made, kept + there, failures | failed
            wrong = f", {len(failures)} failed" if failures else ""
            progress(done / len(jobs), f"{written + kept} samples of {done} heads{wrong}")
    finally:
        lists = write_splits(out)
    return Written(written, kept, {s: len(names) for s, names in lists.items()}, failures)


def _claim(out: Path, spec: CubeSpec) -> None:
    """Make the folder a data set of such cubes, or see that it is one."""
    wanted = {"format": FORMAT, **asdict(spec)}
    record = read_record(out)
    if record is None and (out / "data").exists():
        msg = f"{out} holds a data set that is not ours to add to (no {RECORD}): choose another folder"
        raise ValueError(msg)
    if record is not None and record != wanted:
        msg = f"{out} must have cubes of {wanted} to be added to, got {record}: choose another folder"
        raise ValueError(msg)
    (out / "data").mkdir(parents=True, exist_ok=True)
    (out / "splits").mkdir(exist_ok=True)
    if record is None:
        write_record(out / RECORD, wanted)


Result = tuple[int, int, dict[str, str]]


def _run(jobs: Sequence[HeadCases], out: Path, spec: CubeSpec, has: bool, processes: int) -> Iterator[Result]:
    """Results of the heads as they come."""
    if processes == 1:
        yield from (write_head(job, out, spec, has) for job in jobs)
        return
    # spawned: a forked process inherits the locks of the libraries' threads
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        try:
            pending = {pool.submit(write_head, job, out, spec, has) for job in jobs}
            while pending:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        finally:
            pool.shutdown(cancel_futures=True)


def write_head(job: HeadCases, out: Path, spec: CubeSpec, has: bool) -> Result:
    """Write what is missing of one head.

    Returns:
        Samples written, samples kept, and failures: head or case -> why.
    """
    folder = out / "data" / job.subject
    folder.mkdir(exist_ok=True)
    failures: dict[str, str] = {}
    written = kept = 0
    head = None
    try:
        numbers = _numbers(job, folder)
        for path in job.files:
            target = folder / f"exp_{numbers[path.name]}.npz"
            if _complete(target, has):
                kept += 1
                continue
            with one_core():
                if not _has_volumes(target):
                    head = head or job.source.load()
                    _write_volumes(Case.load(path), job, head, target, spec, path.name)
                _write_extras(Case.load(path), target, spec, has)
            written += 1
    except ValueError as error:  # the head cannot be made, or is another; a case is damaged
        failures[f"head {job.subject}"] = str(error)
    return written, kept, failures


def _numbers(job: HeadCases, folder: Path) -> dict[str, int]:
    """Which exp_<k> each case is: those that are there keep theirs, new ones follow."""
    found: dict[str, int] = {}
    for path in folder.glob("exp_*.json"):
        facts = SampleFacts.load(path)
        if facts.split != job.split:
            msg = f"it is in {facts.split} already and cannot be in {job.split} too: a head has one split"
            raise ValueError(msg)
        found[facts.case] = _number(path)
    following = max(found.values(), default=-1) + 1
    new = [path.name for path in job.files if path.name not in found]
    return found | {name: following + i for i, name in enumerate(new)}


def _number(path: Path) -> int:
    return int(re.sub(r"\D", "", path.stem))


def _has_volumes(target: Path) -> bool:
    """The facts are written after the volumes: where they are, the volumes are whole."""
    return target.with_suffix(".json").exists() and target.exists()


def _complete(target: Path, has: bool) -> bool:
    extras = [region_path(target), *([has_path(target)] if has else [])]
    return _has_volumes(target) and all(path.exists() for path in extras)


def _write_volumes(case: Case, job: HeadCases, head: Head, target: Path, spec: CubeSpec, name: str) -> None:
    bowl, pose = case.bowl, Pose(case.inputs["pose"]["matrix"])
    box = Box.around(bowl, FULL_POINTS_PER_WAVELENGTH)
    _check_head(case, head, box, pose)
    cube = Cube.about(bowl, pose, spec, name)
    unit = water_peak_pa(bowl)
    pressure = to_cube(
        case.pressure.astype(np.float32) * np.float32(unit), box, pose, cube.affine, cube.box.shape
    )
    with atomic_file(target) as part, part.open("wb") as file:
        np.savez(file, ct=cube.head_hu(head), pmap=pressure, tr_coords=cube.transducer)
    facts = SampleFacts(cube.affine, bowl, pose, unit, job.subject, spec.frame, name, job.split)
    facts.save(target.with_suffix(".json"))


def _write_extras(case: Case, target: Path, spec: CubeSpec, has: bool) -> None:
    """What the published format does not have: where the focus is looked for, and the march."""
    facts = SampleFacts.load(target.with_suffix(".json"))
    box = Box.around(case.bowl, FULL_POINTS_PER_WAVELENGTH)
    shape = (spec.shape, spec.shape, spec.shape)
    region = beyond_near_skull(case.hu.astype(np.float32), box.spacing_mm).astype(np.float32)
    inside = to_cube(region, box, facts.pose, facts.affine, shape) > 0.5
    with atomic_file(region_path(target)) as part, part.open("wb") as file:
        np.save(file, np.packbits(inside))
    if has:
        march = np.hypot(*case.field.astype(np.float32)) * np.float32(facts.water_peak_pa)
        with atomic_file(has_path(target)) as part, part.open("wb") as file:
            np.save(file, to_cube(march, box, facts.pose, facts.affine, shape))


def _check_head(case: Case, head: Head, box: Box, pose: Pose) -> None:
    with torch.no_grad():
        hu, _ = head.sample(torch.from_numpy(pose.matrix.copy())[None], box)
    off = float(np.abs(hu[0].numpy() - case.hu).mean())
    if off > SAME_HEAD_HU:
        msg = (
            f"the head made again differs by {off:.0f} HU on average from the one that was simulated "
            "with: simulate the cases again"
        )
        raise ValueError(msg)


def write_splits(out: Path) -> dict[Split, list[str]]:
    """List the samples that are there, by the facts beside each."""
    lists: dict[Split, list[str]] = {s: [] for s in SPLITS}
    order = sorted((out / "data").glob("*/exp_*.json"), key=lambda p: (p.parent.name, _number(p)))
    for path in order:
        split = SampleFacts.load(path).split
        if split not in lists:
            msg = f"split in {path} must be one of {list(SPLITS)}, got {split!r}: delete it and export again"
            raise ValueError(msg)
        lists[split].append(f"{path.parent.name}/{path.stem}.npz")
    for split, names in lists.items():
        with atomic_file(out / "splits" / f"{split}.txt") as part:
            part.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return lists
