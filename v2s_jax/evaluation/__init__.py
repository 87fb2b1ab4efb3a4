"""Evaluation: how likely models find true sounds, and how well generated ones fit what is seen.

In: checkpoints, clips of a data set, and where they are known the times of their events.
Out: scores with their controls, baselines, chance levels and uncertainty, as plain values for one
report (`report.py`), as tables (`tables.py`) and as pictures.
"""

from v2s_jax.evaluation.audio_logger import AudioLogger
from v2s_jax.evaluation.bootstrap import Interval, difference_interval
from v2s_jax.evaluation.clips import generate_sounds, true_sounds
from v2s_jax.evaluation.detector import onsets
from v2s_jax.evaluation.sync import (
    Counts,
    Synchrony,
    f1,
    match,
    precision,
    recall,
    score,
    score_shuffled,
    timing_errors,
)

__all__ = [
    "AudioLogger",
    "Counts",
    "Interval",
    "Synchrony",
    "difference_interval",
    "f1",
    "generate_sounds",
    "match",
    "onsets",
    "precision",
    "recall",
    "score",
    "score_shuffled",
    "timing_errors",
    "true_sounds",
]
