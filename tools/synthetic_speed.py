"""Measure how fast synthetic clips are rendered and encoded, in multiples of real time.

    python -m tools.synthetic_speed

The seconds of clips over the seconds of work, times the number of processes. Starting the
processes is not counted.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from v2s_jax.cli.arguments import parse_args
from v2s_jax.cli.run import run_cli
from v2s_jax.datasets.synthetic.encoding import write_video
from v2s_jax.datasets.synthetic.floor import DEFAULT_ALPHABET, floor_bits, level_edges
from v2s_jax.datasets.synthetic.generator import CATEGORIES
from v2s_jax.datasets.synthetic.presets import Preset
from v2s_jax.datasets.synthetic.spec import ClipSpec, DatasetSpec
from v2s_jax.errors import InputError
from v2s_jax.media.encode import CLIP_SUFFIX
from v2s_jax.processes import CPU_COUNT, parallel_map

SEED = 0


@dataclass(frozen=True)
class SpeedArgs:
    """Clips to time."""

    clips: int = 10
    """Clips of each category."""
    video_frames: int = 32
    """Video frames of a clip; 32 last 2 s."""
    workers: int = CPU_COUNT
    """Processes; one per core by default."""


def main() -> None:
    """Time every category and print a table."""
    args = parse_args(SpeedArgs, "python -m tools.synthetic_speed", __doc__)
    if min(args.clips, args.video_frames, args.workers) < 1:
        raise InputError("--clips, --video-frames and --workers: must be at least 1")
    preset = Preset("speed", args.clips, 1, args.video_frames, CATEGORIES)
    spec = DatasetSpec(preset, SEED)
    clips = list(spec.clips("train"))
    secs = np.array([*tqdm(parallel_map(time_clip, clips, args.workers), total=len(clips))])
    clip_sec = args.video_frames / float(spec.clock.fps) * args.workers
    print(f"{args.workers} processes, x real time\ncategory        render   floor  encode")
    for name in (*CATEGORIES, "all"):
        speeds = clip_sec / secs[[name in (clip.category, "all") for clip in clips]].mean(axis=0)
        print(f"{name:14}" + "".join(f"{speed:8.1f}" for speed in speeds))


def time_clip(spec: ClipSpec) -> list[float]:
    """Return the seconds to render a clip, compute its floor, and encode it."""
    level_edges(*DEFAULT_ALPHABET)  # cached once per process
    times = [time.perf_counter()]
    clip = spec.render()
    times.append(time.perf_counter())
    floor_bits(clip.track)
    times.append(time.perf_counter())
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"clip{CLIP_SUFFIX[spec.audio_codec]}"
        write_video(path, clip, spec.clock, spec.probe, spec.audio_codec)
        times.append(time.perf_counter())
    return np.diff(times).tolist()


if __name__ == "__main__":
    run_cli(main)
