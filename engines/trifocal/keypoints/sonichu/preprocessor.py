"""What an image goes through before the SONICHU model sees it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch.nn import functional

from trifocal.files import atomic_file
from trifocal.keypoints.sonichu.weights import find_file

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

FILE = "preprocessor_config.json"


@dataclass(frozen=True)
class SonichuPreprocessor:
    """Resize to a square, scale to [0, 1], normalise by ImageNet's statistics. Stored as a JSON.

    The whole image is stretched to the square (the card says 256 x 256, and that predictions scale back by
    width and height), by anti-aliased linear interpolation with half-pixel centres.

    Attributes:
        image_size: Rows and columns of the output.
        image_mean: Of red, green and blue, of values in [0, 1].
        image_std: The same.
    """

    image_size: int = 256
    image_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    image_std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if self.image_size < 1 or len(self.image_mean) != 3 or len(self.image_std) != 3:
            msg = f"the preprocessor must have a size of 1 or more and three means and deviations, got {self}"
            raise ValueError(msg)

    def __call__(self, image: NDArray[np.uint8]) -> dict[str, Any]:
        """Prepare one image.

        Args:
            image: (rows, columns) grey or (rows, columns, 3) RGB, uint8; one channel becomes three equal
                ones.

        Returns:
            pixel_values (1, 3, image_size, image_size) float32, orig_w and orig_h, the image's columns and
            rows.

        Raises:
            ValueError: If the image has another shape or type.
        """
        image = np.asarray(image)
        if image.ndim == 2:
            image = image[..., None]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
            msg = (
                "the image must be (rows, columns) or (rows, columns, 3 of RGB) of uint8, got "
                f"{image.shape} of {image.dtype}: convert it first"
            )
            raise ValueError(msg)
        rows, columns = image.shape[:2]
        pixels = torch.tensor(image).permute(2, 0, 1)[None]  # (1, channels, rows, columns)
        return {"pixel_values": self.tensor(pixels), "orig_w": columns, "orig_h": rows}

    def tensor(self, pixels: Tensor) -> Tensor:
        """The same for a batch: (B, 1 or 3, rows, columns) uint8 -> (B, 3, size, size) float32."""
        return self.normalised(self.stretched(pixels))

    def stretched(self, pixels: Tensor) -> Tensor:
        """(B, channels, rows, columns) uint8 -> (B, channels, size, size) float32, 0 to 1."""
        side = (self.image_size, self.image_size)
        scaled = pixels.float() / 255
        return functional.interpolate(scaled, side, mode="bilinear", align_corners=False, antialias=True)

    def normalised(self, scaled: Tensor) -> Tensor:
        """(B, 1 or 3, size, size), 0 to 1, -> (B, 3, size, size) less mean, by standard deviation."""
        mean, std = (
            torch.tensor(v, device=scaled.device)[:, None, None] for v in (self.image_mean, self.image_std)
        )
        return (scaled.expand(-1, 3, -1, -1) - mean) / std

    def save_pretrained(self, save_directory: Path | str) -> None:
        """Write preprocessor_config.json into a folder; it is made if need be."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / FILE) as part:
            part.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Path | str, **hub: Any) -> Self:
        """Read preprocessor_config.json of a folder or of a model on the Hugging Face hub.

        Keys of transformers' image processors are read (size as a number or {"height", "width"}; image_mean,
        image_std), and their short forms; what is not said is as in the card.

        Raises:
            CheckpointError: If there is no such file.
            ValueError: If it is not the JSON of a preprocessor, or the size is not square.
        """
        path = find_file(str(pretrained_model_name_or_path), FILE, **hub)
        try:
            said = dict(json.loads(path.read_text(encoding="utf-8")))
            values: dict[str, Any] = {
                "image_size": _side(_first(said, "image_size", "size", "input_size", default=256)),
                "image_mean": tuple(_first(said, "image_mean", "mean", default=cls.image_mean)),
                "image_std": tuple(_first(said, "image_std", "std", default=cls.image_std)),
            }
        except (TypeError, ValueError, KeyError) as error:
            msg = f"{path} must be the JSON of an image preprocessor, got something else ({error})"
            raise ValueError(msg) from error
        return cls(**values)


def _first(said: dict[str, Any], *names: str, default: Any) -> Any:
    return next((said[name] for name in names if said.get(name) is not None), default)


def _side(size: Any) -> int:
    """The side of a square that is told as a number, a pair or {"height", "width"}."""
    sides = {size} if isinstance(size, int) else set(size.values() if isinstance(size, dict) else size)
    if len(sides) != 1:
        msg = f"the size must be that of a square, got {size}"
        raise ValueError(msg)
    return int(sides.pop())
