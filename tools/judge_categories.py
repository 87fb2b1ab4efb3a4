"""Ask a public audio tagger what clips sound like: a table of category by the group that it names.

    python -m tools.judge_categories --tagger yamnet.tflite --preset small --split test
    python -m tools.judge_categories --tagger yamnet.tflite --folder wavs

The first command renders clips of a preset and writes nothing; the second reads
FOLDER/CATEGORY/*.wav. The tagger is YAMNet (Google, Apache-2.0): 0.975 s of mono audio at 16 kHz
in, the scores of 521 AudioSet classes out, named in yamnet_class_map.csv next to its file. It is
scored every half window; a class counts with its highest score, and of the groups below the one
whose best class scores highest is the answer. Chance is one in ten.

Needs `pip install ai-edge-litert`. The laws of sound of the synthetic dataset were chosen with this
tool's help, mostly on train clips; no model is trained on its answers.
"""

import csv
import importlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import Float32
from scipy.signal import resample_poly

from v2s_jax.cli.arguments import parse_args
from v2s_jax.cli.run import run_cli
from v2s_jax.datasets.synthetic.presets import find_preset
from v2s_jax.datasets.synthetic.spec import DatasetSpec
from v2s_jax.errors import InputError, unknown_name_error
from v2s_jax.io import wrap_read_errors
from v2s_jax.media import read_audio_file

RATE_HZ = 16_000
WINDOW = 15_600  # samples that the tagger hears at once: 0.975 s
HOP = WINDOW // 2
CLASS_MAP = "yamnet_class_map.csv"
RUNTIME = "ai_edge_litert.interpreter"

GROUPS = {
    "baby_crying": ("Baby cry, infant cry", "Crying, sobbing"),
    "chainsaw": ("Chainsaw",),
    "dog": ("Dog", "Bark", "Yip", "Howl", "Bow-wow", "Growling", "Whimper (dog)"),
    "drum": (
        *("Drum kit", "Drum machine", "Drum", "Snare drum", "Rimshot", "Drum roll", "Bass drum"),
        *("Timpani", "Tabla", "Percussion"),
    ),
    "fireworks": ("Fireworks", "Firecracker"),
    "helicopter": ("Helicopter",),
    "printer": ("Printer",),
    "rail_transport": (
        *("Rail transport", "Train", "Train whistle", "Train horn", "Railroad car, train wagon"),
        *("Train wheels squealing", "Subway, metro, underground"),
    ),
    "snoring": ("Snoring",),
    "water_flowing": (
        *("Water", "Stream", "Waterfall", "Ocean", "Waves, surf", "Rain", "Raindrop"),
        *("Rain on surface", "Pour", "Trickle, dribble", "Gush", "Water tap, faucet", "Gurgling"),
        *("Splash, splatter", "Liquid", "Drip", "Fill (with liquid)"),
    ),
}
"""The AudioSet classes that name each category."""

Scores = Float32[np.ndarray, " classes"]
Tagger = Callable[[Float32[np.ndarray, " window"]], Scores]


@dataclass(frozen=True)
class JudgeArgs:
    """Clips to judge."""

    tagger: Path
    """yamnet.tflite, with yamnet_class_map.csv in the same folder."""
    preset: str = "small"
    """Render clips of this preset: tiny, small, full, demo or pair."""
    split: str = "test"
    """Split of the rendered clips."""
    clips: int = 10
    """Clips of each category, at most."""
    first: int = 0
    """Number of the first rendered clip of each category."""
    seed: int = 0
    """Seed of the rendered clips."""
    folder: Path | None = None
    """Read FOLDER/CATEGORY/*.wav instead."""


def main() -> None:
    """Judge the clips and print a table."""
    args = parse_args(JudgeArgs, "python -m tools.judge_categories", __doc__)
    if args.clips < 1 or args.first < 0:
        raise InputError(
            f"--clips {args.clips} --first {args.first}: must be at least 1 and at least 0"
        )
    columns = group_columns(read_class_names(args.tagger.with_name(CLASS_MAP)))
    tagger = open_tagger(args.tagger)
    named: dict[str, Counter[str]] = defaultdict(Counter)
    waveforms = rendered(args) if args.folder is None else recorded(args.folder, args.clips)
    for category, waveform in waveforms:
        named[category][name_sound(highest_scores(tagger, waveform), columns)] += 1
    print(table(named))


