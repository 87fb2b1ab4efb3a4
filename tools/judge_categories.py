"""Ask a public audio tagger what clips sound like: a table of category by the category named.

    python -m tools.judge_categories --tagger yamnet.tflite --preset small --split test
    python -m tools.judge_categories --tagger yamnet.tflite --folder wavs

The first command renders clips of a preset and writes nothing; the second reads
FOLDER/CATEGORY/*.wav. The ten synthetic categories compete, so chance is one in ten; those of
FOLDER that are others, too. The judge is that of `v2s evaluate --judge` (docs/evaluation.md).

Needs `pip install ai-edge-litert`. The laws of sound of the synthetic dataset were chosen with this
tool's help, mostly on train clips; no model is trained on its answers.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from v2s_jax.cli.arguments import parse_args
from v2s_jax.cli.run import run_cli
from v2s_jax.datasets.synthetic.generator import CATEGORIES
from v2s_jax.datasets.synthetic.presets import find_preset
from v2s_jax.datasets.synthetic.spec import DatasetSpec
from v2s_jax.errors import InputError, unknown_name_error
from v2s_jax.evaluation.judge import RATE_HZ, open_judge
from v2s_jax.evaluation.judge_classes import classes_of
from v2s_jax.evaluation.statistics import Waveform
from v2s_jax.media import read_audio_file


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
    folders = [] if args.folder is None else category_folders(args.folder)
    given = {classes_of(path.name, ()): path.name for path in folders}
    others = [name for name in CATEGORIES if classes_of(name, ()) not in given]
    judge = open_judge(args.tagger, [*others, *given.values()])
    named: dict[str, Counter[str]] = defaultdict(Counter)
    for category, waveform, rate_hz in recorded(folders, args.clips) if folders else rendered(args):
        named[category][judge.name(waveform, rate_hz)] += 1
    print(table(named))


def rendered(args: JudgeArgs) -> Iterator[tuple[str, Waveform, int]]:
    """Yield category, waveform and sample rate of some of a preset's clips."""
    spec = DatasetSpec(find_preset(args.preset), args.seed)
    if args.split not in spec.preset.splits:
        raise unknown_name_error("--split", args.split, spec.preset.splits)
    for clip in spec.clips(args.split):
        if args.first <= clip.index < args.first + args.clips:
            yield clip.category, clip.render().waveform, clip.clock.sample_rate_hz


def category_folders(folder: Path) -> list[Path]:
    """Return the folders whose names are those of categories that have classes."""
    known = [path for path in sorted(folder.iterdir()) if classes_of(path.name, ())]
    if not known:
        raise InputError(f"{folder}: no folder is named after a category, such as dog")
    return known


def recorded(folders: list[Path], clips: int) -> Iterator[tuple[str, Waveform, int]]:
    """Yield category, waveform and sample rate of the first files of each category's folder."""
    for folder in folders:
        for path in sorted(folder.glob("*.wav"))[:clips]:
            yield folder.name, read_audio_file(path, RATE_HZ), RATE_HZ


def table(named: Mapping[str, Counter[str]]) -> str:
    """Format counts: a row for each category, a column for each one that was named."""
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
