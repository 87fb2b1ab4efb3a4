"""`--engine auto`: the fastest engine that is exact here, its weights and its batch size.

    CPU, library of the cpu engine built     cpu; fastest weights that lose at most 0.001 bits
    CPU, library not built yet               a short sound: scan, while it is built for later runs;
                                             a long one: it is built first, then cpu
    CPU without a compiler, GPU, TPU,        scan with float32 weights
    models that the cpu engine refuses

The choice is made once, before the first sample: a build that ends later changes nothing. With the
cpu engine a clip sounds the same at any batch size, so engine and weights determine it; with the
scan the batch size does too, and it depends on the number of clips.
"""

import math
from typing import Any, NamedTuple

import jax

from v2s_jax.config import Config, ModelConfig
from v2s_jax.errors import InputError
from v2s_jax.kernels.build import build, library_path, start_build, why_not_built
from v2s_jax.kernels.cpu import load_library
from v2s_jax.kernels.interface import EngineName, EngineOption, WeightOption
from v2s_jax.kernels.packing import WeightFormat, check_model
from v2s_jax.kernels.weight_reads import weight_reads
from v2s_jax.sampling.progress import show_activity
from v2s_jax.sampling.types import DEFAULT_BATCH_SIZE
from v2s_jax.sampling.weight_loss import loss_bits

MAX_LOSS_BITS = 1e-3
"""Per sample: what rounded weights may lose. Models differ by ten times as much (docs/results)."""
FASTEST_FIRST: tuple[WeightFormat, ...] = ("int8", "bfloat16")
"""Of the cpu engine, on an Intel Xeon at `demo` and `paper` sizes. On an AMD EPYC int8 reaches 0.87
of bfloat16's speed for one `demo` clip (docs/speed.md)."""
BATCH_SIZES = (1, DEFAULT_BATCH_SIZE, 32)
"""Of the scan; those that are measured. Slots without a clip cost as much as others."""
MAX_CPU_BATCH = BATCH_SIZES[-1]
SCAN_SEC_PER_WEIGHT = 6.5e-11
"""Time of the scan for one weight of one sample at batch size 1 on two cores: 4.7e-11 s at `demo`
sizes, 8.9e-11 at `paper` sizes (docs/speed.md)."""
MIN_SCAN_SEC = 30.0
"""Time of the scan from which a build is waited for: it takes about 20 s, and the cpu engine then
needs at most 28 % of the scan's time."""
STREAM_SEC = 60
"""Assumed length of a stream whose end is not known."""
RETRY = "later runs are several times as fast"


class EngineChoice(NamedTuple):
    """What runs the model."""

    engine: EngineName
    weights: WeightFormat
    batch_size: int
    note: str | None = None
    """For the user: why a faster engine did not run, and how to get it."""


def choose_engine(
    config: Config,
    params: dict[str, Any],
    *,
    engine: EngineOption = "auto",
    weights: WeightOption = "auto",
    batch_size: int | None = None,
    clips: int = 1,
    samples: int | None = None,
    wait: bool = False,
) -> EngineChoice:
    """Choose what was left open.

    Args:
        config: The checkpoint's config.
        params: Its parameters, float32.
        engine: An engine that was asked for. With one, `auto` weights are float32 and the batch
            size is 4 unless given.
        weights: A format that was asked for; it is not checked for its loss.
        batch_size: A batch size that was asked for.
        clips: Number of clips to generate.
        samples: Length of all of them together; None if not known.
        wait: Build the cpu engine first, however short the clips are.
    """
    if engine != "auto":
        exact: WeightFormat = "float32" if weights == "auto" else weights
        return EngineChoice(engine, exact, batch_size or DEFAULT_BATCH_SIZE)
    per_device = -(-clips // len(jax.local_devices()))
    scan_batch = batch_size or max(size for size in BATCH_SIZES if size <= max(1, per_device))
    if samples is None:
        samples = STREAM_SEC * config.clock.sample_rate_hz
    note = None
    if runs_on_cpu_engine(config.model):
        scan_sec = math.inf if wait else _scan_sec(config.model, samples, scan_batch)
        note = _get_ready(scan_sec)
        if note is None:
            format_ = fastest_weights(config, params) if weights == "auto" else weights
            return EngineChoice("cpu", format_, batch_size or min(per_device, MAX_CPU_BATCH))
    return EngineChoice("scan", "float32" if weights == "auto" else weights, scan_batch, note)


def runs_on_cpu_engine(config: ModelConfig) -> bool:
    """Say whether the cpu engine, once built, runs this model on JAX's device."""
    try:
        check_model(config, "cpu")
    except InputError:
        return False
    return jax.default_backend() == "cpu"


def fastest_weights(config: Config, params: dict[str, Any]) -> WeightFormat:
    """Return the fastest format of the cpu engine that loses at most `MAX_LOSS_BITS`."""
    for weights in FASTEST_FIRST:
        if loss_bits(config, params, weights) <= MAX_LOSS_BITS:
            return weights
    return "float32"


def _get_ready(scan_sec: float) -> str | None:
    """Load the library, build it first if that pays; return why not, None if it is loaded."""
    if problem := why_not_built():
        return f"the scan engine ran, because {problem}; {RETRY}"
    try:
        if not library_path().exists():
            if scan_sec < MIN_SCAN_SEC:
                start_build()
                return f"the scan engine ran while the C++ engine is built, once; {RETRY}"
            with show_activity("building the C++ engine, once"):
                build()
        load_library()
    except InputError as error:
        return f"the scan engine ran, because the C++ engine is not ready: {error}"
    return None


def _weights_per_sample(config: ModelConfig) -> float:
    reads = weight_reads(config, "int8")
    assert reads is not None
    return sum(reads.by_tier(config))


def _scan_sec(config: ModelConfig, samples: int, batch_size: int) -> float:
    """Estimate the time of the scan: 4 slots are 2, 32 slots 7 times as fast as one."""
    sec = samples * _weights_per_sample(config) * SCAN_SEC_PER_WEIGHT
    return sec / math.sqrt(batch_size)
