"""docs/notebook.ipynb runs as it stands, and says what it says there."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def told(notebook: nbformat.NotebookNode) -> list[list[tuple[str, str]]]:
    """Of each cell's outputs the kinds, and what was printed; a progress bar is neither."""
    return [
        [
            (output.output_type, output.get("text", ""))
            for output in cell.get("outputs", [])
            if output.get("name") != "stderr"
        ]
        for cell in notebook.cells
    ]


@pytest.mark.slow
def test_the_notebook_runs_and_tells_what_it_tells(monkeypatch, tmp_path):
    """If it tells other things now: jupyter execute --inplace docs/notebook.ipynb."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XLA_FLAGS", "")
    committed = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(committed)
    ran = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(ran, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert told(ran) == told(committed)
    assert (tmp_path / "out" / "notebook" / "drum_sound.wav").exists()
