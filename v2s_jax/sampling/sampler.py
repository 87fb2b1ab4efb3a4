"""The compiled sampler: whole clips, in blocks of video frames, a fixed number of clips at once.

XLA rounds the same row differently in batches of different sizes. So every call runs one compiled
program with a fixed number of slots (the batch size); unused slots are computed and dropped. The
program's loop counts big frames and can stop after any of them, so pausing changes nothing.
Features are read when they are needed: memory stays bounded, however long the video.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8, UInt32

from v2s_jax.config import Config, Precision
from v2s_jax.errors import InputError
from v2s_jax.kernels.interface import BlockInputs, BlockOutputs, Engine, EngineName, OutputLevel
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.model import (
    Carry,
    VideoToSound,
    encode,
    initial_carry,
    prepare_for_inference,
    visual_gates,
    without_weight_norm,
)
from v2s_jax.sampling.engines import make_engine
from v2s_jax.sampling.rng import uniforms
from v2s_jax.sampling.types import BLOCK_VIDEO_FRAMES, DEFAULT_BATCH_SIZE, SamplerState


class Sampler:
    """The compiled sampler of one checkpoint.

    A clip's levels depend on its request, the batch size, precision, device and version; with a
    batch-invariant engine not on the batch size. They never depend on the other clips. Memory
    grows by one byte per generated sample only.

    Args:
        config: The checkpoint's config.
        params: The checkpoint's parameters, float32.
        batch_size: Number of clips computed at once.
        precision: Precision of JAX's matrix products.
        engine: What runs the tiers.
        weights: Format of the weights in memory.

    Raises:
        InputError: If the batch size is less than 1, or the engine cannot run here.
    """

    def __init__(
        self,
        config: Config,
        params: dict[str, Any],
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        precision: Precision = "default",
        engine: EngineName = "scan",
        weights: WeightFormat = "float32",
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch size {batch_size}: use at least 1")
        self.config = config
        self.batch_size = batch_size
        self.model = VideoToSound(without_weight_norm(config), precision)
        self.engine = make_engine(engine, self.model, weights, batch_size)
        self._fold = jax.jit(partial(prepare_for_inference, self.model))
        self._pack = jax.jit(self.engine.pack)
        self.set_params(params)
        run = partial(_encode, self.model, self.engine.batch_invariant)
        self._encode = jax.jit(run, donate_argnums=1)
        self._generate_block = jax.jit(
            partial(_generate_block, self.model, self.engine),
            donate_argnums=2,
            static_argnames="keep",
        )

    def set_params(self, params: dict[str, Any]) -> None:
        """Replace the parameters by others of the same config, without compiling again."""
        self.folded = self._fold(params)
        self._weights = self._pack(self.folded)

    def limit_batch(self, slots: int) -> None:
        """Use at most this many slots if the engine is batch-invariant; call before compiling."""
        if self.engine.batch_invariant:
            self.batch_size = min(self.batch_size, slots)

    @property
    def block_ticks(self) -> int:
        """Big frames in a whole block."""
        per_frame = self.config.clock.samples_per_video_frame // self.config.model.big_frame_size
        return BLOCK_VIDEO_FRAMES * per_frame

    def init_state(self, keys: UInt32[np.ndarray, "slots 2"]) -> SamplerState:
        """Return the state before the first video frame."""
        carry = initial_carry(self.model, self.folded.params, self.batch_size)
        return SamplerState(
            carry, jnp.asarray(keys), jnp.int32(0), jnp.zeros(self.batch_size, jnp.int32)
        )

    def encode(
        self,
        state: SamplerState,
        features: Float[np.ndarray, "slots block_video_frames feature_dim"],
        frame_mask: Bool[np.ndarray, "slots block_video_frames"],
    ) -> SamplerState:
        """Run the encoder of Seq and Flow over the next block of video frames; donates `state`."""
        carry = self._encode(self.folded.params, state.carry, features, frame_mask)
        return state._replace(carry=carry)

    def generate_block(
        self,
        state: SamplerState,
        features: Float[np.ndarray, "slots block_window feature_dim"],
        temperature: float,
        ticks: int | None = None,
    ) -> tuple[SamplerState, UInt8[np.ndarray, "slots block_samples"]]:
        """Generate the samples of the next `ticks` big frames, or of a whole block.

        Args:
            state: Where to continue; donated, so it cannot be used afterwards.
            features: Those of the state's video frame and the next ones, with their context
                (`window_frames`); only Frame and Aligned read them.
            temperature: Divides the logits.
            ticks: Number of big frames; all that `features` cover unless given.

        Returns:
            The next state, and the levels.

        Raises:
            InputError: If there are more big frames than the features cover.
        """
        state, outputs, ticks = self._run(state, features, temperature, ticks, None, "levels")
        return state, np.asarray(outputs.levels)[: ticks * self.config.model.big_frame_size].T

    def generate_block_with_nll(
        self,
        state: SamplerState,
        features: Float[np.ndarray, "slots block_window feature_dim"],
        temperature: float,
        ticks: int | None = None,
        *,
        forced: Int[np.ndarray, "slots samples"] | None = None,
        keep: OutputLevel = "nll",
    ) -> tuple[SamplerState, BlockOutputs]:
        """Generate as `generate_block` does, and return more about each sample.

        With `forced` levels, as many as the features cover, those are taken instead of drawn:
        teacher forcing with the engine's own arithmetic.
        """
        state, outputs, ticks = self._run(state, features, temperature, ticks, forced, keep)
        samples = ticks * self.config.model.big_frame_size
        return state, jax.tree.map(lambda by_sample: np.asarray(by_sample)[:samples], outputs)

    def _run(
        self,
        state: SamplerState,
        features: Float[np.ndarray, "slots block_window feature_dim"],
        temperature: float,
        ticks: int | None,
        forced: Int[np.ndarray, "slots samples"] | None,
        keep: OutputLevel,
    ) -> tuple[SamplerState, BlockOutputs, int]:
        """Return the next state, buffers of samples, and how many big frames in them are valid."""
        per_frame = self.block_ticks // BLOCK_VIDEO_FRAMES
        video_frames = features.shape[1] - self.config.model.window + 1
        max_ticks = video_frames * per_frame - int(state.tick) % per_frame
        ticks = max_ticks if ticks is None else ticks
        if not 0 <= ticks <= max_ticks:
            raise InputError(f"{ticks} big frames in one block: use 0 to {max_ticks}")
        state, outputs = self._generate_block(
            self.folded.params,
            self._weights,
            state,
            features,
            np.float32(temperature),
            np.int32(ticks),
            None if forced is None else jnp.asarray(forced, jnp.int32).T,
            keep=keep,
        )
        return state, outputs, ticks

    def compile(self) -> None:
        """Compile now what the first block would compile."""
        state = self.init_state(np.zeros((self.batch_size, 2), np.uint32))
        features, frame_mask = self.empty_features()
        if self.config.model.encodes_video:
            state = self.encode(state, features, frame_mask)
            features = features[..., :0]
        self.generate_block(state, features, temperature=1.0)

    def empty_features(
        self,
    ) -> tuple[
        Float[np.ndarray, "slots block_window feature_dim"],
        Bool[np.ndarray, "slots block_window"],
    ]:
        """Return zero features and an all-False frame mask of one block, to be filled in."""
        shape = (self.batch_size, BLOCK_VIDEO_FRAMES + self.config.model.window - 1)
        width = self.config.model.feature_dim
        return np.zeros((*shape, width), np.float32), np.zeros(shape, bool)


def _encode(
    model: VideoToSound,
    slot_by_slot: bool,
    params: dict[str, Any],
    carry: Carry,
    features: Float[Array, "slots video_frames feature_dim"],
    frame_mask: Bool[Array, "slots video_frames"],
) -> Carry:
    """Run the encoder; slot by slot if the result must be batch-invariant."""
    if not slot_by_slot:
        return encode(model, params, carry, features, frame_mask)

    def encode_slot(inputs: Any) -> Carry:
        slot = jax.tree.map(lambda x: x[None], inputs)
        return jax.tree.map(lambda x: x[0], encode(model, params, *slot))

    return jax.lax.map(encode_slot, (carry, features, frame_mask))


def _generate_block(
    model: VideoToSound,
    engine: Engine,
    params: dict[str, Any],
    weights: Any,
    state: SamplerState,
    features: Float[Array, "slots block_window feature_dim"],
    temperature: Float[Array, ""],
    ticks: Int[Array, ""],
    forced: Int[Array, "samples slots"] | None,
    *,
    keep: OutputLevel,
) -> tuple[SamplerState, BlockOutputs]:
    """Generate `ticks` big frames into buffers that hold those of all the video frames.

    Noise and gates are computed one video frame at a time, so their rounding depends neither on
    where the block begins nor on where it ends; video frames that are not reached cost nothing.
    """
    batch_size, window = features.shape[0], model.config.model.window
    video_frames = features.shape[1] - window + 1
    samples, size = model.config.clock.samples_per_video_frame, model.config.model.big_frame_size
    per_frame = samples // size
    first_frames, offset = state.tick // per_frame - state.start_frame, state.tick % per_frame

    def gates_of_slots(features_now: Array) -> Array | None:
        gates = visual_gates(model, params, features_now)
        return None if gates is None else gates[:, 0]

    def gates_of_slot(features_now: Array) -> Array | None:
        gates = gates_of_slots(features_now[None])
        return None if gates is None else gates[0]

    def compute(index: Array) -> tuple[Array | None, Array]:
        now = jax.lax.dynamic_slice_in_dim(features, index, window, axis=1)
        batch_invariant = engine.batch_invariant
        gates = jax.lax.map(gates_of_slot, now) if batch_invariant else gates_of_slots(now)
        noise = uniforms(state.keys, first_frames + index, samples)
        return gates, noise.reshape(batch_size, per_frame, size)

    def write(index: Array, buffers: tuple[Array | None, Array]) -> tuple[Array | None, Array]:
        return jax.tree.map(lambda buffer, x: buffer.at[index].set(x), buffers, compute(index))

    shapes = jax.eval_shape(compute, jnp.int32(0))
    empty = jax.tree.map(lambda one: jnp.zeros((video_frames, *one.shape), one.dtype), shapes)
    frames_reached = (offset + ticks + per_frame - 1) // per_frame
    gates, noise = jax.lax.fori_loop(0, frames_reached, write, empty)
    inputs = BlockInputs(gates, noise, forced, temperature, offset, ticks)
    carry, outputs = engine.run_big_frames(weights, state.carry, inputs, keep)
    return state._replace(carry=carry, tick=state.tick + ticks), outputs
