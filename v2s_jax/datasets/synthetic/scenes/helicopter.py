"""Helicopter: a rotor seen from below at a slant, at a distance that shows in its size.

The rotor's rate moves smoothly from one level to the next, from standing still to full. Each
passing blade beats the air: noise and a thump that are modulated at blades * Omega / (2 pi), 10 to
25 Hz in flight, and a gear that whines in proportion. The phase of the beat is the phase of the
blades in the image, heard d / c later. At 15.6 frames per second the blades alias, so
frames do not tell the rate in flight; where the helicopter stands on the ground with a still
rotor they do: it is silent. It lifts off while the rotor speeds up.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from v2s_jax.datasets.synthetic import drawing
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.scene import Scene, SceneContext
from v2s_jax.datasets.synthetic.sound import SPEED_OF_SOUND_M_SEC
from v2s_jax.datasets.synthetic.trajectory import Trajectory, sample_trajectory, smoothstep
from v2s_jax.datasets.synthetic.voice import partials

BLADE_PASS_HZ = (10.0, 25.0)  # in flight
STILL_SHARE = 0.25  # of the rates that the rotor is set to
TURN_SEC = 0.55  # from one rate to the next
HOLD_SEC = (0.60, 0.40, 1.60)  # from one change to the next: shortest, mean excess, longest
BLADES = (2, 3, 4)
LIFTED_HZ = (3.0, 9.0)  # blade passes per second between which the helicopter rises
RISE_PX = 30.0

DISTANCE_M = (25.0, 50.0)
FOCAL_PX = 135.0  # px per metre = this / distance: a rotor of 54 to 27 px in radius
ROTOR_M = 10.0
CHANGE_SEC = 0.9  # from one distance to the next
STAY_SEC = (1.0, 0.4, 2.0)  # from one change to the next: shortest, mean excess, longest
CABIN_M = (2.6, 5.0)  # half the cabin's length
TILT = 0.34  # of the rotor's disc: height over width

NOISE_BAND_HZ_M = (500.0, 5_000.0)  # corners times half the cabin's length
NOISE_RMS = 0.20  # at the peak of a beat, nearest, at full rate
FLOOR = 0.12  # of the noise's level between two beats
BEAT_POWER = 3  # of (1 + cos) / 2: how short a beat is
THUMP_PARTIALS = 14  # of the blade pass
THUMP_SLOPE = 0.35
THUMP_PEAK = 0.45  # nearest, at full rate
WHINE_TURNS = 29.0  # gear turns per blade pass
WHINE_PEAK = 0.05


class Flight(NamedTuple):
    """How the rotor turns and how far away it is."""

    blade_pass: Trajectory
    """Blades that pass per second, never below 0."""
    blades: int
    distance: Trajectory
    """In metres."""


class Look(NamedTuple):
    """What differs between the helicopters of two clips."""

    x_px: float
    ground_y_px: float
    cabin_m: float
    """Half the cabin's length: a longer one sounds lower."""
    blades: int
    body: drawing.Colour
    sky: drawing.Colour
    grass: drawing.Colour


def render_scene(context: SceneContext) -> Scene:
    """Render one clip of a helicopter; thump and whine follow from the state, the air is noise."""
    look = choose_look(context.look.stream("look"))
    flight = choose_flight(context.motion, look, context.end_sec, context.at_rest)
    painting = context.painting(draw_background(look))
    animate(painting, look, flight, context.frame_times_sec)
    low_hz, high_hz = (corner_hz_m / look.cabin_m for corner_hz_m in NOISE_BAND_HZ_M)
    air = context.noise_band("air", low_hz, high_hz)
    envelope, known = heard(flight, context.sample_times_sec)
    track = context.track()
    track.add(0, known)
    track.add_texture(air, envelope)
    state = {
        "cabin_m": look.cabin_m,
        "blades": float(look.blades),
        "distance_m": flight.distance.value(context.frame_times_sec).tolist(),
        "blade_pass_hz": flight.blade_pass.value(context.frame_times_sec).tolist(),
    }
    return Scene(painting, track, np.zeros(0), state)


def choose_flight(rng: Rng, look: Look, end_sec: float, at_rest: bool = False) -> Flight:
    """Draw the rotor's rates and the distances."""

    def rate(rng: Rng) -> float:
        still = rng.between(0.0, 1.0) < STILL_SHARE
        fast = rng.between(*BLADE_PASS_HZ)
        return 0.0 if still or at_rest else fast

    def distance(rng: Rng) -> float:
        return rng.between(*DISTANCE_M)

    distances = sample_trajectory(rng.stream("distance"), end_sec, distance, CHANGE_SEC, STAY_SEC)
    if at_rest:
        distances = Trajectory(np.zeros(0), np.zeros(0), distances.level[:1])
    rates = sample_trajectory(rng.stream("rate"), end_sec, rate, TURN_SEC, HOLD_SEC)
    return Flight(rates, look.blades, distances)


