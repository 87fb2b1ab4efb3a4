"""What an evaluation found, as one page that needs nothing else: report.html.

First what was compared, then every table and picture as they were shown, then clips: players, key
frames over waveforms and spectrograms, true events and the onsets that were found.
"""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from v2s_jax.config import Clock
from v2s_jax.evaluation.report.clip_figure import PLOT_ACROSS, PLOT_FROM
from v2s_jax.evaluation.report.clip_media import ClipMedia, ClipShown, clip_media
from v2s_jax.evaluation.report.table import Table
from v2s_jax.evaluation.selection import round_robin
from v2s_jax.human_eval.pages import data_url, write_page

TEMPLATE = Path(__file__).with_name("page.html")
PAGE_FILE = "report.html"
LIMIT_BYTES = 20_000_000
"""Largest page: what mail and browsers still take without ado (ours). Clips shrink to fit."""
FRAME_BYTES = 50_000
"""Room for the template and what pages share."""
PICTURES_SHARE = 0.25
"""Part of the page that pictures of tables get at most (ours): nothing else shows the clips."""
TEXT_BYTES = 4_000
"""Room for the text and tags around a clip's media."""
APART_SEC = 0.06
"""How far a picture may be from its sound before it is set anew: less than a video frame, 64 ms."""
CLIPS = "clips"
"""Name of the last section."""
NO_CLIPS = "None: <code>sounds</code> is not among --parts, or --report-clips is 0."
KEYS = (
    "Keys <kbd>1</kbd> to <kbd>9</kbd> play and stop the sounds of the clip that has the focus, or "
    "that played last. Another sound of the same clip goes on at the same instant; a click on a "
    "figure plays from there."
)


def write_report_page(
    path: Path,
    title: str,
    about: Mapping[str, Sequence[str]],
    sections: Mapping[str, Sequence[Table | Path]],
    clips: Sequence[ClipShown],
    clock: Clock,
    limit_bytes: int = LIMIT_BYTES,
) -> None:
    """Write the page, of at most `limit_bytes`; it appears when it is whole.

    `about` says what was compared, by name; `sections` hold tables and the paths of pictures in
    their order. Pictures that do not fit are left out; clips are compressed more, then left out:
    the page says so.

    Raises InputError when it cannot be written.
    """
    drawn = _pictures(sections, round(PICTURES_SHARE * limit_bytes))
    above = "".join(
        [
            f"<h1>{html.escape(title)}</h1>\n",
            '<dl class="about">\n',
            *(_told(name, lines) for name, lines in about.items()),
            "</dl>\n",
            _links([*sections, CLIPS]),
            *(_heading(n, name) + _items(sections[name], drawn) for n, name in enumerate(sections)),
            _heading(len(sections), CLIPS),
        ]
    )
    room = limit_bytes - len(above.encode()) - FRAME_BYTES
    data = {"from": PLOT_FROM, "across": PLOT_ACROSS, "apart_sec": APART_SEC}
    write_page(path, TEMPLATE, data, title, above + _clips(clips, clock, room))


def _told(name: str, lines: Sequence[str]) -> str:
    told = "".join(f"<dd>{html.escape(line)}</dd>" for line in lines)
    return f"<dt>{html.escape(name)}</dt>{told}\n"


def _links(names: Sequence[str]) -> str:
    links = (
        f'<a href="#part-{number}">{html.escape(name.capitalize())}</a>'
        for number, name in enumerate(names)
    )
    return f"<nav>{' '.join(links)}</nav>\n"


def _heading(number: int, name: str) -> str:
    return f'<h2 id="part-{number}">{html.escape(name.capitalize())}</h2>\n'


def _pictures(
    sections: Mapping[str, Sequence[Table | Path]], room_bytes: int
) -> dict[Path, str | None]:
    """Return pictures as URLs that hold them, None for those that the first ones leave no room."""
    urls: dict[Path, str | None] = {}
    for path in (item for items in sections.values() for item in items if isinstance(item, Path)):
        url = data_url(path, "image/png")
        urls[path] = url if len(url) <= room_bytes else None
        room_bytes -= len(urls[path] or "")
    return urls


