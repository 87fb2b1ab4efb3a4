"""docs/paper.md: its numbers follow from the code, and commands without a parser run here.

tests/docs/test_pages.py parses its `v2s` commands.
"""

import math
import re
import shlex
import subprocess
import sys
import tomllib

import pytest
from etils import epath

from docs import generate_tables
from tests.docs.test_pages import ROOT, bash_lines, simple_commands
from v2s_jax.config import PAPER
from v2s_jax.datasets.folders.decode import CLIP_VIDEO_FRAMES
from v2s_jax.datasets.folders.manifest import Row, write_manifest
from v2s_jax.evaluation.report.paper import CROSS_ENTROPY, RETRIEVAL_CLIPS, RETRIEVAL_PERCENT
from v2s_jax.features.vgg import RGB, VGG19

pytestmark = pytest.mark.docs

PAGE = ROOT / "docs" / "paper.md"
TEXT = PAGE.read_text(encoding="utf-8")
WORDS = " ".join(TEXT.split())
CATEGORIES = 10
CLIPS, MEAN_SEC, TEST_CLIPS = 28_109, 7.05, 1_280
"""VEGAS, as the paper describes it."""
PEAK_FLOPS = generate_tables.PEAK_FLOPS | {"A100": 312e12, "H100": 989e12}
SHARE = generate_tables.SHARES[0]
CHAIN_TICKS, TICK_SEC = 640, 50e-6


def hours(flop: float, chip: str) -> str:
    return f"{flop / (PEAK_FLOPS[chip] * SHARE) / 3600:.2f}"


def rows(first: str) -> list[list[str]]:
    """The cells of the table rows that begin with this cell."""
    cells = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in TEXT.splitlines()
        if line.startswith("| ")
    )
    return [row[1:] for row in cells if row[0] == first]


def test_expected_numbers_are_those_that_reports_show():
    for name, row in (("training", "train"), ("testing", "test")):
        (cells,) = rows(name)
        assert [float(cell) for cell in cells] == [*CROSS_ENTROPY[row].values()]
    for kind in ("category", "instance"):
        for top, *cells in rows(kind):
            expected = RETRIEVAL_PERCENT[f"{kind}_{top.replace(' ', '_')}"]
            assert [float(cell) for cell in cells[:-1]] == [*expected.values()]


def test_chance_is_that_of_drawing_at_random():
    per_category = RETRIEVAL_CLIPS // CATEGORIES
    wrong = math.comb(RETRIEVAL_CLIPS - per_category, 5) / math.comb(RETRIEVAL_CLIPS, 5)
    chances = {
        ("category", "top 1"): f"{100 / CATEGORIES:.0f}",
        ("category", "top 5"): f"{100 * (1 - wrong):.1f}",
        ("instance", "top 1"): f"{100 / RETRIEVAL_CLIPS:.3f}",
        ("instance", "top 5"): f"{500 / RETRIEVAL_CLIPS:.2f}",
    }
    found = {(kind, row[0]): row[-1] for kind in ("category", "instance") for row in rows(kind)}
    assert found == chances


def test_computed_costs_follow_from_sizes():
    frames = CLIPS * MEAN_SEC * float(PAPER.clock.fps)
    extraction = 2 * frames * VGG19.flops(RGB)
    forward = 2 * generate_tables.multiply_adds()
    samples = CLIP_VIDEO_FRAMES * PAPER.clock.samples_per_video_frame
    retrieval = TEST_CLIPS**2 * samples * forward
    run = generate_tables.run_flop()
    per_clip = 2 * CLIP_VIDEO_FRAMES * PAPER.model.appearance_dim * 2 + 2 * samples
    train_clips = CLIPS - TEST_CLIPS
    for stated in (
        f"{frames:,.0f}",
        f"{VGG19.flops(RGB) / 1e9:.1f} GFLOP",
        f"{extraction:.2e} FLOP".replace("e+", "e"),
        ", ".join(f"{chip} {hours(extraction, chip)}" for chip in PEAK_FLOPS),
        f"{frames / 240 / 3600:.1f} hours",
        f"{CLIPS * per_clip / 1e9:.0f} GB",
        f"{run:.3e} FLOP".replace("e+", "e"),
        f"{' | '.join(hours(run, chip) for chip in PEAK_FLOPS)} |",
        f"{PAPER.training.steps * CHAIN_TICKS * TICK_SEC / 3600:.2f} hours",
        f"{generate_tables.run_samples() / samples / train_clips:.1f} times",
        f"{CLIPS * samples * forward:.1e} FLOP".replace("e+", "e"),
        f"{retrieval:.2e} FLOP".replace("e+", "e"),
        f"{retrieval / run:.0f} times its training",
        f"A100 {float(hours(retrieval, 'A100')):.1f} hours",
        f"{2.7061 / math.log(2):.3f} bits",
    ):
        assert stated in WORDS, stated


def test_retrieval_ranks_the_clips_that_it_reads():
    """A gallery larger than --clips allows would be a smaller one than the page says."""
    commands = [line for line in bash_lines(PAGE) if "--gallery" in line]
    assert len(commands) == 4
    for line in commands:
        given = dict(re.findall(r"--(clips|gallery|queries) (\d+)", line))
        assert int(given["queries"]) == int(given["gallery"])
        assert int(given["gallery"]) <= CATEGORIES * int(given["clips"])


def test_every_command_is_of_a_known_program():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    shell = {"for", "do", "done"}
    for line in bash_lines(PAGE):
        for words in simple_commands(line):
            assert "v2s" in words or words[0] in {"pip", "python"} | shell, line
            if words[0] == "pip":
                names = re.fullmatch(r"\.\[(.*)\]", words[-1])[1].split(",")
                assert set(names) <= set(extras)


def test_the_test_clips_are_linked_and_sampled_by_category(tmp_path):
    """The lines of table 3 up to the study, with a `v2s` that prints its arguments."""
    written = []
    for category in ("dog", "drum"):
        for number, (split, status) in enumerate(
            [("train", "used"), ("test", "used"), ("test", "rejected")]
        ):
            source = f"{category}/videos/video_{number:05d}.mp4"
            (tmp_path / "VEGAS" / source).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "VEGAS" / source).write_bytes(source.encode())
            written.append(Row(source, status, split=split))
    (tmp_path / "datasets" / "vegas").mkdir(parents=True)
    manifest = tmp_path / "datasets" / "vegas" / "manifest.jsonl"
    write_manifest(epath.Path(manifest), written)
    (link,) = (line for line in bash_lines(PAGE) if line.startswith("python -c"))
    loops = [line for line in bash_lines(PAGE) if line.startswith("for ")]
    assert len(loops) == 3
    python = shlex.quote(sys.executable)
    program = "\n".join(
        [f'python() {{ {python} "$@"; }}', 'v2s() { printf "%s\\n" "$*"; }', link, *loops]
    )
    done = subprocess.run(
        ["bash", "-e", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    linked = {str(p.relative_to(tmp_path / "test")) for p in (tmp_path / "test").rglob("*.mp4")}
    assert linked == {f"{category}/videos/video_00001.mp4" for category in ("dog", "drum")}
    assert done.stdout.splitlines() == [
        f"sample test/{category} --checkpoint runs/each/{variant}/{category} "
        f"--out out/{variant}/{category} --batch-size 32"
        for variant in ("frame", "seq", "flow")
        for category in ("dog", "drum")
    ]
