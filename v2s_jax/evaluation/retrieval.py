"""Retrieval (the paper's table 2): a video is the query, audio is ranked by its likelihood.

    likelihood         s(v, a) = log p(a | v)
    less_log_mean      s(v, a) - log mean over queries v' of p(a | v')     (pointwise mutual
                       information: removes what makes audio likely under any video)
    less_mean          s(v, a) - mean over queries v' of s(v', a)
    less_unconditional s(v, a) - log p(a) of an unconditional model

The query's own clip is the right instance, clips of its category are of the right category. All
clips are cut to one length, so sums and means over samples rank the same. Equal scores have no
order: what depends on it is averaged over all orders, so a constant score gives the chance level.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import logsumexp

from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.evaluation.clips import Selection, scorer_input
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.score_cache import ScoreCache
from v2s_jax.evaluation.scorer import Scorer, ScorerInput, VideoGallery, check_input, samples_bar
from v2s_jax.evaluation.statistics import Estimate, mean, plural
from v2s_jax.model.loss import BITS_PER_NAT

TOPS = (1, 5)
"""Ranks within which the right clip counts as found (paper, table 2)."""
RESOLUTION_NATS = 1e-3
"""Scores are rounded to this before they are compared: they are sums over tens of thousands of
float32 logarithms, so smaller differences are rounding."""
MIN_CLIPS = 2
"""A ranking of one clip says nothing."""

LIKELIHOOD = "likelihood"
LESS_LOG_MEAN = "less_log_mean"
LESS_MEAN = "less_mean"
LESS_UNCONDITIONAL = "less_unconditional"
"""The scores."""
MEAN_RECIPROCAL_RANK = "mean_reciprocal_rank"

Scores = Float64[np.ndarray, "queries clips"]


class Gallery(NamedTuple):
    """What is ranked."""

    clips: Selection
    queries: list[int]
    """The clips whose videos are queries."""
    samples: int
    """To which every clip is cut, from its start."""

    @property
    def query_ids(self) -> list[str]:
        """Names of the queries."""
        return [self.clips.clip_ids[query] for query in self.queries]


@dataclass(frozen=True)
class RetrievalRow:
    """One measure of one score."""

    model: str
    score: str
    right: str
    """What counts as found: the `instance` or its `category`."""
    among: str
    """What is ranked: the clips of the query's `category` or `all`."""
    measure: str
    """`top_1`, `top_5` or `mean_reciprocal_rank`."""
    estimate: Estimate
    """Over queries."""
    chance: float
    queries: int
    clips: float
    """How many are ranked, on average."""


@dataclass(frozen=True)
class RetrievalResults:
    """Table 2."""

    seconds: float
    clips: list[str]
    categories: list[str]
    queries: list[str]
    unconditional_model: str | None
    rows: list[RetrievalRow]
    log_likelihood_nats: dict[str, list[list[float]]]
    """Of each model: a row for each query, a column for each clip."""


OpenCache = Callable[[Model, Gallery], ScoreCache]
"""Opens the file of a model's scores of a gallery."""


def make_gallery(
    clips: Selection, max_clips: int, max_queries: int, max_seconds: float, min_samples: int
) -> Gallery:
    """Choose the first clips and queries, balanced over categories.

    All are cut to the shortest, or to `max_seconds` if that is less. Raises InputError for fewer
    than two clips, no query, or less time than the `min_samples` that models can score.
    """
    for option, value, lower in (
        ("--gallery", max_clips, MIN_CLIPS),
        ("--queries", max_queries, 1),
    ):
        if value < lower:
            raise InputError(f"{option} {value}: use at least {lower}")
    if len(clips) < MIN_CLIPS:
        raise InputError(
            f"{plural(len(clips), 'clip')} of split {clips.data.split}: retrieval ranks at least "
            f"{MIN_CLIPS}: choose other --parts, or more --clips"
        )
    if not (max_seconds > 0 and math.isfinite(max_seconds)):
        raise InputError(f"--max-seconds {max_seconds}: use a number of seconds above 0")
    clock = clips.data.clock
    if clock.samples(max_seconds) < min_samples:
        raise InputError(
            f"--max-seconds {max_seconds}: {clock.samples(max_seconds)} samples, fewer than one "
            f"big frame of {min_samples}: use at least {min_samples / clock.sample_rate_hz:g}"
        )
    ranked = clips.subset(clips.balanced(max_clips))
    samples = min(clock.samples(max_seconds), *ranked.samples)
    return Gallery(ranked, ranked.balanced(max_queries), samples)


