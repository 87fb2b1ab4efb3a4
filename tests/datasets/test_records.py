"""Datasets on disk: written and read back, in a fixed order, without TensorFlow; corruption."""

import dataclasses
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.proto.tf_example_generated_pb2 import Example

from v2s_jax.config import TINY, Clock, ExtractorConfig
from v2s_jax.datasets import (
    ClipDataset,
    ClipRecord,
    Metadata,
    batches,
    held_out_batches,
    open_dataset,
    shuffled_indices,
    waveform_from_int16,
    waveform_to_int16,
)
from v2s_jax.datasets.tfrecord import FOOTER, HEADER, masked_crc
from v2s_jax.datasets.writer import write_dataset
from v2s_jax.errors import InputError
from v2s_jax.quantize import q_zero, quantize

CLOCK = Clock()
# TFDS calls functions that protobuf 6, which apache-beam needs, deprecates.
STRICT = ("-W", "error", "-W", "ignore:label() is deprecated:DeprecationWarning")
DIM = 4_096
CLIPS = {"train": 10, "test": 3}
CLIPS_PER_SHARD = 4


def config(**training):
    changed = {"batch_clips": 4, "seed": 7, **training}
    model = dataclasses.replace(TINY.model, appearance_dim=DIM)
    return dataclasses.replace(
        TINY, model=model, training=dataclasses.replace(TINY.training, **changed)
    )


def random_record(split: str, index: int) -> ClipRecord:
    """Clips of 2 to 4 video frames; the last one is partial."""
    rng = np.random.default_rng([index, len(split)])
    video_frames = 2 + index % 3
    samples = video_frames * CLOCK.samples_per_video_frame - index
    return ClipRecord(
        clip_id=f"drum-{split}-{index:05d}",
        category="drum" if index % 2 else "water_flowing",
        waveform=rng.integers(-32_768, 32_768, samples).astype(np.int16),
        appearance=rng.random((video_frames, DIM)).astype(np.float16),
        motion=rng.random((video_frames, DIM)).astype(np.float16),
    )


def metadata(**changed) -> Metadata:
    values = {
        "format_version": 1,
        "extractor": "pixels",
        "appearance_dim": DIM,
        "motion_dim": DIM,
        "sample_rate_hz": CLOCK.sample_rate_hz,
        "samples_per_video_frame": CLOCK.samples_per_video_frame,
        "samples_max": 0,
        "categories": ["drum", "water_flowing"],
        "made_by": {"data_set": "test"},
    }
    return {**values, **changed}


def write(directory: Path, described: Metadata, records) -> Path:
    folder = directory / "noise" / "1.0.0"
    write_dataset(folder, described, ["train", "test"], records, clips_per_shard=CLIPS_PER_SHARD)
    return folder


def all_records():
    for split, count in CLIPS.items():
        for index in range(count):
            yield split, random_record(split, index)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("data"), metadata(), all_records())


@pytest.fixture
def copy(written, tmp_path) -> Path:
    return shutil.copytree(written, tmp_path / "noise" / "1.0.0", copy_function=shutil.copy2)


def assert_same(found: ClipRecord, expected: ClipRecord) -> None:
    assert (found.clip_id, found.category) == (expected.clip_id, expected.category)
    for name in ("waveform", "appearance", "motion"):
        assert getattr(found, name).dtype == getattr(expected, name).dtype
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def one_line(caught: pytest.ExceptionInfo[InputError]) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


# What is written is read


@pytest.mark.parametrize("split", CLIPS)
def test_records_round_trip(written, split):
    data = open_dataset(written, split)
    assert len(data) == CLIPS[split]
    for index, record in enumerate(data):
        assert_same(record, random_record(split, index))
    assert data.name == "noise"
    assert data.categories == ("drum", "water_flowing")
    assert data.clock == CLOCK
    assert data.metadata["samples_max"] == 4 * 1_024 - 2  # the test split counts too
    with pytest.raises(IndexError):
        data[len(data)]


