"""Write the generated tables of the README and of docs/SPEC.md, speed.md and tpu.md.

    python docs/generate_tables.py           write them
    python docs/generate_tables.py --check   exit with code 1 if a page is out of date

Each table stands between two comment lines, `<!-- BEGIN GENERATED name -->` and
`<!-- END GENERATED -->`, and is computed from the config presets, the constants of the code and the
reports in docs/benchmarks.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from v2s_jax.config import PAPER, PRESETS, flat_fields

DOCS = Path(__file__).parent
PAGES = (DOCS.parent / "README.md", DOCS / "SPEC.md", DOCS / "speed.md", DOCS / "tpu.md")
BLOCK = re.compile(r"(<!-- BEGIN GENERATED (\w+) -->\n).*?(<!-- END GENERATED -->)", re.DOTALL)

FIELD_PREFIXES = ("clock.", "extractor", "model.", "training.")
"""The config fields that decide what a run computes or logs."""

CONSTANTS = {
    "INPUT_SCALE": (
        "v2s_jax.model.tiers",
        "scale of the recurrent tiers' input",
        "SampleRNN's code",
    ),
    "LSTM_FORGET_BIAS": ("v2s_jax.model.rnn", "initial forget bias of an LSTM", "SampleRNN's code"),
    "SHRINKAGE": (
        "v2s_jax.datasets.statistics",
        "shrinkage of component variances, share of the mean variance",
        "ours",
    ),
    "FC6_DIM": ("v2s_jax.features.vgg", "width of fc6", "VGG"),
    "CAFFE_MEAN_BGR": (
        "v2s_jax.features.vgg",
        "image mean, Caffe and Keras weights, BGR",
        "VGG's code",
    ),
    "TORCHVISION_MEAN": (
        "v2s_jax.features.vgg",
        "image mean, torch weights, RGB / 255",
        "torchvision",
    ),
    "TORCHVISION_STD": ("v2s_jax.features.vgg", "image deviation, torch weights", "torchvision"),
    "BOUND_PX": ("v2s_jax.features.optical_flow", "flow is clipped at, px", "two-stream code"),
    "STILL_BYTE": ("v2s_jax.features.optical_flow", "byte of zero flow", "two-stream code"),
    "STACK_FLOWS": (
        "v2s_jax.features.optical_flow",
        "flow fields in a stack",
        "two-stream work (L = 10)",
    ),
    "LOOKAHEAD": ("v2s_jax.features.optical_flow", "flow fields after the video frame", "ours"),
    "FLOW_MEAN_BYTE": (
        "v2s_jax.features.vgg",
        "flow mean, Caffe weights, bytes",
        "Wang et al. 2015",
    ),
    "FLOW_MEAN": ("v2s_jax.features.vgg", "flow mean, torch weights, byte / 255", "TSN code"),
    "FLOW_STD": ("v2s_jax.features.vgg", "flow deviation, torch weights", "TSN code"),
}
"""Constants outside the config: the module, the meaning and the source of each."""

PEAK_FLOPS = {"v5e": 197e12, "v5p": 459e12, "v6e": 918e12, "v4": 275e12}
"""FLOP/s of one chip in bf16, from Google's pages of the chips."""
SHARES = (0.20, 0.05)
"""Assumed shares of the peak."""
EXAMPLE_CHIPS = 4
DEMO_REPORT = "xeon-2-cores-demo-2026-11-30"
PAPER_REPORT = "xeon-2-cores-paper-2026-11-30"
PEER_REPORT = "epyc-2-cores-paper-2026-11-26"
"""Measured beside samplernn-pytorch."""
DEVICES = (1, 4, 8, 16, 32, 128)
BACKWARD_FACTOR = 3
"""Multiply-adds of a forward and backward pass, per multiply-add of the forward pass."""


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    cells = [list(header)]
    cells += [["---"] * len(cells[0]), *map(list, rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def presets() -> str:
    """Every config field with its value in each preset."""
    columns = [flat_fields(preset) for preset in PRESETS.values()]
    names = [name for name in columns[0] if name.startswith(FIELD_PREFIXES)]
    rows = ([f"`{name}`", *(value(column[name]) for column in columns)] for name in names)
    return table(["field", *(f"`{name}`" for name in PRESETS)], rows)


def constants() -> str:
    """Constants outside the config."""
    rows = (
        [f"`{name}`", meaning, value(getattr(import_module(module), name)), source]
        for name, (module, meaning, source) in CONSTANTS.items()
    )
    return table(["constant", "meaning", "value", "source"], rows)


def value(number: object) -> str:
    """Format a config value: thousands get commas."""
    if isinstance(number, int) and not isinstance(number, bool):
        return f"{number:,}"
    return str(number)


def matrix_products() -> list[tuple[str, int, int, int]]:
    """Name, inputs, outputs, and samples per use of each matrix product of `paper`."""
    model, chunk = PAPER.model, PAPER.training.chunk_samples
    if (model.variant, model.cell, model.rnn_layers, model.tiers) != ("frame", "gru", 1, 3):
        raise ValueError("the table of products is that of Frame with three tiers of one GRU layer")
    gates = 3 * model.dim
    big, small = model.big_frame_size, model.frame_size
    once = min(chunk, PAPER.clock.samples_per_video_frame)
    return [
        ("appearance to big-frame gates", model.appearance_dim, gates, once),
        ("big frame to its gates", big, gates, big),
        ("big-frame tier, recurrent", model.dim, gates, big),
        ("big-frame tier to frame tier", model.dim, big // small * model.dim, big),
        ("frame to its gates", small, gates, small),
        ("conditioning to frame gates", model.dim, gates, small),
        ("frame tier, recurrent", model.dim, gates, small),
        ("frame tier to samples", model.dim, small * model.mlp_dim, small),
        ("embeddings to MLP", small * model.embedding_dim, model.mlp_dim, 1),
        ("MLP, hidden layer", model.mlp_dim, model.mlp_dim, 1),
        ("MLP, logits", model.mlp_dim, model.q_levels, 1),
    ]


def multiply_adds() -> int:
    """Multiply-adds per trained sample of `paper`, forward pass."""
    return sum(inputs * outputs // samples for _, inputs, outputs, samples in matrix_products())


def run_samples() -> int:
    """Samples of one run of `paper`, padding included."""
    training = PAPER.training
    return training.steps * training.batch_clips * training.chunk_samples


def run_flop() -> int:
    """FLOP of one run of `paper`."""
    return 2 * BACKWARD_FACTOR * multiply_adds() * run_samples()


def products() -> str:
    """The matrix products of `paper`."""
    rows = [
        [name, f"{inputs:,} x {outputs:,}", f"{samples}", f"{inputs * outputs // samples:,}"]
        for name, inputs, outputs, samples in matrix_products()
    ]
    rows.append(["sum", "", "", f"{multiply_adds():,}"])
    return table(["product", "kernel", "once per samples", "multiply-adds per sample"], rows)


def flop() -> str:
    """FLOP of a sample and of a run of `paper`."""
    training = PAPER.training
    samples = (
        f"{training.steps:,} updates x {training.batch_clips} clips x {training.chunk_samples}"
    )
    rows = [
        ["FLOP per sample, forward", f"{2 * multiply_adds():,}"],
        ["FLOP per sample, forward and backward", f"{2 * BACKWARD_FACTOR * multiply_adds():,}"],
        [f"samples per run: {samples}", f"{run_samples():,}"],
        ["FLOP per run", f"{run_flop():.3e}".replace("e+", "e")],
    ]
    return table(["quantity", "value"], rows)


def chips() -> str:
    """Chip-hours of a run of `paper`, at assumed shares of the peak."""
    share, low_share = SHARES
    expected = {
        row["tpu"]: row["share_of_peak"]
        for row in _compiled_rows()
        if row["preset"] == PAPER.name and row["share_of_peak"]
    }
    rows = []
    for chip, peak in PEAK_FLOPS.items():
        sec = run_flop() / (peak * share)
        run_sec = sec / EXAMPLE_CHIPS
        rows.append(
            [
                chip,
                f"{peak / 1e12:.0f} TFLOP/s",
                f"{sec / 3600:.2f}",
                f"{sec * share / low_share / 3600:.2f}",
                f"{sec * share / expected[chip] / 3600:.2f}" if chip in expected else "",
                f"{run_sec / 3600:.2f}",
                f"{run_sec / PAPER.training.steps * 1e3:.1f}",
            ]
        )
    header = ["chip", "peak, bf16", f"chip-hours at {share:.0%}", f"at {low_share:.0%}"]
    header.append("at what the compiler expects")
    header += [f"hours on {EXAMPLE_CHIPS} chips at {share:.0%}", "ms per update there"]
    return table(header, rows)


def _compiled_rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((DOCS / "tpu.json").read_text(encoding="utf-8"))["rows"]
    return rows


def compiled() -> str:
    """What XLA's compiler expects of the training step and the sampler on TPUs."""
    rows = [
        [
            f"`{row['preset']}`",
            row["program"],
            row["tpu"],
            str(row["chips"]),
            f"{row['arguments_mb'] + row['temporary_mb'] + row['code_mb']:,.0f} MB",
            f"{row['update_ms']:.1f}" if row["update_ms"] else "",
            f"{row['share_of_peak']:.1%}".replace("%", " %") if row["share_of_peak"] else "",
        ]
        for row in _compiled_rows()
    ]
    header = ["sizes", "program", "TPU", "chips", "memory of a chip", "ms per update, computed"]
    return table([*header, "share of the peak, computed"], rows)


def devices() -> str:
    """Clips on each device."""
    clips = PAPER.training.batch_clips
    return table(
        ["devices", *map(str, DEVICES)], [["clips each", *(str(clips // n) for n in DEVICES)]]
    )


def report_rows(name: str) -> list[dict[str, str]]:
    """The rows of a sampling report in docs/benchmarks, formatted, by column."""
    report = json.loads((DOCS / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))
    baseline = {row["batch"]: row["samples_per_sec"] for row in report["peer_rows"]}
    return [format_row(row, baseline.get(row["batch"])) for row in report["rows"]]


def format_row(row: dict[str, Any], baseline: float | None) -> dict[str, str]:
    """Format a row of a sampling report."""
    speed = row["samples_per_sec_total"]
    return {
        "sizes": f"`{row['preset']}`",
        "engine": f"auto: {row['engine']}" if row.get("is_auto") else row["engine"],
        "weights": row["weight_format"],
        "clips": str(row["batch"]),
        "batch size": str(row["batch_size"]),
        "samples/s": f"{speed:,.0f}",
        "x real time": f"{row['x_real_time_total']:.2f}",
        "x samplernn-pytorch": f"{speed / baseline:.1f}" if baseline else "",
        "of bandwidth": f"{row['share_of_reading']:.0%}".replace("%", " %"),
        "of arithmetic": f"{row['share_of_multiplying']:.0%}".replace("%", " %"),
        "peak memory": f"{row['host_peak_mb']:.0f} MB",
    }


def sampling_table(name: str, *left_out: str) -> str:
    """Return the rows of a report, without some columns."""
    rows = report_rows(name)
    columns = [column for column in rows[0] if column not in ("sizes", *left_out)]
    return table(columns, ([row[column] for column in columns] for row in rows))


def sampling_demo() -> str:
    """Speed of the sampler with `demo` sizes."""
    return sampling_table(DEMO_REPORT, "x samplernn-pytorch")


def sampling_paper() -> str:
    """Speed of the sampler with `paper` sizes."""
    return sampling_table(PAPER_REPORT, "x samplernn-pytorch", "peak memory")


def sampling_peer() -> str:
    """Speed with `paper` sizes beside samplernn-pytorch."""
    return sampling_table(PEER_REPORT, "of bandwidth", "of arithmetic", "peak memory")


def sampling_readme() -> str:
    """Speed of one clip: the scan in float32, and the default."""
    alone = [
        row
        for name in (DEMO_REPORT, PAPER_REPORT)
        for row in report_rows(name)
        if row["clips"] == row["batch size"] == "1"
    ]
    rows = [
        row
        for row in alone
        if row["engine"].startswith("auto")
        or (row["engine"], row["weights"]) == ("scan", "float32")
    ]
    columns = ("sizes", "engine", "weights", "samples/s", "x real time")
    return table(columns, ([row[name] for name in columns] for row in rows))


TABLES: dict[str, Callable[[], str]] = {
    make.__name__: make
    for make in (
        presets,
        constants,
        products,
        flop,
        chips,
        compiled,
        devices,
        sampling_demo,
        sampling_paper,
        sampling_peer,
        sampling_readme,
    )
}


def refresh(page: str) -> str:
    """Return the page with its generated tables replaced by current ones."""
    return BLOCK.sub(lambda match: f"{match[1]}{TABLES[match[2]]()}{match[3]}", page)


def main() -> int:
    """Write the pages, or with --check report the first that is out of date."""
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        current = refresh(page)
        if page == current:
            continue
        if "--check" in sys.argv[1:]:
            print(f"{path}: tables are out of date: run python docs/generate_tables.py")
            return 1
        path.write_text(current, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
