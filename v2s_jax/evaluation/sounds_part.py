"""Metrics of generated sounds: they are made once for each model, kept, and handed to all metrics.

A metric takes `ModelSounds` and gives plain values for the report; `sound_metrics` names them all.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from v2s_jax.config import Config
from v2s_jax.evaluation.clips import generate_sounds, read_events, true_sounds
from v2s_jax.evaluation.kept import KeptScores
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.selection import Selection
from v2s_jax.evaluation.sync_rows import synchrony
from v2s_jax.generate import Generator
from v2s_jax.generate.progress import sounding_bar
from v2s_jax.media import read_sound_file, write_wav

SYNTHETIC = "synthetic"
"""Name of the data set whose clips have their event times beside them."""


@dataclass(frozen=True)
class ModelSounds:
    """What one model made of some clips, and the clips' own sounds in the model's levels."""

    model: str
    config: Config
    clip_ids: list[str]
    categories: list[str]
    generated: list[Float32[np.ndarray, "_"]]
    true: list[Float32[np.ndarray, "_"]]
    events_sec: list[Float64[np.ndarray, "_"]] | None
    """Times at which something that sounds happens; None where they are not known."""
    seed: int
    """For shuffled controls and intervals."""

    def of_category(self, category: str) -> "ModelSounds":
        """Return those of one category."""
        return self.taken([n for n, name in enumerate(self.categories) if name == category])

    def taken(self, clips: Sequence[int]) -> "ModelSounds":
        """Return those of some clips, in this order."""

        def kept(values: Sequence[Any]) -> list[Any]:
            return [values[clip] for clip in clips]

        events = None if self.events_sec is None else kept(self.events_sec)
        return ModelSounds(
            self.model,
            self.config,
            kept(self.clip_ids),
            kept(self.categories),
            kept(self.generated),
            kept(self.true),
            events,
            self.seed,
        )


def sound_metrics(sounds: ModelSounds) -> dict[str, Any]:
    """Return every metric of a model's sounds, by name."""
    return {"synchrony": synchrony_by_category(sounds)}


def synchrony_by_category(sounds: ModelSounds) -> dict[str, Any]:
    """Return the synchrony of each category that has events, or whose events are not known."""
    found = {}
    for category in sorted(set(sounds.categories)):
        own = sounds.of_category(category)
        if own.events_sec is None or any(events.size for events in own.events_sec):
            table = synchrony(own.generated, own.true, own.events_sec, own.config.clock, own.seed)
            found[category] = asdict(table)
    return found


def known_events(clips: Selection) -> list[Float64[np.ndarray, "_"]] | None:
    """Return the event times of synthetic clips, None of others.

    Raises InputError when they are not beside the clips where they should be.
    """
    if clips.data.metadata["made_by"].get("data_set") != SYNTHETIC:
        return None
    return [read_events(clips.data, clips[clip]) for clip in range(len(clips))]


def make_sounds(
    model: Model,
    clips: Selection,
    events_sec: list[Float64[np.ndarray, "_"]] | None,
    folder: Path,
    kept: KeptScores,
    seed: int,
    temperature: float,
) -> ModelSounds:
    """Make the sound of each clip, unless it lies in `folder` already, as CLIP.wav.

    `kept` lists the wavs that are whole, and what they depend on. Metrics read them back from
    there, so a run that goes on gives the same numbers.
    """
    rate_hz = model.config.clock.sample_rate_hz
    for share in model.shares(clips.categories):
        left = [clip for clip in share.members if clips.clip_ids[clip] not in kept]
        if not left:
            continue
        generator = Generator(share.config, share.params)
        with sounding_bar(generator, sum(clips.samples[clip] for clip in left)) as on_samples:
            for first in range(0, len(left), generator.tile):
                members = left[first : first + generator.tile]
                records = [clips[clip] for clip in members]
                made = generate_sounds(generator, records, seed, temperature, on_samples)
                for clip, waveform in zip(members, made, strict=True):
                    write_wav(_wav(folder, clips.clip_ids[clip]), waveform, rate_hz)
                    kept.add(clips.clip_ids[clip], [])
    records = [clips[clip] for clip in range(len(clips))]
    generated = [read_sound_file(_wav(folder, clip_id), rate_hz) for clip_id in clips.clip_ids]
    return ModelSounds(
        model.name,
        model.config,
        clips.clip_ids,
        clips.categories,
        generated,
        true_sounds(records, model.config.model),
        events_sec,
        seed,
    )


def _wav(folder: Path, clip_id: str) -> Path:
    return folder / f"{clip_id}.wav"