def test_parent_folder_opens_too(written, tmp_path):
    assert len(open_dataset(written.parent.parent, "train")) == 10
    assert len(open_dataset(str(written.parent), "train")) == 10


def test_values_take_two_bytes_on_disk(written):
    shards = sorted(written.glob("*train.tfrecord*"))
    assert len(shards) == 3
    size = sum(path.stat().st_size for path in shards)
    values = sum(
        record.waveform.size + record.appearance.size + record.motion.size
        for split, record in all_records()
        if split == "train"
    )
    assert 2 * values < size < 2 * values + 10 * 300  # names and framing: under 300 bytes a clip


def test_tensorflow_reads_the_same_shards(written):
    for loaded in (
        tfds.load("noise", data_dir=written.parent.parent, split="train"),
        tfds.builder_from_directory(written).as_dataset(split="train"),
    ):
        examples = {e["clip_id"].decode(): e for e in loaded.as_numpy_iterator()}
        assert len(examples) == 10
        for record in open_dataset(written, "train"):
            example = examples[record.clip_id]
            assert_same(record, record._replace(**{
                "category": example["category"].decode(),
                "waveform": example["waveform"],
                "appearance": example["appearance"],
                "motion": example["motion"],
            }))  # fmt: skip


def test_reading_does_not_import_tensorflow(written):
    program = f"""
import sys
from v2s_jax.config import TINY
from v2s_jax.datasets import batches
from v2s_jax.datasets import open_dataset
data = open_dataset({str(written)!r}, "train")
data[3]
next(batches(data, TINY, 0, range(4)))
assert "tensorflow" not in sys.modules, "tensorflow was imported"
"""
    subprocess.run([sys.executable, *STRICT, "-c", program], check=True)


def test_bucket_is_read_without_tensorflow(written):
    """A store in memory stands for Google's; names and errors keep the URL."""
    program = f"""
import sys
from pathlib import Path
import fsspec
from fsspec.implementations.memory import MemoryFileSystem
from v2s_jax.errors import InputError
from v2s_jax.datasets import open_dataset

class Bucket(MemoryFileSystem):
    protocol = ("gs", "gcs")

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.removeprefix("gs://").strip("/")

def message(read):
    try:
        read()
    except InputError as error:
        return str(error)

fsspec.register_implementation("gcs", Bucket, clobber=True)
for path in Path({str(written)!r}).iterdir():
    Bucket().pipe(f"gs://bucket/noise/1.0.0/{{path.name}}", path.read_bytes())
data = open_dataset("gs://bucket/noise", "train")
assert str(data.directory) == "gs://bucket/noise/1.0.0"
assert [record.clip_id[-1] for record in data] == list("0123456789")
shard = str(data.index.shards[1])
Bucket().rm(shard)
for error in (message(lambda: data[4]), message(lambda: open_dataset("gs://bucket", "train"))):
    assert error.startswith(f"{{shard}}: cannot be read"), error
error = message(lambda: open_dataset("gs://bucket/other", "train"))
assert error.startswith("gs://bucket/other: no dataset found"), error
assert "tensorflow" not in sys.modules, "tensorflow was imported"
"""
    subprocess.run([sys.executable, *STRICT, "-c", program], check=True)


def test_masked_crc_equals_tensorflow(written):
    import tensorflow as tf

    path = written.parent / "one.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"a clip")
    assert int.from_bytes(path.read_bytes()[-4:], "little") == masked_crc(b"a clip")


def test_int16_round_trip():
    waveform = np.array([-1.0, -0.5, 0.0, 1 / 32_768, 0.9, 1.0, 1.5], np.float32)
    steps = waveform_to_int16(waveform)
    assert steps.tolist() == [-32_768, -16_384, 0, 1, 29_491, 32_767, 32_767]
    np.testing.assert_array_equal(waveform_to_int16(waveform_from_int16(steps)), steps)


# The index


