"""The synthetic set: its form, and pictures, sound and events that agree."""

import dataclasses
import functools
import hashlib
import re
from pathlib import Path

import librosa
import mir_eval
import numpy as np
import pytest
from scipy import signal

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic import drawing
from v2s_jax.datasets.synthetic.generator import CATEGORIES, SPLITS, SyntheticClip, make_clip
from v2s_jax.datasets.synthetic.presets import PRESETS
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.scenes import drum, water_flowing
from v2s_jax.datasets.synthetic.sound import (
    BACKGROUND_SIGMA,
    add_at,
    band_noise,
    resonant_noise,
)
from v2s_jax.datasets.synthetic.trajectory import Trajectory
from v2s_jax.datasets.synthetic.voice import Formant
from v2s_jax.errors import InputError

CLOCK = Clock()
VIDEO_FRAMES = 32
SAMPLES = VIDEO_FRAMES * CLOCK.samples_per_video_frame
RATE_HZ = CLOCK.sample_rate_hz


@functools.cache
def make(category: str, index: int, split: str = "train", seed: int = 0) -> SyntheticClip:
    return make_clip(category, split, index, seed, CLOCK, VIDEO_FRAMES)


def drum_truth(index: int, split: str = "train") -> tuple[drum.Look, drum.Hits]:
    rng = Rng(0, "drum", split, index)
    return drum.choose_look(rng.stream("look")), drum.choose_hits(
        rng.stream("hits"), CLOCK, SAMPLES
    )


def water_truth(index: int) -> tuple[water_flowing.Look, Trajectory]:
    rng = Rng(0, "water_flowing", "train", index)
    look = water_flowing.choose_look(rng.stream("look"))
    return look, water_flowing.choose_tap(rng.stream("tap"), SAMPLES / RATE_HZ)


def frame_times_sec() -> np.ndarray:
    return np.array([float(CLOCK.video_frame_time_sec(i)) for i in range(VIDEO_FRAMES)])


def small_luminance(frames: np.ndarray) -> np.ndarray:
    """Return 64 x 64 luminance, as a small picture encoder would see it."""
    light = frames.astype(np.float64) @ [0.299, 0.587, 0.114] / 255.0
    return light.reshape(len(frames), 64, 2, 64, 2).mean(axis=(2, 4)).reshape(len(frames), -1)


# --- the clip as a whole


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize(
    ("clock", "video_frames"),
    [(CLOCK, 3), (Clock(sample_rate_hz=8_000, samples_per_video_frame=500), 7), (CLOCK, 1)],
)
def test_clip_keeps_its_form(category: str, clock: Clock, video_frames: int) -> None:
    clip = make_clip(category, "test", 12, 0, clock, video_frames)
    samples = video_frames * clock.samples_per_video_frame
    assert clip.clip_id == f"{category}-test-00012"
    assert clip.category == category
    assert clip.frames.shape == (video_frames, drawing.FRAME_PX, drawing.FRAME_PX, 3)
    assert clip.waveform.shape == (samples,)
    assert ((clip.events_sec >= 0) & (clip.events_sec < samples / clock.sample_rate_hz)).all()
    assert (np.diff(clip.events_sec) > 0).all()


@pytest.mark.parametrize("category", CATEGORIES)
def test_waveform_lies_on_the_16_bit_grid_and_never_clips(category: str) -> None:
    for index in range(4):
        waveform = make(category, index).waveform
        steps = waveform.astype(np.float64) * 32_768
        assert (steps == np.rint(steps)).all()
        assert 0.1 < np.abs(waveform).max() < 0.95


@pytest.mark.soak
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("category", CATEGORIES)
def test_no_clip_of_many_clips(category: str, split: str) -> None:
    peaks = [
        np.abs(make_clip(category, split, index, 0, CLOCK, VIDEO_FRAMES).waveform).max()
        for index in range(20)
    ]
    assert max(peaks) < 0.95
    assert np.median(peaks) > 0.1  # one whose engine is off throughout is silent


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_argument_enters_the_key(category: str) -> None:
    clip = make(category, 0)
    again = make_clip(category, "train", 0, 0, CLOCK, VIDEO_FRAMES)
    assert (clip.frames == again.frames).all()
    assert (clip.waveform == again.waveform).all()
    for other in (make(category, 1), make(category, 0, split="test"), make(category, 0, seed=1)):
        assert (clip.frames != other.frames).any()
        assert (clip.waveform != other.waveform).any()


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean water_flowing"):
        make("water", 0)
    with pytest.raises(InputError, match="did you mean train"):
        make("drum", 0, split="training")
    with pytest.raises(InputError, match="index"):
        make("drum", -1)
    with pytest.raises(InputError, match="video frame"):
        make_clip("drum", "train", 0, 0, CLOCK, 0)


