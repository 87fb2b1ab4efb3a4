"""One evaluation: the parts in order, their scores cached in a folder, tables and plots as made."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from v2s_jax.datasets import ClipDataset, open_dataset
from v2s_jax.evaluation.audio_metrics import evaluate_audio
from v2s_jax.evaluation.classifier import TrainAudio, fit_classifier, read_train_audio
from v2s_jax.evaluation.clips import (
    TRAIN,
    ReferenceClips,
    Selection,
    describe_data,
    find_videos,
    is_synthetic,
    read_labels,
    read_reference_clips,
    select,
)
from v2s_jax.evaluation.generation import choose_engines, load_or_generate
from v2s_jax.evaluation.likelihood import evaluate_conditioning, evaluate_likelihood
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.networks import evaluate_networks, open_networks
from v2s_jax.evaluation.report import (
    audio_tables,
    confusion,
    network_tables,
    page,
    plots,
    report_json,
    tables,
)
from v2s_jax.evaluation.report.tables import Table
from v2s_jax.evaluation.retrieval import Gallery, evaluate_retrieval, make_gallery
from v2s_jax.evaluation.score_cache import ScoreCache
from v2s_jax.evaluation.statistics import Waveform
from v2s_jax.kernels.interface import EngineOption, WeightOption
from v2s_jax.sampling import EngineChoice

Part = Literal["likelihood", "conditioning", "retrieval", "audio"]
ALL_PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """What is evaluated, on how many clips, and where results go."""

    data: str
    """Folder of a prepared dataset, or the gs:// or s3:// URL of its copy."""
    out: Path
    """Folder for report.json, report.html, plots, scores and audio."""
    parts: tuple[Part, ...] = ALL_PARTS
    """What to evaluate."""
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
    engine: EngineOption = "auto"
    """Generated audio: what runs the model; auto: the fastest that is exact here."""
    weights: WeightOption = "auto"
    """Generated audio: format of the weights, as in `v2s sample`."""
    batch_size: int | None = None
    """Generated audio: clips computed at once, as in `v2s sample`."""
    report_clips: int = 40
    """Most clips that report.html plays, balanced over categories."""
    videos: Path | None = None
    """For report.html: the folder of videos that the dataset was made from. Those of synthetic
    datasets are found without it."""
    embedding: Path | None = None
    """Also compare audio in the pretrained embedding of this file (docs/evaluation.md)."""
    judge: Path | None = None
    """Also ask this tagger what audio sounds like: yamnet.tflite, its class map beside it."""


