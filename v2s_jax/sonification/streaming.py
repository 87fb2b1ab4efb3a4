"""Endless sound: the Python API `stream`, and the story of `sample.py --stream`.

pictures -> features -> blocks of one video frame's samples -> raw PCM, or a wav that grows
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from tqdm import tqdm

from v2s_jax.checkpoints import load_params
from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.features.extractor import (
    DEFAULT_WEIGHT_FILES,
    Extractor,
    WeightFiles,
    extractor_for_config,
    iter_model_features,
)
from v2s_jax.io import file_hash, wrap_read_errors
from v2s_jax.kernels.interface import EngineName
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.media import PipeReader, StreamingWav, pcm16, probe, read_video_frames
from v2s_jax.pretrained import DEFAULT_CHECKPOINT
from v2s_jax.quantize import dequantize
from v2s_jax.sampling import DEFAULT_BATCH_SIZE, Degeneracy, Sampler, clip_key, content_hash
from v2s_jax.sampling import streaming as blocks

PIPE = Path("-")
"""Standard input as a video, standard output as a sound."""

UNKNOWN_CONTENT = content_hash(b"stream")
"""Stands for the content of what has not been read yet: a pipe, or pictures from a program."""

Image = UInt8[np.ndarray, "height width 3"]


class SoundBlock(NamedTuple):
    """The sound of one video frame."""

    waveform: Float32[np.ndarray, " samples"]
    """In [-1, 1], at the checkpoint's sample rate."""
    carry: blocks.StreamCarry
    """Give it to `stream` to go on after this block."""
    degeneracy: Degeneracy | None
    """What the guard saw in the second of sound that this block ends."""


def stream(
    pictures: Iterable[UInt8[np.ndarray, "height width 3"]],
    *,
    checkpoint: Path | str = DEFAULT_CHECKPOINT,
    seed: int = 0,
    temperature: float = 1.0,
    batch_size: int = DEFAULT_BATCH_SIZE,
    engine: EngineName = "scan",
    weight_format: WeightFormat = "float32",
    max_retries: int = 0,
    carry: blocks.StreamCarry | None = None,
    content: bytes = UNKNOWN_CONTENT,
    weights: WeightFiles = DEFAULT_WEIGHT_FILES,
) -> Iterator[SoundBlock]:
    """Yield the sound of each picture as it comes; memory does not grow.

    `pictures` are RGB, one for each video frame (15.625 a second by default), of the size that the
    checkpoint's extractor reads (128 x 128 px for `pixels`, 224 x 224 for `vgg19`). Seq and Flow
    sound a window at a time.

    `carry`, from an earlier block, goes on with the same sound: `pictures` begin with that of
    `carry.video_frame`, though Seq and Flow have read to their window's end by then. What Flow
    reads of the first pictures is their motion without those before; that is heard only where the
    next window holds them: `pixels` reads one before, `vgg19` five, and `carry.ahead` says how
    many pictures come before the next window. The guard counts its windows from there.

    `content` is the hash that noise depends on beside the seed. Raises InputError for options, the
    checkpoint, and pictures of another size.
    """
    config, params = load_params(Path(checkpoint))
    sampler = _generator(config, params, batch_size, engine, weight_format)
    extractor = extractor_for_config(config, weights)
    yield from stream_audio(
        sampler, extractor, pictures, clip_key(seed, content), temperature, max_retries, carry
    )


def _generator(
    config: Config,
    params: dict[str, Any],
    batch_size: int,
    engine: EngineName,
    weight_format: WeightFormat,
) -> Sampler:
    """Return a compiled generator; of one row, where that sounds as a tile does."""
    sampler = Sampler(config, params, batch_size=batch_size, engine=engine, weights=weight_format)
    sampler.limit_batch(1)
    sampler.compile()
    return sampler


def stream_audio(
    sampler: Sampler,
    extractor: Extractor,
    pictures: Iterable[UInt8[np.ndarray, "height width 3"]],
    key: np.ndarray,
    temperature: float,
    max_retries: int,
    carry: blocks.StreamCarry | None = None,
) -> Iterator[SoundBlock]:
    """Yield the sound of each picture, from a generator that is there."""
    model = sampler.config.model
    vectors = iter_model_features(extractor, _checked(pictures, extractor), sampler.config)
    first = blocks.first_carry(sampler, key) if carry is None else carry
    for block in blocks.stream(
        sampler, vectors, first, temperature=temperature, max_retries=max_retries
    ):
        waveform = dequantize(block.levels, model.q_levels, model.quantization)
        yield SoundBlock(waveform, block.carry, block.degeneracy)


def _checked(pictures: Iterable[np.ndarray], extractor: Extractor) -> Iterator[np.ndarray]:
    wanted = (extractor.picture_height_px, extractor.picture_width_px, 3)
    for picture in pictures:
        if picture.shape != wanted or picture.dtype != np.uint8:
            raise InputError(
                f"a picture of {picture.shape}, {picture.dtype}: give uint8 of {wanted}"
            )
        yield picture


