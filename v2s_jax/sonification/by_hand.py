"""Controls by hand: a category, curves from a file, or no video at all."""

import itertools
import os
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from v2s_jax.checkpoints import load_params
from v2s_jax.config import Config
from v2s_jax.errors import InputError, unknown_name_error
from v2s_jax.features.adjustment import Vector, adjust_controls
from v2s_jax.features.control_files import read_controls, write_controls
from v2s_jax.features.controls import unpack_curves
from v2s_jax.features.excerpts import draw_controls
from v2s_jax.figures import FigureProcess
from v2s_jax.io import check_writable, directory_lock, staging_folder
from v2s_jax.media import Tags, write_wav
from v2s_jax.quantize import dequantize
from v2s_jax.sampling import (
    GenerationOptions,
    GenerationResult,
    Request,
    clip_key,
    content_hash,
    generate_stream,
)
from v2s_jax.sampling.progress import progress_bar
from v2s_jax.sonification.options import DEFAULT_OPTIONS, SampleOptions, choose, make_sampler
from v2s_jax.sonification.outputs import (
    AUDIO_SUFFIX,
    FIGURE_SUFFIX,
    GeneratedFiles,
    Report,
    bits_per_sample,
    degeneracy_warnings,
    input_files,
    likeliest_first,
    output_path,
    publish,
    remove_stale_takes,
    take_stem,
)
from v2s_jax.sonification.prefix import read_prefix
from v2s_jax.sonification.provenance import provenance_of, tags_of
from v2s_jax.sonification.settings import settings_of
from v2s_jax.types import Features

CONTROLS_OPTIONS = (
    *("category", "controls", "export_controls"),
    *("loudness_gain", "loudness_offset", "controls_shift_ms"),
)
"""Options that only models of controls have."""
MAX_SEC = 3_600
"""Longest sound without a video (ours)."""


def check_by_hand(config: Config, options: SampleOptions, videos: int) -> None:
    """Raise InputError for controls that the model does not read, or that fit no single video."""
    names = [
        f"--{name.replace('_', '-')}"
        for name in CONTROLS_OPTIONS
        if getattr(options, name) != getattr(DEFAULT_OPTIONS, name)
    ]
    if not names:
        return
    if config.extractor != "controls":
        raise InputError(
            f"{options.checkpoint}: reads {config.extractor} of videos, no controls: leave out "
            f"{' and '.join(names)}, or use a model of sounds, such as --checkpoint real"
        )
    if options.category is not None:
        number_of(options.category, config)
        if options.controls is not None:
            raise InputError("--category and --controls: give one; the file has the categories")
    for name in ("--controls", "--export-controls"):
        if videos != 1 and name in names:
            raise InputError(f"{name} with {videos} videos: give one")
    if options.export_controls is not None:
        _check_export(options.export_controls, options)


def _check_export(path: Path, options: SampleOptions) -> None:
    """Raise InputError, before any work, unless the controls can be exported to this file."""
    if options.controls is not None:
        raise InputError("--controls and --export-controls: give one; the file is there already")
    if path.suffix.lower() != ".csv":
        raise InputError(f"--export-controls {path}: name a file that ends in .csv")
    if path.exists() and not (options.overwrite and path.is_file()):
        raise InputError(f"--export-controls {path}: already exists: use --overwrite or another")
    check_writable(path.parent)


def number_of(category: str, config: Config) -> int:
    """Return the number of a category of the model; raise InputError with the nearest name."""
    categories = config.extraction.categories or ()
    if category not in categories:
        raise unknown_name_error("--category", category, categories)
    return categories.index(category)


def controls_from_file(path: Path, config: Config, samples: int) -> Iterator[Vector]:
    """Return the features of each video frame from a CSV file; see `read_controls`."""
    frames = config.clock.video_frames(samples)
    controls = read_controls(path, config.extraction.categories or (), config.clock, frames)
    return iter(np.concatenate(controls, axis=1))


def adjust(vectors: Iterator[Vector], config: Config, options: SampleOptions) -> Iterator[Vector]:
    """Adjust the features of each video frame as the options say."""
    return adjust_controls(vectors, config.extraction, config.clock, options.adjustment)


def controls_of(vectors: Sequence[Vector], config: Config) -> Features:
    """Return the controls that a model read, one vector for each video frame."""
    return Features(*np.split(np.stack(vectors), [config.model.appearance_dim], axis=1))


def export(path: Path, vectors: list[Vector], config: Config) -> None:
    """Write the features that a model read of a video as CSV."""
    categories = config.extraction.categories or ()
    write_controls(path, controls_of(vectors, config), categories, config.clock)


def generate_sound(out: Path, seconds: float, options: SampleOptions) -> Report:
    """Generate audio without a video: NAME_sound.wav and its figure, in the folder `out`.

    Controls come from `options.controls`, or are drawn for `options.category`, others for each
    take. NAME is that of the file or of the category.

    Raises InputError for bad options, and when the outputs exist or cannot be written.
    """
    options.check()
    config, params = load_params(Path(options.checkpoint))
    check_by_hand(config, options, videos=1)
    if options.category is None and options.controls is None:
        raise InputError("--seconds: give --category or --controls too, or a video instead")
    if options.original != "drop":
        raise InputError("--seconds: leave out --original")
    if options.export_controls is not None and options.takes != 1:
        raise InputError("--export-controls: leave out --takes, each has other curves")
    samples = round(seconds * config.clock.sample_rate_hz) if 0 < seconds <= MAX_SEC else 0
    if not samples:
        raise InputError(f"--seconds {seconds}: use more than 0 and at most {MAX_SEC}")
    FigureProcess.shared()  # starts meanwhile
    with directory_lock(out):
        check_writable(out)
        return _generate(out, samples, config, params, options)


