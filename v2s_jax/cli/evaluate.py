"""Compare checkpoints on a dataset: likelihood, conditioning gain, retrieval, generated audio.

Prints tables and writes OUT/report.json, plots, and OUT/report.html: one page with all of it, and
with audio, video and spectrograms of some clips. Scores and audio are kept in OUT as they are made:
rerun the same command to resume.

`v2s study --help`: pages for listening studies with people.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import tyro

from v2s_jax.cli.device import use_device
from v2s_jax.datasets import open_dataset
from v2s_jax.errors import InputError, require_extra
from v2s_jax.evaluation.clips import check_categories, select
from v2s_jax.evaluation.models import open_models
from v2s_jax.evaluation.runner import ALL_PARTS, Evaluation, EvaluationSettings, Part
from v2s_jax.io import check_writable
from v2s_jax.sampling import check_seed, check_temperature


@dataclass(frozen=True)
class EvaluateArgs:
    """Options of `v2s evaluate`."""

    checkpoint: tyro.conf.UseAppendAction[tuple[Path, ...]]
    """A .safetensors file, the --workdir of a training run, or a folder of one run for each
    category; or frame, seq or flow: a pretrained model. Repeat it for each model."""
    data: str
    """Folder of a prepared dataset, or the gs:// URL of its copy."""
    out: Path
    """Folder for report.json, report.html, plots, scores and audio."""
    parts: tuple[Part, ...] = ALL_PARTS
    """What to evaluate."""
    split: str = "test"
    """Split to compare models on; likelihood also evaluates `train`."""
    category: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Only clips of this category; may be repeated."""
    clips: int = 64
    """Most clips of each category and split: the first ones."""
    gallery: int = 20
    """Retrieval: most clips that are ranked, balanced over categories."""
    queries: int = 20
    """Retrieval: most of their videos that are queries."""
    max_seconds: float = 10.0
    """Retrieval: length to which clips are cut, unless the shortest is shorter."""
    seed: int = 0
    """Seed of generated audio, shuffled controls and intervals."""
    temperature: float = 1.0
    """Generated audio: below 1 likely levels are preferred; 1 samples from the model itself."""
    report_clips: int = 40
    """Most clips that report.html plays, balanced over categories."""
    videos: Path | None = None
    """For report.html: the folder of videos that the dataset was made from. Those of synthetic
    datasets are found without it."""
    device: str | None = None
    """Platform to run on: cpu, gpu or tpu; default: the best available."""


def main() -> None:
    """Run `v2s evaluate`."""
    args = tyro.cli(EvaluateArgs, prog="v2s evaluate", description=__doc__)
    require_extra("eval", "librosa", "mir_eval", "sklearn", "jinja2")
    check_seed(args.seed)
    check_temperature(args.temperature)
    if not args.parts:
        raise InputError(f"--parts: name at least one of {', '.join(ALL_PARTS)}")
    if args.report_clips < 0:
        raise InputError(f"--report-clips {args.report_clips}: use 0 for none, or more")
    use_device(args.device)
    data = open_dataset(args.data, args.split)
    categories = check_categories(data, args.category)
    models = open_models(args.checkpoint, data, categories)
    clips = select(data, categories, args.clips)
    names = (field.name for field in fields(EvaluationSettings))
    settings = EvaluationSettings(**{name: getattr(args, name) for name in names})
    evaluation = Evaluation(settings, args.data, models, clips)
    check_writable(args.out)
    evaluation.run({name: _plain(value) for name, value in asdict(args).items()})


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
