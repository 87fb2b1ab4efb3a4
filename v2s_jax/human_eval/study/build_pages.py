"""Build the pages of a study from the videos of `v2s sample`, and the originals."""

import hashlib
import random
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from v2s_jax import media
from v2s_jax.config import Clock
from v2s_jax.errors import InputError, require_extra
from v2s_jax.human_eval.study.answers import (
    ANSWER_FIELDS,
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
from v2s_jax.web_pages import data_url, write_page

TEMPLATE = Path(__file__).with_name("page.html")
GENERATED_SUFFIX = "_sound"
"""Ends the names that `v2s sample` gives to videos, before their suffix."""
SUFFIXES = (".mp4", ".mkv")
VIDEO_FOLDER = "videos"
"""A folder inside that of a category (VEGAS's layout)."""
MAX_WIDTH_PX = 320
"""Width of the videos on a page, which embeds all of them (ours)."""
MAX_MODELS = 8
"""Models on a page: the letters in page.html."""
NAME_DIGITS = 8
"""Hexadecimal digits of random names."""


@dataclass(frozen=True)
class Clip:
    """A video, and its copy with the audio of each model."""

    name: str
    category: str
    original: media.Video
    generated: dict[str, Path]
    """By model."""


@dataclass
class _Pages:
    """The items of each page, and those of the key."""

    random: random.Random
    by_page: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    items: list[Item] = field(default_factory=list)

    def add(self, page: str, clip: Clip, videos: Mapping[str, str]) -> None:
        """Add an item whose options are these videos, in random order under random names."""
        models = sorted(videos)
        self.random.shuffle(models)
        names = {self._random_name(): model for model in models}
        item = Item(self._random_name(), page, clip.name, clip.category, names)
        self.items.append(item)
        options = [{"id": name, "data": videos[model]} for name, model in names.items()]
        self.by_page[page].append({"id": item.item, "options": options})

    def _random_name(self) -> str:
        return f"{self.random.getrandbits(4 * NAME_DIGITS):0{NAME_DIGITS}x}"


def make_study(
    generated: Mapping[str, Path], videos: Path, out: Path, max_clips: int | None, seed: int
) -> list[Path]:
    """Write the pages of a study and its key.

    One model has no choice page; originals without audio have no page of real or fake.

    Args:
        generated: For each model the folder with its NAME_sound.mp4.
        videos: Folder of the originals, CLASS/NAME.mp4, whose own audio is the control.
        out: Folder to write, empty or missing.
        max_clips: Draw so many of the clips that all models have; None takes all.
        seed: Draws clips, controls and names.

    Returns:
        The paths of the pages.

    Raises:
        InputError: There are too many models, no clip that all have, or a file cannot be read or
            written.
    """
    require_extra("eval", "jinja2")
    if reserved := {ORIGINAL, MISMATCHED} & set(generated):
        raise InputError(f"{reserved.pop()}: the name of a control: rename the model")
    if len(generated) > MAX_MODELS:
        raise InputError(f"{len(generated)} models: a page has at most {MAX_MODELS}: give fewer")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: is not an empty folder: choose another --out")
    check_writable(out)
    rng = random.Random(seed)
    clips = find_clips(generated, videos)
    if max_clips is not None and max_clips < len(clips):
        clips = sorted(rng.sample(clips, max_clips), key=lambda clip: clip.name)
    has_choice = len(generated) > 1
    has_control = any(clip.original.has_audio for clip in clips)
    if not has_choice and not has_control:
        raise InputError(
            f"{videos}: no original there has audio, and one model leaves no choice: give videos "
            "with audio, or more --sounds"
        )
    pages = _Pages(rng)
    for clip in tqdm(clips, unit="clip", desc="clips"):
        players = {model: _embed(path) for model, path in clip.generated.items()}
        if has_choice:
            pages.add(CHOICE, clip, players)
        if has_control:
            for name, player in (players | _controls(clip, clips, rng)).items():
                pages.add(REAL_OR_FAKE, clip, {name: player})
    names = "/".join(item.item for item in pages.items)
    study = hashlib.sha256(names.encode()).hexdigest()[:NAME_DIGITS]
    write_key(out / KEY_FILE, Key(study, list(generated), pages.items))
    for page, items in pages.by_page.items():
        data = {
            "storage_key": f"v2s_jax study {study} {page}",
            "study": study,
            "page": page,
            "fields": ANSWER_FIELDS,
            "questions": QUESTIONS[page],
            "items": items,
        }
        write_page(out / f"{page}.html", TEMPLATE, page=data)
    return [out / f"{page}.html" for page in pages.by_page]


def find_clips(generated: Mapping[str, Path], videos: Path) -> list[Clip]:
    """Return the clips that every model has, by the path inside the output folders of the models.

    Raises InputError when there is none.
    """
    by_model = {model: _find_generated(folder) for model, folder in generated.items()}
    names = set.intersection(*(set(paths) for paths in by_model.values()))
    if not names:
        counts = ", ".join(f"{generated[model]} {len(paths)}" for model, paths in by_model.items())
        raise InputError(
            f"no video that every model has (NAME{GENERATED_SUFFIX}.mp4: {counts}): run v2s sample "
            "on the same videos with each"
        )
    originals = _find_originals(videos, names)
    clips = []
    for name in sorted(names):
        path = originals[name]
        folder = path.parent
        category = (folder.parent if folder.name == VIDEO_FOLDER else folder).name
        of_models = {model: found[name] for model, found in by_model.items()}
        clips.append(Clip(name.as_posix(), category, media.probe(path), of_models))
    return clips


def _find_originals(videos: Path, names: Set[Path]) -> dict[Path, Path]:
    """Return the original of each name, which is the end of its path without the suffix.

    A file at exactly that path in `videos` comes first. Raises InputError for a name without one
    original.
    """
    found: dict[Path, list[Path]] = {name: [] for name in sorted(names)}
    for path in sorted(videos.rglob("*")):
        if path.suffix.lower() not in media.VIDEO_SUFFIXES:
            continue
        parts = path.relative_to(videos).parent.joinpath(path.stem).parts
        for start in range(len(parts)):
            name = Path(*parts[start:])
            if name in found:
                found[name].append(path)
    originals = {}
    for name, paths in found.items():
        exact = [path for path in paths if path.parent / path.stem == videos / name] or paths
        if len(exact) != 1:
            problem = f"there twice ({exact[0]}, {exact[1]})" if exact else "missing"
            raise InputError(
                f"{videos}: the original of {name}{GENERATED_SUFFIX} is {problem}: give the folder "
                "of the videos that v2s sample was run on, each name once"
            )
        originals[name] = exact[0]
    return originals


def _find_generated(folder: Path) -> dict[Path, Path]:
    """Return the videos that `v2s sample` wrote to a folder, by the path of the original in it."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: give the --out of v2s sample")
    return {
        path.relative_to(folder).with_name(path.stem.removesuffix(GENERATED_SUFFIX)): path
        for path in sorted(folder.rglob("*"))
        if path.suffix in SUFFIXES and path.stem.endswith(GENERATED_SUFFIX)
    }


def _controls(clip: Clip, clips: list[Clip], rng: random.Random) -> dict[str, str]:
    """Return the clip with its original audio, and with that of another one of its category."""
    if not clip.original.has_audio:
        return {}
    clock = Clock()
    sounds = {ORIGINAL: media.read_audio(clip.original, clock)}
    others = [
        other
        for other in clips
        if other.category == clip.category and other is not clip and other.original.has_audio
    ]
    if others:
        other_audio = media.read_audio(rng.choice(others).original, clock)
        sounds[MISMATCHED] = np.resize(other_audio, sounds[ORIGINAL].shape)
    controls = {}
    for name, waveform in sounds.items():
        with tempfile.TemporaryDirectory() as folder:
            wav = Path(folder) / "audio.wav"
            media.write_wav(wav, waveform, clock.sample_rate_hz)
            controls[name] = _embed(media.mux(clip.original, wav, Path(folder) / "video").path)
    return controls


def _embed(path: Path) -> str:
    """Return a video as a data URL, small and in a format that every browser plays."""
    video = media.probe(path)
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "video.mp4"
        duration_sec = float(video.duration_sec)
        # Metadata would tell raters which sound is generated.
        media.write_part(
            video, 0.0, duration_sec, small, max_width_px=MAX_WIDTH_PX, with_metadata=False
        )
        return data_url(small, "video/mp4")
