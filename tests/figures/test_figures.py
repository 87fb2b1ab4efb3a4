"""Figures: key frames, waveform, spectrogram and marks are at their times."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from v2s_jax.errors import InputError
from v2s_jax.features.controls import Curves
from v2s_jax.figures import Marks, key_frame_figure, key_frame_indices, key_frames, style

RED, GREEN, BLUE = np.eye(3)


def solid(color: np.ndarray, height: int = 90, width: int = 160) -> np.ndarray:
    return np.broadcast_to((255 * color).astype(np.uint8), (height, width, 3)).copy()


def find_color(image: np.ndarray, color: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of the pixels of this color."""
    rows, columns = np.nonzero((np.abs(image[..., :3] - color) < 0.02).all(-1))
    return rows, columns


def test_key_frames_are_the_middles_of_equal_parts() -> None:
    assert key_frame_indices(8, 2) == [2, 6]
    assert key_frame_indices(3, 8) == [0, 1, 2]
    assert key_frame_indices(1, 5) == [0]
    assert key_frame_indices(157, 1) == [78]
    indices = key_frame_indices(157, 8)
    assert len(indices) == 8
    assert set(np.diff(indices)) <= {19, 20}
    assert abs(indices[0] - (156 - indices[-1])) <= 1


@pytest.mark.parametrize(("height", "width"), [(400, 40), (30, 300)])
def test_frames_are_at_their_times_undistorted(tmp_path: Path, height: int, width: int) -> None:
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000 * 10).astype(np.float32)
    frames = [solid(color, height, width) for color in (RED, GREEN, BLUE)]
    key_frame_figure(tmp_path / "a.png", frames, [10 / 6, 30 / 6, 50 / 6], audio, 16_000, "three")
    image = imread(tmp_path / "a.png")
    places = [find_color(image, color) for color in (RED, GREEN, BLUE)]
    for rows, columns in places:
        assert np.ptp(columns) / np.ptp(rows) == pytest.approx(width / height, rel=0.1)
    left, middle, right = (columns.mean() for _, columns in places)
    pixels_per_sec = key_frames._INCHES["plot"] * key_frames._DOTS_PER_INCH / 10
    assert middle - left == pytest.approx(10 / 3 * pixels_per_sec, abs=2)
    assert right - middle == pytest.approx(10 / 3 * pixels_per_sec, abs=2)
    origin = key_frames._INCHES["left"] * key_frames._DOTS_PER_INCH
    assert left == pytest.approx(origin + 10 / 6 * pixels_per_sec, abs=2)


def test_frames_at_close_times_do_not_overlap(tmp_path: Path) -> None:
    frames = [solid(RED), solid(GREEN), solid(BLUE)]
    audio = np.zeros(16_000, np.float32)
    key_frame_figure(tmp_path / "a.png", frames, [0.98, 0.985, 1.02], audio, 16_000, "close")
    image = imread(tmp_path / "a.png")
    spans = [find_color(image, color)[1] for color in (RED, GREEN, BLUE)]
    widths = [np.ptp(span) for span in spans]
    assert max(widths) - min(widths) <= 2
    assert spans[0].max() < spans[1].min()
    assert spans[1].max() < spans[2].min()


def test_spectrogram_shows_tone_and_onset() -> None:
    times_sec = np.arange(32_000) / 16_000
    audio = np.where(times_sec >= 1, np.sin(2 * np.pi * 2_000 * times_sec), 0).astype(np.float32)
    levels, step_sec = key_frames._spectrogram_db(audio, 16_000)
    hz_per_row = 8_000 / (levels.shape[0] - 1)
    tone = levels[round(2_000 / hz_per_row)]
    assert tone[round(1.5 / step_sec)] == pytest.approx(0, abs=0.1)  # a full-scale sine
    assert np.argmax(levels[:, round(1.5 / step_sec)]) == round(2_000 / hz_per_row)
    assert tone[: round(0.97 / step_sec)].max() == pytest.approx(key_frames._FLOOR_DB, abs=1)
    half = np.flatnonzero(tone > -6.5)[0] * step_sec  # half the window is in the tone
    assert half == pytest.approx(1, abs=step_sec)


def test_ten_minutes_have_bounded_columns() -> None:
    audio = np.zeros(16_000 * 600, np.float32)
    audio[16_000 * 300 : 16_000 * 301] = 0.5
    levels, step_sec = key_frames._spectrogram_db(audio, 16_000)
    assert levels.shape[1] <= key_frames.MAX_COLUMNS
    loud = np.flatnonzero(levels.max(axis=0) > -60) * step_sec
    assert 299.5 < loud.min() < 301
    assert levels.shape[1] * step_sec == pytest.approx(600, abs=2 * step_sec)


