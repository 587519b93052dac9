"""Whole rounds on a random model; a grader by hash gives selection something to do."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch

from selfedit.config import Settings
from selfedit.engine import local
from selfedit.errors import DataError, RunFolderError
from selfedit.lm.generate import generate
from selfedit.lm.load import load
from selfedit.lm.lora import Adapter
from selfedit.lm.weights import load_weights
from selfedit.rl import policy_training
from selfedit.rl.base_answers import measure_base, question_key
from selfedit.rl.evaluate import held_out
from selfedit.rl.plan import plan_rounds
from selfedit.rl.policy import policy_hash
from selfedit.rl.rest_em import run_rounds
from selfedit.rl.rounds import rl_place
from selfedit.sampling import local as sampler
from tiny_run import context, contexts, session_in, tiny_settings
from trials import answers_in, trainings_in


@pytest.fixture
def session(small_folder, tmp_path):
    """Makes a session in the run's folder, each with the untrained model."""
    opened = []

    def make(settings: Settings):
        for earlier in opened:
            earlier.run.close()
        opened.append(session_in(tmp_path / "run", load(str(small_folder), device="cpu"), settings))
        return opened[-1]

    yield make
    opened[-1].run.close()


@pytest.fixture
def asked(monkeypatch):
    """The prompts of every call that lets the unadapted model answer."""
    calls = []

    def counted(lm, prompts, adapters=None, **options):
        if options["max_new_tokens"] == 3:  # an answer's; self-edits may have more
            assert adapters is None or len({id(adapter) for adapter in adapters}) == 1
            calls.append(list(prompts))
        return generate(lm, prompts, adapters, **options)

    monkeypatch.setattr(sampler, "generate", counted)
    return calls


def context_ids(rows):
    return {row.context_id for row in rows}


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("fresh", [True, False])
def test_two_rounds(session, small_folder, merge, fresh):
    settings = tiny_settings(rl__fresh=fresh, rl__mstep__merge=merge, rl__repeats=2)
    at = session(settings)
    passages = contexts(6)
    rounds, policy = run_rounds(at, passages)
    ledger = at.run.ledger
    first, second = (context_ids(ledger.self_edits(rl_place(number))) for number in (1, 2))
    assert len(first) == 3 and (first.isdisjoint(second) if fresh else first == second)
    for number, done in enumerate(rounds, 1):
        rows = ledger.rewards(rl_place(number))
        assert (done.round, done.contexts, done.self_edits, done.kept) == (number, 3, 9, 3)
        assert Counter(row.context_id for row in rows if row.kept) == dict.fromkeys(
            context_ids(rows), 1
        )
        assert len(trainings_in(ledger, rl_place(number))) == 18
        assert done.policy == policy_hash(at.run.policy(number))
        assert done.accuracy == pytest.approx(sum(row.accuracy for row in rows) / 9)
        check_rewards(ledger, number, rows)
    assert rounds[0].policy != rounds[1].policy
    assert (policy is None) == merge
    assert [line["round"] for line in at.run.metrics() if line["id"].startswith("round-")] == [1, 2]
    check_on_policy(at, small_folder, passages, merge)


def check_rewards(ledger, number, rows):
    """Accuracies and baselines, from the answers by hand."""
    answers = answers_in(ledger, rl_place(number))
    assert len(answers) == 3 * 3 + 18 * 3
    for row in rows:
        of_context = [a for a in answers if a.context_id == row.context_id]
        base = [a.correct for a in of_context if a.candidate is None]
        own = [a.correct for a in of_context if a.candidate == row.candidate]
        assert (len(base), len(own)) == (3, 6)
        assert row.baseline == pytest.approx(sum(base) / 3) and row.accuracy == pytest.approx(
            sum(own) / 6
        )
        best = max(other.accuracy for other in rows if other.context_id == row.context_id)
        assert not row.kept or row.accuracy == best


