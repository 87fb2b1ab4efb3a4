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
from jaxtyping import Array, Bool, Float, Int, UInt32

from v2s_jax.config import Config, Precision
from v2s_jax.errors import InputError
from v2s_jax.kernels.cpu import CpuEngine
from v2s_jax.kernels.interface import BlockInputs, BlockOutputs, Engine, EngineName, OutputLevel
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.model import (
    DB_PER_UNIT,
    Carry,
    VideoToSound,
    encode,
    has_loudness,
    initial_carry,
    predict_loudness,
    prepare_for_inference,
    visual_gates,
    without_weight_norm,
)
from v2s_jax.sampling.rng import uniforms
from v2s_jax.sampling.scan_engine import ScanEngine
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
        self.engine_name = engine
        self.weights = weights
        self.model = VideoToSound(without_weight_norm(config), precision)
        self.engine = make_engine(engine, self.model, weights, batch_size)
        self._fold = jax.jit(partial(prepare_for_inference, self.model))
        self._pack = jax.jit(self.engine.pack)
        self._initial_carry = jax.jit(partial(initial_carry, self.model), static_argnums=1)
        self.set_params(params)
        run = partial(run_encoder, self.model, self.engine.batch_invariant)
        self._encode = jax.jit(run, donate_argnums=1)
        self._generate_block = jax.jit(
            partial(run_block, self.model, self.engine),
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
        carry = self._initial_carry(self.folded.params, self.batch_size)
        # Not `jnp.asarray`, which compiles a program for each shape.
        counters = jax.device_put((keys, np.int32(0), np.zeros(self.batch_size, np.int32)))
        return SamplerState(carry, *counters)

    def encode(
        self, state: SamplerState, vectors: dict[int, Float[np.ndarray, "video_frames feature_dim"]]
    ) -> SamplerState:
        """Run the encoder of Seq and Flow over the slots' next video frames; donates `state`."""
        features = self.empty_features()
        frame_mask = np.zeros(features.shape[:2], bool)
        for slot, block in vectors.items():
            features[slot, : len(block)] = block
            frame_mask[slot, : len(block)] = True
        carry = self._encode(self.folded.params, state.carry, features, frame_mask)
        return state._replace(carry=carry)

    def generate_block(
        self,
        state: SamplerState,
        features: Float[np.ndarray, "slots block_window feature_dim"],
        temperature: float,
        ticks: int | None = None,
        *,
        forced: Int[np.ndarray, "slots samples"] | None = None,
        keep: OutputLevel = "levels",
    ) -> tuple[SamplerState, BlockOutputs]:
        """Generate the samples of the next `ticks` big frames, or of all that `features` cover.

        Args:
            state: Where to continue; donated, so it cannot be used afterwards.
            features: Those of the state's video frame and the next ones, with their context
                (`window_frames`); only Frame and Aligned read them.
            temperature: Divides the logits.
            ticks: Number of big frames.
            forced: Levels to take instead of drawing them, as many as the features cover: teacher
                forcing with the engine's own arithmetic.
            keep: What to return of each sample.

        Returns:
            The next state, and the samples.
        """
        per_frame = self.block_ticks // BLOCK_VIDEO_FRAMES
        video_frames = features.shape[1] - self.config.model.window + 1
        max_ticks = video_frames * per_frame - int(state.tick) % per_frame
        ticks = max_ticks if ticks is None else ticks
        assert 0 <= ticks <= max_ticks, f"{ticks} big frames, features cover {max_ticks}"
        state, outputs, loudness_db = self._generate_block(
            self.folded.params,
            self._weights,
            state,
            features,
            np.float32(temperature),
            np.int32(ticks),
            None if forced is None else jnp.asarray(forced, jnp.int32).T,
            keep=keep,
        )
        samples = ticks * self.config.model.big_frame_size
        outputs = jax.tree.map(lambda by_sample: np.asarray(by_sample)[:samples], outputs)
        return state, outputs._replace(loudness_db=jax.tree.map(np.asarray, loudness_db))

    def compile(self) -> None:
        """Compile now what the first block would compile."""
        state = self.init_state(np.zeros((self.batch_size, 2), np.uint32))
        features = self.empty_features()
        if self.config.model.encodes_video:
            state = self.encode(state, {})
            features = features[..., :0]
        self.generate_block(state, features, temperature=1.0)

    def empty_features(self) -> Float[np.ndarray, "slots block_window feature_dim"]:
        """Return zero features of one block, to be filled in."""
        block_window = BLOCK_VIDEO_FRAMES + self.config.model.window - 1
        shape = (self.batch_size, block_window, self.config.model.feature_dim)
        return np.zeros(shape, np.float32)


def run_encoder(
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


def run_block(
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
) -> tuple[SamplerState, BlockOutputs, Float[Array, "video_frames slots"] | None]:
    """Generate `ticks` big frames into buffers that hold those of all the video frames.

    Also returns the loudness that the model expects, in dB, if it does. Noise and gates are
    computed one video frame at a time, so their rounding depends neither on where the block begins
    nor on where it ends; video frames that are not reached cost nothing.
    """
    batch_size, window = features.shape[0], model.config.model.window
    video_frames = features.shape[1] - window + 1
    samples, size = model.config.clock.samples_per_video_frame, model.config.model.big_frame_size
    per_frame = samples // size
    first_frames, offset = state.tick // per_frame - state.start_frame, state.tick % per_frame

    def gates_of(features_now: Array) -> Array | None:
        return visual_gates(model, params, features_now)

    def loudness_of(features_now: Array) -> Array | None:
        if not has_loudness(model.config):
            return None
        return DB_PER_UNIT * jnp.mean(predict_loudness(model, params, features_now), axis=1)

    def of_slot(features_now: Array) -> tuple[Array | None, Array | None]:
        one = gates_of(features_now[None]), loudness_of(features_now[None])
        return jax.tree.map(lambda of_batch: of_batch[0], one)

    @partial(jax.jit, inline=True)  # traced once, for its shapes and in the loop
    def compute(index: Array) -> tuple[Array | None, Array, Array | None]:
        now = jax.lax.dynamic_slice_in_dim(features, index, window, axis=1)
        if engine.batch_invariant:
            gates, loudness_db = jax.lax.map(of_slot, now)
        else:
            gates, loudness_db = gates_of(now), loudness_of(now)
        gates = None if gates is None else jnp.swapaxes(gates, 0, 1)
        noise = uniforms(state.keys, first_frames + index, samples)
        return gates, noise.reshape(batch_size, per_frame, size), loudness_db

    def write(index: Array, buffers: Any) -> Any:
        return jax.tree.map(lambda buffer, x: buffer.at[index].set(x), buffers, compute(index))

    shapes = jax.eval_shape(compute, jnp.int32(0))
    empty = jax.tree.map(lambda one: jnp.zeros((video_frames, *one.shape), one.dtype), shapes)
    frames_reached = (offset + ticks + per_frame - 1) // per_frame
    gates, noise, loudness_db = jax.lax.fori_loop(0, frames_reached, write, empty)
    gates = None if gates is None else gates.reshape(-1, *gates.shape[2:])
    inputs = BlockInputs(gates, noise, forced, temperature, offset, ticks)
    carry, outputs = engine.run_big_frames(weights, state.carry, inputs, keep)
    return state._replace(carry=carry, tick=state.tick + ticks), outputs, loudness_db


def make_engine(
    name: EngineName, model: VideoToSound, weights: WeightFormat, batch_size: int
) -> Engine:
    """Return an engine for a model without weight norm.

    Raises InputError if the engine is not built, or supports neither the device nor the model.
    """
    if name == "fused":
        return make_fused(model, weights, batch_size)
    if name == "cpu":
        return CpuEngine(model.config, weights)
    return ScanEngine(model, weights)


def make_fused(model: VideoToSound, weights: WeightFormat, batch_size: int) -> Engine:
    """Return the fused engine of this accelerator.

    On TPU one launch runs all tiers over a block. On GPU one launch draws the samples of a frame,
    and the scan engine runs the tiers above it.
    """
    # Pallas is slow to import, and only this engine needs it.
    match jax.default_backend():
        case "tpu":
            from jax.experimental.pallas.tpu import get_tpu_info

            from v2s_jax.kernels.experimental.tpu import TpuEngine

            return TpuEngine(model, weights, batch_size, get_tpu_info().vmem_capacity_bytes)
        case "gpu":
            from v2s_jax.kernels.experimental.gpu import H100_SHARED_BYTES, GpuFrame

            device = jax.devices()[0]
            shared = getattr(device, "shared_memory_per_block_optin", H100_SHARED_BYTES)
            return ScanEngine(model, weights, GpuFrame(model, weights, shared))
        case other:
            raise InputError(
                f"--engine fused on {other}: it runs on tpu and gpu only: use --engine scan, or on "
                "a CPU --engine cpu"
            )
