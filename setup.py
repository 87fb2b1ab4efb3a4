"""Which packages are installed: `v2s_jax`, and `data` under a name of its own.

Everything else is in pyproject.toml.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["v2s_jax", "v2s_jax.*"]),
        *(f"v2s_jax_{name}" for name in find_packages(include=["data", "data.*"])),
        "v2s_jax.examples",
    ],
    package_dir={"v2s_jax_data": "data", "v2s_jax.examples": "examples"},
)
