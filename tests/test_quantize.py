"""Quantisation: known levels, round trips, bad waveforms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2s_jax.errors import InputError
from v2s_jax.quantize import dequantize, q_zero, quantize


def test_known_levels():
    waveform = np.array([-1.0, -0.5, 0.0, 0.5, 127 / 128, 1.0])
    np.testing.assert_array_equal(quantize(waveform, 256, "linear"), [0, 64, 128, 192, 255, 255])
    # mu = 255: log1p(255 * 0.5) / log(256) = 0.8757 -> 128 + 112
    np.testing.assert_array_equal(quantize(waveform[2:4], 256, "mu_law"), [128, 240])


@pytest.mark.parametrize("quantization", ["linear", "mu_law"])
@pytest.mark.parametrize("q_levels", [2, 16, 255, 256])
def test_levels_round_trip(q_levels, quantization):
    levels = np.arange(q_levels, dtype=np.uint8)
    waveform = dequantize(levels, q_levels, quantization)
    assert waveform.dtype == np.float32
    inside = np.abs(waveform) <= 1
    np.testing.assert_array_equal(
        quantize(waveform, q_levels, quantization)[inside], levels[inside]
    )
    assert waveform[q_zero(q_levels)] == 0.0


@given(st.floats(-1, 127 / 128))
def test_linear_error_is_at_most_half_a_step(x):
    levels = quantize(np.array([x]), 256, "linear")
    assert abs(float(dequantize(levels, 256, "linear")[0]) - x) <= 0.5 / 128 + 1e-6


def test_loud_audio_is_clipped():
    np.testing.assert_array_equal(quantize(np.array([-9.0, 9.0]), 256, "linear"), [0, 255])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(bad):
    with pytest.raises(InputError, match="NaN or infinity"):
        quantize(np.array([0.0, bad]), 256, "linear")