def test_presets_name_categories_that_exist() -> None:
    assert PRESETS["tiny"].train_clips == 7
    assert PRESETS["demo"].test_clips == 32
    for name, preset in PRESETS.items():
        assert preset.name == name
        assert set(preset.categories) <= set(CATEGORIES)
        assert preset.video_frames == {"pair": 12, "full": None}.get(name, VIDEO_FRAMES)
    with pytest.raises(dataclasses.FrozenInstanceError):
        PRESETS["tiny"].train_clips = 1  # type: ignore[misc]
    assert SPLITS == ("train", "test", "extrapolation")


def test_the_guide_s_table_of_presets_is_theirs() -> None:
    guide = (Path(__file__).parents[3] / "data" / "README.md").read_text(encoding="utf-8")
    row = re.compile(r"^\| `(\w+)` \| (all ten|`drum` only)\b.* \| (.*) \|$", re.MULTILINE)
    listed = {name: (categories, counts) for name, categories, counts in row.findall(guide)}
    assert listed.keys() == PRESETS.keys()
    for name, preset in PRESETS.items():
        train, test = (len(preset.clips(split)) for split in ("train", "test"))
        categories = "all ten" if preset.categories == CATEGORIES else "`drum` only"
        assert listed[name] == (categories, f"{train:,} + {test:,}")


# --- drum


def test_stick_touches_the_head_at_the_hits_and_only_there() -> None:
    time_sec = np.arange(SAMPLES) / RATE_HZ
    for index in range(20):
        _, hits = drum_truth(index)
        angle = drum.stick_angle(hits, time_sec, RATE_HZ)
        heard = hits.sample[hits.sample < SAMPLES]
        assert (angle[heard] == 0).all()
        assert (np.delete(angle, heard)[1:] > 0).all()
        fall = 2.0 * drum.LIFT_RAD / drum.FALL_SEC / RATE_HZ
        # After the shortest gap the wind-up has half its time; a smoothstep is 1.5 times as
        # steep in its middle as on average.
        windup = 1.5 * (drum.LIFT_RAD - drum.REST_RAD) / (0.5 * drum.WINDUP_SEC) / RATE_HZ
        assert np.abs(np.diff(angle)).max() <= max(fall, windup)


def test_fall_is_seen_by_three_video_frames_and_starts_from_a_lift_like_the_strength() -> None:
    assert drum.FALL_SEC * CLOCK.fps >= 3
    for index in range(10):
        _, hits = drum_truth(index)
        before = np.linspace(drum.FALL_SEC, 0.0, 50)
        for sample, strength in zip(hits.sample, hits.strength, strict=True):
            angle = drum.stick_angle(hits, sample / RATE_HZ - before, RATE_HZ)
            assert angle[0] == pytest.approx(drum.LIFT_RAD * strength / drum.STRONGEST)
            assert (np.diff(angle[:-1]) < 0).all()


def test_gaps_are_irregular_and_bounded() -> None:
    gaps = [np.diff(drum_truth(i)[1].sample) / RATE_HZ for i in range(200)]
    every = np.concatenate(gaps)
    assert every.min() >= drum.SHORTEST_GAP_SEC - 1 / RATE_HZ
    assert every.max() <= drum.LONGEST_GAP_SEC + 1 / RATE_HZ
    # Memoryless beyond the shortest: the spread of an exponential is its mean, less the cut end.
    assert every.std() > 0.9 * drum.MEAN_EXCESS_GAP_SEC
    first_two = np.array([gap[:2] for gap in gaps])
    assert abs(np.corrcoef(first_two.T)[0, 1]) < 0.2  # one gap says next to nothing of the next


