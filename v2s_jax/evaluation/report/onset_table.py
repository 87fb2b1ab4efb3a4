"""Synchrony of all models in one table: every window, beside controls and limits."""

from collections.abc import Iterator, Mapping
from typing import Any

from v2s_jax.evaluation.categories import ALL_CLIPS
from v2s_jax.evaluation.report.formatting import MISSING, format_estimate, missing_reason
from v2s_jax.evaluation.report.table import Table
from v2s_jax.evaluation.report.tables import PERCENT, detector_notes

Metrics = Mapping[str, Mapping[str, Any]]
"""Metrics of each model, or control, by name."""
Rows = list[tuple[str, Mapping[str, Any]]]
"""Name and row of the report's synchrony tables."""


def onset_tables(models: Metrics, controls: Metrics) -> Iterator[Table]:
    """Yield one table of all clips with events, none where no clip has any."""
    first = next(iter(models.values()))["synchrony"]
    if not first:
        return
    whole, rows = first[ALL_CLIPS], _rows(models, controls)
    windows_ms = [within["window_ms"] for within in reversed(rows[0][1]["within"])]
    widest = f"within {windows_ms[0]:g} ms"
    yield Table(
        f"Onsets met one to one with {whole['event_count']} {whole['reference'].replace('_', ' ')} "
        f"in {whole['clip_count']} clips",
        [
            *("", f"precision {widest}", f"recall {widest}"),
            *(f"F1 within {window_ms:g} ms" for window_ms in windows_ms),
            *("median error", "absolute"),
        ],
        [[name, *_cells(row)] for name, row in rows],
        [
            *_gains(models, widest),
            *_limits(whole),
            *detector_notes(first),
            *missing_reason([within["f1"] for _, row in rows for within in row["within"]]),
        ],
    )


def _rows(models: Metrics, controls: Metrics) -> Rows:
    """Return each model under its own video and both negative controls; limits come last."""

    def of(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        return {row["name"]: row for row in metrics["synchrony"][ALL_CLIPS]["rows"]}

    rows = [
        (f"{name}, {kind.replace('_', ' ')}", row)
        for name, found in models.items()
        for kind, row in of(found).items()
        if kind not in ("true_sound", "video_frame")
    ]
    rows += [(name, of(found)["own_video"]) for name, found in controls.items()]
    return [*rows, ("video frame", of(next(iter(models.values())))["video_frame"])]


def _cells(row: Mapping[str, Any]) -> list[str]:
    widest, error_ms = row["within"][-1], row["median_error_ms"]
    return [
        f"{widest['precision']:.3f}",
        f"{widest['recall']:.3f}",
        *(format_estimate(within["f1"], 3) for within in reversed(row["within"])),
        MISSING if error_ms is None else f"{error_ms:+.1f} ms",
        MISSING if error_ms is None else f"{row['median_absolute_error_ms']:.1f} ms",
    ]


def _gains(models: Metrics, widest: str) -> list[str]:
    """Say how much better each model's sounds fit their own video than each control."""
    gains = [
        (name, control, found["synchrony"][ALL_CLIPS][f"f1_own_minus_{control}"])
        for name, found in models.items()
        for control in ("shuffled", "shifted")
    ]
    return [
        f"{name}, own less {control} (F1 {widest}, paired): {format_estimate(gain, 3, signed='+')}"
        for name, control, gain in gains
    ]


def _limits(whole: Mapping[str, Any]) -> list[str]:
    shares = whole["expected_limit_f1"].items()
    spread = ", ".join(
        f"{PERCENT * share:.0f} % within {window.replace('_', ' ')}" for window, share in shares
    )
    return [
        "true sound: what the detector of onsets reaches",
        "video frame: an oracle that knows each to one video frame, "
        f"{whole['video_frame_ms']:g} ms; spread evenly, it would meet {spread}",
    ]
