"""What became of the videos that were to be sounded."""

from dataclasses import dataclass, field
from pathlib import Path

from v2s_jax.kernels.interface import EngineName
from v2s_jax.kernels.packing import WeightFormat


@dataclass(frozen=True)
class GeneratedFiles:
    """The files made for one video."""

    source: Path
    wav: Path
    video: Path
    figure: Path
    warnings: tuple[str, ...]
    seed: int
    """What it can be made with again, alone, by the same engine and format of weights."""
    bits_per_sample: float | None = None
    """-log2 p of what was generated, at the temperature, by which several takes are ranked."""


@dataclass
class Report:
    """What became of each video."""

    engine: EngineName
    weight_format: WeightFormat
    generated: list[GeneratedFiles] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)
    """Files of an earlier run with more takes, which these replace."""
    failed: dict[Path, str] = field(default_factory=dict)
    """One line for each video that could not be sounded."""
    audio_sec: float = 0.0
    """Length of all sound made."""
    generation_sec: float = 0.0
    """Time that took, decoding included, compilation and writing not."""

    @property
    def x_real_time(self) -> float:
        """Seconds of sound made per second of generation."""
        return self.audio_sec / self.generation_sec if self.generation_sec else 0.0