def rendered(args: JudgeArgs) -> Iterator[tuple[str, Float32[np.ndarray, " samples"]]]:
    """Yield category and waveform of some of a preset's clips, at the tagger's rate."""
    spec = DatasetSpec(find_preset(args.preset), args.seed)
    if args.split not in spec.preset.splits:
        raise unknown_name_error("--split", args.split, spec.preset.splits)
    for clip in spec.clips(args.split):
        if args.first <= clip.index < args.first + args.clips:
            waveform = resample_poly(clip.render().waveform, RATE_HZ, clip.clock.sample_rate_hz)
            yield clip.category, waveform


def recorded(folder: Path, clips: int) -> Iterator[tuple[str, Float32[np.ndarray, " samples"]]]:
    """Yield category and waveform of the first files of each category's folder."""
    known = [path for path in sorted(folder.iterdir()) if path.name in GROUPS]
    if not known:
        raise InputError(f"{folder}: no folder is named after a category: {', '.join(GROUPS)}")
    for category in known:
        for path in sorted(category.glob("*.wav"))[:clips]:
            yield category.name, read_audio_file(path, RATE_HZ)


def open_tagger(path: Path) -> Tagger:
    """Open the tagger; raise InputError if the file or its runtime is missing."""
    if not path.is_file():
        raise InputError(f"{path}: not a file: give YAMNet's .tflite file")
    network = import_runtime().Interpreter(str(path), num_threads=1)
    network.allocate_tensors()
    source = network.get_input_details()[0]["index"]
    target = network.get_output_details()[0]["index"]

    def tag(window: Float32[np.ndarray, " window"]) -> Scores:
        network.set_tensor(source, window[None])
        network.invoke()
        return network.get_tensor(target)[0].copy()

    return tag


def import_runtime() -> ModuleType:
    """Import the tagger's runtime, which no extra of the package has."""
    try:
        return importlib.import_module(RUNTIME)
    except ImportError as error:
        raise InputError(f"{RUNTIME}: not installed: pip install ai-edge-litert") from error


def read_class_names(path: Path) -> list[str]:
    """Return the names of the tagger's classes, in its order."""
    with wrap_read_errors(path), path.open(newline="", encoding="utf-8") as lines:
        return [row["display_name"] for row in csv.DictReader(lines)]


def group_columns(names: list[str]) -> dict[str, list[int]]:
    """Return where the classes of each group are among the tagger's."""
    return {group: [names.index(name) for name in members] for group, members in GROUPS.items()}


def highest_scores(tagger: Tagger, waveform: Float32[np.ndarray, " samples"]) -> Scores:
    """Return each class's highest score over the windows of a waveform, scaled to a peak of 1.

    A waveform shorter than one window is repeated.
    """
    scaled = waveform / max(float(np.abs(waveform).max()), 1e-9)
    if len(scaled) < WINDOW:
        scaled = np.tile(scaled, -(-WINDOW // len(scaled)))
    starts = range(0, len(scaled) - WINDOW + 1, HOP)
    windows = [scaled[start : start + WINDOW].astype(np.float32) for start in starts]
    return np.max([tagger(window) for window in windows], axis=0)


def name_sound(scores: Scores, columns: Mapping[str, list[int]]) -> str:
    """Return the group whose best class scores highest."""
    return max(columns, key=lambda group: float(scores[columns[group]].max()))


def table(named: Mapping[str, Counter[str]]) -> str:
    """Format counts: a row for each category, a column for each group that was named."""
    groups = sorted({group for counts in named.values() for group in counts})
    width = max(map(len, [*groups, *named, "category"])) + 2
    lines = ["category".ljust(width) + "".join(group.rjust(width) for group in [*groups, "right"])]
    for category, counts in named.items():
        right = f"{counts[category]} of {counts.total()}"
        cells = [*(str(counts[group] or "-") for group in groups), right]
        lines.append(category.ljust(width) + "".join(cell.rjust(width) for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    run_cli(main)
