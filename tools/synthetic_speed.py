"""How fast synthetic clips are made: pictures, sound and events; and apart from that, encoded.

    python -m tools.synthetic_speed

A clip's seconds over the seconds that making it took, times the processes that make clips at the
same time. What starting processes takes is left out: it is paid once for a set of any size.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import tyro
from tqdm import tqdm

from benchmarks.commands.report import machine_line
from benchmarks.machine import describe_machine
from benchmarks.table import Column, header_lines, row_line
from tools.codes import PLAIN
from v2s_jax.cli.run import run_cli
from v2s_jax.datasets.locking import CORES
from v2s_jax.datasets.synthetic.encoding import write_video
from v2s_jax.datasets.synthetic.floor import floor_bits, level_edges
from v2s_jax.datasets.synthetic.generator import CATEGORIES
from v2s_jax.datasets.synthetic.presets import Preset
from v2s_jax.datasets.synthetic.recipe import ClipSpec, DatasetSpec
from v2s_jax.errors import InputError
from v2s_jax.media.encode import CLIP_SUFFIX
from v2s_jax.worker_pool import parallel_map

TARGET = 20
"""Times real time, encoding apart, on two cores."""


@dataclass(frozen=True)
class SpeedArgs:
    """What is timed."""

    clips: int = 10
    """Clips of each category."""
    video_frames: int = 32
    """Pictures of a clip; 32 last 2 s."""
    workers: int = CORES
    """Processes at work; one for each core unless given."""
    seed: int = 0
    """Seed of the clips."""


class Timed(NamedTuple):
    """What one clip took, in seconds."""

    category: str
    clip_sec: float
    """How long it lasts."""
    making_sec: float
    floor_sec: float
    encoding_sec: float


class Row(NamedTuple):
    """Times real time: seconds of clips over the seconds that they took all processes."""

    category: str
    making: float
    floor: float
    encoding: float
    together: float


COLUMNS = (
    Column("category", "", lambda row: row.category.ljust(14)),
    Column("made", "x real time", lambda row: f"{row.making:.1f}"),
    Column("floor", "x real time", lambda row: f"{row.floor:.0f}"),
    Column("encoded", "x real time", lambda row: f"{row.encoding:.1f}"),
    Column("together", "x real time", lambda row: f"{row.together:.1f}"),
)
NOTES = """\
made: pictures, waveform and events. floor: the bound that a clip's label holds. encoded: H.264 and
FLAC, by ffmpeg. together: one after the other, as `v2s prepare synthetic` does before it decodes
the file again."""


def main() -> None:
    """Time what the command line names."""
    args = tyro.cli(SpeedArgs, prog="python -m tools.synthetic_speed", description=__doc__)
    for option in ("clips", "video_frames", "workers"):
        if getattr(args, option) < 1:
            name = option.replace("_", "-")
            raise InputError(f"--{name} {getattr(args, option)}: must be at least 1")
    timed = measured(args)
    print(f"synthetic clips, {args.workers} processes; target of `made`: {TARGET} x real time\n")
    print(*header_lines(COLUMNS), sep="\n")
    for row in rows_of(timed, args.workers):
        print(row_line(COLUMNS, row))
    print(f"\n{NOTES}\n{machine_line(describe_machine())}")


def measured(args: SpeedArgs) -> list[Timed]:
    """Make every clip, then encode every clip, categories in turn.

    All processes do the same until the end: ffmpeg works beside the process that feeds it, and
    would take time from another that makes a clip.
    """
    preset = Preset("speed", args.clips, 0, args.video_frames, CATEGORIES)
    order = DatasetSpec(preset, args.seed)
    recipes = list(order.recipes("train"))
    count = len(recipes)
    makings = parallel_map(timed_making, recipes, args.workers)
    made = list(tqdm(makings, total=count, unit="clip", desc="making"))
    encodings = parallel_map(timed_encoding, recipes, args.workers)
    encoded = list(tqdm(encodings, total=count, unit="clip", desc="encoding"))
    lasting_sec = args.video_frames / float(order.clock.fps)
    return [
        Timed(recipe.category, lasting_sec, making_sec, floor_sec, encoding_sec)
        for recipe, (making_sec, floor_sec), encoding_sec in zip(
            recipes, made, encoded, strict=True
        )
    ]


def timed_making(recipe: ClipSpec) -> tuple[float, float]:
    """Return how long making a clip takes, and finding its floor."""
    level_edges(*PLAIN)  # found once in a process
    start = time.perf_counter()
    clip = recipe.make()
    made = time.perf_counter()
    floor_bits(clip.track)
    return made - start, time.perf_counter() - made


def timed_encoding(recipe: ClipSpec) -> float:
    """Return how long writing a clip as a file takes, which is then dropped."""
    clip = recipe.make()
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"clip{CLIP_SUFFIX[recipe.sound_codec]}"
        start = time.perf_counter()
        write_video(path, clip, recipe.clock, recipe.probe, recipe.sound_codec)
        return time.perf_counter() - start


def rows_of(timed: Sequence[Timed], workers: int) -> list[Row]:
    """Return each category's row, and that of all together."""
    each = [[clip for clip in timed if clip.category == name] for name in CATEGORIES]
    named = [(name, clips) for name, clips in zip(CATEGORIES, each, strict=True) if clips]
    return [_row(name, clips, workers) for name, clips in [*named, ("all", timed)]]


def _row(name: str, clips: Sequence[Timed], workers: int) -> Row:
    clip_sec = workers * sum(clip.clip_sec for clip in clips)
    making, floor, encoding = (
        sum(getattr(clip, part) for clip in clips)
        for part in ("making_sec", "floor_sec", "encoding_sec")
    )
    return Row(
        name,
        clip_sec / making,
        clip_sec / floor,
        clip_sec / encoding,
        clip_sec / (making + floor + encoding),
    )


if __name__ == "__main__":
    run_cli(main)
