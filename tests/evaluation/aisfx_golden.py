"""What the authors' PyTorch code makes of some sounds: writes tests/fixtures/aisfx.npz.

    pip install torch librosa soundfile          (in an environment of its own)
    pip download --no-deps aisfx==0.1.2
    unzip aisfx-0.1.2-py2.py3-none-any.whl -d aisfx
    PYTHONPATH=.:aisfx python -m tests.evaluation.aisfx_golden aisfx-0.1.2-py2.py3-none-any.whl

The wheel's weights make `original`, random ones `random`: for these the tests need no wheel.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

FIXTURE = Path(__file__).parents[1] / "fixtures" / "aisfx.npz"
RATE_HZ = 44_100
SECONDS = (1.2, 4.0)
"""Shorter than a block, and two blocks with a rest that is dropped."""


def waveforms() -> list[np.ndarray]:
    """Bursts of noise, and a rising tone that fades in."""
    random = np.random.default_rng(0)
    times = [np.arange(round(seconds * RATE_HZ)) / RATE_HZ for seconds in SECONDS]
    bursts = random.normal(size=len(times[0])) * np.exp(-(times[0] % 0.3) * 20)
    tone = np.sin(2 * np.pi * (200 * times[1] + 400 * times[1] ** 2)) * times[1]
    return [(0.1 * one).astype(np.float32) for one in (bursts, tone)]


def random_tensors() -> dict[str, np.ndarray]:
    """Return weights and batch normalisation of the shapes of the original network."""
    random, tensors, channels = np.random.default_rng(1), {}, 1
    for block, width in enumerate((64, 128, 256, 512), 1):
        for number in (1, 2):
            name = f"embedding_net.conv_block{block}"
            weight = random.normal(size=(width, channels, 3, 3)) * np.sqrt(2 / (9 * channels))
            tensors[f"{name}.conv{number}.weight"] = weight.astype(np.float32)
            for part, low, high in (
                ("weight", 0.5, 1.5),
                ("bias", -0.5, 0.5),
                ("running_mean", -0.5, 0.5),
                ("running_var", 0.5, 1.5),
            ):
                values = random.uniform(low, high, width).astype(np.float32)
                tensors[f"{name}.bn{number}.{part}"] = values
            channels = width
    return tensors


def main() -> None:
    """Run the authors' code."""
    import soundfile
    import torch
    from aisfx.inference import model_get_embedding
    from aisfx.models.cnn2d import EmbeddingNet
    from aisfx.preprocessing import spectrogram_normalize
    from aisfx.spectrogram.spectrogram_librosa import compute_spectrogram

    from tools.convert_aisfx import read_wheel

    golden = {}
    for name, tensors in {
        "random": random_tensors(),
        "original": read_wheel(Path(sys.argv[1])),
    }.items():
        network = EmbeddingNet("max", 3, 1, 64)
        prefix = "embedding_net."
        state = {
            key.removeprefix(prefix): torch.tensor(np.array(value))
            for key, value in tensors.items()
            if key.startswith(prefix)
        }
        network.load_state_dict(state, strict=False)
        network.eval()
        network.get_embedding = network.forward
        for clip, waveform in enumerate(waveforms()):
            with tempfile.NamedTemporaryFile(suffix=".wav") as file:
                soundfile.write(file.name, waveform, RATE_HZ, subtype="FLOAT")
                levels = compute_spectrogram(file.name, RATE_HZ, 2048, 1024, 96, 0.0, 22050.0)
            columns = spectrogram_normalize(levels.T)  # the network reads time first
            vectors = model_get_embedding(columns, 0.5, True, network, "cpu")
            golden[f"{name}_{clip}"] = vectors.numpy()
    np.savez(FIXTURE, **golden)


if __name__ == "__main__":
    main()
