"""Tables of the metrics of generated audio: models first, then the controls."""

from collections.abc import Iterator, Mapping, Sequence

from v2s_jax.evaluation.artifacts import ARTIFACTS
from v2s_jax.evaluation.audio_metrics import F1_METRIC, AudioMetrics, AudioResults, DifferenceRow
from v2s_jax.evaluation.frechet import FrechetRow
from v2s_jax.evaluation.matching import MAX_WINDOW_SEC, MS_PER_SEC
from v2s_jax.evaluation.report.tables import (
    MISSING,
    PERCENT,
    Table,
    format_estimate,
    format_value,
    missing_notes,
)
from v2s_jax.evaluation.statistics import ALL_CLIPS, Estimate
from v2s_jax.evaluation.synchrony import SynchronyRow, SynchronyTable

DETECTOR_MIN_F1 = 0.5
"""Below it the detector misses most onsets of reference audio, or finds as many false ones, and F1
says more of the detector than of a model (ours)."""
METRIC_NAMES = {
    F1_METRIC: f"F1 within {MS_PER_SEC * MAX_WINDOW_SEC:g} ms",
    "category_accuracy": "category accuracy",
    "log_mel_db": "log-mel distance, dB",
}

Sets = Sequence[tuple[str, AudioMetrics]]
"""Name and metrics of each model and control."""


def audio_tables(results: AudioResults) -> list[Table]:
    """Return the tables that are printed; report.json has more."""
    sets: Sets = [*results.models.items(), *results.controls.items()]
    categories = [name for name in sets[0][1].spectral if name != ALL_CLIPS]
    groups = [*categories, ALL_CLIPS] if len(categories) > 1 else [ALL_CLIPS]
    return [
        *(_synchrony(name, metrics.synchrony) for name, metrics in results.models.items()),
        *_onsets(results.models, results.controls),
        _loudness(sets),
        _classification(sets, groups, results.no_classifier),
        _spectral(sets),
        *([_log_mel(sets, groups)] if len(groups) > 1 else []),
        _frechet(sets, groups),
        _artifacts(sets),
        *_probes(sets),
        *_differences(results.differences),
    ]


def _synchrony(model: str, by_category: Mapping[str, SynchronyTable]) -> Table:
    """Return F1 within the widest window of each category, with controls and limits."""
    if not by_category:
        return Table(f"Synchrony of {model}", notes=["no category with events"])
    if len(by_category) == 2:  # one category, which equals all clips
        by_category = {name: one for name, one in by_category.items() if name != ALL_CLIPS}
    tables = by_category.values()
    names = list(dict.fromkeys(row.name for table in tables for row in table.rows))
    lines = []
    for category, table in by_category.items():
        f1s = {row.name: row.within[-1].f1 for row in table.rows}
        cells = [format_estimate(f1s[name], 3) if name in f1s else MISSING for name in names]
        lines.append([category, *cells, _format_ms(table.rows[0].median_error_ms)])
    return Table(
        f"Synchrony of {model}, F1 within {MS_PER_SEC * MAX_WINDOW_SEC:g} ms",
        ["", *(name.replace("_", " ") for name in names), "median error"],
        lines,
        [
            *_detector_notes(by_category),
            *missing_notes(row.within[-1].f1 for table in tables for row in table.rows),
        ],
    )


def _format_ms(value_ms: float | None, shape: str = "+.1f") -> str:
    return MISSING if value_ms is None else f"{value_ms:{shape}} ms"


def _detector_notes(by_category: Mapping[str, SynchronyTable]) -> list[str]:
    """Name the categories whose reference audio the onset detector cannot follow."""
    undetected = []
    for category, table in by_category.items():
        f1 = table.row("reference").within[-1].f1.value
        if category != ALL_CLIPS and f1 is not None and f1 < DETECTOR_MIN_F1:
            undetected.append(f"{category} {f1:.3f}")
    if not undetected:
        return []
    return [
        f"limit of the onset detector: reference audio itself has F1 below {DETECTOR_MIN_F1} in "
        f"{', '.join(undetected)}: there F1 says little of any model, and lowers all clips; "
        "see loudness"
    ]


def _onsets(
    models: Mapping[str, AudioMetrics], controls: Mapping[str, AudioMetrics]
) -> Iterator[Table]:
    """Yield the synchrony of all models on all clips with events; none where no clip has any."""
    by_category = next(iter(models.values())).synchrony
    if not by_category:
        return
    overall, rows = by_category[ALL_CLIPS], _onset_rows(models, controls)
    windows_ms = [window.window_ms for window in reversed(rows[0][1].within)]
    widest = f"within {windows_ms[0]:g} ms"
    yield Table(
        f"Onsets matched one to one with {overall.event_count} "
        f"{overall.reference.replace('_', ' ')} in {overall.clip_count} clips",
        [
            *("", f"precision {widest}", f"recall {widest}"),
            *(f"F1 within {window_ms:g} ms" for window_ms in windows_ms),
            *("median error", "absolute"),
        ],
        [
            [
                name,
                f"{row.within[-1].precision:.3f}",
                f"{row.within[-1].recall:.3f}",
                *(format_estimate(window.f1, 3) for window in reversed(row.within)),
                _format_ms(row.median_error_ms),
                _format_ms(row.median_absolute_error_ms, ".1f"),
            ]
            for name, row in rows
        ],
        [
            *_gains(models, widest),
            *_limits(overall),
            *_detector_notes(by_category),
            *missing_notes(window.f1 for _, row in rows for window in row.within),
        ],
    )