def _generate(
    out: Path, samples: int, config: Config, params: dict[str, Any], options: SampleOptions
) -> Report:
    name = options.category or Path(options.controls or "").stem
    inputs = input_files((), options)
    stems = _free_stems(out / f"{name}_sound", inputs, options)
    prefix = _read_prefix(config, samples, options)
    prefix_samples = 0 if prefix is None else len(prefix)
    seeds = range(options.seed, options.seed + options.takes)
    vectors = [
        list(adjust(_vectors(samples, config, options, seed), config, options)) for seed in seeds
    ]
    if options.export_controls is not None:
        export(options.export_controls, vectors[0], config)
    choice = choose(config, params, options, samples * options.takes, options.takes)
    sampler = make_sampler(config, params, choice)
    sampler.limit_batch(options.takes)
    settings = settings_of(sampler, params, options)
    provenance = provenance_of(config, options, settings) if options.metadata else None
    content = content_hash(os.fsencode(name))
    requests = [
        Request(clip_key(seed, content), samples, features, prefix)
        for seed, features in zip(seeds, vectors, strict=True)
    ]
    generation = GenerationOptions(
        options.chosen_temperature, with_nll=options.takes > 1, max_retries=options.max_retries
    )
    report = Report(settings, choice.note)
    start = time.perf_counter()
    with progress_bar(sampler, (samples - prefix_samples) * options.takes) as on_samples:
        results = list(generate_stream([sampler], requests, generation, on_samples))
    report.generation_sec = time.perf_counter() - start
    report.audio_sec = options.takes * samples / config.clock.sample_rate_hz
    takes = [(seeds[index], result) for index, result in results]
    controls = {seed: controls_of(own, config) for seed, own in zip(seeds, vectors, strict=True)}
    with staging_folder(out) as staging:
        for stem, (seed, result) in zip(stems, likeliest_first(takes), strict=True):
            tags = tags_of(provenance, seed=seed, seconds=samples / config.clock.sample_rate_hz)
            wav, figure = _write_sound(staging, stem, name, result, config, controls[seed], tags)
            report.generated.append(
                GeneratedFiles(
                    *(Path(name), wav, None, figure),
                    degeneracy_warnings(wav, result, config, options),
                    replace(settings, seed=seed),
                    bits_per_sample(result, samples - prefix_samples),
                )
            )
        publish(staging, out, options.overwrite)
    if options.overwrite:
        report.removed += remove_stale_takes(
            out / f"{name}_sound", options.takes, inputs, has_video=False
        )
    return report


def _free_stems(stem: Path, inputs: Collection[Path], options: SampleOptions) -> list[Path]:
    """Return the outputs of all takes without suffix; raise InputError where one is taken."""
    stems = [take_stem(stem, rank, options.takes) for rank in range(1, options.takes + 1)]
    for one, suffix in itertools.product(stems, (AUDIO_SUFFIX, FIGURE_SUFFIX)):
        path = output_path(one, suffix)
        if path.resolve() in inputs:
            raise InputError(f"{path}: is one of the input files: use another --out")
        if path.exists() and not options.overwrite:
            raise InputError(f"{path}: already exists: use --overwrite or another --out")
    return stems


def _read_prefix(
    config: Config, samples: int, options: SampleOptions
) -> UInt8[np.ndarray, " prefix_samples"] | None:
    if options.prefix is None:
        return None
    prefix = read_prefix(options.prefix, config, samples)
    if len(prefix) >= samples:
        raise InputError(
            f"{options.prefix}: the prefix has at least {len(prefix)} samples, the sound "
            f"{samples}: use more --seconds or a shorter --prefix"
        )
    return prefix


def _write_sound(
    staging: Path,
    stem: Path,
    name: str,
    result: GenerationResult,
    config: Config,
    controls: Features,
    tags: Tags,
) -> tuple[Path, Path]:
    """Write the wav and the figure of a take to `staging`; return their paths after `publish`."""
    model, rate_hz = config.model, config.clock.sample_rate_hz
    waveform = dequantize(result.levels, model.q_levels, model.quantization)
    wav, figure = (output_path(stem, suffix) for suffix in (AUDIO_SUFFIX, FIGURE_SUFFIX))
    curves, path = unpack_curves(controls, config.clock), staging / figure.name
    drawn = FigureProcess.shared().draw(path, [], [], waveform, rate_hz, name, curves, tags)
    write_wav(staging / wav.name, waveform, rate_hz, tags)
    drawn.result()
    return wav, figure


def _vectors(samples: int, config: Config, options: SampleOptions, seed: int) -> Iterator[Vector]:
    if options.controls is not None:
        return controls_from_file(options.controls, config, samples)
    assert options.category is not None
    controls = draw_controls(
        config.extraction,
        number_of(options.category, config),
        config.clock.video_frames(samples),
        seed,
    )
    return iter(np.concatenate(controls, axis=1))
