"""Table of how loudness follows the controls or the motion."""

from collections.abc import Mapping, Sequence

from v2s_jax.evaluation.audio_metrics import AudioMetrics
from v2s_jax.evaluation.report.tables import Number, Row, Table, make_table
from v2s_jax.evaluation.statistics import ALL_CLIPS

TITLE = "Loudness over time, correlation with the"


def following_table(
    sets: Mapping[str, AudioMetrics], groups: Sequence[str], followed: str
) -> Table:
    """Return the correlations by category, and their controls for all clips.

    `followed` is what loudness should follow, or why nothing is known of it.
    """
    if not next(iter(sets.values())).following:
        return Table(f"{TITLE} controls or motion", notes=[f"none: {followed}"])
    rows: list[Row] = []
    for group in groups:
        of_sets = [metrics.following[group].correlation for metrics in sets.values()]
        if group == ALL_CLIPS:
            rows.append([group, *(Number(one, 3) for one in of_sets)])
        else:
            rows.append([group, *(Number(one, 3).value for one in of_sets)])
    of_all = [metrics.following[ALL_CLIPS] for metrics in sets.values()]
    rows.append(["of another clip of its category", *(Number(one.shuffled, 3) for one in of_all)])
    differences = (Number(one.own_minus_shuffled, 3, sign="+") for one in of_all)
    rows.append(["own less another, paired", *differences])
    notes = [f"reference: how far the {followed} tells the loudness of the true track"]
    return make_table(f"{TITLE} {followed}", ["", *sets], rows, notes)
