"""The same work by a copy of samplernn-pytorch that the user has, in a process of its own.

Equal are frame sizes, widths, layers, levels, batch, chunk, precision and optimiser. What differs:
it sees no video, embeds a level in as many dimensions as there are levels, and expands the coarsest
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

from benchmarks import samplernn_pytorch_program as peer_program
from benchmarks.training import TrainingCase
from v2s_jax.config import TWO_TIERS, Config, Precision
from v2s_jax.errors import InputError

FILES = ("model.py", "nn.py", "optim.py", "utils.py")
"""What is used of the copy."""

PEER_SAMPLES = 256
"""Samples of each clip that the copy generates: it takes equally long for each."""


@dataclass(frozen=True)
class Peer:
    """A copy of samplernn-pytorch and the Python that runs it."""

    folder: Path
    python: str = sys.executable
    """One with PyTorch."""

    def __post_init__(self) -> None:
        missing = [name for name in FILES if not (self.folder / name).is_file()]
        if missing:
            raise InputError(
                f"--peer {self.folder}: no {missing[0]} there: give a checkout of "
                "https://github.com/deepsound-project/samplernn-pytorch"
            )


@dataclass(frozen=True)
class PeerModel:
    """The copy's model: the arguments of its `SampleRNN`."""

    frame_sizes: list[int]
    """Finest first: each tier's frame over the one below."""
    n_rnn: int
    dim: int
    learn_h0: bool
    q_levels: int
    weight_norm: bool


@dataclass(frozen=True)
class PeerWork:
    """What the copy is to train, in its own words."""

    model: PeerModel
    learning_rate: float
    batch: int
    chunk_samples: int
    repeats: int
    precision: Precision
    device: str


@dataclass(frozen=True)
class PeerSamplingWork:
    """What the copy is to generate, in its own words."""

    model: PeerModel
    batch: int
    samples: int
    """Of each clip."""
    repeats: int
    device: str


@dataclass(frozen=True)
class PeerSamplingRow:
    """What was measured of the copy's generator."""

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
class PeerRow:
    """What was measured of the copy."""

    batch: int
    torch: str
    threads: int
    parameters: int
    step_secs: list[float]
    step_sec_median: float
    samples_per_sec: float


def peer_work(case: TrainingCase, platform: str) -> PeerWork:
    """Return the case in the copy's words.

    Raises InputError for a model that the copy cannot be.
    """
    training = case.config.training
    return PeerWork(
        model=_model(case.config),
        learning_rate=training.learning_rate,
        batch=case.batch,
        chunk_samples=training.chunk_samples,
        repeats=case.repeats,
        precision=case.precision,
        device=_torch_device(platform),
    )


def _torch_device(platform: str) -> str:
    return "cuda" if platform == "gpu" else "cpu"


def sampling_work(config: Config, batch: int, repeats: int, platform: str) -> PeerSamplingWork:
    """Return a batch of clips in the copy's words; raises InputError as `peer_work` does."""
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
            f"of {model.mlp_dim}: samplernn-pytorch has GRUs alone, all of one width: leave --peer "
            "out"
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


def measure_peer(peer: Peer, work: PeerWork) -> PeerRow:
    """Let the copy train, and return its figures; raises InputError as `_answer` does."""
    figures = _answer(peer, work)
    median = statistics.median(figures["step_secs"])
    return PeerRow(
        batch=work.batch,
        **figures,
        step_sec_median=median,
        samples_per_sec=work.batch * work.chunk_samples / median,
    )


def measure_peer_sampling(peer: Peer, work: PeerSamplingWork) -> PeerSamplingRow:
    """Let the copy generate, and return its figures; raises InputError as `_answer` does."""
    figures = _answer(peer, work)
    median = statistics.median(figures["run_secs"])
    return PeerSamplingRow(
        batch=work.batch,
        samples=work.samples,
        device=work.device,
        **figures,
        samples_per_sec=work.batch * work.samples / median,
    )


def _answer(peer: Peer, work: PeerWork | PeerSamplingWork) -> dict[str, Any]:
    """Let the copy work.

    Raises InputError when its Python cannot run it, with the last line of what it said.
    """
    command = [peer.python, peer_program.__file__, str(peer.folder)]
    try:
        done = subprocess.run(
            command, input=json.dumps(dataclasses.asdict(work)), capture_output=True, text=True
        )
    except OSError as error:
        raise InputError(
            f"--peer-python {peer.python}: cannot be run ({error.strerror})"
        ) from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"code {done.returncode}"]
        raise InputError(
            f"--peer {peer.folder}: ended with: {said[-1]}: give a Python with PyTorch, as in "
            "--peer-python /path/to/venv/bin/python, or leave --peer out"
        )
    return dict(json.loads(done.stdout))
