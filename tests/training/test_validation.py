"""Evaluation during training: held-out bits, the best checkpoint, audio for TensorBoard."""

import io

import jax
import numpy as np
import pytest
import soundfile
from etils import epath
from matplotlib.image import imread
from tensorboardX.proto.event_pb2 import Event

from tests.training_clips import CATEGORIES, STATISTICS, Clips, read_log, small, training_data
from v2s_jax.checkpoints import BEST_PARAMS_FILE, load_params
from v2s_jax.datasets import ClipRecord
from v2s_jax.datasets.tfrecord import open_index
from v2s_jax.evaluation import AudioLogger
from v2s_jax.evaluation.scorer import Scorer, ScorerInput
from v2s_jax.figures import waveform_image
from v2s_jax.model import VideoToSound
from v2s_jax.run_folder import CHECKPOINTS, UNSCORED
from v2s_jax.training.checkpoint import Checkpoint, Checkpointer
from v2s_jax.training.loop import train
from v2s_jax.training.metrics import AudioSample
from v2s_jax.training.parallel import DataParallel
from v2s_jax.training.parallel_shard_map import ShardMapDataParallel
from v2s_jax.training.state import init_state
from v2s_jax.training.validation import EVAL_BITS, evaluate
from v2s_jax.types import Batch

RATE_HZ = 16_000


@pytest.mark.slow
@pytest.mark.parametrize("kind", [DataParallel, ShardMapDataParallel])
@pytest.mark.parametrize("devices", [1, 8])
def test_held_out_bits_match_the_scorer(tiny, devices, kind):
    """For all clips and for each category, computed independently by the evaluation package."""
    config = small(tiny)
    parallel = kind(VideoToSound(config, "highest"), 2, jax.devices()[:devices])
    params = init_state(VideoToSound(config), STATISTICS).params
    validation = Clips(config).validation
    found = evaluate(parallel, parallel.replicate(jax.tree.map(np.asarray, params)), validation)

    bits, samples = dict.fromkeys(CATEGORIES, 0.0), dict.fromkeys(CATEGORIES, 0)
    scorer = Scorer(config, params)
    for batch in validation.open(range(8)):
        for row, category in enumerate(batch.categories):
            own = int(batch.mask[row].sum())
            frames = config.clock.video_frames(own)
            score = scorer.score(ScorerInput(batch.levels[row, :own], batch.features[row, :frames]))
            bits[category] += score.bits
            samples[category] += own
    for category in CATEGORIES:
        expected = bits[category] / samples[category]
        assert found[f"{EVAL_BITS}/{category}"] == pytest.approx(expected, rel=1e-5)
    expected = sum(bits.values()) / sum(samples.values())
    assert found[EVAL_BITS] == pytest.approx(expected, rel=1e-5)
    assert found["held_out/nats_per_sample"] == pytest.approx(expected * np.log(2), rel=1e-5)


@pytest.mark.slow
def test_padding_rows_do_not_count(tiny):
    config = small(tiny)
    parallel = DataParallel(VideoToSound(config, "highest"), 2, jax.devices()[:1])
    params = parallel.replicate(init_state(VideoToSound(config), STATISTICS).params)
    clips = Clips(config)

    whole = clips.batch(5)

    def halved(rows: range) -> list[Batch]:
        mask = whole.mask.copy()
        mask[4:] = False
        return [whole._replace(mask=mask)]

    def doubled(rows: range) -> list[Batch]:
        twice = np.arange(8) % 4
        return [
            whole._replace(
                levels=whole.levels[twice],
                features=whole.features[twice],
                mask=whole.mask[twice],
            )
        ]

    halves, doubles = (
        evaluate(parallel, params, clips.validation._replace(open=opened))[EVAL_BITS]
        for opened in (halved, doubled)
    )
    assert halves == pytest.approx(doubles, rel=1e-6)


@pytest.mark.slow
def test_run_is_evaluated_and_keeps_its_best_checkpoint(tiny, tmp_path):
    """Held-out tones cost more bits as the run learns noise: an early checkpoint is the best."""
    config = small(
        tiny,
        steps=40,
        eval_every_steps=8,
        checkpoint_every_steps=100,
        keep_checkpoints=1,
        learning_rate=1e-2,
    )
    clips = Clips(config)
    tones = clips.batch(0)._replace(
        levels=np.where(np.arange(2048) % 64 < 32, 10, 240).astype(np.uint8)[None].repeat(8, 0)
    )
    validation = clips.validation._replace(open=lambda rows: [tones])
    train(config, training_data(clips), tmp_path, jax.devices()[:1], validation=validation)
    bits = {line["step"]: line[EVAL_BITS] for line in read_log(tmp_path) if EVAL_BITS in line}
    assert list(bits) == [8, 16, 24, 32, 40]
    best = min(bits, key=bits.__getitem__)
    assert best != 40, bits
    kept = sorted(int(p.name) for p in (tmp_path / CHECKPOINTS).iterdir())
    assert kept == [best, 40]
    config_read, params = load_params(tmp_path / BEST_PARAMS_FILE)
    assert config_read == config
    found = evaluate(
        DataParallel(VideoToSound(config, "highest"), 2, jax.devices()[:1]), params, validation
    )
    assert found[EVAL_BITS] == pytest.approx(bits[best], rel=2e-3)  # half precision


