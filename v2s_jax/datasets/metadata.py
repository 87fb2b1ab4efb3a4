"""Checks of a dataset's metadata.json, which may have been edited."""

import math
import reprlib
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, cast

from etils import epath

from v2s_jax.config import Clock, ExtractorConfig
from v2s_jax.config.model import MAX_WIDTH
from v2s_jax.config.validation import from_fields
from v2s_jax.datasets.schema import FORMAT_VERSION, Metadata
from v2s_jax.datasets.tfrecord import FIX_HINT, REBUILD_HINT
from v2s_jax.errors import InputError

METADATA_FILE = "metadata.json"  # TFDS's name
BYTES_PER_SAMPLE = 2


def check_metadata(folder: epath.Path, metadata: dict[str, Any]) -> Metadata:
    """Return the metadata of the dataset in `folder`; raise InputError for values that do not fit.

    What the shards could contradict, they are compared with when they are read.
    """
    path = folder / METADATA_FILE
    required = (key for key in Metadata.__annotations__ if key in Metadata.__required_keys__)
    missing = [key for key in required if key not in metadata]
    if missing:
        raise InputError(f"{path}: {', '.join(missing)} missing: {FIX_HINT}")
    version = metadata["format_version"]
    if type(version) is not int or version != FORMAT_VERSION:
        raise InputError(
            f"{path}: format {reprlib.repr(version)}, this version reads format "
            f"{FORMAT_VERSION}: {REBUILD_HINT}"
        )
    for name, (fits, expected) in CHECKS.items():
        if name in metadata and not fits(metadata[name]):
            raise InputError(
                f"{path}: {name} is {reprlib.repr(metadata[name])}, not {expected}: {FIX_HINT}"
            )
    names = ("sample_rate_hz", "samples_per_video_frame")
    try:
        from_fields(Clock, {name: metadata[name] for name in names}, "clock")
    except InputError as error:
        raise InputError(f"{path}: {error}: {FIX_HINT}") from error
    try:
        from_fields(ExtractorConfig, metadata.get("extraction", {}), "extraction")
    except InputError as error:
        raise InputError(
            f"{path}: this version does not know its extractor settings ({error}): {FIX_HINT}"
        ) from error
    return cast(Metadata, metadata)


def check_samples_max(folder: epath.Path, metadata: Metadata, shards: list[epath.Path]) -> None:
    """Raise InputError if the longest clip cannot be in any of the shards of all splits.

    Batches are as long as this clip: a wrong number could take all memory.
    """
    sizes = [path.stat().length for path in shards if path.exists()]
    longest, bytes_max = metadata["samples_max"], max(sizes, default=0)
    # The longest clip may be in a split that is not here.
    if len(sizes) == len(shards) and longest * BYTES_PER_SAMPLE > bytes_max:
        raise InputError(
            f"{folder / METADATA_FILE}: samples_max is {longest}, but the largest shard has "
            f"{bytes_max} bytes: {FIX_HINT}"
        )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value) < MAX_NAME_CHARS


def _is_name(value: object) -> bool:
    """Say whether a value is text that names one file or folder."""
    return _is_text(value) and PurePath(str(value)).name == value and value != ".."


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(cast(float, value))


def _is_int(value: object, minimum: int, maximum: int) -> bool:
    return type(value) is int and minimum <= value <= maximum


def _are_categories(value: object) -> bool:
    is_list = isinstance(value, list) and len(value) > 0 and all(map(_is_name, value))
    return is_list and len(set(cast(list[str], value))) == len(cast(list[str], value))


def _are_floors(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _is_provenance(value: object) -> bool:
    kinds = str | int | float | None
    return isinstance(value, dict) and all(isinstance(each, kinds) for each in value.values())


MAX_NAME_CHARS = 256  # of file names on Linux, with the final zero
MAX_SAMPLES = 2**31 - 1  # positions in a clip are counted in 32 bits

CHECKS: dict[str, tuple[Callable[[object], bool], str]] = {
    "extractor": (_is_text, "a name"),
    "appearance_dim": (lambda value: _is_int(value, 1, MAX_WIDTH), f"1 to {MAX_WIDTH}"),
    "motion_dim": (lambda value: _is_int(value, 0, MAX_WIDTH), f"0 to {MAX_WIDTH}"),
    "samples_max": (lambda value: _is_int(value, 0, MAX_SAMPLES), f"0 to {MAX_SAMPLES}"),
    "categories": (_are_categories, "a list of different names"),
    "floor_bits": (_are_floors, "a number for each clip"),
    "floor_levels": (lambda value: isinstance(value, dict), "named values"),
    "made_by": (_is_provenance, "named texts and numbers"),
}
"""For each field, whether a value fits, and what is expected."""
