"""Compare checkpoints on a data set: likelihood, what sight explains, retrieval, generated sound.

Writes OUT/report.json, prints its tables, draws them, and writes OUT/report.html: one page with all
of it, and with players and pictures of some clips. Scores and sounds are kept in OUT as they
are made: the same words go on where a run was ended.

`evaluate.py study --help`: pages on which people compare models.
"""

import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import tyro
from jaxtyping import Float32

from v2s_jax.cli.device import use_device
from v2s_jax.datasets import ClipDataset, open_dataset
from v2s_jax.errors import InputError
from v2s_jax.evaluation.classifier import SoundClassifier, save_classifier
from v2s_jax.evaluation.classifier_part import fit_on_train
from v2s_jax.evaluation.clips import Label
from v2s_jax.evaluation.export import check_unused
from v2s_jax.evaluation.export_part import export_models
from v2s_jax.evaluation.likelihood_part import likelihood_part, sight_part
from v2s_jax.evaluation.models import Model, open_models
from v2s_jax.evaluation.report import tables
from v2s_jax.evaluation.report.builder import ReportBuilder
from v2s_jax.evaluation.report.clip_shown import clips_shown
from v2s_jax.evaluation.report.clip_videos import find_videos
from v2s_jax.evaluation.report.json_report import (
    device_told,
    features_told,
    versions,
    write_report,
)
from v2s_jax.evaluation.report.page import PAGE_FILE, write_report_page
from v2s_jax.evaluation.report.plots import draw_likelihood, draw_retrieval, draw_sight
from v2s_jax.evaluation.report.sound_tables import sound_tables
from v2s_jax.evaluation.retrieval_part import Gallery, make_gallery, retrieval_part
from v2s_jax.evaluation.score_cache import ScoreCache
from v2s_jax.evaluation.selection import TRAIN, Selection, categories_named, select
from v2s_jax.evaluation.sounds_part import (
    ModelSounds,
    data_told,
    is_synthetic,
    known_clips,
    known_labels,
    make_sounds,
    sounds_part,
)
from v2s_jax.io import check_writable
from v2s_jax.sampling import check_seed, check_temperature

Part = Literal["likelihood", "sight", "retrieval", "sounds"]
ALL_PARTS: tuple[Part, ...] = get_args(Part)
CLASSIFIER_FILE = "classifier.safetensors"


@dataclass(frozen=True)
class EvaluateArgs:
    """What evaluate.py takes."""

    checkpoint: tyro.conf.UseAppendAction[tuple[Path, ...]]
    """A .safetensors file, the --workdir of a training run, or that of a run of each category; or
    frame, seq or flow: one that ships. Once for each model."""
    data: str
    """Folder that `prepare` wrote, or the gs:// URL of its copy."""
    out: Path
    """Folder for report.json, report.html, pictures, scores and sounds."""
    parts: tuple[Part, ...] = ALL_PARTS
    """What is evaluated."""
    split: str = "test"
    """The split that models are compared on; likelihood is told of `train` too."""
    category: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Only clips of this category; may be given several times."""
    clips: int = 64
    """How many clips of each category and split, at most: the first ones."""
    gallery: int = 20
    """Retrieval: how many sounds are ranked, at most; as many of each category as of the others."""
    queries: int = 20
    """Retrieval: how many of their videos are queries, at most."""
    max_seconds: float = 10.0
    """Retrieval: to what clips are cut, unless the shortest is shorter."""
    seed: int = 0
    """Seed of generated sounds, shuffled controls and intervals."""
    temperature: float = 1.0
    """Generated sounds: below 1 the likely levels are preferred; 1 draws from the model itself."""
    export: Path | None = None
    """New folder for true and generated sounds in av-benchmark's layout, in one for each model."""
    report_clips: int = 40
    """How many clips report.html has players and pictures of, at most: as many of each category as
    of the others."""
    videos: Path | None = None
    """report.html: the folder of videos that the data set was made of. Those of synthetic sets are
    found beside them."""
    device: str | None = None
    """Platform to run on: cpu, gpu or tpu; the best one there is unless given."""


