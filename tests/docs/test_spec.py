"""docs/SPEC.md says what the code does: every field, its value, and a test that exists."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from v2s_jax.config import DEMO, PAPER, TINY, flat_fields
from v2s_jax.datasets import statistics
from v2s_jax.features import flow_stacks, optical_flow, vgg
from v2s_jax.model import rnn as recurrent
from v2s_jax.model import tiers

ROOT = Path(__file__).parents[2]
SPEC = (ROOT / "docs" / "SPEC.md").read_text()
OF_WHAT_IS_COMPUTED = ("clock.", "extractor", "model.", "training.")
LITERAL = re.compile(r"`([^`]+)`")


def rows(header: str) -> list[list[str]]:
    """Cells of every table under this header."""
    found, inside = [], False
    for line in SPEC.splitlines():
        if line.startswith(header):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not line.startswith("| ---"):
            found.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return found


ROWS = rows("| what | value | source | field | test |")
SMALL_ROWS = rows("| what | `demo` | `tiny` | field |")


def value_of(cell: str) -> Any:
    """The first literal of a cell."""
    literal = LITERAL.search(cell)
    assert literal is not None, cell
    return ast.literal_eval(literal.group(1))


def test_every_field_of_the_paper_s_preset_is_listed_with_its_value():
    fields = {
        name: value
        for name, value in flat_fields(PAPER).items()
        if name.startswith(OF_WHAT_IS_COMPUTED)
    }
    listed = [cells[3].strip("`") for cells in ROWS]
    for name, value in fields.items():
        assert listed.count(name) == 1, name
        assert value_of(ROWS[listed.index(name)][1]) == value, name


def test_the_small_presets_are_listed_where_they_differ():
    listed = {cells[3].strip("`"): cells for cells in SMALL_ROWS}
    paper = flat_fields(PAPER)
    for column, preset in ((1, DEMO), (2, TINY)):
        for name, value in flat_fields(preset).items():
            if name in listed:
                assert value_of(listed[name][column]) == value, name
            elif name != "name":
                assert value == paper[name], name


@pytest.mark.parametrize("cells", ROWS, ids=lambda cells: cells[0])
def test_every_row_has_a_source_a_place_and_a_test_that_exists(cells):
    _, _, source, place, test = cells
    assert re.search(r"paper|secondary|SampleRNN|ours", source)
    file, name = test.strip("`").split("::")
    assert f"def {name}(" in (ROOT / "tests" / file).read_text()
    place = place.strip("`")
    if place.endswith(".py"):
        assert (ROOT / "v2s_jax" / place).exists()


def test_constants_are_the_code_s():
    modules = (recurrent, tiers, statistics, flow_stacks, optical_flow, vgg)
    constants = {place.strip("`"): value for _, value, _, place, _ in ROWS if place[1:-1].isupper()}
    assert len(constants) == 14
    for constant, told in constants.items():
        of_code = next(vars(module)[constant] for module in modules if hasattr(module, constant))
        assert value_of(told) == of_code, constant


@pytest.mark.parametrize("study", ["starvation", "variants"])
def test_the_studies_tables_are_those_that_the_command_wrote(study):
    folder = ROOT / "docs" / "probes"
    assert (folder / f"{study}.md").read_text() in SPEC
    assert f"(probes/{study}.png)" in SPEC and (folder / f"{study}.png").exists()
    seeds = {run["seed"] for run in json.loads((folder / f"{study}.json").read_text())}
    assert len(seeds) >= 3
