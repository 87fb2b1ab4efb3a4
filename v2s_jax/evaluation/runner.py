"""One evaluation: the parts in order, their scores cached in a folder, tables and plots as made."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float32

from v2s_jax.datasets import ClipDataset, open_dataset
from v2s_jax.evaluation.audio_metrics import evaluate_audio
from v2s_jax.evaluation.classifier import AudioClassifier, fit_on_train, save_classifier
from v2s_jax.evaluation.clips import (
    TRAIN,
    ClipVideo,
    Label,
    Selection,
    describe_data,
    find_videos,
    is_synthetic,
    read_labels,
    read_reference_clips,
    select,
)
from v2s_jax.evaluation.generation import load_or_generate
from v2s_jax.evaluation.likelihood import evaluate_conditioning, evaluate_likelihood
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.report.audio_tables import audio_tables
from v2s_jax.evaluation.report.clips import ReportClip, make_report_clips
from v2s_jax.evaluation.report.html import PAGE_FILE, write_report_page
from v2s_jax.evaluation.report.plots import draw_conditioning, draw_likelihood, draw_retrieval
from v2s_jax.evaluation.report.report_json import (
    Results,
    describe_device,
    describe_features,
    versions,
    write_report,
)
from v2s_jax.evaluation.report.tables import (
    INTERVAL_NOTE,
    Table,
    conditioning_table,
    likelihood_tables,
    retrieval_tables,
)
from v2s_jax.evaluation.retrieval import Gallery, evaluate_retrieval, make_gallery
from v2s_jax.evaluation.score_cache import ScoreCache

Part = Literal["likelihood", "conditioning", "retrieval", "audio"]
ALL_PARTS: tuple[Part, ...] = get_args(Part)
CLASSIFIER_FILE = "classifier.safetensors"


@dataclass(frozen=True)
class EvaluationSettings:
    """What is evaluated, on how many clips, and where results go."""

    out: Path
    parts: tuple[Part, ...]
    clips: int
    """Most clips of each category and split."""
    gallery: int
    """Most clips that retrieval ranks."""
    queries: int
    max_seconds: float
    """Length to which retrieval cuts clips."""
    seed: int
    temperature: float
    report_clips: int
    """Most clips on the page."""
    videos: Path | None
    """Folder of the videos that the dataset was made from."""


class Evaluation:
    """An evaluation of models on clips; opens everything it needs before any long work.

    Raises InputError for a dataset that lacks what a part needs.
    """

    def __init__(
        self,
        settings: EvaluationSettings,
        directory: str,
        models: Sequence[Model],
        clips: Selection,
    ) -> None:
        self._settings, self._directory = settings, directory
        self._models, self._clips = models, clips
        self._results = Results()
        self._sections: dict[str, list[Table | Path]] = {}
        self._report_clips: list[ReportClip] = []
        parts = settings.parts
        self._splits = self._select_splits() if "likelihood" in parts else {}
        self._gallery = self._make_gallery() if "retrieval" in parts else None
        self._labels: list[Label] | None = read_labels(clips) if "audio" in parts else None
        self._shown = clips.balanced(settings.report_clips)
        self._videos: dict[str, ClipVideo] = find_videos(clips.subset(self._shown), settings.videos)

    def run(self, options: Mapping[str, Any]) -> None:
        """Evaluate the parts, print tables, and write report.json and report.html to `out`.

        `options` are recorded in report.json.
        """
        settings, data = self._settings, self._clips.data
        print("\n".join([*self._about["models"], *self._about["data"]]))
        evaluators = {
            "likelihood": self._likelihood,
            "conditioning": self._conditioning,
            "retrieval": self._retrieval,
            "audio": self._audio,
        }
        for part, evaluate in evaluators.items():
            if part in settings.parts:
                self._sections[part] = []
                evaluate()
        print(f"\n{INTERVAL_NOTE}")
        print(write_report(settings.out, options, self._models, data, self._results))
        about = self._about | {
            "intervals": [INTERVAL_NOTE],
            "made": [datetime.now().astimezone().isoformat(" ", "minutes")],
            "device": [describe_device()],
            "versions": [", ".join(f"{name} {number}" for name, number in versions().items())],
            "command": [shlex.join(["v2s", "evaluate", *sys.argv[1:]])],
        }
        page = settings.out / PAGE_FILE
        title = f"Evaluation: {', '.join(model.name for model in self._models)}"
        write_report_page(page, title, about, self._sections, self._report_clips, data.clock)
        print(page)

    def _select_splits(self) -> dict[str, Selection]:
        """Return the clips of the train split and of the evaluated one."""
        split = self._clips.data.split
        if split == TRAIN:
            return {TRAIN: self._clips}
        categories = tuple(dict.fromkeys(self._clips.categories))
        train = select(open_dataset(self._directory, TRAIN), categories, self._settings.clips)
        return {TRAIN: train, split: self._clips}

    def _make_gallery(self) -> Gallery:
        configs = [config for model in self._models for config in model.configs]
        min_samples = max(config.model.big_frame_size for config in configs)
        limits = self._settings.gallery, self._settings.queries, self._settings.max_seconds
        return make_gallery(self._clips, *limits, min_samples)

    @cached_property
    def _about(self) -> dict[str, list[str]]:
        """What is compared, and on what."""
        models = []
        for model in self._models:
            kind = "one for all categories" if model.is_shared else "one for each category"
            files = ", ".join(
                f"the newest checkpoint of {path.name}" if path.is_dir() else path.name
                for path in model.checkpoints.values()
            )
            features = describe_features(model.config)
            variant = model.config.model.variant
            models.append(f"{model.name}: {variant}, {kind}, features: {features}; of {files}")
        data = self._clips.data
        kind = "synthetic clips" if is_synthetic(data) else "clips"
        categories = ", ".join(dict.fromkeys(self._clips.categories))
        return {
            "models": models,
            "data": [
                f"{len(self._clips)} {kind} of split {data.split} of {data.name}: {categories}"
            ],
        }

    def _show(self, part: Part, *items: Table | Path) -> None:
        """Print tables, and keep them and plots for the page."""
        for item in items:
            if isinstance(item, Table):
                item = replace(item, title=f"{describe_data(self._clips.data)}: {item.title}")
                print(f"\n{item.as_text()}")
            self._sections[part].append(item)

    def _likelihood(self) -> None:
        settings, split = self._settings, self._clips.data.split
        results = evaluate_likelihood(self._models, self._splits, self._clip_scores, settings.seed)
        plot = draw_likelihood(settings.out / "likelihood.png", results.rows, split)
        self._show("likelihood", *likelihood_tables(results), plot)
        self._results.likelihood = results

    def _conditioning(self) -> None:
        settings = self._settings
        rows = evaluate_conditioning(self._models, self._clips, self._clip_scores, settings.seed)
        self._show("conditioning", conditioning_table(rows))
        if rows:
            self._show("conditioning", draw_conditioning(settings.out / "conditioning.png", rows))
        self._results.conditioning = rows

    def _retrieval(self) -> None:
        assert self._gallery is not None
        settings = self._settings
        results = evaluate_retrieval(
            self._models, self._gallery, self._gallery_scores, settings.seed
        )
        self._show("retrieval", *retrieval_tables(results))
        if results.rows:
            self._show("retrieval", draw_retrieval(settings.out / "retrieval.png", results))
        self._results.retrieval = results

    def _audio(self) -> None:
        settings, config = self._settings, self._models[0].config
        clips = read_reference_clips(config, self._clips, self._labels, settings.seed)
        classifier = fit_on_train(self._directory, self._clips, config.model)
        if isinstance(classifier, AudioClassifier):
            save_classifier(settings.out / CLASSIFIER_FILE, classifier)
        shown: dict[str, list[Float32[np.ndarray, " _"]]] = {}

        def generate(model: Model) -> list[Float32[np.ndarray, " _"]]:
            audio = self._generate(model)
            shown[model.name] = [audio[clip] for clip in self._shown]
            return audio

        results = evaluate_audio(self._models, clips, classifier, generate)
        self._show("audio", *audio_tables(results))
        self._report_clips = make_report_clips(clips.subset(self._shown), shown, self._videos)
        self._results.audio = results

    def _generate(self, model: Model) -> list[Float32[np.ndarray, " _"]]:
        settings = self._settings
        folder = settings.out / "sounds" / model.name
        identity = _identity(model, self._clips.data)
        identity |= {"seed": settings.seed, "temperature": settings.temperature}
        cache = ScoreCache(folder / "made.jsonl", identity)
        return load_or_generate(
            model, self._clips, folder, cache, settings.seed, settings.temperature
        )

    def _clip_scores(self, model: Model, clips: Selection) -> ScoreCache:
        path = self._settings.out / "scores" / model.name / f"{clips.data.split}.jsonl"
        return ScoreCache(path, _identity(model, clips.data))

    def _gallery_scores(self, model: Model, gallery: Gallery) -> ScoreCache:
        identity = _identity(model, gallery.clips.data)
        identity |= {"samples": gallery.samples, "queries": gallery.query_ids}
        path = self._settings.out / "scores" / model.name / "retrieval.jsonl"
        return ScoreCache(path, identity)


def _identity(model: Model, data: ClipDataset) -> dict[str, Any]:
    """Return what scores of a model on a dataset depend on."""
    return {**model.identity, "data": f"{data.fingerprint}, {data.metadata['made_by']}"}