def main() -> None:
    """Evaluate as the command line says."""
    args = tyro.cli(EvaluateArgs, prog="v2s evaluate", description=__doc__)
    check_seed(args.seed)
    check_temperature(args.temperature)
    if not args.parts:
        raise InputError(f"--parts: name at least one of {', '.join(ALL_PARTS)}")
    if args.report_clips < 0:
        raise InputError(f"--report-clips {args.report_clips}: use 0 for none, or more")
    use_device(args.device)
    data = open_dataset(args.data, args.split)
    categories = categories_named(data, args.category)
    models = open_models(args.checkpoint, data, categories)
    clips = select(data, categories, args.clips)
    shown = ReportBuilder(data_told(data))
    planned = _plan(args, models, clips, shown)
    videos = find_videos(clips.taken(clips.spread(args.report_clips)), args.videos)
    check_writable(args.out)
    about = _about(models, clips)
    print("\n".join([*about["models"], *about["data"]]))

    parts: dict[str, Any] = {}
    for part, evaluate in planned.items():
        shown.begin(part)
        parts[part] = evaluate()
    print(f"\n{tables.intervals_told()}")
    options = {name: _plain(value) for name, value in asdict(args).items()}
    print(write_report(args.out, options, models, data, parts))
    page = args.out / PAGE_FILE
    title = f"Evaluation: {', '.join(model.name for model in models)}"
    about |= {
        "intervals": [tables.intervals_told()],
        "made": [datetime.now().astimezone().isoformat(" ", "minutes")],
        "device": [device_told()],
        "versions": [", ".join(f"{name} {number}" for name, number in versions().items())],
        "command": [shlex.join(["python", *sys.argv])],
    }
    heard = clips_shown(shown.sounds, videos)
    write_report_page(page, title, about, shown.sections, heard, data.clock)
    print(page)


def _about(models: list[Model], clips: Selection) -> dict[str, list[str]]:
    """Say what is compared, and on what."""
    told = []
    for model in models:
        kind = "one for all categories" if model.joint else "one for each category"
        seen = features_told(model.config)
        files = ", ".join(
            f"the newest checkpoint of {path.name}" if path.is_dir() else path.name
            for path in model.checkpoints.values()
        )
        variant = model.config.model.variant
        told.append(f"{model.name}: {variant}, {kind}, features: {seen}; of {files}")
    data = clips.data
    synthetic = "synthetic " * is_synthetic(data)
    categories = ", ".join(dict.fromkeys(clips.categories))
    return {
        "models": told,
        "data": [
            f"{len(clips)} {synthetic}clips of split {data.split} of {data.name}: {categories}"
        ],
    }


def _plan(
    args: EvaluateArgs, models: list[Model], clips: Selection, shown: ReportBuilder
) -> dict[Part, Callable[[], Any]]:
    """Return what each part does, once all that it needs is there.

    Raises InputError for what it lacks, before any long work.
    """
    if args.export is not None:
        if "sounds" not in args.parts:
            raise InputError("--export: writes generated sounds: add sounds to --parts")
        check_unused(args.export)
        check_writable(args.export.resolve().parent)
    planned: dict[Part, Callable[[], Any]] = {}
    if "likelihood" in args.parts:
        splits = _splits(args, clips)
        planned["likelihood"] = lambda: _likelihood(args, models, splits, shown)
    if "sight" in args.parts:
        planned["sight"] = lambda: _sight(args, models, clips, shown)
    if "retrieval" in args.parts:
        least = max(config.model.big_frame_size for m in models for config in m.configs)
        gallery = make_gallery(clips, args.gallery, args.queries, args.max_seconds, least)
        planned["retrieval"] = lambda: _retrieval(args, models, gallery, shown)
    if "sounds" in args.parts:
        labels = known_labels(clips)
        heard = clips.spread(args.report_clips)
        planned["sounds"] = lambda: _sounds(args, models, clips, labels, heard, shown)
    return planned


