"""What every engine of the sampler gets and gives.

An engine runs the tiers over whole big frames. The noise, the vision's share of the gates and the
rule by which a level is drawn are the same for all; how the products are computed is its own.
"""

from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from v2s_jax.model import Carry, InferenceParams

EngineName = Literal["scan", "fused", "cpu"]
OutputLevel = Literal["levels", "nats", "logits"]
"""What is kept of each sample beside its level; "logits" keeps its nats too."""


class BlockInputs(NamedTuple):
    """What a block of big frames is generated from, beside the weights and the carry."""

    gates: Float[Array, "video_frames slots gates"] | None
    """The vision's share of the coarsest tier's gates; None but for Frame."""
    noise: Float[Array, "video_frames slots big_frames big_frame_size"]
    """One uniform number for each sample."""
    forced: Int[Array, "samples slots"] | None
    """The levels to take instead of drawing: teacher forcing by the engine's own arithmetic."""
    temperature: Float[Array, ""]
    offset: Int[Array, ""]
    """Big frames of the first video frame that lie behind."""
    ticks: Int[Array, ""]
    """Big frames to generate; those that follow in the arrays below are left as zeros."""


class BlockOutputs(NamedTuple):
    """The samples of a block, in their order."""

    levels: UInt8[Array | np.ndarray, "samples slots"]
    nats: Float[Array | np.ndarray, "samples slots"] | None = None
    """-ln p(level), at the temperature that it was drawn at."""
    logits: Float[Array | np.ndarray, "samples slots q_levels"] | None = None


@runtime_checkable
class Engine(Protocol):
    """One way to run the tiers."""

    batch_invariant: bool
    """Whether a row rounds the same in tiles of any size."""

    def pack(self, folded: InferenceParams) -> Any:
        """Return the weights as the engine reads them."""

    def big_frames(
        self, weights: Any, carry: Carry, given: BlockInputs, keep: OutputLevel
    ) -> tuple[Carry, BlockOutputs]:
        """Run the tiers over `given.ticks` big frames."""


@runtime_checkable
class FrameKernel(Protocol):
    """A kernel that draws the samples of a frame, in the place of the scan's innermost loop."""

    def pack(self, folded: InferenceParams) -> Any:
        """Return the sample tier's weights as the kernel reads them."""

    def __call__(
        self,
        weights: Any,
        window: Int[Array, "slots frame_size"],
        conditioning: Float[Array, "slots frame_size mlp_dim"],
        given: Float[Array, "slots frame_size"] | Int[Array, "slots frame_size"],
        temperature: Float[Array, ""],
        keep: OutputLevel,
    ) -> tuple[Array, Array | None, Array | None]:
        """Return levels, which are the next window, nats and logits, by row and sample.

        Whole numbers in `given` are the levels to take.
        """