def test_index_is_cached_until_a_shard_changes(copy):
    index = copy / "noise-train.index.npy"
    assert index.exists()  # the writer opened the dataset once
    made = index.stat().st_mtime_ns
    open_dataset(copy, "train")
    assert index.stat().st_mtime_ns == made
    shard = sorted(copy.glob("*train.tfrecord*"))[0]
    swapped = sorted(copy.glob("*train.tfrecord*"))[1]
    contents = shard.read_bytes()
    shard.write_bytes(swapped.read_bytes())
    swapped.write_bytes(contents)
    data = open_dataset(copy, "train")
    assert [record.clip_id[-1] for record in data] == list("4567012389")


def npy_of(values: object) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no index",
        b"\x93NUMPY\x01\x00v\x00{",
        npy_of(np.arange(3)),
        npy_of(np.zeros((2, 3), np.int64)),
        npy_of(np.zeros((12, 4))),
    ],
    ids=["empty", "text", "header", "vector", "columns", "floats"],
)
def test_corrupt_index_is_rebuilt(copy, content):
    index = copy / "noise-train.index.npy"
    whole = index.read_bytes()
    index.write_bytes(content)
    assert len(open_dataset(copy, "train")) == 10
    assert index.read_bytes() == whole


def test_reading_works_without_an_index_file(copy):
    index = copy / "noise-train.index.npy"
    index.unlink()
    index.mkdir()  # stands for a folder without write access, which root would have
    assert_same(open_dataset(copy, "train")[9], random_record("train", 9))
    assert not list(copy.glob(".unfinished-*"))


# One category


def test_single_category(written):
    """In the order of the whole split; each clip is visited once per epoch."""
    data = open_dataset(written, "train")
    drums = data.of_category("drum")
    assert [record.clip_id[-1] for record in drums] == list("13579")
    assert [record.clip_id[-1] for record in data.of_category("water_flowing")] == list("02468")
    assert_same(drums[2], random_record("train", 5))
    reading = batches(drums, config(batch_clips=5), 0, range(5))
    assert sorted(next(reading).clip_index) == list(range(5))
    reading.close()
    with pytest.raises(IndexError):
        drums[5]


def test_categories_are_read_once(copy, capsys):
    (copy / "noise-train.index.npy").unlink()
    open_dataset(copy, "train").of_category("drum")
    assert "reading categories" in capsys.readouterr().err
    assert len(open_dataset(copy, "train").of_category("drum")) == 5
    assert "reading categories" not in capsys.readouterr().err
    shard = sorted(copy.glob("*train.tfrecord*"))[1]
    os.utime(shard, (1, 1))
    assert len(open_dataset(copy, "train").of_category("drum")) == 5
    assert "reading categories" in capsys.readouterr().err


def test_corruption_is_located_in_the_shard(copy):
    """Clip 5 of the split, the third drum: record 1 of the second shard."""
    drums = open_dataset(copy, "train").of_category("drum")
    shard = sorted(copy.glob("*train.tfrecord*"))[1]
    content = bytearray(shard.read_bytes())
    content[int(drums.index.offset[2]) + 50] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(InputError, match=rf"{shard.name}: record 1 is corrupt"):
        drums[2]


def test_unknown_category(written):
    with pytest.raises(InputError, match=r"category drun: unknown: did you mean drum\?"):
        open_dataset(written, "train").of_category("drun")


