"""The clips that are evaluated: records by number, labels, videos and reference audio."""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Float64

from v2s_jax.config import Config, ModelConfig
from v2s_jax.datasets import ClipDataset, ClipRecord, select_model_features, waveform_from_int16
from v2s_jax.datasets.folders.manifest import MANIFEST
from v2s_jax.errors import InputError, printable, unknown_name_error
from v2s_jax.evaluation.following import Cues, read_cues
from v2s_jax.evaluation.scorer import ScorerInput
from v2s_jax.evaluation.statistics import ALL_CLIPS, Waveform
from v2s_jax.io import wrap_read_errors
from v2s_jax.json_text import parse_json
from v2s_jax.media import VIDEO_SUFFIXES
from v2s_jax.quantize import dequantize, quantize

logger = logging.getLogger(__name__)

TRAIN = "train"
"""The split that unigram and classifier are fitted on."""
SYNTHETIC = "synthetic"
"""Maker of datasets whose labels and videos are stored next to them."""


class Selection:
    """Some clips of a split by number; only names and lengths are held in memory."""

    def __init__(self, data: ClipDataset, records: Sequence[tuple[ClipDataset, int]]) -> None:
        self.data = data
        self._records = list(records)
        clips = [self[clip] for clip in range(len(self))]
        self.clip_ids = [clip.clip_id for clip in clips]
        self.categories = [clip.category for clip in clips]
        self.samples = [clip.waveform.size for clip in clips]

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, clip: int) -> ClipRecord:
        data, number = self._records[clip]
        return data[number]

    def balanced(self, count: int) -> list[int]:
        """Return the indices of the first `count` clips, balanced over categories."""
        return sorted(round_robin(self.categories)[:count])

    def subset(self, clips: Sequence[int]) -> "Selection":
        """Return these clips, in this order."""
        return Selection(self.data, [self._records[clip] for clip in clips])


def round_robin(categories: Sequence[str]) -> list[int]:
    """Return the indices of clips of these categories so that categories take turns.

    Example: of drum, drum, dog they are 0, 2, 1.
    """
    turns = [categories[:clip].count(category) for clip, category in enumerate(categories)]
    return sorted(range(len(turns)), key=lambda clip: turns[clip])


def select(data: ClipDataset, categories: Sequence[str], per_category: int) -> Selection:
    """Return the first `per_category` clips of each category; fewer where there are fewer.

    A category without clips in the split is left out with a warning. Raises InputError where no
    category has any, and for less than one clip.
    """
    if per_category < 1:
        raise InputError(f"--clips {per_category}: use at least 1")
    present = [category for category in categories if data.has_category(category)]
    if not present:
        raise InputError(
            f"{data.directory}: no clip of {', '.join(categories)} in split {data.split}: choose "
            "another --split or --category"
        )
    if missing := [printable(category) for category in categories if category not in present]:
        logger.warning("warning: no clip in split %s: %s", data.split, ", ".join(missing))
    records = []
    for category in present:
        members = data.of_category(category)
        records += [(members, number) for number in range(min(per_category, len(members)))]
    return Selection(data, records)


def check_categories(data: ClipDataset, names: Sequence[str]) -> tuple[str, ...]:
    """Return these categories, or all if none is named; raise InputError for an unknown one."""
    for category in names:
        if category not in data.categories:
            raise unknown_name_error(
                "--category", category, data.categories, f"{data.directory} holds"
            )
    return tuple(names) or data.categories


def scorer_input(record: ClipRecord, model: ModelConfig) -> ScorerInput:
    """Return a clip for the scorer, in the model's levels."""
    levels = quantize(waveform_from_int16(record.waveform), model.q_levels, model.quantization)
    return ScorerInput(levels, select_model_features(record, model), f"clip {record.clip_id}")


def reference_audio(record: ClipRecord, model: ModelConfig) -> Waveform:
    """Return the clip's audio in the model's levels: the best that it could generate."""
    return requantize(waveform_from_int16(record.waveform), model)


def requantize(waveform: Waveform, model: ModelConfig) -> Waveform:
    """Return a waveform as it sounds in the model's levels."""
    levels = quantize(waveform, model.q_levels, model.quantization)
    return dequantize(levels, model.q_levels, model.quantization)


class Label(NamedTuple):
    """The causes of a synthetic clip, from its label."""

    events_sec: Float64[np.ndarray, " events"]
    """Times of audible events, from the start of the clip."""
    state: dict[str, Any]
    """Parameters that the clip was rendered from, such as `distance_m`."""


def is_synthetic(data: ClipDataset) -> bool:
    """Say whether the clips of a dataset were rendered, not recorded."""
    return data.metadata["made_by"].get("data_set") == SYNTHETIC


def describe_data(data: ClipDataset) -> str:
    """Return the dataset's name, marked where it is synthetic."""
    is_marked = SYNTHETIC in data.name or not is_synthetic(data)
    return data.name if is_marked else f"{data.name} ({SYNTHETIC})"


def read_labels(clips: Selection) -> list[Label] | None:
    """Return the labels of synthetic clips (clips/CATEGORY/CLIP.json), None of others.

    Raises InputError for a label that is missing, or that belongs to another dataset.
    """
    if not is_synthetic(clips.data):
        return None
    folder, made_by = clips.data.directory.parent.parent / "clips", clips.data.metadata["made_by"]
    return [
        _read_label(folder / category / f"{clip_id}.json", made_by)
        for clip_id, category in zip(clips.clip_ids, clips.categories, strict=True)
    ]