def test_checkpoints_remember_the_best_bits(tiny, tmp_path):
    config = small(tiny, keep_checkpoints=2)

    def saved_at(step: int) -> Checkpoint:
        state = init_state(VideoToSound(config), STATISTICS)._replace(step=np.int32(step))
        carry = VideoToSound(config).apply(state.params, 8, method="initial_carry")
        return jax.tree.map(np.asarray, Checkpoint(state, carry))

    bits_at = ((1, 5.0), (2, 3.0), (3, UNSCORED), (4, 4.0), (5, UNSCORED))
    for step, bits in bits_at:
        with Checkpointer(tmp_path, config) as checkpoints:
            checkpoints.save(saved_at(step), bits)
    with Checkpointer(tmp_path, config) as checkpoints:
        assert checkpoints.best_bits() == 3.0
    assert sorted(p.name for p in (tmp_path / CHECKPOINTS).iterdir()) == ["2", "4", "5"]


def test_no_best_without_evaluations(tiny, tmp_path):
    config = small(tiny, steps=4)
    train(config, training_data(Clips(config)), tmp_path, jax.devices()[:1])
    assert not (tmp_path / BEST_PARAMS_FILE).exists()
    assert not any(EVAL_BITS in line for line in read_log(tmp_path))


def test_audio_and_images_go_to_tensorboard(tiny, tmp_path):
    config = small(tiny, steps=4, eval_every_steps=4)
    tone = 0.5 * np.sin(np.arange(RATE_HZ // 4) * 2 * np.pi * 1_000 / RATE_HZ).astype(np.float32)
    clips = Clips(config)

    def sample_fn(params) -> list[AudioSample]:
        assert set(params) == {"params"}
        return [AudioSample("drum-7", tone, RATE_HZ, waveform_image(tone, RATE_HZ, "drum-7"))]

    train(
        config,
        training_data(clips),
        tmp_path,
        jax.devices()[:1],
        validation=clips.validation,
        sample_fn=sample_fn,
    )
    values = {}
    for file in tmp_path.glob("events.out.tfevents.*"):
        unknown_length = [0]
        index = open_index([epath.Path(file)], unknown_length, epath.Path(tmp_path / "index.npy"))
        for record in range(len(index.offset)):
            event = Event.FromString(index.read(record))
            for value in event.summary.value:
                values[value.tag, event.step, value.WhichOneof("value")] = value
    assert values[EVAL_BITS, 4, "simple_value"].simple_value > 0
    encoded = values["sound/drum-7", 4, "audio"].audio.encoded_audio_string
    decoded, rate_hz = soundfile.read(io.BytesIO(encoded), dtype="float32")
    assert rate_hz == RATE_HZ
    np.testing.assert_allclose(decoded, tone, atol=1 / 2**15)
    drawn = imread(io.BytesIO(values["sound/drum-7", 4, "image"].image.encoded_image_string))
    assert drawn.shape[2] == 3 and drawn.std() > 0.05


def test_audio_logger_is_deterministic(tiny):
    config = small(tiny, log_audio_sec=0.1)
    random = np.random.default_rng(0)
    records = [
        ClipRecord(
            f"clip-{number}",
            "drum",
            random.integers(-99, 99, 2048).astype(np.int16),
            random.random((2, 12)).astype(np.float16),
            random.random((2, 12)).astype(np.float16),
        )
        for number in range(2)
    ]
    logger = AudioLogger(config, records)
    params = init_state(VideoToSound(config), STATISTICS).params
    other = jax.tree.map(lambda leaf: leaf * 1.5, params)
    once, changed, again = (logger(given) for given in (params, other, params))
    assert [sample.name for sample in once] == ["clip-0", "clip-1"]
    for a, b, c in zip(once, changed, again, strict=True):
        assert a.waveform.shape == (1_600,)
        np.testing.assert_array_equal(a.waveform, c.waveform)
        assert (a.waveform != b.waveform).any()
        assert a.image.ndim == 3 and a.image.shape[2] == 3 and a.image.std() > 10
