"""The notebook runs from its first cell to its last, and its stored outputs are up to date."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

PATH = Path(__file__).resolve().parents[2] / "examples" / "vggish_tour.ipynb"


def outputs(notebook, kind: str) -> list:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [out for cell in cells for out in cell.outputs if out.output_type == kind]


def pictures(notebook) -> list:
    shown = outputs(notebook, "display_data") + outputs(notebook, "execute_result")
    return [out for out in shown if "image/png" in out.data]


def test_it_is_stored_with_pictures_and_without_errors_or_paths():
    text = PATH.read_text()
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert len(text) < 300_000 and len(pictures(notebook)) >= 5 and not outputs(notebook, "error")
    printed = "".join(out.text for out in outputs(notebook, "stream"))
    assert "/tmp" not in printed and "/home" not in printed and "/root" not in printed


@pytest.mark.integration
def test_it_runs(monkeypatch):
    monkeypatch.delenv("AUDIOSET_FEATURES", raising=False)
    stored = nbformat.read(PATH, as_version=4)
    notebook = nbformat.read(PATH, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(PATH.parent)}}).execute()
    assert len(pictures(notebook)) == len(pictures(stored))
    assert not [out for out in outputs(notebook, "stream") if out.name == "stderr"]
