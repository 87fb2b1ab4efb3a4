"""Controls as CSV: what is written is read again; bad files say which line is wrong."""

import numpy as np
import pytest

from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.features.control_files import read_controls, write_controls
from v2s_jax.features.controls import CONTROLS_PER_FRAME, MOTION_DIM
from v2s_jax.types import Features

CLOCK = Clock()
CATEGORIES = ("dog", "rain")
HEADER = "time_sec,loudness,onset,dog\n"


@pytest.mark.parametrize("clock", [CLOCK, Clock(44_100, 2_816)])
def test_written_controls_are_read_again(tmp_path, clock):
    """All of 200 s: no time is rounded into another part."""
    frames = round(200 * clock.fps)
    motion = np.random.default_rng(0).random((frames, MOTION_DIM)).astype(np.float16)
    weights = np.tile(np.array([[0, 1]], np.float16), (frames, 1))
    controls = Features(weights, motion)
    write_controls(tmp_path / "x.csv", controls, CATEGORIES, clock)
    again = read_controls(tmp_path / "x.csv", CATEGORIES, clock, frames)
    np.testing.assert_allclose(again.motion, controls.motion, atol=2e-3)
    np.testing.assert_array_equal(again.appearance, controls.appearance)


def test_lines_at_any_times(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(HEADER + "0,0,0,1\n0.5,1,0.8,1\n")
    controls = read_controls(path, CATEGORIES, CLOCK, 16)
    loudness, onset = (curve.reshape(-1) for curve in np.split(controls.motion, 2, axis=1))
    at = np.arange(16 * CONTROLS_PER_FRAME) * 0.016
    np.testing.assert_allclose(loudness, np.minimum(at / 0.5, 1), atol=1e-3)
    assert np.flatnonzero(onset).tolist() == [31]  # 31 x 16 ms <= 0.5 s
    np.testing.assert_array_equal(controls.appearance, np.tile([1, 0], (16, 1)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"columns \(none\): use time_sec"),
        ("time_sec,loudness,dog\n0,0,1\n", "columns time_sec, loudness, dog"),
        ("time_sec,loudness,onset,cat\n0,0,0,1\n", r"categories \(dog, rain\)"),
        ("time_sec,loudness,onset\n0,0,0\n", "one or more of the model's categories"),
        (HEADER.replace("onset", "loudness"), "columns"),
        (HEADER, "no line after its header"),
        (HEADER + "0,0,0\n", "line 2: is cut off"),
        (HEADER + "0,,0,1\n", "line 2: loudness is ''"),
        (HEADER + "0,0,0,1\n0.1,2,0,1\n", "line 3: loudness is '2'"),
        (HEADER + "0,nan,0,1\n", "line 2: loudness is 'nan'"),
        (HEADER + "0.2,0,0,1\n0.1,0,0,1\n", "line 3: 0.1 s is not after 0.2 s"),
        (HEADER + "0,0,0,1\n9,0,0,1\n", "line 3: 9 s is outside of the sound, 0 to 1.024 s"),
        (HEADER + "-1,0,0,1\n", "line 2: -1 s is outside"),
        (HEADER + "inf,0,0,1\n", "line 2: time_sec is 'inf'"),
        ("time_sec;loudness;onset;dog\n0;0;0;1\n", "separated by commas"),
        ("time_sec,loudness,onset,dog,rain\n0,0,0,1,1\n", "line 2: the categories add up to 2"),
        ("\xff", "cannot be read as CSV|columns"),
    ],
)
def test_bad_files(tmp_path, text, message):
    path = tmp_path / "x.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        read_controls(path, CATEGORIES, CLOCK, 16)
    with pytest.raises(InputError, match="cannot be read as CSV"):
        read_controls(tmp_path / "absent.csv", CATEGORIES, CLOCK, 16)
