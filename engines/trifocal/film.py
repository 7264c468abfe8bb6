"""Pictures one after the other as a file that plays anywhere: MP4 or GIF."""

from __future__ import annotations

import subprocess
import tempfile
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import imageio_ffmpeg
import numpy as np
from PIL import Image as Picture

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Pictures = Iterable[NDArray[np.uint8]]

FPS = 12.0
CRF = 20  # of x264: 0 is lossless, 51 the worst; 20 shows nothing of the compression
PALETTE_FRAMES = 8  # pictures that the colours of a GIF are chosen from


def write_mp4(path: Path | str, pictures: Pictures, *, fps: float = FPS) -> None:
    """Write H.264 with 4:2:0 colours, which every player knows; an odd row or column at the end is cut off.

    Args:
        path: The file.
        pictures: Each (rows, columns, 3) uint8, all of one size; at least one.
        fps: Pictures in a second.

    Raises:
        ValueError: If there is no picture or their sizes differ.
        OSError: If the file cannot be written.
    """
    stream = iter(pictures)
    first = next(stream, None)
    if first is None:
        msg = "a film needs at least one picture"
        raise ValueError(msg)
    # ffmpeg itself rather than imageio's generator, which does not look at the exit code
    with tempfile.TemporaryFile() as errors:
        encoder = subprocess.Popen(_ffmpeg(path, first.shape, fps), stdin=subprocess.PIPE, stderr=errors)
        try:
            _feed(encoder, chain([first], stream), first.shape)
        except BaseException:
            encoder.kill()
            encoder.communicate()
            raise
        if encoder.returncode != 0:
            errors.seek(0)
            raise _failure(errors.read().decode(errors="replace"), Path(path))


def write_gif(path: Path | str, pictures: Pictures, *, fps: float = FPS, width: int | None = None) -> None:
    """Write a GIF that plays for ever, with one set of colours for all pictures.

    What does not change from one picture to the next costs next to nothing, as no dithering moves it.

    Args:
        path: The file.
        pictures: Each (rows, columns, 3) uint8, all of one size; at least one.
        fps: Pictures in a second; GIF knows hundredths of a second.
        width: Columns to shrink wider pictures to.

    Raises:
        ValueError: If there is no picture or their sizes differ.
        OSError: If the file cannot be written.
    """
    small = [_shrunk(picture[..., :3], width) for picture in pictures]
    if not small:
        msg = "a film needs at least one picture"
        raise ValueError(msg)
    for picture in small:
        _check_size(picture.size, small[0].size)
    palette = _palette(small)
    indexed = [p.quantize(palette=palette, dither=Picture.Dither.NONE) for p in small]
    indexed[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=indexed[1:],
        duration=round(100 / fps) * 10,
        loop=0,
        optimize=False,
    )


def _feed(encoder: subprocess.Popen[bytes], pictures: Pictures, shape: Sequence[int]) -> None:
    assert encoder.stdin is not None
    try:
        for picture in pictures:
            _check_size(picture.shape, shape)
            even = picture[: shape[0] // 2 * 2, : shape[1] // 2 * 2, :3]
            encoder.stdin.write(np.ascontiguousarray(even).data)
    except BrokenPipeError:
        pass  # it has ended early; its exit code says so
    encoder.communicate()


def _ffmpeg(path: Path | str, shape: Sequence[int], fps: float) -> list[str]:
    rows, columns = (n // 2 * 2 for n in shape[:2])
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{columns}x{rows}", "-r", f"{fps:g}", "-i", "-"]
    # the index comes first, so that a browser can begin before it has all of it
    target = ["-an", "-c:v", "libx264", "-crf", str(CRF), "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    return [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *source, *target, "-f", "mp4", str(path)]


def _failure(said: str, path: Path) -> OSError:
    reason = said.strip().splitlines()[-1] if said.strip() else "no reason given"
    return OSError(f"ffmpeg could not write {path.name}: {reason}")


def _check_size(got: Sequence[int], wanted: Sequence[int]) -> None:
    if tuple(got[:2]) != tuple(wanted[:2]):
        msg = f"the pictures of a film must be of one size, got {tuple(got[:2])} after {tuple(wanted[:2])}"
        raise ValueError(msg)


def _shrunk(picture: NDArray[np.uint8], width: int | None) -> Picture.Image:
    image = Picture.fromarray(np.ascontiguousarray(picture))
    if width is None or image.width <= width:
        return image
    return image.resize((width, round(image.height * width / image.width)), Picture.Resampling.LANCZOS)


def _palette(pictures: list[Picture.Image]) -> Picture.Image:
    """Colours for all pictures, chosen from some of them.

    A colour counts by the root of how often it is there: else the greys of a head take all of the palette,
    and a thin red line gets none of it.
    """
    chosen = np.linspace(0, len(pictures) - 1, PALETTE_FRAMES).astype(int)
    pixels = np.concatenate([np.asarray(pictures[i]).reshape(-1, 3) for i in chosen])
    code = (pixels >> 2).astype(np.int32) @ np.array([1 << 12, 1 << 6, 1], np.int32)
    _, first, count = np.unique(code, return_index=True, return_counts=True)
    sheet = np.repeat(pixels[first], np.sqrt(count).round().astype(int), axis=0)
    return Picture.fromarray(sheet[None]).quantize(256, method=Picture.Quantize.MEDIANCUT, kmeans=1)
