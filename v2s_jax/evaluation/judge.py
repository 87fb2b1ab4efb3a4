"""An outside judge: a public tagger of AudioSet classes names what it hears.

    score(class)    = highest over windows of the waveform, half a window apart, scaled to peak 1
    named category  = the one whose best class scores highest, among those of the dataset

The tagger is a TFLite file, such as YAMNet's (Google, Apache-2.0): windows of mono audio at 16 kHz
in, the scores of all classes out. The names of its classes are in its metadata, or in
yamnet_class_map.csv beside it. Nothing is fitted on reference audio, so the accuracy of reference
audio is a ceiling that says how well the tagger knows the categories.
"""

import csv
import importlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float32
from scipy.signal import resample_poly
from tqdm import tqdm

from v2s_jax.errors import InputError, reason
from v2s_jax.evaluation.classifier import CategoryReport, evaluate_classification
from v2s_jax.evaluation.clips import ReferenceClips
from v2s_jax.evaluation.judge_classes import classes_of
from v2s_jax.evaluation.measurement import REFERENCE
from v2s_jax.evaluation.statistics import Audio, Waveform
from v2s_jax.io import ZIP_ERRORS, file_hash, wrap_read_errors

RATE_HZ = 16_000
CLASS_MAP = "yamnet_class_map.csv"
NAME_COLUMN = "display_name"
RUNTIME = "ai_edge_litert.interpreter"
TFLITE_MARK = slice(4, 8), b"TFL3"
"""Where a TFLite file says what it is."""
MIN_PEAK = 1e-9
"""Quieter audio is silence, and not scaled."""
MIN_CATEGORIES = 2

Scores = Float32[np.ndarray, " classes"]


