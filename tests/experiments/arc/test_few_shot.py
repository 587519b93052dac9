"""A whole few-shot run on a random model: the rows, what is recorded, that it goes on where it
stopped.
"""

import json

import pytest

from selfedit.errors import DataError, FormatError, Interrupted, UsageError
from selfedit.experiments.arc.few_shot import (
    few_shot_data,
    read_sets,
    run_few_shot,
    split_sets,
)
from selfedit.experiments.arc.verbs import run_filter, time_together
from selfedit.report.folder import write_report
from selfedit.rl.evaluate import held_out
from selfedit.rl.rounds import rl_place
from selfedit.run.folder import RunFolder
from selfedit.run.interrupt import Interrupt
from selfedit.run.records import Phase, Place
from selfedit.storage.neutral import file_name
from tiny_arc import arc_settings, small_task, write_tasks
from trials import answers_in, trainings_in


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    train = [small_task("mirror", 1), small_task("upside_down", 2, 3)]
    return write_tasks(folder / "train.json", train), write_tasks(
        folder / "heldout.json", [small_task("half_turn", 3)]
    )


@pytest.fixture(scope="module")
def settings(small_folder, files):
    return arc_settings(small_folder, *files)


@pytest.fixture(scope="module")
def whole(settings, tmp_path_factory):
    """The folder of an uninterrupted run, and its results."""
    folder = tmp_path_factory.mktemp("few-shot") / "whole"
    return folder, run_few_shot(folder, settings)


def test_the_four_rows(whole):
    _, results = whole
    assert [(r["method"], r["n"], r["trials"]) for r in results["rows"]] == [
        ("base", 1, 1),
        ("own", 1, 2),
        ("seal", 1, 2),
        ("oracle", 1, 1),
    ]
    assert results["names"]["base"] == "in-context learning"
    assert results["tasks"] == {
        "train": ["rule-mirror-1", "rule-upside_down-2"],
        "heldout": ["rule-half_turn-3"],
    }
    assert (
        results["rounds"][0]["self_edits"] == 6 and results["rounds"][0]["kept"] == 6
    )  # the threshold keeps all


def test_every_sampled_self_edit_is_valid_and_its_sampling_recorded(whole):
    folder, results = whole
    with RunFolder.read(folder) as run:
        rows = run.ledger.self_edits(rl_place(1)) + run.ledger.self_edits(held_out("own"))
    assert len(rows) == 8 and all(row.rejected is None and row.finish == "stop" for row in rows)
    noted = [json.loads(row.directives_json) for row in rows]
    assert all(note["constrained"] and note["tries"] == 1 and not note["refused"] for note in noted)
    assert len({json.dumps(note["self_edit"]) for note in noted}) > 3
    assert all(policy["valid"] == 1 and policy["constrained"] for policy in results["policies"])


def test_answers_are_one_a_prompt_and_graded(whole):
    folder, _ = whole
    with RunFolder.read(folder) as run:
        rows = answers_in(run.ledger, held_out("oracle"))
    # two demonstrations: two leave-one-out prompts from each of two sides
    asked = ["flip_rows/2", "flip_rows/3", "identity/0", "identity/1"]
    assert [row.question_id for row in rows] == [f"rule-half_turn-3/t0/{place}" for place in asked]
    assert all(row.grader == "grid" and 0 <= row.score <= 1 for row in rows)
    assert all(set(row.text) <= set("0123456789\n.IO") for row in rows)


def test_departures_are_said_under_the_table(whole, settings, files, tmp_path):
    _, results = whole
    said = " ".join(results["notes"])
    for words in (
        "not filtered",
        "14 grid tokens",
        "under their grammar",
        "0.001, 0.05",
        "capped otherwise",
    ):
        assert words in said
    assert "primed" not in said


def test_signal_and_change_are_reported(whole):
    _, results = whole
    (signal,) = results["signal"]
    assert signal["n"] == 2 and 0 <= signal["undecided"] <= 2
    titles = [table["title"] for table in results["tables"]]
    assert titles[:2] == ["What the policy asks for", "Self-edits of held-out tasks"]
    assert all(
        len(row) == len(table["columns"]) for table in results["tables"] for row in table["rows"]
    )


class StopAfter(Interrupt):
    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def check(self):
        if self.left == 0:
            raise Interrupted("stopped")
        self.left -= 1


