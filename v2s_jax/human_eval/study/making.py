"""Make the pages of a study from sounded videos, as sample.py leaves them, and the originals."""

import hashlib
import random
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from tqdm import tqdm

from v2s_jax import media
from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.human_eval.pages import data_url, write_page
from v2s_jax.human_eval.study.key import (
    CHOICE,
    KEY_FILE,
    MISMATCHED,
    ORIGINAL,
    QUESTIONS,
    REAL_OR_FAKE,
    Item,
    Key,
    write_key,
)
from v2s_jax.io import check_writable

TEMPLATE = Path(__file__).with_name("page.html")
SOUNDED = "_sound"
"""How sample.py's names end, before the suffix."""
SUFFIXES = (".mp4", ".mkv")
VIDEO_FOLDER = "videos"
"""A folder of that name stands inside the one that names a category (VEGAS's layout)."""
PICTURE_WIDTH_PX = 320
"""Widest picture on a page, which holds every video (ours)."""
MOST_MODELS = 8
"""On one page: as many as have a letter in page.html."""
NAME_DIGITS = 8
"""Of the names of items and options."""
FIELDS = ("study", "page", "rater", "place", "item", "question", "shown", "answer", "seconds")
"""Columns of the CSV that a page gives out. `place` counts what a person was shown from 1, `shown`
are the options from left to right, `seconds` is the time to the answer."""


@dataclass(frozen=True)
class Clip:
    """One video with a sound of each model."""

    name: str
    category: str
    original: media.Video
    generated: dict[str, Path]
    """By model."""


@dataclass
class _Pages:
    """What is on each page, and the key to it."""

    random: random.Random
    shown: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    items: list[Item] = field(default_factory=list)

    def add(self, page: str, clip: Clip, players: Mapping[str, str]) -> None:
        """Add an item whose options are these players, in an order that tells nothing."""
        names = {self._name(): model for model in self._shuffled(players)}
        item = Item(self._name(), page, clip.name, clip.category, names)
        self.items.append(item)
        options = [{"id": name, "data": players[model]} for name, model in names.items()]
        self.shown[page].append({"id": item.item, "options": options})

    def _name(self) -> str:
        return f"{self.random.getrandbits(4 * NAME_DIGITS):0{NAME_DIGITS}x}"

    def _shuffled(self, players: Mapping[str, str]) -> list[str]:
        models = sorted(players)
        self.random.shuffle(models)
        return models


def make_study(
    sounds: Mapping[str, Path], videos: Path, out: Path, clips: int | None, seed: int
) -> list[Path]:
    """Write pages and key to `out`; return the pages.

    `sounds` has a folder of NAME_sound.mp4 for each model, `videos` is the folder of the originals
    (CLASS/NAME.mp4), whose own sound serves as control. At most `clips` of those that all models
    sounded are taken, drawn with `seed`, which draws every name too. With one model there is no
    choice page; without originals that sound, no page of real or fake.

    Raises InputError for more models than a page has room for, when nothing is common to all, and
    when something cannot be read or written.
    """
    if taken := {ORIGINAL, MISMATCHED} & set(sounds):
        raise InputError(f"{taken.pop()}: the name of a control: name the model otherwise")
    if len(sounds) > MOST_MODELS:
        raise InputError(f"{len(sounds)} models: a page compares at most {MOST_MODELS}: give fewer")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: is not an empty folder: choose another --out")
    check_writable(out)
    drawn = random.Random(seed)
    chosen = _chosen(find_clips(sounds, videos), clips, drawn)
    has_control = any(clip.original.has_sound for clip in chosen)
    wanted = [CHOICE] * (len(sounds) > 1) + [REAL_OR_FAKE] * has_control
    if not wanted:
        raise InputError(
            f"{videos}: no original there sounds, and with one model there is nothing to choose: "
            "give videos with sound, or more --sounds"
        )
    pages = _Pages(drawn)
    for clip in tqdm(chosen, unit="clip", desc="clips"):
        made = {model: _player(path) for model, path in clip.generated.items()}
        if CHOICE in wanted:
            pages.add(CHOICE, clip, made)
        if REAL_OR_FAKE in wanted:
            for name, player in (made | _controls(clip, chosen, drawn)).items():
                pages.add(REAL_OR_FAKE, clip, {name: player})
    named = "/".join(item.item for item in pages.items)
    study = hashlib.sha256(named.encode()).hexdigest()[:NAME_DIGITS]
    key = Key(study, list(sounds), pages.items)
    write_key(out / KEY_FILE, key)
    written = []
    for page in wanted:
        written.append(out / f"{page}.html")
        data = {"study": key.study, "page": page, "fields": FIELDS, "items": pages.shown[page]}
        write_page(written[-1], TEMPLATE, data | {"questions": QUESTIONS[page]})
    return written


