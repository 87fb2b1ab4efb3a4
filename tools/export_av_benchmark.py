"""Export evaluated audio as folders that av-benchmark reads, one for each model.

    OUT/MODEL/gt_audio/CLIP.wav     reference audio, mono 16-bit PCM
    OUT/MODEL/pred_audio/CLIP.wav   generated audio, paired by name
    OUT/MODEL/gt_video/CLIP.mp4     videos, where every clip has one
    OUT/MODEL/captions.csv          name,caption: the text that CLAP compares with, the category
    OUT/MODEL/export.json           lengths, and the options of av-benchmark that follow

Layout as read by github.com/hkchengrex/av-benchmark (README.md and av_bench/extract.py, August
2025): `--gt_audio OUT/MODEL/gt_audio --pred_audio OUT/MODEL/pred_audio --audio_length SECONDS`. A
clip shorter than SECONDS makes its loader look for another one without end, so it is the shortest
clip's length; below DESYNC_SEC the segments that its DeSync score averages do not exist.

    python -m tools.export_av_benchmark --evaluated runs/report --out export
"""

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from v2s_jax.cli.arguments import parse_args
from v2s_jax.cli.run import run_cli
from v2s_jax.config import Config
from v2s_jax.datasets import open_dataset
from v2s_jax.errors import InputError
from v2s_jax.evaluation.clips import Selection, find_videos, reference_audio, select
from v2s_jax.evaluation.report.report_json import FORMAT_VERSION, REPORT_FILE
from v2s_jax.io import atomic_directory, wrap_read_errors
from v2s_jax.media import GENERATED_TAGS, NO_TAGS, read_audio_file, write_wav

VIDEO_SUFFIX = ".mp4"
"""The only one that av-benchmark looks for."""
DESYNC_SEC = 4.8
"""av-benchmark averages DeSync over the first and the last 4.8 s of each clip."""
MS_PER_SEC = 1_000

Audio = Sequence[Float32[np.ndarray, " _"]]


@dataclass(frozen=True)
class ExportArgs:
    """Options of `python -m tools.export_av_benchmark`."""

    evaluated: Path
    """The --out folder of `v2s evaluate` with the part `audio`."""
    out: Path
    """New folder."""
    videos: Path | None = None
    """The folder of videos that the dataset was made from."""


def main() -> None:
    """Export the audio of an evaluation."""
    args = parse_args(ExportArgs, "python -m tools.export_av_benchmark", __doc__)
    report = _read_report(args.evaluated / REPORT_FILE)
    options = report["options"]
    data = open_dataset(options["data"], options["split"])
    categories = tuple(options["category"]) or data.categories
    clips = select(data, categories, options["clips"])
    config = Config.from_json(json.dumps(report["models"][0]["config"]))
    rate_hz = config.clock.sample_rate_hz
    reference = [reference_audio(clips[clip], config.model) for clip in range(len(clips))]
    videos = _usable_videos(clips, args.videos)
    if args.out.exists():
        raise InputError(f"{args.out}: already exists: choose a new folder")
    with atomic_directory(args.out.resolve()) as temporary:
        for model in report["models"]:
            sounds = args.evaluated / "sounds" / model["name"]
            generated = [
                read_audio_file(sounds / f"{name}.wav", rate_hz) for name in clips.clip_ids
            ]
            folder = temporary / model["name"]
            more = export_folder(
                folder, clips.clip_ids, clips.categories, generated, reference, rate_hz, videos
            )
    print(
        f"{args.out}: {len(clips)} clips for av-benchmark, in a folder for each model: "
        f"--gt_audio MODEL/gt_audio --pred_audio MODEL/pred_audio {' '.join(more)}"
    )


def _read_report(path: Path) -> dict:
    with wrap_read_errors(path):
        report = json.loads(path.read_text())
    if report.get("format_version") != FORMAT_VERSION or "audio" not in report:
        raise InputError(f"{path}: has no generated audio: run `v2s evaluate --parts audio` again")
    return report


def _usable_videos(clips: Selection, folder: Path | None) -> dict[str, Path] | None:
    """Return the videos of the clips, None unless each is there with the right suffix."""
    videos = {clip_id: video.path for clip_id, video in find_videos(clips, folder).items()}
    usable = all(path.suffix.lower() == VIDEO_SUFFIX for path in videos.values())
    return videos if usable and videos.keys() >= set(clips.clip_ids) else None


def export_folder(
    out: Path,
    clip_ids: Sequence[str],
    categories: Sequence[str],
    generated: Audio,
    reference: Audio,
    sample_rate_hz: int,
    videos: dict[str, Path] | None = None,
) -> list[str]:
    """Write audio, captions and, if given, copies of the videos; return av-benchmark's options."""
    kinds = (("gt_audio", reference, NO_TAGS), ("pred_audio", generated, GENERATED_TAGS))
    for folder, audio, tags in kinds:
        for clip_id, waveform in zip(clip_ids, audio, strict=True):
            write_wav(out / folder / f"{clip_id}.wav", waveform, sample_rate_hz, tags)
    if videos is not None:
        (out / "gt_video").mkdir()
        for clip_id in clip_ids:
            shutil.copyfile(videos[clip_id], out / "gt_video" / f"{clip_id}{VIDEO_SUFFIX}")
    with (out / "captions.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["name", "caption"])
        captions = (category.replace("_", " ") for category in categories)
        rows.writerows(zip(clip_ids, captions, strict=True))
    # Whole milliseconds, rounded down: every clip must be that long.
    length_sec = min(map(len, reference)) * MS_PER_SEC // sample_rate_hz / MS_PER_SEC
    options = [f"--audio_length={length_sec:g}"]
    if videos is None or length_sec < DESYNC_SEC:
        options.append("--skip_video_related")
    export = {
        "clip_count": len(reference),
        "sample_rate_hz": sample_rate_hz,
        "audio_length_sec": length_sec,
        "has_videos": videos is not None,
        "options": options,
    }
    (out / "export.json").write_text(json.dumps(export, indent=2) + "\n")
    return options


if __name__ == "__main__":
    run_cli(main)
