"""`python evaluate.py`: from a checkpoint and a data set to sync.json and a table."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.prepare import make_synthetic
from data.synthetic.generator import CATEGORIES
from data.synthetic.presets import Preset
from tests.conftest import random_params
from v2s_jax.commands.evaluate import features_told, main
from v2s_jax.config import TINY, Clock, Extraction
from v2s_jax.errors import InputError
from v2s_jax.evaluation import choose_clips, generate_sounds, true_sounds
from v2s_jax.generate import Generator
from v2s_jax.records import ClipRecord, open_data_set
from v2s_jax.training.checkpoint import load_params
from v2s_jax.training.params_file import save_params

ROOT = Path(__file__).parent.parent
MINI = Preset("mini", train_clips=1, test_clips=3, video_frames=16, categories=CATEGORIES)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("made")
    make_synthetic(out, MINI, seed=3, workers=2, overwrite=False)
    return out


@pytest.fixture(scope="module")
def untrained(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run") / "params.safetensors"
    save_params(path, TINY, random_params(TINY))
    return path


@pytest.fixture
def evaluate(monkeypatch, made, untrained, tmp_path):
    """Run the command in this process; options replace the usual ones."""

    def run(**options: str | Path) -> Path:
        usual = {"checkpoint": untrained, "data": made, "out": tmp_path / "report"}
        words = [str(word) for option in (usual | options).items() for word in option]
        words[::2] = [f"--{name}" for name in words[::2]]
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *words])
        main()
        return tmp_path / "report" / "sync.json"

    return run


def test_report_holds_the_true_events_and_what_was_printed(made, evaluate, capsys):
    path = evaluate()
    report = json.loads(path.read_text())
    assert [file.name for file in path.parent.iterdir()] == ["sync.json"]
    labels = [made / "clips" / "drum" / f"{row['clip_id']}.json" for row in report["clips"]]
    events = [json.loads(label.read_text())["events_sec"] for label in labels]
    assert [row["events_sec"] for row in report["clips"]] == events
    assert report["scores"]["true_sound"]["within"]["25_ms"]["f1"] == 1.0
    assert report["config"]["name"] == "tiny"
    assert report["versions"].keys() >= {"v2s_jax", "jax", "librosa", "mir_eval"}
    printed = capsys.readouterr().out
    assert f"3 clips, {sum(map(len, events))} events" in printed
    assert "features: pixels\n" in printed
    assert "64 ms" in printed
    assert str(path) in printed


def test_how_features_were_made_is_told():
    extraction = Extraction(flow="dis", motion_weights_sha256="ab", motion_origin="cross_modality")
    config = replace(TINY, extractor="vgg19", extraction=extraction)
    assert features_told(config) == (
        "vgg19, flow dis, motion_weights_sha256 ab, motion_origin cross_modality"
    )


@pytest.mark.slow
def test_command_in_another_process_gives_the_same_report(made, untrained, evaluate, tmp_path):
    out = tmp_path / "by_command"
    command = [sys.executable, "evaluate.py", "--checkpoint", untrained, "--data", made]
    finished = subprocess.run(
        [*command, "--out", out], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert "warning" not in finished.stderr.lower()
    reports = [json.loads(path.read_text()) for path in (out / "sync.json", evaluate())]
    for report in reports:
        del report["options"]["out"]
    assert reports[0] == reports[1]


def test_sound_depends_on_seed_and_clip_but_not_on_company(made, untrained):
    generator = Generator(*load_params(untrained))
    records = [clip.record for clip in choose_clips(open_data_set(made, "test"), "drum", 3)]

    def sounds(records: list[ClipRecord], seed: int) -> list[bytes]:
        brought: list[int] = []
        made = generate_sounds(generator, records, seed, 1.0, brought.append)
        assert [sound.size for sound in made] == [record.waveform.size for record in records]
        assert sum(brought) == sum(record.waveform.size for record in records)
        return [sound.tobytes() for sound in made]

    together = sounds(records, 0)
    assert len(set(together)) == 3
    assert sounds(records[1:2], 0) == together[1:2]
    assert not set(sounds(records, 1)) & set(together)


def test_true_sound_passes_the_levels_of_the_model(made):
    records = [clip.record for clip in choose_clips(open_data_set(made, "test"), "drum", 2)]
    assert len(records) == 2
    for record, sound in zip(records, true_sounds(records, TINY.model), strict=True):
        assert len(np.unique(sound)) <= TINY.model.q_levels
        assert np.abs(sound - record.waveform / 32_768).max() <= 1 / 256 + 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"category": "drums"}, "did you mean drum?"),
        ({"category": "water_flowing"}, "have no events"),
        ({"split": "validation"}, "no split 'validation'"),
        ({"split": "train"}, "1 clips of drum in split train"),
        ({"clips": "0"}, "--clips 0: use at least 2"),
        ({"seed": "-1"}, "seed -1"),
        ({"temperature": "0"}, "temperature 0"),
        ({"checkpoint": "missing.safetensors"}, "no such checkpoint"),
    ],
)
def test_bad_input_is_one_line_with_its_mend(evaluate, options, message, tmp_path):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        evaluate(**options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report").exists()


def test_checkpoint_of_another_clock_is_refused(evaluate, tmp_path):
    other = replace(TINY, clock=Clock(samples_per_video_frame=512))
    other = replace(other, training=replace(TINY.training, chunk_samples=512))
    path = tmp_path / "other.safetensors"
    save_params(path, other, random_params(other))
    with pytest.raises(InputError, match=r"samples_per_video_frame is 1024, the config wants 512"):
        evaluate(checkpoint=path)


def test_folder_that_cannot_be_made_is_told_before_the_work(evaluate, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/report: cannot write there"):
        evaluate(out=tmp_path / "file" / "report")


def test_missing_events_are_named(evaluate, made, tmp_path):
    copy = shutil.copytree(made, tmp_path / "copy")
    label = copy / "clips" / "drum" / "drum-test-00001.json"
    label.unlink()
    with pytest.raises(InputError, match=r"drum-test-00001\.json: .*synthetic data only"):
        evaluate(data=copy)


def test_events_of_another_data_set_are_refused(evaluate, made, tmp_path):
    copy = shutil.copytree(made, tmp_path / "copy")
    label = copy / "clips" / "drum" / "drum-test-00000.json"
    content = json.loads(label.read_text())
    content["recipe"]["seed"] = 4
    label.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"drum-test-00000\.json: made with another seed"):
        evaluate(data=copy)
    label.write_text("{}")
    with pytest.raises(InputError, match="not a clip's label"):
        evaluate(data=copy)
