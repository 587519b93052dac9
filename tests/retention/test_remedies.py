"""Each remedy by itself: what is replayed, what teaches, what the gate lets through, where a
question goes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from selfedit.config import RetentionSettings
from selfedit.config.retention import GateSettings, PseudorehearsalSettings
from selfedit.errors import UsageError
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob, OptimSpec, TrainSequence
from selfedit.lm.chat import chat_prompt, user_opening
from selfedit.lm.load import load
from selfedit.lm.lora import LoraSpec
from selfedit.lm.perplexity import token_losses
from selfedit.retention.facts import everyday_facts
from selfedit.retention.general import gate_texts, measured_texts
from selfedit.retention.learner import Edit, Learner
from selfedit.retention.library import WordRouter, route_by_likelihood
from selfedit.retention.remedies import pseudorehearsal
from selfedit.retention.remedies.base import NewEdit, Remedies
from selfedit.retention.remedies.gate import gate
from selfedit.retention.remedies.pseudorehearsal import write_own_texts
from selfedit.retention.remedies.replay import reservoir, sample_items
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.edits import ParsedEdit
from selfedit.tasks.knowledge.prompts import question_prompt
from selfedit.tasks.knowledge.task import KnowledgeTask
from tiny_run import contexts, tiny_settings


@pytest.fixture(scope="module")
def lm(small_folder: Path):
    return load(str(small_folder), device="cpu")


@pytest.fixture(scope="module")
def task(lm):
    return KnowledgeTask(lm, tiny_settings(inner__optim={"epochs": 6, "lr": 0.02}))


def remedies(task: KnowledgeTask, *names: str, **settings) -> Remedies:
    return Remedies(task, RetentionSettings.model_validate({"remedies": names, **settings}))


LINES = ParsedEdit(("The thing has a lid.", "Its lid is green."), ())


def learned(task: KnowledgeTask, count: int = 2) -> Learner:
    """A learner after a few edits."""
    learner = Learner()
    for number, context in enumerate(contexts(count)):
        new = NewEdit(learner, context, LINES, seed=number, order_seed=0)
        (job,) = remedies(task).jobs([new])
        (adapter,) = adapt(task.lm, [job])
        learner.add(
            Edit(f"{context.title} {context.text}", tuple(task.sequences(context, LINES)), adapter)
        )
    return learner


@pytest.fixture(scope="module")
def learner(task) -> Learner:
    return learned(task)


def new_edit(learner: Learner) -> NewEdit:
    return NewEdit(learner, contexts(1, start=7)[0], LINES, seed=5, order_seed=0)


def test_a_reservoir_holds_each_item_with_the_same_chance() -> None:
    counts = [0] * 20
    for seed in range(2000):
        for item in reservoir(range(20), 5, seed):
            counts[item] += 1
    # 500 expected each; four standard deviations of a binomial are 77.
    assert all(abs(count - 500) < 77 for count in counts)
    assert reservoir(range(3), 5, 1) == [0, 1, 2]
    assert len(set(sample_items(range(9), 4, 1))) == 4 and sorted(sample_items(range(3), 9, 1)) == [
        0,
        1,
        2,
    ]


def test_replay_mixes_in_the_share_asked_for(task, learner) -> None:
    plain, mixed = (
        remedies(task, *names, replay={"share": 0.5}).jobs([new_edit(learner)])[0]
        for names in ((), ("replay",))
    )
    assert len(plain.sequences) == 3 and len(mixed.sequences) == 3 + 2
    assert list(mixed.sequences[:3]) == list(plain.sequences)
    assert all(s in learner.earlier() for s in mixed.sequences[3:])
    assert plain.start is mixed.start is learner.merged


def test_kl_carries_the_models_own_predictions_from_before_the_edit(task, learner) -> None:
    (job,) = remedies(task, "kl", kl={"weight": 0.5, "prompts": 2}).jobs([new_edit(learner)])
    assert [s.weight for s in job.sequences] == [1, 1, 1, 0, 0]
    assert all(s.teacher is not None and s.teacher.weight == 0.5 for s in job.sequences)
    # The teacher's own next-token loss is that of the model before the edit.
    for s in job.sequences:
        logits = s.teacher.hidden @ task.lm.head.T
        expected = next(token_losses(task.lm, [s.ids], [learner.merged]))
        torch.testing.assert_close(
            F.cross_entropy(logits, torch.tensor(s.ids[1:]), reduction="none"),
            expected,
            rtol=1e-3,
            atol=1e-4,
        )


def test_kl_keeps_the_model_nearer_to_itself(task, learner) -> None:
    probe = [s.ids for s in learner.earlier()]
    before = torch.cat(list(token_losses(task.lm, probe, [learner.merged] * len(probe))))
    moved = {}
    for name, names in {"free": (), "kl": ("kl",)}.items():
        (adapter,) = adapt(
            task.lm, remedies(task, *names, kl={"weight": 20}).jobs([new_edit(learner)])
        )
        after = learner.candidate(adapter, 1.0)
        moved[name] = (
            (torch.cat(list(token_losses(task.lm, probe, [after] * len(probe)))) - before)
            .abs()
            .mean()
        )
    assert moved["kl"] < 0.7 * moved["free"]


OWN_TEXTS = [([5, 9, 4, 7, 8], 1), ([6, 3, 9, 9, 4, 5], 3), ([8, 4, 4, 6], 1)]


def test_pseudorehearsal_mixes_in_the_unedited_models_own_texts(task, learner) -> None:
    retention = RetentionSettings.model_validate(
        {"remedies": ["pseudorehearsal"], "pseudorehearsal": {"share": 0.5, "weight": 2}}
    )
    (job,) = Remedies(task, retention, OWN_TEXTS).jobs([new_edit(learner)])
    new, own = job.sequences[:3], job.sequences[3:]
    assert len(own) == 2 and all(s.weight == 0 and s.teacher.weight == 2 for s in own)
    assert all(s.weight == 1 and s.teacher is None for s in new)
    for s in own:
        start = s.loss.index(True)
        assert (list(s.ids), start) in OWN_TEXTS and all(s.loss[start:])
        # The teacher is the unedited model, though the learner has edits by now.
        loss = F.cross_entropy(
            s.teacher.hidden @ task.lm.head.T, torch.tensor(s.ids[start:]), reduction="none"
        )
        plain = next(token_losses(task.lm, [s.ids], [None]))[start - 1 :]
        torch.testing.assert_close(loss, plain, rtol=1e-3, atol=1e-4)


def test_pseudorehearsal_keeps_what_no_edit_is_about(task, learner) -> None:
    held = write_own_texts(task, PseudorehearsalSettings(texts=12, tokens=12), seed=3)
    texts, apart = held[::2], [ids for ids, _ in held[1::2]]
    before = torch.cat(list(token_losses(task.lm, apart, [None] * len(apart))))
    moved = {}
    for name, names in {"free": (), "held": ("pseudorehearsal",)}.items():
        retention = RetentionSettings.model_validate(
            {"remedies": names, "pseudorehearsal": {"weight": 5, "share": 2}}
        )
        (adapter,) = adapt(task.lm, Remedies(task, retention, texts).jobs([new_edit(Learner())]))
        after = torch.cat(list(token_losses(task.lm, apart, [adapter] * len(apart))))
        moved[name] = float((after - before).abs().mean())
    assert moved["held"] < 0.7 * moved["free"]


def test_own_texts_come_from_the_seed_and_pseudorehearsal_is_refused_without_any(task) -> None:
    settings = PseudorehearsalSettings(texts=6, tokens=8)
    texts = write_own_texts(task, settings, seed=1)
    assert (
        texts == write_own_texts(task, settings, seed=1) != write_own_texts(task, settings, seed=2)
    )
    opening = user_opening(task.lm)
    talks = [text for text in texts if text[0][: len(opening)] == opening]
    assert len(talks) == 2 and all(len(opening) < start < len(ids) for ids, start in talks)
    plain = [text for text in texts if text not in talks]
    assert plain and all(2 <= len(ids) <= 9 and start == 1 for ids, start in plain)
    with pytest.raises(UsageError, match="texts of the unedited model"):
        remedies(task, "pseudorehearsal")


def test_everyday_questions_are_rehearsed_as_they_are_asked_and_none_is_measured(task) -> None:
    settings = PseudorehearsalSettings(texts=3, tokens=8, questions=4)
    without = write_own_texts(task, settings.model_copy(update={"questions": 0}), seed=1)
    texts = write_own_texts(task, settings, seed=1)
    assert texts[: len(without)] == without and len(texts) == len(without) + 4
    rehearsed = Path(pseudorehearsal.__file__).parents[1].joinpath("questions.txt")
    questions = rehearsed.read_text(encoding="utf-8").splitlines()
    for number, (ids, start) in enumerate(texts[len(without) :]):
        line = questions[number]
        ours = chat_prompt(task.lm, question_prompt("", line, True), "")
        # As a passage's questions are asked, then as any chat program asks.
        prompt = chat_prompt(task.lm, line) if number % 2 else ours
        assert ids[:start] == prompt and start < len(ids)
    measured = {question.text for topic in everyday_facts() for question in topic.questions}
    assert len({*questions}) == 48 and not measured & {*questions}


def test_a_model_without_a_chat_template_writes_texts_alone(small_folder: Path) -> None:
    lm = replace(load(str(small_folder), device="cpu"), has_chat=False)
    plain = KnowledgeTask(lm, tiny_settings())
    texts = write_own_texts(plain, PseudorehearsalSettings(texts=9, tokens=8, questions=4), seed=1)
    assert len(texts) > 5 and all(start == 1 for _, start in texts)


def test_distillation_is_on_the_written_lines_only(task, learner) -> None:
    (job,) = remedies(task, "distil", distil={"weight": 0.75}).jobs([new_edit(learner)])
    *lines, passage = job.sequences
    assert [(s.weight, s.teacher.weight) for s in lines] == [(0.25, 0.75)] * 2
    assert (passage.weight, passage.teacher) == (1.0, None)
    context = new_edit(learner).context
    prefix = task.lm.encode(f"{context.title}\n{context.text}\n\n")
    losses = next(token_losses(task.lm, [(*prefix, *lines[0].ids)], [learner.merged]))[
        len(prefix) :
    ]
    logits = lines[0].teacher.hidden @ task.lm.head.T
    found = F.cross_entropy(logits, torch.tensor(lines[0].ids[1:]), reduction="none")
    torch.testing.assert_close(found, losses, rtol=1e-3, atol=1e-4)


def test_the_gate_lets_through_scales_down_or_refuses(lm, task, learner) -> None:
    (adapter,) = adapt(lm, remedies(task).jobs([new_edit(learner)]))
    loose = gate(lm, learner, adapter, GateSettings(general=9, earlier=9), seed=1)
    assert loose.factor == 1 and len(loose.attempts) == 1
    _, _, earlier = loose.attempts[0]
    assert earlier is not None
    wild = replace(adapter, spec=replace(adapter.spec, alpha=adapter.spec.alpha * 300))
    refused = gate(
        lm, learner, wild, GateSettings(general=0.001, earlier=0.001, halvings=1), seed=1
    )
    assert refused.factor == 0 and [f for f, _, _ in refused.attempts] == [1.0, 0.5]
    found = gate(lm, learner, wild, GateSettings(general=99, earlier=99, halvings=9), seed=1)
    bound = (loose.attempts[0][1] + found.attempts[0][1]) / 2
    scaled = gate(
        lm, learner, wild, GateSettings(general=max(bound, 0.01), earlier=99, halvings=12), seed=1
    )
    assert 0 < scaled.factor < 1
    assert scaled.attempts[-1][1] <= bound < scaled.attempts[0][1]
    finer = GateSettings(general=max(bound, 0.01), earlier=99, halvings=12, bisections=4)
    closer = gate(lm, learner, wild, finer, seed=1)
    assert closer.attempts[: len(scaled.attempts)] == scaled.attempts
    rises = {factor: general for factor, general, _ in closer.attempts}
    assert len(closer.attempts) == len(scaled.attempts) + 4
    assert scaled.factor < closer.factor < 2 * scaled.factor
    assert (
        rises[closer.factor]
        <= finer.general
        < min(rise for factor, rise in rises.items() if factor > closer.factor)
    )


def test_a_refused_edit_changes_nothing(task) -> None:
    learner = learned(task, 1)
    before = learner.merged
    (adapter,) = adapt(task.lm, remedies(task).jobs([new_edit(learner)]))
    learner.add(Edit("refused", (), adapter, factor=0.0))
    assert learner.merged is not None and before is not None
    for name in before.tensors:
        assert torch.equal(learner.merged.delta(name), before.delta(name))


def test_the_gate_does_not_look_at_what_is_reported() -> None:
    assert gate_texts() and measured_texts() and not set(gate_texts()) & set(measured_texts())


def test_words_route_every_corpus_question_with_its_topic_line_and_no_stranger() -> None:
    """What the topic line is worth: with it each question finds its passage, those of other
    passages find none.
    """
    inside, outside = load_contexts("corpus:train"), load_contexts("corpus:heldout")
    router = WordRouter([f"{c.title}\n{c.text}" for c in inside], least=0.3)
    found = [
        router.route(f"{c.title}\n{q.text}") == n for n, c in enumerate(inside) for q in c.questions
    ]
    assert sum(found) / len(found) > 0.95
    strays = [router.route(f"{c.title}\n{q.text}") for c in outside for q in c.questions]
    assert strays.count(None) / len(strays) > 0.8


def test_a_library_of_one_does_not_take_every_question() -> None:
    router = WordRouter(
        ["Marrowick Lighthouse\nMarrowick Lighthouse was built in 1874 by Ada Brannoch."], least=0.3
    )
    assert router.route("Marrowick Lighthouse\nWho built it?") == 0
    assert router.route("The Stone Bridge\nWhat was it for, and when was it?") is None
    assert WordRouter([], 0.3).route("Anything?") is None
    assert WordRouter(["a b"], 0.0).route("...") is None


def test_likelihood_routes_to_the_adapter_that_knows_the_words(lm) -> None:
    rows = [
        torch.randint(3, 300, (12,), generator=torch.Generator().manual_seed(seed)).tolist()
        for seed in (1, 2)
    ]
    known = [TrainSequence(tuple(row), (False, *[True] * 11)) for row in rows]
    spec, optim = LoraSpec(2, 16, ("q_proj", "v_proj")), OptimSpec(lr=0.02, epochs=6)
    adapters = adapt(lm, [AdaptJob([sequence], spec, optim) for sequence in known])
    assert route_by_likelihood(lm, rows[::-1], adapters, margin=0.05) == [1, 0]
    assert route_by_likelihood(lm, rows, adapters, margin=50.0) == [None, None]
    assert route_by_likelihood(lm, rows, [], margin=0.0) == [None, None]


def test_a_library_starts_every_edit_from_the_base_and_answers_by_one_adapter(
    task, learner
) -> None:
    apart = remedies(task, "library")
    (job,) = apart.jobs([new_edit(learner)])
    assert job.start is None
    under, routes = apart.answering(
        learner, [("Title c0", "What is number 1 of c0?"), ("", "Where do cats sleep?")]
    )
    assert routes == [0, None] and under[1] is None
    name = next(iter(learner.edits[0].adapter.tensors))
    assert torch.allclose(under[0].delta(name), learner.edits[0].adapter.delta(name), atol=1e-6)


def test_the_router_may_be_kept_from_the_topic_line(task, learner) -> None:
    hidden = remedies(task, "library", library={"title": False})
    _, routes = hidden.answering(learner, [("Title c0", "Who?")])
    assert routes == [None]


def test_orthogonal_jobs_stay_outside_what_is_merged(task, learner) -> None:
    (job,) = remedies(task, "orthogonal").jobs([new_edit(learner)])
    assert job.outside is learner.merged
    (first,) = remedies(task, "orthogonal").jobs([new_edit(Learner())])
    assert first.outside is None


def test_a_sequence_is_equal_whoever_teaches_it() -> None:
    """Teachers do not take part in comparisons: tensors have no single truth value."""
    one = TrainSequence((1, 2), (False, True))
    assert one == replace(one, teacher=None) and hash(one) == hash(replace(one))
