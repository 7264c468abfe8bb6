"""Whether a DICOM file is ultrasound, by a look at its header."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pydicom
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from trifocal.io.quiet import quiet_pydicom

if TYPE_CHECKING:
    from pathlib import Path

_MODALITIES = ("US", "IVUS")
_DEFLATED = DeflatedExplicitVRLittleEndian.encode()


def is_ultrasound(path: Path) -> bool:
    """Whether a file is DICOM and says that it is ultrasound; one that cannot be parsed is not.

    The pixels are not read, so that a folder of many files can be looked through.
    """
    try:
        with quiet_pydicom(), path.open("rb") as file:
            head = file.read(2048)
            if (head[128:132] != b"DICM" and head[:2] != b"\x08\x00") or _DEFLATED in head:
                return False
            file.seek(0)
            tags = ["Modality", "SOPClassUID"]
            header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=tags)
            modality = str(header.get("Modality") or "").strip()
            kind = UID(str(header.get("SOPClassUID") or "")).name
    except Exception:  # noqa: BLE001 - pydicom raises whatever damaged bytes make it
        return False
    return modality in _MODALITIES or (not modality and "Ultrasound" in kind)
