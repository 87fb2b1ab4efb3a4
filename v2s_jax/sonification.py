"""The story of sample.py, and the Python API: videos in, their sound out.

decode -> features -> generate -> wav, the video with its new sound, a picture of both
"""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float16, UInt8

from v2s_jax.config import Clock, Config
from v2s_jax.errors import InputError
from v2s_jax.features.pixels import PixelsExtractor
from v2s_jax.figures import key_frame_figure, key_frame_indices
from v2s_jax.files import check_writable, file_hash, reading
from v2s_jax.generate import (
    DEFAULT_TILE,
    Generator,
    Options,
    Request,
    check_seed,
    check_temperature,
    clip_key,
    find_faults,
    generate_each,
    on_each_device,
)
from v2s_jax.generate.progress import sounding_bar
from v2s_jax.live import SHIPPED_CHECKPOINT, picture_features
from v2s_jax.media import Video, mux, probe, read_video_frames, write_wav
from v2s_jax.quantize import dequantize
from v2s_jax.training.checkpoint import load_params

VIDEO_SUFFIXES = frozenset(
    {
        ".3gp",
        ".avi",
        ".flv",
        ".gif",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".ogv",
        ".ts",
        ".webm",
        ".wmv",
    }
)
"""What counts as a video in a folder; a file that is named is tried whatever its suffix."""

OUTPUT_SUFFIXES = (".wav", ".mp4", ".mkv", ".png")
"""What may be written for a video; one of mp4 and mkv."""

KEY_FRAMES = 10
"""Pictures above the waveform, as many as the paper's figure 4 has seconds."""
KEY_FRAME_HEIGHT_PX = 160
"""Height of those pictures; more than the page shows them at."""


@dataclass(frozen=True)
class Sounded:
    """The files made for one video."""

    source: Path
    wav: Path
    video: Path
    figure: Path
    warnings: tuple[str, ...]


@dataclass
class Report:
    """What became of each video."""

    sounded: list[Sounded] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)
    """One line for each video that could not be sounded."""
    sounded_sec: float = 0.0
    """Length of all sound made."""
    generation_sec: float = 0.0
    """Time that took, decoding included, compilation and writing not."""

    @property
    def x_real_time(self) -> float:
        """Seconds of sound made per second of generation."""
        return self.sounded_sec / self.generation_sec if self.generation_sec else 0.0


@dataclass
class _Clip:
    """A video on its way: what is known of it, and what went wrong while it was read."""

    video: Video
    stem: Path
    samples: int
    content_hash: bytes
    error: str | None = None


