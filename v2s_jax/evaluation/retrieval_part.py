"""Table 2: every sound of a gallery scored under every query's video, then ranked."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.evaluation.gallery import VideoGallery
from v2s_jax.evaluation.likelihood import Scorer, Sound, check_sound
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.progress import scoring_bar
from v2s_jax.evaluation.retrieval import retrieval_rows, score_normalizations
from v2s_jax.evaluation.score_cache import ScoreCache
from v2s_jax.evaluation.selection import Selection, sound_of
from v2s_jax.model.loss import BITS_PER_NAT

FEWEST_SOUNDS = 2
"""A ranking of one sound says nothing."""


class Gallery(NamedTuple):
    """What is ranked."""

    sounds: Selection
    queries: list[int]
    """The sounds whose videos are queries."""
    samples: int
    """To which every clip is cut, from its start."""

    @property
    def query_ids(self) -> list[str]:
        """Names of the queries."""
        return [self.sounds.clip_ids[own] for own in self.queries]

    @property
    def scores(self) -> int:
        """How many scores a model needs."""
        return len(self.sounds) * len(self.queries)


Keep = Callable[[Model, Gallery], ScoreCache]
"""Where a model's rows of scores are kept."""


def make_gallery(
    clips: Selection, sounds: int, queries: int, max_seconds: float, least_samples: int
) -> Gallery:
    """Choose the first clips, as many of each category as of the others; queries among them.

    All are cut to the shortest, or to `max_seconds` if that is less. Raises InputError for fewer
    than two sounds, no query, and less time than the `least_samples` that models can score.
    """
    for option, given, least in (("--gallery", sounds, FEWEST_SOUNDS), ("--queries", queries, 1)):
        if given < least:
            raise InputError(f"{option} {given}: use at least {least}")
    if len(clips) < FEWEST_SOUNDS:
        raise InputError(
            f"{len(clips)} clip of split {clips.data.split}: retrieval needs {FEWEST_SOUNDS} to "
            "rank: choose other --parts, or more --clips"
        )
    if not (max_seconds > 0 and math.isfinite(max_seconds)):
        raise InputError(f"--max-seconds {max_seconds}: use a number of seconds above 0")
    clock = clips.data.clock
    if clock.samples(max_seconds) < least_samples:
        raise InputError(
            f"--max-seconds {max_seconds}: {clock.samples(max_seconds)} samples, fewer than one "
            f"big frame of {least_samples}: use at least {least_samples / clock.sample_rate_hz:g}"
        )
    chosen = clips.first(sounds)
    asking = set(chosen.first(queries).clip_ids)
    own = [sound for sound, clip_id in enumerate(chosen.clip_ids) if clip_id in asking]
    longest = min(clock.samples(max_seconds), *chosen.samples)
    return Gallery(chosen, own, longest)


def retrieval_part(
    models: Sequence[Model],
    gallery: Gallery,
    keep: Keep,
    seed: int,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Return table 2 of the models that see; what it costs is said beforehand.

    The first model that does not see, if any, corrects the scores of the others.
    """
    samples = gallery.scores * gallery.samples
    rate_hz = gallery.sounds.data.clock.sample_rate_hz
    say(
        f"retrieval: {len(gallery.queries)} videos x {len(gallery.sounds)} sounds of "
        f"{gallery.samples / rate_hz:.2f} s: {gallery.scores:,} scores, "
        f"{samples / 1e6:,.1f} million samples for each model"
    )
    seeing = [model for model in models if model.sees]
    blind = next((model for model in models if not model.sees and seeing), None)
    unconditional = None if blind is None else unconditional_scores(blind, gallery, keep)
    names = gallery.sounds.categories
    part: dict[str, Any] = {
        "seconds": gallery.samples / rate_hz,
        "sounds": gallery.sounds.clip_ids,
        "categories": names,
        "queries": gallery.query_ids,
        "unconditional_model": None if blind is None else blind.name,
        "rows": [],
        "log_likelihood_nats": {},
    }
    for model in seeing:
        scores = gallery_scores(model, gallery, keep, say)
        part["log_likelihood_nats"][model.name] = scores.tolist()
        part["rows"] += retrieval_rows(
            model.name, score_normalizations(scores, unconditional), gallery.queries, names, seed
        )
    return part


def gallery_scores(
    model: Model, gallery: Gallery, keep: Keep, say: Callable[[str], None]
) -> Float64[np.ndarray, "queries sounds"]:
    """Return log p(sound | video) in nats, under the model of the query's category.

    A row, one sound under all videos of a checkpoint, is on disk when it is made.
    """
    kept = keep(model, gallery)
    scores = np.empty((len(gallery.queries), len(gallery.sounds)))
    categories = [gallery.sounds.categories[own] for own in gallery.queries]
    for share in model.shares(categories):
        first = gallery.query_ids[share.members[0]]
        keys = [f"{sound} under {first} and on" for sound in gallery.sounds.clip_ids]
        left = [sound for sound, key in enumerate(keys) if key not in kept]
        if left:
            queries = [_cut(gallery, gallery.queries[row], share.config) for row in share.members]
            videos = VideoGallery(
                share.config, share.params, np.stack([query.features for query in queries])
            )
            samples = len(left) * len(share.members) * gallery.samples
            pace = videos.samples_per_sec()
            say(
                f"{model.name}: {len(left)} of {len(keys)} rows to score, {pace:,.0f} samples/s "
                f"measured: about {samples / pace:,.0f} s"
            )
            with scoring_bar(f"{model.name}, retrieval", samples) as on_samples:
                for sound in left:
                    levels = _cut(gallery, sound, share.config).levels
                    kept.add(keys[sound], videos.bits(levels, on_samples).tolist())
        scores[share.members] = -np.array([kept[key] for key in keys]).T / BITS_PER_NAT
    return scores


def unconditional_scores(
    model: Model, gallery: Gallery, keep: Keep
) -> Float64[np.ndarray, " sounds"]:
    """Return log p(sound) in nats of a model that sees nothing."""
    kept = keep(model, gallery)
    sounds = gallery.sounds
    for share in model.shares(sounds.categories):
        left = [sound for sound in share.members if sounds.clip_ids[sound] not in kept]
        if left:
            scorer = Scorer(share.config, share.params)
            with scoring_bar(f"{model.name}, retrieval", len(left) * gallery.samples) as on_samples:
                cut = [_cut(gallery, sound, share.config) for sound in left]
                for sound, score in zip(left, scorer.score_all(cut, on_samples), strict=True):
                    kept.add(sounds.clip_ids[sound], [score.bits])
    return -np.array([kept[clip_id][0] for clip_id in sounds.clip_ids]) / BITS_PER_NAT


def _cut(gallery: Gallery, clip: int, config: Config) -> Sound:
    """Return the beginning of a clip, picture and sound."""
    whole = sound_of(gallery.sounds[clip], config.model)
    video_frames = config.clock.video_frames(gallery.samples)
    cut = whole._replace(
        levels=whole.levels[: gallery.samples], features=whole.features[:video_frames]
    )
    check_sound(cut, config)
    return cut