def test_single_small_pictures_tell_the_stick_angle_of_unseen_clips() -> None:
    def pictures_and_angles(split: str, clips: int) -> tuple[np.ndarray, np.ndarray]:
        looks = [small_luminance(make("drum", i, split).frames) for i in range(clips)]
        truth = [
            drum.stick_angle(drum_truth(i, split)[1], frame_times_sec(), RATE_HZ)
            for i in range(clips)
        ]
        return np.concatenate(looks), np.concatenate(truth)

    seen, angle = pictures_and_angles("train", 36)
    unseen, wanted = pictures_and_angles("test", 12)
    mean = seen.mean(axis=0)
    kernel = (seen - mean) @ (seen - mean).T
    ridge = np.linalg.solve(kernel + 1.0 * np.eye(len(kernel)), angle - angle.mean())
    guess = (unseen - mean) @ ((seen - mean).T @ ridge) + angle.mean()
    explained = 1.0 - np.mean((guess - wanted) ** 2) / wanted.var()
    assert explained > 0.9


def test_onsets_of_the_sound_are_the_events() -> None:
    scores, errors_sec = [], []
    for index in range(12):
        clip = make("drum", index, "test")
        found = librosa.onset.onset_detect(
            y=clip.waveform, sr=RATE_HZ, hop_length=128, units="time"
        )
        # librosa pads with zeros, so the background noise's own start looks like an onset; no
        # hit can come that early.
        found = found[found > 0.1]
        scores.append(mir_eval.onset.f_measure(clip.events_sec, found, window=0.05)[0])
        matched = mir_eval.util.match_events(clip.events_sec, found, 0.05)
        errors_sec += [found[b] - clip.events_sec[a] for a, b in matched]
    assert np.mean(scores) > 0.97
    assert abs(np.median(errors_sec)) < 0.02  # the detector's own delay


def test_stronger_hits_are_louder_and_brighter() -> None:
    attack = band_noise(Rng("test"), 500, 1_200.0, 5_000.0, RATE_HZ)
    peaks, centroids_hz = [], []
    for strength in (0.35, 0.5, 0.7, 0.85):
        hit = drum.ring(32.0, strength, RATE_HZ, attack)
        power = np.abs(np.fft.rfft(hit)) ** 2
        centroids_hz.append(power @ np.fft.rfftfreq(len(hit), 1 / RATE_HZ) / power.sum())
        peaks.append(np.abs(hit).max())
    assert peaks == pytest.approx([0.35, 0.5, 0.7, 0.85])
    assert (np.diff(centroids_hz) > 10).all()


@pytest.mark.parametrize("radius_px", [26.0, 40.0])
def test_pitch_follows_the_drum_size(radius_px: float) -> None:
    hit = drum.ring(radius_px, 0.35, RATE_HZ, np.zeros(0))
    spectrum = np.abs(np.fft.rfft(hit, 1 << 16))
    loudest_hz = np.fft.rfftfreq(1 << 16, 1 / RATE_HZ)[spectrum.argmax()]
    assert loudest_hz == pytest.approx(drum.PITCH_HZ_PX / radius_px, abs=2.0)


# --- water


def test_water_level_follows_the_flux_that_lands() -> None:
    window = CLOCK.samples_per_video_frame
    fluxes, levels = [], []
    for index in range(20):
        look, tap = water_truth(index)
        q = water_flowing.landing_flux(look, tap, frame_times_sec())
        sound = make("water_flowing", index).waveform.astype(np.float64)
        fluxes.append(q)
        levels.append(np.sqrt(np.mean(sound.reshape(-1, window) ** 2, axis=1)))
    landing, rms = np.concatenate(fluxes), np.concatenate(levels)
    assert np.corrcoef(landing, rms)[0, 1] > 0.9
    assert rms[landing > 0.5].min() > 5 * BACKGROUND_SIGMA