def find_clips(sounds: Mapping[str, Path], videos: Path) -> list[Clip]:
    """Return the clips that every model has sounded, by name; raise InputError if there is none."""
    by_model = {model: _sounded(folder) for model, folder in sounds.items()}
    names = set.intersection(*(set(found) for found in by_model.values()))
    if not names:
        counts = ", ".join(f"{folder} {len(by_model[model])}" for model, folder in sounds.items())
        raise InputError(
            f"no video that every model sounded (NAME{SOUNDED}.mp4: {counts}): sound the same "
            "videos with each"
        )
    originals: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(videos.rglob("*")):
        if path.suffix.lower() in media.VIDEO_SUFFIXES and path.stem in names:
            originals[path.stem].append(path)
    clips = []
    for name in sorted(names):
        found = originals[name]
        if len(found) != 1:
            told = "not there" if not found else f"there twice ({found[0]}, {found[1]})"
            raise InputError(
                f"{videos}: the original of {name}{SOUNDED} is {told}: give the folder of the "
                "videos that were sounded, each name once"
            )
        folder = found[0].parent
        category = (folder.parent if folder.name == VIDEO_FOLDER else folder).name
        generated = {model: paths[name] for model, paths in by_model.items()}
        clips.append(Clip(name, category, media.probe(found[0]), generated))
    return clips


def _sounded(folder: Path) -> dict[str, Path]:
    """Return the videos that sample.py left in a folder, by the source's name."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: give the --out of v2s sample")
    return {
        path.stem.removesuffix(SOUNDED): path
        for path in sorted(folder.iterdir())
        if path.suffix in SUFFIXES and path.stem.endswith(SOUNDED)
    }


def _chosen(clips: list[Clip], count: int | None, drawn: random.Random) -> list[Clip]:
    if count is None or count >= len(clips):
        return clips
    return sorted(drawn.sample(clips, count), key=lambda clip: clip.name)


def _controls(clip: Clip, clips: list[Clip], drawn: random.Random) -> dict[str, str]:
    """Return the clip with its own sound, and with that of another one of its category."""
    if not clip.original.has_sound:
        return {}
    clock = Clock()
    own = media.read_audio(clip.original, clock)
    controls = {ORIGINAL: _joined(clip, own, clock)}
    others = [
        other
        for other in clips
        if other.category == clip.category and other is not clip and other.original.has_sound
    ]
    if others:
        other = media.read_audio(drawn.choice(others).original, clock)
        controls[MISMATCHED] = _joined(clip, np.resize(other, own.shape), clock)
    return controls


def _joined(clip: Clip, waveform: Float32[np.ndarray, " samples"], clock: Clock) -> str:
    """Return the clip's pictures with a sound, at the rate at which models sound."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "sound.wav"
        media.write_wav(wav, waveform, clock.sample_rate_hz)
        return _player(media.mux(clip.original, wav, Path(folder) / "joined"))


def _player(path: Path) -> str:
    """Return a sounded video as a URL that holds it, small and in what every browser plays."""
    video = media.probe(path)
    whole = float(video.duration_sec)
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "video.mp4"
        media.write_part(video, 0.0, whole, small, picture_width_px=PICTURE_WIDTH_PX)
        return data_url(small, "video/mp4")
