"""Generate audio for silent videos: each gets a wav, a video with this audio, and a figure.

Without --checkpoint the pretrained model `real` is used, which knows fourteen sounds, such as dog,
drum and rain. An image classifier tells it what a video shows; --category chooses a sound.
"""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from v2s_jax.bucket import check_local
from v2s_jax.cli.arguments import parse_args
from v2s_jax.cli.compilation_cache import enable_compilation_cache
from v2s_jax.cli.describe import describe
from v2s_jax.cli.device import use_device
from v2s_jax.errors import InputError, printable
from v2s_jax.examples import EXAMPLE_VIDEO
from v2s_jax.pretrained import what_it_knows
from v2s_jax.sonification import (
    GenerationSettings,
    Report,
    SampleOptions,
    generate_sound,
    sonify,
    stream_video,
)
from v2s_jax.sonification.options import DEFAULT_OPTIONS


@dataclass(frozen=True)
class SampleArgs:
    """Arguments of `v2s sample`."""

    out: Path | None = None
    """Folder for NAME_sound.wav, NAME_sound.mp4 (or .mkv) and NAME_sound.png; with --stream a wav
    that grows, or - for raw PCM (s16le, mono) on standard output."""
    videos: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Videos, or folders with videos at any depth, which keep their folders in --out."""
    video: tuple[Path, ...] = ()
    """The same as an option."""
    options: Annotated[SampleOptions, tyro.conf.arg(name="")] = DEFAULT_OPTIONS
    device: str | None = None
    """Platform to run on: cpu, gpu or tpu; the best one available by default."""
    seconds: float | None = None
    """For a model trained on sounds: this much audio without a video, of a --category or of
    --controls."""
    stream: bool = False
    """Generate audio for one video while it is read: a file, or - for standard input."""
    describe: Path | None = None
    """Print how the sound of this wav, video or figure was generated, and the command that
    generates it again; do nothing else."""


def main() -> None:
    """Run `v2s sample`; without arguments, explain it."""
    if not sys.argv[1:]:
        print(explanation())
        return
    args = parse_args(SampleArgs, "v2s sample", __doc__)
    videos = (*args.videos, *args.video)
    if args.describe is not None:
        print(describe(args.describe))
        return
    if args.out is None:
        raise InputError("--out: is missing: name a folder for the results")
    options = args.options
    for option, path in (
        ("--out", args.out),
        ("--controls", options.controls),
        ("--export-controls", options.export_controls),
        ("--prefix", options.prefix),
        *(("--video", video) for video in videos),
    ):
        check_local(path, option)
    use_device(args.device)
    enable_compilation_cache()
    if args.seconds is not None:
        if videos or args.stream:
            raise InputError("--seconds: leave out videos and --stream")
        _print_report(generate_sound(args.out, args.seconds, args.options))
        _print_what_is_known(args.options.checkpoint)
    elif args.stream:
        _stream(videos, args.out, args.options)
    else:
        _print_report(sonify(videos, args.out, args.options))
        _print_what_is_known(args.options.checkpoint)


def _print_what_is_known(checkpoint: Path) -> None:
    if note := what_it_knows(checkpoint):
        print(f"note: {note}")


def explanation() -> str:
    """Return what a user needs for a first try."""
    return f"""Generates audio for silent videos: each gets a wav, a video with it, and a figure.

Try the example video, which is drawn, with a model of drawn videos:

  v2s sample --checkpoint aligned --video {shlex.quote(str(EXAMPLE_VIDEO))} --out out/demo

Your own videos, or folders of videos:

  v2s sample --video VIDEO --out FOLDER

A sound without a video:

  v2s sample --category rain --seconds 10 --out FOLDER

A web page on this machine:

  v2s demo

v2s sample --help lists all options."""


def _stream(videos: Sequence[Path], out: Path, options: SampleOptions) -> None:
    if len(videos) != 1:
        raise InputError(f"--stream with {len(videos)} videos: give one")
    # Standard output may carry the audio, so messages go to stderr.
    report = stream_video(videos[0], out, options)
    for warning in report.warnings:
        print(f"warning: {printable(warning)}", file=sys.stderr)
    if report.seen is not None:
        print(f"seen: {report.seen}", file=sys.stderr)
    print(f"{report.samples} samples streamed", file=sys.stderr)
    print(what_ran(report.settings, report.note), file=sys.stderr)


def what_ran(settings: GenerationSettings, note: str | None) -> str:
    """Return a line that says how to generate the same again."""
    again = f"the same again: {settings.flags()}"
    return again if note is None else f"note: {note}; {again}"


def _print_report(report: Report) -> None:
    """Print the files written; raise InputError if a video failed."""
    for files in report.generated:
        for warning in files.warnings:
            print(f"warning: {printable(warning)}")
        print(f"{printable(files.source)}:")
        if files.seen is not None:
            print(f"  seen: {files.seen}")
        for path in filter(None, (files.wav, files.video, files.figure)):
            print(f"  {printable(path)}")
        if files.bits_per_sample is not None:
            print(f"  seed {files.settings.seed}: {files.bits_per_sample:.4f} bits per sample")
    if report.generated and report.settings is not None:
        settings = report.settings
        print(
            f"{len(report.generated)} generated at {report.x_real_time:.1f} x real time with the "
            f"{settings.engine} engine, {settings.weights} weights"
        )
        print(what_ran(settings, report.note))
    if report.removed:
        paths = ", ".join(map(printable, report.removed))
        print(f"removed takes of an earlier run: {paths}")
    failures = list(report.failed.values())
    if len(failures) == 1:
        raise InputError(failures[0])
    for failure in failures:
        print(f"failed: {printable(failure)}", file=sys.stderr)
    if failures:
        raise InputError(f"{len(failures)} videos failed: see the lines above")
