"""Folders of CTs as patients: NIfTI, NRRD, MetaImage, DICOM series, X2CT-GAN's HDF5, CTs with DRRs beside."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom

from trifocal import io
from trifocal.io.quiet import quiet_pydicom
from trifocal.xray.datasets.scan import CtScan

if TYPE_CHECKING:
    from collections.abc import Iterator

_VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_HDF5 = (".h5", ".hdf5")
_NO_CT = re.compile(r"(^|[_\-. ])(seg|mask|label|swapped)", re.IGNORECASE)
"""Segmentations, and volumes with exchanged parts, that lie beside CTs in public data sets."""

_PATIENT = re.compile(r"^(LIDC-IDRI-\d+)\b")
"""Of a name that goes on with the date and the number of the scan."""

_DRR = {"frontal": "_pa_drr.png", "lateral": "_lat_drr.png"}
_LOOKED_AT = 5  # files of a folder that are opened to see whether it is a DICOM series


@dataclass(frozen=True)
class Patient:
    """A person with one CT or more.

    Attributes:
        id: By which a split names it: of the folder or file, never from a header.
        scans: The CTs.
    """

    id: str
    scans: tuple[CtScan, ...]


def list_patients(path: Path | str, max_patients: int | None = None) -> tuple[Patient, ...]:
    """Find the CTs of a folder; no more is looked at than `max_patients` need.

    Every file or folder directly in it is a patient, with all CTs below; a folder that holds nothing but
    another folder is passed through. Scans of LIDC-IDRI-0001.* are one patient's, and so are DICOM folders
    with the same Patient ID. Masks, labels and segmentations are left out by their names; where a folder
    holds a volume of its own name, as in ID/ID.nii.gz, it is the only one.

    Args:
        path: A folder, or one file.
        max_patients: Most patients to return; all if left out.

    Returns:
        Ordered by name.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ValueError: If there is no CT, or `max_patients` is less than 1.
    """
    path = Path(path)
    if not path.exists():
        msg = f"there is no file or folder {path}: check the path"
        raise FileNotFoundError(msg)
    if max_patients is not None and max_patients < 1:
        msg = f"max_patients must be 1 or more, got {max_patients}"
        raise ValueError(msg)
    found: dict[str, _Found] = {}
    of_header: dict[str, str] = {}
    for entry in _entries(path):
        named = _PATIENT.match(entry.name)
        id_ = named.group(1) if named else _stem(entry)
        scans = []
        for scan in _scans(entry):
            scans.append(scan)
            header = _patient_hash(scan)
            id_ = of_header.setdefault(header, id_) if header else id_
        if not scans:
            continue
        if id_ not in found and max_patients is not None and len(found) == max_patients:
            break
        found.setdefault(id_, _Found()).scans.extend(scans)
    if not found:
        msg = (
            f"{path.name} holds no CT: NIfTI, NRRD, MetaImage, HDF5 with a 'ct', or folders of DICOM CT"
            " series were expected"
        )
        raise ValueError(msg)
    return tuple(Patient(id_, tuple(one.scans)) for id_, one in found.items())


@dataclass
class _Found:
    scans: list[CtScan] = field(default_factory=list)


def _entries(path: Path) -> list[Path]:
    """Files and folders that may be patients."""
    if path.is_file():
        return [path]
    inside = [p for p in sorted(path.iterdir()) if not p.name.startswith(".") and not _NO_CT.search(p.name)]
    folders = [p for p in inside if p.is_dir()]
    if _is_series([p for p in inside if p.is_file()]):
        return [path]
    volumes = [p for p in inside if p.is_file() and _layout(p)]
    if len(folders) == 1 and not volumes:
        below = _entries(folders[0])
        return [folders[0]] if below == [folders[0]] else below
    return [p for p in inside if p.is_dir() or _layout(p)]


def _scans(entry: Path) -> Iterator[CtScan]:
    """All CTs in a file or folder and below."""
    if entry.is_file():
        layout = _layout(entry)
        if layout:
            yield CtScan(entry, "hdf5" if layout == "hdf5" else "volume", _films(entry))
        return
    for place, folders, names in os.walk(entry):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and not _NO_CT.search(f))
        here = Path(place)
        files = [here / n for n in sorted(names) if not n.startswith(".") and not _NO_CT.search(n)]
        volumes = [file for file in files if _layout(file)]
        own = [file for file in volumes if _stem(file) == here.name]
        for file in own or volumes:
            yield from _scans(file)
        if not volumes and _is_series(files):
            yield CtScan(here, "dicom")


def _layout(path: Path) -> str:
    name = path.name.lower()
    if name.endswith(_HDF5):
        return "hdf5"
    return "volume" if name.endswith(_VOLUMES) else ""


def _films(path: Path) -> tuple[tuple[str, Path], ...]:
    """Pictures ID_pa_drr.png and ID_lat_drr.png beside ID.nii.gz."""
    beside = ((side, path.with_name(_stem(path) + ending)) for side, ending in _DRR.items())
    return tuple((side, film) for side, film in beside if film.is_file())


def _stem(path: Path) -> str:
    name = path.name
    ending = next(
        (e for e in sorted((*_VOLUMES, *_HDF5), key=len, reverse=True) if name.lower().endswith(e)), ""
    )
    return name[: len(name) - len(ending)] if path.is_file() else name


def _is_series(files: list[Path]) -> bool:
    """Whether the first DICOM image among a folder's first files is a CT."""
    return next((m for m in (_tag(file, "Modality") for file in files[:_LOOKED_AT]) if m), "") == "CT"


def _patient_hash(scan: CtScan) -> str:
    """Of the Patient ID of a DICOM series, to know the same person again without keeping the name."""
    if scan.layout != "dicom":
        return ""
    files = [file for file in sorted(scan.path.iterdir()) if file.is_file()]
    who = next((who for who in (_tag(file, "PatientID") for file in files[:_LOOKED_AT]) if who), "")
    return hashlib.sha256(who.encode()).hexdigest() if who else ""


def _tag(file: Path, keyword: str) -> str:
    """A word of a DICOM header; empty where the file is none or does not say."""
    if file.stat().st_size <= 132 or not io.looks_like_dicom(file):
        return ""
    with quiet_pydicom():
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=[keyword])
            return str(header.get(keyword, "") or "").strip()
        except Exception:  # noqa: BLE001 - pydicom raises whatever damaged bytes make it
            return ""
