"""The folder for av-benchmark: its layout, lengths and options."""

import csv
import json
import wave
from pathlib import Path

import numpy as np

from tools.export_av_benchmark import export_folder

RATE_HZ = 16_000
NAMES = ["drum-test-00000", "baby_crying-test-00001"]
CATEGORIES = ["drum", "baby_crying"]


def sounds(seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.uniform(-1, 1, samples).astype(np.float32) for samples in (32_768, 37_000)]


def export(out: Path, names=NAMES, **options):
    return export_folder(out, names, CATEGORIES, sounds(0), sounds(1), RATE_HZ, **options)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_layout_is_what_av_benchmark_reads(tmp_path):
    options = export(tmp_path)
    assert files(tmp_path) == [
        "captions.csv",
        "export.json",
        *(f"gt_audio/{name}.wav" for name in sorted(NAMES)),
        *(f"pred_audio/{name}.wav" for name in sorted(NAMES)),
    ]
    for folder, waveforms in (("pred_audio", sounds(0)), ("gt_audio", sounds(1))):
        for name, waveform in zip(NAMES, waveforms, strict=True):
            with wave.open(str(tmp_path / folder / f"{name}.wav")) as file:
                layout = (file.getnchannels(), file.getsampwidth(), file.getframerate())
                pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            assert layout == (1, 2, RATE_HZ)
            np.testing.assert_allclose(pcm / 32_768, waveform, atol=1.01 / 32_768)
    with (tmp_path / "captions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"name": NAMES[0], "caption": "drum"},
        {"name": NAMES[1], "caption": "baby crying"},
    ]
    assert json.loads((tmp_path / "export.json").read_text()) == {
        "clip_count": 2,
        "sample_rate_hz": RATE_HZ,
        "audio_length_sec": 2.048,
        "has_videos": False,
        "options": ["--audio_length=2.048", "--skip_video_related"],
    }
    assert options == ["--audio_length=2.048", "--skip_video_related"]


def test_every_clip_has_the_requested_length(tmp_path):
    """The loader loops forever over a clip that is too short."""
    for samples in (32_768, 32_769, 58_667, 159_744):
        sound = [np.zeros(samples, np.float32)]
        option, *_ = export_folder(
            tmp_path / str(samples), NAMES[:1], CATEGORIES[:1], sound, sound, RATE_HZ
        )
        requested = int(RATE_HZ * float(option.removeprefix("--audio_length=")))
        assert samples - 16 <= requested <= samples


def test_videos_are_named_like_the_audio(tmp_path):
    videos = {}
    for name in NAMES:
        videos[name] = tmp_path / "from" / f"any {name}.mp4"
        videos[name].parent.mkdir(exist_ok=True)
        videos[name].write_bytes(name.encode())
    options = export(tmp_path / "out", videos=videos)
    assert "--skip_video_related" in options  # 2 s have no segments for DeSync
    for name in NAMES:
        assert (tmp_path / "out" / "gt_video" / f"{name}.mp4").read_bytes() == name.encode()
    long = [np.zeros(80_000, np.float32)] * 2
    options = export_folder(tmp_path / "long", NAMES, CATEGORIES, long, long, RATE_HZ, videos)
    assert options == ["--audio_length=5"]
