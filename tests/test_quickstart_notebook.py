"""docs/quickstart.ipynb runs as its reader runs it, but for fewer steps."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

SHORTENED = {'preset="fast"': 'preset="fast", steps=60', "steps=200": "steps=20"}
NOTEBOOK = Path(__file__).parents[1] / "docs" / "quickstart.ipynb"


def outputs(notebook):
    """The kinds of output of each cell of code."""
    return [
        [sorted(output.get("data", {"text": 0})) for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_it_runs_and_shows_what_it_is_kept_with(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    kept = nbformat.read(NOTEBOOK, as_version=4)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        for long, short in SHORTENED.items():
            cell.source = cell.source.replace(long, short)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert outputs(notebook) == outputs(kept)
    assert not any(output.output_type == "error" for cell in notebook.cells for output in cell.get("outputs", ()))
