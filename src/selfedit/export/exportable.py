"""What is exported: an adapter's folder, a document of a library, or a run's policy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

from selfedit.config import Prompting
from selfedit.documents.library import Entry, is_library, read_library
from selfedit.documents.served import Served, read_served, round_policies, whole_policy
from selfedit.documents.shelf import Kind
from selfedit.errors import UsageError
from selfedit.lm.lora import Adapter
from selfedit.lm.stack import on_top
from selfedit.run.folder import RunFolder
from selfedit.run.marker import is_run
from selfedit.storage.neutral import in_line


@dataclass(frozen=True)
class Exportable:
    """What there is to export.

    Attributes:
        kind: an adapter, or a policy; a document's is an adapter.
        name: what it is called.
        folder: the run's or the adapter's.
        model: the base model, as `selfedit.load` takes it.
        prompting: how it was asked in training.
        adapters: folders of the adapters that stand on the base, added up in this order.
        weights: the folder of a model that has all of them in its weights, where there is one.
        round: the policy's; 0 for an adapter.
    """

    kind: Kind
    name: str
    folder: Path
    model: str
    prompting: Prompting
    adapters: tuple[Path, ...]
    weights: Path | None = None
    round: int = 0

    def adapter(self) -> Adapter:
        """All that stands on the base as one adapter; of several the ranks add up.

        Raises:
            ModelFileError: a file cannot be read.
        """
        loaded = [replace(Adapter.load(folder), base=self.model) for folder in self.adapters]
        return reduce(on_top, loaded)


def read_exportable(
    path: Path, *, document: str | None = None, round: int | None = None, model: str | None = None
) -> Exportable:
    """What a folder holds to export.

    Args:
        path: of an adapter (ours or peft's), a library, or a run that has learned a policy.
        document: which document of a library.
        round: which round's policy of a run; its last one if not given.
        model: the base model, where the folder does not say, or says another place.

    Raises:
        UsageError: a library without the name of a document, or a name or round it does not have.
        RunFolderError, ModelFileError: it holds none of these.
    """
    if is_library(path):
        return read_exportable(path / _library_entry(path, document).adapter, model=model)
    served = read_served(path, model)
    if served.kind != "policy":
        return Exportable("adapter", served.name, path, served.model, served.prompting, (path,))
    with RunFolder.read(path) as run:
        return _of_policy(run, served, round, model)


def _library_entry(library: Path, document: str | None) -> Entry:
    entries = {entry.name: entry for entry in read_library(library)}
    if document in entries:
        return entries[document]
    what = (
        "a library has an adapter for each document"
        if document is None
        else f"the library has no document {in_line(document, 80)!r}"
    )
    names = ", ".join(in_line(name, 60) for name in entries)
    raise UsageError(what, where=library, fix=f"name one with --document: {names}")


def _of_policy(run: RunFolder, served: Served, round: int | None, model: str | None) -> Exportable:
    policies = dict(round_policies(run))
    last = max(policies) if round is None else round
    if last not in policies:
        what, listed = f"no policy was made in round {last}", ", ".join(map(str, policies))
        raise UsageError(what, where=run.path, fix=f"give {listed}")
    merged = (run.policy(last) / "model").exists()
    # Merged rounds stand on each other; an unmerged policy is one adapter already.
    used = [number for number in policies if number <= last] if merged else [last]
    folders = [whole_policy(run, number, policies[number]) for number in used]
    return Exportable(
        "policy",
        f"{served.name}-round-{last}",
        run.path,
        model or str(run.settings["model"]),
        served.prompting,
        tuple(folder / "adapter" for folder in folders),
        folders[-1] / "model" if merged else None,
        last,
    )


def exportable_run(source: Exportable) -> RunFolder | None:
    """The run that made it, to read; None for an adapter from elsewhere."""
    if is_run(source.folder):
        return RunFolder.read(source.folder)
    above = [folder for folder in source.folder.resolve().parents[:4] if is_run(folder)]
    return RunFolder.read(above[0]) if above else None
