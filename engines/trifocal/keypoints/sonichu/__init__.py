"""The SONICHU-124M architecture, as on its model card: one image and a task in, points in [0, 1] out.

The card: a ViT-B/16 without class token, pretrained by I-JEPA (Assran et al. 2023, arXiv:2301.08243), and one
ViTPose head for each of nine tasks (Xu et al. 2022, arXiv:2204.12484: two deconvolutions of 256 filters, then
a 1x1 convolution), read out by a soft-argmax. Both parts are those of transformers.

A coordinate c in [0, 1] is (pixel + 0.5) / size: 0 and 1 are the outer edges of the image, whatever its size,
and the first pixel's centre is 0.5 / size. c * size is therefore half a pixel more than the coordinates in
the rest of trifocal, whose whole numbers are at pixel centres. The card does not say which convention its
weights learned; at 256 pixels the two differ by half a pixel at most.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import safetensors.torch
import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import nn
from transformers import IJepaConfig, IJepaModel
from transformers.models.vitpose.modeling_vitpose import VitPoseClassicDecoder

from trifocal.files import atomic_file
from trifocal.keypoints.sonichu.onednn import FastLinear
from trifocal.keypoints.sonichu.preprocessor import SonichuPreprocessor
from trifocal.keypoints.sonichu.weights import LoadReport, converted, find_file, read_tensors
from trifocal.keypoints.tasks import TASKS, find_task

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

__all__ = ["SonichuConfig", "SonichuModel", "SonichuOutput", "SonichuPreprocessor"]


@dataclass(frozen=True)
class SonichuConfig:
    """Size of the model; the defaults are the card's 124 M parameters. Stored as config.json.

    Attributes:
        hidden: Width of the tokens.
        layers: Of the transformer.
        heads: Of its attention.
        mlp: Width inside its feed-forward blocks.
        image: Rows and columns of the input, which is square.
        patch: Rows and columns of a patch.
        head_filters: Channels of the deconvolutions.
        norm_eps: Of the layer norms; 1e-6 in I-JEPA's own code.
        tasks: Points of each task that there is a head for.
    """

    hidden: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    image: int = 256
    patch: int = 16
    head_filters: int = 256
    norm_eps: float = 1e-6
    tasks: dict[str, int] = field(default_factory=lambda: {task.id: task.count for task in TASKS.values()})

    def __post_init__(self) -> None:
        sizes = (self.hidden, self.layers, self.heads, self.mlp, self.image, self.patch, self.head_filters)
        if min(sizes) < 1 or self.hidden % self.heads or self.image % self.patch:
            msg = (
                "the sizes of the model must be 1 or more, hidden a multiple of heads and image a multiple "
                f"of patch, got {self}"
            )
            raise ValueError(msg)
        wrong = [t for t, n in self.tasks.items() if t not in TASKS or TASKS[t].count != n]
        if wrong:
            known = ", ".join(f"{task.id} ({task.count})" for task in TASKS.values())
            msg = f"tasks must be among {known}, got {', '.join(f'{t} ({self.tasks[t]})' for t in wrong)}"
            raise ValueError(msg)

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image // self.patch


class SonichuOutput(NamedTuple):
    """What the network says about a batch of B images.

    Attributes:
        heatmaps: (B, K, rows, columns) logits, four times as fine as the patches.
        coords: (B, K, 2) x, y in [0, 1]: the means of the softmax of each heat map.
    """

    heatmaps: Tensor
    coords: Tensor


def soft_argmax(heatmaps: Tensor) -> Tensor:
    """Mean position of the softmax of each map: (B, K, rows, columns) logits -> (B, K, 2) x, y in [0, 1].

    A cell's position is that of its centre, (index + 0.5) / size (Nibali et al. 2018, arXiv:1801.07372, eq.
    5).
    """
    rows, columns = heatmaps.shape[-2:]
    chance = heatmaps.float().flatten(-2).softmax(-1).view_as(heatmaps)
    x = (torch.arange(columns, device=heatmaps.device) + 0.5) / columns
    y = (torch.arange(rows, device=heatmaps.device) + 0.5) / rows
    return torch.stack([(chance.sum(-2) * x).sum(-1), (chance.sum(-1) * y).sum(-1)], dim=-1)


class SonichuModel(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="trifocal",
    tags=["medical-imaging", "ultrasound", "keypoint-detection"],
    license="bsd-3-clause",
):
    """Backbone and heads; `from_pretrained` and `save_pretrained` are huggingface_hub's.

    Attributes:
        config: Size of the model.
        report: What was found in the file that the weights are from; None if they are random.
    """

    def __init__(self, config: SonichuConfig | None = None) -> None:
        super().__init__()
        self.config = config or SonichuConfig()
        self._hub_mixin_config = self.config
        self.report: LoadReport | None = None
        self.backbone = IJepaModel(_ijepa(self.config), add_pooling_layer=False)
        self.heads = nn.ModuleDict({task: _Head(self.config, task) for task in self.config.tasks})

    def features(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, image, image), normalised, -> tokens as a map (B, hidden, rows, columns)."""
        tokens: Tensor = self.backbone(pixel_values).last_hidden_state
        grid = self.config.grid
        # (B, rows * columns, hidden) -> (B, hidden, rows, columns)
        return tokens.transpose(1, 2).reshape(len(tokens), -1, grid, grid)

    def read_out(self, features: Tensor, task: str) -> SonichuOutput:
        """The head of a task on a map of tokens (B, hidden, rows, columns).

        Raises:
            ValueError: If the task is unknown, or the weights have no head for it.
        """
        known = find_task(task).id
        if known not in self.heads:
            there = ", ".join(self.heads) or "none"
            msg = f"the weights must have a head for {known}, and have heads for: {there}; train one first"
            raise ValueError(msg)
        heatmaps = self.heads[known](features)
        return SonichuOutput(heatmaps, soft_argmax(heatmaps))

    def forward(self, pixel_values: Tensor, task: str) -> SonichuOutput:
        """Images of one task, (B, 3, image, image) by `SonichuPreprocessor`, -> heat maps and coordinates."""
        return self.read_out(self.features(pixel_values), task)

    @torch.no_grad()
    def predict(self, pixel_values: Tensor, task: str, tta: bool = True) -> Tensor:
        """Points in canonical order; in evaluation mode, whatever mode the model is in.

        Args:
            pixel_values: (B, 3, image, image), as `SonichuPreprocessor` makes them.
            task: One of the nine; capitals do not matter.
            tta: Also predict the mirrored images; the ends of its pairs are matched to those of the upright
                images by distance (never by their order, which changes where a pair is nearly level), and
                both are averaged.

        Returns:
            (B, K, 2) x, y in [0, 1].

        Raises:
            ValueError: If there is no head for the task.
        """
        about = find_task(task)
        mode = self.training
        self.eval()
        try:
            with FastLinear():
                upright = self(pixel_values, task).coords
                mirrored = self(pixel_values.flip(-1), task).coords if tta else None
        finally:
            self.train(mode)
        points = upright.double().cpu().numpy()
        if mirrored is not None:
            other = mirrored.double().cpu().numpy()
            other[..., 0] = 1 - other[..., 0]
            points = (points + about.matched(other, points)) / 2
        return torch.from_numpy(about.canonical(points)).to(upright)

    def _save_pretrained(self, save_directory: Path) -> None:
        weights = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        with atomic_file(save_directory / "model.safetensors") as part:
            part.write_bytes(safetensors.torch.save(weights, metadata={"format": "pt"}))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> SonichuModel:
        """Read a folder, or a model of the Hugging Face hub by its "owner/name".

        Args:
            pretrained_model_name_or_path: The folder or the name.
            options: Those of huggingface_hub (revision, token, cache_dir, ...), map_location (a device), and
                tasks: keep the heads of these only, which saves 17 MB for each of the others.

        Raises:
            CheckpointError: If the weights are missing, cannot be had, or are not of this architecture.
            ValueError: If a task is unknown.
        """
        hub = {name: value for name, value in options.items() if name not in ("map_location", "tasks")}
        find_file(str(pretrained_model_name_or_path), "model.safetensors", **hub)  # or says what is wrong
        found: SonichuModel = super().from_pretrained(pretrained_model_name_or_path, **options)
        return found

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        config: dict[str, Any] | None = None,
        map_location: str = "cpu",
        tasks: Sequence[str] | None = None,
        **hub: Any,
    ) -> SonichuModel:
        """Read model.safetensors, and nothing that can run code; the naming may be another one."""
        tensors = read_tensors(find_file(model_id, "model.safetensors", **hub))
        sizes, weights, report = converted(tensors, config or {})
        if tasks is not None:
            kept = {find_task(task).id for task in tasks}
            sizes["tasks"] = {task: count for task, count in sizes["tasks"].items() if task in kept}
            weights = {
                k: t for k, t in weights.items() if k.startswith("backbone.") or k.split(".")[1] in kept
            }
        with torch.device("meta"):
            model = cls(SonichuConfig(**sizes))
        model.load_state_dict(weights, assign=True)
        model.report = report
        return model.to(map_location).eval()


class _Head(VitPoseClassicDecoder):
    """transformers' classic decoder with any number of filters; its own constructor knows 256 only."""

    def __init__(self, config: SonichuConfig, task: str) -> None:
        nn.Module.__init__(self)
        filters = config.head_filters
        self.deconv1 = nn.ConvTranspose2d(config.hidden, filters, 4, stride=2, padding=1, bias=False)
        self.batchnorm1 = nn.BatchNorm2d(filters)
        self.relu1 = nn.ReLU()
        self.deconv2 = nn.ConvTranspose2d(filters, filters, 4, stride=2, padding=1, bias=False)
        self.batchnorm2 = nn.BatchNorm2d(filters)
        self.relu2 = nn.ReLU()
        self.conv = nn.Conv2d(filters, config.tasks[task], kernel_size=1)


def _ijepa(config: SonichuConfig) -> IJepaConfig:
    return IJepaConfig(
        hidden_size=config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.mlp,
        image_size=config.image,
        patch_size=config.patch,
        layer_norm_eps=config.norm_eps,
    )