def _splits(args: EvaluateArgs, clips: Selection) -> dict[str, Selection]:
    """Return the clips that likelihood is told of, those of the train split first."""
    if args.split == TRAIN:
        return {TRAIN: clips}
    categories = tuple(dict.fromkeys(clips.categories))
    train = select(open_dataset(args.data, TRAIN), categories, args.clips)
    return {TRAIN: train, args.split: clips}


def _likelihood(
    args: EvaluateArgs, models: list[Model], splits: dict[str, Selection], shown: ReportBuilder
) -> dict[str, Any]:
    found = likelihood_part(models, splits, partial(_keep_clips, args.out), args.seed)
    shown.tables(*tables.likelihood_tables(found))
    picture = args.out / "likelihood.png"
    draw_likelihood(picture, found["rows"], args.split)
    shown.picture(picture)
    return found


def _sight(
    args: EvaluateArgs, models: list[Model], clips: Selection, shown: ReportBuilder
) -> list[dict[str, Any]]:
    rows = sight_part(models, clips, partial(_keep_clips, args.out), args.seed)
    shown.tables(tables.sight_table(rows))
    if rows:
        picture = args.out / "sight.png"
        draw_sight(picture, rows)
        shown.picture(picture)
    return rows


def _retrieval(
    args: EvaluateArgs, models: list[Model], gallery: Gallery, shown: ReportBuilder
) -> dict[str, Any]:
    found = retrieval_part(models, gallery, partial(_keep_gallery, args.out), args.seed)
    shown.tables(*tables.retrieval_tables(found))
    if found["rows"]:
        picture = args.out / "retrieval.png"
        draw_retrieval(picture, found)
        shown.picture(picture)
    return found


def _sounds(
    args: EvaluateArgs,
    models: list[Model],
    clips: Selection,
    labels: list[Label] | None,
    heard: list[int],
    shown: ReportBuilder,
) -> dict[str, Any]:
    """Return every metric of generated sounds; keep what the page plays, and export."""
    known = known_clips(models[0], clips, labels, args.seed)
    classifier = fit_on_train(args.data, clips, models[0].config.model)
    if isinstance(classifier, SoundClassifier):
        save_classifier(args.out / CLASSIFIER_FILE, classifier)

    def make(model: Model) -> list[Float32[np.ndarray, " _"]]:
        sounds = _made(args, clips, model)
        if heard:
            shown.hear(ModelSounds(model.name, known, sounds).taken(heard))
        return sounds

    found = sounds_part(models, known, classifier, make)
    shown.tables(*sound_tables(found))
    if args.export is not None:
        again = partial(_made, args, clips)
        print(f"\n{export_models(args.export, models, clips, known, again)}")
    return found


def _made(args: EvaluateArgs, clips: Selection, model: Model) -> list[Float32[np.ndarray, " _"]]:
    folder = args.out / "sounds" / model.name
    made_of = _identity(model, clips.data) | {"seed": args.seed, "temperature": args.temperature}
    kept = ScoreCache(folder / "made.jsonl", made_of)
    return make_sounds(model, clips, folder, kept, args.seed, args.temperature)


def _keep_clips(out: Path, model: Model, clips: Selection) -> ScoreCache:
    path = out / "scores" / model.name / f"{clips.data.split}.jsonl"
    return ScoreCache(path, _identity(model, clips.data))


def _keep_gallery(out: Path, model: Model, gallery: Gallery) -> ScoreCache:
    asked = {"samples": gallery.samples, "queries": gallery.query_ids}
    path = out / "scores" / model.name / "retrieval.jsonl"
    return ScoreCache(path, _identity(model, gallery.sounds.data) | asked)


def _identity(model: Model, data: ClipDataset) -> dict[str, Any]:
    """Return what scores of a model on a data set depend on."""
    return {
        **model.identity,
        "data": f"{data.fingerprint}, {data.metadata['made_by']}",
    }


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value
