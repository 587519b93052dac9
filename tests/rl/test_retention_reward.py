"""A reward with retention: what it subtracts, where inner loops start, and that a stopped round
goes on the same.
"""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from selfedit.errors import DataError, RunFolderError
from selfedit.lm.generate import generate
from selfedit.lm.load import load
from selfedit.lm.lora import Adapter
from selfedit.lm.stack import on_top
from selfedit.rl import e_step
from selfedit.rl.plan import plan_rounds
from selfedit.rl.rest_em import run_rounds
from selfedit.rl.rewards.retention import earlier_contexts
from selfedit.rl.rounds import rl_place
from tiny_run import contexts, session_in, tiny_settings
from trials import answers_in

RETAIN = {"rl__rounds": 1, "rl__reward": {"threshold": -1.0, "retention": 0.5, "earlier": 2}}


@pytest.fixture
def opened(small_folder, tmp_path):
    sessions = []

    def make(name: str = "run", **changed):
        settings = tiny_settings(**(RETAIN | changed))
        sessions.append(
            session_in(tmp_path / name, load(str(small_folder), device="cpu"), settings)
        )
        return sessions[-1]

    yield make
    for session in sessions:
        session.run.close()


def test_the_reward_is_gain_less_what_was_lost(opened) -> None:
    session, passages = opened(), contexts(6)
    run_rounds(session, passages)
    answers = answers_in(session.run.ledger, rl_place(1))
    rows = session.run.ledger.rewards(rl_place(1))
    earlier = session.run.ledger.step("earlier-1")["passages"]
    assert len(earlier) == 2 and not set(earlier) & {row.context_id for row in rows}
    differing = 0
    for row in rows:

        def share(candidate: int, own: bool, row=row) -> float:
            found = [
                a.correct
                for a in answers
                if (a.context_id, a.candidate) == (row.context_id, candidate)
                and a.question_id.startswith(f"{row.context_id}/") == own
            ]
            assert len(found) == (3 if own else 6)
            return sum(found) / len(found)

        assert row.accuracy == pytest.approx(share(row.candidate, True))
        assert row.baseline == pytest.approx(share(None, True))
        loss = share(None, False) - share(row.candidate, False)
        assert row.reward == pytest.approx(row.accuracy - 0.5 * loss)
        differing += loss != 0
    assert differing
    for context_id in {row.context_id for row in rows}:
        of = [row for row in rows if row.context_id == context_id]
        assert next(r for r in of if r.kept).reward == max(r.reward for r in of)


def test_inner_loops_start_on_top_of_what_was_learned(opened) -> None:
    session, passages = opened(), contexts(6)
    untrained = session.lm.head.clone()
    run_rounds(session, passages)
    start = Adapter.load(session.run.adapters / "earlier-1")
    start.base = session.lm.name
    by_id = {c.id: c for c in passages}
    fresh = opened("other")
    assert torch.equal(fresh.lm.head, untrained)
    rows = {
        (a.context_id, a.candidate, a.question_id): a.text
        for a in answers_in(session.run.ledger, rl_place(1))
    }
    context = by_id[session.run.ledger.rewards(rl_place(1))[0].context_id]
    prompts = [fresh.task.question(context, q) for q in context.questions]
    base = generate(fresh.lm, prompts, [start] * len(prompts), max_new_tokens=3)
    assert [a.text for a in base] == [rows[context.id, None, q.id] for q in context.questions]
    plain = generate(fresh.lm, prompts, max_new_tokens=3)
    assert [a.text for a in plain] != [a.text for a in base]
    assert session.start is None, "the policy's own finetuning starts from the model"


def test_a_probes_question_is_asked_under_its_own_title(opened) -> None:
    from dataclasses import replace

    session, (one, two) = opened(), contexts(2)
    moved = replace(two.questions[0], topic=two.title)
    assert session.task.question(one, moved) == session.task.question(two, two.questions[0])
    assert session.task.question(one, two.questions[0]) != session.task.question(
        two, two.questions[0]
    )


def test_stopped_after_the_earlier_passages_it_goes_on_the_same(opened, monkeypatch) -> None:
    passages = contexts(6)
    whole = opened("whole")
    run_rounds(whole, passages)

    class Stopped(Exception):
        pass

    def stop(*_):
        raise Stopped

    parts = opened("parts")
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(e_step, "run_trials", stop)
        run_rounds(parts, passages)
    assert parts.run.ledger.step("earlier-1") is not None
    parts.run.close()
    again = opened("parts")
    run_rounds(again, passages)
    assert [asdict(r) for r in again.run.ledger.rewards(rl_place(1))] == [
        asdict(r) for r in whole.run.ledger.rewards(rl_place(1))
    ]
    assert again.run.ledger.step("round-1") == whole.run.ledger.step("round-1")


def test_an_altered_adapter_of_earlier_passages_is_refused(opened, monkeypatch) -> None:
    session = opened()
    passages = contexts(6)
    monkeypatch.setattr(e_step, "run_trials", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_rounds(session, passages)
    path = session.run.adapters / "earlier-1" / "adapter_config.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(RunFolderError, match="earlier passages"):
        run_rounds(session, passages)


def test_too_few_other_passages() -> None:
    settings = tiny_settings(**RETAIN)
    with pytest.raises(DataError, match="needs 2 passages beside"):
        plan_rounds(settings, contexts(4))
    assert {c.id for c in earlier_contexts(settings, 1, contexts(5), contexts(3))} == {"c3", "c4"}


def test_on_top_of_nothing_is_the_adapter_itself() -> None:
    adapter = Adapter.__new__(Adapter)
    assert on_top(None, adapter) is adapter
