"""Checks of features before anything is compiled."""

import numpy as np
import pytest

from v2s_jax.errors import InputError
from v2s_jax.validation import check_features


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_every_value_that_is_not_finite_is_found(dtype):
    """All 65,536 half-precision values, against NumPy."""
    values = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(dtype)
    for value in values[~np.isfinite(values)][::97]:
        with pytest.raises(InputError, match="1 of 2 video frames, first in number 1"):
            check_features(np.array([[0, 1], [0, value]], dtype), 2, 2, "a")
    finite = values[np.isfinite(values)][:, None]
    check_features(finite, len(finite), 1, "a")
