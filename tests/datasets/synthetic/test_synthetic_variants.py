"""`--exact-flow` and `--audio-codec` of the synthetic set."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from v2s_jax.config import Clock
from v2s_jax.datasets import open_dataset, waveform_from_int16
from v2s_jax.datasets.synthetic import generate_dataset as generate_dataset_module
from v2s_jax.datasets.synthetic.clip_files import ClipTask, prepare_clip, write_flow
from v2s_jax.datasets.synthetic.generate_dataset import clip_tasks, generate_dataset
from v2s_jax.datasets.synthetic.generator import CATEGORIES, make_clip
from v2s_jax.datasets.synthetic.presets import Preset
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.scenes import drum, water_flowing
from v2s_jax.datasets.synthetic.spec import DatasetSpec
from v2s_jax.errors import InputError
from v2s_jax.features.extractor import ExtractorSpec
from v2s_jax.media.encode import AudioCodec

CLOCK = Clock()
RATE_HZ = CLOCK.sample_rate_hz


def mini(*categories: str) -> Preset:
    return Preset("mini", train_clips=1, test_clips=1, video_frames=8, categories=categories)


# --- exact flow


@pytest.mark.parametrize("category", CATEGORIES)
def test_flow_does_not_change_the_clip_and_has_its_form(category):
    plain, flowing = (
        make_clip(category, "train", 1, 0, CLOCK, 4, with_flow=flow) for flow in (False, True)
    )
    assert plain.flow is None
    assert flowing.flow.shape == (4, 128, 128, 2) and flowing.flow.dtype == np.float32
    assert not flowing.flow[0].any()
    np.testing.assert_array_equal(flowing.frames, plain.frames)
    np.testing.assert_array_equal(flowing.waveform, plain.waveform)


def test_flow_of_the_stick_is_its_turn_about_the_hand():
    """By a rotation of each pixel's place, from the law of the stick's angle alone."""
    clip = make_clip("drum", "train", 0, 0, CLOCK, 32, with_flow=True)
    rng = Rng(0, "drum", "train", 0)
    look = drum.choose_look(rng.stream("look"))
    hits = drum.choose_hits(rng.stream("hits"), CLOCK, 32 * 1_024)
    times = np.array([float(CLOCK.video_frame_time_sec(i)) for i in range(32)])
    turn = np.diff(drum.stick_angle(hits, times, RATE_HZ))
    hand_x = look.touch_x_px + drum.STICK_LENGTH_PX * np.cos(drum.STICK_SLOPE_RAD)
    hand_y = (
        look.touch_y_px - drum.STICK_RADIUS_PX - drum.STICK_LENGTH_PX * np.sin(drum.STICK_SLOPE_RAD)
    )
    rows, columns = np.mgrid[:128, :128].astype(float)
    moved = 0
    for i in range(1, 32):
        right, down = columns - hand_x, rows - hand_y
        cos, sin = np.cos(turn[i - 1]), np.sin(turn[i - 1])
        wanted = np.stack([(cos - 1) * right - sin * down, sin * right + (cos - 1) * down], -1)
        seen = np.abs(clip.flow[i]).max(axis=-1) > 1e-9
        moved += seen.sum()
        np.testing.assert_allclose(clip.flow[i][seen], wanted[seen], atol=1e-4)
        assert seen.any() == (abs(turn[i - 1]) > 1e-9)
    assert moved > 2_000


def warped(light: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """What the picture before shows, by the flow, of this one."""
    rows, columns = np.mgrid[:128, :128]
    places = [rows + flow[..., 1], columns + flow[..., 0]]
    return ndimage.map_coordinates(light, places, order=1, mode="nearest")


@pytest.mark.parametrize("category", ["drum", "water_flowing"])
def test_flow_takes_one_picture_into_the_next(category):
    """The eight other categories: `test_synthetic_scenes.py`."""
    rows = np.arange(128)[:, None]
    unmoved = moved = good = count = 0
    for index in range(3):
        clip = make_clip(category, "train", index, 0, CLOCK, 16, with_flow=True)
        light = clip.frames.astype(float) @ [0.299, 0.587, 0.114]
        flow = clip.flow.astype(float)
        for i in range(1, 16):
            # Inside a moving part: at its edge a pixel mixes what moves with what does not.
            spread = ndimage.maximum_filter(flow[i], (3, 3, 1))
            spread = (spread - ndimage.minimum_filter(flow[i], (3, 3, 1))).max(axis=2)
            inside = (np.hypot(flow[i, ..., 0], flow[i, ..., 1]) > 0.5) & (spread < 2.0)
            if category == "water_flowing":  # what falls into the bowl is not seen again
                look = water_flowing.choose_look(Rng(0, category, "train", index).stream("look"))
                inside &= rows + flow[i, ..., 1] < look.surface_y_px - 4.0
            error = np.abs(warped(light[i], flow[i]) - light[i - 1])[inside]
            moved += error.sum()
            good += (error < 16).sum()
            unmoved += np.abs(light[i] - light[i - 1])[inside].sum()
            count += inside.sum()
    assert count > 200
    assert moved < 0.5 * unmoved
    assert good > 0.8 * count


@pytest.mark.slow
def test_flow_files_hold_the_generators_flow(tmp_path):
    order = DatasetSpec(mini("drum"), seed=5)
    generate_dataset(tmp_path, order, workers=1, overwrite=False, with_flow=True)
    files = sorted(tmp_path.rglob("*.flow.npz"))
    assert [file.name for file in files] == [
        "drum-test-00000.flow.npz",
        "drum-train-00000.flow.npz",
    ]
    for file, split in zip(files, ("test", "train"), strict=True):
        clip = make_clip("drum", split, 0, 5, CLOCK, 8, with_flow=True)
        np.testing.assert_array_equal(np.load(file)["flow"], clip.flow)
        assert file.with_suffix("").with_suffix(".mp4").exists()


def test_a_flow_of_another_recipe_is_made_anew_and_one_of_the_same_stays(tmp_path):
    def written(seed: int) -> Path:
        order = DatasetSpec(mini("drum"), seed=seed)
        return write_flow(clip_tasks(order, tmp_path, False, ExtractorSpec())[0])

    path = written(5)
    inode = path.stat().st_ino
    assert written(5).stat().st_ino == inode
    for spoil in (lambda: None, lambda: path.write_bytes(path.read_bytes()[:99]), path.unlink):
        spoil()
        assert written(6) == path
        wanted = make_clip("drum", "train", 0, 6, CLOCK, 8, with_flow=True).flow
        np.testing.assert_array_equal(np.load(path)["flow"], wanted)


# --- the sound's codec


@pytest.mark.slow
def test_aac_reads_back_and_has_no_floor(tmp_path):
    """As long as the clip and nearly its sound; other codecs keep it, and the floor, exactly."""
    categories = ("drum", "baby_crying")
    out = {codec: tmp_path / codec for codec in ("aac", "pcm")}
    for codec, folder in out.items():
        order = DatasetSpec(mini(*categories), seed=0, audio_codec=codec)
        made = generate_dataset(folder, order, workers=1, overwrite=False)
        data = open_dataset(folder, "train")
        assert data.name == made.parent.name == f"synthetic_mini_{codec}"
        assert data.metadata["made_by"]["sound_codec"] == codec
        assert ("floor_bits" in data.metadata) == (codec == "pcm")
        for record in data:
            clip = make_clip(record.category, "train", 0, 0, CLOCK, 8)
            sound = waveform_from_int16(record.waveform)
            assert sound.shape == clip.waveform.shape
            same = (sound == clip.waveform).all()
            assert same == (codec == "pcm")
            if clip.track.known.any():
                assert np.corrcoef(sound, clip.waveform)[0, 1] > 0.9
        for label in folder.rglob("clips/*/*.json"):
            assert (json.loads(label.read_text())["floor_bits"] is None) == (codec == "aac")


def test_the_label_of_an_aac_clip_says_that_its_floor_is_void(tmp_path):
    order = DatasetSpec(mini("drum"), seed=0, audio_codec="aac")
    (task, *_) = clip_tasks(order, tmp_path, False, ExtractorSpec())
    assert prepare_clip(task).floor_bits is None
    assert json.loads(task.label.read_text())["floor_bits"] is None
    assert prepare_clip(task).floor_bits is None  # the label alone, the second time


def test_clips_of_two_codecs_do_not_share_a_folder(tmp_path):
    """They would share a label; told to overwrite, one clip gives way to the other, whole."""

    def task(codec: AudioCodec, overwrite: bool = False) -> ClipTask:
        order = DatasetSpec(mini("drum"), seed=0, audio_codec=codec)
        return clip_tasks(order, tmp_path, overwrite, ExtractorSpec())[0]

    prepare_clip(task("flac"))
    made = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    for codec in ("pcm", "aac"):
        with pytest.raises(InputError, match="has audio_codec flac: use --over") as caught:
            prepare_clip(task(codec))
        assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == made
    prepare_clip(task("pcm", overwrite=True))
    assert {path.suffix for path in tmp_path.rglob("*.*")} == {".mov", ".json"}
    prepare_clip(task("flac", overwrite=True))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == made


# --- datasets of another version


def test_an_earlier_version_is_read_refused_and_replaced(tmp_path, monkeypatch):
    spec = DatasetSpec(mini("drum"), seed=0)
    with monkeypatch.context() as patch:
        patch.setattr(generate_dataset_module, "VERSION", "1.0.0")
        earlier = generate_dataset(tmp_path, spec, workers=1)
    assert len(list(open_dataset(tmp_path, "train"))) == 1
    with pytest.raises(InputError, match=r"1\.0\.0"):
        generate_dataset(tmp_path, spec, workers=1)
    made = generate_dataset(tmp_path, spec, workers=1, overwrite=True)
    assert made.exists() and made != earlier and not earlier.exists()
