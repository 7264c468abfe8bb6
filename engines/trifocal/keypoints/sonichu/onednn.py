"""Matrix products of transformers on a CPU, where torch's own choice is slow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor
    from transformers import PreTrainedModel


class FastLinear(TorchFunctionMode):
    """Within the block, float32 linear layers that need no gradient are computed on the CPU by oneDNN.

    torch gives them to MKL, which does not use the widest registers on processors that are not Intel's: 2.3
    times as slow there (256 x 768 by 768 x 768, one thread, AMD with AVX-512). The results differ by rounding
    only. Where oneDNN is absent, and for everything else, nothing changes.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Reroute `torch.nn.functional.linear`, which is what every linear layer calls."""
        if func is functional.linear and not kwargs and len(args) == 3 and _suits(*args):
            return torch.ops.mkldnn._linear_pointwise(*args, "none", [], "")
        return func(*args, **(kwargs or {}))


def plain_attention(model: PreTrainedModel, device: str, precision: str) -> None:
    """Let attention be two products and a softmax where that is the faster way: bfloat16 on a CPU.

    Forward and backward of 16 images, 3 heads, 256 tokens, one thread: 30 ms, and 47 by torch's fused kernel.
    """
    quick = device == "cpu" and precision == "bf16-mixed"
    model.set_attn_implementation("eager" if quick else "sdpa")


def _suits(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    given = [t for t in (x, weight, bias) if t is not None]
    return (
        _AVAILABLE
        and not torch.is_autocast_enabled("cpu")
        and all(t.dtype == torch.float32 and t.device.type == "cpu" for t in given)
        and not (torch.is_grad_enabled() and any(t.requires_grad for t in given))
    )


_AVAILABLE = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")
