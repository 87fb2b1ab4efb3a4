"""Rail transport: a railcar set that passes between two tunnels, seen and heard from the trackside.

Two cars go round: they leave one tunnel, pass, enter the other. Speed moves smoothly from one level
to the next, down to a stop. The wheels roar: noise around 0.9 and 1.5 kHz, through resonances that
are lower in a higher car. The motor hums, faintly, at a pitch ~ speed / height. Both have a
level of speed over distance. Sound takes its time: what is heard at t left the train at t_e with
t = t_e + r(t_e) / c, which shifts an oncoming tone by the Doppler factor c / (c - v_r). Each of the
eight axles clicks at each rail joint, higher for a lower car; joints are marked by white posts, so
a click can be seen coming. As much of the train as is outside the tunnels is heard of roar and hum.
A standing train is silent.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from v2s_jax.datasets.synthetic import drawing
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.scene import Scene, SceneContext
from v2s_jax.datasets.synthetic.sound import SPEED_OF_SOUND_M_SEC, knock
from v2s_jax.datasets.synthetic.trajectory import Trajectory, sample_trajectory
from v2s_jax.datasets.synthetic.voice import Formant, partials

SPEED_M_SEC = (20.0, 30.0)
STOP_SHARE = 0.15  # of the speeds that the train is set to
TURN_SEC = 0.6  # from one speed to the next: a toy's brakes
HOLD_SEC = (0.65, 0.35, 1.60)  # from one change to the next: shortest, mean excess, longest

DISTANCE_M = (8.0, 14.0)  # of the track from the viewer
FOCAL_PX = 60.0  # px per metre = this / distance: 7.5 to 4.3
CARS = 2
CAR_M = (14.0, 18.0)  # length of one
GAP_M = 0.8  # between two cars
CAR_HEIGHT_M = (3.2, 4.8)
PORTAL_HEIGHTS = 1.2  # height of a tunnel's mouth over the car's
BOGIE_SHARE = 0.33  # of a car's length: a bogie's place before and behind its middle
AXLE_M = 1.8  # from one axle of a bogie to the other
JOINT_M = 12.0  # from one rail joint to the next
MIDDLE_PX = 63.5  # of the image
PORTAL_PX = 12.0  # from the image's edge to a tunnel's mouth

TONE_TURNS = 60.0  # motor turns per way of the car's height: 560 Hz at the most
TONE_PARTIALS = (1.0, 0.5, 0.33)
TONE_PEAK = 0.01  # at the highest speed and the nearest distance
ROAR_HZ_SQRT_M = (1_800.0, 3_000.0)  # resonances of the roar, times the root of the car's height
ROAR_WIDTHS_HZ, ROAR_GAINS = (300.0, 100.0), (1.0, 0.8)
ROAR_RMS = 0.13  # likewise
KNOCK_PEAK = 0.5  # likewise
KNOCK_HZ_M = np.array([14_000.0, 17_500.0, 21_000.0, 24_000.0])  # far above the roar
KNOCK_AMPLITUDE = np.array([1.0, 0.8, 0.6, 0.4])
KNOCK_SEC = 0.015  # decay time of the lowest part


class Ride(NamedTuple):
    """Where the train is: it goes round a loop, of which only the middle is visible."""

    speed: Trajectory
    """In m/s, never below 0."""
    from_m: float
    """Place along the loop at time 0."""
    sign: float
    """1 rightwards, -1 leftwards."""


class Look(NamedTuple):
    """What differs between the railways of two clips."""

    distance_m: float
    car_m: float
    height_m: float
    track_y_px: float
    car: drawing.Colour
    sky: drawing.Colour
    grass: drawing.Colour

    @property
    def px_per_m(self) -> float:
        """The image's scale."""
        return FOCAL_PX / self.distance_m

    @property
    def loop_m(self) -> float:
        """Length of the loop: the image, and twice half a train out of sight."""
        return (drawing.FRAME_PX / self.px_per_m) + CARS * self.car_m

    @property
    def cars_m(self) -> Float64[np.ndarray, " cars"]:
        """Where the cars' middles are before the train's."""
        return self.car_m * (np.arange(CARS) - 0.5 * (CARS - 1))


