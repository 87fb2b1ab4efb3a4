"""Clean raw clips as the paper cleaned AudioSet's: segments, votes on audio and video, clips.

    v2s annotate cut RAW --out WORK

cuts the clips of RAW (CLASS/FILE.mp4) into segments of 2 s and writes sheets of questions to WORK,
about audio only and about video only: audio-000.csv and video-000.csv, each with an HTML page that
plays the segments and downloads the answers as CSV. Three people answer each sheet.

    v2s annotate merge RAW --work WORK --votes VOTES --out CLEAN

reads the answers, removes segments, merges adjacent ones that are kept into clips of 2 to 10 s, and
writes these to CLEAN in the layout of VEGAS, for `v2s prepare folder`.
"""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from tqdm import tqdm

from v2s_jax import media
from v2s_jax.cli.arguments import parse_subcommand
from v2s_jax.csv_files import write_csv
from v2s_jax.datasets.folders.layout import (
    INFO_FILE,
    VIDEO_FOLDER,
    YOUTUBE_COLUMN,
    Source,
    displayable_name,
    find_sources,
)
from v2s_jax.errors import (
    DecodeError,
    InputError,
    KilledError,
    file_error,
    printable,
    require_extra,
)
from v2s_jax.human_eval.annotation.segments import (
    SEGMENTS_FILE,
    MergedClip,
    Segment,
    count_decisions,
    format_counts,
    merge,
    read_segments,
    split_into_segments,
    write_media,
    write_segments,
)
from v2s_jax.human_eval.annotation.sheets import (
    PAGE_SEGMENTS,
    VOTES_NEEDED,
    decide,
    read_votes,
    write_sheets,
)
from v2s_jax.io import atomic_directory
from v2s_jax.processes import CPU_COUNT, parallel_map

_YOUTUBE_STEM = re.compile(r"(?=[\w-]{0,10}[A-Z0-9-])([\w-]{11})(?:_\d+.*)?")
"""How downloaders name the clips of AudioSet: the id, often followed by the start. Eleven small
letters are more likely words; only one in 13,000 random ids looks like that."""


@dataclass(frozen=True)
class CutArgs:
    """Cut raw clips into segments, and write the sheets for annotators."""

    raw: tyro.conf.Positional[Path]
    """Folder of raw clips, CLASS/FILE.mp4."""
    out: Path
    """Folder for segments and sheets. Existing segments are kept."""
    page_segments: int = PAGE_SEGMENTS
    """Segments on each sheet."""
    workers: int = CPU_COUNT
    """Worker processes."""

    def run(self) -> None:
        """Write segments, sheets and pages, and print a summary."""
        require_extra("eval", "jinja2")
        for option, value in (("page-segments", self.page_segments), ("workers", self.workers)):
            if value < 1:
                raise InputError(f"--{option} {value}: must be at least 1")
        sources, ignored = find_sources(str(self.raw), [str(self.out)])
        tasks = [(source, self.out / "media") for source in sources]
        results = tqdm(
            parallel_map(_cut, tasks, self.workers), total=len(tasks), unit="video", desc="segments"
        )
        for entry in ignored:
            tqdm.write(printable(f"left out: {displayable_name(entry.name)}: {entry.reason}"))
        segments: list[Segment] = []
        videos = 0
        for source, (cut, problem) in zip(sources, results, strict=True):
            segments += cut
            videos += bool(cut)
            if problem:
                tqdm.write(printable(f"left out: {displayable_name(source.name)}: {problem}"))
        if not segments:
            raise InputError(f"{self.raw}: no video there lasts 2 s: nothing to judge")
        write_segments(self.out / SEGMENTS_FILE, segments)
        pages = write_sheets(self.out, segments, self.out / "media", self.page_segments)
        print(f"{self.out}: {len(segments)} segments of {videos} videos")
        print(f"{len(pages)} pages, for three annotators each: {pages[0]} ...")


