"""What a folder holds that can be asked: a library of documents, an adapter, or a run's last
policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

from selfedit.config import Prompting
from selfedit.documents.adapt import load_adapter, read_about
from selfedit.documents.library import Library
from selfedit.documents.library_state import STATE
from selfedit.documents.shelf import AUTO, KEPT, Kind, Shelf
from selfedit.errors import ModelFileError, RunFolderError
from selfedit.lm.load import LanguageModel
from selfedit.lm.peft_files import read_peft_config
from selfedit.rl.policy import policy_hash
from selfedit.run.folder import RunFolder
from selfedit.run.marker import is_run, not_there
from selfedit.storage.bounded import is_there

_WHAT_HOLDS_IT = (
    "give the folder of a library, of an adapter, or of a run that has learned a policy"
)


@dataclass(frozen=True)
class Served:
    """What there is to ask, before any model is loaded.

    Attributes:
        kind: what answers besides the model itself.
        folder: the library's, or the adapter's; None where the weights hold all.
        name: of the adapter or policy.
        model: the model it stands on, as `selfedit.load` takes it.
        prompting: how it was asked in training.
    """

    kind: Kind
    folder: Path | None
    name: str
    model: str
    prompting: Prompting

    def shelf(self, lm: LanguageModel, *, kept: int = KEPT) -> Shelf:
        """What can be asked, on its model.

        Raises:
            ModelFileError: the library or the adapter cannot be read.
        """
        # A folder's name, not where it lies: clients are shown it.
        base = Path(lm.name).name if Path(lm.name).is_dir() else lm.name
        if self.folder is None:
            return Shelf(lm, {}, lambda *_: None, kind=self.kind, base=self.name)
        if self.kind == "document":
            return _library_shelf(Library(self.folder, lm), lm, base, kept)
        name = self.name if self.name not in (AUTO, base) else f"{self.kind}/{self.name}"
        loaders = {name: partial(load_adapter, self.folder, lm)}
        return Shelf(lm, loaders, lambda *_: name, kind=self.kind, base=base)


def _library_shelf(library: Library, lm: LanguageModel, base: str, kept: int) -> Shelf:
    # A document that is called as the model is has its folder's name, which no other has.
    names = {
        entry.adapter: entry.adapter if entry.name in (AUTO, base) else entry.name
        for entry in library.entries
    }
    loaders = {
        name: partial(load_adapter, library.folder / folder, lm) for folder, name in names.items()
    }

    def route(question: str, topic: str) -> str | None:
        entry = library.route(question, topic)
        return None if entry is None else names[entry.adapter]

    return Shelf(
        lm, loaders, route, is_follow_up=library.is_follow_up, kind="document", base=base, kept=kept
    )


def read_served(path: str | Path, model: str | None = None) -> Served:
    """What a folder holds.

    Args:
        path: of a library, an adapter (ours or peft's), or a run.
        model: the model it stands on, where the folder does not say, or says another place.

    Raises:
        RunFolderError, ModelFileError: it holds none of these, or what it holds cannot be read.
    """
    folder = Path(path)
    if is_there(folder / STATE):
        with RunFolder.read(folder) as run:
            return _of_run(run, "document", folder, model)
    if is_there(folder / "adapter_config.json"):
        return _adapter(folder, model)
    if is_there(folder) and is_run(folder):
        with RunFolder.read(folder) as run:
            return _last_policy(run, model)
    what = not_there(folder, "this is no library, no adapter and no run")
    raise RunFolderError(what, where=path, fix=_WHAT_HOLDS_IT)


def _adapter(folder: Path, model: str | None) -> Served:
    """An adapter's folder: of `adapt`, or peft's."""
    about = read_about(folder)
    base, settings = about.get("base"), about.get("settings")
    name = base.get("name") if isinstance(base, dict) else None
    model = model or (name if isinstance(name, str) else None)
    named = read_peft_config(folder).base_model_name_or_path
    for above in folder.resolve().parents[:4]:
        if not about and is_run(above):
            # The run's own name for its model: a short name may stand for a copy of its own here.
            with RunFolder.read(above) as run:
                below = run.path / (named or "")
                name = str(
                    below if named and is_there(below / "config.json") else run.settings["model"]
                )
                model, settings = model or name, run.settings
            break
    model = model or named
    if not model:
        what = "the adapter does not say which model it was trained on"
        raise ModelFileError(what, where=folder, fix="name it: --model NAME")
    prompting = _asked_in(settings if isinstance(settings, dict) else {})
    return Served("adapter", folder, folder.resolve().name, model, prompting)


def _last_policy(run: RunFolder, model: str | None) -> Served:
    """A run's last policy: its weights where it was merged into them, else its adapter.

    Raises:
        RunFolderError: it has none, or its files are not those it saved.
    """
    policies = list(round_policies(run))
    if not policies:
        what = "this run has not learned a policy, or not yet"
        raise RunFolderError(what, where=run.path, fix=_WHAT_HOLDS_IT)
    folder = whole_policy(run, *policies[-1])
    if is_there(folder / "model"):
        return _of_run(run, "policy", None, str(folder / "model"))
    return _of_run(run, "policy", folder / "adapter", model)


def whole_policy(run: RunFolder, number: int, digest: str) -> Path:
    """The folder of a round's policy.

    Raises:
        RunFolderError: its files are not those that the run saved.
    """
    folder = run.policy(number)
    if not is_there(folder) or policy_hash(folder) != digest:
        what = "the saved policy is not the one this run made: a file is missing or altered"
        raise RunFolderError(what, where=folder, fix="put the folder back from a copy")
    return folder


def round_policies(run: RunFolder) -> Iterator[tuple[int, str]]:
    """The finished rounds that made a policy, and the hash of each one's folder."""
    for number, done in enumerate(run.rounds(), start=1):
        if isinstance(digest := done.get("policy"), str):
            yield number, digest


def _of_run(run: RunFolder, kind: Kind, folder: Path | None, model: str | None) -> Served:
    name = run.path.resolve().name
    return Served(kind, folder, name, model or str(run.settings["model"]), _asked_in(run.settings))


def _asked_in(settings: Mapping[str, object]) -> Prompting:
    """How a run's settings say that its model is asked."""
    prompting = settings.get("prompting", "auto")
    return next((each for each in get_args(Prompting) if each == prompting), "auto")