@dataclass(frozen=True)
class Judge:
    """A tagger, and where its classes of each category are."""

    path: Path
    sha256: str
    tag: Callable[[Float32[np.ndarray, " window"]], Scores]
    """Return the scores of one window."""
    window: int
    """Samples that it hears at once."""
    classes: Mapping[str, Sequence[str]]
    """Its classes of each category that it knows."""
    columns: Mapping[str, Sequence[int]]
    """Where these are among all its classes."""

    def name(self, waveform: Waveform, sample_rate_hz: int) -> str:
        """Return the category whose best class scores highest."""
        scores = self.highest_scores(resample_poly(waveform, RATE_HZ, sample_rate_hz))
        return max(self.columns, key=lambda name: float(scores[list(self.columns[name])].max()))

    def highest_scores(self, waveform: Waveform) -> Scores:
        """Return each class's highest score over the windows of a waveform at RATE_HZ.

        A waveform shorter than one window is repeated.
        """
        scaled = waveform / max(float(np.abs(waveform).max()), MIN_PEAK)
        if len(scaled) < self.window:
            scaled = np.tile(scaled, -(-self.window // len(scaled)))
        starts = range(0, len(scaled) - self.window + 1, self.window // 2)
        windows = [scaled[start : start + self.window].astype(np.float32) for start in starts]
        return np.max([self.tag(window) for window in windows], axis=0)


@dataclass(frozen=True)
class JudgeResults:
    """What a tagger named the audio of all models and controls."""

    file: str
    sha256: str
    classes: dict[str, list[str]]
    """The tagger's classes of each category."""
    unknown: list[str]
    """Categories for which it has no class; their clips are left out."""
    metrics: dict[str, CategoryReport]
    """Of each model, then of each control; empty without clips of known categories."""


def open_judge(path: Path, categories: Sequence[str]) -> Judge:
    """Open a tagger that tells categories apart.

    Raises InputError when the file is not a tagger's, its runtime is missing, or it knows fewer
    than two of the categories.
    """
    with wrap_read_errors(path):
        content = path.read_bytes()
    where, mark = TFLITE_MARK
    if content[where] != mark:
        raise InputError(f"{path}: not a TFLite file: give a tagger's, such as yamnet.tflite")
    names = read_class_names(path)
    network = _open_network(path)
    (source, *more), (target, *_) = network.get_input_details(), network.get_output_details()
    window, scores = int(source["shape"][-1]), int(target["shape"][-1])
    if more or window < 2 or int(np.prod(source["shape"])) != window:
        shapes = [tuple(map(int, one["shape"])) for one in (source, *more)]
        raise InputError(f"{path}: reads {shapes}, not one window of audio: give another tagger")
    if scores != len(names):
        raise InputError(
            f"{path}: scores {scores} classes, its class map names {len(names)}: give the map "
            "that belongs to it"
        )
    known = {
        category: [name for name in classes_of(category, categories) if name in names]
        for category in categories
    }
    classes = {category: found for category, found in known.items() if found}
    if len(classes) < MIN_CATEGORIES:
        raise InputError(
            f"{path}: has classes for {', '.join(classes) or 'none'} of {', '.join(categories)}: "
            "a judge needs two categories"
        )
    columns = {category: list(map(names.index, found)) for category, found in classes.items()}

    def tag(samples: Float32[np.ndarray, " window"]) -> Scores:
        network.set_tensor(source["index"], samples.reshape(source["shape"]))
        network.invoke()
        return network.get_tensor(target["index"]).reshape(-1).copy()

    return Judge(path, file_hash(path).hex(), tag, window, classes, columns)


def _open_network(path: Path) -> Any:
    """Return the interpreter of a TFLite file."""
    try:
        network = import_runtime().Interpreter(str(path), num_threads=1)
        network.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"{path}: cannot be read as TFLite ({reason(error)}): copy the file again"
        ) from error
    return network


def import_runtime() -> ModuleType:
    """Import the tagger's runtime, which no extra of the package has."""
    try:
        return importlib.import_module(RUNTIME)
    except ImportError as error:
        raise InputError(f"{RUNTIME}: not installed: pip install ai-edge-litert") from error


def read_class_names(tagger: Path) -> list[str]:
    """Return the names of a tagger's classes, in its order.

    Metadata of a TFLite file are a ZIP archive at its end, in which a text file has the names.
    """
    if zipfile.is_zipfile(tagger):
        try:
            with zipfile.ZipFile(tagger) as archive:
                for name in archive.namelist():
                    if name.endswith(".txt"):
                        return archive.read(name).decode(errors="replace").splitlines()
        except ZIP_ERRORS as error:
            raise InputError(
                f"{tagger}: its metadata are corrupt ({reason(error)}): copy the file again"
            ) from error
    path = tagger.with_name(CLASS_MAP)
    if not path.is_file():
        raise InputError(
            f"{path}: not found: put the names of the classes there, in a column {NAME_COLUMN}"
        )
    with wrap_read_errors(path):
        text = path.read_text(encoding="utf-8", errors="replace")
    try:
        return [row[NAME_COLUMN] for row in csv.DictReader(text.splitlines())]
    except KeyError as error:
        raise InputError(f"{path}: has no column {NAME_COLUMN}: give the tagger's map") from error


def name_all(judge: Judge, audio: Audio, clips: ReferenceClips, name: str) -> list[str | None]:
    """Return the category that the judge names for each clip; None where it knows no such one."""
    rate_hz = clips.config.clock.sample_rate_hz
    bar = tqdm(audio, desc=f"judging {name}", unit="clip", dynamic_ncols=True)
    return [
        judge.name(waveform, rate_hz) if category in judge.columns else None
        for waveform, category in zip(bar, clips.categories, strict=True)
    ]


def evaluate_judge(
    judge: Judge, named: Mapping[str, Sequence[str | None]], clips: ReferenceClips
) -> JudgeResults:
    """Return how often the judge named the category of the video.

    `named` holds the result of `name_all` by the name of the model or control.
    """
    categories = [name for name in clips.categories if name in judge.columns]
    answers = {
        name: [str(one) for one in of_set if one is not None] for name, of_set in named.items()
    }
    known = tuple(sorted(judge.columns))
    return JudgeResults(
        judge.path.name,
        judge.sha256,
        {name: list(judge.classes[name]) for name in known},
        sorted(set(clips.categories) - set(known)),
        {
            name: evaluate_classification(
                known, 0, of_set, answers[REFERENCE], categories, clips.seed
            )
            for name, of_set in answers.items()
            if categories
        },
    )
