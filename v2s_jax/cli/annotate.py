"""Clean raw clips as the paper cleaned AudioSet's: segments, votes on sound and picture, clips.

    v2s annotate cut RAW --out WORK

cuts the clips of RAW (CLASS/FILE.mp4) into segments of 2 s and writes, in WORK, sheets of
questions, for sound alone and for picture alone: sound-000.csv and picture-000.csv, and a page
beside each that shows the segments, takes the answers and gives them out as CSV. Three people
answer each sheet.

    v2s annotate merge RAW --work WORK --votes VOTES --out CLEAN

reads the answers, removes segments, joins neighbours that stay to clips of 2 to 10 s, and writes
these to CLEAN as VEGAS has them, for `v2s prepare folder`.
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
from v2s_jax.datasets.folders.layout import (
    INFO_FILE,
    VIDEO_FOLDER,
    YOUTUBE_COLUMN,
    Source,
    find_sources,
    text_of_name,
)
from v2s_jax.datasets.locking import CORES
from v2s_jax.errors import DecodeError, InputError, KilledError
from v2s_jax.human_eval.annotation.merging import Merged, count, merge, table
from v2s_jax.human_eval.annotation.segments import (
    SEGMENTS_FILE,
    Segment,
    read_segments,
    segments_of,
    write_media,
    write_segments,
)
from v2s_jax.human_eval.annotation.sheets import PAGE_SEGMENTS, old_sheets, write_sheets
from v2s_jax.human_eval.annotation.tables import write_csv
from v2s_jax.human_eval.annotation.votes import VOTES_NEEDED, decide, read_votes
from v2s_jax.io import atomic_directory
from v2s_jax.worker_pool import parallel_map

_YOUTUBE_STEM = re.compile(r"(?=[\w-]{0,10}[A-Z0-9-])([\w-]{11})(?:_\d+.*)?")
"""Names that downloaders give to AudioSet's clips: the id, then often the start. Eleven small
letters are more likely words: of random ids one in 13,000 is so."""

MISSING_SHOWN = 5
"""Files that a message names; beyond them it counts."""

app = tyro.extras.SubcommandApp()


@app.command(name="cut")
@dataclass(frozen=True)
class CutArgs:
    """Cut raw clips into segments, and write the sheets for those who judge them."""

    raw: tyro.conf.Positional[Path]
    """Folder of raw clips, CLASS/FILE.mp4."""
    out: Path
    """Folder that gets segments and sheets. Run again, it keeps the segments that are there."""
    page_segments: int = PAGE_SEGMENTS
    """Segments on each sheet."""
    workers: int = CORES
    """Processes at work."""

    def run(self) -> None:
        """Write everything and say where it is."""
        for option, value in (("page-segments", self.page_segments), ("workers", self.workers)):
            if value < 1:
                raise InputError(f"--{option} {value}: must be at least 1")
        sources, ignored = find_sources(str(self.raw), [str(self.out)])
        tasks = [(source, Path(source.path), self.out / "media") for source in sources]
        shown = tqdm(
            parallel_map(_cut, tasks, self.workers), total=len(tasks), unit="video", desc="segments"
        )
        for entry in ignored:
            tqdm.write(f"left out: {text_of_name(entry.name)}: {entry.reason}")
        segments: list[Segment] = []
        videos = 0
        for source, (found, degeneracy) in zip(sources, shown, strict=True):
            segments += found
            videos += bool(found)
            if degeneracy:
                tqdm.write(f"left out: {text_of_name(source.name)}: {degeneracy}")
        if not segments:
            raise InputError(f"{self.raw}: no video there lasts 2 s: nothing to judge")
        write_segments(self.out / SEGMENTS_FILE, segments)
        pages = write_sheets(self.out, segments, self.out / "media", self.page_segments)
        print(f"{self.out}: {len(segments)} segments of {videos} videos")
        if old := [path.name for path in old_sheets(self.out, pages)]:
            print(f"left from an earlier cut, not to be judged: {', '.join(old)}")
        print(f"{len(pages)} pages, for three people each: {pages[0]} ...")


@app.command(name="merge")
@dataclass(frozen=True)
class MergeArgs:
    """Read the votes, and make clips of the segments that stay."""

    raw: tyro.conf.Positional[Path]
    """The folder of raw clips that was cut."""
    work: Path
    """The folder that `cut` wrote."""
    votes: tuple[Path, ...]
    """CSV files of answers."""
    out: Path
    """Folder that gets the clips, CLASS/videos/video_00000.mp4, and counts.json."""
    one_no_removes: bool = False
    """One no in three votes is enough to remove a segment, not only most of them."""

    def run(self) -> None:
        """Write the clips and the counts, and print these."""
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise InputError(f"{self.out}: is not an empty folder: choose another --out")
        segments = list(read_segments(self.work / SEGMENTS_FILE))
        ids = [segment.segment_id for segment in segments]
        decisions = decide(ids, read_votes(self.votes, ids), one_no_removes=self.one_no_removes)
        if not set(decisions.values()) - {"undecided"}:
            raise InputError(
                f"{len(segments)} segments, none with {VOTES_NEEDED} votes on sound and picture "
                "each: nothing is decided: give all --votes"
            )
        clips = merge(segments, decisions)
        check_raw_files(self.raw, clips)
        rows = count(segments, decisions, clips)
        with atomic_directory(self.out) as temporary:
            write_clips(self.raw, clips, temporary)
            told = json.dumps([vars(row) for row in rows], indent=2) + "\n"
            (temporary / "counts.json").write_text(told)
        print("\n".join(table(rows)))
        print(f"{self.out}: {len(clips)} clips; v2s prepare folder {self.out} --out DIR")


def _cut(task: tuple[Source, Path, Path]) -> tuple[list[Segment], str | None]:
    """Cut one video; return its segments, or what is wrong with it."""
    source, path, folder = task
    if text_of_name(source.name) != source.name:
        return [], "its name is not UTF-8, as lists need it: rename the file"
    try:
        video = media.probe(path)
        if not video.has_sound:
            return [], "holds no sound"
        segments = segments_of(source, video)
    except KilledError:
        raise
    except InputError as error:
        return [], str(error)
    try:  # apart from the above: a full disk is no fault of the video, and ends the run
        for segment in segments:
            write_media(segment, video, folder)
    except DecodeError as error:
        return [], str(error)
    return segments, None if segments else "shorter than 2 s"


def check_raw_files(raw: Path, clips: Sequence[Merged]) -> None:
    """Raise InputError when a raw file that is needed is not there, before anything is written."""
    missing = sorted({clip.source for clip in clips if not (raw / clip.source).is_file()})
    if missing:
        shown = ", ".join(missing[:MISSING_SHOWN])
        more = f" and {len(missing) - MISSING_SHOWN} more" if len(missing) > MISSING_SHOWN else ""
        raise InputError(
            f"{raw}: {shown}{more}: no longer there: give the folder that was cut, with all files"
        )


def write_clips(raw: Path, clips: Sequence[Merged], out: Path) -> None:
    """Write the clips of each category in VEGAS's layout, with the video each was cut from."""
    by_category: dict[str, list[Merged]] = defaultdict(list)
    for clip in clips:
        by_category[clip.category].append(clip)
    with tqdm(total=len(clips), unit="clip", desc="clips") as bar:
        for category, own in by_category.items():
            for number, clip in enumerate(own):
                path = out / category / VIDEO_FOLDER / f"video_{number:05d}.mp4"
                video = media.probe(raw / clip.source)
                media.write_part(video, float(clip.start_sec), float(clip.end_sec), path)
                bar.update()
            _write_info(out / category / INFO_FILE, own)


def _write_info(path: Path, clips: Sequence[Merged]) -> None:
    rows = ((_youtube_id(clip.source), clip.start_sec, clip.end_sec) for clip in clips)
    write_csv(path, (YOUTUBE_COLUMN, "start_second", "end_second"), rows)


def _youtube_id(source: str) -> str:
    """Return the id in a raw file's name, or else the name: one for each raw video."""
    stem = Path(source).stem
    found = _YOUTUBE_STEM.fullmatch(stem)
    return found[1] if found else stem


def main() -> None:
    """Do what the command line says."""
    args: CutArgs | MergeArgs = app.cli(prog="v2s annotate", description=__doc__)
    args.run()