def heard(
    flight: Flight, time_sec: Float64[np.ndarray, " samples"]
) -> tuple[Float64[np.ndarray, " samples"], Float64[np.ndarray, " samples"]]:
    """Return the level of the air's noise and the thump and whine, as they arrive."""
    step_sec = 1e-3
    left_sec = np.arange(time_sec[0] - 0.25, time_sec[-1] + step_sec, step_sec)
    arrival = left_sec + flight.distance.value(left_sec) / SPEED_OF_SOUND_M_SEC
    left_sec = np.interp(time_sec, arrival, left_sec)
    near = DISTANCE_M[0] / flight.distance.value(left_sec)
    effort = np.maximum(flight.blade_pass.value(left_sec), 0.0) / BLADE_PASS_HZ[1]
    turns = flight.blade_pass.integral(left_sec)
    beat = (0.5 + 0.5 * np.cos(2.0 * np.pi * turns)) ** BEAT_POWER
    strength = near * effort
    envelope = NOISE_RMS * strength * (FLOOR + (1.0 - FLOOR) * beat)
    slopes = np.arange(1.0, THUMP_PARTIALS + 1) ** -THUMP_SLOPE
    # Cosines: a blade's thump peaks when its phase is a whole turn, as the noise does.
    thump = partials(turns, 1j * slopes) / slopes.sum()
    whine = np.sin(2.0 * np.pi * WHINE_TURNS * turns)
    return envelope, strength * (THUMP_PEAK * thump + WHINE_PEAK * whine)


def choose_look(rng: Rng) -> Look:
    """Draw size, place and colours; the machine is dark against a light sky."""
    return Look(
        x_px=60.0 + rng.between(-5.0, 5.0),
        ground_y_px=112.0 + rng.between(-3.0, 3.0),
        cabin_m=rng.leading(*CABIN_M),
        blades=BLADES[int(rng.between(0.0, float(len(BLADES))))],
        body=drawing.colour(rng.between(0.0, 1.0), 0.60, rng.between(0.30, 0.45)),
        sky=drawing.colour(rng.between(0.5, 0.65), 0.25, rng.between(0.80, 0.95)),
        grass=drawing.colour(rng.between(0.22, 0.36), 0.40, rng.between(0.50, 0.62)),
    )


def draw_background(look: Look) -> Float64[np.ndarray, "height width 3"]:
    """Draw sky, grass and the landing place."""
    ground = look.ground_y_px
    canvas = drawing.vertical_gradient(look.sky, 0.85 * look.sky + 0.15 * 255.0)
    drawing.paint(canvas, drawing.rectangle(-1.0, ground - 5.0, 129.0, 129.0), look.grass)
    pad = drawing.ellipse(look.x_px, ground, 34.0, 5.0)
    drawing.paint(canvas, pad, drawing.colour(0.0, 0.0, 0.55))
    return canvas


def animate(painting: drawing.Painting, look: Look, flight: Flight, time_sec: np.ndarray) -> None:
    """Paint the helicopter."""
    scale = FOCAL_PX / flight.distance.value(time_sec)  # px per metre
    blade_pass = np.maximum(flight.blade_pass.value(time_sec), 0.0)
    low, high = LIFTED_HZ
    rise = RISE_PX * smoothstep((blade_pass - low) / (high - low))
    length = look.cabin_m * scale
    x, y = look.x_px, look.ground_y_px - rise - 3.0 * scale
    motion = drawing.pose(x, y, 0.0, scale, scale)
    dark, glass = 0.6 * look.body, drawing.colour(0.55, 0.35, 0.80)
    for skid in (-1.0, 1.0):
        foot = x + skid * 0.45 * length
        leg = drawing.bar(foot, y, foot, y + 2.6 * scale, 1.2)
        painting.paint(leg, dark, motion)
    skids = drawing.bar(x - 3.5 * scale, y + 2.7 * scale, x + 3.0 * scale, y + 2.7 * scale, 1.4)
    painting.paint(skids, dark, motion)
    tail_x, tail_y = x + 9.0 * scale, y - 0.8 * scale
    painting.paint(drawing.bar(x, y - 0.3 * scale, tail_x, tail_y, 2.2), look.body, motion)
    fin = drawing.bar(tail_x, tail_y, tail_x + 0.8 * scale, tail_y - 2.0 * scale, 2.0)
    painting.paint(fin, look.body, motion)
    shell = drawing.ellipse(x, y, length, 2.2 * scale)
    painting.paint(shell, look.body, motion)
    window = drawing.ellipse(x - 0.5 * length, y - 0.4 * scale, 0.4 * length, 1.1 * scale)
    painting.paint(window, glass, motion)
    hub_y = y - 3.2 * scale
    painting.paint(drawing.bar(x, y - 2.0 * scale, x, hub_y, 1.6), dark, motion)
    black = drawing.colour(0.0, 0.0, 0.05)
    rotor = 2.0 * np.pi * flight.blade_pass.integral(time_sec) / flight.blades
    for blade in range(flight.blades):
        angle = rotor + 2.0 * np.pi * blade / flight.blades
        tip_x = x + ROTOR_M * scale * np.cos(angle)
        tip_y = hub_y + TILT * ROTOR_M * scale * np.sin(angle)
        # A blade turns in a disc that is seen at a slant: the disc's height is TILT of its width.
        blade_motion = turning(x, hub_y, rotor, ROTOR_M * scale)
        painting.paint(drawing.bar(x, hub_y, tip_x, tip_y, 1.9), black, blade_motion)


def turning(
    x: float,
    y: Float64[np.ndarray, " video_frames"],
    angle: Float64[np.ndarray, " video_frames"],
    radius_px: Float64[np.ndarray, " video_frames"],
) -> drawing.Pose:
    """Return the pose of a disc that turns and is seen at a slant."""
    pose = drawing.pose(x, y, angle, radius_px, radius_px)
    pose[:, 1, :2] *= TILT
    return pose
