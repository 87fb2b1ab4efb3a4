"""The two sheets of each batch of segments: as CSV, and as a page that a browser shows."""

import random
from collections.abc import Sequence
from pathlib import Path

from v2s_jax.human_eval.annotation.segments import Segment, media_paths
from v2s_jax.human_eval.annotation.tables import write_csv
from v2s_jax.human_eval.annotation.votes import ANSWERS, MODALITIES, VOTE_FIELDS, Modality
from v2s_jax.human_eval.pages import data_url, write_page

PAGE_SEGMENTS = 100
"""Segments on a page: about a quarter of an hour for one person (ours)."""

TEMPLATE = Path(__file__).with_name("page.html")
ORDER_SEED = 0  # of the order in which segments are shown

QUESTIONS: dict[Modality, tuple[str, dict[str, str]]] = {
    "sound": (
        "Do you hear this: {category}?",
        {
            "yes": "it is the main sound",
            "sort of": "it competes with other sounds",
            "no": "other sounds prevail",
        },
    ),
    "picture": (
        "Do you see what makes this sound: {category}?",
        {
            "yes": "all the time",
            "sort of": "some of the time",
            "no": "not, or hardly ever",
        },
    ),
}
"""What people are asked; the three answers mean what they mean in the paper."""

_MEDIA_TYPES: dict[Modality, str] = {"sound": "audio/mp4", "picture": "video/mp4"}


def write_sheets(
    folder: Path, segments: Sequence[Segment], media: Path, page_segments: int
) -> list[Path]:
    """Write every sheet and page; return the pages.

    Sound and picture are judged apart, so each has sheets of its own. The order is shuffled, alike
    at each call: segments of one video do not follow each other.
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


def old_sheets(folder: Path, pages: Sequence[Path]) -> list[Path]:
    """Return the sheets and pages of an earlier call there that these pages have not replaced."""
    stems = {page.stem for page in pages}
    found = (path for modality in MODALITIES for path in folder.glob(f"{modality}-[0-9]*"))
    return sorted(p for p in found if p.suffix in (".csv", ".html") and p.stem not in stems)


def _write_sheet(path: Path, modality: Modality, segments: Sequence[Segment]) -> None:
    """Write a sheet that waits for a name and answers."""
    rows = ((segment.segment_id, modality, "", "", segment.category) for segment in segments)
    write_csv(path, (*VOTE_FIELDS, "category"), rows)


def _write_page(path: Path, modality: Modality, segments: Sequence[Segment], media: Path) -> None:
    """Write a page that needs nothing else: the segments' media lie in it."""
    question, meanings = QUESTIONS[modality]
    items = [
        {
            "id": segment.segment_id,
            "question": question.format(category=segment.category),
            "data": _media_url(modality, segment.segment_id, media),
        }
        for segment in segments
    ]
    sheet = {
        "name": path.stem,
        "modality": modality,
        "fields": VOTE_FIELDS,
        "answers": [[answer, meanings[answer]] for answer in ANSWERS],
        "items": items,
    }
    write_page(path, TEMPLATE, sheet)


def _media_url(modality: Modality, segment_id: str, media: Path) -> str:
    picture, sound = media_paths(segment_id, media)
    return data_url(sound if modality == "sound" else picture, _MEDIA_TYPES[modality])