class Evaluation:
    """An evaluation of models on clips; opens everything it needs before any long work.

    Raises InputError for a dataset that lacks what a part needs.
    """

    def __init__(
        self, settings: EvaluationSettings, models: Sequence[Model], clips: Selection
    ) -> None:
        self._settings, self._models, self._clips = settings, models, clips
        self._results: dict[str, Any] = {}
        self._sections: dict[str, list[Table | Path]] = {}
        self._report_clips: list[page.ReportClip] = []
        parts, split = settings.parts, clips.data.split
        self._splits = {split: clips}
        if "likelihood" in parts and split != TRAIN:
            categories = tuple(dict.fromkeys(clips.categories))
            train = select(open_dataset(settings.data, TRAIN), categories, settings.clips)
            self._splits = {TRAIN: train, split: clips}
        self._gallery = self._make_gallery() if "retrieval" in parts else None
        self._labels = read_labels(clips) if "audio" in parts else None
        self._networks = open_networks(settings.embedding, settings.judge, clips.data.categories)
        self._shown = clips.balanced(settings.report_clips)
        self._videos = find_videos(clips.subset(self._shown), settings.videos)

    def run(self, options: Mapping[str, Any]) -> None:
        """Evaluate the parts, print tables, and write report.json and report.html to `out`.

        `options` are recorded in report.json.
        """
        settings, data = self._settings, self._clips.data
        about = {"models": [_describe(model) for model in self._models], "data": [self._about()]}
        print("\n".join([*about["models"], *about["data"]]))
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
        print(f"\n{tables.INTERVAL_NOTE}")
        print(report_json.write_report(settings.out, options, self._models, data, self._results))
        about |= {
            "intervals": [tables.INTERVAL_NOTE],
            "made": [datetime.now().astimezone().isoformat(" ", "minutes")],
            "device": [report_json.describe_device()],
            "versions": [
                ", ".join(f"{name} {number}" for name, number in report_json.versions().items())
            ],
            "command": [shlex.join(["v2s", "evaluate", *sys.argv[1:]])],
        }
        path = settings.out / page.PAGE_FILE
        title = f"Evaluation: {', '.join(model.name for model in self._models)}"
        page.write_report_page(path, title, about, self._sections, self._report_clips, data.clock)
        print(path)

    def _make_gallery(self) -> Gallery:
        configs = [config for model in self._models for config in model.configs]
        min_samples = max(config.model.big_frame_size for config in configs)
        settings = self._settings
        limits = settings.gallery, settings.queries, settings.max_seconds
        return make_gallery(self._clips, *limits, min_samples)

    def _about(self) -> str:
        """Say what models are compared on."""
        data = self._clips.data
        kind = "synthetic clips" if is_synthetic(data) else "clips"
        categories = ", ".join(dict.fromkeys(self._clips.categories))
        return f"{len(self._clips)} {kind} of split {data.split} of {data.name}: {categories}"

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
        plot = plots.draw_likelihood(settings.out / "likelihood.png", results.rows, split)
        self._show("likelihood", *tables.likelihood_tables(results), plot)
        self._results["likelihood"] = results

    def _conditioning(self) -> None:
        settings = self._settings
        rows = evaluate_conditioning(self._models, self._clips, self._clip_scores, settings.seed)
        self._show("conditioning", tables.conditioning_table(rows))
        if rows:
            plot = plots.draw_conditioning(settings.out / "conditioning.png", rows)
            self._show("conditioning", plot)
        self._results["conditioning"] = rows

    def _retrieval(self) -> None:
        assert self._gallery is not None
        settings, scores = self._settings, self._gallery_scores
        results = evaluate_retrieval(self._models, self._gallery, scores, settings.seed)
        self._show("retrieval", *tables.retrieval_tables(results))
        if results.rows:
            plot = plots.draw_retrieval(settings.out / "retrieval.png", results.rows)
            self._show("retrieval", plot)
        self._results["retrieval"] = results

    def _audio(self) -> None:
        settings, config = self._settings, self._models[0].config
        clips = read_reference_clips(config, self._clips, self._labels, settings.seed)
        train = read_train_audio(settings.data, self._clips, config.model)
        classifier = train if isinstance(train, str) else fit_classifier(train)
        shown: dict[str, list[Waveform]] = {}

        def generate(model: Model) -> list[Waveform]:
            audio = self._generate(model)
            shown[model.name] = [audio[clip] for clip in self._shown]
            return audio

        results = evaluate_audio(self._models, clips, classifier, generate)
        self._show("audio", *audio_tables.audio_tables(results))
        self._report_clips = page.make_report_clips(clips.subset(self._shown), shown, self._videos)
        self._results["audio"] = results
        self._hear(clips, train)

    def _hear(self, clips: ReferenceClips, train: TrainAudio | str) -> None:
        """Ask the networks that were given."""
        out, models = self._settings.out, self._models
        results = evaluate_networks(self._networks, models, clips, train, self._generate)
        if results.embedding is not None:
            self._show("audio", *network_tables.embedding_tables(results.embedding))
            self._results["embedding"] = results.embedding
        if results.judge is not None:
            self._show("audio", network_tables.judge_table(results.judge))
            if results.judge.metrics:
                reports = results.judge.metrics
                self._show("audio", confusion.draw_confusion(out / "judge.png", reports))
            self._results["judge"] = results.judge

    def _generate(self, model: Model) -> list[Waveform]:
        s = self._settings
        choices = choose_engines(model, self._clips, s.engine, s.weights, s.batch_size)
        flags = list(dict.fromkeys(_flags(choice) for choice in choices))
        print(f"{model.name}: audio generated with {'; '.join(flags)}")
        for note in dict.fromkeys(choice.note for choice in choices if choice.note):
            print(f"note: {note}")
        self._results.setdefault("generated_with", {})[model.name] = flags
        folder = s.out / "sounds" / model.name
        identity = {"seed": s.seed, "temperature": s.temperature, "engine": flags}
        cache = ScoreCache(folder / "made.jsonl", _identity(model, self._clips.data) | identity)
        return load_or_generate(model, self._clips, folder, cache, s.seed, s.temperature, choices)

    def _clip_scores(self, model: Model, clips: Selection) -> ScoreCache:
        path = self._settings.out / "scores" / model.name / f"{clips.data.split}.jsonl"
        return ScoreCache(path, _identity(model, clips.data))

    def _gallery_scores(self, model: Model, gallery: Gallery) -> ScoreCache:
        path = self._settings.out / "scores" / model.name / "retrieval.jsonl"
        identity = {"samples": gallery.samples, "queries": gallery.query_ids}
        return ScoreCache(path, _identity(model, gallery.clips.data) | identity)


def _flags(choice: EngineChoice) -> str:
    """Return the options that make this choice; the batch size where audio depends on it."""
    flags = f"--engine {choice.engine} --weights {choice.weights}"
    return flags if choice.engine == "cpu" else f"{flags} --batch-size {choice.batch_size}"


def _describe(model: Model) -> str:
    kind = "one for all categories" if model.is_shared else "one for each category"
    files = ", ".join(
        f"the newest checkpoint of {path.name}" if path.is_dir() else path.name
        for path in model.checkpoints.values()
    )
    features, variant = report_json.describe_features(model.config), model.config.model.variant
    return f"{model.name}: {variant}, {kind}, features: {features}; of {files}"


def _identity(model: Model, data: ClipDataset) -> dict[str, Any]:
    """Return what scores of a model on a dataset depend on."""
    return {**model.identity, "data": f"{data.fingerprint}, {data.metadata['made_by']}"}
