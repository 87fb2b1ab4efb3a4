"""Metrics of sounds as tables: models, then the controls, beside each other."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from v2s_jax.evaluation.categories import ALL_CLIPS
from v2s_jax.evaluation.report.formatting import (
    MISSING,
    format_estimate,
    format_value,
    missing_reason,
)
from v2s_jax.evaluation.report.onset_table import onset_tables
from v2s_jax.evaluation.report.table import Table
from v2s_jax.evaluation.report.tables import PERCENT, synchrony_table
from v2s_jax.evaluation.sync import MS_PER_SEC

METRIC_NAMES = {"category_accuracy": "category accuracy", "log_mel_db": "log-mel distance, dB"}

Sets = Sequence[tuple[str, Mapping[str, Any]]]
"""Name and metrics of each model and control."""


def sound_tables(part: Mapping[str, Any]) -> list[Table]:
    """Return what the terminal and the page show of the sounds; all the rest is in the report."""
    controls = {name.replace("_", " "): found for name, found in part["controls"].items()}
    sets: Sets = [*part["models"].items(), *controls.items()]
    categories = [name for name in sets[0][1]["spectral"] if name != ALL_CLIPS]
    rows = [*categories, ALL_CLIPS] if len(categories) > 1 else [ALL_CLIPS]
    synchronies = {name: _several(found["synchrony"]) for name, found in part["models"].items()}
    return [
        *(synchrony_table(name, by_category) for name, by_category in synchronies.items()),
        *onset_tables(part["models"], controls),
        _loudness(sets),
        _accuracy(sets, rows),
        _spectral(sets),
        *([_log_mel(sets, rows)] if len(rows) > 1 else []),
        _frechet(sets, rows),
        _health(sets),
        *_probes(sets),
        *_differences(part["differences"]),
    ]


def _several(by_category: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the row of all clips where there is one category."""
    several = len(by_category) > len(("one category", ALL_CLIPS))
    return {name: table for name, table in by_category.items() if several or name != ALL_CLIPS}


def _loudness(sets: Sets) -> Table:
    rows, estimates = [], []
    for name, found in sets:
        own = found["loudness"][ALL_CLIPS]
        scores = [own[f"{of}correlation"] for of in ("", "shuffled_", "best_")]
        lag_ms = own["median_lag_ms"]
        lag = MISSING if lag_ms is None else f"{lag_ms:+.0f} ms"
        rows.append([name, *(format_estimate(score, 3) for score in scores), lag])
        estimates += scores
    return Table(
        "Loudness over time, correlation with the clip's own sound, all clips",
        ["", "own video", "another of its category", "own, best lag", "median lag"],
        rows,
        missing_reason(estimates),
    )


def _accuracy(sets: Sets, rows: list[str]) -> Table:
    title = "Category accuracy, %: sounds taken for their video's category"
    reports = [found["category_accuracy"] for _, found in sets]
    if reports[0]["reason"]:
        return Table(title, notes=[f"none: {reports[0]['reason']}"])

    def cell(report: Mapping[str, Any], category: str) -> str:
        if category == ALL_CLIPS:
            return format_estimate(report["accuracy"], 1, PERCENT)
        return format_value(report["by_category"][category]["accuracy"], 1, PERCENT)

    chance, most = (PERCENT * reports[0][name] for name in ("chance", "largest_share"))
    return Table(
        title,
        ["", *(name for name, _ in sets)],
        [[row, *(cell(report, row) for report in reports)] for row in rows],
        [
            f"among {len(reports[0]['categories'])} categories; the classifier is fitted on "
            f"{reports[0]['trained_on']} true sounds of the train split alone",
            f"true sound: the ceiling; chance: {chance:.1f}; always the most frequent: {most:.1f}",
            *missing_reason([report["accuracy"] for report in reports]),
        ],
    )


def _log_mel(sets: Sets, rows: list[str]) -> Table:
    return Table(
        "Log-mel distance from the clip's own sound by category, dB",
        ["", *(name for name, _ in sets)],
        [
            [row, *(format_value(found["spectral"][row][0]["log_mel_db"], 2) for _, found in sets)]
            for row in rows
        ],
    )


def _spectral(sets: Sets) -> Table:
    found = [(name, row) for name, metrics in sets for row in metrics["spectral"][ALL_CLIPS]]
    rows = [
        [
            name,
            row["name"].removesuffix("_sound"),
            format_estimate(row["log_mel_db"], 2),
            *(
                format_value(row[field], 2)
                for field in ("convergence", "log_magnitude", "band_energy_db")
            ),
        ]
        for name, row in found
    ]
    return Table(
        "Spectral distances, all clips; 0 is perfect",
        ["", "from", "log-mel, dB", "convergence", "log magnitude", "band energy, dB"],
        rows,
        [
            "own: from the clip's own sound; shuffled: from that of another clip of its category",
            *missing_reason([row["log_mel_db"] for _, row in found]),
        ],
    )


