"""Which variant can use which cause, what longer backpropagation gives the encoder, and what
bfloat16 costs.

    python -m tests.probes variants      unconditional, Frame, Seq, Flow, Aligned on three probes
    python -m tests.probes starvation    Seq on foresight, encoder BPTT over 1, 2 and 4 chunks
    python -m tests.probes precision     products in bfloat16 and in float32, on synthetic drums

Writes a JSON file, a Markdown table and plots to --out. Each core runs one training run.
"""

import argparse
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from tests.probes import precision, report
from tests.probes.clips import CHANCE_BITS, FLOOR_BITS, PROBES
from tests.probes.study import (
    CHUNKS,
    Outcome,
    Run,
    passes_per_clip,
    run_experiment,
    with_steps_for,
)
from v2s_jax.config import Variant

STEPS = 4_000
VARIANTS: tuple[Variant, ...] = ("unconditional", "frame", "seq", "flow", "aligned")
WINDOWS = (1, 2, 4)


def run_experiments(runs: Sequence[Run]) -> dict[Run, Outcome]:
    """Run every distinct experiment, each in a process with one core."""
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false"
    outcomes = {}
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        pending = [pool.submit(run_experiment, run) for run in dict.fromkeys(runs)]
        for future in tqdm(as_completed(pending), total=len(pending), unit="run"):
            outcome = future.result()
            outcomes[outcome.run] = outcome
            tqdm.write(f"{outcome.run}: {outcome.bits_per_clip.mean():.3f} bits per clip")
    return outcomes


def save(out: Path, name: str, outcomes: Sequence[Outcome], tables: str) -> None:
    """Write the results and the tables."""
    out.mkdir(parents=True, exist_ok=True)
    runs = [
        {
            **asdict(outcome.run),
            "bits_per_clip": float(outcome.bits_per_clip.mean()),
            "train_sec": outcome.train_sec,
            "encoder_gradient": outcome.encoder_gradient,
        }
        for outcome in outcomes
    ]
    by_line = ",\n".join(json.dumps(run) for run in runs)
    (out / f"{name}.json").write_text(f"[\n{by_line}\n]\n")
    (out / f"{name}.md").write_text(tables)
    print(tables)


def variants(seeds: Sequence[int], steps: int, out: Path) -> None:
    """Compare the variants on the probes."""

    def run(probe: str, variant: str, seed: int) -> Run:
        # The sounds are the same in every probe: one unconditional run serves all.
        trained_on = PROBES[0] if variant == "unconditional" else probe
        return Run(trained_on, variant, seed, steps, encoder_bptt_chunks=CHUNKS)

    runs = [run(p, v, seed) for seed in seeds for p in PROBES for v in VARIANTS]
    outcomes = run_experiments(runs)
    table = {
        probe: {v: [outcomes[run(probe, v, seed)] for seed in seeds] for v in VARIANTS}
        for probe in PROBES
    }
    means = {probe: {v: report.bits(table[probe][v]) for v in VARIANTS} for probe in PROBES}
    text = f"Held-out bits per clip; floor {FLOOR_BITS:g}, chance {CHANCE_BITS:g}.\n\n"
    text += report.markdown(
        ["probe", *VARIANTS], [[p, *(str(means[p][v]) for v in VARIANTS)] for p in PROBES]
    )
    pairs = [("frame", "unconditional"), ("seq", "frame"), ("flow", "seq"), ("aligned", "frame")]
    text += "\nPaired differences on the same clips.\n\n"
    rows = []
    for probe in PROBES:
        for a, b in pairs:
            apart = report.difference(table[probe][a], table[probe][b])
            rows.append([probe, f"{a} - {b}", str(apart), report.separated(apart)])
    text += report.markdown(["probe", "difference", "bits per clip", "separated"], rows)
    save(out, "variants", list(outcomes.values()), text)
    report.bars(means, out / "variants.png")


def starvation(seeds: Sequence[int], steps: int, out: Path) -> None:
    """Compare BPTT windows of the encoder at equal updates, and at the compute of the longest."""
    compute = steps // CHUNKS * passes_per_clip(CHUNKS)

    def run(window: int, seed: int, equal: str) -> Run:
        equal_updates = Run("foresight", "seq", seed, steps, window)
        return equal_updates if equal == "updates" else with_steps_for(equal_updates, compute)

    equals = ("updates", "compute")
    outcomes = run_experiments([run(w, s, e) for s in seeds for w in WINDOWS for e in equals])
    table = {
        equal: {w: [outcomes[run(w, seed, equal)] for seed in seeds] for w in WINDOWS}
        for equal in equals
    }
    text = (
        f"Seq on foresight, clips of {CHUNKS} chunks. Held-out bits per clip; floor "
        f"{FLOOR_BITS:g}, chance {CHANCE_BITS:g}.\n\n"
    )
    rows = []
    for equal in equals:
        for window in WINDOWS:
            runs = table[equal][window]
            apart = report.difference(runs, table[equal][1])
            sec = report.over_seeds([outcome.train_sec for outcome in runs]).mean
            rows.append(
                [
                    f"equal {equal}",
                    f"{window}",
                    f"{runs[0].run.steps:,}",
                    f"{sec:.0f} s",
                    str(report.bits(runs)),
                    "" if window == 1 else str(apart),
                    "" if window == 1 else report.separated(apart),
                ]
            )
    text += report.markdown(
        ["at", "BPTT chunks", "updates", "time", "bits per clip", "against 1", "separated"], rows
    )
    save(out, "starvation", list(outcomes.values()), text)
    means = {
        f"equal {equal}": {f"BPTT chunks {w}": report.bits(table[equal][w]) for w in WINDOWS}
        for equal in equals
    }
    report.bars(means, out / "starvation.png")
    report.curves({f"BPTT chunks {w}": table["updates"][w] for w in WINDOWS}, out / "encoder.png")


STUDIES = {"variants": variants, "starvation": starvation, "precision": precision.study}


def main() -> None:
    """Run the study that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.probes", description=__doc__)
    parser.add_argument("study", choices=list(STUDIES))
    parser.add_argument("--seeds", type=int, default=3, help="runs of each kind")
    parser.add_argument("--steps", type=int, default=STEPS, help="updates of a run")
    parser.add_argument("--out", type=Path, default=Path("docs/probes"))
    args = parser.parse_args()
    if args.seeds < 1 or args.steps < CHUNKS or args.steps % CHUNKS:
        parser.error(f"--seeds must be at least 1, --steps a multiple of {CHUNKS}")
    STUDIES[args.study](range(args.seeds), args.steps, args.out)


if __name__ == "__main__":
    main()