def check_on_policy(at, small_folder, passages, merge):
    """The second round's self-edits are what the first round's saved policy writes, and not what
    the base writes.
    """
    one, two = (at.run.ledger.self_edits(rl_place(number)) for number in (1, 2))
    assert not {row.seed for row in one} & {row.seed for row in two}
    by_id = {passage.id: passage for passage in passages}
    order = {
        passage.id: place for place, passage in enumerate(plan_rounds(at.settings, passages)[1])
    }
    two.sort(key=lambda row: (order[row.context_id], row.candidate))
    prompts = [at.task.prompt(by_id[row.context_id]) for row in two]
    lm, adapter = load(str(small_folder), device="cpu"), None

    def written():
        edit = at.settings.edit
        made = generate(lm, prompts, [adapter] * len(two), max_new_tokens=edit.max_new_tokens,
                        temperature=edit.temperature, top_p=edit.top_p, seeds=[row.seed for row in two])  # fmt: skip
        return [completion.text for completion in made]

    texts = [row.text for row in two]
    assert written() != texts
    if merge:
        load_weights(lm, at.run.policy(1) / "model")
    else:
        adapter = Adapter.load(at.run.policy(1) / "adapter")
    assert written() == texts


@pytest.mark.parametrize("merge", [True, False])
def test_a_finished_run_does_nothing_again(session, monkeypatch, merge):
    settings = tiny_settings(rl__mstep__merge=merge)
    at = session(settings)
    rounds, policy = run_rounds(at, contexts(3))
    weights = {name: value.clone() for name, value in at.lm.model.named_parameters()}

    def forbidden(*_, **__):
        raise AssertionError("done again")

    for module, name in [
        (sampler, "generate"),
        (local, "adapt"),
        (local, "generate"),
        (policy_training, "adapt"),
    ]:
        monkeypatch.setattr(module, name, forbidden)
    again = session(settings)
    rounds_again, policy_again = run_rounds(again, contexts(3))
    assert rounds_again == rounds
    for name, value in again.lm.model.named_parameters():
        assert torch.equal(value, weights[name]), name
    if policy is not None and policy_again is not None:
        for module, (a, b) in policy.tensors.items():
            assert torch.equal(policy_again.tensors[module][0], a) and torch.equal(
                policy_again.tensors[module][1], b
            )


@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_a_lost_policy_is_not_replaced_by_the_base(session, damage):
    settings = tiny_settings(rl__rounds=1)
    at = session(settings)
    run_rounds(at, contexts(3))
    file = at.run.policy(1) / "model" / "model.safetensors"
    if damage == "missing":
        file.unlink()
    else:
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    again = session(settings)
    with pytest.raises(RunFolderError, match="missing or altered"):
        run_rounds(again, contexts(3))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, [9, 9]),  # the first round's policy is merged: the second asks other weights
        ({"rl__mstep__merge": False}, [9, 9]),  # kept apart, it answers as it would merged
        ({"rl__reward__threshold": 1.0}, [9]),  # nothing kept
    ],
)
def test_the_base_answers_a_question_once_for_all_rounds_with_the_same_weights(
    session, asked, changed, expected
):
    at = session(tiny_settings(rl__repeats=2, **changed))
    rounds, _ = run_rounds(at, contexts(3))
    assert [len(prompts) for prompts in asked] == expected and all(
        len(set(p)) == len(p) for p in asked
    )
    both = [answers_in(at.run.ledger, rl_place(number)) for number in (1, 2)]
    base = [{row.question_id: row.text for row in rows if row.candidate is None} for rows in both]
    assert len(base[0]) == len(base[1]) == 9
    if len(expected) == 1:
        assert base[0] == base[1] and rounds[0].baseline == rounds[1].baseline