@dataclass(frozen=True)
class MergeArgs:
    """Read the votes, and merge the kept segments into clips."""

    raw: tyro.conf.Positional[Path]
    """The folder of raw clips given to `cut`."""
    work: Path
    """The folder that `cut` wrote."""
    votes: tuple[Path, ...]
    """CSV files with answers."""
    out: Path
    """Folder for the clips, CLASS/videos/video_00000.mp4, and counts.json."""
    one_no_removes: bool = False
    """Remove a segment for one no in three votes, instead of two."""

    def run(self) -> None:
        """Write the clips and the counts, and print the counts."""
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise InputError(f"{self.out}: is not an empty folder: choose another --out")
        segments = read_segments(self.work / SEGMENTS_FILE)
        ids = [segment.segment_id for segment in segments]
        decisions = decide(ids, read_votes(self.votes, ids), one_no_removes=self.one_no_removes)
        if not set(decisions.values()) - {"undecided"}:
            raise InputError(
                f"{len(segments)} segments, none with {VOTES_NEEDED} votes on audio and on video: "
                "nothing is decided: give all --votes"
            )
        clips = merge(segments, decisions)
        check_raw_files(self.raw, clips)
        rows = count_decisions(segments, decisions, clips)
        with atomic_directory(self.out) as temporary:
            write_clips(self.raw, clips, temporary)
            text = json.dumps([vars(row) for row in rows], indent=2) + "\n"
            (temporary / "counts.json").write_text(text)
        print("\n".join(format_counts(rows)))
        print(f"{self.out}: {len(clips)} clips; v2s prepare folder {self.out} --out DIR")


def _cut(task: tuple[Source, Path]) -> tuple[list[Segment], str | None]:
    """Cut one video; return its segments, or why there are none."""
    source, folder = task
    if displayable_name(source.name) != source.name:
        return [], "its name is not UTF-8: rename the file"
    try:
        video = media.probe(Path(source.path))
        if not video.has_audio:
            return [], "has no audio"
        segments = split_into_segments(source, video)
    except KilledError:
        raise
    except Exception as error:  # whatever this file causes must not end the run
        return [], file_error(source.path, error)
    try:  # only DecodeError: a full disk, which is not the fault of the video, ends the run
        for segment in segments:
            write_media(segment, video, folder)
    except DecodeError as error:
        return [], str(error)
    return segments, None if segments else "shorter than 2 s"


def check_raw_files(raw: Path, clips: Sequence[MergedClip]) -> None:
    """Raise InputError when a raw file is missing, before anything is written."""
    missing = sorted({clip.source for clip in clips if not (raw / clip.source).is_file()})
    if missing:
        names = ", ".join(missing)
        raise InputError(f"{raw}: {names}: missing: give the folder that was cut, with all files")


def write_clips(raw: Path, clips: Sequence[MergedClip], out: Path) -> None:
    """Write the clips of each category in the layout of VEGAS, with a list of their sources."""
    rows: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    for clip in tqdm(clips, unit="clip", desc="clips"):
        members = rows[clip.category]
        path = out / clip.category / VIDEO_FOLDER / f"video_{len(members):05d}.mp4"
        video = media.probe(raw / clip.source)
        media.write_part(video, float(clip.start_sec), float(clip.end_sec), path)
        members.append((_youtube_id(clip.source), clip.start_sec, clip.end_sec))
    for category, members in rows.items():
        header = YOUTUBE_COLUMN, "start_second", "end_second"
        write_csv(out / category / INFO_FILE, header, members)


def _youtube_id(source: str) -> str:
    """Return the YouTube id in a raw file's name, or else the name."""
    stem = Path(source).stem
    match = _YOUTUBE_STEM.fullmatch(stem)
    return match[1] if match else stem


def main() -> None:
    """Run the subcommand that the command line names."""
    parse_subcommand({"cut": CutArgs, "merge": MergeArgs}, "v2s annotate", __doc__).run()
