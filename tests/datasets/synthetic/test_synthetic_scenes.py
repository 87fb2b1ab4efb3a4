"""The synthetic set's eight moving scenes: each sounds by its law, as its pictures show.

What is measured here is measured in the waveform or in the pictures, and held against the state.
"""

import functools

import librosa
import mir_eval
import numpy as np
import pytest
from scipy import ndimage, signal

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.generator import make_clip
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.scene import Scene, SceneContext
from v2s_jax.datasets.synthetic.scenes import (
    baby_crying,
    chainsaw,
    dog,
    fireworks,
    helicopter,
    printer,
    rail_transport,
    snoring,
)
from v2s_jax.datasets.synthetic.sound import SPEED_OF_SOUND_M_SEC
from v2s_jax.datasets.synthetic.trajectory import Trajectory
from v2s_jax.datasets.synthetic.voice import Formant, harmonics

pytestmark = pytest.mark.slow  # the golden hashes are the fast guard

CLOCK = Clock()
VIDEO_FRAMES = 32
RATE_HZ = CLOCK.sample_rate_hz
SAMPLES = VIDEO_FRAMES * CLOCK.samples_per_video_frame
END_SEC = SAMPLES / RATE_HZ
SCENES = {
    "baby_crying": baby_crying.render_scene,
    "chainsaw": chainsaw.render_scene,
    "dog": dog.render_scene,
    "fireworks": fireworks.render_scene,
    "helicopter": helicopter.render_scene,
    "printer": printer.render_scene,
    "rail_transport": rail_transport.render_scene,
    "snoring": snoring.render_scene,
}


def root_rng(category: str, index: int) -> Rng:
    return Rng(0, category, "train", index)


WITH_FLOW = 3
"""Clips whose flow is known; it takes as long as the pictures."""


@functools.cache
def make(category: str, index: int, at_rest: bool = False, other_noise: bool = False) -> Scene:
    root = root_rng(category, index)
    noise = root_rng(category, index + 1_000) if other_noise else root
    with_flow = index < WITH_FLOW and not other_noise
    context = SceneContext(root, root, noise, CLOCK, VIDEO_FRAMES, at_rest, with_flow)
    return SCENES[category](context)


def steady(level: float) -> Trajectory:
    return Trajectory(np.zeros(0), np.zeros(0), np.array([level]))


def pitch_hz(sound: np.ndarray, low_hz: float, high_hz: float) -> float:
    """Return the strongest frequency between two, to a fraction of a hertz."""
    points = 1 << 18
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), points))
    frequency_hz = np.fft.rfftfreq(points, 1 / RATE_HZ)
    inside = (frequency_hz >= low_hz) & (frequency_hz <= high_hz)
    return float(frequency_hz[inside][spectrum[inside].argmax()])


def luminance(scene: Scene) -> np.ndarray:
    return scene.painting.frames.astype(np.float64) @ [0.299, 0.587, 0.114]


# --- every category


@pytest.mark.parametrize("category", SCENES)
def test_rest_is_still_and_silent(category: str) -> None:
    for index in range(2):
        scene = make(category, index, at_rest=True)
        frames = scene.painting.frames
        assert (frames == frames[0]).all()
        assert (scene.track.sound == 0).all()
        assert (scene.track.fresh_variance == 0).all()
        assert np.abs(scene.painting.flow).max() < 1e-6
        assert len(scene.events_sec) == 0


@pytest.mark.parametrize("category", SCENES)
def test_pictures_events_and_level_of_noise_do_not_hang_on_what_is_not_seen(category: str) -> None:
    for index in range(2):
        scene, other = make(category, index), make(category, index, other_noise=True)
        assert (scene.painting.frames == other.painting.frames).all()
        assert (scene.events_sec == other.events_sec).all()
        assert (scene.track.fresh_variance == other.track.fresh_variance).all()
        assert scene.state == other.state
        # What differs is noise of a level that the state sets: where that is 0, nothing differs.
        differs = scene.track.sound != other.track.sound
        assert not differs[scene.track.fresh_variance == 0].any()


