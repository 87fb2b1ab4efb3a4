"""Tables and plots of a study: means and intervals over seeds, with floor and chance."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from tests.probes.clips import CHANCE_BITS, FLOOR_BITS
from tests.probes.study import Outcome

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean with its Student interval over seeds."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def over_seeds(by_seed: Sequence[float]) -> Interval:
    """Return the mean over seeds; a single seed has no interval, only its value."""
    mean = float(np.mean(by_seed))
    if len(by_seed) == 1:
        return Interval(mean, float("nan"), float("nan"))
    error = stats.sem(by_seed) * stats.t.ppf((1 + CONFIDENCE) / 2, len(by_seed) - 1)
    return Interval(mean, mean - error, mean + error)


def bits(outcomes: Sequence[Outcome]) -> Interval:
    """Return bits per clip: the mean over held-out clips of each seed, then over seeds."""
    return over_seeds([float(outcome.bits_per_clip.mean()) for outcome in outcomes])


def difference(a: Sequence[Outcome], b: Sequence[Outcome]) -> Interval:
    """Return a - b in bits per clip, paired by seed on the same held-out clips."""
    paired = zip(a, b, strict=True)
    return over_seeds([float(np.mean(x.bits_per_clip - y.bits_per_clip)) for x, y in paired])


def separated(interval: Interval) -> str:
    """Return whether the interval of a difference excludes zero."""
    return "yes" if interval.low > 0 or interval.high < 0 else "not separated"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def bars(groups: dict[str, dict[str, Interval]], path: Path) -> None:
    """Draw bits per clip as groups of bars, with the floor and the chance level."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    names = list(next(iter(groups.values())))
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        intervals = [group[name] for group in groups.values()]
        places = np.arange(len(groups)) + (i - (len(names) - 1) / 2) * width
        errors = [[x.mean - x.low for x in intervals], [x.high - x.mean for x in intervals]]
        axes.bar(places, [x.mean for x in intervals], width, yerr=errors, capsize=3, label=name)
    axes.axhline(CHANCE_BITS, color="black", linestyle="--", linewidth=1, label="no features")
    axes.axhline(FLOOR_BITS, color="black", linestyle=":", linewidth=1, label="codes known")
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set_ylabel("held-out bits per clip (less is better)")
    figure.legend(fontsize="small", loc="outside lower center", ncols=6)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def curves(outcomes: dict[str, Sequence[Outcome]], path: Path) -> None:
    """Draw the encoder's gradient norm over training, one line per run."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for color, (name, runs) in enumerate(outcomes.items()):
        for run in runs:
            steps, norms = zip(*run.encoder_gradient, strict=True)
            axes.plot(steps, norms, color=f"C{color}", alpha=0.7, label=name)
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axes.legend(once.values(), once.keys(), fontsize="small")
    axes.set_yscale("log")
    axes.set_xlabel("updates")
    axes.set_ylabel("gradient norm of the encoder")
    figure.savefig(path, dpi=120)
    plt.close(figure)
