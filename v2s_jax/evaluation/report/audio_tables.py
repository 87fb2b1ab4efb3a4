"""Tables of the metrics of generated audio: models first, then the controls."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from v2s_jax.evaluation.artifacts import ARTIFACTS
from v2s_jax.evaluation.audio_metrics import F1_METRIC, AudioMetrics, AudioResults, DifferenceRow
from v2s_jax.evaluation.onsets import MAX_WINDOW_SEC, MS_PER_SEC
from v2s_jax.evaluation.report.following_table import following_table
from v2s_jax.evaluation.report.network_tables import category_table, fitted_note, frechet_cell
from v2s_jax.evaluation.report.tables import MISSING, PERCENT, Number, Row, Table, make_table
from v2s_jax.evaluation.statistics import ALL_CLIPS
from v2s_jax.evaluation.synchrony import SynchronyRow, SynchronyTable

DETECTOR_MIN_F1 = 0.5
"""Below it the detector misses most onsets of reference audio, or finds as many false ones, and F1
says more of the detector than of a model (ours)."""
WIDEST = f"within {MS_PER_SEC * MAX_WINDOW_SEC:g} ms"
METRIC_NAMES = {
    F1_METRIC: f"F1 {WIDEST}",
    "category_accuracy": "category accuracy",
    "log_mel_db": "log-mel distance, dB",
}

Sets = Mapping[str, AudioMetrics]
"""Metrics of each model, and of each control, by name."""


def audio_tables(results: AudioResults) -> list[Table]:
    """Return the tables that are printed; report.json has more."""
    sets = results.models | results.controls
    first = next(iter(sets.values()))
    categories = [name for name in first.spectral if name != ALL_CLIPS]
    groups = [*categories, ALL_CLIPS] if len(categories) > 1 else [ALL_CLIPS]
    tables = [_synchrony(name, metrics.synchrony) for name, metrics in results.models.items()]
    if first.synchrony:
        tables.append(_onsets(results.models, results.controls))
    tables += [_loudness(sets), following_table(sets, groups, results.followed)]
    tables.append(_classification(sets, results.no_classifier))
    tables.append(_spectral(sets))
    if len(groups) > 1:
        tables.append(_log_mel(sets, groups))
    return [
        *tables,
        _frechet(sets, groups),
        _artifacts(sets),
        *_probes(sets),
        *_differences(results.differences),
    ]


def _by_set(
    title: str,
    columns: Sequence[str],
    sets: Sets,
    cells: Callable[[AudioMetrics], Row],
    notes: Iterable[str] = (),
) -> Table:
    """Return a table with one row for each model and control."""
    rows: Iterable[Row] = ([name, *cells(metrics)] for name, metrics in sets.items())
    return make_table(title, ["", *columns], rows, notes)


def _by_group(
    title: str,
    sets: Sets,
    groups: Sequence[str],
    cell: Callable[[AudioMetrics, str], str | Number],
    notes: Iterable[str] = (),
) -> Table:
    """Return a table with one row for each category, and one column for each model and control."""
    rows: list[Row] = [[group, *(cell(one, group) for one in sets.values())] for group in groups]
    return make_table(title, ["", *sets], rows, notes)


def _synchrony(model: str, by_category: Mapping[str, SynchronyTable]) -> Table:
    """Return F1 within the widest window of each category, with controls and limits."""
    if not by_category:
        return Table(f"Synchrony of {model}", notes=["no category with events"])
    if len(by_category) == 2:  # one category, which equals all clips
        by_category = {name: one for name, one in by_category.items() if name != ALL_CLIPS}
    names = list(dict.fromkeys(row.name for one in by_category.values() for row in one.rows))
    rows: list[Row] = []
    for category, table in by_category.items():
        f1s = {row.name: Number(row.within[-1].f1, 3) for row in table.rows}
        cells = [f1s.get(name, MISSING) for name in names]
        rows.append([category, *cells, _format_ms(table.rows[0].median_error_ms)])
    columns = ["", *(name.replace("_", " ") for name in names), "median error"]
    title = f"Synchrony of {model}, F1 {WIDEST}"
    return make_table(title, columns, rows, _detector_notes(by_category))


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


def _onsets(models: Sets, controls: Sets) -> Table:
    """Return the synchrony of all models on all clips with events."""
    by_model = {name: metrics.synchrony[ALL_CLIPS] for name, metrics in models.items()}
    first = next(iter(by_model.values()))
    rows: dict[str, SynchronyRow] = {}
    notes = []
    for name, table in by_model.items():
        for row in table.rows:
            if row.name not in ("reference", "video_frame"):  # the same for all models
                rows[f"{name}, {row.name.replace('_', ' ')}"] = row
        gains = {"shuffled": table.f1_own_minus_shuffled, "shifted": table.f1_own_minus_shifted}
        for control, gain in gains.items():
            number = Number(gain, 3, sign="+")
            notes.append(f"{name}, own less {control} (F1 {WIDEST}, paired): {number}")
    for name, metrics in controls.items():
        rows[name] = metrics.synchrony[ALL_CLIPS].row("own_video")
    rows["video frame"] = first.row("video_frame")
    shares = ", ".join(
        f"{PERCENT * share:.0f} % within {window.replace('_', ' ')}"
        for window, share in first.expected_limit_f1.items()
    )
    notes += [
        "reference: what the onset detector reaches",
        "video frame: an oracle that knows each time to one video frame, "
        f"{first.video_frame_ms:g} ms; for events spread evenly it would reach {shares}",
        *_detector_notes(next(iter(models.values())).synchrony),
    ]
    windows = [f"F1 within {window.window_ms:g} ms" for window in first.rows[0].within[::-1]]
    return make_table(
        f"Onsets matched one to one with {first.event_count} "
        f"{first.reference.replace('_', ' ')} in {first.clip_count} clips",
        ["", f"precision {WIDEST}", f"recall {WIDEST}", *windows, "median error", "absolute"],
        [[name, *_onset_cells(row)] for name, row in rows.items()],
        notes,
    )


def _onset_cells(row: SynchronyRow) -> Row:
    widest = row.within[-1]
    return [
        f"{widest.precision:.3f}",
        f"{widest.recall:.3f}",
        *(Number(window.f1, 3) for window in row.within[::-1]),
        _format_ms(row.median_error_ms),
        _format_ms(row.median_absolute_error_ms, ".1f"),
    ]


def _loudness(sets: Sets) -> Table:
    def cells(metrics: AudioMetrics) -> Row:
        row = metrics.loudness[ALL_CLIPS]
        correlations = (row.correlation, row.shuffled_correlation, row.best_correlation)
        return [*(Number(one, 3) for one in correlations), _format_ms(row.median_lag_ms, "+.0f")]

    columns = ["own video", "another of its category", "own, best lag", "median lag"]
    title = "Loudness over time, correlation with the reference audio, all clips"
    return _by_set(title, columns, sets, cells)


def _classification(sets: Sets, no_classifier: str | None) -> Table:
    title = "Category accuracy, %: audio classified as its video's category"
    found = {name: metrics.classification for name, metrics in sets.items()}
    reports = {name: report for name, report in found.items() if report is not None}
    if not reports:
        return Table(title, notes=[f"none: {no_classifier}"])
    return category_table(title, reports, [fitted_note(next(iter(reports.values())))])


def _spectral(sets: Sets) -> Table:
    rows: list[Row] = []
    for name, metrics in sets.items():
        for row in metrics.spectral[ALL_CLIPS]:
            others = (row.convergence, row.log_magnitude, row.band_energy_db)
            cells = [Number(one, 2).value for one in others]
            rows.append([name, row.name.replace("_", " "), Number(row.log_mel_db, 2), *cells])
    return make_table(
        "Spectral distances, all clips; 0 is perfect",
        ["", "from", "log-mel, dB", "convergence", "log magnitude", "band energy, dB"],
        rows,
        ["from the reference audio of the clip; shuffled: of another clip of its category"],
    )


def _log_mel(sets: Sets, groups: Sequence[str]) -> Table:
    def cell(metrics: AudioMetrics, group: str) -> str:
        return Number(metrics.spectral[group][0].log_mel_db, 2).value

    title = "Log-mel distance from the reference audio by category, dB"
    return _by_group(title, sets, groups, cell)


def _frechet(sets: Sets, groups: Sequence[str]) -> Table:
    first = next(iter(sets.values())).frechet
    shown = [group for group in groups if first[group].generated is not None]
    reasons: dict[str | None, list[str]] = {}
    for group in groups:
        if group not in shown:
            reasons.setdefault(first[group].reason, []).append(group)
    notes = ["reference: against reference audio of other clips, the floor"] if shown else []
    for reason, names in reasons.items():
        which = "any single category" if names == groups[:-1] else ", ".join(names)
        notes.append(f"none of {which}: {reason}")

    def cell(metrics: AudioMetrics, group: str) -> str:
        return frechet_cell(metrics.frechet[group])

    title = "Frechet distance of log-mel statistics, dB^2 (lowest to highest of the splits)"
    return _by_group(title, sets, shown, cell, notes)


def _artifacts(sets: Sets) -> Table:
    def cells(metrics: AudioMetrics) -> Row:
        return [Number(metrics.artifacts[ALL_CLIPS][kind], 1, PERCENT) for kind in ARTIFACTS]

    return _by_set("Artifacts, % of clips with each", ARTIFACTS, sets, cells)


def _probes(sets: Sets) -> Iterator[Table]:
    """Yield the table of the probe that the dataset is, and why there is no other."""
    first, notes = next(iter(sets.values())), []
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
    def cells(metrics: AudioMetrics) -> Row:
        row = metrics.follow_rate.by_category[ALL_CLIPS]
        onsets, loudness = (Number(one, 1, PERCENT) for one in (row.by_onsets, row.by_loudness))
        return [onsets, str(row.ties_by_onsets), loudness, str(row.ties_by_loudness)]

    first = next(iter(sets.values())).follow_rate.by_category[ALL_CLIPS]
    note = f"pairs: {first.pairs}, with events: {first.pairs_with_events}"
    columns = ["by onsets", "ties", "by loudness", "ties"]
    notes = [f"{note}; chance 50; ties count half"]
    return _by_set("Counterfactual follow rate, %", columns, sets, cells, notes)


def _delay_slope(sets: Sets) -> Table:
    def cells(metrics: AudioMetrics) -> Row:
        row = metrics.delay_slope.by_category[ALL_CLIPS]
        slope, within = row.sec_per_m, Number(row.within_window, 1, PERCENT)
        error = _format_ms(row.median_error_ms)
        return [Number(slope, 3, MS_PER_SEC), error, within, str(slope.clips)]

    first = next(iter(sets.values())).delay_slope.by_category[ALL_CLIPS]
    expected = MS_PER_SEC * first.expected_sec_per_m
    columns = ["slope, ms/m", "median error", "within 100 ms, %", "clips with onsets"]
    notes = [f"expected slope: {expected:.3f} ms/m, which is 1 / 343 m/s"]
    return _by_set("Delay of audio by distance", columns, sets, cells, notes)


def _differences(rows: Sequence[DifferenceRow]) -> Iterator[Table]:
    lines: list[Row] = []
    for row in rows:
        if row.category == ALL_CLIPS:
            difference = Number(row.estimate, 3, sign="+")
            names = row.model, row.minus, METRIC_NAMES[row.metric]
            lines.append([*names, difference, str(row.estimate.clips)])
    if lines:
        columns = ["", "minus", "metric", "difference", "clips"]
        yield make_table("Audio of one model less another's, paired by clip", columns, lines)
