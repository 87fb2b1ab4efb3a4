"""Exact likelihood of a clip's audio given its video: log2 p(audio | video).

The forward pass of training, in chunks that pass on the carry, so that memory does not grow with
the clip; in float32 arithmetic on every device. It is the size of the audio compressed by a coder
that the same model drives, to a fraction of a bit.

`Scorer` scores clips under their own videos, `VideoGallery` one clip under many videos. For the
gallery all rows of videos share one row of levels, so what depends on the audio only (embeddings,
the upper tiers' products of their samples) is computed once. Seq and Flow encode each video once
and start every clip from the same carry; Frame's visual products, once per 1,024 samples, cost less
than a thousandth of the rest.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, UInt8
from tqdm import tqdm

from v2s_jax.config import Config, Precision
from v2s_jax.errors import InputError
from v2s_jax.model import (
    Carry,
    VideoToSound,
    encode,
    forward,
    initial_carry,
    window_frames,
)
from v2s_jax.model.loss import BITS_PER_NAT, masked_nll
from v2s_jax.quantize import q_zero
from v2s_jax.validation import check_features

CHUNK_VIDEO_FRAMES = 1
"""Video frames per chunk: the activations of more would leave a CPU's caches."""

DEFAULT_BATCH_SIZE = 8
"""Clips in one compiled call."""
MAX_VIDEO_ROWS = 32
"""Videos in one compiled call of a gallery, at most."""
MAX_ROW_SAMPLES = 4_096
"""Most rows times samples of one compiled call of a gallery: beyond it activations leave a CPU's
caches. With 20 rows of the demo preset, 2,560 reached 127,000 samples/s, 5,120 107,000 and 20,480
69,000 (two cores of an AMD EPYC, while other work ran)."""
TIMED_CALLS = 8
"""Calls that the speed is measured on."""


def _ignore(samples: int) -> None:
    """Do nothing with progress."""


