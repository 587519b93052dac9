"""The notebooks run from top to bottom."""

from __future__ import annotations

from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "docs" / "notebooks"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # jupyter's own
@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda file: file.stem)
def test_a_notebook_runs(
    notebook: Path, small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient").NotebookClient
    monkeypatch.setenv("SELFEDIT_NOTEBOOK_MODEL", str(small_folder))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    cells = nbformat.read(notebook, as_version=4)
    nbformat.validate(cells)
    assert all(not cell.get("outputs") for cell in cells.cells), "store it without outputs"
    client(cells, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert any(cell.get("outputs") for cell in cells.cells)
