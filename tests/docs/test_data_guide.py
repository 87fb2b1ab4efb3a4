"""docs/data.md is true where that can be told without a cluster: its commands are understood."""

import re
import shlex
from pathlib import Path

import pytest
import tyro
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    WorkerOptions,
)

from v2s_jax.cli import annotate, prepare, train
from v2s_jax.cli.prepare_folder import FolderArgs
from v2s_jax.datasets.folders.build_dataset import settings
from v2s_jax.datasets.folders.extraction import is_local

GUIDE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL)
    for line in block.splitlines()
]
PYTHON = [words for words in COMMANDS if words[0] == "python"]


@pytest.mark.parametrize("words", PYTHON, ids=" ".join)
def test_commands_are_understood(words, monkeypatch):
    match words[1:3]:
        case ["-m", "v2s_jax.cli.prepare"]:
            own, _ = prepare._parted(words[3:])
            prepare.app.cli(args=own)
        case ["-m", "v2s_jax.cli.annotate"]:
            annotate.app.cli(args=words[3:])
        case ["train.py", _]:
            monkeypatch.setattr("sys.argv", words[1:])
            assert train.parse().config.extractor == "vgg19"
        case _:
            pytest.fail(" ".join(words))


def test_dataflow_gets_its_words():
    (words,) = [words for words in PYTHON if "--" in words]
    own, beam_words = prepare._parted(words[3:])
    args = prepare.app.cli(args=own)
    assert isinstance(args, FolderArgs)
    options = settings(args, beam_words).beam_options
    assert list(options) == beam_words and not is_local(options)
    parsed = PipelineOptions(list(options))
    assert parsed.view_as(StandardOptions).runner == "DataflowRunner"
    assert parsed.view_as(GoogleCloudOptions).temp_location == "gs://my-bucket/temp"
    assert parsed.view_as(GoogleCloudOptions).region == "us-central1"
    assert parsed.view_as(WorkerOptions).sdk_container_image.endswith("/v2s_jax")
    known = parsed.get_all_options(drop_default=True, retain_unknown_options=False)
    for word in beam_words:
        assert word.removeprefix("--").split("=")[0] in known, word


def test_this_machine_is_the_default_and_beams_words_win():
    args = FolderArgs("v", "o", workers=3)
    assert "--direct_running_mode=multi_processing" in settings(args, ()).beam_options
    assert "--direct_num_workers=3" in settings(args, ()).beam_options
    parsed = PipelineOptions([*settings(args, ["--direct_num_workers=5"]).beam_options])
    assert parsed.get_all_options()["direct_num_workers"] == 5


def test_options_that_the_guide_names_exist():
    help_text = tyro.extras.get_parser(FolderArgs).format_help()
    for option in ("--video-frames", "--min-sec", "--split-seed", "--workers", "--extractor"):
        assert option in GUIDE and option in help_text