@pytest.mark.parametrize("category", SCENES)
def test_sound_keeps_its_room(category: str) -> None:
    peaks = [np.abs(make(category, index).track.sound).max() for index in range(4)]
    assert max(peaks) < 0.95
    assert max(peaks) > 0.15


# Sparks fade and flare, so that their colour does not stay with them: fireworks have a test of
# their own.
@pytest.mark.parametrize("category", [name for name in SCENES if name != "fireworks"])
def test_flow_explains_the_pictures(category: str) -> None:
    rows, columns = np.mgrid[:128, :128]
    unmoved, moved, good, count = 0.0, 0.0, 0, 0
    for index in range(WITH_FLOW):
        scene = make(category, index)
        light, flow = luminance(scene), scene.painting.flow.astype(np.float64)
        for i in range(1, VIDEO_FRAMES, 2):
            # Inside a moving part: at its edge a pixel mixes what moves with what does not.
            spread = ndimage.maximum_filter(flow[i], (3, 3, 1))
            spread = (spread - ndimage.minimum_filter(flow[i], (3, 3, 1))).max(axis=2)
            inside = (np.hypot(flow[i, ..., 0], flow[i, ..., 1]) > 0.5) & (spread < 1.0)
            places = [rows + flow[i, ..., 1], columns + flow[i, ..., 0]]
            warped = ndimage.map_coordinates(light[i], places, order=1, mode="nearest")
            error = np.abs(warped - light[i - 1])[inside]
            unmoved += np.abs(light[i] - light[i - 1])[inside].sum()
            moved += error.sum()
            good += (error < 16).sum()
            count += inside.sum()
    assert count > 2_000
    assert moved < 0.5 * unmoved
    assert good > 0.8 * count  # the rest is hidden in the next picture


def test_flow_of_sparks_is_where_they_go() -> None:
    age = np.array([0.2, 0.264])
    for index in range(3):
        look = fireworks.choose_look(root_rng("fireworks", index).stream("look"))
        rockets = fireworks.choose_rockets(root_rng("fireworks", index).stream("rockets"), END_SEC)
        context = SceneContext(*[root_rng("fireworks", index)] * 3, CLOCK, 2, with_flow=True)
        painting = context.painting(np.zeros((128, 128, 3)))
        fireworks.animate(painting, look, rockets, rockets.burst_sec[2] + age)
        flow = painting.flow[1]
        reach = fireworks.SPARK_REACH_M * look.px_per_m
        spread = reach * (1.0 - np.exp(-age / fireworks.SPREAD_SEC))
        sunk = 0.5 * fireworks.SPARK_SINK_M_SEC2 * look.px_per_m * age**2
        mouth_y = look.base_y_px - 7.0 * look.px_per_m
        middle_x = look.x_px + rockets.x_m[2] * look.px_per_m
        middle_y = mouth_y - (rockets.height_m[2] - 7.0) * look.px_per_m
        right, down = rockets.spark_x[2], rockets.spark_y[2]
        x, y = middle_x + spread[0] * right, middle_y + sunk[0] + spread[0] * down
        seen = (x > 1) & (x < 126) & (y > 1) & (y < 126)
        wanted = np.stack([right, down], 1) * (spread[1] - spread[0]) + [0.0, sunk[1] - sunk[0]]
        found = flow[np.rint(y[seen]).astype(int), np.rint(x[seen]).astype(int)]
        near = np.abs(found - wanted[seen]).max(axis=1) < 0.5
        assert near.mean() > 0.7  # another rocket's sparks or trail may lie over the rest


@pytest.mark.parametrize(
    ("category", "least"), [("dog", 0.9), ("fireworks", 0.8), ("chainsaw", 0.7)]
)
def test_onsets_of_the_sound_are_the_events(category: str, least: float) -> None:
    scores = []
    for index in range(8):
        scene = make(category, index)
        sound = scene.track.sound.astype(np.float32)
        sound += (Rng("floor").normals(SAMPLES) / 1024).astype(np.float32)
        found = librosa.onset.onset_detect(y=sound, sr=RATE_HZ, hop_length=128, units="time")
        events = scene.events_sec[scene.events_sec > 0.1]
        found = found[found > 0.1]  # the detector takes the clip's start for one
        if len(events):
            matched = mir_eval.util.match_events(events, found, 0.06)
            scores.append(len(matched) / len(events))
    assert np.mean(scores) >= least


