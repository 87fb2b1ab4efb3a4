"""The interface of the sampling engines.

An engine runs the tiers over whole big frames. Noise, visual gates and the rule that draws a level
are the same for all engines; each computes the products in its own way.
"""

from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from v2s_jax.model import Carry, InferenceParams

EngineName = Literal["scan", "fused", "cpu"]
EngineOption = Literal["auto", "scan", "fused", "cpu"]
"""`auto`: the fastest that is exact here (`sampling/engine_choice.py`)."""
WeightOption = Literal["auto", "float32", "bfloat16", "int8"]
OutputLevel = Literal["levels", "nll", "logits"]
"""What an engine returns of each sample: its level, also its nll, or also nll and logits."""


class BlockInputs(NamedTuple):
    """What a block of big frames is generated from, in addition to the weights and the carry."""

    gates: Float[Array, "vectors slots gates"] | None
    """Visual gates of the coarsest tier, for as many big frames each; None unless Frame or
    Aligned."""
    noise: Float[Array, "video_frames slots big_frames big_frame_size"]
    """One uniform number for each sample."""
    forced: Int[Array, "samples slots"] | None
    """Levels to use instead of drawing them: teacher forcing in the engine's arithmetic."""
    temperature: Float[Array, ""]
    offset: Int[Array, ""]
    """Big frames of the first video frame that are already generated."""
    ticks: Int[Array, ""]
    """Big frames to generate; what follows them in the outputs is zero."""

    def gates_at(self, big_frame: Int[Array, ""]) -> Float[Array, "slots gates"] | None:
        """Return the visual gates of one big frame of the block."""
        if self.gates is None:
            return None
        video_frames, _, per_frame, _ = self.noise.shape
        return self.gates[big_frame // (video_frames * per_frame // len(self.gates))]


class BlockOutputs(NamedTuple):
    """The samples of a block, in order."""

    levels: UInt8[Array | np.ndarray, "samples slots"]
    nll: Float[Array | np.ndarray, "samples slots"] | None = None
    """-ln p(level), in nats, at the temperature it was drawn at."""
    logits: Float[Array | np.ndarray, "samples slots q_levels"] | None = None
    loudness_db: Float[np.ndarray, "video_frames slots"] | None = None
    """What the model expects of the video frames that were reached; None if it does not say."""


@runtime_checkable
class Engine(Protocol):
    """One way to run the tiers."""

    batch_invariant: bool
    """Whether a row rounds the same in batches of any size."""

    def pack(self, inference_params: InferenceParams) -> Any:
        """Return the weights in the engine's layout."""

    def run_big_frames(
        self, weights: Any, carry: Carry, inputs: BlockInputs, keep: OutputLevel
    ) -> tuple[Carry, BlockOutputs]:
        """Run the tiers over `inputs.ticks` big frames."""