def test_category_without_clips(copy):
    changed = json.loads((copy / "metadata.json").read_text())
    changed["categories"] = ["dog", *changed["categories"]]
    (copy / "metadata.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match="no clips of dog in split train"):
        open_dataset(copy, "train").of_category("dog")


# Order and batches


def test_flow_reads_appearance_and_motion(written):
    data = open_dataset(written, "train")
    flow = config()
    flow = dataclasses.replace(flow, model=dataclasses.replace(flow.model, variant="flow"))
    reading = batches(data, flow, 0, range(4))
    batch = next(reading)
    reading.close()
    assert batch.features.shape[-1] == 2 * DIM
    record = data[int(batch.clip_index[0])]
    frames = len(record.motion)
    np.testing.assert_array_equal(batch.features[0, :frames, :DIM], record.appearance)
    np.testing.assert_array_equal(batch.features[0, :frames, DIM:], record.motion)


def test_clip_shorter_than_a_big_frame_is_an_error(tmp_path):
    record = random_record("train", 0)
    record = record._replace(
        waveform=record.waveform[:15], appearance=record.appearance[:1], motion=record.motion[:1]
    )
    folder = write(tmp_path, metadata(), [("train", record), ("test", record)])
    data = open_dataset(folder, "train")
    with pytest.raises(InputError, match=f"clip {record.clip_id}: 15 samples are fewer than one"):
        next(batches(data, config(batch_clips=1), 0, range(1)))


def test_features_that_are_not_finite_are_an_error(tmp_path):
    record = random_record("train", 0)
    record.appearance[1, 7] = np.nan
    folder = write(tmp_path, metadata(), [("train", record), ("test", record)])
    data = open_dataset(folder, "train")
    with pytest.raises(InputError, match=f"clip {record.clip_id}: NaN .* 1 of 2 .* number 1"):
        next(batches(data, config(batch_clips=1), 0, range(1)))


def test_each_epoch_visits_every_clip_once():
    order = shuffled_indices(0, 7, np.arange(21))
    epochs = order.reshape(3, 7)
    assert (np.sort(epochs, axis=1) == np.arange(7)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_order_depends_on_seed_and_position_only():
    whole = shuffled_indices(5, 100, np.arange(1_000))
    np.testing.assert_array_equal(shuffled_indices(5, 100, np.arange(333, 777)), whole[333:777])
    scattered = np.array([900, 3, 450, 3])
    np.testing.assert_array_equal(shuffled_indices(5, 100, scattered), whole[scattered])
    assert (shuffled_indices(6, 100, np.arange(100)) != whole[:100]).any()


def test_order_is_golden():
    golden = [0, 2, 1, 5, 4, 3, 6, 7, 5, 3, 7, 2, 4, 1, 0, 6]
    assert shuffled_indices(0, 8, np.arange(16)).tolist() == golden


def test_batch_holds_the_clips_of_its_positions(written):
    data = open_dataset(written, "train")
    stream = batches(data, config(), 0, range(4))
    seen = []
    for _ in range(5):
        batch = next(stream)
        seen += batch.clip_index.tolist()
        for row, clip in enumerate(batch.clip_index):
            record = random_record("train", int(clip))
            own = record.waveform.size
            levels = quantize(waveform_from_int16(record.waveform), 256, "linear")
            np.testing.assert_array_equal(batch.levels[row, :own], levels)
            assert (batch.levels[row, own:] == q_zero(256)).all()
            assert batch.mask[row].sum() == own
            assert batch.mask[row, :own].all()
            frames = len(record.appearance)
            np.testing.assert_array_equal(batch.features[row, :frames], record.appearance)
            assert not batch.features[row, frames:].any()
    stream.close()
    assert batch.levels.shape == (4, 4 * 1_024)
    assert batch.features.shape == (4, 4, DIM)
    assert seen == shuffled_indices(7, 10, np.arange(20)).tolist()


def test_batches_resume_anywhere(written):
    data = open_dataset(written, "train")
    first, later = batches(data, config(), 0, range(4)), batches(data, config(), 3, range(4))
    for _ in range(3):
        next(first)
    for _ in range(3):
        for a, b in zip(next(first), next(later), strict=True):
            np.testing.assert_array_equal(a, b)
    first.close()
    later.close()


def test_two_hosts_feed_the_same_rows_as_one(written):
    data = open_dataset(written, "train")
    one = next(batches(data, config(), 2, range(4)))
    two = [next(batches(data, config(), 2, rows)) for rows in (range(2), range(2, 4))]
    for whole, low, high in zip(one, *two, strict=True):
        np.testing.assert_array_equal(whole, np.concatenate([low, high]))


def test_held_out_batches_are_fixed(written):
    """`eval_clips` clips, rows after the last masked; two hosts score the same clips as one."""
    data = open_dataset(written, "train")
    six = config(batch_clips=4, eval_clips=6)
    whole = list(held_out_batches(data, six, range(4)))
    assert [batch.mask.any(axis=1).tolist() for batch in whole] == [
        [True] * 4,
        [True, True, False, False],
    ]
    scored = np.concatenate([batch.clip_index[batch.mask.any(axis=1)] for batch in whole])
    assert len(set(scored.tolist())) == 6
    np.testing.assert_array_equal(scored, shuffled_indices(7, 10, np.arange(6)))
    for rows in (range(2), range(2, 4)):
        for batch, of_host in zip(whole, held_out_batches(data, six, rows), strict=True):
            for a, b in zip(batch, of_host, strict=True):
                np.testing.assert_array_equal(a[rows.start : rows.stop], b)
    assert whole[0].clip_ids[0] == data[int(scored[0])].clip_id
    assert whole[0].categories[0] == data[int(scored[0])].category


def test_fewer_held_out_clips_than_requested(written):
    (batch,) = held_out_batches(open_dataset(written, "test"), config(), range(4))
    assert batch.mask.any(axis=1).tolist() == [True, True, True, False]


def test_fingerprint_identifies_the_clips(written):
    train, test = (open_dataset(written, split) for split in ("train", "test"))
    assert train.fingerprint == open_dataset(written, "train").fingerprint
    assert "split train, 10 clips" in train.fingerprint
    drums = train.of_category("drum")
    assert len({train.fingerprint, test.fingerprint, drums.fingerprint}) == 3


def test_batch_larger_than_the_dataset(written):
    data = open_dataset(written, "test")
    batch = next(batches(data, config(batch_clips=7), 0, range(7)))
    assert sorted(batch.clip_index[:3]) == sorted(batch.clip_index[3:6]) == [0, 1, 2]
    assert len(batch.clip_index) == 7


def test_batches_are_padded_to_whole_chunks(written):
    data = open_dataset(written, "train")
    batch = next(batches(data, config(chunk_samples=3_072), 0, range(4)))
    assert batch.levels.shape == (4, 6 * 1_024)
    assert batch.features.shape == (4, 6, DIM)


def test_closing_stops_the_readers(written):
    stream = batches(open_dataset(written, "train"), config(), 0, range(4))
    next(stream)
    assert any(thread.name.startswith("v2s-read") for thread in threading.enumerate())
    stream.close()
    assert not any(thread.name.startswith("v2s-read") for thread in threading.enumerate())


def test_corruption_found_while_reading_ahead_is_raised(copy):
    data = open_dataset(copy, "train")
    shard = data.index.shards[0]
    flip_byte(shard, int(data.index.offset[2]) + 5_000)
    stream = batches(data, config(), 0, range(4))
    with pytest.raises(InputError, match="record 2 is corrupt"):
        for _ in range(3):
            next(stream)
    assert not any(thread.name.startswith("v2s-read") for thread in threading.enumerate())


# Bad input


def flip_byte(path: Path, position: int) -> None:
    contents = bytearray(path.read_bytes())
    contents[position] ^= 0x10
    path.write_bytes(contents)


def test_folder_without_a_dataset(tmp_path):
    for directory in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="no dataset found") as caught:
            open_dataset(directory, "train")
        assert f"v2s prepare synthetic --out {directory}" in one_line(caught)


def test_file_instead_of_a_folder(written):
    shard = next(written.glob("*tfrecord*"))
    with pytest.raises(InputError, match="not a folder") as caught:
        open_dataset(shard, "train")
    assert str(shard) in one_line(caught)


def test_several_datasets(copy):
    other = shutil.copytree(copy, copy.parent.parent / "other" / "1.0.0")
    with pytest.raises(InputError, match="several datasets") as caught:
        open_dataset(copy.parent.parent, "train")
    assert str(other) in one_line(caught)


def test_unknown_split_lists_the_splits(written):
    with pytest.raises(InputError, match="no split 'valid': choose from") as caught:
        open_dataset(written, "valid")
    assert "train" in one_line(caught)
    assert "test" in one_line(caught)


def test_unfinished_folder_does_not_open(copy):
    (copy / "metadata.json").write_text("{}")
    with pytest.raises(InputError, match=r"metadata\.json: format_version, .* missing") as caught:
        open_dataset(copy, "train")
    one_line(caught)
    (copy / "metadata.json").unlink()
    with pytest.raises(InputError, match=r"metadata\.json: format_version, .* missing"):
        open_dataset(copy, "train")


@pytest.mark.parametrize("name", ["dataset_info.json", "metadata.json", "features.json"])
def test_unreadable_description(copy, name):
    (copy / name).write_text('{"half": ')
    with pytest.raises(InputError) as caught:
        open_dataset(copy, "train")
    assert str(copy) in one_line(caught)


def test_other_features(copy):
    changed = json.loads((copy / "metadata.json").read_text()) | {"appearance_dim": 512}
    (copy / "metadata.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match="not the features of a clip") as caught:
        open_dataset(copy, "train")
    assert "features.json" in one_line(caught)


def test_other_format(copy):
    changed = json.loads((copy / "metadata.json").read_text()) | {"format_version": 0}
    (copy / "metadata.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match="format 0, this version reads format 1"):
        open_dataset(copy, "train")


def test_missing_shard(copy):
    shard = sorted(copy.glob("*train.tfrecord*"))[1]
    shard.unlink()
    with pytest.raises(InputError) as caught:
        open_dataset(copy, "train")
    assert str(shard) in one_line(caught)


def test_shard_that_cannot_be_opened(copy):
    shard = sorted(copy.glob("*train.tfrecord*"))[1]
    shard.unlink()
    shard.mkdir()  # stands for a file without read access, which root would have
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)") as caught:
        open_dataset(copy, "train")
    assert str(shard) in one_line(caught)


@pytest.mark.parametrize("keep_index", [True, False])
def test_shard_cut_in_half(copy, keep_index):
    shard = sorted(copy.glob("*train.tfrecord*"))[1]
    contents = shard.read_bytes()
    shard.write_bytes(contents[: len(contents) // 2])
    if not keep_index:
        (copy / "noise-train.index.npy").unlink()
    with pytest.raises(InputError, match=r"record [12] is cut off") as caught:
        open_dataset(copy, "train")
    assert str(shard) in one_line(caught)


def test_shard_cut_between_records(copy):
    data = open_dataset(copy, "train")
    shard = data.index.shards[0]
    shard.write_bytes(shard.read_bytes()[: int(data.index.offset[3]) - 12])
    with pytest.raises(InputError, match="holds 3 records instead of 4"):
        open_dataset(copy, "train")


def test_shard_cut_after_opening(copy):
    data = open_dataset(copy, "train")
    shard = data.index.shards[1]
    shard.write_bytes(shard.read_bytes()[:1_000])
    with pytest.raises(InputError, match="record 1 is cut off"):
        data[5]


def test_flipped_bit_in_a_record(copy):
    data = open_dataset(copy, "train")
    flip_byte(data.index.shards[1], int(data.index.offset[6]) + 9_999)
    data[5]
    with pytest.raises(InputError, match="record 2 is corrupt") as caught:
        data[6]
    assert str(data.index.shards[1]) in one_line(caught)


def test_flipped_bit_in_a_header(copy):
    data = open_dataset(copy, "train")
    flip_byte(data.index.shards[0], int(data.index.offset[1]) - 12)
    (copy / "noise-train.index.npy").unlink()
    with pytest.raises(InputError, match="record 1 is corrupt") as caught:
        open_dataset(copy, "train")
    assert str(data.index.shards[0]) in one_line(caught)


def corrupt_body(shard: Path, data: ClipDataset) -> None:
    flip_byte(shard, int(data.index.offset[5]) + 9_999)


def corrupt_header(shard: Path, data: ClipDataset) -> None:
    flip_byte(shard, int(data.index.offset[5]) - 12)


def cut_off(shard: Path, data: ClipDataset) -> None:
    shard.write_bytes(shard.read_bytes()[: int(data.index.offset[5]) + 100])


@pytest.mark.parametrize("keep_index", [True, False])
@pytest.mark.parametrize("corrupt", [corrupt_body, corrupt_header, cut_off])
def test_corrupt_records_are_dropped(copy, caplog, corrupt, keep_index):
    """Record 1 of the second shard, which holds clips 4 to 7."""
    data = open_dataset(copy, "train")
    shard = Path(data.index.shards[1])
    corrupt(shard, data)
    if not keep_index:
        (copy / "noise-train.index.npy").unlink()
    kept = open_dataset(copy, "train", corrupt="drop")
    assert kept.dropped == 3
    assert [record.clip_id[-1] for record in kept] == list("0123489")
    assert f"{shard}: dropped from record 1 on, 3 of 4 records (" in caplog.text
    assert kept.fingerprint != data.fingerprint
    assert {record.category for record in kept.of_category("drum")} == {"drum"}
    with pytest.raises(InputError, match="3 of the shard's 4 records are lost") as caught:
        list(open_dataset(copy, "train"))  # the drop is not cached
    assert str(shard) in one_line(caught) and "--run.corrupt drop" in str(caught.value)


def test_nothing_is_dropped_from_an_intact_dataset(copy, caplog):
    kept = open_dataset(copy, "train", corrupt="drop")
    assert (kept.dropped, len(kept), caplog.text) == (0, 10, "")
    assert kept.fingerprint == open_dataset(copy, "train").fingerprint


def test_every_shard_corrupt(copy):
    for shard in copy.glob("*train.tfrecord*"):
        flip_byte(shard, 50)
    with pytest.raises(InputError, match="every shard is corrupt"):
        open_dataset(copy, "train", corrupt="drop")


def test_features_that_do_not_cover_the_audio(tmp_path):
    short = random_record("train", 1)
    short = short._replace(appearance=short.appearance[:-1])
    folder = write(tmp_path, metadata(), [("train", short), ("test", random_record("test", 0))])
    with pytest.raises(InputError, match=r"record 0 does not hold a clip .*size 8192") as caught:
        open_dataset(folder, "train")[0]
    assert "build the dataset again" in one_line(caught)


def example_of(record: ClipRecord) -> Example:
    """Return the message that the writer makes of a clip."""
    example = Example()
    for name, value in record._asdict().items():
        data = value.encode() if isinstance(value, str) else value.tobytes()
        example.features.feature[name].bytes_list.value.append(data)
    return example


def replace_first_record(folder: Path, data: bytes) -> Path:
    """Replace the first training clip by `data` with valid checksums."""
    shard = sorted(folder.glob("*train.tfrecord*"))[0]
    index = open_dataset(folder, "train").index
    end = int(index.offset[0] + index.length[0]) + FOOTER.size
    length = struct.pack("<Q", len(data))
    framed = HEADER.pack(len(data), masked_crc(length)) + data + FOOTER.pack(masked_crc(data))
    shard.write_bytes(framed + shard.read_bytes()[end:])
    return shard


def test_replaced_record_is_read(copy):
    """The next test changes a record that could be read."""
    replace_first_record(copy, example_of(random_record("train", 5)).SerializeToString())
    data = open_dataset(copy, "train")
    assert_same(data[0], random_record("train", 5))
    assert_same(data[1], random_record("train", 1))


def without_waveform(example: Example) -> None:
    del example.features.feature["waveform"]


def with_floats(example: Example) -> None:
    example.features.feature["motion"].float_list.value.append(0.5)  # replaces the bytes


def with_half_a_value(example: Example) -> None:
    example.features.feature["appearance"].bytes_list.value[0] += b"\0"


def with_invalid_text(example: Example) -> None:
    example.features.feature["clip_id"].bytes_list.value[0] = b"\xff"


@pytest.mark.parametrize(
    "change", [None, without_waveform, with_floats, with_half_a_value, with_invalid_text]
)
def test_record_that_is_not_a_clip(copy, change):
    """Its checksums are those of its bytes."""
    example = example_of(random_record("train", 0))
    if change is not None:
        change(example)
    data = b"not a message" if change is None else example.SerializeToString()
    shard = replace_first_record(copy, data)
    with pytest.raises(InputError, match="record 0 does not hold a clip") as caught:
        open_dataset(copy, "train")[0]
    assert str(shard) in one_line(caught)
    open_dataset(copy, "train")[1]


def test_empty_split_is_not_written(tmp_path):
    with pytest.raises(InputError, match="split 'test' has no clips"):
        write(tmp_path, metadata(), [("train", random_record("train", 0))])
    assert not list((tmp_path / "noise").iterdir())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"clock": Clock(8_000, 1_024)}, "clock.sample_rate_hz is 16000, the config expects 8000"),
        ({"model": TINY.model}, None),
        (
            {"model": dataclasses.replace(TINY.model, appearance_dim=512)},
            "model.appearance_dim is 4096, the config expects 512",
        ),
        ({"model": dataclasses.replace(TINY.model, motion_dim=512)}, None),
        (
            {"model": dataclasses.replace(TINY.model, motion_dim=512, variant="flow")},
            "model.motion_dim is 4096, the config expects 512",
        ),
    ],
)
def test_data_for_another_config(written, changed, message):
    data = open_dataset(written, "train")
    other = dataclasses.replace(config(), **changed)
    if message is None:
        batches(data, other, 0, range(4)).close()
        return
    with pytest.raises(InputError) as caught:
        batches(data, other, 0, range(4))
    assert message in one_line(caught)


