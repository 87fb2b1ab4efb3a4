"""Statistics of a training set: principal components, against scikit-learn's."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from v2s_jax.datasets.statistics import SHRINKAGE, principal_components


def centred(rows: int, width: int) -> np.ndarray:
    """Rows of mean 0 whose directions vary by very different amounts."""
    random = np.random.default_rng(0)
    mixed = random.normal(0, 1, (rows, width)) * 10.0 ** -np.linspace(0, 3, width)
    turned = mixed @ np.linalg.qr(random.normal(0, 1, (width, width)))[0]
    return turned - turned.mean(axis=0)


@pytest.mark.parametrize(("rows", "width"), [(200, 12), (9, 30)])
def test_components_are_those_of_scikit_learn_shrunk(rows, width):
    values, count = centred(rows, width), 5
    other = PCA(count, svd_solver="full").fit(values)
    variances = other.explained_variance_ * (rows - 1) / rows  # it divides by rows - 1
    wide = np.sqrt(variances + SHRINKAGE * variances.mean())
    found = principal_components(values, count)
    assert found.shape == (width, count)
    for mine, direction, scale in zip(found.T, other.components_, wide, strict=True):
        np.testing.assert_allclose(mine * scale, direction * np.sign(mine @ direction), atol=1e-7)
    variance = (values @ found).var(axis=0)
    np.testing.assert_allclose(variance, variances / wide**2, rtol=1e-6)
    assert (found[np.abs(found).argmax(axis=0), np.arange(count)] > 0).all()


def test_component_with_little_variance_is_not_amplified():
    values = centred(200, 12)
    assert np.abs(values @ principal_components(values, 12)).max() < 5.0


def test_components_beyond_the_rank_are_zero():
    values = centred(3, 30)  # of rank 2
    found = principal_components(values, 5)
    assert np.isfinite(found).all()
    assert (np.abs(found).max(axis=0) > 0).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("size", [0.0, 1e-5])
def test_features_with_little_variance_have_no_components(size):
    """Variation of one half-precision step does not overflow half precision."""
    still = size * centred(200, 12)
    np.testing.assert_array_equal(principal_components(still, 3), np.zeros((12, 3)))
    assert np.isfinite(principal_components(centred(200, 12) / 500, 12).astype(np.float16)).all()