@pytest.mark.parametrize("category", ["dog", "chainsaw"])
def test_the_whole_of_it_is_in_the_picture(category: str) -> None:
    """Also of the largest there is: left and right edge show the same sky and grass."""
    for index in range(8):
        frames = make_clip(category, "extrapolation", index, 0, CLOCK, 16).frames
        assert (frames[:, :, 0] == frames[:, :, -1]).all()
        assert (frames[:, :, 0] == frames[:1, :, 0]).all()


def test_voices_fade_towards_high_frequencies_and_stop_nowhere() -> None:
    """From one sixth of an octave to the next a level falls by at most 12 dB, until 20 dB down."""
    time_sec = np.arange(RATE_HZ) / RATE_HZ
    flat = (Formant(1_000.0, 1e9, 1.0),)
    voice = harmonics(50.0 * time_sec, np.full(RATE_HZ, 50.0), 0.0, flat, RATE_HZ, 4_000.0)
    partials = np.abs(np.fft.rfft(voice)) ** 2
    edges_hz = 500.0 * 2.0 ** (np.arange(21) / 6)
    place = np.searchsorted(edges_hz, np.arange(len(partials)))
    power = np.array([partials[place == band].mean() for band in range(1, 21)])
    level_db = 10.0 * np.log10(power / power[0] + 1e-9)
    heard = level_db[:-1] > -20.0
    assert np.diff(level_db)[heard].min() > -12.0
    assert level_db[-1] < -60.0


# --- dog


@pytest.mark.parametrize("radius_px", [17.0, 27.0])
def test_a_larger_dog_barks_lower_and_a_wider_jaw_higher(radius_px: float) -> None:
    middle = round((dog.OPEN_SEC + 0.5 * dog.HOLD_SEC) * RATE_HZ)
    found = []
    for strength in (dog.WEAKEST, dog.STRONGEST):
        voice = dog.bark(radius_px, strength, RATE_HZ)[middle - 320 : middle + 320]
        wide = strength / dog.STRONGEST
        law_hz = dog.PITCH_HZ_PX / radius_px * (1.0 + dog.PITCH_RISE * wide)
        correlation = np.correlate(voice, voice, "full")[len(voice) - 1 :]
        low, high = int(RATE_HZ / law_hz / 1.4), int(RATE_HZ / law_hz * 1.4)
        found.append(RATE_HZ / (low + correlation[low:high].argmax()))
        assert found[-1] == pytest.approx(law_hz, rel=0.04)
    assert found[1] > 1.15 * found[0]


def test_a_dog_is_heard_only_with_an_open_jaw_and_announces_each_bark() -> None:
    time_sec = np.arange(SAMPLES) / RATE_HZ
    for index in range(6):
        barks = dog.choose_barks(root_rng("dog", index).stream("barks"), CLOCK, SAMPLES)
        open_jaw = dog.jaw(time_sec[:, None] - barks.sample / RATE_HZ).sum(axis=1) > 0
        sound = make("dog", index).track.sound
        assert (sound[~open_jaw] == 0).all()
        assert np.abs(sound[open_jaw]).max() > 0.2
        assert np.diff(barks.sample).min() >= dog.SHORTEST_GAP_SEC * RATE_HZ - 1
    ahead = dog.lean(np.array([-0.28, -0.2, -0.12, 0.0, 0.02, 0.2]))
    assert ahead[:4].tolist() == pytest.approx([0.0, -0.5, -1.0, 0.889], abs=0.001)
    assert ahead[-1] == pytest.approx(0.0, abs=0.01)


# --- baby


