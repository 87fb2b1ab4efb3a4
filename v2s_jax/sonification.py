"""The story of sample.py, and the Python API: videos in, their sound out.

decode -> features -> generate -> wav, the video with its new sound, a picture of both
"""

import itertools
import math
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
from v2s_jax.features.extractor import (
    NO_FILES,
    Extractor,
    WeightFiles,
    extractor_for,
    model_features,
)
from v2s_jax.figures import key_frame_figure, key_frame_indices
from v2s_jax.files import check_writable, file_hash, reading
from v2s_jax.generate import (
    DEFAULT_TILE,
    Generator,
    Made,
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
from v2s_jax.live import SHIPPED_CHECKPOINT
from v2s_jax.media import (
    Original,
    Video,
    mux,
    probe,
    read_sound_file,
    read_video_frames,
    write_wav,
)
from v2s_jax.quantize import dequantize, quantize
from v2s_jax.training.checkpoint import load_params
from v2s_jax.training.loss import BITS_PER_NAT

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
    seed: int
    """What it can be made with again, alone."""
    bits_per_sample: float | None = None
    """-log2 p of what was generated, at the temperature, by which several takes are ranked."""


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
    prefix_samples: int = 0
    takes: list[tuple[int, Made]] = field(default_factory=list)
    """Seed and sound of those that have ended."""


def sonify(
    videos: Path | str | Sequence[Path | str],
    out: Path | str,
    *,
    checkpoint: Path | str = SHIPPED_CHECKPOINT,
    seed: int = 0,
    temperature: float = 1.0,
    overwrite: bool = False,
    tile: int = DEFAULT_TILE,
    weights: WeightFiles = NO_FILES,
    redraws: int = 0,
    takes: int = 1,
    prefix: Path | str | None = None,
    original: Original = "drop",
    original_gain_db: float = 0.0,
) -> Report:
    """Sound each video (or each one of a folder): a wav, the video with it, and a picture.

    For OUT/NAME_sound.* the name is the source's. A clip's sound depends on its file's bytes, the
    seed, the temperature, the checkpoint and the tile: not on the other clips. A video that fails
    is told in the report and the others go on.

    With several `takes` each video gets OUT/NAME_sound_1.* and so on, the likeliest first; they
    are those of the next seeds. `prefix` is a sound file that each sound begins with, cut to whole
    big frames, and goes on from. `original` says what becomes of a video's own sound, `redraws`
    how often the guard may draw a stretch of a clip again. `weights` are those of the
    checkpoint's extractor, where it has any that are not found without.

    Raises InputError for what concerns them all: no such video, options, checkpoint, folder, and
    weights that are missing or are not those that the checkpoint was trained with.
    """
    check_seed(seed)
    if takes < 1:
        raise InputError(f"{takes} takes: make at least 1")
    check_seed(seed + takes - 1)
    if not math.isfinite(original_gain_db):
        raise InputError(f"a gain of {original_gain_db} dB: use a number, such as -6")
    check_temperature(temperature)
    config, params = load_params(Path(checkpoint))
    sources = find_videos([videos] if isinstance(videos, Path | str) else videos, Path(out))
    report = Report()
    clips = _open_clips(sources, Path(out), config, overwrite, takes, report)
    start = None if prefix is None else _read_prefix(Path(prefix), config)
    clips = [clip for clip in clips if _leaves_some(clip, start, report)]
    if not clips:
        return report
    check_writable(Path(out))
    extractor = extractor_for(config, weights)
    wanted = min(len(jax.local_devices()), -(-len(clips) * takes // max(tile, 1)))
    generators = on_each_device(
        lambda: Generator(config, params, tile=tile), jax.local_devices()[:wanted]
    )
    options = Options(temperature, with_nats=takes > 1, redraws=redraws)
    with sounding_bar(generators[0], _wanted(clips, takes)) as on_samples:
        for clip in _sound(
            generators, extractor, clips, (seed, takes), start, options, on_samples, report
        ):
            _write_takes(clip, config, options, original, original_gain_db, report)
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
    sources: Sequence[Path],
    out: Path,
    config: Config,
    overwrite: bool,
    takes: int,
    report: Report,
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
            for rank in range(1, takes + 1):
                _check_outputs(_take_stem(stem, rank, takes), overwrite, named)
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


def _read_prefix(path: Path, config: Config) -> UInt8[np.ndarray, "samples"]:
    waveform = read_sound_file(path, config.clock.sample_rate_hz)
    whole = len(waveform) // config.model.big_frame_size * config.model.big_frame_size
    return quantize(waveform[:whole], config.model.q_levels, config.model.quantization)


def _leaves_some(clip: _Clip, start: np.ndarray | None, report: Report) -> bool:
    """Say whether the prefix is shorter than the clip; report it otherwise."""
    clip.prefix_samples = 0 if start is None else len(start)
    if clip.prefix_samples < clip.samples:
        return True
    report.failed[clip.video.path] = (
        f"{clip.video.path}: its {clip.samples} samples of sound are no more than the prefix's "
        f"{clip.prefix_samples}: give a shorter --prefix"
    )
    return False


def _wanted(clips: Sequence[_Clip], takes: int) -> int:
    """Return how many samples are to be generated."""
    return takes * sum(clip.samples - clip.prefix_samples for clip in clips)


def _sound(
    generators: Sequence[Generator],
    extractor: Extractor,
    clips: Sequence[_Clip],
    seed_and_takes: tuple[int, int],
    prefix: UInt8[np.ndarray, "prefix_samples"] | None,
    options: Options,
    on_samples: Callable[[int], None],
    report: Report,
) -> Iterator[_Clip]:
    """Generate all takes of the clips as rows of one batch; yield each clip when it has its own."""
    config = generators[0].config
    first, takes = seed_and_takes
    of_requests = [(clip, first + take) for clip in clips for take in range(takes)]
    requests = [
        Request(
            clip_key(seed, clip.content_hash),
            clip.samples,
            _features(clip, config, extractor),
            prefix,
        )
        for clip, seed in of_requests
    ]
    made = generate_each(generators, requests, options, on_samples)
    while True:
        began = time.perf_counter()
        number, sound = next(made, (None, None))
        report.generation_sec += time.perf_counter() - began
        if number is None or sound is None:
            return
        clip, seed = of_requests[number]
        report.sounded_sec += clip.samples / config.clock.sample_rate_hz
        clip.takes.append((seed, sound))
        if len(clip.takes) == takes:
            yield clip
            clip.takes.clear()


def _write_takes(
    clip: _Clip,
    config: Config,
    options: Options,
    original: Original,
    gain_db: float,
    report: Report,
) -> None:
    """Write the files of all takes of a clip, the likeliest first."""
    ranked = sorted(clip.takes, key=lambda take: (take[1].nats or 0.0, take[0]))
    generated = clip.samples - clip.prefix_samples
    for rank, (seed, sound) in enumerate(ranked, 1):
        stem = _take_stem(clip.stem, rank, len(ranked))
        try:
            if clip.error is not None:
                raise InputError(clip.error)
            written = _write(clip, stem, sound.levels, config, original, gain_db)
        except InputError as error:
            report.failed[clip.video.path] = str(error)
            return
        faults = sound.faults if options.redraws else find_faults(sound.levels, config)
        told = tuple(f"{clip.video.path}: {fault}" for fault in faults)
        nats = sound.nats
        bits = None if nats is None else nats * BITS_PER_NAT / generated
        report.sounded.append(
            replace(written, warnings=written.warnings + told, seed=seed, bits_per_sample=bits)
        )


def _take_stem(stem: Path, rank: int, takes: int) -> Path:
    return stem if takes == 1 else stem.with_name(f"{stem.name}_{rank}")


def _features(
    clip: _Clip, config: Config, extractor: Extractor
) -> Iterator[Float16[np.ndarray, "feature_dim"]]:
    """Decode a video as generation asks for it.

    A failure is kept, and zeros follow: the other clips of the tile go on.
    """
    frames = read_video_frames(
        clip.video, config.clock, extractor.picture_height_px, extractor.picture_width_px
    )
    try:
        yield from model_features(extractor, frames, config)
    except InputError as error:
        clip.error = str(error)
        yield from itertools.repeat(np.zeros(config.model.feature_dim, np.float16))


def _write(
    clip: _Clip,
    stem: Path,
    levels: UInt8[np.ndarray, "samples"],
    config: Config,
    original: Original,
    gain_db: float,
) -> Sounded:
    model, clock = config.model, config.clock
    waveform = dequantize(levels, model.q_levels, model.quantization)
    wav, figure = _output(stem, ".wav"), _output(stem, ".png")
    write_wav(wav, waveform, clock.sample_rate_hz)
    muxed = mux(clip.video, wav, stem, original, gain_db)
    warnings = clip.video.warnings
    if original != "drop" and not clip.video.has_sound:
        warnings += (f"{clip.video.path}: holds no sound to {original}",)
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
    return Sounded(clip.video.path, wav, muxed, figure, warnings, 0)


def _key_frames(
    video: Video, clock: Clock, indices: Iterable[int]
) -> list[UInt8[np.ndarray, "height width 3"]]:
    """Decode once more, at the picture's own shape, and keep a few video frames."""
    width = max(1, round(video.width * KEY_FRAME_HEIGHT_PX / video.height))
    wanted = set(indices)
    frames = read_video_frames(video, clock, KEY_FRAME_HEIGHT_PX, width)
    return [frame for i, frame in enumerate(frames) if i in wanted]
