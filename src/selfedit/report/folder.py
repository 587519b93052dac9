"""A run's report: pictures and a page in its folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfedit.errors import StorageFailed, UsageError
from selfedit.report.arc import task_pictures
from selfedit.report.cost_pictures import draw_costs
from selfedit.report.page import write_page
from selfedit.report.pictures import draw_pictures
from selfedit.report.round_pictures import draw_rounds
from selfedit.results.results import Results
from selfedit.run.folder import RunFolder
from selfedit.storage.files import storage_errors, write_atomic


def write_report(folder: str | Path, out: str | Path | None = None) -> list[Path]:
    """Write the report of a run, finished or not; returns the files, the page first.

    Args:
        folder: the run's; it is only read where `out` is given.
        out: where the report goes; ``report/`` in the run's folder if not given.

    Raises:
        RunFolderError: this is not a run's folder, or one of another form.
        StorageFull, StorageFailed: there is no room, or nothing may be written there.
    """
    with RunFolder.read(folder) as run:
        into = run.report if out is None else Path(out)
        results = run.results() or _so_far(run)
        with _writing(into):
            pictures = [
                *draw_pictures(results, into),
                *draw_rounds(run, into),
                *draw_costs(run, results, into),
                *task_pictures(run, into),
            ]
            page = into / "index.html"
            text = write_page(run, Results.read(results), pictures)
            write_atomic(page, text.encode("utf-8", "replace"))
    return [page, *pictures]


@contextmanager
def _writing(into: Path) -> Iterator[None]:
    fix = "name another folder with --out"
    try:
        with storage_errors(into):
            into.mkdir(parents=True, exist_ok=True)
            yield
    except StorageFailed as error:
        raise StorageFailed(error.what, where=into, fix=fix) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError("there is a file where a folder is meant", where=into, fix=fix) from error


def _so_far(run: RunFolder) -> dict[str, Any]:
    """The finished rounds of a run that is not finished."""
    finished = [
        run.ledger.step(step.name) for step in run.ledger.steps() if step.name.startswith("round-")
    ]
    return {"rounds": sorted((r for r in finished if r is not None), key=lambda r: r["round"])}
