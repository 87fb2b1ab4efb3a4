"""The report on synchrony: plain values for JSON, and the table that is printed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from v2s_jax.config import Clock
from v2s_jax.evaluation import detector
from v2s_jax.evaluation.bootstrap import CONFIDENCE, RESAMPLES, difference_interval
from v2s_jax.evaluation.sync import (
    WINDOWS_SEC,
    Synchrony,
    f1,
    f1_of,
    precision,
    recall,
    score,
    score_shuffled,
)

OWN, SHUFFLED, TRUE = "own_video", "shuffled_video", "true_sound"
"""Generated sound against its own video's events, against other videos', and true sound."""

MS_PER_SEC = 1_000.0
MS_DECIMALS = 3  # the detector's times lie 4 ms apart


def sync_report(
    clip_ids: Sequence[str],
    events_sec: Sequence[Float64[np.ndarray, "_"]],
    generated_sec: Sequence[Float64[np.ndarray, "_"]],
    true_sec: Sequence[Float64[np.ndarray, "_"]],
    clock: Clock,
    seed: int,
) -> dict[str, Any]:
    """Score the onsets of generated and true sounds against the events of the same clips.

    Every number follows from the rows under `clips`; `seed` decides the pairings of the shuffled
    control and the resamples.
    """
    scores = {
        OWN: score(events_sec, generated_sec),
        SHUFFLED: score_shuffled(events_sec, generated_sec, seed),
        TRUE: score(events_sec, true_sec),
    }
    interval = difference_interval(
        scores[OWN].counts[:, -1], scores[SHUFFLED].counts[:, -1], f1_of, seed
    )
    return {
        "clip_count": len(clip_ids),
        "event_count": sum(map(len, events_sec)),
        "scores": {name: _summary(synchrony) for name, synchrony in scores.items()},
        "f1_own_minus_shuffled": {
            "window_ms": _ms(WINDOWS_SEC[-1]),
            **interval._asdict(),
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
        },
        "video_frame_ms": float(MS_PER_SEC / clock.fps),
        "detector": {
            "window_sec": detector.WINDOW_SEC,
            "hop_sec": detector.HOP_SEC,
            "lag_sec": detector.LAG_SEC,
            "mel_bands": detector.MEL_BANDS,
            "floor_db": detector.FLOOR_DB,
            "peak_db": detector.PEAK_DB,
            "lead_sec": detector.LEAD_SEC,
        },
        "clips": [
            {
                "clip_id": clip_id,
                "events_sec": events_sec[clip].tolist(),
                "generated_onsets_sec": generated_sec[clip].tolist(),
                "true_sound_onsets_sec": true_sec[clip].tolist(),
                "matched": {
                    name: _by_window(synchrony.counts[clip, :, 0].tolist())
                    for name, synchrony in scores.items()
                },
            }
            for clip, clip_id in enumerate(clip_ids)
        ],
    }


def _ms(sec: float) -> float:
    return round(sec * MS_PER_SEC, MS_DECIMALS)


def _by_window(values: Sequence[Any]) -> dict[str, Any]:
    return {
        f"{_ms(window_sec):g}_ms": value
        for window_sec, value in zip(WINDOWS_SEC, values, strict=True)
    }


def _summary(synchrony: Synchrony) -> dict[str, Any]:
    pooled = [synchrony.pooled(window) for window in range(len(WINDOWS_SEC))]
    errors_sec = synchrony.errors_sec
    return {
        "onset_count": pooled[0].estimated,
        "within": _by_window(
            [
                {
                    "matched": counts.matched,
                    "precision": precision(counts),
                    "recall": recall(counts),
                    "f1": f1(counts),
                }
                for counts in pooled
            ]
        ),
        "median_error_ms": _median_ms(errors_sec),
        "median_absolute_error_ms": _median_ms(np.abs(errors_sec)),
    }


def _median_ms(errors_sec: Float64[np.ndarray, "matched"]) -> float | None:
    return _ms(float(np.median(errors_sec))) if errors_sec.size else None


def sync_table(report: dict[str, Any]) -> str:
    """Return the report's scores as lines of text."""
    windows = list(_by_window([None] * len(WINDOWS_SEC)))
    widest = len("precision recall    F1")
    over = "".join(f"  {'within ' + name.replace('_', ' '):>{widest}}" for name in windows)
    under = "  precision recall    F1" * len(windows)
    lines = [
        f"{'':16}{'':>6}{over}  matched: onset - event",
        f"{'':16}{'onsets':>6}{under}   median  median |.|",
    ]
    for name, scores in report["scores"].items():
        cells = "".join(
            f"  {cell['precision']:9.3f} {cell['recall']:6.3f} {cell['f1']:5.3f}"
            for cell in (scores["within"][window] for window in windows)
        )
        signed, absolute = scores["median_error_ms"], scores["median_absolute_error_ms"]
        errors = "   none matched" if signed is None else f"{signed:+6.1f} ms{absolute:8.1f} ms"
        onset_count = scores["onset_count"]
        lines.append(f"{name.replace('_', ' '):16}{onset_count:6.0f}{cells}{errors}")
    gain = report["f1_own_minus_shuffled"]
    lines += [
        f"F1 within {gain['window_ms']:g} ms, own minus shuffled video: {gain['difference']:+.3f}, "
        f"{gain['confidence']:.0%} interval {gain['low']:+.3f} to {gain['high']:+.3f} "
        f"({gain['resamples']} paired resamples of clips)",
        f"Limit: a video frame lasts {report['video_frame_ms']:g} ms; the detector's times lie "
        f"{_ms(report['detector']['hop_sec']):g} ms apart.",
    ]
    return "\n".join(lines)
