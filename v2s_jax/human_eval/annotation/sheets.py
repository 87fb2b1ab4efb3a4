"""Sheets of questions about audio, and about video: as CSV, and as a page for a browser."""

import random
from collections.abc import Sequence
from pathlib import Path

from v2s_jax.human_eval.annotation.segments import Segment, media_paths
from v2s_jax.human_eval.annotation.votes import (
    ANSWERS,
    MODALITIES,
    OLD_MODALITIES,
    VOTE_FIELDS,
    Modality,
)
from v2s_jax.human_eval.csv_files import write_csv
from v2s_jax.web_pages import data_url, write_page

PAGE_SEGMENTS = 100
"""Segments on a page: about 15 minutes for one annotator (ours)."""

TEMPLATE = Path(__file__).with_name("page.html")
ORDER_SEED = 0  # shuffles segments

QUESTIONS: dict[Modality, tuple[str, dict[str, str]]] = {
    "audio": (
        "Do you hear this: {category}?",
        {
            "yes": "it is the main sound",
            "sort of": "it competes with other sounds",
            "no": "other sounds prevail",
        },
    ),
    "video": (
        "Do you see what makes this sound: {category}?",
        {
            "yes": "all the time",
            "sort of": "some of the time",
            "no": "not, or hardly ever",
        },
    ),
}
"""The question of each modality, and its answers with their meaning in the paper."""

_MEDIA_TYPES: dict[Modality, str] = {"audio": "audio/mp4", "video": "video/mp4"}


def write_sheets(
    folder: Path, segments: Sequence[Segment], media: Path, page_segments: int
) -> list[Path]:
    """Write the sheets and pages of both modalities; return the pages.

    The order is a fixed shuffle, so that adjacent segments of a video are apart.
    """
    shuffled = list(segments)
    random.Random(ORDER_SEED).shuffle(shuffled)
    pages = []
    for modality in MODALITIES:
        for number, first in enumerate(range(0, len(shuffled), page_segments)):
            batch = shuffled[first : first + page_segments]
            stem = f"{modality}-{number:03d}"
            _write_sheet(folder / f"{stem}.csv", modality, batch)
            pages.append(folder / f"{stem}.html")
            _write_page(pages[-1], modality, batch, media)
    return pages


def find_stale_sheets(folder: Path, pages: Sequence[Path]) -> list[Path]:
    """Return the sheets and pages of earlier calls that `pages` have not replaced."""
    stems = {page.stem for page in pages}
    names = (*MODALITIES, *OLD_MODALITIES)
    paths = (path for name in names for path in folder.glob(f"{name}-[0-9]*"))
    return sorted(p for p in paths if p.suffix in (".csv", ".html") and p.stem not in stems)


def _write_sheet(path: Path, modality: Modality, segments: Sequence[Segment]) -> None:
    """Write a sheet without names and answers."""
    rows = ((segment.segment_id, modality, "", "", segment.category) for segment in segments)
    write_csv(path, (*VOTE_FIELDS, "category"), rows)


def _write_page(path: Path, modality: Modality, segments: Sequence[Segment], media: Path) -> None:
    """Write a page with the media of its segments."""
    question, meanings = QUESTIONS[modality]
    items = [
        {
            "id": segment.segment_id,
            "question": question.format(category=segment.category),
            "data": _media_url(modality, segment.segment_id, media),
        }
        for segment in segments
    ]
    page = {
        "storage_key": f"v2s_jax annotation {path.stem} {segments[0].segment_id}",
        "page": path.stem,
        "modality": modality,
        "fields": VOTE_FIELDS,
        "answers": [[answer, meanings[answer]] for answer in ANSWERS],
        "items": items,
    }
    write_page(path, TEMPLATE, page=page)


def _media_url(modality: Modality, segment_id: str, media: Path) -> str:
    video, audio = media_paths(segment_id, media)
    return data_url(audio if modality == "audio" else video, _MEDIA_TYPES[modality])