def evaluate_retrieval(
    models: Sequence[Model], gallery: Gallery, open_cache: OpenCache, seed: int
) -> RetrievalResults:
    """Return table 2 of the conditional models.

    The first unconditional model, if any, gives the score LESS_UNCONDITIONAL.
    """
    pairs = len(gallery.clips) * len(gallery.queries)
    seconds = gallery.samples / gallery.clips.data.clock.sample_rate_hz
    print(
        f"retrieval: {len(gallery.queries)} videos x {len(gallery.clips)} clips of "
        f"{seconds:.2f} s: {pairs:,} scores, "
        f"{pairs * gallery.samples / 1e6:,.1f} million samples for each model"
    )
    conditional = [model for model in models if model.is_conditional]
    other = next((model for model in models if not model.is_conditional and conditional), None)
    unconditional = None
    if other is not None:
        unconditional = _unconditional_scores(other, gallery, open_cache(other, gallery))
    categories = gallery.clips.categories
    results = RetrievalResults(
        seconds,
        gallery.clips.clip_ids,
        categories,
        gallery.query_ids,
        None if other is None else other.name,
        [],
        {},
    )
    for model in conditional:
        scores = _gallery_scores(model, gallery, open_cache(model, gallery))
        results.log_likelihood_nats[model.name] = scores.tolist()
        normalized = normalize_scores(scores, unconditional)
        results.rows.extend(
            retrieval_rows(model.name, normalized, gallery.queries, categories, seed)
        )
    return results


def _gallery_scores(model: Model, gallery: Gallery, cache: ScoreCache) -> Scores:
    """Return log p(audio | video) in nats, under the model of the query's category.

    A row, one clip's audio under all videos of a checkpoint, is on disk once it is made.
    """
    scores = np.empty((len(gallery.queries), len(gallery.clips)))
    categories = [gallery.clips.categories[query] for query in gallery.queries]
    for shard in model.shards(categories):
        first = gallery.query_ids[shard.members[0]]
        keys = [f"{clip_id} under {first} and on" for clip_id in gallery.clips.clip_ids]
        left = [clip for clip, key in enumerate(keys) if key not in cache]
        if left:
            queries = [_cut(gallery, gallery.queries[row], shard.config) for row in shard.members]
            features = np.stack([query.features for query in queries])
            videos = VideoGallery(shard.config, shard.params, features)
            samples = len(left) * len(shard.members) * gallery.samples
            with samples_bar(f"{model.name}, retrieval", samples) as bar:
                for clip in left:
                    levels = _cut(gallery, clip, shard.config).levels
                    cache.add(keys[clip], videos.bits(levels, bar.update).tolist())
        scores[shard.members] = -np.array([cache[key] for key in keys]).T / BITS_PER_NAT
    return scores


def _unconditional_scores(
    model: Model, gallery: Gallery, cache: ScoreCache
) -> Float64[np.ndarray, " clips"]:
    """Return log p(audio) in nats."""
    clips = gallery.clips
    for shard in model.shards(clips.categories):
        left = [clip for clip in shard.members if clips.clip_ids[clip] not in cache]
        if left:
            scorer = Scorer(shard.config, shard.params)
            inputs = [_cut(gallery, clip, shard.config) for clip in left]
            with samples_bar(f"{model.name}, retrieval", len(left) * gallery.samples) as bar:
                for clip, score in zip(left, scorer.score_all(inputs, bar.update), strict=True):
                    cache.add(clips.clip_ids[clip], [score.bits])
    return -np.array([cache[clip_id][0] for clip_id in clips.clip_ids]) / BITS_PER_NAT


