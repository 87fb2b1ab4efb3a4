"""Measure how well a checkpoint's sound keeps time with the video, on synthetic clips.

Writes OUT/sync.json and prints its table: onsets of generated sound matched with the true events
of its own video, with those of other videos (the shuffled control), and the same for the true
sound (what the detector can reach).

`evaluate.py study --help`: pages on which people compare models.
"""

import json
import platform
import sys
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from jaxtyping import Float32

import v2s_jax
from v2s_jax.commands import study
from v2s_jax.commands.device import use_device
from v2s_jax.commands.words import read_words
from v2s_jax.config import Config
from v2s_jax.evaluation import (
    choose_clips,
    generate_sounds,
    onsets,
    sync_report,
    sync_table,
    true_sounds,
)
from v2s_jax.files import check_writable, whole_file
from v2s_jax.generate import Generator, check_seed, check_temperature, content_hash
from v2s_jax.generate.progress import sounding_bar
from v2s_jax.records import ClipRecord, DataSet, check_fits, open_data_set
from v2s_jax.training.checkpoint import load_params

REPORT_FILE = "sync.json"
LIBRARIES = ("jax", "flax", "numpy", "scipy", "librosa", "mir_eval")
"""Libraries whose version may change a number."""


@dataclass(frozen=True)
class EvaluateArgs:
    """What evaluate.py takes."""

    checkpoint: Path
    """A .safetensors file, or the --workdir of a training run."""
    data: str
    """Folder that `python -m data.prepare synthetic` wrote, with its clips beside the records, or
    the gs:// URL of its copy."""
    out: Path
    """Folder for sync.json; one that is there is replaced."""
    split: str = "test"
    """Split of the data set."""
    category: str = "drum"
    """Category of the clips: one that has events."""
    clips: int = 64
    """How many clips, at most."""
    seed: int = 0
    """Seed of the generated sound, of the shuffled control and of the interval."""
    temperature: float = 1.0
    """Below 1 the likely levels are preferred; 1 draws from the model as it is."""
    device: str | None = None
    """Platform to run on: cpu, gpu or tpu; the best one there is unless given."""


def main() -> None:
    """Evaluate as the command line says."""
    if sys.argv[1:2] == ["study"]:
        study.main(sys.argv[2:])
        return
    args = read_words(partial(tyro.cli, EvaluateArgs), prog="evaluate.py", description=__doc__)
    check_seed(args.seed)
    check_temperature(args.temperature)
    use_device(args.device)
    config, params = load_params(args.checkpoint)
    data = open_data_set(args.data, args.split)
    check_fits(data, config)
    clips = choose_clips(data, args.category, args.clips)
    records = [clip.record for clip in clips]
    check_writable(args.out)

    generator = Generator(config, params)
    rate_hz = config.clock.sample_rate_hz
    generated = _generate(generator, records, args)
    report = sync_report(
        [record.clip_id for record in records],
        [clip.events_sec for clip in clips],
        [onsets(waveform, rate_hz) for waveform in generated],
        [onsets(waveform, rate_hz) for waveform in true_sounds(records, config.model)],
        config.clock,
        args.seed,
    )
    path = args.out / REPORT_FILE
    with whole_file(path) as temporary:
        content = _origin(args, generator, params, data) | report
        temporary.write_text(json.dumps(content, indent=2) + "\n")
    print(
        f"{args.category}, split {args.split} of {data.name}: {report['clip_count']} clips, "
        f"{report['event_count']} events"
    )
    print(f"features: {features_told(config)}")
    print(sync_table(report))
    print(path)


def _generate(
    generator: Generator, records: list[ClipRecord], args: EvaluateArgs
) -> list[Float32[np.ndarray, "_"]]:
    """Generate behind a progress bar."""
    samples = sum(record.waveform.size for record in records)
    with sounding_bar(generator, samples) as on_samples:
        return generate_sounds(generator, records, args.seed, args.temperature, on_samples)


def features_told(config: Config) -> str:
    """Name what the model sees: the extractor, and how its features were made."""
    made = (f"{name} {value}" for name, value in vars(config.extraction).items() if value)
    return ", ".join([config.extractor, *made])


def _origin(
    args: EvaluateArgs, generator: Generator, params: dict[str, Any], data: DataSet
) -> dict[str, Any]:
    """Return what the report's numbers depend on."""
    device = jax.devices()[0]
    leaves = [np.ascontiguousarray(leaf).tobytes() for leaf in jax.tree.leaves(params)]
    return {
        "options": {name: _plain(value) for name, value in asdict(args).items()},
        "config": json.loads(generator.config.to_json()),
        "params_sha256": content_hash(*leaves).hex(),
        "tile": generator.tile,
        "data": {
            "directory": str(data.directory),
            "name": data.name,
            "metadata": dict(data.metadata),
        },
        "device": f"{device.platform}: {device.device_kind}",
        "versions": {
            "v2s_jax": v2s_jax.__version__,
            "python": platform.python_version(),
            **{library: version(library) for library in LIBRARIES},
        },
    }


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
