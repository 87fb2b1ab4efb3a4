"""CSV files: formulas, doubled columns, cells beyond the header."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2s_jax.csv_files import escape_cell, read_csv, unescape_cell, write_csv
from v2s_jax.errors import InputError

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "'=1", "''-", "=")


def test_formulas_are_neutralised_and_read_back(tmp_path):
    path = tmp_path / "a.csv"
    cells = [*FORMULAS, "plain", "'quoted", "", " =1", "a=b", '\u00e9, "x"\n']
    write_csv(path, ("name", "number"), [(cell, -1.5) for cell in cells])
    with path.open(newline="", encoding="utf-8") as file:
        raw = [row["name"] for row in csv.DictReader(file)]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in raw)
    read = [row for _, row in read_csv(path, ("name", "number"))]
    assert read == [[cell, "-1.5"] for cell in cells]


@given(st.text(st.sampled_from("'=+-@\t\ra")))
def test_any_text_survives(text):
    assert unescape_cell(escape_cell(text)) == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,name\na,b\n", "has the column 'name' twice"),
        ("name,x,x\na,b,c\n", "has the column 'x' twice"),
        ("name,x\na,b,c\n", "line 2: has more cells than the header"),
        ("name,x\na\n", "line 2: is cut off"),
    ],
)
def test_tables_that_do_not_fit_their_header_are_refused(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_csv(path, ("name", "x") if "cut" in message else ("name",))
    assert str(path) in str(caught.value)