@pytest.mark.parametrize("radius_px", [32.0, 42.0])
def test_a_cry_glides_between_400_and_610_hz_with_the_mouth(radius_px: float) -> None:
    length_sec, strength = 0.8, baby_crying.STRONGEST
    voice = baby_crying.cry(radius_px, length_sec, strength, RATE_HZ)
    for at_sec in (0.25, 0.375, 0.5):  # the mouth is wide, less wide, wide again
        here = voice[round(at_sec * RATE_HZ) - 512 : round(at_sec * RATE_HZ) + 512]
        wide = float(baby_crying.mouth(np.array([at_sec]), length_sec)[0])
        law_hz = baby_crying.PITCH_HZ_PX / radius_px * (1.0 + baby_crying.PITCH_RISE * wide)
        assert pitch_hz(here, 380.0, 640.0) == pytest.approx(law_hz, rel=0.02)
        assert 400 <= law_hz <= 610


def test_babies_cry_about_once_a_second_and_level_follows_the_mouth() -> None:
    gaps, levels, mouths = [], [], []
    for index in range(12):
        stream = root_rng("baby_crying", index).stream("cries")
        cries = baby_crying.choose_cries(stream, CLOCK, 10 * RATE_HZ)
        gaps.append(np.diff(cries.sample) / RATE_HZ)
        if index < 4:
            stream = root_rng("baby_crying", index).stream("cries")
            cries = baby_crying.choose_cries(stream, CLOCK, SAMPLES)
            since = np.arange(SAMPLES)[:, None] / RATE_HZ - cries.sample / RATE_HZ
            wide = baby_crying.mouth(since, cries.length_sec) @ cries.strength
            sound = make("baby_crying", index).track.sound
            assert np.abs(sound[wide == 0]).max() == 0
            mouths.append(wide.reshape(-1, 1_024).mean(axis=1))
            levels.append(np.sqrt((sound.reshape(-1, 1_024) ** 2).mean(axis=1)))
    assert 0.8 < np.concatenate(gaps).mean() < 1.3
    assert np.corrcoef(np.concatenate(mouths), np.concatenate(levels))[0, 1] > 0.9


# --- snoring


@pytest.mark.parametrize("chest_px", [20.0, 33.0])
def test_a_snore_flutters_at_the_rate_of_its_flow(chest_px: float) -> None:
    one = np.ones(1)
    breaths = snoring.Breaths(0.0 * one, 1.6 * one, 1.4 * one, one)
    time_sec = np.arange(3 * RATE_HZ) / RATE_HZ
    sound = snoring.snore(chest_px, breaths, time_sec, RATE_HZ)
    for at_sec in (0.35, 0.8, 1.2):
        here = sound[round((at_sec - 0.1) * RATE_HZ) : round((at_sec + 0.1) * RATE_HZ)]
        law_hz = float(
            snoring.flutter_hz(chest_px, snoring.flow_in(breaths, np.array([at_sec])))[0]
        )
        correlation = np.correlate(here, here, "full")[len(here) - 1 :]
        low, high = int(RATE_HZ / law_hz / 1.5), int(RATE_HZ / law_hz * 1.5)
        assert RATE_HZ / (low + correlation[low:high].argmax()) == pytest.approx(law_hz, rel=0.04)
        assert 30 <= law_hz <= 80


def test_snores_start_after_the_chest_and_hold_still_is_silent() -> None:
    time_sec = np.arange(SAMPLES) / RATE_HZ
    for index in range(6):
        scene = make("snoring", index)
        breaths = snoring.choose_breaths(root_rng("snoring", index).stream("breaths"), END_SEC)
        speed = np.abs(np.gradient(snoring.chest(breaths, time_sec)))
        assert (scene.track.sound[speed == 0] == 0).all()
        for event in scene.events_sec:
            start = breaths.start_sec[breaths.start_sec <= event].max()
            assert 0.08 < event - start < 0.25
            first = round(event * RATE_HZ)
            assert np.abs(scene.track.sound[first - 80 : first]).max() < 1e-9
            assert np.abs(scene.track.sound[first : first + 1_600]).max() > 0.03


# --- printer