@pytest.mark.parametrize("samples", [1, 16_000 * 600])
def test_any_length_of_audio_is_drawn(tmp_path: Path, samples: int) -> None:
    audio = np.zeros(samples, np.float32)
    key_frame_figure(tmp_path / "a.png", [solid(RED)], [0.0], audio, 16_000, "length")
    assert imread(tmp_path / "a.png").shape[1] > 1_000


def test_title_is_drawn_literally(tmp_path: Path) -> None:
    audio = np.zeros(1_600, np.float32)
    for title in ("cost $1$ of x_1^ 雪 \U0001f3b5", "long " * 100):
        key_frame_figure(tmp_path / "a.png", [solid(RED)], [0.05], audio, 16_000, title)
    assert len(style.printable_title("long " * 100)) <= style.MAX_TITLE_CHARS + 1


def test_audio_without_frames_is_drawn(tmp_path: Path) -> None:
    key_frame_figure(tmp_path / "a.png", [], [], np.zeros(1_600, np.float32), 16_000, "audio")
    assert (tmp_path / "a.png").stat().st_size > 1_000


@pytest.mark.parametrize("parts", [40, 4_000])
def test_curves_are_drawn_on_the_time_axis_of_the_waveform(tmp_path: Path, parts: int) -> None:
    """Loudness from the middle on, and one onset at a quarter."""
    audio = np.zeros(160 * parts, np.float32)
    loudness, onset = np.repeat([0.0, 1.0], parts // 2), np.zeros(parts)
    onset[parts // 4] = 1
    curves = Curves(loudness, onset, 0.01)
    key_frame_figure(tmp_path / "a.png", [], [], audio, 16_000, "curves", curves=curves)
    image = imread(tmp_path / "a.png")
    left, plot = (key_frames._INCHES[name] * key_frames._DOTS_PER_INCH for name in ("left", "plot"))
    image = image[:, : round(left + plot)]  # without the legend
    _, loud = find_color(image, np.array(to_rgb(style.LOUDNESS)))
    _, begins = find_color(image, np.array(to_rgb(style.ONSET)))
    assert (loud.min() - left) / plot == pytest.approx(0.5, abs=0.002)
    assert (loud.max() - left) / plot == pytest.approx(1, abs=0.002)
    assert (begins.mean() - left) / plot == pytest.approx(0.25, abs=0.002)


def test_invalid_input_is_rejected(tmp_path: Path) -> None:
    audio = np.zeros(1_600, np.float32)
    with pytest.raises(ValueError, match="1 frames but 2 times"):
        key_frame_figure(tmp_path / "a.png", [solid(RED)], [0.0, 0.1], audio, 16_000, "")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="choose another folder"):
        key_frame_figure(tmp_path / "file" / "a.png", [], [], audio, 16_000, "")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_pyplot_is_not_imported() -> None:
    code = "import sys, v2s_jax.figures.key_frames; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_events_are_marked_above_the_middle_and_onsets_below(tmp_path: Path) -> None:
    audio = np.zeros(16_000 * 2, np.float32)
    marks = Marks([0.5, 1.0], [0.5, 1.25])
    key_frame_figure(tmp_path / "a.png", [], [], audio, 16_000, "marks", marks)
    key_frame_figure(tmp_path / "b.png", [], [], audio, 16_000, "marks", Marks([], []))
    image, unmarked = (imread(tmp_path / name) for name in ("a.png", "b.png"))
    origin, per_sec = (
        key_frames._INCHES[name] * key_frames._DOTS_PER_INCH for name in ("left", "plot")
    )
    key_rows = round(key_frames._INCHES["bottom"] * key_frames._DOTS_PER_INCH)  # with the legend
    middles = []
    for color, times_sec in ((style.EVENT, marks[0]), (style.ONSET, marks[1])):
        rows, columns = find_color(image[:-key_rows], np.array(to_rgb(color)))
        assert sorted(set(np.round((columns - origin) / per_sec * 2, 2))) == pytest.approx(
            times_sec, abs=0.01
        )
        middles.append(rows.mean())
        assert not find_color(unmarked[:-key_rows], np.array(to_rgb(color)))[0].size
        assert find_color(image[-key_rows:], np.array(to_rgb(color)))[0].size
    assert middles[0] < middles[1]  # rows count downward
