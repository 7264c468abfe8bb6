"""DICOM CT in: which files, what they say, one volume out. pydicom reads headers, `geometry` judges them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage

from trifocal.image import Image, ImageError
from trifocal.io.checks import AIR_HU, to_volume
from trifocal.io.geometry import Plane, Stack, stack_planes
from trifocal.io.pixels import load_pixels, parse_dicom
from trifocal.io.regrid import regrid
from trifocal.io.sources import Source, dicom_sources

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_CT_CLASSES = (CTImageStorage, EnhancedCTImageStorage)


@dataclass(frozen=True, eq=False)
class _File:
    """A DICOM file and its header, without the pixels."""

    source: Source
    header: Dataset


def read_dicom(path: Path, *, resample: bool = False) -> Image:
    """Read the only CT series in a folder (with its subfolders), a zip or one multi-frame file.

    Args:
        path: The folder, zip or file.
        resample: Interpolate a tilted or unevenly spaced series onto a regular grid instead of refusing it.

    Returns:
        (column, row, slice) HU, int16 where the values allow it; padding outside the scan circle is -1000.

    Raises:
        ImageError: If there is no CT or several, or the slices are no regular stack; the message says why.
    """
    name = path.name
    skipped: Counter[str] = Counter()
    with dicom_sources(path) as sources:
        files = _choose([f for s in sources if (f := _header(s, skipped))], name, skipped)
        planes = [plane for number, file in enumerate(files) for plane in _planes(number, file)]
        stack = stack_planes(planes, name)
        faults = stack.faults()
        if faults and not resample:
            msg = f"{name} is not a regular volume: {faults}; complete the series or resample it (--resample)"
            raise ImageError(msg)
        notes = _notes(name, files, stack, skipped)
        volume, padded = load_pixels(stack, [file.source for file in files], name)
    if padded:
        notes["padding"] = f"{padded} voxels outside the scan circle set to {AIR_HU:g} HU"
    if faults:
        array, affine, notes["resampled"] = regrid(volume, stack, name)
    else:
        array, affine = volume.transpose(2, 1, 0), stack.affine()
    return to_volume(array, affine, "HU", notes, name)


def _header(source: Source, skipped: Counter[str]) -> _File | None:
    """Read a header; None, and counted, where the file is not DICOM or holds no image."""
    with source.open() as file:
        head = file.read(2048)
        # files from before DICOM part 10 begin with an element of group 8
        if head[128:132] != b"DICM" and head[:2] != b"\x08\x00":
            skipped["not DICOM"] += 1
            return None
        if _DEFLATED in head:  # pydicom would inflate it without bounds
            msg = f"{source.name} is stored deflated, which is not read: save it uncompressed"
            raise ImageError(msg)
        file.seek(0)
        header = parse_dicom(source.name, file, pixels=False)
    if "Rows" not in header:
        skipped["no image"] += 1
        return None
    if "LOCALIZER" in header.get("ImageType", ()):
        skipped["localizer"] += 1
        return None
    return _File(source, header)


def _choose(files: list[_File], name: str, skipped: Counter[str]) -> list[_File]:
    """Keep the files of the only CT series."""
    series: dict[str, list[_File]] = defaultdict(list)
    other: Counter[str] = Counter()
    for file in files:
        kind = str(file.header.get("Modality", ""))
        if kind == "CT" or (not kind and file.header.get("SOPClassUID") in _CT_CLASSES):
            series[str(file.header.get("SeriesInstanceUID", ""))].append(file)
        else:
            other[kind or "unknown"] += 1
    if not series:
        found = ", ".join(f"{n} of modality {kind}" for kind, n in other.items()) or "none"
        left = ", ".join(f"{n} {why}" for why, n in skipped.items())
        msg = (
            f"{name} holds no CT: images found: {found}{f' (skipped: {left})' if left else ''};"
            " choose the folder of a CT series"
        )
        raise ImageError(msg)
    if len(series) > 1:
        listed = "; ".join(
            f"{files[0].header.get('SeriesNumber', '?')} {files[0].header.get('SeriesDescription', '')!r}"
            f" with {len(files)} files, e.g. {files[0].source.name}"
            for files in series.values()
        )
        msg = (
            f"{name} holds {len(series)} CT series where one was expected ({listed}): give the folder of one"
        )
        raise ImageError(msg)
    skipped.update({f"modality {kind}": n for kind, n in other.items()})
    return next(iter(series.values()))


def _planes(number: int, file: _File) -> list[Plane]:
    """Describe the slices of one file, each frame of a multi-frame file with its own geometry."""
    header, name = file.header, file.source.name
    try:
        if int(header.get("SamplesPerPixel", 1)) != 1:
            got = header.SamplesPerPixel
            msg = f"{name} is a colour image (SamplesPerPixel {got}): choose a CT, with one number per pixel"
            raise ImageError(msg)
        frames = int(header.get("NumberOfFrames", 1) or 1)
        groups = list(header.get("PerFrameFunctionalGroupsSequence", []))
        shared = list(header.get("SharedFunctionalGroupsSequence", []))
        if len(groups) != frames and (groups or frames > 1):
            msg = f"{name} has {frames} frames but a geometry for {len(groups)}: export the series again"
            raise ImageError(msg)
        return [_plane((number, f), file, [*groups[f : f + 1], *shared, header]) for f in range(frames)]
    except (ValueError, TypeError, AttributeError, IndexError, NotImplementedError) as error:
        if isinstance(error, ImageError):
            raise
        msg = f"the header of {name} cannot be understood ({error}): export it again"
        raise ImageError(msg) from error


def _plane(key: tuple[int, int], file: _File, places: list[Dataset]) -> Plane:
    header, name = file.header, file.source.name

    def find(sequence: str, keyword: str, count: int, why: str) -> NDArray[np.float64]:
        for place in places:  # the frame's own group, the shared one, the top of the file
            inner = place.get(sequence) or [place]
            if (value := inner[0].get(keyword)) is not None:
                figures = np.array(value, float).reshape(-1)
                if figures.shape == (count,) and np.isfinite(figures).all():
                    return figures
        msg = f"{name} has no usable {keyword}: {why}; export the series again with it"
        raise ImageError(msg)

    spacing = find("PixelMeasuresSequence", "PixelSpacing", 2, "the size of its pixels in mm is unknown")
    axes = find(
        "PlaneOrientationSequence", "ImageOrientationPatient", 6, "how it lies in the patient is unknown"
    )
    origin = find("PlanePositionSequence", "ImagePositionPatient", 3, "where it lies is unknown")
    no_hu = "its numbers cannot be turned into HU"
    slope = float(find("PixelValueTransformationSequence", "RescaleSlope", 1, no_hu)[0])
    intercept = float(find("PixelValueTransformationSequence", "RescaleIntercept", 1, no_hu)[0])
    if slope == 0 or str(header.get("RescaleType", "") or "HU").upper() not in ("HU", "US"):
        what = "RescaleSlope 0" if slope == 0 else f"RescaleType {header.RescaleType}"
        msg = f"{name} has {what}: {no_hu}; export the series again in HU"
        raise ImageError(msg)
    return Plane(
        name if int(header.get("NumberOfFrames", 1) or 1) == 1 else f"{name} frame {key[1] + 1}",
        key,
        origin,
        axes[:3],
        axes[3:],
        spacing[::-1].copy(),  # DICOM says (between rows, between columns)
        (int(header.Columns), int(header.Rows)),
        (slope, intercept),
        str(header.get("FrameOfReferenceUID", "") or ""),
    )


def _notes(name: str, files: list[_File], stack: Stack, skipped: Counter[str]) -> dict[str, Any]:
    header = files[0].header
    scanner = {
        keyword: str(value)
        for keyword in (
            "Manufacturer",
            "ManufacturerModelName",
            "ConvolutionKernel",
            "KVP",
            "GantryDetectorTilt",
        )
        if (value := header.get(keyword)) not in (None, "")
    }
    return {
        "source": name,
        "format": "DICOM",
        "slices": len(stack.planes),
        "skipped_files": dict(skipped),
        "rescale": dict(zip(("slope", "intercept"), stack.planes[0].rescale, strict=True)),
        "scanner": scanner,
    }
