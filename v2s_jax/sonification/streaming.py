"""`stream`: audio for video frames as they come, and `v2s sample --stream`.

frames -> features -> blocks of one video frame's samples -> raw PCM, or a growing wav
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8, UInt32

from v2s_jax.checkpoints import load_params
from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.features.adjustment import MS_PER_SEC
from v2s_jax.features.extractor import Extractor, extractor_for_config, iter_model_features
from v2s_jax.features.imagenet.seen import SeenInVideo
from v2s_jax.io import file_hash, wrap_read_errors
from v2s_jax.media import NO_TAGS, PipeReader, StreamingWav, Tags, probe, read_video_frames
from v2s_jax.quantize import dequantize, waveform_to_int16
from v2s_jax.sampling import Degeneracy, Sampler, clip_key, content_hash, streaming
from v2s_jax.sampling.progress import progress_bar
from v2s_jax.sampling.streaming import StreamCarry
from v2s_jax.sonification.by_hand import adjust, check_by_hand
from v2s_jax.sonification.options import DEFAULT_OPTIONS, SampleOptions, choose, make_sampler
from v2s_jax.sonification.provenance import provenance_of, tags_of
from v2s_jax.sonification.settings import GenerationSettings, settings_of

PIPE = Path("-")
"""Standard input as a video, standard output as audio."""

UNKNOWN_CONTENT = content_hash(b"stream")
"""Replaces the hash of a file when the content is not known yet: a pipe, or frames in memory."""

Image = UInt8[np.ndarray, "height width 3"]
Waveform = Float32[np.ndarray, " _"]


class AudioBlock(NamedTuple):
    """The audio of one video frame."""

    waveform: Float32[np.ndarray, " samples"]
    """In [-1, 1], at the checkpoint's sample rate."""
    carry: StreamCarry
    """Pass it to `stream` to continue after this block."""
    degeneracy: Degeneracy | None
    """Set if this block ends a second of degenerate audio."""
    settings: GenerationSettings | None = None
    """What runs, from `stream`."""


def stream(
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    options: SampleOptions = DEFAULT_OPTIONS,
    *,
    carry: StreamCarry | None = None,
    content: bytes = UNKNOWN_CONTENT,
) -> Iterator[AudioBlock]:
    """Yield the audio of each video frame as it comes; memory does not grow.

    Seq and Flow need the future of the video, so they generate a window of 10 s at a time. Aligned
    is `lookahead` video frames late, and controls that come earlier make it as much later.

    Args:
        frames: RGB images, one per video frame (15.625 per second by default), in the size that
            the checkpoint's extractor reads: 224 x 224 px for `vgg19` and for models of controls,
            such as the default one, 128 x 128 px for `pixels`.
        options: As for `sonify`, but without takes, prefix and original.
        carry: From an earlier block, to continue the same audio; `frames` then start with
            `carry.video_frame`. Give the engine, weights and batch size of that block's settings:
            `auto` may choose others where the cpu engine was built meanwhile. Flow and Aligned do
            not know the motion before the first frame: they continue exactly only if
            `carry.frames_ahead` is at least the number of frames that the extractor looks back: 1
            for `pixels`, 5 for `vgg19`, 2 for controls with a `category`, plus those by which
            controls come later. Without a `category` controls depend on all of the shot so far,
            whose average begins again: they do not continue exactly.
        content: Hash of the content, which selects the noise together with the seed.

    Yields:
        The audio of each frame, 1,024 samples by default.

    Raises:
        InputError: For bad options, checkpoints, and frames of another size.
    """
    _check_streamable(options)
    config, params = load_params(Path(options.checkpoint))
    check_by_hand(config, options, videos=1)
    _check_shift(config, options)
    sampler = make_sampler(config, params, choose(config, params, options, samples=None))
    sampler.limit_batch(1)
    settings = settings_of(sampler, params, options)
    sampler.compile()
    extractor = extractor_for_config(config, options.weight_files, options.category)
    key = clip_key(options.seed, content)
    for block in stream_audio(sampler, extractor, frames, key, options, carry):
        yield block._replace(settings=settings)


