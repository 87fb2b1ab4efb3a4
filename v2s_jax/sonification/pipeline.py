"""`sonify`: decode -> features -> generate -> wav, the video with its audio, and a figure."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from v2s_jax.checkpoints import load_params
from v2s_jax.config import Config
from v2s_jax.errors import InputError, file_error
from v2s_jax.features.extractor import Extractor, extractor_for_config
from v2s_jax.figures import FigureProcess
from v2s_jax.io import check_writable, directory_lock, staging_folder
from v2s_jax.media import probe
from v2s_jax.sampling import (
    EngineChoice,
    GenerationOptions,
    GenerationResult,
    Request,
    Sampler,
    clip_key,
    generate_stream,
    replicate_sampler,
)
from v2s_jax.sampling.progress import progress_bar
from v2s_jax.sonification.by_hand import (
    adjust,
    check_by_hand,
    controls_from_file,
    controls_of,
    export,
)
from v2s_jax.sonification.clips import (
    Clip,
    SharedFeatures,
    Vector,
    drop_short_clips,
    find_videos,
    keep_vectors,
    open_clips,
    read_features,
)
from v2s_jax.sonification.options import DEFAULT_OPTIONS, SampleOptions, choose, make_sampler
from v2s_jax.sonification.outputs import (
    Report,
    bits_per_sample,
    degeneracy_warnings,
    input_files,
    likeliest_first,
    publish,
    read_key_frames,
    remove_stale_takes,
    take_stem,
    write_outputs,
)
from v2s_jax.sonification.prefix import read_prefix
from v2s_jax.sonification.provenance import Provenance, provenance_of, tags_of
from v2s_jax.sonification.settings import GenerationSettings, settings_of

Levels = UInt8[np.ndarray, " samples"]


def sonify(
    videos: Path | str | Sequence[Path | str],
    out: Path | str,
    options: SampleOptions = DEFAULT_OPTIONS,
) -> Report:
    """Generate audio for videos: each gets a wav, a video with this audio, and a figure.

    The audio of a video depends on the bytes of its file, the options and the checkpoint. With an
    engine and a batch size in the options it does not depend on the other videos; `auto` chooses
    these by their number and length, and says what it chose.

    Args:
        videos: Files, or folders whose videos are taken, at any depth.
        out: Folder for the outputs: NAME_sound.wav, .mp4 (or .mkv) and .png for the video NAME;
            NAME_sound_1.* and so on with several takes. Videos below a folder of `videos` keep
            their subfolders here.
        options: Checkpoint, seed, temperature and more.

    Returns:
        What was generated, and one line for each video that failed; one bad video does not stop
        the others.

    Raises:
        InputError: For problems that concern all videos: a missing video, checkpoint or weights, a
            folder that cannot be written, or an engine that cannot run here.
    """
    options.check()
    out = Path(out)
    report = Report()
    paths = [videos] if isinstance(videos, Path | str) else videos
    sources = find_videos(paths, out, report.failed)
    with ExitStack() as stack:
        prober = ThreadPoolExecutor(max_workers=1)
        stack.callback(prober.shutdown, cancel_futures=True)
        probes = {source: prober.submit(probe, source) for source in sources}
        config, params = load_params(Path(options.checkpoint))  # while ffmpeg reads the videos
        check_by_hand(config, options, len(sources))
        stack.enter_context(directory_lock(out))
        FigureProcess.shared()  # starts meanwhile
        clips = open_clips(sources, probes, out, config, options, report)
        _generate_files(sources, clips, config, params, options, report)
    order = [*sources]
    report.generated.sort(key=lambda files: order.index(files.source))
    return report


def _generate_files(
    sources: Mapping[Path, Path],
    clips: list[Clip],
    config: Config,
    params: dict[str, Any],
    options: SampleOptions,
    report: Report,
) -> None:
    """Generate and write the audio of all videos; what happened goes to the report."""
    prefix, prefix_samples = None, 0
    if options.prefix is not None:
        longest = max((clip.samples for clip in clips), default=1)
        prefix = read_prefix(options.prefix, config, longest)
        prefix_samples = len(prefix)
        clips = drop_short_clips(clips, prefix_samples, report)
    for folder in {clip.stem.parent for clip in clips}:
        check_writable(folder)
    if not clips:
        return
    requests = len(clips) * options.takes
    samples = options.takes * sum(clip.samples - prefix_samples for clip in clips)
    choice = choose(config, params, options, samples, requests)
    extractor = extractor_for_config(config, options.weight_files, options.category)
    if options.controls is None:
        extractor.start_compiling()
    samplers = _make_samplers(config, params, requests, choice)
    settings = settings_of(samplers[0], params, options)
    report.settings, report.note = settings, choice.note
    provenance = provenance_of(config, options, settings) if options.metadata else None
    with progress_bar(samplers[0], samples) as on_samples:
        for clip in _generate_takes(
            samplers, extractor, clips, prefix, options, on_samples, report
        ):
            _write_takes(clip, config, prefix_samples, options, settings, report, provenance)
            if options.overwrite and clip.video.path not in report.failed:
                resolved = input_files(sources, options)
                report.removed += remove_stale_takes(clip.stem, options.takes, resolved)


def _make_samplers(
    config: Config, params: dict[str, Any], requests: int, choice: EngineChoice
) -> list[Sampler]:
    """Make a sampler on as many devices as the requests can fill."""
    devices = jax.local_devices()
    devices = devices[: min(len(devices), -(-requests // choice.batch_size))]
    samplers = replicate_sampler(lambda: make_sampler(config, params, choice), devices)
    for sampler in samplers:
        sampler.limit_batch(-(-requests // len(devices)))
    return samplers


def _generate_takes(
    samplers: Sequence[Sampler],
    extractor: Extractor,
    clips: Sequence[Clip],
    prefix: Levels | None,
    options: SampleOptions,
    on_samples: Callable[[int], None],
    report: Report,
) -> Iterator[Clip]:
    """Generate all takes of all clips together; yield each clip when its takes are finished."""
    config = samplers[0].config
    generation = GenerationOptions(
        options.chosen_temperature, with_nll=options.takes > 1, max_retries=options.max_retries
    )
    requests: list[Request] = []
    sources: list[tuple[Clip, int, Iterable[Vector]]] = []
    for clip in clips:
        if options.controls is None:
            vectors = read_features(clip, config, extractor)
        else:
            vectors = controls_from_file(options.controls, config, clip.samples)
        if config.extractor == "controls":
            vectors = keep_vectors(clip, adjust(vectors, config, options))
        features: Iterable[Vector] = SharedFeatures(vectors) if options.takes > 1 else vectors
        for seed in range(options.seed, options.seed + options.takes):
            sources.append((clip, seed, features))
            key = clip_key(seed, clip.content_hash)
            requests.append(Request(key, clip.samples, features, prefix))
    results = generate_stream(samplers, requests, generation, on_samples)
    for index, result in _timed(results, report):
        clip, seed, features = sources[index]
        report.audio_sec += clip.samples / config.clock.sample_rate_hz
        clip.takes.append((seed, result))
        if len(clip.takes) == options.takes:
            yield clip
            clip.takes.clear()
            clip.vectors.clear()
            if isinstance(features, SharedFeatures):
                features.clear()


def _timed(
    results: Iterator[tuple[int, GenerationResult]], report: Report
) -> Iterator[tuple[int, GenerationResult]]:
    """Yield the results, and add the time spent on generating them to the report."""
    while True:
        start = time.perf_counter()
        result = next(results, None)
        report.generation_sec += time.perf_counter() - start
        if result is None:
            return
        yield result


def _write_takes(
    clip: Clip,
    config: Config,
    prefix_samples: int,
    options: SampleOptions,
    settings: GenerationSettings,
    report: Report,
    provenance: Provenance | None,
) -> None:
    """Write the files of all takes of a clip, the likeliest first."""
    source = {"video": clip.video.path.name, "video_sha256": clip.content_hash.hex()}
    ranked = likeliest_first(clip.takes)
    try:
        if clip.error is not None:
            raise InputError(clip.error)
        key_frames = read_key_frames(clip.video, config.clock, clip.samples)
        if options.export_controls is not None:
            export(options.export_controls, clip.vectors, config)
        generated = []
        with staging_folder(clip.stem.parent) as staging:
            for rank, (seed, result) in enumerate(ranked, 1):
                stem = take_stem(clip.stem, rank, len(ranked))
                files = write_outputs(
                    *(clip.video, stem, staging, result.levels, config, key_frames, options),
                    replace(settings, seed=seed),
                    None if clip.seen is None else str(clip.seen),
                    tags_of(provenance, seed=seed, **source),
                    controls_of(clip.vectors, config) if clip.vectors else None,
                )
                warnings = degeneracy_warnings(clip.video.path, result, config, options)
                bits = bits_per_sample(result, clip.samples - prefix_samples)
                warnings = files.warnings + clip.seen_warnings + warnings
                generated.append(replace(files, warnings=warnings, bits_per_sample=bits))
            publish(staging, clip.stem.parent, options.overwrite)
        report.generated += generated
    except Exception as error:
        report.failed[clip.video.path] = file_error(clip.video.path, error)
