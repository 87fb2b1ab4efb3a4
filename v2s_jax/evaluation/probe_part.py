"""Follow rate and delay slope, where the data set is the probe that was made for them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float32

from v2s_jax.errors import InputError
from v2s_jax.evaluation.categories import ALL_CLIPS
from v2s_jax.evaluation.clip_metrics import ReferenceClips
from v2s_jax.evaluation.probe_scores import delay_slope, follow_rate

FOLLOW_PROBE, DELAY_PROBE = "counterfactual", "delay"
"""Names of the probes, as `v2s prepare synthetic --probe` has them."""


def follow_rates(
    sounds: Sequence[Float32[np.ndarray, " _"]], clips: ReferenceClips
) -> dict[str, Any]:
    """Return the follow rate by category and of all clips, or the reason why there is none."""
    if clips.labels is None or clips.probe != FOLLOW_PROBE:
        return _no_probe(clips, FOLLOW_PROBE)
    labels, rate_hz = clips.labels, clips.config.clock.sample_rate_hz
    return {
        "reason": None,
        "by_category": {
            category: asdict(
                follow_rate(
                    [clips.clip_ids[clip] for clip in own],
                    [sounds[clip] for clip in own],
                    [clips.true[clip] for clip in own],
                    [labels[clip].events_sec for clip in own],
                    rate_hz,
                    clips.seed,
                )
            )
            for category, own in _groups(clips).items()
        },
    }


def delay_slopes(
    sounds: Sequence[Float32[np.ndarray, " _"]], clips: ReferenceClips
) -> dict[str, Any]:
    """Return the delay slope by category and of all clips, or the reason why there is none.

    Raises InputError for a label that does not tell distance and delay.
    """
    if clips.labels is None or clips.probe != DELAY_PROBE:
        return _no_probe(clips, DELAY_PROBE)
    rate_hz = clips.config.clock.sample_rate_hz
    distances_m = _states(clips, "distance_m")
    delays_sec = _states(clips, "delay_sec")
    seen_sec = [
        label.events_sec - delay for label, delay in zip(clips.labels, delays_sec, strict=True)
    ]
    return {
        "reason": None,
        "by_category": {
            category: asdict(
                delay_slope(
                    [sounds[clip] for clip in own],
                    [seen_sec[clip] for clip in own],
                    [distances_m[clip] for clip in own],
                    rate_hz,
                    clips.seed,
                )
            )
            for category, own in _groups(clips).items()
        },
    }


def _states(clips: ReferenceClips, name: str) -> list[float]:
    values = []
    for clip_id, label in zip(clips.clip_ids, clips.labels or [], strict=True):
        value = label.state.get(name)
        if not isinstance(value, float):
            raise InputError(
                f"label of clip {clip_id}: its state has no number {name}: make the data set again "
                "with --overwrite"
            )
        values.append(value)
    return values


def _groups(clips: ReferenceClips) -> dict[str, list[int]]:
    return clips.by_category | {ALL_CLIPS: list(range(len(clips.clip_ids)))}


def _no_probe(clips: ReferenceClips, probe: str) -> dict[str, Any]:
    return {
        "reason": f"{clips.data_name} was not made for it: "
        f"v2s prepare synthetic --probe {probe} makes a set that is",
        "by_category": {},
    }