def test_what_the_evaluation_asked_the_rounds_need_not_ask(session, asked):
    at = session(tiny_settings(rl__rounds=1, rl__mstep__merge=False))
    passages = contexts(3)
    measure_base(at, held_out("base"), passages[:2])
    assert [len(prompts) for prompts in asked] == [6]
    run_rounds(at, passages)
    assert [len(prompts) for prompts in asked] == [6, 3]
    again = session(at.settings)
    measure_base(again, held_out("later"), passages)
    assert len(asked) == 2


def test_other_decoding_or_another_grader_is_asked_anew(session):
    at = session(tiny_settings())
    passage = contexts(1)[0]
    prompt, question = at.task.question(passage, passage.questions[0]), passage.questions[0]
    first = question_key(at, prompt, question, passage)
    decoding = at.task.decoding
    at.task.decoding = replace(decoding, max_new_tokens=4)
    assert question_key(at, prompt, question, passage) != first
    at.task.decoding, at.settings = decoding, tiny_settings(answer__grader="exact")
    assert question_key(at, prompt, question, passage) != first
    at.settings = tiny_settings()
    assert (
        question_key(at, prompt, question, passage)
        == first
        != question_key(at, (*prompt, 1), question, passage)
    )


def test_nothing_kept_leaves_the_policy_as_it_was(session):
    at = session(tiny_settings(rl__reward__threshold=1.0))
    before = {name: value.clone() for name, value in at.lm.model.named_parameters()}
    rounds, policy = run_rounds(at, contexts(3))
    assert [(r.kept, r.policy) for r in rounds] == [(0, None), (0, None)] and policy is None
    assert all(torch.equal(value, before[name]) for name, value in at.lm.model.named_parameters())
    assert not at.run.policy(1).exists()


def test_an_empty_self_edit_without_its_passage_is_scored_as_the_model_itself(session, monkeypatch):
    at = session(tiny_settings(rl__rounds=1, edit__passage=False))
    read = at.task.parse
    monkeypatch.setattr(
        at.task, "parse", lambda text: read("" if hash_of(text) % 2 else "One fact.\nTwo facts.")
    )
    rounds, _ = run_rounds(at, contexts(3))
    ledger = at.run.ledger
    empty = {(r.context_id, r.candidate) for r in ledger.self_edits(rl_place(1)) if r.rejected}
    assert 0 < len(empty) < 9 and rounds[0].self_edits == 9
    for row in trainings_in(ledger, rl_place(1)):
        untrained = (row.context_id, row.candidate) in empty
        assert (row.steps == 0) == (row.tokens == 0) == math.isnan(row.final_loss) == untrained
    for reward in ledger.rewards(rl_place(1)):
        if (reward.context_id, reward.candidate) in empty:
            assert reward.accuracy == reward.baseline


def hash_of(text):
    return sum(text.encode())


def test_the_rounds_contexts_come_from_the_seed():
    passages = contexts(8)
    plan = plan_rounds(tiny_settings(seed=1), passages)
    assert (
        plan == plan_rounds(tiny_settings(seed=1), passages)
        and plan[0] == plan[1]
        and len(plan[0]) == 3
    )
    assert any(plan_rounds(tiny_settings(seed=seed), passages) != plan for seed in range(2, 6))
    assert plan_rounds(tiny_settings(rl__rounds=0), passages) == []


def test_too_few_contexts_and_contexts_without_questions():
    plan_rounds(tiny_settings(), contexts(3))
    with pytest.raises(DataError, match="2 rounds need 3 passages, there are 2") as caught:
        plan_rounds(tiny_settings(), contexts(2))
    assert caught.value.where == "rl.contexts" and caught.value.fix
    with pytest.raises(DataError, match="2 rounds need 6 passages, there are 5"):
        plan_rounds(tiny_settings(rl__fresh=True), contexts(5))
    with pytest.raises(DataError, match="1 passages have no questions") as caught:
        plan_rounds(tiny_settings(), [*contexts(3), context("bare", questions=0)])
    assert caught.value.where == "bare"
