"""The report's parts as tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from v2s_jax.evaluation import paper
from v2s_jax.evaluation.bootstrap import CONFIDENCE, RESAMPLES
from v2s_jax.evaluation.categories import ALL_CLIPS, MEAN_OF_CATEGORIES
from v2s_jax.evaluation.report.formatting import MISSING, format_estimate, missing_notes
from v2s_jax.evaluation.report.table import Table

PERCENT = 100.0
HEARD_F1 = 0.5
"""Below it the detector misses most onsets of true sounds, or finds as many false ones, and F1
tells more of the detector than of a model (ours)."""


def number(row: dict[str, Any], unit: str = "bits", signed: str = "") -> str:
    """Return a number with its interval, or with the reason why there is none."""
    value, low, high = (row[f"{unit}_{name}"] for name in ("per_sample", "low", "high"))
    if low is None:
        return f"{value:{signed}.4f} [{row['no_interval']}]"
    return f"{value:{signed}.4f} [{low:{signed}.4f}, {high:{signed}.4f}]"


def cell(row: dict[str, Any], unit: str = "bits", signed: str = "") -> str:
    """Return a number with its interval, if it has one; `why` says why others have none."""
    value, low = row[f"{unit}_per_sample"], row[f"{unit}_low"]
    return f"{value:{signed}.4f}" if low is None else number(row, unit, signed)


def why(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Say once each why numbers have no interval."""
    return missing_notes(row["no_interval"] for row in rows)


def likelihood_tables(part: dict[str, Any]) -> list[Table]:
    """Return table 1: each model and baseline, on each split, and by category if it has several."""
    rows = part["rows"]
    splits = list(dict.fromkeys(row["split"] for row in rows))
    names = list(dict.fromkeys(row["model"] for row in rows))
    categories = list(dict.fromkeys(row["category"] for row in rows))
    found = {(row["model"], row["split"], row["category"]): row for row in rows}
    by_category = Table(
        f"Cross-entropy by category, bits per sample, {splits[-1]} clips",
        ["", *names],
        [
            [category, *(cell(found[name, splits[-1], category]) for name in names)]
            for category in categories
        ],
        why([row for row in rows if row["split"] == splits[-1]]),
    )
    whole = Table(
        f"Cross-entropy, bits per sample [{CONFIDENCE:.0%} interval] (nats)",
        ["", *(f"{split} clips" for split in splits)],
        [
            [name, *(_both_units(found[name, split, ALL_CLIPS]) for split in splits)]
            for name in names
        ],
        why([row for row in rows if row["category"] == ALL_CLIPS]) + _likelihood_notes(part),
    )
    several = len(categories) > len((ALL_CLIPS, MEAN_OF_CATEGORIES)) + 1
    return [whole, by_category] if several else [whole]


def _likelihood_notes(part: dict[str, Any]) -> list[str]:
    notes = [
        f"{row['model']} minus {row['minus']}, {row['split']}, paired: "
        f"{number(row, signed='+')} bits"
        for row in part["differences"]
        if row["category"] == ALL_CLIPS
    ]
    notes += [
        f"regret of {row['model']}, {row['split']}: {number(row)} bits above the known floor"
        for row in part["regret"]
        if row["category"] == ALL_CLIPS
    ]
    if not part["regret"]:
        notes.append("regret: the floor of these clips or levels is not known")
    if not part["unconditional_models"]:
        notes.append(
            "unconditional baseline: none was given (train one with --model.variant unconditional)"
        )
    return notes + [
        f"the paper, on VEGAS, {split}: "
        + ", ".join(f"{name} {value}" for name, value in zip(paper.MODELS, values, strict=True))
        + " (unit not stated)"
        for split, values in paper.TABLE_1.items()
    ]


def _both_units(row: dict[str, Any]) -> str:
    return f"{cell(row)} ({row['nats_per_sample']:.4f})"


