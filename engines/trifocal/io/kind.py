"""Whether a DICOM file is ultrasound, by a look at the beginning of its header."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pydicom
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

if TYPE_CHECKING:
    from pathlib import Path

_MODALITIES = ("US", "IVUS")
_DEFLATED = DeflatedExplicitVRLittleEndian.encode()


def is_ultrasound(path: Path) -> bool:
    """Whether a file is DICOM and says that it is ultrasound; one that cannot be parsed is not.

    The pixels are not read, so that a folder of many files can be looked through.
    """
    try:
        with path.open("rb") as file:
            head = file.read(2048)
            if (head[128:132] != b"DICM" and head[:2] != b"\x08\x00") or _DEFLATED in head:
                return False
            file.seek(0)
            header = pydicom.dcmread(
                file, stop_before_pixels=True, force=True, specific_tags=["Modality", "SOPClassUID"]
            )
    except Exception:  # noqa: BLE001 - pydicom raises whatever damaged bytes make it
        return False
    modality = str(header.get("Modality") or "").strip()
    return modality in _MODALITIES or (
        not modality and "Ultrasound" in UID(header.get("SOPClassUID", "")).name
    )