def test_a_stopped_run_goes_on_and_ends_the_same(whole, settings, tmp_path):
    folder = tmp_path / "run"
    for steps in (2, 1, 3, 2):
        with pytest.raises(Interrupted):
            run_few_shot(folder, settings, interrupt=StopAfter(steps))
    assert run_few_shot(folder, settings) == whole[1]
    assert (folder / "results.json").read_bytes() == (whole[0] / "results.json").read_bytes()


def test_the_report_has_tasks_as_pictures(whole):
    written = write_report(whole[0])
    assert [p.name[:-15] for p in written if p.name.startswith("task-")] == [
        "task-rule-half-turn-3"
    ]
    page = written[0].read_text()
    for words in (
        "in-context learning",
        "What the policy asks for",
        "Self-edits were sampled under their grammar",
    ):
        assert words in page


def test_free_sampling_is_counted_and_bounded(small_folder, files, tmp_path):
    settings = arc_settings(
        small_folder,
        *files,
        arc__constrained=False,
        arc__tries=3,
        edit__max_new_tokens=12,
        rl__rounds=0,
    )
    results = run_few_shot(tmp_path / "free", settings)
    (policy,) = results["policies"]
    assert policy["valid"] == 0 and policy["tries"] == 3 and sum(policy["refused"].values()) >= 6
    assert policy["untrained_loops"] == 2  # refused counts as no training
    assert any("sampled freely, at most 3 tries" in note for note in results["notes"])
    with RunFolder.read(tmp_path / "free") as run:
        assert all(row.rejected for row in run.ledger.self_edits(held_out("own")))


def test_too_many_steps_is_no_training(small_folder, files, tmp_path):
    settings = arc_settings(small_folder, *files, arc__spec__max_steps=1, rl__rounds=0)
    (policy,) = run_few_shot(tmp_path / "steps", settings)["policies"]
    assert policy["valid"] == 1 and policy["untrained_loops"] == 2


def test_the_graded_reward_is_used_and_named(small_folder, files, tmp_path):
    settings = arc_settings(small_folder, *files, arc__reward="cells", rl__reward__rule="best-of-m")
    results = run_few_shot(tmp_path / "cells", settings)
    assert any("share of right cells" in note for note in results["notes"])
    with RunFolder.read(tmp_path / "cells") as run:
        answers = answers_in(run.ledger, rl_place(1))
        for row in run.ledger.rewards(rl_place(1)):
            scores = [
                a.score
                for a in answers
                if (a.context_id, a.candidate) == (row.context_id, row.candidate)
            ]
            assert row.accuracy == pytest.approx(sum(scores) / len(scores))


def test_the_filter_keeps_what_oracle_solves_and_says_so(
    small_folder, files, tmp_path, monkeypatch
):
    from selfedit.experiments.arc import few_shot

    asked = []

    def solved(session, contexts):
        asked.extend(context.id for context in contexts)
        return {context.id: context.id != "rule-mirror-1" for context in contexts}

    monkeypatch.setattr(few_shot, "solved_by_oracle", solved)
    settings = arc_settings(small_folder, *files, arc__filter=True)
    results = run_few_shot(tmp_path / "kept", settings)
    assert len(asked) == 3 and results["tasks"]["train"] == ["rule-upside_down-2"]
    assert results["rounds"][0]["contexts"] == 1  # two were asked for, one is left


def test_a_filter_that_leaves_nothing_ends_with_the_reason(small_folder, files, tmp_path):
    with pytest.raises(DataError, match="0 tasks to learn on and 0 to measure") as caught:
        run_few_shot(tmp_path / "none", arc_settings(small_folder, *files, arc__filter=True))
    assert caught.value.where == "arc.filter"


def test_the_filters_verb_records_every_trial(small_folder, files, tmp_path):
    settings = arc_settings(small_folder, *files, arc__filter_repeats=2)
    results = run_filter(tmp_path / "filter", settings)
    assert len(results["filter"]) == 3 and results["kept"] == [
        n for n, solved in results["filter"].items() if solved
    ]
    assert any(f"{len(results['kept'])} of 3 candidates" in note for note in results["notes"])
    with RunFolder.read(tmp_path / "filter") as run:
        assert len(trainings_in(run.ledger, Place(Phase.FILTER))) == 6


