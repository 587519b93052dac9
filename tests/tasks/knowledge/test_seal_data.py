"""SEAL's files are found, checked and linked; a recipe then reads them by their names."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from selfedit.cli.app import main
from selfedit.config import make_settings
from selfedit.errors import DataError, UsageError
from selfedit.tasks.knowledge.heldout import heldout_contexts
from selfedit.tasks.knowledge.seal_data import PASSAGES, SELF_EDITS, check_seal, link_seal

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "squad"


def passages(count: int, kind: str) -> list[dict]:
    return [
        {
            "title": f"{kind} {n}",
            "context": f"The {kind} {n} is  red.",
            "questions": [{"question": f"What is the {kind} {n}?", "answer": "red"}],
        }
        for n in range(count)
    ]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder like SEAL's repository, its data some folders down."""
    folder = tmp_path / "SEAL"
    places = {name: folder / "general-knowledge" / "data" / name for name in PASSAGES}
    below = folder / "general-knowledge" / "data" / "synthetic_data" / "eval"
    below.mkdir(parents=True)
    places["squad_train.json"].write_text(json.dumps(passages(5, "boat")))
    places["squad_val.json"].write_text(json.dumps(passages(8, "house")))
    for name in SELF_EDITS:
        edits = [p | {"completions": ["One.", "Two."], "prompt": "?"} for p in passages(3, "house")]
        (below / name).write_text(json.dumps(edits).replace("  ", " "))
    return folder


def test_the_files_are_found_counted_and_linked(repository: Path, tmp_path: Path) -> None:
    files = check_seal(repository)
    assert [file.name for file in files] == [*PASSAGES, *SELF_EDITS]
    assert [file.passages for file in files] == [5, 8, 3, 3, 3, 3]
    assert [file.self_edits for file in files] == [0, 0, 2, 2, 2, 2]
    links = link_seal(files, tmp_path / "data")
    assert all(link.samefile(file.path) for link, file in zip(links, files, strict=True))
    assert link_seal(files, tmp_path / "data") == links, "again"


def test_what_is_missing_or_does_not_fit_is_named(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        check_seal(tmp_path / "gone")
    (place,) = repository.rglob("iter1_val.json")
    kept = place.read_text()
    place.write_text(kept.replace("house", "hut"))
    with pytest.raises(DataError, match="not in squad_val") as caught:
        check_seal(repository)
    assert "iter1_val.json" in str(caught.value)
    place.unlink()
    with pytest.raises(DataError, match=r"1 of SEAL's files.*iter1_val\.json") as caught:
        check_seal(repository)
    assert "github.com" in str(caught.value)
    place.write_text(kept)
    (repository / "iter1_val.json").write_text(kept)
    assert len(check_seal(repository)) == 6, "the same file twice is one"
    (repository / "iter1_val.json").write_text(kept.replace("One", "Three"))
    with pytest.raises(DataError, match="2 different files iter1_val"):
        check_seal(repository)


def test_passages_to_learn_on_are_not_those_to_validate_on(repository: Path) -> None:
    (place,) = repository.rglob("squad_train.json")
    place.write_text(json.dumps(passages(2, "house")))
    with pytest.raises(DataError, match="2 passages are among"):
        check_seal(repository)


def test_nothing_of_somebodys_own_is_replaced(repository: Path, tmp_path: Path) -> None:
    into = tmp_path / "data"
    into.mkdir()
    (into / "squad_val.json").write_text("mine")
    with pytest.raises(UsageError, match="already"):
        link_seal(check_seal(repository), into)
    assert (into / "squad_val.json").read_text() == "mine"


def test_the_verb(repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into = tmp_path / "data" / "seal"
    assert main(["data", "seal", str(repository), "--into", str(into), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [file["name"] for file in printed] == [*PASSAGES, *SELF_EDITS]
    assert main(["data", "seal", str(repository), "--into", str(into)]) == 0
    assert "squad_val.json" in capsys.readouterr().out
    settings = make_settings({"heldout": str(into / "squad_val.json")})
    assert len(heldout_contexts(settings)) == 8


def test_the_papers_200_passages_are_the_first_of_a_shuffle() -> None:
    """Of the 2,067 validation passages 1,967 are here, without those that stand at 100 to 199."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the passages in {SHARED}")
    pool = json.loads((SHARED / "dev_pool.json").read_text("utf-8"))
    first = json.loads((SHARED / "val_first100.json").read_text("utf-8"))
    order = list(range(2067))
    random.Random(42).shuffle(order)
    there = sorted(set(range(2067)) - set(order[100:200]))
    at = {passage["context"]: there[number] for number, passage in enumerate(pool)}
    assert [at[passage["context"]] for passage in first] == order[:100]


def test_held_out_passages_are_shuffled_as_a_list_is(tmp_path: Path) -> None:
    path = tmp_path / "val.json"
    path.write_text(json.dumps(passages(20, "house")))
    settings = make_settings({"heldout": str(path), "heldout_shuffle": 42, "heldout_contexts": 5})
    expected = passages(20, "house")
    random.Random(42).shuffle(expected)
    assert [c.title for c in heldout_contexts(settings)] == [p["title"] for p in expected[:5]]
