"""RL without labels: which own questions are kept, what they are worth as a reward, and training on
plain documents.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from selfedit.config import OwnQuestionSettings, make_settings, read_settings
from selfedit.errors import DataError, Interrupted, UsageError
from selfedit.experiments.knowledge.train import run_knowledge
from selfedit.experiments.rewards import own_questions
from selfedit.experiments.rewards.agreement import choices, rank_agreement
from selfedit.experiments.rewards.own_questions import run_own_questions
from selfedit.grading.grader import get_grader
from selfedit.lm.load import load
from selfedit.rl import opening
from selfedit.rl import own_questions as stage
from selfedit.rl.rounds import rl_place
from selfedit.run.folder import RunFolder
from selfedit.tasks.knowledge.own_questions import judge
from stopping import Stop
from tiny_run import LORA, HashGrader, MuteGrader, contexts
from trials import answers_in, likelihoods_in

RECIPES = Path(__file__).parents[3] / "recipes"
ASKED = "What is the tower built of?"


def verdict(written: str, shown: list[str], hidden: list[str], **changed):
    return judge(
        ASKED, written, shown, hidden, get_grader("contains"), OwnQuestionSettings(**changed)
    )


def test_kept_if_answered_alike_with_the_passage_and_not_without() -> None:
    shown = ["Basalt.", "The tower is built of basalt.", "basalt", "Granite", "It is basalt"]
    found = verdict("Basalt", shown, ["Bricks.", "It is built of stone.", "Wood", "steel", "glass"])
    assert (found.answer, found.agree, found.known, found.rejected) == ("Basalt", 0.8, 0.0, None)


@pytest.mark.parametrize(
    ("written", "shown", "hidden", "rejected"),
    [
        (
            "Basalt",
            ["Basalt", "Granite", "Wood", "Clay", "Steel"],
            ["x"] * 5,
            "answers with the passage differ",
        ),
        (
            "Basalt",
            ["Basalt"] * 5,
            ["basalt", "basalt", "a", "b", "c"],
            "known without the passage",
        ),
        ("", ["The tower is built of the tower"] * 5, ["x"] * 5, "no short answer"),
        (
            "a b c d e f g h i j",
            ["one two three four five six seven eight nine"] * 5,
            ["x"] * 5,
            "no short answer",
        ),
        ("...", ["", "\n", "?!", " ", "-"], ["x"] * 5, "no short answer"),
    ],
)
def test_rejected_with_the_reason(written, shown, hidden, rejected) -> None:
    assert verdict(written, shown, hidden).rejected == rejected


def test_what_most_answers_agree_on_is_the_answer_not_the_quizs_own() -> None:
    found = verdict("Granite", ["Basalt", "basalt", "It is basalt", "Basalt", "Granite"], ["x"] * 5)
    assert found.answer.lower() == "basalt" and found.rejected is None


def test_rank_agreement_by_hand() -> None:
    gold = {"a": [0.0, 0.5, 1.0], "b": [0.2, 0.2, 0.2], "c": [0.0, 1.0, 0.0]}
    own = {"a": [0.1, 0.2, 0.3], "b": [0.0, 1.0, 0.5], "c": [1.0, 1.0, 0.0]}
    found = rank_agreement(gold, own)
    # a: perfect; b: no ranking in gold; c: ranks (2, 2, ½...) give ½.
    assert found["spearman"]["n"] == 2 and found["spearman"]["mean"] == pytest.approx((1 + 0.5) / 2)
    assert found["without_ranking"] == 1 and found["without_best"] == 1
    assert found["top1"]["mean"] == pytest.approx((1 + 0.5) / 2)
    assert found["chance"]["mean"] == pytest.approx(1 / 3)
    picked = choices(gold, {"own-chosen": own})
    assert picked["own-chosen"] == {"a": 1.0, "b": 0.2, "c": 0.5}
    assert picked["random"]["c"] == pytest.approx(1 / 3) and picked["gold-chosen"]["c"] == 1.0


QUIZ = (
    "Question: What has the {n}?\nAnswer: A number of parts\nQuestion: What is a thing?\nAnswer:"
    " The {n}"
)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch):
    """A random model writes no quiz: its text is replaced by one, its answers to it stay its own."""
    read = stage.read_quiz
    monkeypatch.setattr(
        stage, "read_quiz", lambda task, text: read(task, QUIZ.format(n=len(text) % 7))
    )
    monkeypatch.setattr(opening, "get_grader", lambda *_: HashGrader())


@pytest.fixture
def small(tmp_path: Path, small_folder: Path):
    def made(**changed):
        forms = [
            {
                "title": c.title,
                "context": c.text,
                "id": c.id,
                "questions": [{"question": q.text, "answers": q.answers} for q in c.questions],
            }
            for c in contexts(4)
        ]
        (tmp_path / "train.json").write_text(json.dumps(forms))
        rl = {
            "contexts": 3,
            "candidates": 3,
            "own": {"votes": 3, "agree": 0.3, "known": 0.9},
        } | changed.pop("rl", {})
        mstep = {"lora": LORA, "optim": {"epochs": 1, "lr": 0.05}}
        values = {
            "model": str(small_folder),
            "device": "cpu",
            "train": str(tmp_path / "train.json"),
            "heldout": None,
            "edit": {"max_new_tokens": 10},
            "answer": {"max_new_tokens": 3},
            "inner": {"lora": LORA, "optim": {"epochs": 1, "lr": 0.05}, "group": 3},
            "rl": {"mstep": mstep, **rl},
        }
        return make_settings(values | changed)

    return made


def test_both_rewards_of_the_same_adapters(written, small, small_folder, tmp_path: Path) -> None:
    lm = load(str(small_folder), device="cpu")
    found = run_own_questions(tmp_path / "run", small(), lm=lm)
    assert [row["method"] for row in found["rows"]] == [
        "base", "random", "own-chosen", "own-likelihood-chosen", "gold-chosen",
    ]  # fmt: skip
    assert found["survivors"]["written"] == 6 and 0 < found["survivors"]["kept"] <= 6
    with RunFolder.read(tmp_path / "run") as run:
        answers = answers_in(run.ledger, own_questions.PLACE)
        likelihoods = likelihoods_in(run.ledger, own_questions.PLACE)
    for name, of in found["contexts"].items():
        for kind in ("gold", "own"):
            right = [
                a
                for a in answers
                if a.context_id == name and ("/own" in a.question_id) == (kind == "own")
            ]
            for candidate, value in enumerate(of[kind]):
                grades = [a.correct for a in right if a.candidate == candidate]
                assert value == pytest.approx(sum(grades) / len(grades))
        # The same adapters say how likely the own answers are; a question's tokens decide, so no
        # two are level.
        read = [a for a in likelihoods if a.context_id == name and "/own" in a.question_id]
        for candidate, value in enumerate(of["own_likelihood"]):
            marks = [a.value for a in read if a.candidate == candidate]
            assert value == pytest.approx(sum(marks) / len(marks)) and value < 0
        assert len(set(of["own_likelihood"])) == 3
    assert found["agreement_likelihood"]["top1"] is not None
    assert ("own-chosen", "random") in [(gap["a"], gap["b"]) for gap in found["paired"]]
    assert len({(gap["a"], gap["b"]) for gap in found["paired"]}) == len(found["paired"])


def test_passages_without_a_verdict_are_left_out(
    written, small, small_folder, tmp_path: Path, monkeypatch
) -> None:
    lm = load(str(small_folder), device="cpu")
    whole = run_own_questions(tmp_path / "whole", small(), lm=lm)
    lost = next(iter(whole["contexts"]))
    # Own questions are judged by the same grader: only the gold ones name the passage.
    monkeypatch.setattr(opening, "get_grader", lambda *_: MuteGrader(f"of {lost}?"))
    found = run_own_questions(tmp_path / "some", small(), lm=lm)
    assert set(found["contexts"]) == set(whole["contexts"]) - {lost}
    assert (whole["without_verdict"], found["without_verdict"]) == (0, 1)
    monkeypatch.setattr(opening, "get_grader", lambda *_: MuteGrader("What is number"))
    with pytest.raises(DataError, match="no passage has a verdict"):
        run_own_questions(tmp_path / "none", small(), lm=lm)


def test_a_stopped_run_goes_on_and_ends_the_same(
    written, small, small_folder, tmp_path: Path
) -> None:
    lm = load(str(small_folder), device="cpu")
    whole = run_own_questions(tmp_path / "whole", small(), lm=lm)
    stops, checks = 0, 1
    while True:
        try:
            again = run_own_questions(tmp_path / "parts", small(), lm=lm, interrupt=Stop(checks))
            break
        except Interrupted:
            stops, checks = stops + 1, checks + 1
    assert stops >= 2 and again == whole


def test_reinforcement_learning_on_plain_documents(
    written, small, small_folder, tmp_path: Path
) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    for n in range(3):
        (documents / f"thing-{n}.md").write_text(
            f"# Thing {n}\nThe thing {n} has a number of parts in it.\n"
        )
    settings = small(
        train=str(documents), rl={"questions": "own", "contexts": 2, "reward": {"threshold": -1}}
    )
    lm = load(str(small_folder), device="cpu")
    found = run_knowledge(tmp_path / "run", settings, lm=lm)
    assert found["rounds"][0]["self_edits"] >= 3
    with RunFolder.read(tmp_path / "run") as run:
        asked = {a.question_id for a in answers_in(run.ledger, rl_place(1))}
        assert asked and all("/own" in name for name in asked)
        assert (
            len(run.ledger.self_edits(stage.PLACE)) == 2
        )  # of the passages that are used, no others
        again = asdict(run.ledger.rewards(rl_place(1))[0])
    lm = load(str(small_folder), device="cpu")
    run_knowledge(tmp_path / "run", settings, lm=lm)
    with RunFolder.read(tmp_path / "run") as run:
        assert asdict(run.ledger.rewards(rl_place(1))[0]) == again


def test_documents_without_questions_need_own_ones(small, tmp_path: Path) -> None:
    (tmp_path / "thing.md").write_text("# Thing\nThe thing has a number of parts in it.\n")
    with pytest.raises(DataError, match="no questions"):
        run_knowledge(tmp_path / "run", small(train=str(tmp_path / "thing.md"), rl={"contexts": 1}))


def test_a_model_that_writes_nothing_usable_is_told_so(small, small_folder, tmp_path: Path) -> None:
    lm = load(str(small_folder), device="cpu")
    for run, name, changed in (
        (run_own_questions, "a", {}),
        (run_knowledge, "b", {"rl": {"questions": "own"}}),
    ):
        with pytest.raises(DataError, match="no question that the model wrote is usable"):
            run(tmp_path / name, small(**changed), lm=lm)


@pytest.mark.parametrize(
    ("changed", "said"), [({"workers": 2}, "this process"), ({"rl": {"candidates": 1}}, "ranking")]
)
def test_what_cannot_run_is_refused(small, tmp_path: Path, changed, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run_own_questions(tmp_path / "run", small(**changed))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["own-questions-smoke", "own-questions-cpu"])
def test_every_step_of_every_recipe_runs(
    name: str, written, small, small_folder, tmp_path: Path
) -> None:
    recipe, short = read_settings(RECIPES / f"{name}.toml"), small()
    rl = recipe.rl.model_copy(update={"contexts": 2, "candidates": 2, "own": short.rl.own})
    changed = {
        "rl": rl,
        "answer": short.answer,
        "inner": short.inner,
        "train": short.train,
        "model": str(small_folder),
    }
    edit = recipe.edit.model_copy(update={"max_new_tokens": 10})
    settings = recipe.model_copy(update=changed | {"edit": edit})
    found = run_own_questions(tmp_path / "run", settings, lm=load(str(small_folder), device="cpu"))
    assert found["rows"][0]["n"] >= 1
