"""Simulated cases grouped by their heads, for the writer."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from trifocal.focus.cases import Bowls, CaseSpec, HeadSource
from trifocal.focus.data import split_of
from trifocal.focus.phantoms import HeadSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trifocal.focus.tfuscapes.data_set import Split


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
        msg = f"there are no cases in {', '.join(map(str, data))}: make some, by `trifocal simulate focus`"
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
        try:
            source = _source(head, known)
        except (ValueError, TypeError, KeyError) as error:  # of another version
            failures[f"head {head_id}"] = f"its specification cannot be used ({error}): simulate again"
            continue
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
