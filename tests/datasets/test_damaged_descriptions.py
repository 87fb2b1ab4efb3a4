"""Edited or damaged JSON files and index files of a dataset: one line each, and no clip is lost."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from v2s_jax.datasets import open_dataset
from v2s_jax.datasets.tfrecord import FOOTER
from v2s_jax.errors import InputError

DESCRIPTIONS = ("metadata.json", "dataset_info.json", "features.json")
VALUES = (None, True, -1, 10**9 + 7, 1e999, 1.5, "x", "../x", "1", [], ["x"], {}, {"x": 1})
DEEP = "[" * 20_000 + "]" * 20_000


@pytest.fixture
def copy(fixture_dataset, tmp_path) -> Path:
    folder = Path(shutil.copytree(fixture_dataset / "synthetic_mini", tmp_path / "mini"))
    return folder / "1.0.0"


def open_and_read(folder: Path) -> int | None:
    """Return how many drums are found; None if the dataset is refused in one line."""
    try:
        data = open_dataset(folder, "train")
        assert len(list(data)) == 2
        return len(data.of_category("drum"))
    except InputError as error:
        message = str(error)
        assert "\n" not in message and str(folder) in message and len(message) < 1_000
        return None


def changed(value: Any) -> Iterator[Any]:
    """Yield a JSON value with one part of it replaced or removed, for every part."""
    yield from VALUES
    if isinstance(value, dict):
        for key, part in value.items():
            yield {name: each for name, each in value.items() if name != key}
            yield from ({**value, key: other} for other in changed(part))
    if isinstance(value, list):
        for index, part in enumerate(value):
            yield from ([*value[:index], other, *value[index + 1 :]] for other in changed(part))


@pytest.mark.slow
@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_any_edit_is_refused_or_harmless(copy, name):
    whole = json.loads((copy / name).read_text())
    for other in changed(whole):
        (copy / name).write_text(json.dumps(other))
        assert open_and_read(copy) in (None, 2), other
    assert [*copy.parent.iterdir()] == [copy]  # no index elsewhere


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_damaged_file_is_refused_or_harmless(copy, name):
    whole = (copy / name).read_bytes()
    flips = []
    for position in range(0, len(whole), max(1, len(whole) // 40)):
        content = bytearray(whole)
        content[position] ^= 1 << position % 8
        flips.append(bytes(content))
    for content in (b"", b"3", b"null", b"\xff", DEEP.encode(), whole[:-9], *flips):
        (copy / name).write_bytes(content)
        assert open_and_read(copy) in (None, 2), content
    (copy / name).unlink()
    assert open_and_read(copy) in (None, 2)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("samples_max", 10**9 + 7, "samples_max is 1000000007, but the largest shard has"),
        ("samples_max", "4096", "samples_max is '4096', not 0 to"),
        ("appearance_dim", 1e999, "appearance_dim is inf, not 1 to 65536"),
        ("motion_dim", True, "motion_dim is True, not 0 to 65536"),
        ("sample_rate_hz", 0, "sample_rate_hz is 0: it must be at least 1"),
        ("samples_per_video_frame", "1", "clock.samples_per_video_frame is '1': it must be a"),
        ("categories", "drum", "categories is 'drum', not a list of different names"),
        ("categories", ["drum", "drum"], "not a list of different names"),
        ("categories", ["../drum"], "not a list of different names"),
        ("made_by", {"seed": [1]}, "not named texts and numbers"),
        ("floor_bits", {"a": float("nan")}, "not a number for each clip"),
        ("extractor", ["pixels"], "extractor is .*, not a name"),
        ("format_version", True, "format True, this version reads format 1"),
    ],
)
def test_metadata_are_checked(copy, field, value, message):
    path = copy / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(InputError, match=message) as caught:
        open_dataset(copy, "train")
    assert str(path) in str(caught.value)


def test_any_flipped_bit_of_the_index_is_noticed(copy):
    """With the labels that the first look for a category stores."""
    assert len(open_dataset(copy, "train").of_category("drum")) == 2
    (index,) = copy.glob("*-train.index.npy")
    whole = index.read_bytes()
    for bit in range(0, 8 * len(whole), 37):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        index.write_bytes(content)
        assert len(open_dataset(copy, "train").of_category("drum")) == 2
        assert index.read_bytes() == whole


def test_index_without_a_checksum_is_made_again(copy):
    """As earlier versions wrote it: here with a label that would drop a clip."""
    assert len(open_dataset(copy, "train").of_category("drum")) == 2
    (index,) = copy.glob("*-train.index.npy")
    whole = index.read_bytes()
    old = bytearray(whole[: -FOOTER.size])
    label = np.frombuffer(old[-8:], np.int64)[0]
    old[-8:] = np.int64(label ^ 1).tobytes()
    index.write_bytes(old)
    assert len(open_dataset(copy, "train").of_category("drum")) == 2
    assert index.read_bytes() == whole
