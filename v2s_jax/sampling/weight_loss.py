"""What a format of the weights costs: bits per sample that it loses against float32.

    loss = E[ KL(p || q) ],   p: distribution of the next level with float32 weights, q: with others

over audio that the model itself generates with float32 weights; q is computed by teacher forcing.
That is the expected rise of -log2 p(level), without the noise of the levels drawn. A checkpoint is
measured once: the figures of the pretrained models come with the package, others are cached.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from v2s_jax.checkpoints import params_digest
from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.features.excerpts import draw_controls
from v2s_jax.io import atomic_write, cache_dir
from v2s_jax.kernels.build import library_path
from v2s_jax.kernels.interface import EngineName
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.model.loss import BITS_PER_NAT
from v2s_jax.pretrained import WEIGHT_LOSSES
from v2s_jax.sampling.rng import clip_key
from v2s_jax.sampling.sampler import Sampler

CLIPS, VIDEO_FRAMES = 16, 4
"""Audio to measure on: 65,536 samples, 4 s with the default clock, and every category of `real`."""
SEED = 0


def loss_bits(config: Config, params: dict[str, Any], weights: WeightFormat) -> float:
    """Return the loss of these weights in the cpu engine, measured unless it is known.

    Raises InputError if the cpu engine cannot run here.
    """
    digest = params_digest(params)
    cached = cache_dir() / f"weights-{digest[:16]}-{library_path().stem}.json"  # of one processor
    known = _read_losses(WEIGHT_LOSSES).get(digest, {}) | _read_losses(cached).get(digest, {})
    loss = known.get(weights)
    if isinstance(loss, float):
        return loss
    loss = measure_loss(config, params, weights, "cpu")
    with suppress(InputError):  # then it is measured again the next time
        write_losses(cached, {digest: {**known, weights: loss}})
    return loss


def measure_loss(
    config: Config, params: dict[str, Any], weights: WeightFormat, engine: EngineName
) -> float:
    """Measure the loss of an engine, in bits per sample; deterministic on one machine."""
    exact = Sampler(config, params, batch_size=CLIPS, engine=engine)
    generated, expected = _run(exact, None)
    rounded = Sampler(config, params, batch_size=CLIPS, engine=engine, weights=weights)
    _, found = _run(rounded, generated)
    return float(np.mean([_divergence(*pair) for pair in zip(expected, found, strict=True)]))


def write_losses(path: Path, losses: Mapping[str, Mapping[str, float]]) -> None:
    """Write losses by digest of the parameters and format; raise InputError if that fails."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(losses, indent=2, sort_keys=True) + "\n")


def _read_losses(path: Path) -> dict[str, dict[str, float]]:
    """Read what `write_losses` wrote; nothing from a missing or corrupt file."""
    with suppress(OSError, ValueError):
        losses = json.loads(path.read_text())
        if isinstance(losses, dict) and all(isinstance(one, dict) for one in losses.values()):
            return losses
    return {}


def _run(
    sampler: Sampler, forced: np.ndarray | None
) -> tuple[np.ndarray, Float32[np.ndarray, "clips samples q_levels"]]:
    """Generate audio of made-up videos, or take given levels; return levels and logits."""
    model = sampler.config.model
    features = _made_up_features(sampler.config)
    keys = np.stack([clip_key(SEED, bytes([clip] * 4)) for clip in range(CLIPS)])
    state = sampler.init_state(keys)
    if model.encodes_video:
        state = sampler.encode(state, dict(enumerate(features)))
        features = features[..., :0]
    _, outputs = sampler.generate_block(state, features, 1.0, forced=forced, keep="logits")
    assert outputs.logits is not None
    levels = np.asarray(outputs.levels, np.int32)
    return levels.T, np.asarray(outputs.logits).swapaxes(0, 1)


def _made_up_features(config: Config) -> Float32[np.ndarray, "clips window feature_dim"]:
    """Return noise, or curves of all categories for a model of sounds, which noise would hush."""
    model, extraction = config.model, config.extraction
    video_frames = VIDEO_FRAMES + model.window - 1
    if extraction.categories is None or extraction.control_quantiles is None:
        shape = (CLIPS, video_frames, model.feature_dim)
        return np.random.default_rng(SEED).random(shape, np.float32)
    count = len(extraction.categories)
    clips = [draw_controls(extraction, i % count, video_frames, SEED + i) for i in range(CLIPS)]
    return np.stack([np.concatenate(clip, axis=1) for clip in clips]).astype(np.float32)


def _divergence(
    exact: Float[np.ndarray, "samples q_levels"], found: Float[np.ndarray, "samples q_levels"]
) -> float:
    """Return KL(exact || found) per sample, in bits."""
    from scipy.special import log_softmax  # slow to import, and a known loss does not need it

    log_p, log_q = (log_softmax(logits.astype(np.float64), axis=-1) for logits in (exact, found))
    return float(np.mean(np.sum(np.exp(log_p) * (log_p - log_q), axis=-1))) * BITS_PER_NAT
