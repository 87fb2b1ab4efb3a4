"""The cost of test clips for codes that see no video, next to their floor.

    python -m tools.baselines --preset tiny
    python -m tools.baselines --data datasets/small

The first command renders the clips of a preset and writes nothing; the second reads a dataset. The
codes (`codes.py`) are fitted to the training clips of each category and scored on its test clips,
in bits per sample. A model that learned something from the audio costs less than these codes. One
that learned from the video comes nearer to the floor (`floor.py`).
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tyro
from tqdm import tqdm

from tools.codes import Levels, fit_linear_code, linear_costs, unigram_costs
from v2s_jax.cli.run import run_cli
from v2s_jax.datasets import open_dataset, waveform_from_int16
from v2s_jax.datasets.synthetic.floor import DEFAULT_ALPHABET, floor_bits
from v2s_jax.datasets.synthetic.presets import find_preset
from v2s_jax.datasets.synthetic.probes import find_probe
from v2s_jax.datasets.synthetic.spec import ClipSpec, DatasetSpec
from v2s_jax.errors import InputError
from v2s_jax.processes import CPU_COUNT, parallel_map
from v2s_jax.quantize import quantize


@dataclass(frozen=True)
class BaselinesArgs:
    """Clips to score."""

    preset: str = "tiny"
    """Render the clips of this preset: tiny, small, full, demo or pair."""
    data: str | None = None
    """Read this dataset instead."""
    probe: str = "none"
    """Probe of the rendered clips (data/README.md)."""
    seed: int = 0
    """Seed of the rendered clips."""
    workers: int = CPU_COUNT
    """Processes; one per core by default."""


class Clip(NamedTuple):
    """One clip's levels and floor."""

    category: str
    split: str
    levels: Levels
    floor_bits: float | None
    """None if unknown."""


class Row(NamedTuple):
    """Bits per sample of a category's test clips."""

    category: str
    clips: int
    samples: int
    floor: float
    """NaN if unknown."""
    linear: float
    residual: str
    """Distribution of the linear code."""
    unigram: float


def main() -> None:
    """Score the clips and print a table."""
    args = tyro.cli(BaselinesArgs, prog="python -m tools.baselines", description=__doc__)
    if args.workers < 1:
        raise InputError(f"--workers {args.workers}: must be at least 1")
    if args.data is not None:
        name, clips = args.data, read_clips(args.data)
    else:
        probe = find_probe(args.probe)
        spec = DatasetSpec(find_preset(args.preset), seed=args.seed, probe=probe)
        name, clips = spec.name, render_clips(spec, args.workers)
    rows = score(clips)
    if not rows:
        raise InputError(f"{name}: no category has both train and test clips")
    print(f"{name}: bits per sample of split test, fitted on split train")
    print("category        clips  floor  linear  residual  unigram  uniform")
    uniform = math.log2(DEFAULT_ALPHABET.q_levels)
    for row in [*rows, overall(rows)]:
        print(
            f"{row.category:14}{row.clips:7}{row.floor:7.3f}{row.linear:8.3f}  {row.residual:8}"
            f"{row.unigram:9.3f}{uniform:9.3f}"
        )


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
            yield Clip(record.category, split, levels, floors.get(record.clip_id))


def score(clips: Iterable[Clip]) -> list[Row]:
    """Fit and score each category that has train and test clips."""
    groups: dict[tuple[str, str], list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[clip.category, clip.split].append(clip)
    rows = []
    for category in sorted({category for category, _ in groups}):
        train = [clip.levels for clip in groups[category, "train"]]
        test = groups[category, "test"]
        if train and test:
            rows.append(_score_category(category, train, test))
    return rows


def _score_category(category: str, train: Sequence[Levels], test: Sequence[Clip]) -> Row:
    unigram = unigram_costs(train, DEFAULT_ALPHABET.q_levels)
    linear = fit_linear_code(train)
    samples = sum(clip.levels.size for clip in test)
    floors = [math.nan if clip.floor_bits is None else clip.floor_bits for clip in test]
    return Row(
        category,
        len(test),
        samples,
        floor=sum(floors) / samples,
        linear=sum(float(linear_costs(linear, clip.levels).sum()) for clip in test) / samples,
        residual=linear.residual,
        unigram=sum(float(unigram[clip.levels].sum()) for clip in test) / samples,
    )


def overall(rows: Sequence[Row]) -> Row:
    """Return the mean over all samples; each category has its own codes."""
    samples = [row.samples for row in rows]
    floor, linear, unigram = (
        float(np.average([getattr(row, name) for row in rows], weights=samples))
        for name in ("floor", "linear", "unigram")
    )
    return Row("all", sum(row.clips for row in rows), sum(samples), floor, linear, "", unigram)


if __name__ == "__main__":
    run_cli(main)
