"""What held-out clips cost codes that see no picture, beside their floor.

    python -m tools.baselines --preset tiny
    python -m tools.baselines --data datasets/small

The first line draws the clips of a preset and writes nothing; the second reads a data set that was
made. Histogram and linear prediction (`codes.py`) are fitted on the training clips of a category
and scored on its test clips, in bits per sample. A model that says it has learnt something from
the sound costs less than these; one that has learnt from the pictures as well comes nearer to the
floor, which is a bound for an oracle that is told the state (`floor.py`).
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tyro
from tqdm import tqdm

from benchmarks.table import Column, header_lines, row_line
from tools.codes import PLAIN, Levels, fit_linear_code, linear_costs, unigram_costs
from v2s_jax.cli.run import run_cli
from v2s_jax.datasets import open_dataset, waveform_from_int16
from v2s_jax.datasets.locking import CORES
from v2s_jax.datasets.synthetic.command import check_order, preset_named, probe_named
from v2s_jax.datasets.synthetic.floor import floor_bits
from v2s_jax.datasets.synthetic.recipe import ClipSpec, DatasetSpec
from v2s_jax.errors import InputError
from v2s_jax.quantize import quantize
from v2s_jax.worker_pool import parallel_map

FITTED_ON, SCORED_ON = "train", "test"


@dataclass(frozen=True)
class BaselinesArgs:
    """What is scored."""

    preset: str = "tiny"
    """Draw the clips of this preset: tiny, small, full, demo or pair."""
    data: str | None = None
    """Read the clips of this data set instead."""
    probe: str = "none"
    """What the drawn clips probe (data/README.md)."""
    seed: int = 0
    """Seed of the drawn clips."""
    workers: int = CORES
    """Processes that draw; one for each core unless given."""


class Scored(NamedTuple):
    """One clip's levels and floor."""

    category: str
    split: str
    levels: Levels
    floor_bits: float | None
    """None where it is not known."""


class Row(NamedTuple):
    """Bits per sample of a category's held-out clips."""

    category: str
    clips: int
    samples: int
    floor: float | None
    unigram: float
    linear: float
    residual: str
    """The distribution that linear prediction codes with."""


COLUMNS = (
    Column("category", "", lambda row: row.category.ljust(14)),
    Column("clips", "scored", lambda row: str(row.clips)),
    Column("floor", "bits", lambda row: "-" if row.floor is None else f"{row.floor:.3f}"),
    Column("linear", "bits", lambda row: f"{row.linear:.3f}"),
    Column("residual", "", lambda row: row.residual),
    Column("unigram", "bits", lambda row: f"{row.unigram:.3f}"),
    Column("even", "bits", lambda _: f"{math.log2(PLAIN.q_levels):.0f}"),
)


def main() -> None:
    """Score what the command line names."""
    args = tyro.cli(BaselinesArgs, prog="python -m tools.baselines", description=__doc__)
    if args.workers < 1:
        raise InputError(f"--workers {args.workers}: must be at least 1")
    if args.data is not None:
        name, clips = args.data, read_clips(args.data)
    else:
        order = DatasetSpec(
            preset_named(args.preset), seed=args.seed, probe=probe_named(args.probe)
        )
        check_order(order)
        name, clips = order.name, drawn_clips(order, args.workers)
    rows = list(scores(clips))
    if not rows:
        raise InputError(f"{name}: no category has clips both in {FITTED_ON} and {SCORED_ON}")
    print(f"{name}: bits per sample of split {SCORED_ON}, fitted on split {FITTED_ON}\n")
    print(*header_lines(COLUMNS), sep="\n")
    for row in [*rows, together(rows)]:
        print(row_line(COLUMNS, row))


def drawn_clips(order: DatasetSpec, workers: int) -> Iterator[Scored]:
    """Draw the clips of an order."""
    recipes = [*order.recipes(FITTED_ON), *order.recipes(SCORED_ON)]
    drawn = parallel_map(_scored, recipes, workers)
    yield from tqdm(drawn, total=len(recipes), unit="clip", desc=order.name)


def _scored(recipe: ClipSpec) -> Scored:
    clip = recipe.make()
    levels = quantize(clip.waveform, *PLAIN)
    return Scored(recipe.category, recipe.split, levels, floor_bits(clip.track, *PLAIN))


def read_clips(folder: str) -> Iterator[Scored]:
    """Read the clips of a data set; those that are not synthetic, or AAC's, have no floor."""
    for split in (FITTED_ON, SCORED_ON):
        data = open_dataset(folder, split)
        floors = data.metadata.get("floor_bits", {})
        for record in tqdm(data, total=len(data), unit="clip", desc=split):
            levels = quantize(waveform_from_int16(record.waveform), *PLAIN)
            yield Scored(record.category, split, levels, floors.get(record.clip_id))


def scores(clips: Iterable[Scored]) -> Iterator[Row]:
    """Fit and score category after category, those that both splits have."""
    of: Mapping[tuple[str, str], list[Scored]] = defaultdict(list)
    for clip in clips:
        of[clip.category, clip.split].append(clip)
    for category in sorted({category for category, _ in of}):
        fitted_on = [clip.levels for clip in of[category, FITTED_ON]]
        scored_on = of[category, SCORED_ON]
        if fitted_on and scored_on:
            yield _row(category, fitted_on, scored_on)


def _row(category: str, fitted_on: Sequence[Levels], scored_on: Sequence[Scored]) -> Row:
    unigram = unigram_costs(fitted_on, PLAIN.q_levels)
    linear = fit_linear_code(fitted_on)
    samples = sum(clip.levels.size for clip in scored_on)
    floors = [clip.floor_bits for clip in scored_on if clip.floor_bits is not None]
    return Row(
        category,
        len(scored_on),
        samples,
        floor=sum(floors) / samples if len(floors) == len(scored_on) else None,
        unigram=sum(float(unigram[clip.levels].sum()) for clip in scored_on) / samples,
        linear=sum(float(linear_costs(linear, clip.levels).sum()) for clip in scored_on) / samples,
        residual=linear.residual,
    )


def together(rows: Sequence[Row]) -> Row:
    """Return the mean over all samples, each category with codes of its own."""
    samples = [row.samples for row in rows]

    def mean(bits: Sequence[float]) -> float:
        return float(np.average(bits, weights=samples))

    floors = [row.floor for row in rows if row.floor is not None]
    return Row(
        "all",
        sum(row.clips for row in rows),
        sum(samples),
        floor=mean(floors) if len(floors) == len(rows) else None,
        unigram=mean([row.unigram for row in rows]),
        linear=mean([row.linear for row in rows]),
        residual="",
    )


if __name__ == "__main__":
    run_cli(main)
