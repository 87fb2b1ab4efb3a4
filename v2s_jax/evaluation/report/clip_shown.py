"""The clips of the report's page: their sounds by model, the instants to be met, their videos."""

from collections.abc import Mapping, Sequence

import numpy as np

from v2s_jax.evaluation.detector import onsets
from v2s_jax.evaluation.report.clip_figure import Instants, Sound
from v2s_jax.evaluation.report.clip_media import ClipShown, ClipVideo
from v2s_jax.evaluation.sounds_part import ModelSounds

TRUE_SOUND = "true sound"


def clips_shown(sounds: Sequence[ModelSounds], videos: Mapping[str, ClipVideo]) -> list[ClipShown]:
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
        shown.append(ClipShown(clip_id, category, made, wanted, videos.get(clip_id)))
    return shown