def _check_streamable(options: SampleOptions) -> None:
    options.check()
    whole = (options.prefix, options.controls, options.export_controls)
    if options.takes != 1 or options.original != "drop" or any(whole):
        raise InputError(
            "a stream has no --takes, --prefix, --controls, --export-controls, --original or "
            "--original-gain-db: leave these out"
        )


def _check_shift(config: Config, options: SampleOptions) -> None:
    """Raise InputError for controls that would have to come from too late a video frame."""
    lookahead, clock = config.model.context_future, config.clock
    if options.adjustment.video_frames_ahead(clock) > lookahead:
        most_ms = float(lookahead / clock.fps) * MS_PER_SEC
        raise InputError(
            f"--controls-shift-ms {options.controls_shift_ms:g}: in a stream controls can come at "
            f"most {most_ms:g} ms earlier, the model's lookahead: use {-most_ms:g} or more"
        )


def stream_audio(
    sampler: Sampler,
    extractor: Extractor,
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    key: UInt32[np.ndarray, "2"],
    options: SampleOptions,
    carry: StreamCarry | None = None,
    seen: SeenInVideo | None = None,
) -> Iterator[AudioBlock]:
    """Yield the audio of each frame, with a given sampler and extractor; see `stream`.

    What a semantic extractor sees is added to `seen`.
    """
    model = sampler.config.model
    vectors = iter_model_features(extractor, _check_frames(frames, extractor), sampler.config, seen)
    if sampler.config.extractor == "controls":
        vectors = adjust(vectors, sampler.config, options)
    for block in streaming.stream(
        sampler,
        vectors,
        streaming.first_carry(sampler, key) if carry is None else carry,
        temperature=options.chosen_temperature,
        max_retries=options.max_retries,
    ):
        waveform = dequantize(block.levels, model.q_levels, model.quantization)
        yield AudioBlock(waveform, block.carry, block.degeneracy)


def _check_frames(frames: Iterable[np.ndarray], extractor: Extractor) -> Iterator[np.ndarray]:
    shape = (extractor.frame_height_px, extractor.frame_width_px, 3)
    for frame in frames:
        if frame.shape != shape or frame.dtype != np.uint8:
            raise InputError(f"a frame of {frame.shape}, {frame.dtype}: give uint8 of {shape}")
        yield frame


class StreamReport(NamedTuple):
    """What `stream_video` has written."""

    samples: int
    """As many as the video lasts, or its reader took."""
    warnings: tuple[str, ...]
    """About the video and degenerate audio: one line each."""
    seen: str | None
    """What a model of sounds sees in the video; None for other models."""
    settings: GenerationSettings
    note: str | None
    """Why a faster engine did not run, and how to get it."""


