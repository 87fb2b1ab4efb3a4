"""The clips of the report's page: their sounds by model, the instants to be met, their videos."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from v2s_jax.evaluation.clip_figure import Instants, Sound
from v2s_jax.evaluation.clip_media import ClipShown, ClipVideo
from v2s_jax.evaluation.detector import onsets
from v2s_jax.evaluation.sounds_part import ModelSounds
from v2s_jax.media import VIDEO_SUFFIXES
from v2s_jax.records import DataSet

TRUE_SOUND = "true sound"


def clips_shown(sounds: Sequence[ModelSounds], data: DataSet) -> list[ClipShown]:
    """Return the clips of some models' sounds, which are of the same clips in the same order."""
    if not sounds:
        return []
    first = sounds[0].clips
    rate_hz = first.config.clock.sample_rate_hz
    shown = []
    for clip, (clip_id, category) in enumerate(zip(first.clip_ids, first.categories, strict=True)):
        waveforms = [(TRUE_SOUND, first.true[clip])]
        waveforms += [(of_model.model, of_model.generated[clip]) for of_model in sounds]
        made = [Sound(name, wave, onsets(wave, rate_hz)) for name, wave in waveforms]
        wanted = Instants(f"onsets of the {TRUE_SOUND}", made[0].onsets_sec)
        if first.events_sec is not None:
            wanted = Instants("true events", np.asarray(first.events_sec[clip], np.float64))
        path = _beside(data, category, clip_id)
        video = None if path is None else ClipVideo(path, first.true[clip].size / rate_hz)
        shown.append(ClipShown(clip_id, category, made, wanted, video))
    return shown


def _beside(data: DataSet, category: str, clip_id: str) -> Path | None:
    """Return the video that lies beside a synthetic clip (clips/CATEGORY/CLIP.mp4), if it does."""
    folder = Path(str(data.directory)).parent.parent / "clips" / category
    paths = (folder / f"{clip_id}{suffix}" for suffix in sorted(VIDEO_SUFFIXES))
    return next((path for path in paths if path.is_file()), None)
