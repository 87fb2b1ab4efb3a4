"""The cost of test clips for codes that see no video, next to their floor.

    python -m tools.baselines --preset tiny
    python -m tools.baselines --data datasets/small

The first command renders the clips of a preset and writes nothing; the second reads a dataset. The
codes are fitted to the training clips of each category and scored on its test clips, in bits per
sample. A model that learned something from the audio costs less than these codes. One that learned
from the video comes nearer to the floor (`floor.py`). The cost of a level is -log2 of the
probability that a code gives it before it is known:

    unigram    P(level) = its share of the training levels, with half a count added to each
    linear     level_t is the quantised x = sum_k a_k x_(t-k) + residual:
               P(level) = F((upper - prediction) / scale) - F((lower - prediction) / scale)

x_(t-k) are the amplitudes of earlier levels, silence before the first; F is the Laplace
distribution; `upper` and `lower` are the amplitudes between which the waveform has that level. Both
are codes of the levels only, so on average no clip can cost less than its floor.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8
from scipy.optimize import minimize_scalar
from scipy.stats import laplace
from tqdm import tqdm

from v2s_jax.cli.arguments import parse_args
from v2s_jax.cli.run import run_cli
from v2s_jax.datasets import open_dataset, waveform_from_int16
from v2s_jax.datasets.synthetic.floor import DEFAULT_ALPHABET, floor_bits, level_edges
from v2s_jax.datasets.synthetic.presets import find_preset
from v2s_jax.datasets.synthetic.spec import ClipSpec, DatasetSpec
from v2s_jax.errors import InputError
from v2s_jax.processes import CPU_COUNT, parallel_map
from v2s_jax.quantize import dequantize, quantize

ORDER = 16
"""Past samples in a prediction: 1 ms, the usual order for audio at 16 kHz."""
ESCAPE = 1e-3
"""Share of the probability that is uniform over all levels, so that no level costs infinity."""
HALF_COUNT = 0.5  # Krichevsky and Trofimov 1981
MAX_FIT_SAMPLES = 1 << 17  # to fit a scale, evenly spaced
LOG_SCALES = math.log(1e-5), math.log(1.0)  # of full scale

Levels = UInt8[np.ndarray, " samples"]


@dataclass(frozen=True)
class BaselinesArgs:
    """Clips to score."""

    preset: str = "tiny"
    """Render the clips of this preset: tiny, small, full, demo or pair."""
    data: str | None = None
    """Read this dataset instead."""
    seed: int = 0
    """Seed of the rendered clips."""
    workers: int = CPU_COUNT
    """Processes; one per core by default."""


class Clip(NamedTuple):
    """One clip's levels and floor."""

    category: str
    split: str
    levels: Levels
    floor_bits: float
    """NaN if unknown."""


class Row(NamedTuple):
    """Samples of a category's test clips, and the bits that they cost in total."""

    samples: int
    floor: float
    linear: float
    unigram: float


def main() -> None:
    """Score the clips and print a table."""
    args = parse_args(BaselinesArgs, "python -m tools.baselines", __doc__)
    if args.workers < 1:
        raise InputError(f"--workers {args.workers}: must be at least 1")
    if args.data is not None:
        name, clips = args.data, read_clips(args.data)
    else:
        spec = DatasetSpec(find_preset(args.preset), seed=args.seed)
        name, clips = spec.name, render_clips(spec, args.workers)
    rows = score(clips)
    if not rows:
        raise InputError(f"{name}: no category has both train and test clips")
    print(f"{name}: bits per sample of split test, fitted on split train")
    print("category          floor  linear unigram uniform")
    uniform = math.log2(DEFAULT_ALPHABET.q_levels)
    rows["all"] = Row(*map(sum, zip(*rows.values(), strict=True)))
    for category, row in rows.items():
        bits = [row.floor / row.samples, row.linear / row.samples, row.unigram / row.samples]
        print(f"{category:15}" + "".join(f"{value:8.3f}" for value in [*bits, uniform]))


def render_clips(spec: DatasetSpec, workers: int) -> Iterator[Clip]:
    """Render the clips of a dataset."""
    clips = [*spec.clips("train"), *spec.clips("test")]
    yield from tqdm(parallel_map(_render, clips, workers), total=len(clips), unit="clip")