def _cut(gallery: Gallery, clip: int, config: Config) -> ScorerInput:
    """Return the beginning of a clip, audio and features."""
    full = scorer_input(gallery.clips[clip], config.model)
    video_frames = config.clock.video_frames(gallery.samples)
    cut = full._replace(
        levels=full.levels[: gallery.samples], features=full.features[:video_frames]
    )
    check_input(cut, config)
    return cut


def normalize_scores(
    log_likelihood: Scores, unconditional: Float64[np.ndarray, " clips"] | None
) -> dict[str, Scores]:
    """Return the scores by name, in nats; LESS_UNCONDITIONAL only with an unconditional model."""
    log_mean = logsumexp(log_likelihood, axis=0) - np.log(len(log_likelihood))
    scores = {
        LIKELIHOOD: log_likelihood,
        LESS_LOG_MEAN: log_likelihood - log_mean,
        LESS_MEAN: log_likelihood - log_likelihood.mean(axis=0),
    }
    if unconditional is not None:
        scores[LESS_UNCONDITIONAL] = log_likelihood - unconditional
    return {
        name: np.round(values / RESOLUTION_NATS) * RESOLUTION_NATS
        for name, values in scores.items()
    }


def retrieval_rows(
    model: str,
    scores: dict[str, Scores],
    queries: Sequence[int],
    categories: Sequence[str],
    seed: int,
) -> list[RetrievalRow]:
    """Return every measure of every score, with its interval over queries and its chance level.

    `queries` are clip indices, `categories` those of the clips.
    """
    names = np.array(categories)
    same_category = names[None, :] == names[list(queries)][:, None]
    every = np.ones_like(same_category)
    itself = np.arange(len(names))[None, :] == np.array(queries)[:, None]
    tasks = [("instance", "category", itself, same_category), ("instance", "all", itself, every)]
    if len(set(categories)) > 1:
        tasks.append(("category", "all", same_category, every))
    rows = []
    for score, values in scores.items():
        for right, among, hits, candidates in tasks:
            measures: dict[str, Callable] = {f"top_{n}": partial(hit_share, top=n) for n in TOPS}
            if right == "instance":
                measures[MEAN_RECIPROCAL_RANK] = reciprocal_rank
            ranked = float(candidates.sum(axis=1).mean())
            cells = [(v[c], h[c]) for v, h, c in zip(values, hits, candidates, strict=True)]
            for name, measure in measures.items():
                found = mean([float(measure(v, h)) for v, h in cells], seed, "no query")
                chance = float(np.mean([measure(np.zeros(len(v)), h) for v, h in cells]))
                rows.append(
                    RetrievalRow(
                        model, score, right, among, name, found, chance, len(values), ranked
                    )
                )
    return rows


def hit_share(
    scores: Float64[np.ndarray, " clips"], right: Bool[np.ndarray, " clips"], top: int
) -> float:
    """Return the probability that one of the `right` clips is among the `top` highest scores.

    0 or 1 unless equal scores meet at rank `top`. With r ranks for T equal ones, m of them right,
    it is 1 - C(T - m, r) / C(T, r). A `top` beyond the last rank is the last rank.
    """
    places = min(top, len(scores))
    boundary = np.sort(scores)[-places]
    above, equal = scores > boundary, scores == boundary
    if (right & above).any():
        return 1.0
    left = places - np.count_nonzero(above)
    wrong, tied = np.count_nonzero(equal & ~right), np.count_nonzero(equal)
    drawn = np.arange(left)
    return float(1.0 - np.prod(np.maximum(wrong - drawn, 0) / (tied - drawn)))


def reciprocal_rank(
    scores: Float64[np.ndarray, " clips"], right: Bool[np.ndarray, " clips"]
) -> float:
    """Return the expectation of 1 / rank of the one `right` clip; the highest score has rank 1."""
    own = scores[right].item()
    above, equal = np.count_nonzero(scores > own), np.count_nonzero(scores == own)
    return float(np.mean(1.0 / np.arange(above + 1, above + equal + 1)))
