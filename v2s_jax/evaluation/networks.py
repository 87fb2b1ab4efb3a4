"""What networks that others trained hear in generated audio: an embedding, and a judge.

Both are files that the user gives; without them nothing here runs.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from v2s_jax.evaluation.aisfx import Aisfx, Vectors, open_aisfx
from v2s_jax.evaluation.classifier import TrainAudio
from v2s_jax.evaluation.clips import ReferenceClips
from v2s_jax.evaluation.embedding import EmbeddingResults, evaluate_embedding, fit_head
from v2s_jax.evaluation.judge import Judge, JudgeResults, evaluate_judge, name_all, open_judge
from v2s_jax.evaluation.measurement import control_audio
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.statistics import Audio


class Networks(NamedTuple):
    """The networks that were given."""

    embedding: Aisfx | None
    judge: Judge | None


class NetworkResults(NamedTuple):
    """What each of them hears."""

    embedding: EmbeddingResults | None
    judge: JudgeResults | None


def open_networks(
    embedding: Path | None, judge: Path | None, categories: Sequence[str]
) -> Networks:
    """Open the given files; raise InputError as `open_aisfx` and `open_judge` do."""
    return Networks(
        None if embedding is None else open_aisfx(embedding),
        None if judge is None else open_judge(judge, categories),
    )


def evaluate_networks(
    networks: Networks,
    models: Sequence[Model],
    clips: ReferenceClips,
    train: TrainAudio | str,
    generate: Callable[[Model], Audio],
) -> NetworkResults:
    """Return what the networks hear in the audio of each model and control.

    Args:
        networks: The networks.
        models: Models to compare.
        clips: The clips and their reference audio.
        train: Reference audio that a head of the embedding is fitted on, or why there is none.
        generate: Returns a model's audio; not called without networks.
    """
    embedding, judge = networks
    vectors: dict[str, list[Vectors]] = {}
    named: dict[str, list[str | None]] = {}

    def hear(name: str, audio: Audio) -> None:
        if embedding is not None:
            vectors[name] = embedding.embed_all(audio, clips.config.clock.sample_rate_hz, name)
        if judge is not None:
            named[name] = name_all(judge, audio, clips, name)

    if embedding is None and judge is None:
        return NetworkResults(None, None)
    for model in models:
        hear(model.name, generate(model))
    for name, audio in control_audio(clips).items():
        hear(name, audio)
    of_embedding, of_judge = None, None
    if embedding is not None:
        head = train if isinstance(train, str) else fit_head(embedding, train)
        of_embedding = evaluate_embedding(embedding, head, vectors, clips)
    if judge is not None:
        of_judge = evaluate_judge(judge, named, clips)
    return NetworkResults(of_embedding, of_judge)