def stream_video(
    video: Path,
    out: Path,
    *,
    checkpoint: Path | str = DEFAULT_CHECKPOINT,
    seed: int = 0,
    temperature: float = 1.0,
    overwrite: bool = False,
    batch_size: int = DEFAULT_BATCH_SIZE,
    engine: EngineName = "scan",
    weight_format: WeightFormat = "float32",
    max_retries: int = 0,
    weights: WeightFiles = DEFAULT_WEIGHT_FILES,
) -> tuple[int, list[Degeneracy]]:
    """Sound one video as it is read; return the number of samples and what the guard saw.

    `video` is a file, whose sound is that of `sonify`, or `-`, standard input. `out` is a wav that
    appears with the first block, in the place of an older one, and is whole at every instant from
    then on, or `-`: raw mono PCM on standard output, 16 bits, little-endian.
    As many samples as the video lasts, to the sample. A reader of standard output that goes away
    ends the stream. Raises InputError for bad input.
    """
    config, params = load_params(Path(checkpoint))
    if out != PIPE and out.suffix.lower() != ".wav":
        raise InputError(f"--out {out}: with --stream name a file that ends in .wav, or - for PCM")
    extractor = extractor_for_config(config, weights)
    pictures, content, samples = _open(video, config, extractor)
    key = clip_key(seed, content)
    degeneracies: list[Degeneracy] = []
    sampler = _generator(config, params, batch_size, engine, weight_format)
    rate_hz = config.clock.sample_rate_hz
    with (
        _open_sink(out, rate_hz, overwrite) as write,
        tqdm(
            desc="streaming",
            total=samples if isinstance(samples, int) else None,
            unit=" samples",
            unit_scale=True,
            dynamic_ncols=True,
        ) as bar,
    ):
        generated = stream_audio(sampler, extractor, pictures, key, temperature, max_retries)
        done = 0
        for waveform in _trim_to_duration(generated, samples, degeneracies):
            if not write(waveform):
                break
            done += len(waveform)
            bar.update(len(waveform))
            rate = done / max(bar.format_dict["elapsed"], 1e-9)
            bar.set_postfix_str(f"{rate / rate_hz:.1f} x real time", refresh=False)
    return done, degeneracies


def _open(
    video: Path, config: Config, extractor: Extractor
) -> tuple[Iterator[Image], bytes, Callable[[], int] | int]:
    """Return a video's pictures, its content's hash, and its length: known at the end of a pipe."""
    size = (extractor.picture_height_px, extractor.picture_width_px)
    if video == PIPE:
        piped = PipeReader(0, config.clock)
        pictures = piped.read_video_frames(*size)
        return (
            _hold_last_frame(pictures, lambda: config.clock.samples(piped.duration_sec), config),
            UNKNOWN_CONTENT,
            lambda: config.clock.samples(piped.duration_sec),
        )
    found = probe(video)
    with wrap_read_errors(video):
        content = file_hash(video)
    return (
        read_video_frames(found, config.clock, *size),
        content,
        config.clock.samples(found.duration_sec),
    )


def _hold_last_frame(
    pictures: Iterator[Image], samples: Callable[[], int], config: Config
) -> Iterator[Image]:
    """Show a pipe's last picture until its end, where no later one tells how long it stays."""
    count = 0
    for picture in pictures:
        count += 1
        yield picture
    while count < config.clock.video_frames(samples()):
        count += 1
        yield picture


def _trim_to_duration(
    generated: Iterable[SoundBlock],
    samples: Callable[[], int] | int,
    degeneracies: list[Degeneracy],
) -> Iterator[Float32[np.ndarray, " _"]]:
    """Cut what is behind the video's end; the end of a pipe is known one block later."""
    done, held = 0, None
    for block in generated:
        if block.degeneracy is not None:
            degeneracies.append(block.degeneracy)
        if isinstance(samples, int):
            yield block.waveform[: samples - done]
            done += len(block.waveform)
        else:
            if held is not None:
                done += len(held)
                yield held
            held = block.waveform
    if held is not None and not isinstance(samples, int):
        yield held[: max(0, samples() - done)]


@contextmanager
def _open_sink(
    out: Path, rate_hz: int, overwrite: bool
) -> Iterator[Callable[[Float32[np.ndarray, " _"]], bool]]:
    """Give what writes a waveform; it returns False when nobody reads any more."""
    if out != PIPE:
        with StreamingWav(out, rate_hz, overwrite=overwrite) as wav:

            def write_wav(waveform: Float32[np.ndarray, " _"]) -> bool:
                wav.write(waveform)
                return True

            yield write_wav
        return

    def write_pcm(waveform: Float32[np.ndarray, " _"]) -> bool:
        rest = memoryview(pcm16(waveform).tobytes())
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except BrokenPipeError:
            return False
        except OSError as error:
            raise InputError(
                f"standard output: cannot be written ({error.strerror}): free space or write "
                "elsewhere"
            ) from error
        return True

    descriptor = sys.stdout.fileno()
    yield write_pcm
