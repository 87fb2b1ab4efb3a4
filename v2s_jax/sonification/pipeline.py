"""The story of sample.py, and the Python API: videos in, their sound out.

decode -> features -> generate -> wav, the video with its new sound, a picture of both
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from jaxtyping import UInt8

from v2s_jax.checkpoints import load_params
from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.features.extractor import (
    DEFAULT_WEIGHT_FILES,
    Extractor,
    WeightFiles,
    extractor_for_config,
)
from v2s_jax.io import check_writable
from v2s_jax.kernels.interface import EngineName
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.media import Original, read_audio_file
from v2s_jax.model.loss import BITS_PER_NAT
from v2s_jax.pretrained import DEFAULT_CHECKPOINT
from v2s_jax.quantize import quantize
from v2s_jax.sampling import (
    DEFAULT_BATCH_SIZE,
    GenerationOptions,
    Request,
    Sampler,
    check_seed,
    check_temperature,
    clip_key,
    find_degeneracies,
    generate_stream,
    replicate_sampler,
)
from v2s_jax.sampling.progress import progress_bar
from v2s_jax.sonification.clips import Clip, find_videos, leaves_some, open_clips
from v2s_jax.sonification.features import SharedFeatures, read_features
from v2s_jax.sonification.outputs import (
    key_frames,
    remove_further_takes,
    take_stem,
    write_outputs,
)
from v2s_jax.sonification.report import Report


def sonify(
    videos: Path | str | Sequence[Path | str],
    out: Path | str,
    *,
    checkpoint: Path | str = DEFAULT_CHECKPOINT,
    seed: int = 0,
    temperature: float = 1.0,
    overwrite: bool = False,
    batch_size: int = DEFAULT_BATCH_SIZE,
    engine: EngineName = "scan",
    weight_format: WeightFormat = "float32",
    weights: WeightFiles = DEFAULT_WEIGHT_FILES,
    max_retries: int = 0,
    takes: int = 1,
    prefix: Path | str | None = None,
    original: Original = "drop",
    original_gain_db: float = 0.0,
) -> Report:
    """Sound each video (or each one of a folder): a wav, the video with it, and a picture.

    For OUT/NAME_sound.* the name is the source's. A clip's sound depends on its file's bytes, the
    seed, the temperature, the checkpoint, the engine, the format of its weights, and with the scan
    on the tile: not on the other clips. A video that fails is told in the report and the others go
    on.

    With several `takes` each video gets OUT/NAME_sound_1.* and so on, the likeliest first; they
    are those of the next seeds. With `overwrite`, ranks that an earlier run with more takes left
    behind go. `prefix` is a sound file that each sound begins with, cut to whole
    big frames, and goes on from. `original` says what becomes of a video's own sound, `max_retries`
    how often the guard may draw a stretch of a clip again. `weights` are those of the
    checkpoint's extractor, where it has any that are not found without.

    Raises InputError for what concerns them all: no such video, options, checkpoint, folder, an
    engine that cannot run here, and weights that are missing or are not those that the checkpoint
    was trained with.
    """
    check_seed(seed)
    if takes < 1:
        raise InputError(f"{takes} takes: make at least 1")
    check_seed(seed + takes - 1)
    if not math.isfinite(original_gain_db):
        raise InputError(f"a gain of {original_gain_db} dB: use a number, such as -6")
    if original_gain_db and original != "mix":
        raise InputError(
            f"original_gain_db {original_gain_db} changes nothing with original {original!r}: "
            "mix the original in, or leave the gain out"
        )
    check_temperature(temperature)
    config, params = load_params(Path(checkpoint))
    sources = find_videos([videos] if isinstance(videos, Path | str) else videos, Path(out))
    report = Report(engine, weight_format)
    clips = open_clips(sources, Path(out), config, overwrite, takes, report)
    start = None if prefix is None else _read_prefix(Path(prefix), config)
    clips = [clip for clip in clips if leaves_some(clip, start, report)]
    if not clips:
        return report
    check_writable(Path(out))
    extractor = extractor_for_config(config, weights)
    rows = len(clips) * takes
    wanted = min(len(jax.local_devices()), -(-rows // max(batch_size, 1)))
    samplers = replicate_sampler(
        lambda: Sampler(
            config, params, batch_size=batch_size, engine=engine, weights=weight_format
        ),
        jax.local_devices()[:wanted],
    )
    for sampler in samplers:
        sampler.limit_batch(-(-rows // wanted))
    options = GenerationOptions(temperature, with_nats=takes > 1, max_retries=max_retries)
    with progress_bar(samplers[0], _wanted(clips, takes)) as on_samples:
        for clip in _sound(
            samplers, extractor, clips, (seed, takes), start, options, on_samples, report
        ):
            _write_takes(clip, config, options, original, original_gain_db, report)
            if overwrite and clip.video.path not in report.failed:
                named = {source.resolve() for source in sources}
                report.removed += remove_further_takes(clip.stem, takes, named)
    report.generated.sort(key=lambda made: sources.index(made.source))
    return report


def _read_prefix(path: Path, config: Config) -> UInt8[np.ndarray, " samples"]:
    waveform = read_audio_file(path, config.clock.sample_rate_hz)
    whole = len(waveform) // config.model.big_frame_size * config.model.big_frame_size
    return quantize(waveform[:whole], config.model.q_levels, config.model.quantization)


def _wanted(clips: Sequence[Clip], takes: int) -> int:
    """Return how many samples are to be generated."""
    return takes * sum(clip.samples - clip.prefix_samples for clip in clips)


def _sound(
    samplers: Sequence[Sampler],
    extractor: Extractor,
    clips: Sequence[Clip],
    seed_and_takes: tuple[int, int],
    prefix: UInt8[np.ndarray, " prefix_samples"] | None,
    options: GenerationOptions,
    on_samples: Callable[[int], None],
    report: Report,
) -> Iterator[Clip]:
    """Generate all takes of the clips as rows of one batch; yield each clip when it has its own."""
    config = samplers[0].config
    first, takes = seed_and_takes
    with ExitStack() as open_files:
        of_requests, requests, shared = [], [], {}
        for clip in clips:
            vectors = read_features(clip, config, extractor)
            if takes > 1:
                shared[clip.stem] = SharedFeatures(vectors)
                open_files.callback(shared[clip.stem].close)
            for seed in range(first, first + takes):
                of_requests.append((clip, seed))
                features = shared[clip.stem].read() if takes > 1 else vectors
                key = clip_key(seed, clip.content_hash)
                requests.append(Request(key, clip.samples, features, prefix))
        made = generate_stream(samplers, requests, options, on_samples)
        while True:
            start_frame = time.perf_counter()
            number, sound = next(made, (None, None))
            report.generation_sec += time.perf_counter() - start_frame
            if number is None or sound is None:
                return
            clip, seed = of_requests[number]
            report.audio_sec += clip.samples / config.clock.sample_rate_hz
            clip.takes.append((seed, sound))
            if len(clip.takes) == takes:
                if takes > 1:
                    shared[clip.stem].close()
                yield clip
                clip.takes.clear()


def _write_takes(
    clip: Clip,
    config: Config,
    options: GenerationOptions,
    original: Original,
    gain_db: float,
    report: Report,
) -> None:
    """Write the files of all takes of a clip, the likeliest first."""
    ranked = sorted(clip.takes, key=lambda take: (take[1].nats or 0.0, take[0]))
    generated = clip.samples - clip.prefix_samples
    try:
        if clip.error is not None:
            raise InputError(clip.error)
        pictures = key_frames(clip.video, config.clock, clip.samples)
        for rank, (seed, sound) in enumerate(ranked, 1):
            stem = take_stem(clip.stem, rank, len(ranked))
            written = write_outputs(
                clip.video, stem, sound.levels, config, pictures, original, gain_db
            )
            degeneracies = (
                sound.degeneracies
                if options.max_retries
                else find_degeneracies(sound.levels, config)
            )
            told = tuple(f"{clip.video.path}: {degeneracy}" for degeneracy in degeneracies)
            nats = sound.nats
            bits = None if nats is None else nats * BITS_PER_NAT / generated
            report.generated.append(
                replace(written, warnings=written.warnings + told, seed=seed, bits_per_sample=bits)
            )
    except InputError as error:
        report.failed[clip.video.path] = str(error)