def render_scene(context: SceneContext) -> Scene:
    """Render one clip of a railway; tone and knocks follow from the state, the roar is noise."""
    rate_hz = context.clock.sample_rate_hz
    look = choose_look(context.look.stream("look"))
    ride = choose_ride(context.motion.stream("ride"), context.end_sec, look, context.at_rest)
    painting = context.painting(draw_background(look))
    animate(painting, look, ride, context.frame_times_sec)
    track = context.track()
    level, turns = heard(look, ride, context.sample_times_sec)
    track.add(0, TONE_PEAK * level * partials(turns, TONE_PARTIALS))
    track.add_texture(context.noise_through("roar", body(look.height_m)), ROAR_RMS * level)
    arrival_sec, strengths = knocks(look, ride, context.end_sec)
    starts = np.rint(arrival_sec * rate_hz).astype(int)
    click = knock(KNOCK_HZ_M / look.height_m, KNOCK_AMPLITUDE, KNOCK_SEC, rate_hz)
    for start, strength in zip(starts.tolist(), strengths.tolist(), strict=True):
        track.add(start, KNOCK_PEAK * strength * click)
    within = np.unique(starts[(starts >= 0) & (starts < context.samples)])
    state = {
        "distance_m": look.distance_m,
        "car_m": look.car_m,
        "height_m": look.height_m,
        "place_m": place_m(look, ride, context.frame_times_sec).tolist(),
        "speed_m_sec": ride.speed.value(context.frame_times_sec).tolist(),
    }
    return Scene(painting, track, within / rate_hz, state)


def choose_ride(rng: Rng, end_sec: float, look: Look, at_rest: bool = False) -> Ride:
    """Draw the speeds, the place at the start and the direction."""

    def speed(rng: Rng) -> float:
        stopped = rng.between(0.0, 1.0) < STOP_SHARE
        fast = rng.between(*SPEED_M_SEC)
        return 0.0 if stopped or at_rest else fast

    sign = 1.0 if rng.between(0.0, 1.0) < 0.5 else -1.0
    from_m = rng.between(-0.5, 0.5) * look.loop_m
    return Ride(sample_trajectory(rng, end_sec, speed, TURN_SEC, HOLD_SEC), from_m, sign)


def place_m(
    look: Look, ride: Ride, time_sec: Float64[np.ndarray, "*times"], ahead_m: float = 0.0
) -> Float64[np.ndarray, "*times"]:
    """Return where a point of the train is, rightwards from the image's middle; it wraps."""
    way = ride.from_m + ride.sign * (ride.speed.integral(time_sec) + ahead_m)
    return way - look.loop_m * np.floor(way / look.loop_m + 0.5)


def outside(look: Look, x_m: Float64[np.ndarray, "*times"]) -> Float64[np.ndarray, "*times"]:
    """Return how much of the train is outside the tunnels, over the most that can be."""
    mouth_m = (0.5 * drawing.FRAME_PX - PORTAL_PX) / look.px_per_m
    half = 0.5 * CARS * look.car_m
    seen = np.minimum(x_m + half, mouth_m) - np.maximum(x_m - half, -mouth_m)
    return np.clip(seen / (2.0 * min(half, mouth_m)), 0.0, 1.0)


def distance_m(look: Look, x_m: Float64[np.ndarray, "*times"]) -> Float64[np.ndarray, "*times"]:
    """Return how far a point of the track is from the viewer."""
    return np.sqrt(x_m**2 + look.distance_m**2)


