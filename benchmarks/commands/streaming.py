"""`benchmark.py streaming`: latency of a stream, and clips of many lengths in refilled rows."""

import argparse
from pathlib import Path

from benchmarks.commands.report import preset_named
from benchmarks.streaming import StreamingCase, measure_ragged, measure_streaming
from v2s_jax.cli.compilation_cache import enable_compilation_cache
from v2s_jax.cli.device import PLATFORMS, use_device
from v2s_jax.cli.engine_options import add_engine_options
from v2s_jax.errors import InputError
from v2s_jax.sampling import DEFAULT_BATCH_SIZE


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the words of this benchmark."""
    parser.description = "Time the blocks of a stream, and clips of 2 to 10 s in refilled rows."
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--preset", default="demo", help="config with random weights")
    model.add_argument(
        "--checkpoint",
        type=Path,
        help="a .safetensors file, a --workdir, or frame, seq or flow: one that ships",
    )
    parser.add_argument(
        "--batch-size", type=int, default=DEFAULT_BATCH_SIZE, help="rows computed at once"
    )
    parser.add_argument("--video-frames", type=int, default=156, help="length of the stream")
    parser.add_argument("--clips", type=int, default=16, help="clips of many lengths")
    add_engine_options(parser, several=False)
    parser.add_argument(
        "--no-compilation-cache",
        action="store_true",
        help="compile anew what an earlier run has compiled, as the time to the first block shows",
    )
    parser.add_argument("--device", help=f"{', '.join(PLATFORMS)}")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    for option, value in (("--video-frames", args.video_frames), ("--clips", args.clips)):
        if value < 1:
            raise InputError(f"{option} {value}: must be at least 1")
    use_device(args.device)
    if not args.no_compilation_cache:
        enable_compilation_cache()
    model = args.checkpoint or preset_named(args.preset)
    case = StreamingCase(model, args.batch_size, args.engine, args.weights)
    streamed = measure_streaming(case, args.video_frames)
    print(
        f"stream, {streamed.preset}, {streamed.engine} engine, {streamed.weight_format}, tile "
        f"{streamed.batch_size}: {streamed.start_sec:.1f} s to the first block from parameters on; then "
        f"{streamed.first_block_ms:.0f} ms"
    )
    print(
        f"blocks: {streamed.block_ms_median:.1f} ms (median), {streamed.block_ms_p99:.1f} ms (99 "
        f"of 100), {streamed.block_ms_max:.1f} ms (longest); {streamed.x_real_time:.1f} x real "
        f"time, in one piece {streamed.x_real_time_whole:.1f} x"
    )
    ragged = measure_ragged(case, args.clips)
    rates = (ragged.samples / ragged.refilled_sec, ragged.samples / ragged.tiles_sec)
    print(
        f"{ragged.clips} clips of 2 to 10 s: {rates[0]:,.0f} samples/s with refilled rows, "
        f"{rates[1]:,.0f} a tile of similar lengths at a time"
    )
