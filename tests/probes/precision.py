"""The demo preset on synthetic drums, with products in float32 and in bfloat16."""

import contextlib
import io
import json
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np

from tests.probes.report import markdown
from v2s_jax.config import DEMO, Clock, Config, Precision
from v2s_jax.datasets.statistics import MAX_VIDEO_FRAMES, principal_components
from v2s_jax.datasets.synthetic.generator import make_clip
from v2s_jax.features.pixels import PixelsExtractor
from v2s_jax.quantize import quantize
from v2s_jax.training.loop import TrainingData, train
from v2s_jax.training.metrics import METRICS_FILE
from v2s_jax.training.validation import EVAL_BITS, ValidationSet
from v2s_jax.types import Batch, FeatureStatistics, Statistics

PRECISIONS: tuple[Precision, ...] = ("highest", "bfloat16")
VIDEO_FRAMES = 32  # 2 s
TRAIN_CLIPS = 96
TEST_CLIPS = 16
LOGS = 30  # points of a curve


class Curve(NamedTuple):
    """The log of one run."""

    precision: Precision
    seed: int
    train: list[tuple[int, float]]
    """Updates, and the mean of bits per sample since the previous point."""
    held_out_bits: float
    """Bits per sample of held-out clips, after the last update."""
    train_sec: float


@cache
def clips(split: str, count: int) -> Batch:
    """The first drum clips of a split, as one batch."""
    rendered = [make_clip("drum", split, index, 0, Clock(), VIDEO_FRAMES) for index in range(count)]
    levels = [
        quantize(clip.waveform, DEMO.model.q_levels, DEMO.model.quantization) for clip in rendered
    ]
    extractor = PixelsExtractor()
    return Batch(
        np.stack(levels),
        np.stack([extractor.extract(clip.frames).appearance for clip in rendered]),
        np.ones((count, len(levels[0])), bool),
        np.arange(count),
        tuple(clip.clip_id for clip in rendered),
        ("drum",) * count,
    )


def rows_of(batch: Batch, chosen: np.ndarray) -> Batch:
    """Some clips of a batch."""
    ids, categories = ([column[i] for i in chosen] for column in (batch.clip_ids, batch.categories))
    return Batch(*(column[chosen] for column in batch[:4]), tuple(ids), tuple(categories))


def batches(config: Config, first: int, rows: range) -> Generator[Batch]:
    """Endless batches, each clip once in an epoch; one process trains, on all rows."""
    known, size = clips("train", TRAIN_CLIPS), config.training.batch_clips
    per_epoch = TRAIN_CLIPS // size
    number = first
    while True:
        epoch, place = divmod(number, per_epoch)
        order = np.random.default_rng((config.training.seed, epoch)).permutation(TRAIN_CLIPS)
        yield rows_of(known, order[place * size : (place + 1) * size])
        number += 1


def statistics() -> FeatureStatistics:
    """Statistics of the training clips; motion is not read."""
    seen = clips("train", TRAIN_CLIPS).features.astype(np.float64).reshape(-1, 4096)
    mean, scale = seen.mean(0), float(np.sqrt(seen.var(axis=0).mean()))
    assert DEMO.model.principal_components
    some = seen[:: -(-len(seen) // MAX_VIDEO_FRAMES)] - mean
    components = principal_components(some, DEMO.model.principal_components)
    of_appearance = Statistics(mean.astype(np.float32), scale, components.astype(np.float32))
    return FeatureStatistics(of_appearance, of_appearance)


def run_experiment(precision: Precision, seed: int, steps: int) -> Curve:
    """Train with the loop of the package."""
    training = replace(
        DEMO.training,
        precision=precision,
        seed=seed,
        steps=steps,
        decay_steps=steps // 2,
        log_every_steps=max(steps // LOGS, 1),
        checkpoint_every_steps=steps,
        eval_every_steps=steps,
        log_audio_clips=0,
    )
    config = replace(DEMO, training=training)
    validation = ValidationSet(lambda rows: [clips("test", TEST_CLIPS)], ("drum",))
    with tempfile.TemporaryDirectory() as folder:
        data = TrainingData(
            lambda first, rows: batches(config, first, rows),
            VIDEO_FRAMES * config.clock.samples_per_video_frame,
            statistics(),
        )
        began = time.perf_counter()
        with contextlib.redirect_stderr(io.StringIO()):
            train(config, data, Path(folder), validation=validation)
        sec = time.perf_counter() - began
        lines = [
            json.loads(line) for line in (Path(folder) / METRICS_FILE).read_text().split("\n")[:-1]
        ]
    logged = [(line["step"], line["bits_per_sample"]) for line in lines]
    return Curve(precision, seed, logged, lines[-1][EVAL_BITS], sec)


def study(seeds: Sequence[int], steps: int, out: Path) -> None:
    """Train with both precisions from the same seeds; write the curves and a plot."""
    curves = [run_experiment(precision, seed, steps) for seed in seeds for precision in PRECISIONS]
    out.mkdir(parents=True, exist_ok=True)
    by_line = ",\n".join(json.dumps(curve._asdict()) for curve in curves)
    (out / "precision.json").write_text(f"[\n{by_line}\n]\n")
    rows = [
        [c.precision, str(c.seed), f"{c.train[-1][1]:.4f}", f"{c.held_out_bits:.4f}",
         f"{c.train_sec:.0f} s"]
        for c in curves
    ]  # fmt: skip
    text = (
        f"The demo preset on {TRAIN_CLIPS} synthetic drum clips, {steps} updates; bits per sample "
        f"over the last ones, and of {TEST_CLIPS} held-out clips.\n\n"
    )
    text += markdown(["products in", "seed", "training", "held out", "time"], rows)
    (out / "precision.md").write_text(text)
    print(text)
    draw(curves, out / "precision.png")


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Draw the loss over the updates, a line for each run, and the difference below."""
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(8, 6), sharex=True, height_ratios=[2, 1], layout="constrained"
    )
    for curve in curves:
        color = f"C{PRECISIONS.index(curve.precision)}"
        style = ("-", "--", ":")[curve.seed % 3]
        above.plot(
            *zip(*curve.train, strict=True),
            color=color,
            linestyle=style,
            label=f"{curve.precision}, seed {curve.seed}",
        )
    by_run = {(curve.precision, curve.seed): curve for curve in curves}
    for seed in sorted({curve.seed for curve in curves}):
        exact, rounded = (by_run[precision, seed] for precision in PRECISIONS)
        steps = [step for step, _ in exact.train]
        apart = [b - a for (_, a), (_, b) in zip(exact.train, rounded.train, strict=True)]
        below.plot(steps, apart, color="black", linestyle=("-", "--", ":")[seed % 3])
    above.set_yscale("log")
    above.set_ylabel("bits per sample")
    above.legend(fontsize="small")
    below.axhline(0, color="grey", linewidth=0.5)
    below.set_ylabel("bfloat16 - float32")
    below.set_xlabel("updates")
    figure.savefig(path, dpi=120)
    plt.close(figure)
