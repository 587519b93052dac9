"""A run's report: pictures and a page in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfedit.report.arc import task_pictures
from selfedit.report.page import write_page
from selfedit.report.pictures import draw_pictures
from selfedit.results.results import Results
from selfedit.run.folder import RunFolder
from selfedit.storage.files import write_atomic


def write_report(folder: str | Path) -> list[Path]:
    """Write ``report/`` of a run, finished or not; returns the files, the page first.

    Raises:
        RunFolderError: this is not a run's folder, or one of another form.
        StorageFull: there is no room.
    """
    with RunFolder.read(folder) as run:
        results = run.results() or _so_far(run)
        pictures = [*draw_pictures(results, run.report), *task_pictures(run)]
        page = run.report / "index.html"
        write_atomic(
            page, write_page(run, Results.read(results), pictures).encode("utf-8", "replace")
        )
    return [page, *pictures]


def _so_far(run: RunFolder) -> dict[str, Any]:
    """The finished rounds of a run that is not finished."""
    finished = [
        run.ledger.step(step.name) for step in run.ledger.steps() if step.name.startswith("round-")
    ]
    return {"rounds": sorted((r for r in finished if r is not None), key=lambda r: r["round"])}
