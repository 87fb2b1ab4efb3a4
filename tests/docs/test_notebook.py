"""docs/notebook.ipynb runs, and prints what is committed."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def printed(notebook) -> list[list[tuple[str, str]]]:
    """Each cell's outputs: their types, and what was printed, without progress bars."""
    return [
        [
            (output.output_type, output.get("text", ""))
            for output in cell.get("outputs", [])
            if output.get("name") != "stderr"
        ]
        for cell in notebook.cells
    ]


@pytest.mark.slow
def test_the_notebook_prints_what_is_committed(monkeypatch, tmp_path):
    """To update it: jupyter execute --inplace docs/notebook.ipynb."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XLA_FLAGS", "")
    committed = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(committed)
    executed = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(executed, timeout=240, resources=resources).execute()
    assert printed(executed) == printed(committed)
    assert (tmp_path / "out" / "notebook" / "drum_sound.wav").exists()
