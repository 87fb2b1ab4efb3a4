"""Sound silent videos: each gets a wav, a copy of the video with it, and a picture of both.

The model's sizes are read from the checkpoint. Without --checkpoint the one that ships with the
program is used: it knows the ten categories of the synthetic data set, and nothing else.
"""

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from v2s_jax.cli.compilation_cache import enable_compilation_cache
from v2s_jax.cli.device import use_device
from v2s_jax.cli.engine_options import (
    DEFAULT_ENGINE,
    DEFAULT_WEIGHTS,
    ENGINE_HELP,
    WEIGHTS_HELP,
)
from v2s_jax.errors import InputError
from v2s_jax.examples import EXAMPLE_VIDEO
from v2s_jax.features.extractor import WeightFiles
from v2s_jax.kernels.interface import EngineName
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.media import Original
from v2s_jax.pretrained import DEFAULT_CHECKPOINT
from v2s_jax.sampling import DEFAULT_BATCH_SIZE
from v2s_jax.sonification import Report, sonify
from v2s_jax.sonification.streaming import stream_video


@dataclass(frozen=True)
class SampleArgs:
    """What sample.py takes."""

    video: tuple[Path, ...]
    """Videos, or folders of videos; they are sounded together."""
    out: Path
    """Folder for NAME_sound.wav, NAME_sound.mp4 (or .mkv) and NAME_sound.png; with --stream a wav
    that grows, or - for raw PCM (s16le, mono) on standard output."""
    checkpoint: Path = DEFAULT_CHECKPOINT
    """A .safetensors file, the --workdir of a training run, or frame, seq or flow: a model that
    ships."""
    seed: int = 0
    """Another seed gives another sound for the same video."""
    temperature: float = 1.0
    """Below 1 the likely levels are preferred; 1 draws from the model as it is."""
    device: str | None = None
    """Platform to run on: cpu, gpu or tpu; the best one there is unless given."""
    overwrite: bool = False
    """Replace outputs that are there already."""
    batch_size: int = DEFAULT_BATCH_SIZE
    """Clips computed side by side; a clip's sound is repeatable for the same tile."""
    engine: Annotated[EngineName, tyro.conf.arg(help=ENGINE_HELP)] = DEFAULT_ENGINE
    weights: Annotated[WeightFormat, tyro.conf.arg(help=WEIGHTS_HELP)] = DEFAULT_WEIGHTS
    max_retries: int = 0
    """How often runaway noise or dead silence may be drawn again, with the next seed."""
    takes: int = 1
    """Sounds for each video, of this seed and the next ones: NAME_sound_1 is the likeliest."""
    prefix: Path | None = None
    """A sound file that every sound begins with, and goes on from."""
    original: Original = "drop"
    """The video's own sound: drop it, keep it as a second track, or mix it in."""
    original_gain_db: float = 0.0
    """Gain of the video's own sound where it is mixed in."""
    stream: bool = False
    """Sound one video as it is read, be it a file or - for standard input."""
    weight_files: Annotated[WeightFiles, tyro.conf.arg(name="")] = field(
        default_factory=WeightFiles
    )
    """Weights of a checkpoint's vgg19 extractor, if they are not where they were looked for."""


def main() -> None:
    """Sound the videos that the command line names; without any words, explain and offer a demo."""
    if not sys.argv[1:]:
        print(explanation())
        return
    args = tyro.cli(SampleArgs, prog="v2s sample", description=__doc__)
    use_device(args.device)
    enable_compilation_cache()
    if args.stream:
        _stream(args)
        return
    report = sonify(
        args.video,
        args.out,
        checkpoint=args.checkpoint,
        seed=args.seed,
        temperature=args.temperature,
        overwrite=args.overwrite,
        batch_size=args.batch_size,
        max_retries=args.max_retries,
        takes=args.takes,
        prefix=args.prefix,
        original=args.original,
        original_gain_db=args.original_gain_db,
        engine=args.engine,
        weight_format=args.weights,
        weights=args.weight_files,
    )
    _tell(report)


def explanation() -> str:
    """Return what there is to know before the first words, and the words for a first try."""
    return f"""Sounds silent videos: each gets a wav, a copy of the video with it, and a picture.

The example and the checkpoint that ship:

  v2s sample --video {shlex.quote(str(EXAMPLE_VIDEO))} --out out/demo

Your own videos, or folders of them:

  v2s sample --video VIDEO --out FOLDER

The same on a web page of this machine:

  v2s demo

v2s sample --help tells of checkpoints, seeds, takes, streams and what else there is."""


def _stream(args: SampleArgs) -> None:
    """Sound one video as it is read; what there is to say goes to stderr."""
    if len(args.video) != 1:
        raise InputError(f"--stream with {len(args.video)} videos: it sounds one, name one")
    own_sound = args.original != "drop" or args.original_gain_db
    if args.takes != 1 or args.prefix is not None or own_sound:
        raise InputError(
            "--stream with --takes, --prefix, --original or --original-gain-db: leave these out"
        )
    samples, degeneracies = stream_video(
        args.video[0],
        args.out,
        checkpoint=args.checkpoint,
        seed=args.seed,
        temperature=args.temperature,
        overwrite=args.overwrite,
        batch_size=args.batch_size,
        max_retries=args.max_retries,
        engine=args.engine,
        weight_format=args.weights,
        weights=args.weight_files,
    )
    for degeneracy in degeneracies:
        print(f"warning: {degeneracy}", file=sys.stderr)
    print(f"{samples} samples streamed", file=sys.stderr)


def _tell(report: Report) -> None:
    """Say where the files are, and end in error when a video failed."""
    for made in report.generated:
        for warning in made.warnings:
            print(f"warning: {warning}")
        print(f"{made.source}:\n  {made.wav}\n  {made.video}\n  {made.figure}")
        if made.bits_per_sample is not None:
            print(f"  seed {made.seed}: {made.bits_per_sample:.4f} bits per sample")
    if report.generated:
        print(
            f"{len(report.generated)} sounded at {report.x_real_time:.1f} x real time by the "
            f"{report.engine} engine, {report.weight_format} weights"
        )
    if report.removed:
        listed = ", ".join(str(path) for path in report.removed)
        print(f"removed what a run with more takes had left: {listed}")
    failures = list(report.failed.values())
    if len(failures) == 1:
        raise InputError(failures[0])
    if failures:
        listed = "".join(f"\n  {line}" for line in failures)
        raise InputError(f"{len(failures)} videos could not be sounded:{listed}")