def _one_run(carriage_px: float, speed_px_sec: float, from_px: float) -> np.ndarray:
    runs = printer.Runs(np.array([0.0]), np.array([0.5]), np.array([speed_px_sec]), from_px)
    track = SceneContext(*[Rng("none")] * 3, CLOCK, VIDEO_FRAMES).track()
    printer.hear(track, carriage_px, runs, RATE_HZ, Rng("pins"))
    return track.sound


@pytest.mark.parametrize("carriage_px", [14.0, 26.0])
def test_the_stepper_tone_is_the_speed_over_the_carriage(
    carriage_px: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printer, "STRIKE_RMS", 0.0)
    for speed in (-150.0, 200.0):
        sound = _one_run(carriage_px, speed, 40.0)
        steady_part = sound[round(0.12 * RATE_HZ) : round(0.38 * RATE_HZ)]
        law_hz = printer.TONE_PX / carriage_px * abs(speed)
        assert pitch_hz(steady_part, 150.0, 1_500.0) == pytest.approx(law_hz, abs=3.0)
        knock = round(0.5 * RATE_HZ)
        assert (
            np.abs(sound[knock : knock + 16]).max()
            > 5 * np.abs(sound[knock - 32 : knock]).max() + 0.05
        )


@pytest.mark.parametrize("carriage_px", [14.0, 26.0])
def test_pins_strike_every_ten_steps_and_only_over_text(carriage_px: float) -> None:
    speed = 160.0
    steady_part = slice(round(0.06 * RATE_HZ), round(0.44 * RATE_HZ))
    power = _one_run(carriage_px, speed, 0.0)[steady_part] ** 2
    law_hz = printer.TONE_PX / carriage_px * speed / printer.STEPS_PER_STRIKE
    assert pitch_hz(power - power.mean(), 30.0, 150.0) == pytest.approx(law_hz, rel=0.05)
    way_px = speed * (np.arange(SAMPLES)[steady_part] / RATE_HZ - 0.5 * printer.RAMP_SEC)
    text = printer.is_text(way_px) > 0
    assert power[~text].mean() < 0.15 * power[text].mean()


def test_the_carriage_knocks_where_the_flag_stands() -> None:
    for index in range(6):
        runs = printer.choose_runs(root_rng("printer", index).stream("runs"), END_SEC)
        place = printer.place_px(runs, runs.end_sec)
        flag = printer.flag_px(runs, 9.0, runs.end_sec)
        assert place + 9.0 * np.sign(runs.speed_px_sec) == pytest.approx(flag)
        everywhere = printer.place_px(runs, np.linspace(-1.0, END_SEC, 4_000))
        assert everywhere.min() > -1e-6
        assert everywhere.max() < printer.RAIL_PX + 1e-6


# --- rail


def _passing(speed_m_sec: float) -> tuple[rail_transport.Look, rail_transport.Ride]:
    look = rail_transport.choose_look(Rng("rail").stream("look"))
    return look, rail_transport.Ride(steady(speed_m_sec), 0.0, 1.0)


def test_doppler_shift_is_c_over_c_minus_v() -> None:
    speed, c = 28.0, SPEED_OF_SOUND_M_SEC
    look, ride = _passing(speed)
    time_sec = np.arange(-4_000, 4_000) / RATE_HZ
    _, turns = rail_transport.heard(look, ride, time_sec)
    tone = np.cos(2.0 * np.pi * turns)
    emitted_hz = speed * rail_transport.TONE_TURNS / look.height_m
    for at_sec in (-0.15, 0.0, 0.15):
        middle = round((at_sec + 0.25) * RATE_HZ)
        left_sec = rail_transport.emission_sec(look, ride, np.array([at_sec, at_sec + 1e-3]))[0]
        x = speed * left_sec
        towards = -speed * x / np.hypot(x, look.distance_m)
        phase = np.unwrap(np.angle(signal.hilbert(tone)))
        heard_hz = (phase[middle + 160] - phase[middle - 160]) / (2 * np.pi * 320 / RATE_HZ)
        assert heard_hz == pytest.approx(emitted_hz * c / (c - towards), rel=0.005)
        assert left_sec + np.hypot(x, look.distance_m) / c == pytest.approx(at_sec, abs=1e-6)


