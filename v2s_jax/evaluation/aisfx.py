"""aiSFX: a pretrained embedding of sound effects, 512 numbers for each 2.3 s of sound.

Ma and Lerch, "Representation Learning for the Automatic Indexing of Sound Effects Libraries"
(ISMIR 2022), model X-Sequential-CE:

    x        = waveform at 44.1 kHz, divided by its peak
    mel      = 96 mel bands (HTK) of the power spectrum, window 2048, hop 1024
    input    = log10(1 + 10^4 mel) / 9.4578, in blocks of 100 columns, 50 apart
    blocks   two 3 x 3 convolutions with ReLU each, then the maximum of 2 x 2     WIDTHS
    output   mean over the bands, maximum over time

A sound is as long as its whole blocks; one shorter than a block is filled with silence. This is
the front end of the package `aisfx` with librosa. Its weights (CC BY 4.0) do not come with this
package; `python -m tools.convert_aisfx` makes the file, with batch normalisation folded into the
convolutions, in half precision.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, Float32, Float64
from safetensors import SafetensorError, safe_open
from scipy.signal import resample_poly
from tqdm import tqdm

from v2s_jax.errors import InputError
from v2s_jax.evaluation.mel import librosa
from v2s_jax.evaluation.statistics import Audio, Waveform
from v2s_jax.io import file_hash, wrap_read_errors

RATE_HZ = 44_100
WINDOW = 2_048  # samples
HOP = 1_024
BANDS = 96
GAIN = 1e4
MAX_LEVEL = 9.457798957824707
"""Largest level in the network's training set, which the authors divide by."""
BLOCK = 100  # columns: 2.3 s
BLOCK_HOP = BLOCK // 2
WIDTHS = (64, 128, 256, 512)
VALUES = WIDTHS[-1]
BLOCKS_AT_ONCE = 8
"""One compiled call: the largest activations take 20 MB."""
SEPARATOR = "."
REMEDY = "give the file of `python -m tools.convert_aisfx`"

Vectors = Float64[np.ndarray, "blocks 512"]


class AisfxNetwork(nn.Module):
    """The network, for inference."""

    @nn.compact
    def __call__(self, blocks: Float[Array, "blocks 100 96"]) -> Float32[Array, "blocks 512"]:
        """Return the embedding of each block."""
        x = blocks[..., None]
        for number, width in enumerate(WIDTHS, 1):
            x = nn.relu(nn.Conv(width, (3, 3), name=f"block_{number}_conv_1")(x))
            x = nn.relu(nn.Conv(width, (3, 3), name=f"block_{number}_conv_2")(x))
            if number < len(WIDTHS):
                x = nn.max_pool(x, (2, 2), (2, 2))
        return x.mean(axis=2).max(axis=1)


@dataclass(frozen=True)
class Aisfx:
    """The embedding with its weights."""

    path: Path
    sha256: str
    params: dict[str, Any]

    def embed_all(self, audio: Audio, sample_rate_hz: int, name: str) -> list[Vectors]:
        """Return the vectors of each waveform, one for each block.

        Args:
            audio: Waveforms of at least one sample.
            sample_rate_hz: Their sample rate.
            name: What they are, for the progress bar.
        """
        embed = partial(_embed, self.params)
        blocks: list[Float32[np.ndarray, "100 96"]] = []
        vectors: list[Float32[np.ndarray, "_ 512"]] = []
        counts = []
        for waveform in tqdm(audio, desc=f"embedding {name}", unit="clip", dynamic_ncols=True):
            of_clip = spectrogram_blocks(waveform, sample_rate_hz)
            counts.append(len(of_clip))
            blocks += list(of_clip)
            while len(blocks) >= BLOCKS_AT_ONCE:
                vectors.append(np.asarray(embed(np.stack(blocks[:BLOCKS_AT_ONCE]))))
                del blocks[:BLOCKS_AT_ONCE]
        if blocks:
            rest = np.zeros((BLOCKS_AT_ONCE, BLOCK, BANDS), np.float32)
            rest[: len(blocks)] = blocks
            vectors.append(np.asarray(embed(rest))[: len(blocks)])
        found = np.concatenate(vectors).astype(np.float64)
        return np.split(found, np.cumsum(counts)[:-1])


@jax.jit
def _embed(
    params: dict[str, Any], blocks: Float[Array, "blocks 100 96"]
) -> Float32[Array, "blocks 512"]:
    vectors: Array = AisfxNetwork().apply({"params": params}, blocks)  # type: ignore[assignment]
    return vectors


def open_aisfx(path: Path) -> Aisfx:
    """Read the weights as float32; raise InputError for a file that does not hold them."""
    with wrap_read_errors(path):
        digest = file_hash(path).hex()
    expected = _expected_shapes()
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
            for name in sorted(expected.keys() | shapes.keys()):
                if shapes.get(name) != expected.get(name):
                    raise InputError(
                        f"{path}: {name} has shape {shapes.get(name)} instead of "
                        f"{expected.get(name)}: {REMEDY}"
                    )
            flat = {name: np.asarray(file.get_tensor(name), np.float32) for name in names}
    except (SafetensorError, OSError, TypeError) as error:  # the last one for a type like bfloat16
        raise InputError(f"{path}: not a safetensors file ({error}): {REMEDY}") from error
    if not all(np.isfinite(values).all() for values in flat.values()):
        raise InputError(f"{path}: has weights that are NaN or infinite: {REMEDY}")
    params = {name: jnp.asarray(values) for name, values in flat.items()}
    return Aisfx(path, digest, unflatten_dict(params, sep=SEPARATOR))


def _expected_shapes() -> dict[str, tuple[int, ...]]:
    """Return the shapes of all weights by name."""
    blocks = jnp.zeros((1, BLOCK, BANDS))
    variables = jax.eval_shape(AisfxNetwork().init, jax.random.key(0), blocks)
    flat = flatten_dict(variables["params"], sep=SEPARATOR)
    return {name: leaf.shape for name, leaf in flat.items()}


def spectrogram_blocks(
    waveform: Waveform, sample_rate_hz: int
) -> Float32[np.ndarray, "blocks 100 96"]:
    """Return the input of the network for a waveform of at least one sample."""
    divisor = math.gcd(RATE_HZ, sample_rate_hz)
    x = resample_poly(waveform, RATE_HZ // divisor, sample_rate_hz // divisor)
    x = np.pad(x, (0, max(0, WINDOW - len(x))))
    peak = float(np.abs(x).max())
    mel = librosa().feature.melspectrogram(
        y=x / peak if peak else x,
        sr=RATE_HZ,
        n_fft=WINDOW,
        hop_length=HOP,
        n_mels=BANDS,
        norm=1.0,  # the weights of a band add up to 1
        htk=True,
    )
    columns = (np.log10(GAIN * mel.T + 1.0) / MAX_LEVEL).astype(np.float32)
    if len(columns) < BLOCK:
        columns = np.pad(columns, ((0, BLOCK - len(columns)), (0, 0)))
    starts = range(0, len(columns) - BLOCK + 1, BLOCK_HOP)
    return np.stack([columns[start : start + BLOCK] for start in starts])


def mean_vectors(vectors: Sequence[Vectors]) -> Float64[np.ndarray, "clips 512"]:
    """Return the mean vector of each clip."""
    return np.stack([of_clip.mean(axis=0) for of_clip in vectors])