def test_data_of_another_extractor(copy):
    changed = json.loads((copy / "metadata.json").read_text()) | {"extractor": "vgg19"}
    (copy / "metadata.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match="extractor is vgg19, the config expects pixels") as caught:
        batches(open_dataset(copy, "train"), config(), 0, range(4))
    assert "use --extractor vgg19, or rebuild the dataset" in one_line(caught)


def test_data_made_with_other_weights(copy):
    made = ExtractorConfig("after_relu", "float32", "a" * 64, "dis", "b" * 64, "cross_modality")
    described = metadata(extractor="vgg19", extraction=dataclasses.asdict(made))
    (copy / "metadata.json").write_text(json.dumps(described))
    data = open_dataset(copy, "train")
    assert data.extraction == made
    for expected in (
        ExtractorConfig(),
        made,
        dataclasses.replace(made, motion_weights_sha256="c" * 64),
    ):
        same = dataclasses.replace(config(), extractor="vgg19", extraction=expected)
        batches(data, same, 0, range(4)).close()  # a Frame model does not read motion
    expected = dataclasses.replace(made, appearance_weights_sha256="c" * 64)
    other = dataclasses.replace(config(), extractor="vgg19", extraction=expected)
    with pytest.raises(InputError, match=r"_sha256 is a+, expected is c+: ") as caught:
        batches(data, other, 0, range(4))
    one_line(caught)


@pytest.mark.parametrize("extraction", [{"flow": "smooth"}, {"size": "224"}])
def test_extractor_settings_of_another_version(copy, extraction):
    described = metadata(extractor="vgg19", extraction=extraction)
    (copy / "metadata.json").write_text(json.dumps(described))
    with pytest.raises(InputError, match="this version does not know its extractor") as caught:
        open_dataset(copy, "train")
    one_line(caught)