def _render(spec: ClipSpec) -> Clip:
    clip = spec.render()
    levels = quantize(clip.waveform, *DEFAULT_ALPHABET)
    return Clip(spec.category, spec.split, levels, floor_bits(clip.track, *DEFAULT_ALPHABET))


def read_clips(folder: str) -> Iterator[Clip]:
    """Read the clips of a dataset. Only synthetic clips with lossless audio have a floor."""
    for split in ("train", "test"):
        data = open_dataset(folder, split)
        floors = data.metadata.get("floor_bits", {})
        for record in tqdm(data, total=len(data), unit="clip", desc=split):
            levels = quantize(waveform_from_int16(record.waveform), *DEFAULT_ALPHABET)
            yield Clip(record.category, split, levels, floors.get(record.clip_id, math.nan))


def score(clips: Iterable[Clip]) -> dict[str, Row]:
    """Fit and score each category that has train and test clips."""
    groups: dict[tuple[str, str], list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[clip.category, clip.split].append(clip)
    rows = {}
    for category in sorted({category for category, _ in groups}):
        train = [clip.levels for clip in groups[category, "train"]]
        test = groups[category, "test"]
        if not (train and test):
            continue
        unigram, code = unigram_costs(train, DEFAULT_ALPHABET.q_levels), fit_linear_code(train)
        rows[category] = Row(
            sum(clip.levels.size for clip in test),
            floor=sum(clip.floor_bits for clip in test),
            linear=sum(float(linear_costs(code, clip.levels).sum()) for clip in test),
            unigram=sum(float(unigram[clip.levels].sum()) for clip in test),
        )
    return rows


def unigram_costs(clips: Sequence[Levels], q_levels: int) -> Float64[np.ndarray, " levels"]:
    """Return the bits that each level costs."""
    counts = np.full(q_levels, HALF_COUNT)
    for clip in clips:
        counts += np.bincount(clip, minlength=q_levels)
    return -np.log2(counts / counts.sum())


class LinearCode(NamedTuple):
    """A fitted linear prediction."""

    weights: Float64[np.ndarray, " order"]
    """Of the previous samples, the latest first."""
    scale: float
    """Of the residual, in amplitude."""


def fit_linear_code(clips: Sequence[Levels]) -> LinearCode:
    """Fit the weights by least squares, and the scale by cost."""
    products, targets = np.zeros((ORDER, ORDER)), np.zeros(ORDER)
    for clip in clips:
        past = _past(clip)
        products += past.T @ past
        targets += past.T @ _amplitudes(clip)
    weights = np.linalg.lstsq(products, targets, rcond=None)[0]  # singular for silent clips
    stride = max(1, sum(map(len, clips)) // MAX_FIT_SAMPLES)
    levels = np.concatenate([clip[::stride] for clip in clips])
    prediction = np.concatenate([_past(clip)[::stride] @ weights for clip in clips])

    def cost(log_scale: float) -> float:
        return float(_costs(levels, prediction, math.exp(log_scale)).mean())

    best = minimize_scalar(cost, bounds=LOG_SCALES, method="bounded", options={"xatol": 1e-3})
    return LinearCode(weights, math.exp(best.x))


def linear_costs(code: LinearCode, levels: Levels) -> Float64[np.ndarray, " samples"]:
    """Return the bits that each level of a clip costs."""
    return _costs(levels, _past(levels) @ code.weights, code.scale)


def _amplitudes(levels: Levels) -> Float64[np.ndarray, " samples"]:
    return dequantize(levels, *DEFAULT_ALPHABET).astype(np.float64)


def _past(levels: Levels) -> Float64[np.ndarray, "samples order"]:
    """Return the amplitudes before each sample, the latest first."""
    padded = np.concatenate([np.zeros(ORDER), _amplitudes(levels)[:-1]])
    return np.lib.stride_tricks.sliding_window_view(padded, ORDER)[:, ::-1]


def _costs(
    levels: Levels, prediction: Float64[np.ndarray, " samples"], scale: float
) -> Float64[np.ndarray, " samples"]:
    edges = np.concatenate([[-np.inf], level_edges(*DEFAULT_ALPHABET), [np.inf]])
    upper = laplace.cdf((edges[levels.astype(int) + 1] - prediction) / scale)
    lower = laplace.cdf((edges[levels] - prediction) / scale)
    return -np.log2((1.0 - ESCAPE) * (upper - lower) + ESCAPE / DEFAULT_ALPHABET.q_levels)


if __name__ == "__main__":
    run_cli(main)
