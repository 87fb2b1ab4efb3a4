"""Features of many files at once, on Apache Beam: here on all cores, or on a cluster.

Every file goes to a worker, which looks into the feature cache, and otherwise decodes the file and
extracts. What comes back is a row of the manifest for each; the features stay in the cache.
"""

import io
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners import create_runner
from etils import epath

import v2s_jax
from v2s_jax.datasets.folders.decode import ClipLength, DecodedClip, decode_clip
from v2s_jax.datasets.folders.feature_cache import FeatureCache, pass_key
from v2s_jax.datasets.folders.interrupt import local_runner, run_interruptible
from v2s_jax.datasets.folders.layout import Source
from v2s_jax.datasets.folders.manifest import Row
from v2s_jax.datasets.folders.progress import ProgressFile, shown
from v2s_jax.datasets.remote import local_copy
from v2s_jax.errors import InputError, KilledError
from v2s_jax.features.extractor import Extractor, ExtractorSpec, open_extractor
from v2s_jax.io import file_hash, wrap_read_errors

PACKAGE_PARENT = Path(v2s_jax.__file__).parents[1]
"""What must be on the path of worker processes."""
LOCAL_RUNNER = "DirectRunner"

EXTRACTED, CACHED, REJECTED = "extracted", "cached", "rejected"
"""Beam's counters; on a cluster its own pages show them while the job runs."""

_STEP = " [while running "
_INPUT_ERROR = re.compile(r"(?:InputError|KilledError): (.+)")


@dataclass(frozen=True)
class ExtractionJob:
    """What is made of each file, and where it is kept."""

    extractor: ExtractorSpec
    """Resolved: its weights are known by their digests."""
    shape: ClipLength
    cache: FeatureCache


@dataclass(frozen=True)
class Counts:
    """How many files were computed, found in the cache, and rejected."""

    extracted: int
    cached: int
    rejected: int


def local_options(workers: int) -> list[str]:
    """Return Beam's options for this machine: processes of their own, unless it is only one."""
    mode = "in_memory" if workers == 1 else "multi_processing"
    return [
        f"--runner={LOCAL_RUNNER}",
        f"--direct_running_mode={mode}",
        f"--direct_num_workers={workers}",
        "--default_sdk_harness_log_level=ERROR",
    ]


def check_options(beam_options: Sequence[str]) -> None:
    """Raise InputError for options that Beam does not take: it would print a usage, or a trace."""
    told = io.StringIO()
    try:
        with redirect_stderr(told):
            options = PipelineOptions(list(beam_options))
            create_runner(options.view_as(StandardOptions).runner or LOCAL_RUNNER)
            options.get_all_options()
    except SystemExit as error:
        said = told.getvalue().strip().splitlines() or ["unknown words"]
        raise InputError(
            f"Beam's words after --: {said[-1].partition('error: ')[2] or said[-1]}: see the "
            "options of its runner"
        ) from error
    except (ValueError, ImportError, AttributeError) as error:
        runner = PipelineOptions(list(beam_options)).view_as(StandardOptions).runner
        raise InputError(
            f"--runner={runner}: Beam cannot open it ({str(error).splitlines()[0]}): check the name"
        ) from error


def is_local(beam_options: Sequence[str]) -> bool:
    """Return whether Beam's options name this machine."""
    runner = PipelineOptions(list(beam_options)).view_as(StandardOptions).runner
    return runner in (None, LOCAL_RUNNER)


def extract(
    sources: Sequence[Source],
    extraction: ExtractionJob,
    beam_options: Sequence[str],
    rows_folder: epath.Path,
) -> tuple[list[Row], Counts]:
    """Return the row of each file, in the order of `sources`.

    The workers leave them under `rows_folder`, which all of them can write. Raises InputError
    when a worker was killed, or the cache cannot be written; files that cannot be read are
    rejected in their rows.
    """
    # Worker processes start with a path of their own, wherever this one was started from.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    local = is_local(beam_options)
    with tempfile.TemporaryDirectory() as tally:
        options = PipelineOptions(list(beam_options))
        pipeline = beam.Pipeline(local_runner(options) if local else None, options)
        _ = (
            pipeline
            | "files" >> beam.Create(list(sources))
            | "spread" >> beam.Reshuffle()
            | "extract" >> beam.ParDo(ExtractFeatures(extraction, tally if local else None))
            | "as JSON" >> beam.Map(Row.to_json)
            | "rows" >> beam.io.WriteToText(str(rows_folder / "row"), file_name_suffix=".jsonl")
        )
        with shown(Path(tally), len(sources), is_shown=local):
            result = _run(pipeline, is_quiet=local)
    rows = {
        row.source: row
        for path in rows_folder.glob("row*.jsonl")
        for row in map(Row.from_json, path.read_text().splitlines())
    }
    return [rows[source.name] for source in sources], _counts(result)


