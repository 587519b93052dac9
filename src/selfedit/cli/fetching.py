"""A model on this machine before it is needed, with a bar while it is fetched."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from selfedit.cli.command import say
from selfedit.errors import ModelUnavailable
from selfedit.models.names import model_path

OnBytes = Callable[[int, int], None]


def have_model(name: str, *, quiet: bool = False, force: bool = False) -> Path:
    """The model's folder, fetched first where it is not on this machine.

    Raises:
        UsageError, ModelUnavailable, ModelFileError, StorageFull: see
        `selfedit.models.names.model_path`.
    """
    if not force:
        try:
            return model_path(name, fetch=False)
        except ModelUnavailable:
            pass
    with fetch_bar(name, quiet=quiet) as on_bytes:
        return model_path(name, on_progress=on_bytes, force=force)


@contextmanager
def fetch_bar(name: str, *, quiet: bool = False) -> Iterator[OnBytes | None]:
    """Bytes on stderr: a bar on a terminal, a line at each quarter elsewhere; or nothing."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _terminal_bar(name) as on_bytes:
            yield on_bytes
    else:
        say(f"fetching {name}")
        yield _quarter_lines(name)


@contextmanager
def _terminal_bar(name: str) -> Iterator[OnBytes]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        "{task.description}",
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(f"fetching {name}", total=None)

        def on_bytes(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)

        yield on_bytes


def _quarter_lines(name: str) -> OnBytes:
    reported = 0

    def on_bytes(done: int, total: int) -> None:
        nonlocal reported
        quarter = 4 * done // total if total else 0
        if quarter > reported:
            reported = quarter
            say(f"fetching {name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")

    return on_bytes
