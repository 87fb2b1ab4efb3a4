"""Output files of a video: their names, whether they may be written, and writing them."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from v2s_jax.config import Clock, Config
from v2s_jax.errors import InputError
from v2s_jax.figures import key_frame_figure, key_frame_indices
from v2s_jax.io import wrap_read_errors
from v2s_jax.kernels.interface import EngineName
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.media import Video, mux, read_video_frames, write_wav
from v2s_jax.quantize import dequantize
from v2s_jax.sonification.options import SampleOptions

AUDIO_SUFFIX = ".wav"
FIGURE_SUFFIX = ".png"
OUTPUT_SUFFIXES = (AUDIO_SUFFIX, ".mp4", ".mkv", FIGURE_SUFFIX)
"""One of .mp4 and .mkv is written."""

KEY_FRAMES = 10
"""Key frames above the waveform, as many as the paper's figure 4 has seconds."""
KEY_FRAME_HEIGHT_PX = 160
"""Height of the key frames; more than the page shows them at."""

KeyFrames = list[UInt8[np.ndarray, "height width 3"]]


@dataclass(frozen=True)
class GeneratedFiles:
    """The files written for one take of a video."""

    source: Path
    wav: Path
    video: Path
    figure: Path
    warnings: tuple[str, ...]
    seed: int = 0
    """The seed that reproduces this take, with the same engine and format of weights."""
    bits_per_sample: float | None = None
    """-log2 p of the generated samples, by which takes are ranked; None for a single take."""


@dataclass
class Report:
    """The result for each video."""

    engine: EngineName
    weights: WeightFormat
    generated: list[GeneratedFiles] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)
    """Files of an earlier run with more takes."""
    failed: dict[Path, str] = field(default_factory=dict)
    """One line for each video that failed."""
    audio_sec: float = 0.0
    """Length of all generated audio."""
    generation_sec: float = 0.0
    """Time for decoding and generation, without compiling and writing."""

    @property
    def x_real_time(self) -> float:
        """Seconds of audio per second of generation."""
        return self.audio_sec / self.generation_sec if self.generation_sec else 0.0


def take_stem(stem: Path, rank: int, takes: int) -> Path:
    """Return the path of a take's files without their suffixes."""
    return stem if takes == 1 else stem.with_name(f"{stem.name}_{rank}")


def check_outputs(stem: Path, overwrite: bool, sources: set[Path]) -> None:
    """Raise InputError if outputs already exist, or would replace a source."""
    with wrap_read_errors(stem.parent):
        existing = _existing_outputs(stem)
        if existing and not overwrite:
            raise InputError(f"{existing[0]}: already exists: use --overwrite or another --out")
        for path in existing:
            if path.resolve() in sources:
                raise InputError(f"{path}: is one of the input videos: use another --out")


def _existing_outputs(stem: Path) -> list[Path]:
    return [path for suffix in OUTPUT_SUFFIXES if (path := _output(stem, suffix)).exists()]


def _output(stem: Path, suffix: str) -> Path:
    # `with_suffix` would cut a name with dots.
    return stem.with_name(stem.name + suffix)


def remove_stale_takes(stem: Path, takes: int, sources: set[Path]) -> list[Path]:
    """Remove the takes of an earlier run with more of them; return the removed files.

    Otherwise their ranks would look like this run's. Only complete sets of audio, video and figure
    with the ranks right after the last one are removed, and never an input video. A run with one
    take has no ranks and removes nothing.
    """
    removed: list[Path] = []
    rank = takes + 1
    while takes > 1:
        files = _existing_outputs(take_stem(stem, rank, rank))
        is_complete = {AUDIO_SUFFIX, FIGURE_SUFFIX} < {path.suffix for path in files}
        if not is_complete or sources & {path.resolve() for path in files}:
            break
        for path in files:
            path.unlink()
        removed += files
        rank += 1
    return removed


def write_outputs(
    video: Video,
    stem: Path,
    levels: UInt8[np.ndarray, " samples"],
    config: Config,
    key_frames: KeyFrames,
    options: SampleOptions,
) -> GeneratedFiles:
    """Write a wav, the video with this audio, and a figure of the key frames and the audio."""
    model, clock = config.model, config.clock
    waveform = dequantize(levels, model.q_levels, model.quantization)
    wav, figure = _output(stem, AUDIO_SUFFIX), _output(stem, FIGURE_SUFFIX)
    write_wav(wav, waveform, clock.sample_rate_hz)
    muxed = mux(video, wav, stem, options.original, options.original_gain_db)
    warnings = [*video.warnings, *muxed.warnings]
    if options.original != "drop" and not video.has_audio:
        warnings.append(f"{video.path}: has no audio to {options.original}")
    if muxed.path.suffix == ".mkv":
        warnings.append(
            f"{muxed.path}: written as Matroska, since MP4 does not support {video.codec} video"
        )
    indices = key_frame_indices(clock.video_frames(len(levels)), KEY_FRAMES)
    key_frame_figure(
        figure,
        key_frames,
        [float(clock.video_frame_time_sec(index)) for index in indices],
        waveform,
        clock.sample_rate_hz,
        video.path.name,
    )
    return GeneratedFiles(video.path, wav, muxed.path, figure, tuple(warnings))


def read_key_frames(video: Video, clock: Clock, samples: int) -> KeyFrames:
    """Decode the video again, in its own aspect ratio, and return a few frames."""
    selected = set(key_frame_indices(clock.video_frames(samples), KEY_FRAMES))
    width = video.width_at(KEY_FRAME_HEIGHT_PX)
    frames = read_video_frames(video, clock, KEY_FRAME_HEIGHT_PX, width)
    return [frame for i, frame in enumerate(frames) if i in selected]
