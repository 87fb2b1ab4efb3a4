"""The body of the TPU kernel: three tiers over one big frame, with the weights in VMEM.

Mosaic has no gather and no cumulative sum. So a table lookup is a one-hot row times the tables, and
the cumulative distribution is a product with a triangle of ones. The tables are stored as three
bfloat16 parts with 8 bits of each number in each, which is what one pass through the matrix unit
takes: three passes sum to the exact number, half as many as a float32 product needs. What a level
adds to the first layer of the next `frame_size` samples is added when the level is drawn:

    pending[s] = T_0[level of sample s - frame_size] + ... + T_last[level of sample s - 1],

oldest first, as in the scan. `pending` is a ring buffer of `frame_size` slots, one for each place
of a sample in its frame.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array, Float, Int

from v2s_jax.model import matmul
from v2s_jax.model.linear import ScaledKernel
from v2s_jax.model.rnn import GRU
from v2s_jax.model.tiers import tier_input

EXACT = jax.lax.Precision.HIGHEST
"""Precision of the product that computes a sum: float32."""


class TierWeights(NamedTuple):
    """The weights in VMEM, in whole lanes; arrays outside of the kernel, refs inside.

    `dim`, `mlp_dim` and `q_levels` are padded to 128 lanes, each gate by itself. The kernels of the
    seven products have the format asked for, int8 ones with a scale [(ticks) 1 outputs]; the rest
    is float32.
    """

    big_input: Any  # [big_frame_size gates]
    big_recurrent: Any  # [dim gates]
    big_candidate_bias: Any  # [1 dim]
    big_up: Any  # [ratio dim dim]
    big_up_bias: Any  # [ratio 1 dim]
    frame_conditioning: Any  # [dim gates]
    frame_conditioning_bias: Any  # [1 gates]
    frame_input: Any  # [frame_size gates]
    frame_recurrent: Any  # [dim gates]
    frame_candidate_bias: Any  # [1 dim]
    frame_up: Any  # [frame_size dim mlp_dim]
    frame_up_bias: Any  # [frame_size 1 mlp_dim]
    tables: Any  # [frame_size parts q_levels mlp_dim]: bfloat16, with the float32 table as sum
    hidden: Any  # [mlp_dim mlp_dim]
    hidden_bias: Any  # [1 mlp_dim]
    output: Any  # [mlp_dim q_levels]
    output_bias: Any  # [1 q_levels]


class BigFrame(NamedTuple):
    """Refs of what one big frame of a group of rows reads and writes."""

    gates: Any  # [rows gates]: the visual gates, and the bias.
    noise_or_levels: Any  # [rows big_frame_size]: noise, or with teacher forcing the levels.
    big_frame: Any  # [rows dim]: the coarsest tier's state.
    frame: Any  # [rows dim]: the middle tier's state.
    lookback: Any  # [rows big_frame_size]: the levels before the big frame, then those drawn.
    levels: Any  # [rows big_frame_size]
    nll: Any | None  # [rows big_frame_size]
    logits: Any | None  # [big_frame_size rows q_levels]
    conditioning: Any  # [ratio * rows dim]: of the frames below.
    conditioning_gates: Any  # [ratio * rows gates]: their product.
    pending: Any  # [frame_size rows mlp_dim]: the first layer's sums, see above.


class DrawRule(NamedTuple):
    """How a level is drawn."""

    temperature: Float[Array, ""]
    q_levels: int
    """Without the padding."""
    precision: str


def init_pending(weights: TierWeights, refs: BigFrame) -> None:
    """Compute `pending` from the lookback, before the first big frame of a launch."""
    frame_size = weights.frame_input.shape[0]
    before = refs.lookback.shape[1] - frame_size

    def add_level(place: Int[Array, ""], nothing: Int[Array, ""]) -> Array:
        level = _column(refs.lookback[...].astype(jnp.float32), before + place)
        _add_to_pending(weights, refs, place, level.astype(jnp.int32))
        return nothing

    jax.lax.fori_loop(0, frame_size, add_level, jnp.int32(0))


def run_big_frame(weights: TierWeights, refs: BigFrame, rule: DrawRule) -> None:
    """Run the tiers over one big frame."""
    ratio, frame_size = weights.big_up_bias.shape[0], weights.frame_input.shape[0]
    _step_big_frame_tier(weights, refs, rule)

    def frame(tick: Int[Array, ""], recent: Int[Array, "rows frame_size"]) -> Array:
        _step_frame_tier(weights, refs, rule, tick, recent)

        def sample(place: Int[Array, ""], recent: Array) -> Array:
            level = _sample(weights, refs, rule, tick * frame_size + place, place)
            _add_to_pending(weights, refs, place, level)
            return jnp.where(_lanes(recent) == place, level, recent)

        return jax.lax.fori_loop(0, frame_size, sample, recent)

    recent = refs.lookback[...][:, refs.lookback.shape[1] - frame_size :]
    jax.lax.fori_loop(0, ratio, frame, recent)
    refs.lookback[...] = refs.levels[...]


def _step_big_frame_tier(weights: TierWeights, refs: BigFrame, rule: DrawRule) -> None:
    """Advance the coarsest tier, and compute the conditioning gates of the frames below."""
    h = refs.big_frame[...]
    amplitudes = tier_input(refs.lookback[...], rule.q_levels)
    gates = matmul(amplitudes, weights.big_input[...], rule.precision) + refs.gates[...]
    recurrent = _times(h, weights.big_recurrent, rule)
    h = GRU.step(h, gates, recurrent, weights.big_candidate_bias[0])
    refs.big_frame[...] = h

    def up(tick: Int[Array, ""], nothing: Int[Array, ""]) -> Array:
        below = _times(h, weights.big_up, rule, tick) + weights.big_up_bias[tick]
        refs.conditioning[_rows_of(refs, tick)] = below
        return nothing

    jax.lax.fori_loop(0, weights.big_up_bias.shape[0], up, jnp.int32(0))
    below = _times(refs.conditioning[...], weights.frame_conditioning, rule)
    refs.conditioning_gates[...] = below + weights.frame_conditioning_bias[...]


def _step_frame_tier(
    weights: TierWeights,
    refs: BigFrame,
    rule: DrawRule,
    tick: Int[Array, ""],
    recent: Int[Array, "rows frame_size"],
) -> None:
    """Advance the middle tier."""
    h = refs.frame[...]
    amplitudes = tier_input(recent, rule.q_levels)
    gates = matmul(amplitudes, weights.frame_input[...], rule.precision)
    gates = gates + refs.conditioning_gates[_rows_of(refs, tick)]
    recurrent = _times(h, weights.frame_recurrent, rule)
    refs.frame[...] = GRU.step(h, gates, recurrent, weights.frame_candidate_bias[0])


def _sample(
    weights: TierWeights,
    refs: BigFrame,
    rule: DrawRule,
    sample: Int[Array, ""],
    place: Int[Array, ""],
) -> Int[Array, "rows 1"]:
    """Compute the logits of a sample, draw its level and write the outputs."""
    conditioning = _times(refs.frame[...], weights.frame_up, rule, place)
    x = nn.relu(refs.pending[place] + conditioning + weights.frame_up_bias[place])
    x = nn.relu(_times(x, weights.hidden, rule) + weights.hidden_bias[...])
    logits = _times(x, weights.output, rule) + weights.output_bias[...]
    if refs.logits is not None:
        refs.logits[sample] = logits
    tempered = logits / rule.temperature
    peak = jnp.max(tempered, axis=-1, keepdims=True)
    masses = jnp.exp(tempered - peak)
    value = _column(refs.noise_or_levels[...].astype(jnp.float32), sample)
    if jnp.issubdtype(refs.noise_or_levels.dtype, jnp.integer):
        level = value.astype(jnp.int32)
    else:
        level = _level(masses, value, rule.q_levels)
    _write(refs.levels, sample, level)
    if refs.nll is not None:
        total = jnp.sum(masses, axis=-1, keepdims=True)
        _write(refs.nll, sample, jnp.log(total) + peak - _column(tempered, level))
    return level


def _level(
    masses: Float[Array, "rows q_levels"], uniform: Float[Array, "rows 1"], q_levels: int
) -> Int[Array, "rows 1"]:
    """Return the level at which the cumulative distribution passes `uniform`.

    The rule is `rng.inverse_cdf`. Padded levels have no mass, so the last sum is the total.
    """
    width = masses.shape[1]
    first = jax.lax.broadcasted_iota(jnp.int32, (width, width), 0)
    upto = first <= jax.lax.broadcasted_iota(jnp.int32, (width, width), 1)
    cumulative = jnp.matmul(masses, upto.astype(jnp.float32), precision=EXACT)
    passed = cumulative <= uniform * cumulative[:, width - 1 :]
    # Mosaic sums floats over lanes; 256 of them are exact.
    below = jnp.sum(passed.astype(jnp.float32), axis=-1, keepdims=True)
    return jnp.minimum(below.astype(jnp.int32), q_levels - 1)


def _add_to_pending(
    weights: TierWeights, refs: BigFrame, place: Int[Array, ""], level: Int[Array, "rows 1"]
) -> None:
    """Add the table rows of a level to the sums of the samples that will read it.

    For the sample at the same place in the next frame it is the oldest level, so it starts the sum.
    """
    frame_size, parts, width, _ = weights.tables.shape
    lanes = jax.lax.broadcasted_iota(jnp.int32, (level.shape[0], width), 1)
    one_hot = (lanes == level).astype(jnp.bfloat16)

    def row(place_in_window: int | Array) -> Array:
        products = [
            jnp.matmul(
                one_hot, weights.tables[place_in_window, part], preferred_element_type=jnp.float32
            )
            for part in range(parts)
        ]
        return sum(products[1:], start=products[0])

    refs.pending[place] = row(0)

    def add(place_in_window: Int[Array, ""], nothing: Int[Array, ""]) -> Array:
        behind = place - place_in_window
        slot = jnp.where(behind < 0, behind + frame_size, behind)
        refs.pending[slot] = refs.pending[slot] + row(place_in_window)
        return nothing

    jax.lax.fori_loop(1, frame_size, add, jnp.int32(0))


def _times(x: Array, kernel: Any, rule: DrawRule, tick: Int[Array, ""] | None = None) -> Array:
    """Return x times a kernel, or times a tick's kernel."""
    at: Any = ... if tick is None else tick
    if not isinstance(kernel, ScaledKernel):
        return matmul(x, kernel[at], rule.precision)
    scale = kernel.scale[0 if tick is None else (tick, 0)]
    return matmul(x, ScaledKernel(kernel.values[at], scale), rule.precision)


def _rows_of(refs: BigFrame, tick: Int[Array, ""]) -> Any:
    """Return the slice of one frame's rows."""
    rows = refs.big_frame.shape[0]
    return pl.ds(pl.multiple_of(tick * rows, rows), rows)


def _lanes(x: Array) -> Int[Array, "rows lanes"]:
    return jax.lax.broadcasted_iota(jnp.int32, x.shape, 1)


def _column(x: Float[Array, "rows lanes"], column: Int[Array, "..."]) -> Float[Array, "rows 1"]:
    """Return one column, by one index or an index per row: lanes cannot be indexed."""
    return jnp.sum(jnp.where(_lanes(x) == column, x, 0.0), axis=-1, keepdims=True)


def _write(ref: Any, column: Int[Array, ""], value: Array) -> None:
    """Write one column."""
    old = ref[...]
    ref[...] = jnp.where(_lanes(old) == column, value, old)
