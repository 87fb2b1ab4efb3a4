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

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, UInt8
from tqdm import tqdm

from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.model import Carry, VideoToSound, encode, forward, initial_carry
from v2s_jax.model.loss import BITS_PER_NAT, masked_nll
from v2s_jax.quantize import q_zero
from v2s_jax.validation import check_features

DEFAULT_BATCH_SIZE = 8
"""Clips in one compiled call."""
MAX_VIDEO_ROWS = 32
"""Videos in one compiled call of a gallery, at most."""
MAX_ROW_SAMPLES = 4_096
"""Most rows times samples of one compiled call of a gallery: beyond it activations leave a CPU's
caches. With 20 rows of the demo preset, 2,560 reached 127,000 samples/s, 5,120 107,000 and 20,480
69,000 (two cores of an AMD EPYC, while other work ran)."""


def samples_bar(description: str, samples: int) -> tqdm:
    """Return a progress bar that counts scored samples."""
    return tqdm(
        total=samples, desc=description, unit=" samples", unit_scale=True, dynamic_ncols=True
    )


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
        self, config: Config, params: dict[str, Any], *, batch_size: int = DEFAULT_BATCH_SIZE
    ) -> None:
        self.config = config
        self.batch_size = batch_size
        self._params = params
        model = VideoToSound(config, "highest")
        self._start = partial(_start, model, batch=batch_size)
        self._encode = partial(_encode, model)
        self._chunk = partial(chunk_nll, model)

    def score(self, clip: ScorerInput) -> Score:
        """Return the likelihood of one clip; raises InputError as `score_all` does."""
        return self.score_all([clip])[0]

    def score_all(
        self,
        clips: Sequence[ScorerInput],
        on_samples: Callable[[int], object] = lambda samples: None,
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
        self, clips: Sequence[ScorerInput], on_samples: Callable[[int], object]
    ) -> Float[np.ndarray, " clips"]:
        """Score up to `batch_size` clips together: what is beyond a clip's end is masked."""
        model, per_frame = self.config.model, self.config.clock.samples_per_video_frame
        frames = max(len(clip.features) for clip in clips)
        shape = (self.batch_size, frames * per_frame)
        levels, mask = np.full(shape, q_zero(model.q_levels), np.uint8), np.zeros(shape, bool)
        features = np.zeros((self.batch_size, frames, model.feature_dim), clips[0].features.dtype)
        for row, clip in enumerate(clips):
            levels[row, : len(clip.levels)] = clip.levels
            mask[row, : len(clip.levels)] = True
            features[row, : len(clip.features)] = clip.features
        # Chunks of one video frame: the activations of more would leave a CPU's caches.
        chunks = [(frame, frame * per_frame) for frame in range(frames)]
        carry = self._start(self._params)
        if model.encodes_video:
            for frame, start in chunks:
                vector = features[:, frame, None].astype(np.float32)
                carry = self._encode(self._params, carry, vector, mask[:, start, None])
        nll = np.zeros(self.batch_size)
        for frame, start in chunks:
            vector = features[:, frame, None].astype(np.float32)
            known, real = (one[:, start : start + per_frame] for one in (levels, mask))
            carry, chunk_sums = self._chunk(self._params, carry, known, real, vector)
            nll += np.asarray(chunk_sums, np.float64)
            on_samples(int(np.count_nonzero(real)))
        return nll[: len(clips)] * BITS_PER_NAT


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
    features: Float[Array, "slots video_frames feature_dim"],
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
        batches = -(-len(features) // MAX_VIDEO_ROWS)
        self._rows = -(-len(features) // batches)
        self._chunk_samples = _chunk_samples(config, self._rows)
        model = VideoToSound(config, "highest")
        self._chunk = partial(chunk_nll, model)
        self._features = [
            features[first : first + self._rows] for first in range(0, len(features), self._rows)
        ]
        # Padded with the last video, so that all batches share one program.
        self._padded = [
            videos[np.minimum(np.arange(self._rows), len(videos) - 1)] for videos in self._features
        ]
        self._carries = [_start_gallery(model, params, padded) for padded in self._padded]

    def bits(
        self,
        levels: UInt8[np.ndarray, " samples"],
        on_samples: Callable[[int], object] = lambda samples: None,
    ) -> Float64[np.ndarray, " videos"]:
        """Return -log2 p(audio | video) for each video; `on_samples` counts all."""
        return np.concatenate(
            [self._batch_bits(levels, batch, on_samples) for batch in range(len(self._features))]
        )

    def _batch_bits(
        self, levels: UInt8[np.ndarray, " samples"], batch: int, on_samples: Callable[[int], object]
    ) -> Float64[np.ndarray, " videos"]:
        """Score one batch of videos, chunk by chunk."""
        silence, width = q_zero(self._config.model.q_levels), self._chunk_samples
        videos = len(self._features[batch])
        carry = jax.tree.map(jnp.copy, self._carries[batch])  # the chunk program donates its carry
        nll = np.zeros(self._rows)
        for start in range(0, len(levels), width):
            chunk = levels[start : start + width]
            row = np.full((1, width), silence, np.uint8)
            row[0, : len(chunk)] = chunk
            mask = np.arange(width)[None] < len(chunk)
            video_frame = start // self._config.clock.samples_per_video_frame
            vector = self._padded[batch][:, video_frame : video_frame + 1].astype(np.float32)
            carry, chunk_sums = self._chunk(self._params, carry, row, mask, vector)
            nll += np.asarray(chunk_sums, np.float64)
            on_samples(len(chunk) * videos)
        return nll[:videos] * BITS_PER_NAT


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
