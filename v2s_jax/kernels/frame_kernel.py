"""The interface of the kernels for accelerators, and of one that runs inside the scan engine."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Float, Int

from v2s_jax.kernels.interface import OutputLevel
from v2s_jax.model import InferenceParams


class Drawing(NamedTuple):
    """What a kernel writes of each sample: arrays, their shapes or specs, or refs."""

    levels: Any
    nll: Any | None
    logits: Any | None

    def select(self, keep: OutputLevel) -> "Drawing":
        """Leave out what is not to be returned."""
        nll = None if keep == "levels" else self.nll
        return Drawing(self.levels, nll, self.logits if keep == "logits" else None)


@runtime_checkable
class FrameKernel(Protocol):
    """A kernel that draws the samples of a frame, instead of the scan's innermost loop."""

    def pack(self, inference_params: InferenceParams) -> Any:
        """Return the weights of the sample tier in the kernel's layout."""

    def __call__(
        self,
        weights: Any,
        window: Int[Array, "slots frame_size"],
        conditioning: Float[Array, "slots frame_size mlp_dim"],
        noise_or_levels: Float[Array, "slots frame_size"] | Int[Array, "slots frame_size"],
        temperature: Float[Array, ""],
        keep: OutputLevel,
    ) -> Drawing:
        """Return levels (the next window), nll and logits, by row and sample.

        Integers in `noise_or_levels` are the levels to use.
        """