def test_level_is_inverse_to_distance_and_zero_in_the_tunnel() -> None:
    look, ride = _passing(28.0)
    time_sec = np.arange(0, SAMPLES) / RATE_HZ
    level, _ = rail_transport.heard(look, ride, time_sec)
    left = rail_transport.emission_sec(look, ride, time_sec)
    x = rail_transport.place_m(look, ride, left)
    free = rail_transport.outside(look, x) == 1
    assert level[free] * np.hypot(x[free], look.distance_m) == pytest.approx(
        28.0 / rail_transport.SPEED_M_SEC[1] * rail_transport.DISTANCE_M[0]
    )
    assert (level[rail_transport.outside(look, x) == 0] == 0).all()
    assert free.any()


def test_joints_knock_when_an_axle_is_over_them_and_the_sound_has_come() -> None:
    look, ride = _passing(20.0)
    arrivals, _ = rail_transport.knocks(look, ride, END_SEC)
    axles = rail_transport.axles_m(look)
    assert len(axles) == 4 * rail_transport.CARS
    for joint in rail_transport.joints_m(look):
        for axle in axles:
            at_sec = (joint - axle) / 20.0
            if 0 < at_sec < END_SEC - 0.2:
                wanted = at_sec + np.hypot(joint, look.distance_m) / SPEED_OF_SOUND_M_SEC
                assert np.abs(arrivals - wanted).min() < 1e-4


# --- helicopter


@pytest.mark.parametrize("blade_pass_hz", [10.0, 17.0, 25.0])
def test_noise_beats_at_the_blade_pass(blade_pass_hz: float) -> None:
    flight = helicopter.Flight(steady(blade_pass_hz), 3, steady(30.0))
    envelope, _ = helicopter.heard(flight, np.arange(4 * RATE_HZ) / RATE_HZ)
    noise = envelope * Rng("air").normals(4 * RATE_HZ)
    power = noise**2
    assert pitch_hz(power - power.mean(), 4.0, 40.0) == pytest.approx(blade_pass_hz, abs=0.2)


def test_a_beat_is_heard_once_its_sound_has_come_from_the_blade() -> None:
    for distance_m in (25.0, 50.0):
        flight = helicopter.Flight(steady(12.5), 2, steady(distance_m))
        delay = distance_m / SPEED_OF_SOUND_M_SEC
        time_sec = np.arange(RATE_HZ) / RATE_HZ
        envelope, _ = helicopter.heard(flight, time_sec)
        beat = time_sec[5_000 + envelope[5_000:7_000].argmax()]
        turns = flight.blade_pass.integral(np.array([beat - delay]))[0]
        assert turns == pytest.approx(round(turns), abs=0.01)
        law = helicopter.NOISE_RMS * 0.5 * helicopter.DISTANCE_M[0] / distance_m
        assert envelope.max() == pytest.approx(law, rel=1e-4)  # a sample may miss the peak


# --- chainsaw


@pytest.mark.parametrize("body_px", [28.0, 40.0])
def test_the_engine_sounds_at_harmonics_of_its_rate(body_px: float) -> None:
    none = chainsaw.Cuts(np.zeros(0), np.zeros(0))
    time_sec = np.arange(RATE_HZ) / RATE_HZ
    for rate_hz in (42.0, 120.0):
        sound = chainsaw.engine(body_px, steady(rate_hz), none, time_sec, RATE_HZ)
        power = np.abs(np.fft.rfft(sound)) ** 2
        frequency = np.arange(len(power))
        off = np.abs(frequency / rate_hz - np.rint(frequency / rate_hz)) * rate_hz
        assert power[off < 1.5].sum() > 0.999 * power.sum()


