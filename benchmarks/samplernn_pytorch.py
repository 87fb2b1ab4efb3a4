"""Measure a checkout of samplernn-pytorch on the same work, in its own process.

The same: frame sizes, widths, layers, levels, batch, chunk, precision and optimizer. Different: it
has no video, embeds a level in as many dimensions as there are levels, and expands the coarsest
tier's frame to `dim` before its gates.
"""

import json
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import samplernn_pytorch_program as program
from benchmarks.common import ModelArgs
from v2s_jax.config import TWO_TIERS, Config
from v2s_jax.errors import InputError

FILES = ("model.py", "nn.py", "optim.py", "utils.py")
"""Files of the checkout that are used."""
PEER_SAMPLES = 256
"""Samples of each clip that the peer generates; each takes the same time."""
Work = dict[str, Any]
"""What the peer does, as its program reads it."""


@dataclass(frozen=True)
class PeerRow:
    """Figures of the peer."""

    batch: int
    samples: int
    """Of each clip: generated in a run, or trained in an update."""
    device: str
    """As PyTorch names it."""
    torch: str
    threads: int
    parameters: int
    run_secs: list[float]
    """Each run of the generator, or each update."""
    samples_per_sec: float
    """Of all clips, from the median run."""


def check_peer(args: ModelArgs, config: Config) -> None:
    """Raise InputError when the peer cannot do the work, before anything is measured."""
    if args.peer is None:
        return
    peer_model(config)
    missing = [name for name in FILES if not (args.peer / name).is_file()]
    if missing:
        raise InputError(
            f"--peer {args.peer}: no {missing[0]} there: give a checkout of "
            "https://github.com/deepsound-project/samplernn-pytorch"
        )
    if args.device == "tpu":
        raise InputError("--peer: samplernn-pytorch runs on CPU and GPU: leave it out on a TPU")


def peer_model(config: Config) -> Work:
    """Return the arguments of the peer's `SampleRNN`; InputError for a model it does not have."""
    model = config.model
    if model.cell != "gru" or model.mlp_dim != model.dim:
        raise InputError(
            f"preset {config.name} has the cell {model.cell}, a dim of {model.dim} and an mlp_dim "
            f"of {model.mlp_dim}: samplernn-pytorch has only GRUs, all of one width: leave out "
            "--peer"
        )
    two_tiers = model.tiers == TWO_TIERS
    return {
        # Ratios of each tier to the one below, finest first.
        "frame_sizes": [model.frame_size] if two_tiers else [model.frame_size, model.ratio],
        "n_rnn": model.rnn_layers,
        "dim": model.dim,
        "learn_h0": model.learn_h0,
        "q_levels": model.q_levels,
        "weight_norm": model.weight_norm,
    }


def sampling_work(config: Config) -> Work:
    """Return the work of generating."""
    size = config.model.big_frame_size
    return {"task": "sampling", "samples": PEER_SAMPLES // size * size}


def training_work(config: Config, precision: str) -> Work:
    """Return the work of training."""
    training = config.training
    return {
        "task": "training",
        "samples": training.chunk_samples,
        "learning_rate": training.learning_rate,
        "precision": precision,
    }


def measure_peer(
    args: ModelArgs, config: Config, work: Work, batches: Sequence[int], device_kind: str
) -> list[PeerRow]:
    """Let the peer work with each number of clips, on the same kind of device."""
    if args.peer is None:
        return []
    device = "cpu" if device_kind == "cpu" else "cuda"
    work = {**work, "model": peer_model(config), "repeats": args.repeats, "device": device}
    return [_measure(args, {**work, "batch": batch}) for batch in batches]


def _measure(args: ModelArgs, work: Work) -> PeerRow:
    figures = _run(args, work)
    median = statistics.median(figures["run_secs"])
    return PeerRow(
        batch=work["batch"],
        samples=work["samples"],
        device=work["device"],
        **figures,
        samples_per_sec=work["batch"] * work["samples"] / median,
    )


def _run(args: ModelArgs, work: Work) -> dict[str, Any]:
    """Run the program; raises InputError with the last line of its stderr when it fails."""
    command = [args.peer_python, program.__file__, str(args.peer)]
    try:
        result = subprocess.run(command, input=json.dumps(work), capture_output=True, text=True)
    except OSError as error:
        raise InputError(
            f"--peer-python {args.peer_python}: cannot be run ({error.strerror})"
        ) from error
    if result.returncode:
        output = result.stderr.strip().splitlines() or [f"code {result.returncode}"]
        raise InputError(
            f"--peer {args.peer}: ended with: {output[-1]}: give a Python with PyTorch, as in "
            "--peer-python /path/to/venv/bin/python, or leave out --peer"
        )
    return dict(json.loads(result.stdout))


def compare(peer_rows: Sequence[PeerRow], ours: Sequence[tuple[int, str, float]]) -> str:
    """Describe the peer, and how many times as fast ours are: batch, name, and samples/s."""
    first = peer_rows[0]
    lines = [
        f"samplernn-pytorch at the same sizes, without video ({first.parameters:,} parameters), "
        f"PyTorch {first.torch} on {first.device}, {first.threads} threads, {first.samples} "
        "samples a clip"
    ]
    for row in peer_rows:
        lines.append(f"batch {row.batch}: {row.samples_per_sec:,.0f} samples/s in total")
        for batch, name, samples_per_sec in ours:
            if batch == row.batch:
                lines.append(f"  {name}: {samples_per_sec / row.samples_per_sec:.1f} x")
    return "\n".join(lines)
