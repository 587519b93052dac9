"""SEAL's own data files, found in a copy of its repository, looked through, and linked to where the
paper's recipes expect them.

They are not in this project: `FETCH` says where to get them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from selfedit.errors import DataError, UsageError
from selfedit.storage.files import hash_file
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.written import read_self_edits
from selfedit.tasks.task import Context

FOLDER = Path("data/seal")
"""Where the paper's recipes expect the files."""
PASSAGES = ("squad_train.json", "squad_val.json")
SELF_EDITS = ("base_val.json", "iter1_val.json", "iter2_val.json", "gpt4_1_val.json")
"""By the untrained model, after each round of RL, and by GPT-4.1, of passages in squad_val.json."""
FETCH = (
    "get SEAL's repository (github.com/Continual-Intelligence/SEAL; its general-knowledge/data"
    " holds the files) and run `selfedit data seal FOLDER`"
)
_MOST_FILES = 200_000


@dataclass(frozen=True)
class SealFile:
    """One of the files.

    Attributes:
        name: as SEAL calls it.
        path: where it is.
        passages: how many it holds.
        questions: of these.
        self_edits: how many a passage has at the least; 0 for a file of passages.
        sha256: of its bytes.
    """

    name: str
    path: Path
    passages: int
    questions: int
    self_edits: int
    sha256: str


def check_seal(folder: Path) -> list[SealFile]:
    """Find and read every file below a folder.

    Raises:
        UsageError: there is no such folder.
        DataError, FormatError: a file is missing, there twice with different content, or not what
            it should be; self-edits of passages that are not among the validation passages.
    """
    if not folder.is_dir():
        raise UsageError("there is no such folder", where=folder, fix=FETCH)
    places = {name: _only(name, paths) for name, paths in _below(folder).items()}
    # All of them before any is read: reading takes a while.
    if missing := [name for name in (*PASSAGES, *SELF_EDITS) if name not in places]:
        what = f"{len(missing)} of SEAL's files are not here: {', '.join(missing)}"
        raise DataError(what, where=folder, fix=FETCH)
    contexts = {name: load_contexts(places[name], require_questions=True) for name in places}
    # By text: SEAL's titles are shared by several passages.
    validation = {_text_key(context) for context in contexts["squad_val.json"]}
    if shared := validation & {_text_key(context) for context in contexts["squad_train.json"]}:
        what = f"{len(shared)} passages are among those to learn on and to validate on"
        raise DataError(what, where=places["squad_train.json"], fix=FETCH)
    for name in SELF_EDITS:
        if strange := [c.title for c in contexts[name] if _text_key(c) not in validation]:
            what = f"{len(strange)} passages are not in squad_val.json, {strange[0][:60]!r} for one"
            raise DataError(what, where=places[name], fix=FETCH)
    return [_file_of(name, places[name], contexts[name]) for name in (*PASSAGES, *SELF_EDITS)]


def link_seal(files: Sequence[SealFile], into: Path = FOLDER) -> list[Path]:
    """Link the files into a folder under SEAL's names; a link that is there is set anew.

    Raises:
        UsageError: a file of that name is there that is no link.
    """
    into.mkdir(parents=True, exist_ok=True)
    links = [into / file.name for file in files]
    for file, link in zip(files, links, strict=True):
        # A link of ours, perhaps to a folder that has moved.
        if link.is_symlink():
            link.unlink()
        elif link.exists():
            if link.samefile(file.path):
                continue
            fix = "remove it, or name another folder with --into"
            raise UsageError("there is a file of this name already", where=link, fix=fix)
        link.symlink_to(file.path.resolve())
    return links


def _below(folder: Path) -> dict[str, list[Path]]:
    known = {*PASSAGES, *SELF_EDITS}
    paths: dict[str, list[Path]] = {}
    for number, path in enumerate(_published_files(folder)):
        if number > _MOST_FILES:
            fix = "name the folder of SEAL's repository itself"
            raise DataError(f"more than {_MOST_FILES:,} files", where=folder, fix=fix)
        if path.name in known:
            paths.setdefault(path.name, []).append(path)
    return paths


def _published_files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        # In place: os.walk goes on with what is left in the list.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent) / name for name in sorted(names))


def _only(name: str, paths: Sequence[Path]) -> Path:
    # Copies are fine; what differs in content is not.
    if len({hash_file(path) for path in paths}) > 1:
        where = ", ".join(map(str, paths[:3]))
        fix = "name the folder that holds the one that is meant"
        raise DataError(f"there are {len(paths)} different files {name}", where=where, fix=fix)
    return paths[0]


def _file_of(name: str, path: Path, contexts: Sequence[Context]) -> SealFile:
    fewest = 0
    if name in SELF_EDITS:
        fewest = read_self_edits(path, fix=FETCH).fewest(contexts)
    questions = sum(len(context.questions) for context in contexts)
    return SealFile(name, path, len(contexts), questions, fewest, hash_file(path))


def _text_key(context: Context) -> str:
    """White space does not matter: files of the same passages differ in it."""
    return " ".join(context.text.split())
