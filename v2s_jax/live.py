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

from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.features.extractor import (
    NO_FILES,
    Extractor,
    WeightFiles,
    extractor_for,
    model_features,
)
from v2s_jax.files import file_hash, reading
from v2s_jax.generate import DEFAULT_TILE, Fault, Generator, clip_key, content_hash
from v2s_jax.generate import streaming as blocks
from v2s_jax.kernels.interface import EngineName
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.media import GrowingWav, PipedVideo, pcm16, probe, read_video_frames
from v2s_jax.quantize import dequantize
from v2s_jax.shipped import SHIPPED_CHECKPOINT
from v2s_jax.training.checkpoint import load_params

PIPE = Path("-")
"""Standard input as a video, standard output as a sound."""

UNKNOWN_CONTENT = content_hash(b"stream")
"""Stands for the content of what has not been read yet: a pipe, or pictures from a program."""

Picture = UInt8[np.ndarray, "height width 3"]


class SoundBlock(NamedTuple):
    """The sound of one video frame."""

    waveform: Float32[np.ndarray, " samples"]
    """In [-1, 1], at the checkpoint's sample rate."""
    carry: blocks.StreamCarry
    """Give it to `stream` to go on after this block."""
    fault: Fault | None
    """What the guard saw in the second of sound that this block ends."""


def stream(
    pictures: Iterable[UInt8[np.ndarray, "height width 3"]],
    *,
    checkpoint: Path | str = SHIPPED_CHECKPOINT,
    seed: int = 0,
    temperature: float = 1.0,
    tile: int = DEFAULT_TILE,
    engine: EngineName = "scan",
    weight_format: WeightFormat = "float32",
    redraws: int = 0,
    carry: blocks.StreamCarry | None = None,
    content: bytes = UNKNOWN_CONTENT,
    weights: WeightFiles = NO_FILES,
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
    generator = _generator(config, params, tile, engine, weight_format)
    extractor = extractor_for(config, weights)
    yield from sound_pictures(
        generator, extractor, pictures, clip_key(seed, content), temperature, redraws, carry
    )


def _generator(
    config: Config,
    params: dict[str, Any],
    tile: int,
    engine: EngineName,
    weight_format: WeightFormat,
) -> Generator:
    """Return a compiled generator; of one row, where that sounds as a tile does."""
    generator = Generator(config, params, tile=tile, engine=engine, weights=weight_format)
    generator.narrow(1)
    generator.compile()
    return generator


def sound_pictures(
    generator: Generator,
    extractor: Extractor,
    pictures: Iterable[UInt8[np.ndarray, "height width 3"]],
    key: np.ndarray,
    temperature: float,
    redraws: int,
    carry: blocks.StreamCarry | None = None,
) -> Iterator[SoundBlock]:
    """Yield the sound of each picture, from a generator that is there."""
    model = generator.config.model
    vectors = model_features(extractor, _checked(pictures, extractor), generator.config)
    first = blocks.first_carry(generator, key) if carry is None else carry
    for block in blocks.stream(generator, vectors, first, temperature=temperature, redraws=redraws):
        waveform = dequantize(block.levels, model.q_levels, model.quantization)
        yield SoundBlock(waveform, block.carry, block.fault)


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
    checkpoint: Path | str = SHIPPED_CHECKPOINT,
    seed: int = 0,
    temperature: float = 1.0,
    overwrite: bool = False,
    tile: int = DEFAULT_TILE,
    engine: EngineName = "scan",
    weight_format: WeightFormat = "float32",
    redraws: int = 0,
    weights: WeightFiles = NO_FILES,
) -> tuple[int, list[Fault]]:
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
    extractor = extractor_for(config, weights)
    pictures, content, samples = _open(video, config, extractor)
    key = clip_key(seed, content)
    faults: list[Fault] = []
    generator = _generator(config, params, tile, engine, weight_format)
    rate_hz = config.clock.sample_rate_hz
    with (
        _sink(out, rate_hz, overwrite) as write,
        tqdm(
            desc="streaming",
            total=samples if isinstance(samples, int) else None,
            unit=" samples",
            unit_scale=True,
            dynamic_ncols=True,
        ) as bar,
    ):
        sounded = sound_pictures(generator, extractor, pictures, key, temperature, redraws)
        done = 0
        for waveform in _to_length(sounded, samples, faults):
            if not write(waveform):
                break
            done += len(waveform)
            bar.update(len(waveform))
            rate = done / max(bar.format_dict["elapsed"], 1e-9)
            bar.set_postfix_str(f"{rate / rate_hz:.1f} x real time", refresh=False)
    return done, faults


def _open(
    video: Path, config: Config, extractor: Extractor
) -> tuple[Iterator[Picture], bytes, Callable[[], int] | int]:
    """Return a video's pictures, its content's hash, and its length: known at the end of a pipe."""
    size = (extractor.picture_height_px, extractor.picture_width_px)
    if video == PIPE:
        piped = PipedVideo(0, config.clock)
        pictures = piped.read_video_frames(*size)
        return (
            _reaching(pictures, lambda: config.clock.samples(piped.duration_sec), config),
            UNKNOWN_CONTENT,
            lambda: config.clock.samples(piped.duration_sec),
        )
    found = probe(video)
    with reading(video):
        content = file_hash(video)
    return (
        read_video_frames(found, config.clock, *size),
        content,
        config.clock.samples(found.duration_sec),
    )


def _reaching(
    pictures: Iterator[Picture], samples: Callable[[], int], config: Config
) -> Iterator[Picture]:
    """Show a pipe's last picture until its end, where no later one tells how long it stays."""
    count = 0
    for picture in pictures:
        count += 1
        yield picture
    while count < config.clock.video_frames(samples()):
        count += 1
        yield picture


def _to_length(
    sounded: Iterable[SoundBlock], samples: Callable[[], int] | int, faults: list[Fault]
) -> Iterator[Float32[np.ndarray, " _"]]:
    """Cut what is behind the video's end; the end of a pipe is known one block later."""
    done, held = 0, None
    for block in sounded:
        if block.fault is not None:
            faults.append(block.fault)
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
def _sink(
    out: Path, rate_hz: int, overwrite: bool
) -> Iterator[Callable[[Float32[np.ndarray, " _"]], bool]]:
    """Give what writes a waveform; it returns False when nobody reads any more."""
    if out != PIPE:
        with GrowingWav(out, rate_hz, overwrite=overwrite) as wav:

            def grow(waveform: Float32[np.ndarray, " _"]) -> bool:
                wav.write(waveform)
                return True

            yield grow
        return

    def pour(waveform: Float32[np.ndarray, " _"]) -> bool:
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
    yield pour