def _onset_rows(
    models: Mapping[str, AudioMetrics], controls: Mapping[str, AudioMetrics]
) -> list[tuple[str, SynchronyRow]]:
    """Return each model under its own video and both negative controls; limits come last."""
    tables = {name: metrics.synchrony[ALL_CLIPS] for name, metrics in models.items()}
    rows = [
        (f"{name}, {row.name.replace('_', ' ')}", row)
        for name, table in tables.items()
        for row in table.rows
        if row.name not in ("reference", "video_frame")
    ]
    for name, metrics in controls.items():
        rows.append((name, metrics.synchrony[ALL_CLIPS].row("own_video")))
    return [*rows, ("video frame", next(iter(tables.values())).row("video_frame"))]


def _gains(models: Mapping[str, AudioMetrics], widest: str) -> list[str]:
    """Say how much better each model's audio fits its own video than each control."""
    return [
        f"{name}, own less {control} (F1 {widest}, paired): {format_estimate(gain, 3, sign='+')}"
        for name, metrics in models.items()
        for control, gain in (
            ("shuffled", metrics.synchrony[ALL_CLIPS].f1_own_minus_shuffled),
            ("shifted", metrics.synchrony[ALL_CLIPS].f1_own_minus_shifted),
        )
    ]


def _limits(overall: SynchronyTable) -> list[str]:
    shares = ", ".join(
        f"{PERCENT * share:.0f} % within {window.replace('_', ' ')}"
        for window, share in overall.expected_limit_f1.items()
    )
    return [
        "reference: what the onset detector reaches",
        "video frame: an oracle that knows each time to one video frame, "
        f"{overall.video_frame_ms:g} ms; for events spread evenly it would reach {shares}",
    ]


def _loudness(sets: Sets) -> Table:
    rows: list[list[str]] = []
    estimates: list[Estimate] = []
    for name, metrics in sets:
        row = metrics.loudness[ALL_CLIPS]
        scores = [row.correlation, row.shuffled_correlation, row.best_correlation]
        cells = [format_estimate(score, 3) for score in scores]
        rows.append([name, *cells, _format_ms(row.median_lag_ms, "+.0f")])
        estimates += scores
    return Table(
        "Loudness over time, correlation with the reference audio, all clips",
        ["", "own video", "another of its category", "own, best lag", "median lag"],
        rows,
        missing_notes(estimates),
    )


def _classification(sets: Sets, groups: list[str], no_classifier: str | None) -> Table:
    title = "Category accuracy, %: audio classified as its video's category"
    reports = [metrics.classification for _, metrics in sets if metrics.classification]
    if not reports:
        return Table(title, notes=[f"none: {no_classifier}"])
    rows = []
    for category in groups[:-1]:
        accuracies = [report.by_category[category].accuracy for report in reports]
        rows.append([category, *(format_value(one, 1, PERCENT) for one in accuracies)])
    rows.append([ALL_CLIPS, *(format_estimate(report.accuracy, 1, PERCENT) for report in reports)])
    chance, largest = PERCENT * reports[0].chance, PERCENT * reports[0].largest_share
    return Table(
        title,
        ["", *(name for name, _ in sets)],
        rows,
        [
            f"among {len(reports[0].categories)} categories; the classifier is fitted on the "
            f"reference audio of {reports[0].trained_on} clips of the train split",
            f"reference: the ceiling; chance: {chance:.1f}; most frequent category: {largest:.1f}",
            *missing_notes(report.accuracy for report in reports),
        ],
    )


def _spectral(sets: Sets) -> Table:
    rows = []
    estimates = []
    for name, metrics in sets:
        for row in metrics.spectral[ALL_CLIPS]:
            others = (row.convergence, row.log_magnitude, row.band_energy_db)
            cells = [format_estimate(row.log_mel_db, 2), *(format_value(one, 2) for one in others)]
            rows.append([name, row.name.replace("_", " "), *cells])
            estimates.append(row.log_mel_db)
    return Table(
        "Spectral distances, all clips; 0 is perfect",
        ["", "from", "log-mel, dB", "convergence", "log magnitude", "band energy, dB"],
        rows,
        [
            "from the reference audio of the clip; shuffled: of another clip of its category",
            *missing_notes(estimates),
        ],
    )