def _items(items: Sequence[Table | Path], drawn: Mapping[Path, str | None]) -> str:
    return "".join(
        item.as_html() if isinstance(item, Table) else _picture(item, drawn[item]) for item in items
    )


def _picture(path: Path, url: str | None) -> str:
    if url is None:
        name = html.escape(path.name)
        return f"<p><strong>Left out, since the page is full: {name}, see that file.</strong></p>\n"
    return (
        f'<figure class="wide" tabindex="0"><img src="{url}" '
        f'alt="{html.escape(path.stem)} as a picture: the numbers of the tables above"></figure>\n'
    )


def _clips(clips: Sequence[ClipShown], clock: Clock, room_bytes: int) -> str:
    """Return as many clips as there is room for; each gets its share of what is left.

    What a share has no room for leaves more to the next ones, so the first clips of each category,
    which come last, are the last to be left out.
    """
    if not clips:
        return f"<p>{NO_CLIPS}</p>\n"
    written: dict[int, str] = {}
    order = round_robin([clip.category for clip in clips])[::-1]
    room_bytes -= 2 * sum(len(html.escape(clip.clip_id).encode()) for clip in clips)  # in notes
    for done, place in enumerate(tqdm(order, unit="clip", desc="report.html")):
        share = room_bytes // (len(clips) - done)
        made = clip_media(clips[place], clock, share - TEXT_BYTES)
        if made is not None:
            written[place] = _clip(clips[place], made, clock)
            room_bytes -= len(written[place].encode())
    left_out = [clip.clip_id for place, clip in enumerate(clips) if place not in written]
    notes = [f'<p class="scripted" hidden>{KEYS}</p>\n']
    silent = [clip.clip_id for clip in clips if clip.video is None]
    if silent:
        notes.append(
            "<p>Sounds only, since the videos are not beside the data (see --videos): "
            f"{_listed(silent)}.</p>\n"
        )
    if left_out:
        notes.append(
            f"<p><strong>Left out, since the page is full: {_listed(left_out)}.</strong></p>\n"
        )
    return "".join(notes + [written[place] for place in sorted(written)])


def _listed(clip_ids: Sequence[str]) -> str:
    return f"{len(clip_ids)} ({html.escape(', '.join(clip_ids))})"


def _clip(clip: ClipShown, made: ClipMedia, clock: Clock) -> str:
    name = html.escape(clip.clip_id)
    seconds = max(len(sound.waveform) for sound in clip.sounds) / clock.sample_rate_hz
    video = ""
    if made.video is not None:
        video = (
            f'<video src="{made.video}" aria-label="{name}, silent" preload="auto" controls muted '
            "playsinline></video>\n"
        )
    players = "".join(
        f'<li><span><kbd class="scripted" hidden>{number}</kbd> {html.escape(sound.name)}</span>'
        f'<audio src="{url}" aria-label="{name}: {html.escape(sound.name)}" preload="metadata" '
        "controls></audio></li>\n"
        for number, (sound, url) in enumerate(zip(clip.sounds, made.sounds, strict=True), 1)
    )
    found = ", ".join(f"{sound.name} {len(sound.onsets_sec)}" for sound in clip.sounds)
    drawn = html.escape(
        f"Waveform and log-mel spectrogram of each sound of {clip.clip_id}; "
        f"{clip.wanted.name}: {len(clip.wanted.times_sec)}; onsets found: {found}"
    )
    return (
        f'<article class="clip" data-sec="{seconds:.6f}">\n<h3>{name} '
        f"<small>{html.escape(clip.category)}, {seconds:.2f} s</small></h3>\n"
        f'<div class="players">\n{video}<ol class="sounds">\n{players}</ol>\n</div>\n'
        f'<div class="wide" tabindex="0" role="region" aria-label="{name}, drawn">'
        f'<div class="drawn"><img src="{made.figure}" alt="{drawn}">'
        '<span class="playhead" hidden></span></div></div>\n'
        f'<p class="dim">{html.escape(made.told)}</p>\n</article>\n'
    )