def test_the_log_takes_a_fifth_of_the_rate() -> None:
    cuts = chainsaw.Cuts(np.array([0.5]), np.array([1.2]))
    time_sec = np.arange(2 * RATE_HZ) / RATE_HZ
    sound = chainsaw.engine(34.0, steady(120.0), cuts, time_sec, RATE_HZ)
    free = pitch_hz(sound[: RATE_HZ // 2], 100.0, 130.0)
    braked = pitch_hz(sound[round(0.7 * RATE_HZ) : round(1.15 * RATE_HZ)], 80.0, 130.0)
    assert braked / free == pytest.approx(1.0 - chainsaw.DIP, abs=0.01)
    angle = chainsaw.bar_angle(cuts, time_sec)
    assert angle[RATE_HZ // 2] == pytest.approx(0.0, abs=1e-9)
    assert (angle[: RATE_HZ // 2] > 0).all()
    assert (angle[round(0.55 * RATE_HZ) : round(1.15 * RATE_HZ)] < 0).all()


def test_the_saw_shakes_as_its_engine_turns() -> None:
    none = chainsaw.Cuts(np.zeros(0), np.zeros(0))
    look = chainsaw.choose_look(Rng("saw").stream("look"))
    context = SceneContext(*[Rng("saw")] * 3, CLOCK, 16, with_flow=True)
    times = context.frame_times_sec
    shown = {}
    for rate_hz in (0.0, 139.0):
        painting = context.painting(np.zeros((128, 128, 3)))
        chainsaw.animate(painting, look, steady(rate_hz), none, times, Rng("dust"))
        shown[rate_hz] = np.abs(painting.flow[..., 1]).max()
    law = np.sin(2.0 * np.pi * chainsaw.engine_turns(steady(139.0), none, times))
    assert shown[0.0] < 1e-9
    wanted = chainsaw.SHAKE_PX * 139.0 / chainsaw.FULL_HZ * np.abs(np.diff(law)).max()
    assert shown[139.0] == pytest.approx(wanted, rel=1e-3)


# --- fireworks


def test_a_bang_is_heard_at_its_distance_over_343() -> None:
    delays, distances = [], []
    for index in range(10):
        scene = make("fireworks", index)
        look = fireworks.choose_look(root_rng("fireworks", index).stream("look"))
        rockets = fireworks.choose_rockets(root_rng("fireworks", index).stream("rockets"), END_SEC)
        for event in scene.events_sec:
            burst = rockets.burst_sec[np.abs(rockets.burst_sec + look.delay_sec - event).argmin()]
            first = round(event * RATE_HZ)
            if first > 160:
                sound = np.abs(scene.track.sound)
                before, after = sound[first - 160 : first].max(), sound[first : first + 160].max()
                assert after > 2.0 * before
                delays.append(event - burst)
                distances.append(fireworks.NEAREST_M / look.nearness)
    assert np.array(delays) == pytest.approx(np.array(distances) / 343.0, abs=1e-4)
    assert max(delays) > 2.0 * min(delays)


def test_a_bang_is_as_loud_as_it_is_near() -> None:
    look = fireworks.choose_look(Rng("bang").stream("look"))
    one = fireworks.choose_rockets(Rng("bang"), 0.1)
    one = fireworks.Rockets(*(part[:1] for part in one))
    one = one._replace(burst_sec=np.array([0.3]), pop_sec=np.full((1, fireworks.SPARKS), np.inf))
    levels = {}
    for nearness in (0.3, 0.9):
        context = SceneContext(*[Rng("bang")] * 3, CLOCK, VIDEO_FRAMES)
        track, there = context.track(), look._replace(nearness=nearness)
        (heard_sec,) = fireworks.hear(track, there, one, context)
        first = round(heard_sec * RATE_HZ)
        levels[nearness] = track.sound[first : first + RATE_HZ // 5].std()
    assert levels[0.9] / levels[0.3] == pytest.approx(3.0, rel=0.15)  # the blast is noise


def test_only_gold_sparks_pop_and_pops_are_poisson_like() -> None:
    rockets = fireworks.choose_rockets(Rng("many"), 60.0)
    pops = np.isfinite(rockets.pop_sec).sum(axis=1)
    assert (pops[~rockets.gold] == 0).all()
    assert pops[rockets.gold].mean() == pytest.approx(
        fireworks.SPARKS * fireworks.POPPING_SHARE, rel=0.1
    )
    assert 0.3 < rockets.gold.mean() < 0.7