def emission_sec(look: Look, ride: Ride, time_sec: np.ndarray) -> Float64[np.ndarray, " times"]:
    """Return when the sound heard at the given times left the car."""
    longest_sec = distance_m(look, np.array([0.5 * look.loop_m]))[0] / SPEED_OF_SOUND_M_SEC
    step_sec = 1e-3  # the arrival time is smooth: interpolated, it is off by under 1e-7 s
    left_sec = np.arange(time_sec[0] - longest_sec - step_sec, time_sec[-1] + step_sec, step_sec)
    arrival = left_sec + distance_m(look, place_m(look, ride, left_sec)) / SPEED_OF_SOUND_M_SEC
    return np.interp(time_sec, arrival, left_sec)


def heard(
    look: Look, ride: Ride, time_sec: np.ndarray
) -> tuple[Float64[np.ndarray, " times"], Float64[np.ndarray, " times"]]:
    """Return the level, 0 to 1, and the motor's phase, in turns, as they arrive."""
    left_sec = emission_sec(look, ride, time_sec)
    x_m = place_m(look, ride, left_sec)
    near = DISTANCE_M[0] / distance_m(look, x_m)
    speed = np.maximum(ride.speed.value(left_sec), 0.0) / SPEED_M_SEC[1]
    turns = ride.speed.integral(left_sec) * (TONE_TURNS / look.height_m)
    return speed * near * outside(look, x_m), turns


def body(height_m: float) -> list[Formant]:
    """Return the resonances of a car's body, which the wheels' roar excites."""
    shape = zip(ROAR_HZ_SQRT_M, ROAR_WIDTHS_HZ, ROAR_GAINS, strict=True)
    return [Formant(hz / height_m**0.5, width_hz, gain) for hz, width_hz, gain in shape]


def joints_m(look: Look) -> Float64[np.ndarray, " joints"]:
    """Return where the rail joints between the tunnels are."""
    mouth_m = (0.5 * drawing.FRAME_PX - PORTAL_PX) / look.px_per_m
    count = int(mouth_m / JOINT_M - 0.5)
    return JOINT_M * (np.arange(-count - 1, count + 1) + 0.5)


def axles_m(look: Look) -> Float64[np.ndarray, " axles"]:
    """Return where the axles are before the train's middle: two in each bogie, four per car."""
    bogies = look.cars_m[:, None] + BOGIE_SHARE * look.car_m * np.array([-1.0, 1.0])
    return np.sort((bogies[..., None] + 0.5 * AXLE_M * np.array([-1.0, 1.0])).ravel())


def knocks(
    look: Look, ride: Ride, end_sec: float
) -> tuple[Float64[np.ndarray, " knocks"], Float64[np.ndarray, " knocks"]]:
    """Return when knocks arrive, in order, and how strong they are, 0 to 1."""
    step_sec = 1e-3
    times = np.arange(-0.4, end_sec, step_sec)  # sound takes under 0.2 s from the far corner
    arrivals, strengths = [], []
    for ahead_m in axles_m(look).tolist():
        x_m = ride.sign * place_m(look, ride, times, ahead_m)  # grows but where it wraps
        for joint in joints_m(look):
            before = x_m - ride.sign * joint
            crossed = np.flatnonzero((before[:-1] < 0) & (before[1:] >= 0))
            part = before[crossed] / (before[crossed] - before[crossed + 1])
            struck = times[crossed] + part * step_sec
            far = distance_m(look, np.array([joint]))[0]
            arrivals.append(struck + far / SPEED_OF_SOUND_M_SEC)
            speed = np.maximum(ride.speed.value(struck), 0.0) / SPEED_M_SEC[1]
            strengths.append(speed * DISTANCE_M[0] / far)
    arrival, strength = np.concatenate(arrivals), np.concatenate(strengths)
    order = np.argsort(arrival, kind="stable")
    return arrival[order], strength[order]


def choose_look(rng: Rng) -> Look:
    """Draw distance, length and colours; the car is dark against a light sky."""
    return Look(
        distance_m=rng.between(*DISTANCE_M),
        car_m=rng.between(*CAR_M),
        height_m=rng.leading(*CAR_HEIGHT_M),
        track_y_px=96.0 + rng.between(-4.0, 4.0),
        car=drawing.colour(rng.between(0.0, 1.0), 0.75, rng.between(0.35, 0.50)),
        sky=drawing.colour(rng.between(0.5, 0.65), 0.20, rng.between(0.80, 0.92)),
        grass=drawing.colour(rng.between(0.22, 0.36), 0.40, rng.between(0.50, 0.62)),
    )