def _read_label(path: epath.Path, made_by: dict[str, Any]) -> Label:
    if not path.exists():
        raise InputError(
            f"{path}: not found: event times are known for synthetic data only; make it with "
            "`v2s prepare synthetic` and keep its clips next to it"
        )
    again = "make the dataset again with --overwrite"
    try:
        content = parse_json(path.read_text())
        label = Label(np.array(content["events_sec"], np.float64), dict(content["state"]))
        recipe = content["recipe"]["seed"], content["recipe"]["generator"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the label of a clip: {again}") from error
    if recipe != (made_by.get("seed"), made_by.get("generator")):
        raise InputError(f"{path}: made with another seed or generator than the dataset: {again}")
    return label


@dataclass(frozen=True)
class ReferenceClips:
    """What is known of the evaluated clips, whatever the model."""

    data_name: str
    clip_ids: list[str]
    categories: list[str]
    audio: list[Waveform]
    """Reference audio in the models' levels."""
    labels: list[Label] | None
    """Causes of synthetic clips; None of recorded ones."""
    probe: str | None
    """The probe that a synthetic dataset was made for (data/README.md); None of others."""
    config: Config
    """Clock, levels and quantiser, which all models share."""
    seed: int
    """For shuffled controls, noise and intervals."""
    cues: Cues | str
    """What the audio should follow, or why nothing is known of it."""

    def subset(self, clips: Sequence[int]) -> "ReferenceClips":
        """Return some of the clips, in this order."""
        cues = self.cues
        if not isinstance(cues, str):
            cues = cues._replace(curves=[cues.curves[clip] for clip in clips])
        return replace(
            self,
            cues=cues,
            clip_ids=[self.clip_ids[clip] for clip in clips],
            categories=[self.categories[clip] for clip in clips],
            audio=[self.audio[clip] for clip in clips],
            labels=None if self.labels is None else [self.labels[clip] for clip in clips],
        )

    @property
    def events_sec(self) -> list[Float64[np.ndarray, " _"]] | None:
        """Times of audible events; None where they are unknown."""
        return None if self.labels is None else [label.events_sec for label in self.labels]

    @property
    def groups(self) -> dict[str, list[int]]:
        """The clips of each category, and all clips."""
        groups = {category: self._members(category) for category in sorted(set(self.categories))}
        return groups | {ALL_CLIPS: list(range(len(self.clip_ids)))}

    @property
    def groups_with_events(self) -> dict[str, list[int]]:
        """The clips of each category that has events, or whose events are unknown, and all these.

        Empty where no category has any.
        """
        events = self.events_sec
        groups = {
            category: members
            for category, members in self.groups.items()
            if category != ALL_CLIPS
            and (events is None or any(events[clip].size for clip in members))
        }
        return groups and groups | {ALL_CLIPS: sorted(itertools.chain(*groups.values()))}

    def _members(self, category: str) -> list[int]:
        return [clip for clip, name in enumerate(self.categories) if name == category]


def read_reference_clips(
    config: Config, clips: Selection, labels: list[Label] | None, seed: int
) -> ReferenceClips:
    """Read the reference audio of clips, in the levels that all models share, and their cues."""
    probe = clips.data.metadata["made_by"].get("probe") if labels is not None else None
    audio, motions = [], []
    for clip in range(len(clips)):
        record = clips[clip]
        audio.append(reference_audio(record, config.model))
        motions.append(record.motion)
    return ReferenceClips(
        clips.data.name,
        clips.clip_ids,
        clips.categories,
        audio,
        labels,
        probe,
        config,
        seed,
        read_cues(clips.data.metadata["extractor"], motions),
    )


class ClipVideo(NamedTuple):
    """A clip's video, and how long one pass of it lasts in a clip that repeats it."""

    path: Path
    pass_sec: float


def find_videos(clips: Selection, folder: Path | None) -> dict[str, ClipVideo]:
    """Return the videos of clips that are found, by clip.

    Those of synthetic datasets are next to them (clips/CATEGORY/CLIP.mp4). Those of a dataset made
    from a folder are found in `folder`, unless it is None, by the manifest; missing files are left
    out. Raises InputError when `folder` or the manifest cannot be used, or no file is found.
    """
    root = Path(str(clips.data.directory)).parent
    if folder is None:
        return _find_next_to_dataset(clips, root.parent / "clips")
    if not folder.is_dir():
        raise InputError(f"--videos {folder}: no such folder: give that of the videos")
    videos = _find_listed(clips, folder, root / MANIFEST)
    if clips.clip_ids and not videos:
        raise InputError(
            f"--videos {folder}: has none of the {len(clips)} clips: give the folder that the "
            "dataset was made from"
        )
    return videos


def _find_listed(clips: Selection, folder: Path, manifest: Path) -> dict[str, ClipVideo]:
    with wrap_read_errors(manifest):
        lines = manifest.read_text(encoding="utf-8").splitlines()
    videos = {}
    try:
        for row in map(parse_json, lines):
            if row["clip_id"] in clips.clip_ids and row["status"] == "used":
                pass_sec = float(row["video_frames"] / clips.data.clock.fps)
                videos[row["clip_id"]] = ClipVideo(folder / row["source"], pass_sec)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{manifest}: not a manifest: make the dataset again") from error
    return {clip_id: video for clip_id, video in videos.items() if video.path.is_file()}


def _find_next_to_dataset(clips: Selection, folder: Path) -> dict[str, ClipVideo]:
    rate_hz = clips.data.clock.sample_rate_hz
    videos: dict[str, ClipVideo] = {}
    rows = zip(clips.clip_ids, clips.categories, clips.samples, strict=True)
    for clip_id, category, samples in rows:
        paths = (folder / category / f"{clip_id}{suffix}" for suffix in sorted(VIDEO_SUFFIXES))
        for path in filter(Path.is_file, paths):
            videos.setdefault(clip_id, ClipVideo(path, samples / rate_hz))
    return videos
