"""Where the frames of compressed DICOM pixels lie in the file, without reading them (DICOM PS3.5, A.4)."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import IO

from trifocal.image import ImageError

Span = tuple[int, int]
"""Offset in the file and size, in bytes."""

MOST_FRAGMENTS = 1_000_000

_ITEM = b"\xfe\xff\x00\xe0"
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff")
"""First bytes of a JPEG or JPEG-LS image and of a JPEG 2000 codestream."""


@dataclass(frozen=True)
class _Fragment:
    tag_at: int  # of its item tag, from that of the first fragment: what offset tables count
    span: Span
    starts_image: bool


def find_frames(file: IO[bytes], name: str, count: int, extended: bytes = b"") -> list[tuple[Span, ...]]:
    """List the fragments of every frame that is whole.

    Args:
        file: Stands behind the length of the Pixel Data element, which is undefined.
        name: Of the file, for messages.
        count: Number of Frames.
        extended: Extended Offset Table (7FE0,0001), if the file has one.

    Returns:
        For each frame, in order, the places of its fragments. There may be fewer or more than `count`.

    Raises:
        ImageError: If there are absurdly many fragments.
    """
    table, fragments, cut = _scan(file, name)
    if extended:
        table = struct.unpack(f"<{len(extended) // 8}Q", extended[: len(extended) // 8 * 8])
    groups = _group(fragments, table, count)
    if cut and groups:
        groups.pop()
    return [tuple(fragment.span for fragment in group) for group in groups]


def _scan(file: IO[bytes], name: str) -> tuple[tuple[int, ...], list[_Fragment], bool]:
    """The basic offset table, the fragments, and whether the last of them is cut off."""
    size = os.fstat(file.fileno()).st_size
    fragments: list[_Fragment] = []
    table: tuple[int, ...] | None = None
    base = 0
    while True:
        tag_at = file.tell()
        head = file.read(8)
        if len(head) < 8 or head[:4] != _ITEM:
            # the delimiter, or what stands in its place: a frame that misses a fragment will not decode
            return table or (), fragments, False
        length = struct.unpack("<I", head[4:])[0]
        start = file.tell()
        cut = start + length > size
        if table is None:
            data = file.read(length // 4 * 4) if not cut else b""
            table = struct.unpack(f"<{len(data) // 4}I", data)
            base = start + length
        elif length or cut:
            fragments.append(_Fragment(tag_at - base, (start, length), file.read(3) in _STARTS))
        if cut:
            return table, fragments, True
        if len(fragments) > MOST_FRAGMENTS:
            msg = (
                f"{name} has more than {MOST_FRAGMENTS:,} fragments of pixels: it is damaged; export it again"
            )
            raise ImageError(msg)
        file.seek(start + length)


def _group(fragments: list[_Fragment], table: tuple[int, ...], count: int) -> list[list[_Fragment]]:
    """Which fragments are one frame: by the table, by how their bytes begin, or each by itself (RLE)."""
    if count == 1:
        return [fragments] if fragments else []
    starts = set(table)
    if len(table) != count or not starts <= {f.tag_at for f in fragments} or len(starts) < count:
        starts = {f.tag_at for f in fragments if f.starts_image} or {f.tag_at for f in fragments}
    groups: list[list[_Fragment]] = []
    for fragment in fragments:
        if fragment.tag_at in starts or not groups:
            groups.append([])
        groups[-1].append(fragment)
    return groups