def sight_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return the conditioning gain of all clips."""
    title = "Conditioning gain"
    if not rows:
        return Table(title, notes=["no model that sees, or no other video to show"])
    of_all = [row for row in rows if row["category"] == ALL_CLIPS]
    return Table(
        title,
        ["", "videos shuffled", "clips", "bits per sample", "bits per clip"],
        [
            [
                row["model"],
                row["shuffled"].replace("_", " "),
                str(row["clips"]),
                cell(row, signed="+"),
                _per_clip(row),
            ]
            for row in of_all
        ],
        why(of_all),
    )


def _per_clip(row: dict[str, Any]) -> str:
    value, low, high = (row[f"bits_per_clip{end}"] for end in ("", "_low", "_high"))
    return f"{value:+.2f}" if low is None else f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def retrieval_tables(part: dict[str, Any]) -> list[Table]:
    """Return table 2 for each model: measures down, scores across, the chance level last."""
    rows = part["rows"]
    if not rows:
        return [Table("Retrieval", notes=["no model that sees"])]
    scores = list(dict.fromkeys(row["score"] for row in rows))
    keys = list(dict.fromkeys(_measure(row) for row in rows))
    found = {(row["model"], row["score"], _measure(row)): row for row in rows}
    published = "; ".join(
        f"{of} top-{top} {' / '.join(f'{value:.2f}' for value in values)}"
        for (of, top), values in paper.TABLE_2_PERCENT.items()
    )
    notes = [
        f"{len(part['queries'])} queries, {len(part['sounds'])} sounds of {part['seconds']:.2f} s; "
        "equal scores count as all their orders",
        f"the paper, on VEGAS, {paper.RANKED:,} sounds ({' / '.join(paper.MODELS)}): {published}",
    ]
    models = list(dict.fromkeys(row["model"] for row in rows))
    tables = []
    for model in models:
        of_model = [[found[model, score, key] for score in scores] for key in keys]
        of_model_rows = [row for own in of_model for row in own]
        body = [
            [_measure_name(key), *map(_percent, own), f"{PERCENT * own[0]['chance']:.2f}"]
            for key, own in zip(keys, of_model, strict=True)
        ]
        head = ["", *(score.replace("_", " ") for score in scores), "chance"]
        noted = [*why(of_model_rows), *(notes if model == models[-1] else [])]
        tables.append(Table(f"Retrieval with {model}, %", head, body, noted))
    return tables


def _measure(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["right"], row["among"], row["measure"]


def _measure_name(key: tuple[str, str, str]) -> str:
    right, among, measure = key
    short = "MRR" if measure == "mean_reciprocal_rank" else measure.replace("_", "-")
    return f"{right} {short} {'in its category' if among == 'category' else 'of all'}"


def _percent(row: dict[str, Any]) -> str:
    if row["low"] is None:
        return f"{PERCENT * row['value']:.1f}"
    return f"{PERCENT * row['value']:.1f} [{PERCENT * row['low']:.1f}, {PERCENT * row['high']:.1f}]"


def synchrony_table(model: str, by_category: dict[str, Any]) -> Table:
    """Return F1 within the widest window of each category's sounds, beside controls and limits."""
    if not by_category:
        return Table(f"Synchrony of {model}", notes=["no category with events"])
    names = list(dict.fromkeys(row["name"] for t in by_category.values() for row in t["rows"]))
    window_ms = next(iter(by_category.values()))["rows"][0]["within"][-1]["window_ms"]
    lines = []
    for category, table in by_category.items():
        rows = {row["name"]: row for row in table["rows"]}
        error_ms = next(iter(rows.values()))["median_error_ms"]
        f1s = {name: row["within"][-1]["f1"] for name, row in rows.items()}
        cells = [format_estimate(f1s[name], 3) if name in f1s else MISSING for name in names]
        lines.append([category, *cells, MISSING if error_ms is None else f"{error_ms:+.1f} ms"])
    return Table(
        f"Synchrony of {model}, F1 within {window_ms:g} ms",
        ["", *(name.replace("_", " ") for name in names), "median error"],
        lines,
        [*detector_notes(by_category), *missing_notes(_reasons(by_category))],
    )


def _reasons(by_category: Mapping[str, Any]) -> Iterator[str | None]:
    for table in by_category.values():
        yield from (row["within"][-1]["f1"]["reason"] for row in table["rows"])


def detector_notes(by_category: Mapping[str, Any]) -> list[str]:
    """Name the categories whose true sounds the detector of onsets does not hear in time."""
    deaf = []
    for category, table in by_category.items():
        of_true = next(row for row in table["rows"] if row["name"] == "true_sound")
        reached = of_true["within"][-1]["f1"]["value"]
        if category != ALL_CLIPS and reached is not None and reached < HEARD_F1:
            deaf.append(f"{category} {reached:.3f}")
    if not deaf:
        return []
    return [
        f"the detector's limit: true sounds themselves have F1 below {HEARD_F1} in "
        f"{', '.join(deaf)}: F1 says little of any model there, and lowers all clips; see loudness"
    ]


def intervals_told() -> str:
    """Say what an interval is."""
    return (
        f"[...]: {CONFIDENCE:.0%} percentile intervals of {RESAMPLES:,} resamples of clips, paired "
        "where models are compared"
    )
