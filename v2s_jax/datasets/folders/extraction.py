"""Extract the features of many files with Apache Beam: on all cores of this machine or a cluster.

A worker looks each file up in the feature cache, and otherwise decodes it and extracts features.
The pipeline returns one manifest row per file; the features stay in the cache.
"""

import io
import logging
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, redirect_stderr, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners import create_runner
from apache_beam.runners.runner import PipelineResult
from etils import epath

import v2s_jax
from v2s_jax.datasets.folders.decode import (
    ClipLength,
    DecodedClip,
    FeatureCache,
    cache_key,
    decode_clip,
)
from v2s_jax.datasets.folders.layout import Source
from v2s_jax.datasets.folders.local_run import count_video, progress_bar, run_interruptible
from v2s_jax.datasets.folders.manifest import Row
from v2s_jax.datasets.remote import local_copy
from v2s_jax.errors import InputError, KilledError, file_error, reason
from v2s_jax.features import Extractor
from v2s_jax.features.extractor import ExtractorSpec, open_extractor
from v2s_jax.io import file_hash, wrap_read_errors

PACKAGE_PARENT = Path(v2s_jax.__file__).parents[1]
"""Worker processes need it on their path."""

LOCAL_RUNNER = "DirectRunner"

_STEP = " [while running "
_INPUT_ERROR = re.compile(r"(?:InputError|KilledError): (.+)")


@dataclass(frozen=True)
class ExtractionJob:
    """How each file is processed, and the cache."""

    extractor: ExtractorSpec
    """Resolved: its weights are known by their digests."""
    length: ClipLength
    cache: FeatureCache


class Counts(NamedTuple):
    """Numbers of files that were computed, found in the cache, and rejected: Beam's counters."""

    extracted: int
    cached: int
    rejected: int


def local_args(workers: int) -> list[str]:
    """Return Beam's arguments for this machine: in this process, or in several others."""
    mode = "in_memory" if workers == 1 else "multi_processing"
    return [
        f"--runner={LOCAL_RUNNER}",
        f"--direct_running_mode={mode}",
        f"--direct_num_workers={workers}",
        "--default_sdk_harness_log_level=ERROR",
        "--allow_unsafe_triggers",  # no effect here, but keeps Beam from downloading its Go runner
    ]


def check_args(beam_args: Sequence[str]) -> None:
    """Raise InputError for arguments that Beam rejects with a usage message or a traceback."""
    stderr = io.StringIO()
    try:
        with redirect_stderr(stderr):
            options = PipelineOptions(list(beam_args))
            create_runner(options.view_as(StandardOptions).runner or LOCAL_RUNNER)
            options.get_all_options()
    except SystemExit as error:
        usage = stderr.getvalue().strip().splitlines() or ["unknown arguments"]
        message = usage[-1].partition("error: ")[2] or usage[-1]
        raise InputError(
            f"Beam arguments after --: {message}: see the options of its runner"
        ) from error
    except (ValueError, ImportError, AttributeError) as error:
        runner = PipelineOptions(list(beam_args)).view_as(StandardOptions).runner
        raise InputError(
            f"--runner={runner}: Beam cannot open it ({reason(error)}): check the name"
        ) from error


def is_local(beam_args: Sequence[str]) -> bool:
    """Return whether Beam's arguments select this machine."""
    runner = PipelineOptions(list(beam_args)).view_as(StandardOptions).runner
    return runner in (None, LOCAL_RUNNER)


def extract(
    sources: Sequence[Source],
    job: ExtractionJob,
    beam_args: Sequence[str],
    scratch: epath.Path,
) -> tuple[list[Row], Counts]:
    """Return the row of each file, in the order of `sources`.

    Workers write rows to a temporary folder in `scratch`, which all of them must be able to write.
    A file that cannot be read is rejected in its row.

    Raises InputError when a worker was killed or the cache cannot be written.
    """
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    local = is_local(beam_args)
    rows_folder = scratch / f".rows-{uuid.uuid4().hex}"  # unique to this run
    with tempfile.TemporaryDirectory() as progress_folder:
        extraction = ExtractFeatures(job, progress_folder if local else None)
        pipeline = beam.Pipeline(options=PipelineOptions(list(beam_args)))
        _ = (
            pipeline
            | "files" >> beam.Create(list(sources))
            | "spread" >> beam.Reshuffle()
            | "extract" >> beam.ParDo(extraction)
            | "as JSON" >> beam.Map(Row.to_json)
            | "rows" >> beam.io.WriteToText(str(rows_folder / "row"), file_name_suffix=".jsonl")
        )
        progress = progress_bar(Path(progress_folder), len(sources)) if local else nullcontext()
        try:
            with progress:
                result = _run(pipeline, local)
            texts = [path.read_text() for path in rows_folder.glob("row*.jsonl")]
        finally:
            with suppress(OSError):  # a worker that is being killed may still write
                rows_folder.rmtree(missing_ok=True)
    rows = [Row.from_json(line) for text in texts for line in text.splitlines()]
    by_source = {row.source: row for row in rows}
    return [by_source[source.name] for source in sources], _counts(result)


