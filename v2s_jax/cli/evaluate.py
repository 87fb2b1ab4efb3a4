"""Compare checkpoints on a dataset: likelihood, conditioning gain, retrieval, generated audio.

Prints tables and writes OUT/report.json, plots, and OUT/report.html: one page with all of it, and
with audio, video and spectrograms of some clips. Scores and audio are kept in OUT as they are made:
rerun the same command to resume.

`v2s study --help`: pages for listening studies with people.
"""

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from v2s_jax.bucket import check_local, url_of
from v2s_jax.checkpoints import local_checkpoint
from v2s_jax.cli.arguments import parse_args
from v2s_jax.cli.device import use_device
from v2s_jax.datasets import open_dataset
from v2s_jax.errors import InputError, require_extra
from v2s_jax.evaluation.clips import check_categories, select
from v2s_jax.evaluation.models import open_models
from v2s_jax.evaluation.runner import ALL_PARTS, Evaluation, EvaluationSettings
from v2s_jax.io import check_writable, directory_lock
from v2s_jax.sampling import check_seed, check_temperature


@dataclass(frozen=True, kw_only=True)
class EvaluateArgs(EvaluationSettings):
    """Options of `v2s evaluate`."""

    checkpoint: tuple[Path, ...]
    """Models: .safetensors files, the --workdir of training runs, or folders of one run for each
    category, or URLs of them; or real, aligned, frame, seq or flow: a pretrained model."""
    split: str = "test"
    """Split to compare models on; likelihood also evaluates `train`."""
    category: tuple[str, ...] = ()
    """Only clips of these categories."""
    device: str | None = None
    """Platform to run on: cpu, gpu or tpu; default: the best available."""


def main() -> None:
    """Run `v2s evaluate`."""
    args = parse_args(EvaluateArgs, "v2s evaluate", __doc__)
    require_extra("eval", "librosa", "mir_eval", "sklearn", "jinja2")
    check_local(args.out, "--out")
    check_seed(args.seed)
    check_temperature(args.temperature)
    if not args.parts:
        raise InputError(f"--parts: name at least one of {', '.join(ALL_PARTS)}")
    if args.batch_size is not None and args.batch_size < 1:
        raise InputError(f"--batch-size {args.batch_size}: use at least 1")
    for option, path in (("embedding", args.embedding), ("judge", args.judge)):
        if path is not None and "audio" not in args.parts:
            raise InputError(f"--{option} {path}: add audio to --parts, which it belongs to")
    if args.report_clips < 0:
        raise InputError(f"--report-clips {args.report_clips}: use 0 for none, or more")
    use_device(args.device)
    data = open_dataset(args.data, args.split)
    clips = select(data, check_categories(data, args.category), args.clips)
    with ExitStack() as stack:
        paths = [stack.enter_context(local_checkpoint(path)) for path in args.checkpoint]
        models = open_models(paths, data, tuple(dict.fromkeys(clips.categories)))
        evaluation = Evaluation(args, models, clips)
        stack.enter_context(directory_lock(args.out))
        check_writable(args.out)
        evaluation.run({name: _plain(value) for name, value in asdict(args).items()})


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return url_of(value) or str(value) if isinstance(value, Path) else value
