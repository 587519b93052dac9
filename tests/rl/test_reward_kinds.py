"""Rewards beside the true one: likelihoods against transformers, marks read strictly, rounds run by
each signal.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from fake_endpoint import FakeEndpoint, last_message
from selfedit.config import RewardSettings
from selfedit.errors import DataError, UsageError
from selfedit.inner.adapt import adapt
from selfedit.lm.likelihood import answer_losses
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.lora import Adapter
from selfedit.rl.plan import plan_rounds
from selfedit.rl.rest_em import run_rounds
from selfedit.rl.rewards.proxy import read_marks
from selfedit.rl.rounds import rl_place
from selfedit.rl.sample import sample
from selfedit.rl.scoring import gold_text, run_trials
from selfedit.rl.selection import rewards
from selfedit.rl.trial import plan_trials
from selfedit.tasks.knowledge.edits import ParsedEdit
from selfedit.tasks.knowledge.task import KnowledgeTask
from tiny_run import context, contexts, session_in, tiny_settings
from trials import answers_in, likelihoods_in, trainings_in


@pytest.fixture
def lm(small_folder: Path) -> LanguageModel:
    return load(str(small_folder), device="cpu")


def by_transformers(
    folder: Path, adapter: Adapter | None, ids: tuple[int, ...], marks: tuple[bool, ...]
) -> float:
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for name in adapter.tensors if adapter else ():
            model.get_submodule(name).weight += adapter.delta(name)
        logits = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    found = [float(-logits[t - 1, ids[t]]) for t in range(1, len(ids)) if marks[t]]
    return sum(found) / len(found)


def test_losses_under_adapters_are_those_of_the_merged_model(
    lm: LanguageModel, small_folder: Path
) -> None:
    task = KnowledgeTask(lm, tiny_settings())
    passage = context("c", questions=4)
    golds = [gold_text(task.gold(passage, question)) for question in passage.questions]
    assert sum(golds[0][1]) == len(lm.encode("gold 0")) + 1  # the answer and its end
    jobs = [task.job(passage, ParsedEdit((f"line {n}",), ()), seed=n) for n in range(2)]
    adapters = adapt(lm, jobs)
    asked = [None, adapters[0], adapters[1], adapters[0]]
    found = answer_losses(lm, golds, asked)
    assert found == pytest.approx(
        [answer_losses(lm, [g], [a])[0] for g, a in zip(golds, asked, strict=True)], abs=1e-5
    )
    for gold, adapter, loss in zip(golds, asked, found, strict=True):
        assert loss == pytest.approx(by_transformers(small_folder, adapter, *gold), abs=1e-4)
    with pytest.raises(DataError, match="answer 0"):
        answer_losses(lm, [((1, 2), (True, False))], [None])


def test_rounds_by_likelihood_decode_nothing_and_keep_the_likeliest(
    lm: LanguageModel, tmp_path: Path
) -> None:
    settings = tiny_settings(rl__reward__signal="loglik", rl__rounds=1, rl__repeats=2)
    session = session_in(tmp_path / "run", lm, settings)
    with session.run as run:
        rounds, _ = run_rounds(session, contexts(3))
        assert answers_in(run.ledger, rl_place(1)) == []
        rows = likelihoods_in(run.ledger, rl_place(1))
        assert len(rows) == 3 * 3 * (1 + 3 * 2)
        assert all(row.value < 0 for row in rows)
        for reward in run.ledger.rewards(rl_place(1)):
            of = [
                r.value
                for r in rows
                if (r.context_id, r.candidate) == (reward.context_id, reward.candidate)
            ]
            base = [
                r.value for r in rows if (r.context_id, r.candidate) == (reward.context_id, None)
            ]
            assert reward.accuracy == pytest.approx(sum(of) / len(of))
            assert reward.baseline == pytest.approx(sum(base) / len(base))
        kept = [reward for reward in run.ledger.rewards(rl_place(1)) if reward.kept]
        assert rounds[0].kept == len(kept) == 3
        for reward in kept:
            others = [
                r for r in run.ledger.rewards(rl_place(1)) if r.context_id == reward.context_id
            ]
            assert reward.accuracy == max(other.accuracy for other in others)
        run_rounds(replace(session), contexts(3))  # all of it is in the ledger
        assert len(likelihoods_in(run.ledger, rl_place(1))) == len(rows)


def test_both_rewards_of_one_training_count_its_seconds_once(
    lm: LanguageModel, tmp_path: Path
) -> None:
    session = session_in(tmp_path / "run", lm, tiny_settings())
    asked = contexts(3)
    with session.run as run:
        place = rl_place(1)
        edits = sample(session, place, asked, 2)
        planned = plan_trials(session, place, asked, edits, range(1))
        run_trials(session, place, planned, ("answers", "likelihoods"))
        timings = {row.part: row for row in run.ledger.timings() if row.part != "sampling"}
        assert timings.keys() == {"adapting", "answering", "grading", "reading"}
        trained = trainings_in(run.ledger, place)
        assert len(trained) == timings["adapting"].count == 6 and all(
            row.seconds > 0 for row in trained
        )
        assert (
            len(answers_in(run.ledger, place))
            == len(likelihoods_in(run.ledger, place))
            == 3 * 3 * 2
        )


@pytest.mark.server
def test_rounds_by_proxy_run_no_inner_loop(lm: LanguageModel, tmp_path: Path) -> None:
    pytest.importorskip("openai")

    def marks(body: dict) -> str:
        mark = 1 + len(last_message(body)) % 5
        return json.dumps(dict.fromkeys(("length", "diversity", "quality", "correctness"), mark))

    with FakeEndpoint(marks) as server:
        endpoint = {
            "url": server.url,
            "model": "m",
            "key_env": None,
            "cache": str(tmp_path / "kept.sqlite"),
        }
        settings = tiny_settings(rl__reward__signal="proxy", rl__rounds=1, judge__endpoint=endpoint)
        session = session_in(tmp_path / "run", lm, settings)
        with session.run as run:
            run_rounds(session, contexts(3))
            assert trainings_in(run.ledger, rl_place(1)) == []
            rows = run.ledger.rewards(rl_place(1))
        assert len(rows) == 9
        assert all(row.accuracy in (0.2, 0.4, 0.6, 0.8, 1.0) and row.baseline == 0 for row in rows)
        assert sum(row.kept for row in rows) == 3
    assert len(server.asked) <= 9


def test_a_proxy_without_a_judge_is_refused() -> None:
    with pytest.raises(UsageError, match="judge"):
        plan_rounds(tiny_settings(rl__reward__signal="proxy"), contexts(3))


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ('{"length": 5, "diversity": 5, "quality": 5, "correctness": 5}', 1.0),
        ('Sure: {"length": 1, "diversity": 2, "quality": 3, "correctness": 4}.', 0.5),
        ('{"length": 6, "diversity": 2, "quality": 3, "correctness": 4}', math.nan),
        ('{"length": 1, "diversity": 2, "quality": 3}', math.nan),
        ('{"length": true, "diversity": 2, "quality": 3, "correctness": 4}', math.nan),
        ("5 5 5 5", math.nan),
        ("{not json}", math.nan),
    ],
)
def test_marks_are_read_strictly(text: str, share: float) -> None:
    assert read_marks(text) == pytest.approx(share, nan_ok=True)


def test_what_was_not_measured_is_never_kept() -> None:
    for rule in ("best-of-m", "improves"):
        settings = RewardSettings(rule=rule, threshold=-1)
        assert [kept for _, kept in rewards([math.nan, 0.2, math.nan], 0.1, settings)] == [
            False,
            True,
            False,
        ]
        assert not any(kept for _, kept in rewards([0.5, 0.2], math.nan, settings))