@contextmanager
def samples_bar(description: str, samples: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar; the result counts scored samples."""
    with tqdm(
        total=samples, desc=description, unit=" samples", unit_scale=True, dynamic_ncols=True
    ) as bar:

        def on_samples(scored: int) -> None:
            bar.update(scored)

        yield on_samples


class ScorerInput(NamedTuple):
    """A clip's levels, and the features of its video."""

    levels: UInt8[np.ndarray, " samples"]
    features: Float[np.ndarray, "video_frames feature_dim"]
    name: str = "the clip"
    """For error messages."""


class Score(NamedTuple):
    """The likelihood of one clip."""

    bits: float
    """-log2 p(audio | video) of the whole clip."""
    samples: int

    @property
    def bits_per_sample(self) -> float:
        """Bits over samples."""
        return self.bits / self.samples


class Scorer:
    """The compiled scorer of one checkpoint.

    `batch_size` clips are scored together; which ones changes a score by rounding only.
    """

    def __init__(
        self,
        config: Config,
        params: dict[str, Any],
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        precision: Precision = "highest",
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size {batch_size}: use at least 1")
        self.config = config
        self.batch_size = batch_size
        self._params = params
        model = VideoToSound(config, precision)
        self._start = partial(_start, model, batch=batch_size)
        self._encode = partial(_encode, model)
        self._chunk = partial(chunk_nll, model)

    def score(self, clip: ScorerInput) -> Score:
        """Return the likelihood of one clip; raises InputError as `score_all` does."""
        return self.score_all([clip])[0]

    def score_all(
        self,
        clips: Sequence[ScorerInput],
        on_samples: Callable[[int], None] = _ignore,
    ) -> list[Score]:
        """Return the likelihood of each clip, in the order of `clips`.

        Args:
            clips: Clips of any lengths; similar lengths are scored together.
            on_samples: Called after each chunk with the number of samples it scored.

        Raises:
            InputError: A clip is shorter than a big frame, has levels that the model does not have,
                or features that are not one finite vector for each video frame.
        """
        for clip in clips:
            check_input(clip, self.config)
        by_length = sorted(range(len(clips)), key=lambda i: -len(clips[i].levels))
        bits = np.zeros(len(clips))
        for first in range(0, len(clips), self.batch_size):
            members = by_length[first : first + self.batch_size]
            bits[members] = self._batch_bits([clips[i] for i in members], on_samples)
        return [Score(float(b), len(clip.levels)) for b, clip in zip(bits, clips, strict=True)]

    def _batch_bits(
        self, clips: Sequence[ScorerInput], on_samples: Callable[[int], None]
    ) -> Float[np.ndarray, " clips"]:
        """Score up to `batch_size` clips together, chunk by chunk."""
        per_frame = self.config.clock.samples_per_video_frame
        starts = range(0, max(len(clip.levels) for clip in clips), CHUNK_VIDEO_FRAMES * per_frame)
        carry = self._start(self._params)
        if self.config.model.encodes_video:
            for start in starts:
                _, mask, features = self._chunk_arrays(clips, start)
                carry = self._encode(self._params, carry, features, mask[:, ::per_frame])
        nll = np.zeros(self.batch_size)
        for start in starts:
            levels, mask, features = self._chunk_arrays(clips, start)
            carry, chunk_sums = self._chunk(self._params, carry, levels, mask, features)
            nll += np.asarray(chunk_sums, np.float64)
            on_samples(int(np.count_nonzero(mask)))
        return nll[: len(clips)] * BITS_PER_NAT

    def _chunk_arrays(
        self, clips: Sequence[ScorerInput], start: int
    ) -> tuple[
        UInt8[np.ndarray, "slots samples"],
        Bool[np.ndarray, "slots samples"],
        Float[np.ndarray, "slots window feature_dim"],
    ]:
        """Cut one chunk out of every clip; what is beyond a clip's end is masked."""
        model, per_frame = self.config.model, self.config.clock.samples_per_video_frame
        shape = (self.batch_size, CHUNK_VIDEO_FRAMES * per_frame)
        levels = np.full(shape, q_zero(model.q_levels), np.uint8)
        mask = np.zeros(shape, bool)
        window = CHUNK_VIDEO_FRAMES + model.window - 1
        features = np.zeros((self.batch_size, window, model.feature_dim), np.float32)
        first = start // per_frame
        for row, clip in enumerate(clips):
            chunk = clip.levels[start : start + shape[1]]
            levels[row, : len(chunk)] = chunk
            mask[row, : len(chunk)] = True
            frames = window_frames(model, first, CHUNK_VIDEO_FRAMES, len(clip.features))
            features[row] = clip.features[frames]
        return levels, mask, features


# Compiled once for a config, however many scorers there are of it.
_start = jax.jit(initial_carry, static_argnums=0, static_argnames="batch")
_encode = jax.jit(encode, static_argnums=0)


@partial(jax.jit, static_argnums=0, donate_argnums=2)
def chunk_nll(
    model: VideoToSound,
    params: dict[str, Any],
    carry: Carry,
    levels: UInt8[Array, "#slots samples"],
    mask: Bool[Array, "#slots samples"],
    features: Float[Array, "slots window feature_dim"],
) -> tuple[Carry, Float[Array, " slots"]]:
    """Return the carry after a chunk and each clip's nll summed over it.

    With one row of levels, mask and carry levels, each row is the same audio under its own video.
    """
    known = levels.astype(jnp.int32)
    carry, logits = forward(model, params, carry, known, features)
    return carry, masked_nll(logits, known, mask)


def check_input(clip: ScorerInput, config: Config) -> None:
    """Raise InputError for a clip that the model cannot score; see `Scorer.score_all`."""
    samples, size = len(clip.levels), config.model.big_frame_size
    if samples < size:
        raise InputError(
            f"{clip.name}: {samples} samples are fewer than one big frame of {size}: give a "
            "longer clip"
        )
    if clip.levels.max() >= config.model.q_levels:
        raise InputError(
            f"{clip.name}: level {clip.levels.max()}, the model has 0 to "
            f"{config.model.q_levels - 1}: quantize it with the model's q_levels"
        )
    video_frames = config.clock.video_frames(samples)
    check_features(clip.features, video_frames, config.model.feature_dim, clip.name)


class VideoBatch(NamedTuple):
    """Videos that are scored together."""

    features: Float[np.ndarray, "rows video_frames feature_dim"]
    carry: Carry
    """Before the first sample, with one row of levels."""
    videos: int
    """Rows that are videos; the others are padding."""


class VideoGallery:
    """Videos with equally many video frames, and the likelihood of audio under each.

    Each score equals that of `Scorer` up to rounding.
    """

    def __init__(
        self,
        config: Config,
        params: dict[str, Any],
        features: Float[np.ndarray, "videos video_frames feature_dim"],
    ) -> None:
        self._config, self._params = config, params
        self._videos = len(features)
        batches = -(-self._videos // MAX_VIDEO_ROWS)
        self._rows = -(-self._videos // batches)
        self._chunk_samples = _chunk_samples(config, self._rows)
        model = VideoToSound(config, "highest")
        self._chunk = partial(chunk_nll, model)
        self._batches = [
            _video_batch(model, params, features[first : first + self._rows], self._rows)
            for first in range(0, self._videos, self._rows)
        ]

    def bits(
        self,
        levels: UInt8[np.ndarray, " samples"],
        on_samples: Callable[[int], None] = _ignore,
    ) -> Float64[np.ndarray, " videos"]:
        """Return -log2 p(audio | video) for each video; `on_samples` counts all."""
        return np.concatenate(
            [self._batch_bits(levels, batch, on_samples) for batch in self._batches]
        )

    def samples_per_sec(self) -> float:
        """Compile, then measure the speed: samples per second, of all videos together."""
        first = self._batches[0]
        available = first.features.shape[1] * self._config.clock.samples_per_video_frame
        samples = min(TIMED_CALLS * self._chunk_samples, available)
        levels = np.full(samples, q_zero(self._config.model.q_levels), np.uint8)
        self._batch_bits(levels, first)
        started = perf_counter()
        self._batch_bits(levels, first)
        return samples * first.videos / (perf_counter() - started)

    def _batch_bits(
        self,
        levels: UInt8[np.ndarray, " samples"],
        batch: VideoBatch,
        on_samples: Callable[[int], None] = _ignore,
    ) -> Float64[np.ndarray, " videos"]:
        """Score one batch of videos, chunk by chunk."""
        silence, width = q_zero(self._config.model.q_levels), self._chunk_samples
        carry = jax.tree.map(jnp.copy, batch.carry)  # the chunk program donates its carry
        nll = np.zeros(self._rows)
        for start in range(0, len(levels), width):
            chunk = levels[start : start + width]
            row = np.full((1, width), silence, np.uint8)
            row[0, : len(chunk)] = chunk
            mask = np.arange(width)[None] < len(chunk)
            video_frame = start // self._config.clock.samples_per_video_frame
            frames = window_frames(self._config.model, video_frame, 1, batch.features.shape[1])
            window = batch.features[:, frames].astype(np.float32)
            carry, chunk_nll_sums = self._chunk(self._params, carry, row, mask, window)
            nll += np.asarray(chunk_nll_sums, np.float64)
            on_samples(len(chunk) * batch.videos)
        return nll[: batch.videos] * BITS_PER_NAT


def _chunk_samples(config: Config, rows: int) -> int:
    """Return whole big frames that divide a video frame and fit MAX_ROW_SAMPLES, if any do."""
    size, per_frame = config.model.big_frame_size, config.clock.samples_per_video_frame
    big_frames = per_frame // size
    sizes = [n for n in range(1, big_frames + 1) if not big_frames % n]
    sizes = [n for n in sizes if n * size * rows <= MAX_ROW_SAMPLES] or [1]
    return sizes[-1] * size


@partial(jax.jit, static_argnums=0)
def _start_gallery(
    model: VideoToSound,
    params: dict[str, Any],
    features: Float[Array, "rows video_frames feature_dim"],
) -> Carry:
    """Return each video's carry before the first sample, with one row of levels."""
    rows = features.shape[0]
    carry = initial_carry(model, params, rows)
    carry = encode(model, params, carry, features, jnp.ones(features.shape[:2], bool))
    return carry._replace(levels=carry.levels[:1])


def _video_batch(
    model: VideoToSound,
    params: dict[str, Any],
    features: Float[np.ndarray, "videos video_frames feature_dim"],
    rows: int,
) -> VideoBatch:
    """Pad the rows with the last video, and encode all."""
    padded = features[np.minimum(np.arange(rows), len(features) - 1)]
    return VideoBatch(padded, _start_gallery(model, params, padded), len(features))
