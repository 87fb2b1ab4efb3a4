"""report.html: the evaluation as one self-contained page.

What was compared, then every table and plot, then clips: players, key frames over waveforms and
spectrograms, true events and detected onsets.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from v2s_jax.config import Clock
from v2s_jax.evaluation.clips import round_robin
from v2s_jax.evaluation.report.clip_figure import PLOT_ACROSS, PLOT_FROM
from v2s_jax.evaluation.report.clips import ClipMedia, ReportClip, encode_clip
from v2s_jax.evaluation.report.tables import Table
from v2s_jax.web_pages import data_url, write_page

TEMPLATE = Path(__file__).with_name("report.html")
PAGE_FILE = "report.html"
MAX_BYTES = 20_000_000
"""Largest page: what mail and browsers still accept (ours). Clips are compressed to fit."""
MAX_PLOTS_SHARE = 0.25
"""Part of the page that plots get at most (ours): they are next to it as files, clips are not."""
TEXT_BYTES = 4_000
"""Room for the text and tags around a clip's media."""
MAX_DRIFT_SEC = 0.06
"""How far a video may drift from its audio before it is seeked: less than a video frame, 64 ms."""


@dataclass(frozen=True)
class Plot:
    """A plot on the page; `url` is None where there is no room for it."""

    path: Path
    url: str | None


@dataclass(frozen=True)
class PageClip:
    """A clip with its encoded media."""

    clip: ReportClip
    media: ClipMedia
    duration_sec: float


def write_report_page(
    path: Path,
    title: str,
    about: Mapping[str, Sequence[str]],
    sections: Mapping[str, Sequence[Table | Path]],
    clips: Sequence[ReportClip],
    clock: Clock,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Write the page, of at most `max_bytes`.

    Args:
        path: The file.
        title: Heading of the page.
        about: What was compared: lines by name.
        sections: Tables, and paths of plots, by heading.
        clips: Clips to play. Those that do not fit are compressed more, then left out with a note.
        clock: Sample and frame rate.
        max_bytes: Largest size of the page.

    Raises:
        InputError: The page cannot be written.
    """
    items = _embed_plots(sections, round(MAX_PLOTS_SHARE * max_bytes))
    figure = {"from": PLOT_FROM, "across": PLOT_ACROSS, "max_drift_sec": MAX_DRIFT_SEC}
    names = [clip.clip_id for clip in clips]

    def write(out: Path, page_clips: Sequence[PageClip], left_out: Sequence[str]) -> None:
        without_video = [clip.clip_id for clip in clips if clip.video is None]
        write_page(
            out,
            TEMPLATE,
            title=title,
            about=about,
            sections=items,
            clips=page_clips,
            left_out=left_out,
            without_video=without_video,
            figure=figure,
        )

    with tempfile.TemporaryDirectory() as folder:
        without_clips = Path(folder) / PAGE_FILE
        write(without_clips, [], names)
        used = without_clips.stat().st_size
    page_clips, left_out = _encode_clips(clips, clock, max_bytes - used)
    write(path, page_clips, left_out)


def _embed_plots(
    sections: Mapping[str, Sequence[Table | Path]], max_bytes: int
) -> dict[str, list[Table | Plot]]:
    """Replace paths by plots, embedded as long as there is room."""
    embedded: dict[str, list[Table | Plot]] = {}
    for name, items in sections.items():
        embedded[name] = []
        for item in items:
            if isinstance(item, Table):
                embedded[name].append(item)
                continue
            url = data_url(item, "image/png")
            fits = len(url) <= max_bytes
            max_bytes -= len(url) if fits else 0
            embedded[name].append(Plot(item, url if fits else None))
    return embedded


def _encode_clips(
    clips: Sequence[ReportClip], clock: Clock, max_bytes: int
) -> tuple[list[PageClip], list[str]]:
    """Return the clips that there is room for, and the names of the others.

    Each clip gets an equal share of what is left. What it does not use goes to the next ones, so
    the first clips of each category, which are encoded last, are the last to be left out.
    """
    encoded: dict[int, PageClip] = {}
    order = round_robin([clip.category for clip in clips])[::-1]
    for done, index in enumerate(tqdm(order, unit="clip", desc="report.html", disable=not order)):
        share = max_bytes // (len(clips) - done)
        media = encode_clip(clips[index], clock, share - TEXT_BYTES)
        if media is not None:
            encoded[index] = PageClip(clips[index], media, clips[index].duration_sec(clock))
            max_bytes -= media.bytes + TEXT_BYTES
    left_out = [clip.clip_id for index, clip in enumerate(clips) if index not in encoded]
    return [encoded[index] for index in sorted(encoded)], left_out