def draw_background(look: Look) -> Float64[np.ndarray, "height width 3"]:
    """Draw sky, hills, track and the posts at its joints."""
    track_y = look.track_y_px
    canvas = drawing.vertical_gradient(look.sky, 0.9 * look.sky)
    far, near = 0.5 * (look.grass + look.sky), 0.6 * look.grass + 0.4 * look.sky
    drawing.paint(canvas, drawing.ellipse(40.0, track_y, 50.0, 34.0), far)
    drawing.paint(canvas, drawing.ellipse(100.0, track_y, 45.0, 26.0), near)
    drawing.paint(canvas, drawing.rectangle(-1.0, track_y - 4.0, 129.0, 129.0), look.grass)
    gravel, iron = drawing.colour(0.08, 0.15, 0.45), drawing.colour(0.6, 0.1, 0.25)
    drawing.paint(canvas, drawing.rectangle(-1.0, track_y, 129.0, track_y + 6.0), gravel)
    drawing.paint(canvas, drawing.rectangle(-1.0, track_y - 1.0, 129.0, track_y + 1.0), iron)
    for joint_m in joints_m(look):
        x = MIDDLE_PX + joint_m * look.px_per_m
        post = drawing.rectangle(x - 1.5, track_y + 1.0, x + 1.5, track_y + 16.0)
        drawing.paint(canvas, post, drawing.colour(0.0, 0.0, 0.95))
    return canvas


def animate(painting: drawing.Painting, look: Look, ride: Ride, time_sec: np.ndarray) -> None:
    """Paint the cars, and the tunnels in front of them."""
    scale, track_y = look.px_per_m, look.track_y_px
    middle = place_m(look, ride, time_sec)
    for ahead_m in look.cars_m.tolist():
        _car(painting, look, MIDDLE_PX + scale * (middle + ahead_m))
    stone = drawing.colour(0.08, 0.20, 0.35)
    for left, right in ((-1.0, PORTAL_PX), (128.0 - PORTAL_PX, 129.0)):
        portal = drawing.rectangle(
            left, track_y - PORTAL_HEIGHTS * look.height_m * scale, right, track_y + 8.0
        )
        painting.paint(portal, stone)


def _car(painting: drawing.Painting, look: Look, x: Float64[np.ndarray, " video_frames"]) -> None:
    """Paint one car around x."""
    scale, track_y = look.px_per_m, look.track_y_px
    half, top = 0.5 * (look.car_m - GAP_M) * scale, track_y - look.height_m * scale
    floor = track_y - 0.9 * scale
    motion = drawing.pose(x, track_y)
    painting.paint(drawing.box(x - half, top, x + half, floor), look.car, motion)
    stripe = drawing.box(x - half, floor - 0.8 * scale, x + half, floor - 0.2 * scale)
    painting.paint(stripe, drawing.colour(0.13, 0.5, 0.85), motion)
    panes = np.zeros((len(x), drawing.FRAME_PX, drawing.FRAME_PX))
    for pane in (-0.72, -0.36, 0.0, 0.36, 0.72):
        middle = x + pane * half
        panes += drawing.box(
            middle - 0.11 * half, top + 0.7 * scale, middle + 0.11 * half, top + 2.0 * scale
        )
    painting.paint(panes, drawing.colour(0.14, 0.25, 0.95), motion)
    black = drawing.colour(0.6, 0.1, 0.10)
    for bogie in (-BOGIE_SHARE, BOGIE_SHARE):
        wheel = x + bogie * look.car_m * scale
        reach = (0.5 * AXLE_M + 0.5) * scale
        frame = drawing.box(wheel - reach, floor - 1.0, wheel + reach, track_y - 1.0)
        painting.paint(frame, black, motion)