def _run(pipeline: beam.Pipeline, is_quiet: bool) -> beam.runners.runner.PipelineResult:
    """Run to the end; what a worker said of bad input is raised here as such."""
    if is_quiet:
        # Workers report each step; what goes wrong is in the exception, tracebacks included.
        logging.disable(logging.ERROR)
    try:
        return run_interruptible(partial(_finished, pipeline)) if is_quiet else _finished(pipeline)
    except InputError as error:  # Beam appends the name of the step
        raise InputError(str(error).partition(_STEP)[0]) from error
    except Exception as error:  # each runner has types of its own
        if found := _INPUT_ERROR.search(str(error)):
            raise InputError(found[1].partition(_STEP)[0]) from error
        if "Channel closed" in str(error):
            raise InputError(
                "one of the worker processes was killed, most likely for want of memory: use "
                "fewer --workers and run again, which goes on from the feature cache"
            ) from error
        raise
    finally:
        logging.disable(logging.NOTSET)


def _finished(pipeline: beam.Pipeline) -> beam.runners.runner.PipelineResult:
    result = pipeline.run()
    result.wait_until_finish()
    return result


def _counts(result: beam.runners.runner.PipelineResult) -> Counts:
    found = result.metrics().query(MetricsFilter().with_namespace(ExtractFeatures))["counters"]
    totals = {counter.key.metric.name: counter.result for counter in found}
    return Counts(totals.get(EXTRACTED, 0), totals.get(CACHED, 0), totals.get(REJECTED, 0))


class ExtractFeatures(beam.DoFn):
    """Turn a file into its row, leaving its features in the cache."""

    def __init__(self, extraction: ExtractionJob, tally: str | None) -> None:
        self._extraction = extraction
        self._tally_folder = tally
        self._extracted = Metrics.counter(ExtractFeatures, EXTRACTED)
        self._cached = Metrics.counter(ExtractFeatures, CACHED)
        self._rejected = Metrics.counter(ExtractFeatures, REJECTED)
        self._extractor: Extractor | None = None

    def setup(self) -> None:
        """Open the extractor in the worker; nothing of JAX or weights is touched before."""
        self._extractor = open_extractor(self._extraction.extractor)
        self._tally = ProgressFile(Path(self._tally_folder)) if self._tally_folder else None

    def process(self, source: Source) -> Iterator[Row]:
        """Yield the file's row."""
        row = Row(
            source=source.name,
            status="used",
            category=source.category,
            clip_id=source.clip_id,
            youtube_id=source.youtube_id,
        )
        frames = 0
        try:
            with local_copy(source.path) as path:
                row = replace(row, sha256=digest(path))
                key, once, frames = self._pass(path, row.sha256 or "")
        except _UnreadableError as unreadable:
            self._rejected.inc()
            reason = str(unreadable.args[0]).removeprefix(f"{source.path}: ")
            row = replace(row, status="rejected", reason=" ".join(reason.split()))
        else:
            row = _with_pass(row, key, once, self._extraction.shape)
        if self._tally:
            self._tally.add(frames)
        yield row

    def _pass(self, path: Path, sha256: str) -> tuple[str, DecodedClip, int]:
        """Return the key and the pass, and how many video frames had to be computed."""
        settings = self._extraction
        key = pass_key(sha256, settings.extractor, settings.shape)
        if (once := settings.cache.read(key)) is not None:
            self._cached.inc()
            return key, once, 0
        assert self._extractor is not None
        try:
            once = decode_clip(path, self._extractor, settings.shape)
        except KilledError:
            raise
        except InputError as error:
            raise _UnreadableError(str(error)) from error
        settings.cache.write(key, once)
        self._extracted.inc()
        return key, once, len(once.appearance)


class _UnreadableError(Exception):
    """What is wrong with one file; a cache that cannot be written is not that."""


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    if path.exists() and not path.is_file():  # opening a pipe would wait for its other end
        raise _UnreadableError(f"{path}: is not a regular file: give a video file")
    try:
        with wrap_read_errors(path):
            return file_hash(path).hex()
    except InputError as error:
        raise _UnreadableError(str(error)) from error


def _with_pass(row: Row, key: str, once: DecodedClip, shape: ClipLength) -> Row:
    video_frames = len(once.appearance)
    corrections = once.corrections
    if video_frames < shape.video_frames:
        times = shape.video_frames / video_frames
        corrections += (f"looped {times:.2f} times to {shape.video_frames} video frames",)
    return replace(
        row,
        source_sec=round(once.source_sec, 3),
        video_frames=video_frames,
        samples=once.waveform.size,
        clip_video_frames=shape.video_frames,
        clip_samples=shape.video_frames * shape.clock.samples_per_video_frame,
        corrections=corrections,
        features=key,
    )
