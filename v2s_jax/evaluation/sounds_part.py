"""Metrics of generated sounds: they are made once for each model, kept, and measured.

Beside the models stand two controls that depend on no model, with the same metrics: white noise as
loud as the true sounds (`noise`), and the true sounds themselves (`true_sound`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from tqdm import tqdm

from v2s_jax.datasets import ClipDataset
from v2s_jax.errors import InputError
from v2s_jax.evaluation.artifacts import THRESHOLDS
from v2s_jax.evaluation.classifier import SoundClassifier
from v2s_jax.evaluation.clip_metrics import ClipMetrics, ReferenceClips, compute_clip_metrics
from v2s_jax.evaluation.clips import Label, generate_sounds, read_label, true_sounds
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.score_cache import ScoreCache
from v2s_jax.evaluation.selection import Selection
from v2s_jax.evaluation.sound_metrics import clip_rows, differences, sound_metrics
from v2s_jax.evaluation.spectral import level_matched_noise
from v2s_jax.media import read_audio_file, write_wav
from v2s_jax.quantize import dequantize, quantize
from v2s_jax.sampling import Sampler
from v2s_jax.sampling.progress import progress_bar

SYNTHETIC = "synthetic"
"""Name of the data set whose clips have their labels beside them."""
NOISE, TRUE_SOUND = "noise", "true_sound"
"""The controls."""

Sounds = Sequence[Float32[np.ndarray, " _"]]


@dataclass(frozen=True)
class ModelSounds:
    """What one model made of some clips."""

    model: str
    clips: ReferenceClips
    generated: list[Float32[np.ndarray, " _"]]

    def taken(self, places: Sequence[int]) -> "ModelSounds":
        """Return those of some clips, in this order."""
        generated = [self.generated[place] for place in places]
        return ModelSounds(self.model, self.clips.taken(places), generated)


def is_synthetic(data: ClipDataset) -> bool:
    """Tell whether the clips of a data set were drawn, not recorded."""
    return data.metadata["made_by"].get("data_set") == SYNTHETIC


def data_told(data: ClipDataset) -> str:
    """Name a data set so that a synthetic one is known for it."""
    told = SYNTHETIC in data.name or not is_synthetic(data)
    return data.name if told else f"{data.name} ({SYNTHETIC})"


def known_labels(clips: Selection) -> list[Label] | None:
    """Return the labels of synthetic clips, None of others.

    Raises InputError when they are not beside the clips where they should be.
    """
    if not is_synthetic(clips.data):
        return None
    return [read_label(clips.data, clips[clip]) for clip in range(len(clips))]


def known_clips(
    model: Model, clips: Selection, labels: list[Label] | None, seed: int
) -> ReferenceClips:
    """Read the true sounds of clips, in the levels of `model`, which are those of all models."""
    probe = clips.data.metadata["made_by"].get("probe") if labels is not None else None
    records = (clips[clip] for clip in range(len(clips)))
    return ReferenceClips(
        clips.data.name,
        clips.clip_ids,
        clips.categories,
        [sound for record in records for sound in true_sounds([record], model.config.model)],
        labels,
        probe,
        model.config,
        seed,
    )


def sounds_part(
    models: Sequence[Model],
    clips: ReferenceClips,
    classifier: SoundClassifier | str,
    make: Callable[[Model], Sounds],
) -> dict[str, Any]:
    """Return every metric of each model's sounds and of the controls, and paired differences.

    `make` gives a model's sound of each clip. A `classifier` that could not be fitted is the
    reason. Raises InputError for sounds that are not of their clip's length, or not finite.
    """
    judge = None if isinstance(classifier, str) else classifier
    noise_sounds = [_in_levels(level_matched_noise(own, clips.seed), clips) for own in clips.true]
    real = compute_clip_metrics("true sounds", clips.true, clips, judge)
    noise = compute_clip_metrics("noise", noise_sounds, clips, judge)
    beside = (real, noise, clips, classifier)
    controls = {
        NOISE: sound_metrics("noise", noise_sounds, noise, *beside),
        TRUE_SOUND: sound_metrics("true_sound", clips.true, real, *beside),
    }
    found: dict[str, Any] = {}
    measured: dict[str, ClipMetrics] = {}
    for model in models:
        sounds = make(model)
        measured[model.name] = compute_clip_metrics(f"sounds of {model.name}", sounds, clips, judge)
        found[model.name] = sound_metrics("generated", sounds, measured[model.name], *beside)
    return {
        "models": found,
        "controls": controls,
        "differences": differences(measured, real, clips),
        "clips": clip_rows(measured, {NOISE: noise, TRUE_SOUND: real}, clips),
        "health_thresholds": THRESHOLDS,
        "seed": clips.seed,
    }


def _in_levels(waveform: Float32[np.ndarray, " samples"], clips: ReferenceClips) -> np.ndarray:
    """Return a sound as a model could have written it."""
    model = clips.config.model
    levels = quantize(waveform, model.q_levels, model.quantization)
    return dequantize(levels, model.q_levels, model.quantization)


def make_sounds(
    model: Model, clips: Selection, folder: Path, kept: ScoreCache, seed: int, temperature: float
) -> list[Float32[np.ndarray, " _"]]:
    """Make the sound of each clip, unless it lies in `folder` already, as CLIP.wav.

    `kept` lists the wavs that are whole, and what they depend on. Metrics read them back from
    there, so a run that goes on gives the same numbers.
    """
    rate_hz = model.config.clock.sample_rate_hz
    for share in model.shares(clips.categories):
        left = [clip for clip in share.members if not _is_made(clips.clip_ids[clip], folder, kept)]
        if not left:
            continue
        sampler = Sampler(share.config, share.params)
        with progress_bar(sampler, sum(clips.samples[clip] for clip in left)) as on_samples:
            for first in range(0, len(left), sampler.batch_size):
                members = left[first : first + sampler.batch_size]
                records = [clips[clip] for clip in members]
                made = generate_sounds(sampler, records, seed, temperature, on_samples)
                for clip, waveform in zip(members, made, strict=True):
                    write_wav(_wav(folder, clips.clip_ids[clip]), waveform, rate_hz)
                    kept.add(clips.clip_ids[clip], [])
    shown = tqdm(clips.clip_ids, desc=f"reading {model.name}", unit="clip", dynamic_ncols=True)
    return [
        _read_back(_wav(folder, clip_id), kept, samples, rate_hz)
        for clip_id, samples in zip(shown, clips.samples, strict=True)
    ]


def _is_made(clip_id: str, folder: Path, kept: ScoreCache) -> bool:
    return clip_id in kept and _wav(folder, clip_id).is_file()


def _read_back(
    path: Path, kept: ScoreCache, samples: int, sample_rate_hz: int
) -> Float32[np.ndarray, " samples"]:
    """Read a sound that was made; raise InputError unless it is what was made."""
    mend = f"remove {kept.path} to make the sounds again"
    try:
        waveform = read_audio_file(path, sample_rate_hz)
    except InputError as error:
        raise InputError(f"{path}: is damaged: {mend}") from error
    if len(waveform) != samples:
        raise InputError(f"{path}: {len(waveform)} samples instead of {samples}: {mend}")
    return waveform


def _wav(folder: Path, clip_id: str) -> Path:
    return folder / f"{clip_id}.wav"
