"""Evaluation: how well generated sound fits what is seen.

In: clips of a data set with the times of their events, and the sound generated for them.
Out: scores with their controls and uncertainty. Synchrony of onsets is what there is so far.
"""

from v2s_jax.evaluation.bootstrap import Interval, difference_interval
from v2s_jax.evaluation.clips import LabelledClip, choose_clips, generate_sounds, true_sounds
from v2s_jax.evaluation.detector import onsets
from v2s_jax.evaluation.listening import Listener
from v2s_jax.evaluation.report import sync_report, sync_table
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
    "Counts",
    "Interval",
    "LabelledClip",
    "Listener",
    "Synchrony",
    "choose_clips",
    "difference_interval",
    "f1",
    "generate_sounds",
    "match",
    "onsets",
    "precision",
    "recall",
    "score",
    "score_shuffled",
    "sync_report",
    "sync_table",
    "timing_errors",
    "true_sounds",
]
