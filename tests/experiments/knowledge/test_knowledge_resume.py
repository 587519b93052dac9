"""A whole run, killed again and again, ends as if nothing had happened; a changed one is refused by
name.
"""

import json
import os
import random
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from selfedit.config import make_settings
from selfedit.errors import DataError, RunFolderError, UsageError
from selfedit.experiments.knowledge.train import run_knowledge
from selfedit.run.folder import RunFolder
from selfedit.storage.files import hash_folder
from tiny_llama import made_tokenizer, tiny_llama
from tiny_run import contexts, tiny_settings

KILLS = 20


class Runs:
    """Talks to the warm process of ``forked_runs.py``."""

    def __init__(self, model: Path) -> None:
        command = [sys.executable, str(Path(__file__).with_name("forked_runs.py")), str(model)]
        tests = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
        one_thread = os.environ | {
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONPATH": paths,
        }
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=one_thread
        )
        assert self.process.stdout.readline() == "ready\n"

    def __call__(self, folder, settings, steps=None, delay=0.0):
        request = {
            "folder": str(folder),
            "settings": settings.model_dump(mode="json"),
            "steps": steps,
            "delay": delay,
        }
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model and two files of passages."""
    folder = tmp_path_factory.mktemp("experiment")
    tokenizer = made_tokenizer()
    tokenizer.save_pretrained(folder / "model")
    tiny_llama(len(tokenizer)).save_pretrained(folder / "model")
    write_passages(folder / "train.json", 0)
    write_passages(folder / "heldout.json", 3)
    return folder


def write_passages(path, start, text=None):
    forms = [
        {
            "title": each.title,
            "context": text or each.text,
            "questions": [{"question": q.text, "answer": q.answers[0]} for q in each.questions],
        }
        for each in contexts(3, start)
    ]
    path.write_text(json.dumps(forms), encoding="utf-8")


@pytest.fixture(scope="module")
def settings(place):
    return tiny_settings(
        model=str(place / "model"),
        device="cpu",
        seed=3,
        train=str(place / "train.json"),
        heldout=str(place / "heldout.json"),
        inner__group=1,
    )


@pytest.fixture(scope="module")
def runs(place):
    talking = Runs(place / "model")
    yield talking
    talking.close()


@pytest.fixture(scope="module")
def uninterrupted(runs, place, settings):
    done = runs(place / "whole", settings)
    assert (done["code"], done["error"]) == (0, "")
    return done


def without_seconds(value):
    """A row as plain data, its times left out wherever they are in it."""
    if isinstance(value, dict):
        return {name: without_seconds(inner) for name, inner in value.items() if name != "seconds"}
    return [without_seconds(inner) for inner in value] if isinstance(value, tuple | list) else value


def content(folder):
    """All that a run has to show for itself, but its times."""
    with RunFolder.read(folder) as run:
        tables = {}
        for kind in ("self_edits", "trials", "rewards"):
            for place in run.ledger.places():
                tables[kind, place] = [
                    without_seconds(asdict(row)) for row in getattr(run.ledger, kind)(place)
                ]
        steps = {row.name: row.payload_json for row in run.ledger.steps()}
        counts = {(row.place, row.part): row.count for row in run.ledger.timings()}
        metrics = [
            {name: value for name, value in line.items() if name != "seconds"}
            for line in run.metrics()
        ]
        return tables, steps, counts, metrics


def stored(folder):
    """How many rows the run has stored."""
    if not (folder / "ledger.sqlite").exists():
        return 0
    try:
        return sum(map(len, content(folder)[0].values()))
    except RunFolderError:  # killed while the ledger was made
        return 0


def check_equal(folder, whole):
    assert content(folder) == content(whole)
    for name in ("results.json", "config.toml"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    assert hash_folder(folder / "policy") == hash_folder(whole / "policy")
    assert not list(folder.rglob(".selfedit-*"))


@pytest.mark.slow
def test_killed_twenty_times(runs, uninterrupted, place, settings):
    steps, step = uninterrupted["steps"], uninterrupted["seconds"] / uninterrupted["steps"]
    assert steps > 2 * KILLS
    moments, folder = random.Random(0), place / "killed"
    reached = 0
    for kill in range(KILLS):
        # The steps done rise evenly to nearly all of them; every fourth kill falls into a start.
        goal = steps * (kill + 1) / (KILLS + 3)
        ahead = 0 if kill % 4 == 0 else max(1, round(goal - reached))
        delay = moments.uniform(0, 2 * step if ahead == 0 else step)
        done = runs(folder, settings, ahead, delay)
        assert done["code"] == -9, f"it ended before it was killed: {done}"
        reached = steps * stored(folder) / stored(place / "whole")
        assert not (folder / "results.json").exists()
    assert reached > steps / 2
    last = runs(folder, settings)
    assert (last["code"], last["error"]) == (0, "")
    assert last["steps"] < steps / 2, "what was done was done again"
    check_equal(folder, place / "whole")


@pytest.mark.slow
def test_the_same_seed_twice_and_another_seed(runs, uninterrupted, place, settings):
    assert runs(place / "twice", settings)["code"] == 0
    check_equal(place / "twice", place / "whole")
    again = runs(place / "twice", settings)  # a finished run does nothing
    assert (again["code"], again["steps"]) == (0, 0)
    check_equal(place / "twice", place / "whole")
    assert runs(place / "other", settings.model_copy(update={"seed": 4}))["code"] == 0
    assert (place / "other" / "results.json").read_bytes() != (
        place / "whole" / "results.json"
    ).read_bytes()


@pytest.mark.slow
def test_the_results(uninterrupted, place, settings):
    results = json.loads((place / "whole" / "results.json").read_text())
    assert [row["method"] for row in results["rows"]] == ["base", "passage", "own", "seal", "gold"]
    assert all(row["n"] == 3 and 0 <= row["accuracy"] <= 1 for row in results["rows"])
    assert [(gap["a"], gap["b"]) for gap in results["paired"]] == [
        ("passage", "base"),
        ("own", "passage"),
        ("seal", "own"),
        ("gold", "seal"),
    ]
    assert [(done["round"], done["kept"]) for done in results["rounds"]] == [(1, 3), (2, 3)]
    assert make_settings(results["settings"]) == settings


@pytest.mark.slow
def test_a_changed_setting_or_changed_data_is_refused_by_name(runs, uninterrupted, place, settings):
    changed = settings.model_dump() | {
        "answer": settings.answer.model_copy(update={"max_new_tokens": 4}).model_dump()
    }
    refused = runs(place / "whole", make_settings(changed))
    assert refused["code"] == 2 and refused["error"].startswith("SettingsChanged")
    assert "answer.max_new_tokens: 3 → 4" in refused["error"]
    kept = (place / "heldout.json").read_bytes()
    try:
        write_passages(place / "heldout.json", 3, text="Other words stand here.")
        refused = runs(place / "whole", settings)
    finally:
        (place / "heldout.json").write_bytes(kept)
    assert refused["code"] == 2 and refused["error"].startswith("SettingsChanged")
    assert "data.heldout: " in refused["error"] and "data.train" not in refused["error"]
    check_equal(place / "whole", place / "whole")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"rl": {"contexts": 4}}, DataError, "need 4 passages, there are 3"),
        ({"answer": {"grader": "psychic"}}, UsageError, "psychic"),
        ({"eval": {"methods": ["magic"]}}, UsageError, "magic"),
        ({"edit": {"passage": False}}, UsageError, "method 'passage'"),
        ({"heldout_contexts": 9}, DataError, "9 held-out passages asked for, there are 3"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_written(
    place, tmp_path, change, error, said
):
    values = {
        "train": str(place / "train.json"),
        "heldout": str(place / "heldout.json"),
        "rl": {"contexts": 3},
    }
    with pytest.raises(error, match=said):
        run_knowledge(tmp_path / "run", make_settings(values | change))
    assert not (tmp_path / "run").exists()


def test_passages_that_are_trained_on_are_not_held_out(place, tmp_path):
    values = {
        "train": str(place / "train.json"),
        "heldout": str(place / "train.json"),
        "rl": {"contexts": 3},
    }
    with pytest.raises(UsageError, match="3 passages are both trained on and held out"):
        run_knowledge(tmp_path / "run", make_settings(values))
    assert not (tmp_path / "run").exists()


def test_training_passages_without_questions_are_refused(place, tmp_path):
    bare = tmp_path / "bare.md"
    bare.write_text("# A title\n\nOne passage of words.\n", encoding="utf-8")
    with pytest.raises(DataError, match="no questions"):
        run_knowledge(
            tmp_path / "run",
            make_settings({"train": str(bare), "heldout": str(place / "heldout.json")}),
        )
    assert not (tmp_path / "run").exists()
