"""Measure a checkout of samplernn-pytorch on the same work, in its own process.

The same: frame sizes, widths, layers, levels, batch, chunk, precision and optimizer. Different: it
has no video, embeds a level in as many dimensions as there are levels, and expands the coarsest
tier's frame to `dim` before its gates.
"""

import dataclasses
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import samplernn_pytorch_program as program
from v2s_jax.config import TWO_TIERS, Config, Precision
from v2s_jax.errors import InputError

FILES = ("model.py", "nn.py", "optim.py", "utils.py")
"""Files of the checkout that are used."""

PEER_SAMPLES = 256
"""Samples of each clip that the peer generates; each takes the same time."""


@dataclass(frozen=True)
class Peer:
    """A checkout of samplernn-pytorch and the Python that runs it."""

    folder: Path
    python: str = sys.executable
    """It has PyTorch."""

    def __post_init__(self) -> None:
        missing = [name for name in FILES if not (self.folder / name).is_file()]
        if missing:
            raise InputError(
                f"--peer {self.folder}: no {missing[0]} there: give a checkout of "
                "https://github.com/deepsound-project/samplernn-pytorch"
            )


@dataclass(frozen=True)
class PeerModel:
    """The arguments of the peer's `SampleRNN`."""

    frame_sizes: list[int]
    """Ratios of each tier to the one below, finest first."""
    n_rnn: int
    dim: int
    learn_h0: bool
    q_levels: int
    weight_norm: bool


@dataclass(frozen=True)
class PeerTrainingWork:
    """What the peer trains, as its program reads it."""

    model: PeerModel
    learning_rate: float
    batch: int
    chunk_samples: int
    repeats: int
    precision: Precision
    device: str


@dataclass(frozen=True)
class PeerSamplingWork:
    """What the peer generates, as its program reads it."""

    model: PeerModel
    batch: int
    samples: int
    """Of each clip."""
    repeats: int
    device: str


@dataclass(frozen=True)
class PeerSamplingRow:
    """Figures of the peer's generator."""

    batch: int
    samples: int
    device: str
    """As PyTorch names it."""
    torch: str
    threads: int
    parameters: int
    run_secs: list[float]
    samples_per_sec: float
    """In total, from the median run."""


@dataclass(frozen=True)
class PeerTrainingRow:
    """Figures of the peer's training step."""

    batch: int
    torch: str
    threads: int
    parameters: int
    step_secs: list[float]
    step_sec_median: float
    samples_per_sec: float


def training_work(
    config: Config, batch: int, repeats: int, precision: Precision, platform: str
) -> PeerTrainingWork:
    """Return the training work; raises InputError for a model that the peer does not have."""
    return PeerTrainingWork(
        model=_model(config),
        learning_rate=config.training.learning_rate,
        batch=batch,
        chunk_samples=config.training.chunk_samples,
        repeats=repeats,
        precision=precision,
        device=_torch_device(platform),
    )


def _torch_device(platform: str) -> str:
    return "cuda" if platform == "gpu" else "cpu"


def sampling_work(config: Config, batch: int, repeats: int, platform: str) -> PeerSamplingWork:
    """Return the generating work; raises InputError as `training_work` does."""
    size = config.model.big_frame_size
    return PeerSamplingWork(
        model=_model(config),
        batch=batch,
        samples=PEER_SAMPLES // size * size,
        repeats=repeats,
        device=_torch_device(platform),
    )


def _model(config: Config) -> PeerModel:
    model = config.model
    if model.cell != "gru" or model.mlp_dim != model.dim:
        raise InputError(
            f"preset {config.name} has the cell {model.cell}, a dim of {model.dim} and an mlp_dim "
            f"of {model.mlp_dim}: samplernn-pytorch has only GRUs, all of one width: leave out "
            "--peer"
        )
    two_tiers = model.tiers == TWO_TIERS
    return PeerModel(
        frame_sizes=[model.frame_size] if two_tiers else [model.frame_size, model.ratio],
        n_rnn=model.rnn_layers,
        dim=model.dim,
        learn_h0=model.learn_h0,
        q_levels=model.q_levels,
        weight_norm=model.weight_norm,
    )


def measure_peer_training(peer: Peer, work: PeerTrainingWork) -> PeerTrainingRow:
    """Let the peer train, and return its figures; raises InputError as `_run` does."""
    figures = _run(peer, work)
    median = statistics.median(figures["step_secs"])
    return PeerTrainingRow(
        batch=work.batch,
        **figures,
        step_sec_median=median,
        samples_per_sec=work.batch * work.chunk_samples / median,
    )


def measure_peer_sampling(peer: Peer, work: PeerSamplingWork) -> PeerSamplingRow:
    """Let the peer generate, and return its figures; raises InputError as `_run` does."""
    figures = _run(peer, work)
    median = statistics.median(figures["run_secs"])
    return PeerSamplingRow(
        batch=work.batch,
        samples=work.samples,
        device=work.device,
        **figures,
        samples_per_sec=work.batch * work.samples / median,
    )


def _run(peer: Peer, work: PeerTrainingWork | PeerSamplingWork) -> dict[str, Any]:
    """Run the program; raises InputError with the last line of its stderr when it fails."""
    command = [peer.python, program.__file__, str(peer.folder)]
    try:
        result = subprocess.run(
            command, input=json.dumps(dataclasses.asdict(work)), capture_output=True, text=True
        )
    except OSError as error:
        raise InputError(
            f"--peer-python {peer.python}: cannot be run ({error.strerror})"
        ) from error
    if result.returncode:
        output = result.stderr.strip().splitlines() or [f"code {result.returncode}"]
        raise InputError(
            f"--peer {peer.folder}: ended with: {output[-1]}: give a Python with PyTorch, as in "
            "--peer-python /path/to/venv/bin/python, or leave out --peer"
        )
    return dict(json.loads(result.stdout))
