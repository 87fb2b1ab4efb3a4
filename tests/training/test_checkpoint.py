"""Checkpoints: round trips, corruption, other versions."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.conftest import FIXTURES, random_params, with_model
from v2s_jax.checkpoints import load_params, save_params
from v2s_jax.config import DEMO, SOUNDS
from v2s_jax.errors import InputError
from v2s_jax.features.controls import MOTION_DIM
from v2s_jax.model import VideoToSound
from v2s_jax.pretrained import DEFAULT_CHECKPOINT, PRETRAINED, REAL_RECORDINGS, what_it_knows
from v2s_jax.run_folder import CHECKPOINTS
from v2s_jax.training.checkpoint import Checkpoint, Checkpointer
from v2s_jax.training.state import init_state
from v2s_jax.types import FeatureStatistics, Statistics

APPEARANCE = Statistics(
    np.linspace(0, 1, 4096, dtype=np.float32), 0.25, np.eye(4096, 8, dtype=np.float32)
)
STATISTICS = FeatureStatistics(APPEARANCE, APPEARANCE)


def make_checkpoint(config, step=0) -> Checkpoint:
    state = init_state(VideoToSound(config), STATISTICS)._replace(step=np.int32(step))
    carry = VideoToSound(config).apply(state.params, 4, method="initial_carry")
    return jax.tree.map(np.asarray, Checkpoint(state, carry))


@pytest.fixture
def saved(tiny, tmp_path):
    """A folder with checkpoints at steps 2 and 4."""
    checkpoint = make_checkpoint(tiny, 2)
    with Checkpointer(tmp_path, tiny) as checkpoints:
        checkpoints.save(checkpoint)
        checkpoints.save(make_checkpoint(tiny, 4))
    return tmp_path


def test_params_file_round_trip(tiny, tmp_path):
    params = random_params(tiny)
    file = tmp_path / "a.safetensors"
    save_params(file, tiny, params)
    config, read = load_params(file)
    assert config == tiny
    assert jax.tree.structure(read) == jax.tree.structure(params)
    for got, given in zip(jax.tree.leaves(read), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(got, np.asarray(given).astype(np.float16).astype(np.float32))
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_newest_step_is_loaded(tiny, saved):
    config, params = load_params(saved)
    assert config == tiny
    for got, given in zip(
        jax.tree.leaves(params), jax.tree.leaves(make_checkpoint(tiny).state.params), strict=True
    ):
        np.testing.assert_array_equal(got, given)
    with Checkpointer(saved, tiny) as checkpoints:
        found = checkpoints.restore_latest(make_checkpoint(tiny))
    assert found is not None and int(found.state.step) == 4


def test_old_checkpoints_are_deleted(tiny, tmp_path):
    keeping = dataclasses.replace(
        tiny, training=dataclasses.replace(tiny.training, keep_checkpoints=2)
    )
    with Checkpointer(tmp_path, keeping) as checkpoints:
        for step in (1, 2, 3, 4):
            checkpoints.save(make_checkpoint(keeping, step))
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["3", "4"]


def test_new_folder_has_no_checkpoint(tiny, tmp_path):
    with Checkpointer(tmp_path, tiny) as checkpoints:
        assert checkpoints.restore_latest(make_checkpoint(tiny)) is None


def data_files(step_folder):
    files = [p for p in step_folder.rglob("d/*") if p.is_file()]
    assert files
    return files


def test_flipped_bytes_are_detected(tiny, saved, caplog):
    for file in data_files(saved / CHECKPOINTS / "4"):
        data = bytearray(file.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 64] = bytes(b ^ 0xFF for b in data[middle : middle + 64])
        file.write_bytes(data)
    load_params(saved)
    assert f"{saved / CHECKPOINTS / '4'}: corrupt checkpoint" in caplog.text
    assert "using that of step 2" in caplog.text
    with pytest.raises(InputError, match="no intact checkpoint"), Checkpointer(saved, tiny) as kept:
        shutil.rmtree(saved / CHECKPOINTS / "2")
        kept.restore_latest(make_checkpoint(tiny))
    with pytest.raises(InputError, match="no intact checkpoint"):
        load_params(saved)


@pytest.mark.parametrize("corruption", ["flipped", "cut", "meta"])
def test_resumes_from_the_newest_intact_checkpoint(tiny, saved, caplog, corruption):
    """The corrupt one is named and moved away, and its step can be saved again."""
    newest = saved / CHECKPOINTS / "4"
    for file in [newest / "meta" / "metadata"] if corruption == "meta" else data_files(newest):
        data = bytearray(file.read_bytes())
        if corruption == "flipped":
            middle = len(data) // 2
            data[middle : middle + 64] = bytes(b ^ 0xFF for b in data[middle : middle + 64])
        file.write_bytes(data if corruption == "flipped" else data[: len(data) // 2])
    with Checkpointer(saved, tiny) as checkpoints:
        found = checkpoints.restore_latest(make_checkpoint(tiny))
        assert found is not None and int(found.state.step) == 2
        assert f"{newest}: corrupt checkpoint" in caplog.text
        assert "resuming from step 2" in caplog.text
        assert (saved / "corrupt" / "4.0").is_dir()
        checkpoints.save(make_checkpoint(tiny, 4))
    with Checkpointer(saved, tiny) as checkpoints:
        found = checkpoints.restore_latest(make_checkpoint(tiny))
    assert found is not None and int(found.state.step) == 4


def damages(data: bytes) -> list[bytes | None]:
    """Return what a file may hold afterwards; None: it is gone."""
    flipped = bytearray(data)
    if data:
        flipped[len(data) // 2] ^= 1
    return [b"", None, bytes(flipped), b"[]", b'{"config": 1}']


@pytest.mark.slow
def test_any_damage_to_any_file_sets_the_checkpoint_aside(tiny, tmp_path):
    """Or leaves the data intact; train and sample use what was saved."""
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    like, older = make_checkpoint(tiny, 4), make_checkpoint(tiny, 2)
    with Checkpointer(whole, tiny) as checkpoints:
        checkpoints.save(older, 3.0)
        checkpoints.save(like, 2.0)
    for file in (whole / CHECKPOINTS / "4").rglob("*"):
        for content in damages(file.read_bytes()) if file.is_file() else ():
            shutil.rmtree(damaged, ignore_errors=True)
            shutil.copytree(whole, damaged)
            target = damaged / file.relative_to(whole)
            target.unlink() if content is None else target.write_bytes(content)
            _, params = load_params(damaged)
            assert_equal_leaves(params, like.state.params)
            with Checkpointer(damaged, tiny) as checkpoints:
                found = checkpoints.restore_latest(like)
                is_newest = int(found.state.step) == 4
                assert checkpoints.best_bits() == (2.0 if is_newest else 3.0)
            assert_equal_leaves(found, like if is_newest else older)


def assert_equal_leaves(tree, other):
    for got, saved in zip(*map(jax.tree.leaves, (tree, other)), strict=True):
        np.testing.assert_array_equal(got, saved)


@pytest.mark.parametrize("content", ["", "{}", "[3]", "3", '{"bits_per_sample": "x"}', "null"])
def test_old_checkpoint_with_damaged_bits_is_refused(tmp_path, content):
    """Its bits are beside its meta, without a checksum."""
    run = Path(shutil.copytree(FIXTURES / "run_v1", tmp_path / "run"))
    (metrics,) = run.rglob("metrics/metrics")
    metrics.write_text(content)
    with pytest.raises(InputError, match="no intact checkpoint"):
        load_params(run)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_parameters_that_are_not_finite_are_refused(tiny, tmp_path, value):
    """In a file, and in a checkpoint, where the one before is used."""
    checkpoint = make_checkpoint(tiny, 4)
    params = jax.tree.map(np.array, checkpoint.state.params)
    bias = params["params"]["sample_rnn"]["sample_tier"]["output"]["bias"]
    bias[3] = value
    save_params(tmp_path / "a.safetensors", tiny, params)
    message = r"1 of 256 values of .*output/bias are NaN or infinite"
    with pytest.raises(InputError, match=message):
        load_params(tmp_path / "a.safetensors")
    run = tmp_path / "run"
    with Checkpointer(run, tiny) as checkpoints:
        checkpoints.save(Checkpoint(checkpoint.state._replace(params=params), checkpoint.carry))
    with pytest.raises(InputError, match=f"no intact checkpoint; the newest: {message}"):
        load_params(run)
    with (
        pytest.raises(InputError, match="no intact checkpoint"),
        Checkpointer(run, tiny) as checkpoints,
    ):
        checkpoints.restore_latest(make_checkpoint(tiny))


def test_sizes_are_compared_before_anything_is_allocated(tiny, tmp_path):
    """A config of huge sizes over small parameters."""
    big = with_model(tiny, dim=2**16, mlp_dim=2**16)
    file, run = tmp_path / "a.safetensors", tmp_path / "run"
    save_params(file, big, random_params(tiny))
    with pytest.raises(InputError, match=r"has shape .* the config's model expects"):
        load_params(file)
    with Checkpointer(run, big) as checkpoints:
        checkpoints.save(make_checkpoint(tiny, 4))
    with pytest.raises(InputError, match=r"the newest: params/.* expected is"):
        load_params(run)


def test_missing_and_empty(tmp_path):
    with pytest.raises(InputError, match="no such checkpoint"):
        load_params(tmp_path / "nothing")
    with pytest.raises(InputError, match="a folder without a checkpoint"):
        load_params(tmp_path)


def test_other_files_are_refused(tiny, tmp_path):
    text = tmp_path / "a.safetensors"
    text.write_text("no tensors here")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        load_params(text)
    foreign = tmp_path / "b.safetensors"
    save_file({"w": np.zeros(3, np.float32)}, foreign)
    with pytest.raises(InputError, match="has no v2s_jax config"):
        load_params(foreign)


def test_other_versions_are_refused(tiny, tmp_path):
    fields = json.loads(tiny.to_json())
    for name, change, message in [
        ("old", {"format_version": 0}, "config format 0"),
        ("unknown", {"colour": "red"}, "the field .colour., which this version does not know"),
        ("sizes", {"model": {**dataclasses.asdict(tiny.model), "frame_size": 3}}, "frame_size 3"),
    ]:
        file = tmp_path / f"{name}.safetensors"
        text = json.dumps({**fields, **change})
        save_file({"w": np.zeros(3, np.float32)}, file, metadata={"config": text})
        with pytest.raises(InputError, match=message) as caught:
            load_params(file)
        assert str(file) in str(caught.value)


def test_missing_tensors_and_wrong_shapes_are_refused(tiny, tmp_path):
    file = tmp_path / "a.safetensors"
    whole = random_params(tiny)
    for change, message in [
        (lambda tree: tree.pop("conditioning"), "conditioning/.* has shape None, .* expects"),
        (lambda tree: tree.update(more=np.zeros(2)), r"more has shape \(2,\), .* expects None"),
        (
            lambda tree: tree["sample_rnn"].update(frame_h0=np.zeros(3)),
            r"frame_h0 has shape \(3,\)",
        ),
    ]:
        tree = {**whole["params"], "sample_rnn": dict(whole["params"]["sample_rnn"])}
        change(tree)
        save_params(file, tiny, {"params": tree})
        with pytest.raises(InputError, match=message):
            load_params(file)


def test_parameters_can_be_read_by_all_who_may_read_new_files(tiny, tmp_path):
    save_params(tmp_path / "a.safetensors", tiny, random_params(tiny))
    (tmp_path / "new").touch()
    modes = [path.stat().st_mode for path in tmp_path.iterdir()]
    assert len(modes) == 2 and len(set(modes)) == 1


def test_impossible_path_is_refused():
    with pytest.raises(InputError, match="cannot be read"):
        load_params(Path("x" * 300))


@pytest.mark.parametrize("name", PRETRAINED)
def test_pretrained_checkpoint_loads_by_name(name, tmp_path, monkeypatch):
    """Parameters only, without pickle, of the demo preset; a file of that name comes first."""
    config, params = load_params(Path(name))
    if name == "real":
        expected = dataclasses.replace(SOUNDS.model, appearance_dim=14, motion_dim=MOTION_DIM)
    else:
        expected = dataclasses.replace(DEMO.model, variant=name)
    assert config.model == expected
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(params))
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("mine")
    with pytest.raises(InputError, match=f"{name}: not a readable checkpoint"):
        load_params(Path(name))


def test_pretrained_checkpoints_are_small():
    assert DEFAULT_CHECKPOINT in PRETRAINED.values()
    sizes = {name: path.stat().st_size for name, path in PRETRAINED.items()}
    assert sizes.pop("real") <= 45_000_000
    assert sum(sizes.values()) <= 20_500_000


def test_recordings_of_real_may_be_used_and_are_told_apart():
    """Every one is CC0 or CC BY, with its author; the other categories are synthetic."""
    with REAL_RECORDINGS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["licence"] for row in rows} == {"CC0 1.0", "CC BY 3.0"}
    assert all(row["author"] and row["url"].startswith("https://") for row in rows)
    assert len({row["sha256"] for row in rows}) == len(rows)
    extraction = load_params(Path("real"))[0].extraction
    synthetic = set(extraction.synthetic_categories or ())
    assert {row["category"] for row in rows} == set(extraction.categories or ()) - synthetic
    note = what_it_knows(Path("real"))
    recorded, computed = note.split("synthetic")
    assert all(name in computed for name in synthetic)
    assert all(row["category"] in recorded for row in rows)