def sonify(
    videos: Path | str | Sequence[Path | str],
    out: Path | str,
    *,
    checkpoint: Path | str = SHIPPED_CHECKPOINT,
    seed: int = 0,
    temperature: float = 1.0,
    overwrite: bool = False,
    tile: int = DEFAULT_TILE,
    redraws: int = 0,
) -> Report:
    """Sound each video (or each one of a folder): a wav, the video with it, and a picture.

    For OUT/NAME_sound.* the name is the source's. A clip's sound depends on its file's bytes, the
    seed, the temperature, the checkpoint and the tile: not on the other clips. A video that fails
    is told in the report and the others go on.

    Raises InputError for what concerns them all: no such video, options, checkpoint, folder.
    """
    check_seed(seed)
    check_temperature(temperature)
    config, params = load_params(Path(checkpoint))
    sources = find_videos([videos] if isinstance(videos, Path | str) else videos, Path(out))
    report = Report()
    clips = _open_clips(sources, Path(out), config, overwrite, report)
    if not clips:
        return report
    check_writable(Path(out))
    wanted = min(len(jax.local_devices()), -(-len(clips) // tile))
    generators = on_each_device(
        lambda: Generator(config, params, tile=tile), jax.local_devices()[:wanted]
    )
    options = Options(temperature, redraws=redraws)
    with sounding_bar(generators[0], sum(clip.samples for clip in clips)) as on_samples:
        _sound(generators, clips, seed, options, on_samples, report)
    report.sounded.sort(key=lambda made: sources.index(made.source))
    return report


def find_videos(named: Sequence[Path | str], out: Path) -> list[Path]:
    """List the files named and the videos right inside the folders named, each once.

    Raises InputError for a path that is not there, a folder without a video, and a folder that is
    also the output's, whose results would be taken for videos the next time.
    """
    found: dict[Path, None] = {}
    for path in map(Path, named):
        with reading(path):
            found.update(dict.fromkeys(_videos_of(path, out)))
    return list(found)


def _videos_of(path: Path, out: Path) -> list[Path]:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder: check --video")
    if not path.is_dir():
        return [path]
    if path.resolve() == out.resolve():
        raise InputError(f"{path}: is also the output folder: choose another --out")
    inside = sorted(p for p in path.iterdir() if _is_video_name(p))
    if not inside:
        raise InputError(f"{path}: no video in this folder: name one that holds videos")
    return inside


def _is_video_name(path: Path) -> bool:
    # Hidden ones are leftovers of killed runs, or of other programs.
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def _open_clips(
    sources: Sequence[Path], out: Path, config: Config, overwrite: bool, report: Report
) -> list[_Clip]:
    """Probe each video and make sure that its outputs can be written."""
    twins = {stem for stem, count in Counter(s.stem for s in sources).items() if count > 1}
    named = {source.resolve() for source in sources}
    clips = []
    for source in sources:
        stem = out / f"{source.stem}_sound"
        try:
            if source.stem in twins:
                raise InputError(
                    f"{source}: another video is also named {source.stem}: sound them into "
                    "different folders"
                )
            _check_outputs(stem, overwrite, named)
            clips.append(_open_clip(source, stem, config))
        except InputError as error:
            report.failed[source] = str(error)
    return clips


def _open_clip(source: Path, stem: Path, config: Config) -> _Clip:
    video = probe(source)
    samples = config.clock.samples(video.duration_sec)
    if samples < 1:
        raise InputError(
            f"{source}: lasts {float(video.duration_sec):.6f} s, which is shorter than one sample "
            "of sound: give a longer video"
        )
    with reading(source):
        return _Clip(video, stem, samples, file_hash(source))


def _check_outputs(stem: Path, overwrite: bool, sources: set[Path]) -> None:
    """Raise InputError for outputs that are there already, or would replace a source."""
    outputs = [_output(stem, suffix) for suffix in OUTPUT_SUFFIXES]
    with reading(stem.parent):
        existing = [path for path in outputs if path.exists()]
        if existing and not overwrite:
            raise InputError(f"{existing[0]}: there already: use --overwrite or another --out")
        for path in existing:
            if path.resolve() in sources:
                raise InputError(f"{path}: is one of the videos to be sounded: use another --out")


def _output(stem: Path, suffix: str) -> Path:
    """Append to the name; `with_suffix` would cut one that has dots in it."""
    return stem.with_name(stem.name + suffix)


def _sound(
    generators: Sequence[Generator],
    clips: Sequence[_Clip],
    seed: int,
    options: Options,
    on_samples: Callable[[int], None],
    report: Report,
) -> None:
    """Generate the clips, and write the files of each as it ends."""
    config = generators[0].config
    requests = [
        Request(clip_key(seed, clip.content_hash), clip.samples, _features(clip, config))
        for clip in clips
    ]
    made = generate_each(generators, requests, options, on_samples)
    while True:
        began = time.perf_counter()
        number, sound = next(made, (None, None))
        report.generation_sec += time.perf_counter() - began
        if number is None or sound is None:
            return
        clip = clips[number]
        report.sounded_sec += clip.samples / config.clock.sample_rate_hz
        try:
            if clip.error is not None:
                raise InputError(clip.error)
            faults = sound.faults if options.redraws else find_faults(sound.levels, config)
            written = _write(clip, sound.levels, config)
            told = tuple(f"{clip.video.path}: {fault}" for fault in faults)
            report.sounded.append(replace(written, warnings=written.warnings + told))
        except InputError as error:
            report.failed[clip.video.path] = str(error)


def _features(clip: _Clip, config: Config) -> Iterator[Float16[np.ndarray, "feature_dim"]]:
    """Decode a video as generation asks for it.

    A failure is kept, and zeros follow: the other clips of the tile go on.
    """
    extractor = PixelsExtractor()
    frames = read_video_frames(
        clip.video, config.clock, extractor.picture_height_px, extractor.picture_width_px
    )
    try:
        yield from picture_features(frames, config)
    except InputError as error:
        clip.error = str(error)
        yield from itertools.repeat(np.zeros(config.model.feature_dim, np.float16))


def _write(clip: _Clip, levels: UInt8[np.ndarray, "samples"], config: Config) -> Sounded:
    model, clock = config.model, config.clock
    waveform = dequantize(levels, model.q_levels, model.quantization)
    wav, figure = _output(clip.stem, ".wav"), _output(clip.stem, ".png")
    write_wav(wav, waveform, clock.sample_rate_hz)
    muxed = mux(clip.video, wav, clip.stem)
    warnings = clip.video.warnings
    if muxed.suffix == ".mkv":
        warnings += (f"{muxed}: Matroska, since mp4 does not hold {clip.video.codec} pictures",)
    indices = key_frame_indices(clock.video_frames(clip.samples), KEY_FRAMES)
    key_frame_figure(
        figure,
        _key_frames(clip.video, clock, indices),
        [float(clock.picture_time_sec(i)) for i in indices],
        waveform,
        clock.sample_rate_hz,
        clip.video.path.name,
    )
    return Sounded(clip.video.path, wav, muxed, figure, warnings)


def _key_frames(
    video: Video, clock: Clock, indices: Iterable[int]
) -> list[UInt8[np.ndarray, "height width 3"]]:
    """Decode once more, at the picture's own shape, and keep a few video frames."""
    width = max(1, round(video.width * KEY_FRAME_HEIGHT_PX / video.height))
    wanted = set(indices)
    frames = read_video_frames(video, clock, KEY_FRAME_HEIGHT_PX, width)
    return [frame for i, frame in enumerate(frames) if i in wanted]
