"""Our own simulated cases in the published format.

A case holds its head only inside the bowl's box. The whole head is made again from the case's facts (a
procedural head from its parameters; a CT by the hash of its files) and held against the case's box.
"""

from __future__ import annotations

import json
import multiprocessing
import re
from collections import defaultdict
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from trifocal.files import atomic_file
from trifocal.focus.box import Box
from trifocal.focus.cases import Bowls, Case, CaseSpec, HeadSource
from trifocal.focus.data import split_of
from trifocal.focus.phantoms import HeadSpec
from trifocal.focus.pose import Pose
from trifocal.focus.predictor import FULL_POINTS_PER_WAVELENGTH, water_peak_pa
from trifocal.focus.tfuscapes.cube import Cube, CubeSpec
from trifocal.focus.tfuscapes.data_set import RECORD, SPLITS, Split, has_path, read_record
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
class HeadCases:
    """The cases of one head, and where they go.

    Attributes:
        source: The head.
        subject: Its folder.
        split: The list that it is in.
        files: The cases, in the order of their seeds.
    """

    source: HeadSource
    subject: str
    split: Split
    files: tuple[Path, ...]


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


def find_cases(
    data: Sequence[Path], cts: Sequence[Path], split: Split | None
) -> tuple[list[HeadCases], dict[str, str]]:
    """Group the cases by their heads.

    Returns:
        The heads, and what cannot be used: case or head -> why.

    Raises:
        ValueError: If there is no case at all.
    """
    files = [path for folder in data for path in sorted(folder.glob("*.safetensors"))]
    if not files:
        msg = f"there are no cases in {', '.join(map(str, data))}: make some, with `trifocal simulate focus --poses N`"
        raise ValueError(msg)
    heads: dict[str, dict[str, Any]] = {}
    members: defaultdict[str, dict[str, tuple[int, Path]]] = defaultdict(dict)
    failures = {}
    for path in files:
        try:
            spec = _spec(path)
        except ValueError as error:
            failures[path.name] = str(error)
            continue
        heads[spec.head_id] = spec.head
        members[spec.head_id][path.name] = spec.seed, path
    known = {str(HeadSource(path).identity()["ct"]): path for path in cts}
    jobs = []
    for head_id, head in heads.items():
        ordered = tuple(path for _, path in sorted(members[head_id].values()))
        source = _source(head, known)
        if source is None:
            failures[f"head {head['name']}"] = "its CT is not among those given: name it with --ct"
            continue
        jobs.append(HeadCases(source, head_id, split or _side(head_id), ordered))
    return jobs, failures


def _side(head_id: str) -> Split:
    return "val" if split_of(head_id) == "val" else "train"


def _spec(path: Path) -> CaseSpec:
    """The specification of a case, without its arrays."""
    try:
        with safe_open(path, "np") as file:
            facts = json.loads((file.metadata() or {})["facts"])["spec"]
        return CaseSpec(facts["head"], facts["seed"], Bowls(**facts["bowls"]))
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        msg = f"it is damaged or no case of `simulate focus` ({error}): delete it and simulate again"
        raise ValueError(msg) from error


def _source(head: dict[str, Any], cts: dict[str, Path]) -> HeadSource | None:
    if "phantom" in head:
        return HeadSource(HeadSpec(**head["phantom"]))
    path = cts.get(head["ct"])
    return None if path is None else HeadSource(path, head["resample"])


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


def _run(
    jobs: Sequence[HeadCases], out: Path, spec: CubeSpec, has: bool, processes: int
) -> Iterator[Result]:
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
            head = head or job.source.load()
            with one_core():
                _write(path, job, head, target, spec, has)
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
            msg = f"it is in {facts.split} already and cannot be in {job.split} too: a head belongs to one split"
            raise ValueError(msg)
        found[facts.case] = _number(path)
    following = max(found.values(), default=-1) + 1
    new = [path.name for path in job.files if path.name not in found]
    return found | {name: following + i for i, name in enumerate(new)}


def _number(path: Path) -> int:
    return int(re.sub(r"\D", "", path.stem))


def _complete(target: Path, has: bool) -> bool:
    """The facts are written last: where they are, the sample is."""
    whole = target.with_suffix(".json").exists() and target.exists()
    return whole and (not has or has_path(target).exists())


def _write(path: Path, job: HeadCases, head: Head, target: Path, spec: CubeSpec, has: bool) -> None:
    case = Case.load(path)
    bowl, pose = case.bowl, Pose(case.inputs["pose"]["matrix"])
    box = Box.around(bowl, FULL_POINTS_PER_WAVELENGTH)
    _check_head(case, head, box, pose)
    cube = Cube.about(bowl, pose, spec, path.name)
    unit = np.float32(water_peak_pa(bowl))
    pressure = cube.field(case.pressure.astype(np.float32) * unit, box, pose)
    with atomic_file(target) as part, part.open("wb") as file:
        np.savez(file, ct=cube.head_hu(head), pmap=pressure, tr_coords=cube.transducer)
    if has:
        march = np.hypot(*case.field.astype(np.float32)) * unit
        with atomic_file(has_path(target)) as part, part.open("wb") as file:
            np.save(file, cube.field(march, box, pose))
    facts = SampleFacts(
        cube.affine, bowl, pose, float(unit), job.subject, spec.frame, path.name, job.split
    )
    facts.save(target.with_suffix(".json"))


def _check_head(case: Case, head: Head, box: Box, pose: Pose) -> None:
    with torch.no_grad():
        hu, _ = head.sample(torch.from_numpy(pose.matrix.copy())[None], box)
    off = float(np.abs(hu[0].numpy() - case.hu).mean())
    if off > SAME_HEAD_HU:
        msg = (
            f"the head that was made again differs by {off:.0f} HU on average from the one that was simulated: "
            "this version makes other heads, simulate the cases again"
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
        lists[split].append(f"{path.parent.name}/{path.stem}.npz")  # type: ignore[index]
    for split, names in lists.items():
        with atomic_file(out / "splits" / f"{split}.txt") as part:
            part.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return lists