def _log_mel(sets: Sets, groups: list[str]) -> Table:
    rows = []
    for group in groups:
        distances = [metrics.spectral[group][0].log_mel_db for _, metrics in sets]
        rows.append([group, *(format_value(one, 2) for one in distances)])
    title = "Log-mel distance from the reference audio by category, dB"
    return Table(title, ["", *(name for name, _ in sets)], rows)


def _frechet(sets: Sets, groups: list[str]) -> Table:
    first = sets[0][1].frechet
    shown = [group for group in groups if first[group].generated is not None]
    reasons: dict[str | None, list[str]] = {}
    for group in groups:
        if group not in shown:
            reasons.setdefault(first[group].reason, []).append(group)
    notes = ["reference: against reference audio of other clips, the floor"] if shown else []
    for reason, names in reasons.items():
        which = "any single category" if names == groups[:-1] else ", ".join(names)
        notes.append(f"none of {which}: {reason}")
    return Table(
        "Frechet distance of log-mel statistics, dB^2 (lowest to highest of the splits)",
        ["", *(name for name, _ in sets)],
        [[group, *(_spread(metrics.frechet[group]) for _, metrics in sets)] for group in shown],
        notes,
    )


def _spread(row: FrechetRow) -> str:
    spread = row.generated
    return f"{spread.mean:,.0f} ({spread.min:,.0f} to {spread.max:,.0f})" if spread else MISSING


def _artifacts(sets: Sets) -> Table:
    rows = [(name, metrics.artifacts[ALL_CLIPS]) for name, metrics in sets]
    return Table(
        "Artifacts, % of clips with each",
        ["", *ARTIFACTS],
        [
            [name, *(format_estimate(getattr(row, kind), 1, PERCENT) for kind in ARTIFACTS)]
            for name, row in rows
        ],
        missing_notes(getattr(row, ARTIFACTS[0]) for _, row in rows),
    )


def _probes(sets: Sets) -> Iterator[Table]:
    """Yield the table of the probe that the dataset is, and why there is no other."""
    first, notes = sets[0][1], []
    if first.follow_rate.reason:
        notes.append(f"Counterfactual follow rate: none, {first.follow_rate.reason}")
    else:
        yield _follow_rate(sets)
    if first.delay_slope.reason:
        notes.append(f"Delay of audio by distance: none, {first.delay_slope.reason}")
    else:
        yield _delay_slope(sets)
    yield Table("Probes", notes=notes)


def _follow_rate(sets: Sets) -> Table:
    rows = [(name, metrics.follow_rate.by_category[ALL_CLIPS]) for name, metrics in sets]
    lines = []
    for name, row in rows:
        onsets = format_estimate(row.by_onsets, 1, PERCENT)
        loudness = format_estimate(row.by_loudness, 1, PERCENT)
        lines.append([name, onsets, str(row.ties_by_onsets), loudness, str(row.ties_by_loudness)])
    first = rows[0][1]
    return Table(
        "Counterfactual follow rate, %",
        ["", "by onsets", "ties", "by loudness", "ties"],
        lines,
        [
            f"pairs: {first.pairs}, with events: {first.pairs_with_events}; chance 50; ties count "
            "half",
            *missing_notes(one for _, row in rows for one in (row.by_onsets, row.by_loudness)),
        ],
    )


def _delay_slope(sets: Sets) -> Table:
    rows = [(name, metrics.delay_slope.by_category[ALL_CLIPS]) for name, metrics in sets]
    lines = []
    for name, row in rows:
        slope = format_estimate(row.sec_per_m, 3, MS_PER_SEC)
        within = format_estimate(row.within_window, 1, PERCENT)
        lines.append(
            [name, slope, _format_ms(row.median_error_ms), within, str(row.sec_per_m.clips)]
        )
    expected = MS_PER_SEC * rows[0][1].expected_sec_per_m
    return Table(
        "Delay of audio by distance",
        ["", "slope, ms/m", "median error", "within 100 ms, %", "clips with onsets"],
        lines,
        [
            f"expected slope: {expected:.3f} ms/m, which is 1 / 343 m/s",
            *missing_notes(row.sec_per_m for _, row in rows),
        ],
    )


def _differences(rows: Sequence[DifferenceRow]) -> Iterator[Table]:
    overall = [row for row in rows if row.category == ALL_CLIPS]
    if not overall:
        return
    lines = []
    for row in overall:
        cells = [METRIC_NAMES[row.metric], format_estimate(row.estimate, 3, sign="+")]
        lines.append([row.model, row.minus, *cells, str(row.estimate.clips)])
    yield Table(
        "Audio of one model less another's, paired by clip",
        ["", "minus", "metric", "difference", "clips"],
        lines,
        missing_notes(row.estimate for row in overall),
    )