def stream_video(video: Path, out: Path, options: SampleOptions = DEFAULT_OPTIONS) -> StreamReport:
    """Generate audio for one video while it is read.

    Args:
        video: A file, whose audio is that of `sonify`, or `-` for standard input.
        out: A wav file, or `-` for raw PCM on standard output: mono, 16 bits, little-endian. The
            wav appears with the first block, is valid after every block, and replaces an older
            file only then.
        options: As for `sonify`, but without takes, prefix and original.

    Returns:
        The number of samples, and warnings.

    Raises:
        InputError: For bad options or input.
    """
    _check_streamable(options)
    config, params = load_params(Path(options.checkpoint))
    if out != PIPE and out.suffix.lower() != ".wav":
        raise InputError(f"--out {out}: with --stream name a file that ends in .wav, or - for PCM")
    check_by_hand(config, options, videos=1)
    _check_shift(config, options)
    extractor = extractor_for_config(config, options.weight_files, options.category)
    frames, content, samples, warnings = _open(video, config, extractor)
    degeneracies: list[Degeneracy] = []
    seen = extractor.open_summary()
    total = samples if isinstance(samples, int) else None
    choice = choose(config, params, options, total)
    sampler = make_sampler(config, params, choice)
    sampler.limit_batch(1)
    settings = settings_of(sampler, params, options)
    provenance = provenance_of(config, options, settings) if options.metadata else None
    digest = None if video == PIPE else content.hex()
    tags = tags_of(provenance, video=video.name, video_sha256=digest, stream=True)
    with (
        _open_sink(out, config.clock.sample_rate_hz, options.overwrite, tags) as write,
        progress_bar(sampler, total, _describe_delay(config, options)) as on_samples,
        suppress(BrokenPipeError),  # whoever reads standard output has enough
    ):
        key = clip_key(options.seed, content)
        blocks = stream_audio(sampler, extractor, frames, key, options, seen=seen)
        done = 0
        for waveform in _trim_to_duration(blocks, samples, degeneracies):
            write(waveform)
            done += len(waveform)
            on_samples(len(waveform))
    if seen is not None and (warning := seen.warning()):
        warnings = (*warnings, f"{video}: {warning}")
    seen_text = None if seen is None else str(seen)
    warnings = (*warnings, *map(str, degeneracies))
    return StreamReport(done, warnings, seen_text, settings, choice.note)


def _describe_delay(config: Config, options: SampleOptions) -> str:
    """Say by how much the audio is later than its video frames arrive."""
    late_frames = config.model.context_future + options.adjustment.video_frames_ahead(config.clock)
    late_sec = late_frames / config.clock.fps
    return f"streaming, {float(late_sec):.2f} s late" if late_sec else "streaming"


def _open(
    video: Path, config: Config, extractor: Extractor
) -> tuple[Iterator[Image], bytes, Callable[[], int] | int, tuple[str, ...]]:
    """Return a video's frames, content hash, number of samples (of a pipe known at its end), and
    warnings.
    """
    clock, size = config.clock, (extractor.frame_height_px, extractor.frame_width_px)
    if video == PIPE:
        pipe = PipeReader(0, clock)

        def samples() -> int:
            return clock.samples(pipe.duration_sec)

        return pipe.read_video_frames(*size), UNKNOWN_CONTENT, samples, ()
    probed = probe(video)
    with wrap_read_errors(video):
        content = file_hash(video)
    frames = read_video_frames(probed, clock, *size)
    return frames, content, clock.samples(probed.duration_sec), probed.warnings


def _trim_to_duration(
    blocks: Iterable[AudioBlock],
    samples: Callable[[], int] | int,
    degeneracies: list[Degeneracy],
) -> Iterator[Waveform]:
    """Cut what is beyond the video's end; that of a pipe is known one block later."""
    done, held = 0, None
    for block in blocks:
        if block.degeneracy is not None:
            degeneracies.append(block.degeneracy)
        if isinstance(samples, int):
            yield block.waveform[: samples - done]
            done += len(block.waveform)
            continue
        if held is not None:
            done += len(held)
            yield held
        held = block.waveform
    if held is not None and not isinstance(samples, int):
        yield held[: max(0, samples() - done)]


@contextmanager
def _open_sink(
    out: Path, rate_hz: int, overwrite: bool, tags: Tags = NO_TAGS
) -> Iterator[Callable[[Waveform], None]]:
    """Yield a function that writes a waveform; BrokenPipeError says that the reader is gone."""
    if out != PIPE:
        with StreamingWav(out, rate_hz, overwrite=overwrite, tags=tags) as wav:
            yield wav.write
        return
    if sys.__stdout__ is None:
        raise InputError("standard output: is closed: open it, or name a wav file with --out")
    stdout = sys.stdout.fileno()

    def write_pcm(waveform: Waveform) -> None:
        rest = memoryview(waveform_to_int16(waveform).tobytes())
        try:
            while rest:
                rest = rest[os.write(stdout, rest) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise InputError(
                f"standard output: cannot be written ({error.strerror}): free space or write "
                "elsewhere"
            ) from error

    yield write_pcm