def test_held_out_tasks_can_be_taken_from_the_training_ones(small_folder, files, tmp_path):
    settings = arc_settings(
        small_folder, files[0], None, arc__heldout_tasks=1, rl__contexts=1, rl__rounds=0
    )
    tasks = run_few_shot(tmp_path / "split", settings)["tasks"]
    assert (
        len(tasks["heldout"]) == 1
        and len(tasks["train"]) == 1
        and tasks["heldout"] != tasks["train"]
    )


def test_eight_self_edits_together_answer_as_one_at_a_time(small_folder, files):
    settings = arc_settings(small_folder, *files, dtype="float64")
    found = time_together(settings, 8)
    assert found["jobs"] == 8 and found["answers"] == 8 * 4 and found["equal"] == found["answers"]
    assert all(seconds > 0 for way in found["seconds"].values() for seconds in way.values())


@pytest.mark.parametrize(
    ("change", "error", "what"),
    [
        ({"eval__methods": ["passage"]}, UsageError, "unknown method 'passage'"),
        ({"arc__train_ids": ["nothing"]}, DataError, "no task has this id"),
        ({"arc__max_task_tokens": 3}, DataError, "no task is left"),
        ({"arc__answer__views": ["sideways"]}, UsageError, "no view 'sideways'"),
        ({"rl__contexts": 9}, DataError, "need 9 passages"),
        ({"arc__train": "/nowhere.json"}, DataError, "cannot be read"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(
    small_folder, files, tmp_path, change, error, what
):
    with pytest.raises(error, match=what):
        run_few_shot(tmp_path / "run", arc_settings(small_folder, *files, **change))
    assert not (tmp_path / "run").exists()


def test_a_task_may_not_be_trained_on_and_held_out_even_under_another_name(
    small_folder, files, tmp_path
):
    record = json.loads(files[1].read_text())
    both = json.loads(files[0].read_text()) | {"another": next(iter(record.values()))}
    (tmp_path / "both.json").write_text(json.dumps(both))
    with pytest.raises(UsageError, match="both trained on and held out"):
        run_few_shot(tmp_path / "run", arc_settings(small_folder, tmp_path / "both.json", files[1]))


def test_a_task_without_solutions_cannot_be_scored(small_folder, files, tmp_path):
    record = json.loads(files[0].read_text())
    for task in record.values():
        for pair in task["test"]:
            del pair["output"]
    (tmp_path / "blind.json").write_text(json.dumps(record))
    with pytest.raises(FormatError, match="no solutions"):
        run_few_shot(
            tmp_path / "run", arc_settings(small_folder, tmp_path / "blind.json", files[1])
        )


def test_a_held_out_split_is_found_again_by_the_report(small_folder, files, tmp_path):
    settings = arc_settings(
        small_folder, files[0], None, arc__heldout_tasks=1, rl__rounds=0, eval__methods=["base"]
    )
    (name,) = run_few_shot(tmp_path / "run", settings)["tasks"]["heldout"]
    assert file_name(name, before="task-", after=".png") in {
        path.name for path in write_report(tmp_path / "run")
    }


def test_no_held_out_task_shows_a_rule_that_the_model_is_primed_on(small_folder, files, tmp_path):
    train, heldout = files  # turns, which priming knows
    primed = arc_settings(small_folder, train, heldout, arc__prime={"tokens": 1000})
    with pytest.raises(UsageError, match=r"half_turn.*primed on") as caught:
        few_shot_data(primed)
    assert caught.value.where == "rule-half_turn-3" and "families" in str(caught.value.fix)
    others = {"tokens": 1000, "families": ("joining",)}
    assert few_shot_data(arc_settings(small_folder, train, heldout, arc__prime=others)).heldout
    unprimed = arc_settings(small_folder, train, heldout)
    assert few_shot_data(unprimed).heldout


def test_tasks_held_out_of_the_training_ones_are_not_primed_on(small_folder, tmp_path):
    tasks = [
        small_task(name, n) for n, name in enumerate(("mirror", "crop", "half_turn", "double"))
    ]
    path = write_tasks(tmp_path / "train.json", tasks)
    settings = arc_settings(
        small_folder, path, None, arc__prime={"tokens": 1000}, arc__heldout_tasks=2
    )
    contexts = read_sets(settings).train
    for seed in range(5):
        sets = split_sets(settings.model_copy(update={"seed": seed}), contexts)
        assert {c.id.split("-")[1] for c in sets.heldout} == {"crop", "double"}
        assert {c.id.split("-")[1] for c in sets.train} == {"mirror", "half_turn"}