def run_on_workers(
    items: Sequence[Any], work: Callable[[Any], None], beam_args: Sequence[str]
) -> None:
    """Call `work` on each item, on all workers. Raises InputError as `extract` does."""
    pipeline = beam.Pipeline(options=PipelineOptions(list(beam_args)))
    _ = (
        pipeline
        | "items" >> beam.Create(list(items))
        | "spread" >> beam.Reshuffle()
        | "work" >> beam.Map(work)
        # A second stage: without it the local runner waits forever for a worker that was killed.
        | "end" >> beam.combiners.Count.Globally()
    )
    _run(pipeline, is_local(beam_args))


def _run(pipeline: beam.Pipeline, local: bool) -> PipelineResult:
    """Run the pipeline to its end. Bad input that a worker reports is raised as InputError."""

    def work() -> PipelineResult:
        result = pipeline.run()
        result.wait_until_finish()
        return result

    if local:
        logging.disable(logging.ERROR)  # workers log each step; the exception has the traceback
    try:
        return run_interruptible(work) if local else work()
    except InputError as error:  # Beam appends the name of the step
        raise InputError(str(error).partition(_STEP)[0]) from error
    except Exception as error:  # each runner has its own exception types
        if match := _INPUT_ERROR.search(str(error)):
            raise InputError(match[1].partition(_STEP)[0]) from error
        if "Channel closed" in str(error):
            raise InputError(
                "one of the worker processes was killed, probably because memory ran out: rerun "
                "the same command with fewer --workers to resume from the feature cache"
            ) from error
        raise
    finally:
        logging.disable(logging.NOTSET)


def _counts(result: PipelineResult) -> Counts:
    query = MetricsFilter().with_namespace(ExtractFeatures)
    counters = result.metrics().query(query)["counters"]
    totals = {counter.key.metric.name: counter.result for counter in counters}
    return Counts(*(totals.get(name, 0) for name in Counts._fields))


class ExtractFeatures(beam.DoFn):
    """Return the row of a file and store its features in the cache."""

    def __init__(self, job: ExtractionJob, progress_folder: str | None) -> None:
        self._job = job
        self._progress_folder = progress_folder
        self._extracted = Metrics.counter(ExtractFeatures, "extracted")
        self._cached = Metrics.counter(ExtractFeatures, "cached")
        self._rejected = Metrics.counter(ExtractFeatures, "rejected")
        self._extractor: Extractor | None = None

    def setup(self) -> None:
        """Open the extractor in the worker, which loads JAX and weights there only."""
        self._extractor = open_extractor(self._job.extractor)

    def process(self, source: Source) -> Iterator[Row]:
        """Yield the file's row."""
        row = Row(
            source=source.name,
            status="used",
            category=source.category,
            clip_id=source.clip_id,
            youtube_id=source.youtube_id,
        )
        job, decoded = self._job, None
        assert self._extractor is not None
        with local_copy(source.path) as path:
            try:
                row = replace(row, sha256=digest(path))
                key = cache_key(row.sha256 or "", job.extractor, job.length)
                decoded = job.cache.read(key)
                is_new = decoded is None
                decoded = decoded or decode_clip(path, self._extractor, job.length)
            except KilledError:
                raise
            except Exception as error:  # whatever this file causes must not end the run
                self._rejected.inc()
                words = file_error(source.path, error).removeprefix(f"{source.path}: ").split()
                row = replace(row, status="rejected", reason=" ".join(words))
        video_frames = 0
        if decoded is not None:
            row = _used_row(row, key, decoded, job.length)
            if is_new:
                job.cache.write(key, decoded)
                video_frames = len(decoded.appearance)
            (self._extracted if is_new else self._cached).inc()
        if self._progress_folder:
            count_video(Path(self._progress_folder), video_frames)
        yield row


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; raise InputError when it cannot be read."""
    if path.exists() and not path.is_file():  # opening a pipe would block
        raise InputError(f"{path}: is not a regular file: give a video file")
    with wrap_read_errors(path):
        return file_hash(path).hex()


def _used_row(row: Row, key: str, decoded: DecodedClip, length: ClipLength) -> Row:
    video_frames = len(decoded.appearance)
    corrections = decoded.corrections
    if video_frames < length.video_frames:
        times = length.video_frames / video_frames
        corrections += (f"looped {times:.2f} times to {length.video_frames} video frames",)
    return replace(
        row,
        source_sec=round(decoded.source_sec, 3),
        video_frames=video_frames,
        samples=decoded.waveform.size,
        clip_video_frames=length.video_frames,
        clip_samples=length.samples,
        corrections=corrections,
        features=key,
    )