def test_closed_tap_leaves_only_background_noise() -> None:
    time_sec = np.arange(SAMPLES) / RATE_HZ
    closed_clips, rms = 0, []
    for index in range(20):
        look, tap = water_truth(index)
        q = water_flowing.landing_flux(look, tap, time_sec)
        # A bubble rings on for some hundredths of a second after the last water has landed.
        shut = np.convolve(q > 1e-9, np.ones(RATE_HZ // 10))[:SAMPLES] < 0.5
        shut[: RATE_HZ // 10] = False
        closed_clips += bool(shut.any())
        rms.append(make("water_flowing", index).waveform[shut])
    assert 3 <= closed_clips <= 17  # some clips, not all
    assert np.concatenate(rms).std() == pytest.approx(BACKGROUND_SIGMA, rel=0.05)


def test_stream_is_seen_where_and_when_water_falls() -> None:
    for index in range(6):
        look, tap = water_truth(index)
        frames = make("water_flowing", index).frames
        row = round(0.5 * (look.spout_y_px + look.surface_y_px))
        fall_sec = water_flowing.fall_time_sec(row - look.spout_y_px)
        q = water_flowing.flux(tap, frame_times_sec() - fall_sec)
        across = frames[:, row].astype(np.float64).sum(axis=2)
        pale_px = (across > across[:, :20].mean() + 150).sum(axis=1)
        assert (pale_px[q > 0.3] >= 2).all()
        assert (pale_px[q == 0] <= 4).all()  # a last drop at most
        if q.std() > 0.1:
            assert np.corrcoef(q, pale_px)[0, 1] > 0.6


def test_flux_stays_in_range_and_is_smooth() -> None:
    time_sec = np.arange(SAMPLES) / RATE_HZ
    for index in range(20):
        q = water_flowing.flux(water_truth(index)[1], time_sec)
        assert q.min() >= 0
        assert q.max() <= 1
        # A smoothstep is steepest in its middle: 1.5 times its mean slope.
        assert np.abs(np.diff(q)).max() <= 1.5 / water_flowing.TURN_SEC / RATE_HZ * 1.001


# --- what the categories stand on


def test_uniforms_are_the_named_streams_bits() -> None:
    key = int.from_bytes(hashlib.sha256(b'["pinned", 7]').digest()[:16], "little")
    bits = np.random.Philox(key=key).random_raw(3).tolist()
    assert Rng("pinned", 7).uniforms(3).tolist() == [(b >> 11) / 2**53 for b in bits]
    many = Rng("many").uniforms(100_000)
    assert many.min() >= 0
    assert many.max() < 1
    assert np.histogram(many, 10, (0, 1))[0] == pytest.approx(np.full(10, 10_000), rel=0.05)


def test_normals_have_gaussian_moments() -> None:
    x = Rng("many").normals(100_001)
    assert len(x) == 100_001
    assert x.mean() == pytest.approx(0, abs=0.02)
    assert x.std() == pytest.approx(1, rel=0.01)
    assert (x**4).mean() == pytest.approx(3, rel=0.05)
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 0.02


def test_a_stream_does_not_feel_what_its_neighbours_drew() -> None:
    rng = Rng(0, "drum", "train", 0)
    first = rng.stream("hits").uniforms(4)
    rng.stream("look").uniforms(9)
    rng.uniforms(9)
    assert (rng.stream("hits").uniforms(4) == first).all()
    assert (rng.stream("look").uniforms(4) != first).all()


def test_waiting_times_are_exponential_past_the_shortest() -> None:
    rng = Rng("gaps")
    gaps = np.array([rng.waiting_time(0.3, 0.25, 100.0) for _ in range(4_000)])
    assert gaps.min() >= 0.3
    assert gaps.mean() == pytest.approx(0.55, rel=0.04)
    assert gaps.std() == pytest.approx(0.25, rel=0.08)


def test_shapes_cover_their_area() -> None:
    disc = drawing.bar(60.3, 50.7, 60.3, 50.7, 9.0)
    assert disc.sum() == pytest.approx(np.pi * 81, rel=0.01)
    assert drawing.bar(30.0, 40.0, 70.0, 40.0, 3.0).sum() == pytest.approx(
        40 * 6 + np.pi * 9, rel=0.01
    )
    assert drawing.ellipse(64.0, 60.0, 30.0, 8.0).sum() == pytest.approx(np.pi * 240, rel=0.02)
    assert drawing.rectangle(10.25, 20.5, 30.75, 25.5).sum() == pytest.approx(20.5 * 5)


def test_shapes_are_those_of_the_whole_picture_looked_at() -> None:
    """Only the part near a shape is computed; here every pixel is, by the same formulas."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:128, :128].astype(np.float64)
    for _ in range(60):
        x, y = random.uniform(-60.0, 190.0, (2, 3, 1, 1))
        a, b = np.exp(random.uniform(np.log(0.4), np.log(90.0), (2, 3, 1, 1)))
        dx, dy = (columns - x) / a, (rows - y) / b
        level, slope = np.hypot(dx, dy), np.maximum(np.hypot(dx / a, dy / b), 1e-9)
        wanted = np.clip(0.5 - level * (level - 1.0) / slope, 0.0, 1.0)
        flat = [part.reshape(3) for part in (x, y, a, b)]
        np.testing.assert_allclose(drawing.ellipse(*flat), wanted, atol=1e-9)
        x0, y0, x1, y1 = random.uniform(-30.0, 160.0, 4)
        radius = random.uniform(0.5, 20.0)
        way = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-9)
        along = ((columns - x0) * (x1 - x0) + (rows - y0) * (y1 - y0)) / way
        along = np.clip(along, 0.0, 1.0)
        apart = np.hypot(columns - x0 - along * (x1 - x0), rows - y0 - along * (y1 - y0))
        wanted = np.clip(radius + 0.5 - apart, 0.0, 1.0)
        np.testing.assert_allclose(drawing.bar(x0, y0, x1, y1, radius), wanted, atol=1e-9)


def test_dots_are_discs_each_in_its_picture() -> None:
    frame, x, y = np.array([0, 1, 1]), np.array([30.4, 0.2, 90.0]), np.array([60.6, 5.0, 127.5])
    covered = drawing.dots(2, frame, x, y, 1.5)
    disc = [
        drawing.bar(float(a), float(b), float(a), float(b), 1.5) for a, b in zip(x, y, strict=True)
    ]
    assert covered[0] == pytest.approx(disc[0])
    assert covered[1] == pytest.approx(np.maximum(disc[1], disc[2]))


def test_band_noise_lies_in_its_band() -> None:
    noise = band_noise(Rng("band"), 1 << 15, 500.0, 2_000.0, RATE_HZ)
    power = np.abs(np.fft.rfft(noise)) ** 2
    frequency_hz = np.fft.rfftfreq(1 << 15, 1 / RATE_HZ)
    inside = (frequency_hz > 350) & (frequency_hz < 2_800)
    assert power[inside].sum() / power.sum() > 0.85
    assert noise.std() == pytest.approx(1, rel=0.05)


def test_resonant_noise_rings_at_its_centres_with_rms_1() -> None:
    formants = (Formant(600.0, 100.0, 1.0), Formant(3_000.0, 200.0, 0.5))
    noise = resonant_noise(Rng("ring"), 1 << 17, formants, RATE_HZ)
    assert noise.values.std() == pytest.approx(1, rel=0.05)
    assert noise.fresh.std() == pytest.approx(noise.fresh_std, rel=0.02)
    frequency_hz, power = signal.welch(noise.values, RATE_HZ, nperseg=1_024)
    for formant in formants:
        near = np.abs(frequency_hz - formant.centre_hz) < 400.0
        assert frequency_hz[near][power[near].argmax()] == pytest.approx(formant.centre_hz, abs=40)
    assert power[np.abs(frequency_hz - 1_700.0) < 100.0].max() < 0.02 * power.max()


def test_what_resonant_noise_calls_fresh_is_new() -> None:
    noise = resonant_noise(Rng("ring"), 4_000, (Formant(600.0, 100.0, 1.0),), RATE_HZ)
    past = noise.values - noise.fresh
    assert abs(np.corrcoef(past, noise.fresh)[0, 1]) < 4 / np.sqrt(4_000)
    assert abs(np.corrcoef(past[1:], noise.fresh[:-1])[0, 1]) > 0.05  # but it is heard later


def test_parts_that_stick_out_of_a_track_are_dropped() -> None:
    track = np.zeros(4)
    add_at(track, -1, np.array([9.0, 1.0]))
    add_at(track, 3, np.array([2.0, 9.0]))
    add_at(track, 7, np.array([9.0]))
    assert track.tolist() == [1.0, 0.0, 0.0, 2.0]