def _frechet(sets: Sets, rows: list[str]) -> Table:
    title = "Frechet distance of log-mel statistics, dB^2 (lowest to highest of the partings)"
    some = sets[0][1]["frechet"]
    shown = [row for row in rows if some[row]["generated"] is not None]
    reasons: dict[str, list[str]] = {}  # of what is not shown
    for row in rows:
        if row not in shown:
            reasons.setdefault(some[row]["reason"], []).append(row)
    floor = ["true sound: against true sounds of other clips, the floor"] if shown else []
    return Table(
        title,
        ["", *(name for name, _ in sets)],
        [[row, *(_spread(found["frechet"][row]) for _, found in sets)] for row in shown],
        [
            *floor,
            *(
                f"none of {'any category alone' if of == rows[:-1] else ', '.join(of)}: {reason}"
                for reason, of in reasons.items()
            ),
        ],
    )


def _spread(row: Mapping[str, Any]) -> str:
    own = row["generated"]
    return f"{own['mean']:,.0f} ({own['lowest']:,.0f} to {own['highest']:,.0f})"


def _health(sets: Sets) -> Table:
    found = [(name, metrics["health"][ALL_CLIPS]) for name, metrics in sets]
    degeneracies = [degeneracy for degeneracy in found[0][1] if degeneracy != "name"]
    return Table(
        "Health, % of sounds with each fault",
        ["", *degeneracies],
        [
            [name, *(format_estimate(rates[degeneracy], 1, PERCENT) for degeneracy in degeneracies)]
            for name, rates in found
        ],
        missing_reason([rates[degeneracies[0]] for _, rates in found]),
    )


def _probes(sets: Sets) -> Iterator[Table]:
    """Yield the table of the probe that the set is, or why there is none."""
    notes = []
    for title, name, table in (
        ("Counterfactual follow rate, %", "follow_rate", _follow),
        ("Delay of sound by distance", "delay_slope", _delay),
    ):
        reason = sets[0][1][name]["reason"]
        if reason:
            notes.append(f"{title.split(',')[0]}: none, {reason}")
        else:
            rows = [(of, found[name]["by_category"][ALL_CLIPS]) for of, found in sets]
            yield table(title, rows)
    yield Table("Probes", notes=notes)


def _follow(title: str, found: Sets) -> Table:
    rows = [
        [
            name,
            format_estimate(row["by_onsets"], 1, PERCENT),
            str(row["untold_by_onsets"]),
            format_estimate(row["by_loudness"], 1, PERCENT),
            str(row["untold_by_loudness"]),
        ]
        for name, row in found
    ]
    first = found[0][1]
    counts = f"pairs: {first['pairs']}, with events: {first['pairs_with_events']}"
    notes = [
        f"{counts}; chance 50; a clip that cannot be told counts one half",
        *missing_reason([row[score] for _, row in found for score in ("by_onsets", "by_loudness")]),
    ]
    return Table(title, ["", "by onsets", "untold", "by loudness", "untold"], rows, notes)


def _delay(title: str, found: Sets) -> Table:
    rows = []
    for name, row in found:
        error_ms = row["median_error_ms"]
        rows.append(
            [
                name,
                format_estimate(row["sec_per_m"], 3, MS_PER_SEC),
                MISSING if error_ms is None else f"{error_ms:+.1f}",
                format_estimate(row["within_window"], 1, PERCENT),
                str(row["sec_per_m"]["clips"]),
            ]
        )
    expected = MS_PER_SEC * found[0][1]["expected_sec_per_m"]
    notes = [
        f"expected slope: {expected:.3f} ms/m, which is 1 / 343 m/s",
        *missing_reason([row["sec_per_m"] for _, row in found]),
    ]
    head = ["", "slope, ms/m", "median error, ms", "within 100 ms, %", "clips with onsets"]
    return Table(title, head, rows, notes)


def _differences(rows: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    of_all = [row for row in rows if row["category"] == ALL_CLIPS]
    if of_all:
        yield Table(
            "Sounds of one model less another's, paired by clip",
            ["", "minus", "metric", "difference", "clips"],
            [
                [
                    row["model"],
                    row["minus"],
                    METRIC_NAMES.get(row["metric"], "F1 within 100 ms"),
                    format_estimate(row, 3, signed="+"),
                    str(row["clips"]),
                ]
                for row in of_all
            ],
            missing_reason(of_all),
        )
