"""Common random numbers, contexts refilled, credit a line; and rewards that say nothing."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
import torch
from test_signal import rows

from selfedit.config import RewardSettings
from selfedit.errors import DataError, Interrupted, UsageError
from selfedit.lm.generate import Completion
from selfedit.lm.load import load
from selfedit.lm.rules import TokenTree
from selfedit.rl.credit import line_weights, lines_of, token_lines
from selfedit.rl.e_step import score_round
from selfedit.rl.rest_em import run_rounds
from selfedit.rl.rewards.base import Value
from selfedit.rl.rounds import rl_place
from selfedit.rl.selection import rewards
from selfedit.rl.signal import loop_signal, of_repeats
from selfedit.rl.trial import plan_trials
from selfedit.run.records import Phase, Place
from tiny_run import HashGrader, contexts, session_in, tiny_settings
from trials import trainings_in


@pytest.fixture
def opened(small_folder, tmp_path):
    sessions = []

    def make(name="run", **changed):
        lm = load(str(small_folder), device="cpu")
        sessions.append(session_in(tmp_path / name, lm, tiny_settings(**changed)))
        return sessions[-1]

    yield make
    for session in sessions:
        session.run.close()


@pytest.mark.parametrize("common", [False, True])
def test_common_random_numbers(opened, common):
    at = opened(rl__common=common, rl__rounds=1, rl__repeats=2)
    run_rounds(at, contexts(3))
    done = trainings_in(at.run.ledger, rl_place(1))
    seeds = {}
    for one in done:
        seeds.setdefault((one.context_id, one.repeat), set()).add(one.seed)
    assert len(done) == 18 and len(seeds) == 6
    assert {len(of_context) for of_context in seeds.values()} == {1 if common else 3}
    assert len(set().union(*seeds.values())) == (6 if common else 18)


class PartlyFlat(HashGrader):
    """Everything about these contexts is right."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def grade(self, question, golds, answer):
        grade = super().grade(question, golds, answer)
        return replace(
            grade, correct=grade.correct or any(f" {n}?" in question for n in self.names)
        )


REFILL = {"rl__refill": 2, "rl__rounds": 1, "rl__update": "rloo", "inner__group": 4}
FLAT = ("c0", "c1", "c2", "c3", "c5")


def refilled(at, stop=None):
    at.grader, calls = PartlyFlat(*FLAT), 0

    def check():
        nonlocal calls
        calls += 1
        if stop is not None and calls > stop:
            raise Interrupted("stopped")

    at.interrupt = SimpleNamespace(check=check)
    rounds, _ = run_rounds(at, contexts(9))
    weights = [value.clone() for value in at.lm.model.parameters()]
    return json.dumps([asdict(one) for one in rounds]), weights


def test_contexts_without_differences_are_replaced(opened):
    at = opened(**REFILL)
    (done,) = json.loads(refilled(at)[0])
    earned = at.run.ledger.rewards(rl_place(1))
    tried = {row.context_id for row in earned}
    flat = {name for name in tried if len({r.reward for r in earned if r.context_id == name}) == 1}
    assert flat >= tried & set(FLAT) and flat
    assert done["contexts"] == len(tried) > 3 and done["self_edits"] == 3 * len(tried)
    assert not any(row.kept for row in earned if row.context_id in flat)
    # as many are tried as were lacking, and no more than twice
    assert len(tried) - len(flat) <= 3
    without = opened("without", **REFILL | {"rl__refill": 0})
    (once,) = json.loads(refilled(without)[0])
    assert once["contexts"] == 3


def test_a_stopped_refill_goes_on_and_ends_the_same(opened):
    whole, weights = refilled(opened("a", **REFILL))
    attempts = iter(range(1, 40))
    while True:
        at = opened("b", **REFILL)
        try:
            again, same = refilled(at, stop=2)
            break
        except Interrupted:
            at.run.close()
            assert next(attempts) < 39
    assert next(attempts) > 2 and again == whole
    assert all(torch.equal(a, b) for a, b in zip(weights, same, strict=True))


@pytest.mark.parametrize(
    "changed",
    [
        {"rl__refill": 1, "rl__racing": True, "rl__repeats": 2},
        {"rl__refill": 1, "rl__reward__retention": 0.5},
        {"rl__credit": "line", "rl__reward__signal": "proxy"},
        {"rl__racing": True, "rl__repeats": 2, "rl__reward__rule": "leave-one-out"},
    ],
)
def test_settings_that_do_not_go_together(changed):
    with pytest.raises(UsageError, match=r"not with|rule best-of-m or improves"):
        tiny_settings(**changed)


def test_the_leave_one_out_rule():
    settings = RewardSettings(rule="leave-one-out", threshold=0.1)
    nan = float("nan")
    earned = rewards([1.0, 0.0, 0.5, nan], 0.9, settings)
    assert [value for value, _ in earned[:3]] == pytest.approx([0.75, -0.75, 0.0])
    assert [kept for _, kept in earned] == [True, False, False, False]
    assert rewards([0.7], 0.0, settings)[0][1] is False


LINES = "Good one.\nA bad line.\n\nGood and long, the last one"


class Counts:
    """A reward by the text alone: the lines that begin with Good."""

    needs = ("answers",)

    def check(self, plan, every): ...

    def prepare(self, session, number, chosen, every, policy):
        return chosen

    def values(self, session, scored):
        worth = {
            (row.context_id, row.candidate): Value(float(row.text.count("Good")))
            for row in scored.edits
        }
        return worth | {(context.id, None): Value(0.0) for context in scored.contexts}


class Writer:
    """Samples are these texts in turn, without log-probabilities; all else is the model's."""

    def __init__(self, sampler, lm):
        self.sampler, self.lm = sampler, lm

    def generate(self, prompts, adapters=None, **options):
        if options["max_new_tokens"] != 10 or not options["temperature"]:
            return self.sampler.generate(prompts, adapters, **options)
        texts = [LINES, "Nothing here", "A line\nGood"]
        ids = [tuple(self.lm.encode(texts[n % 3])) for n in range(len(prompts))]
        return [Completion(self.lm.decode(i), i, "stop", 1, end=self.lm.end_id) for i in ids]

    def log_probabilities(self, texts, adapters=None):
        return self.sampler.log_probabilities(texts, adapters)

    def load_policy(self, folder):
        self.sampler.load_policy(folder)


def credited(at, monkeypatch):
    monkeypatch.setattr("selfedit.rl.session.Session.reward", property(lambda _: Counts()))
    at.sampler = Writer(at.sampler, at.lm)
    return run_rounds(at, contexts(3))


@pytest.mark.parametrize("update", ["filtered_sft", "rloo", "grpo"])
def test_a_lines_tokens_carry_what_is_lost_without_it(opened, monkeypatch, update):
    from selfedit.rl import policy_training

    taught = []
    adapt = policy_training.adapt

    def noted(lm, jobs, *args, **options):
        taught.extend(jobs[0].sequences)
        return adapt(lm, jobs, *args, **options)

    monkeypatch.setattr(policy_training, "adapt", noted)
    at = opened(rl__credit="line", rl__rounds=1, rl__update=update)
    credited(at, monkeypatch)
    ledger = at.run.ledger
    left_out = trainings_in(ledger, Place(Phase.CREDIT, round=1))
    # the three-line self-edit is kept; with signed updates the two-line one is learned from too
    assert len(left_out) == 3 * (3 if update == "filtered_sft" else 5)
    whole = {t.seed for t in trainings_in(ledger, rl_place(1)) if t.candidate != 1}
    assert {t.seed for t in left_out} <= whole
    best = next(s for s in taught if at.lm.decode(s.ids).endswith("the last one"))
    lines = token_lines(at.lm, best.ids[-len(best.advantages) :], LINES)
    by_line = {}
    for line, advantage in zip(lines, best.advantages, strict=True):
        by_line.setdefault(line, set()).add(round(advantage, 6))
    assert sorted(by_line) == [0, 1, 2] and all(len(one) == 1 for one in by_line.values())
    good, bad, last = (by_line[line].pop() for line in (0, 1, 2))
    mean = sum(best.advantages) / len(best.advantages)
    unit = {"filtered_sft": None, "rloo": 1.0, "grpo": (2 / 3) ** 0.5}[update]
    assert good == last
    if unit is None:
        assert (bad, mean) == (0.0, pytest.approx(1.0))
    else:
        # rewards 2, 0, 1
        assert mean == pytest.approx(1.5 if update == "rloo" else 1 / unit, abs=1e-5)
        assert good - bad == pytest.approx(1 / unit, abs=1e-5)


def test_a_stopped_credit_goes_on_and_ends_the_same(opened, monkeypatch):
    def finished(name, stop):
        at, calls = opened(name, rl__credit="line", rl__update="rloo"), []

        def check():
            calls.append(1)
            if stop is not None and len(calls) > stop:
                raise Interrupted("stopped")

        at.interrupt = SimpleNamespace(check=check)
        try:
            rounds, _ = credited(at, monkeypatch)
        except Interrupted:
            at.run.close()
            return None
        weights = [value.clone() for value in at.lm.model.parameters()]
        return json.dumps([asdict(one) for one in rounds]), weights

    whole, weights = finished("a", None)
    attempts = iter(range(1, 40))
    while (again := finished("b", 5)) is None:
        assert next(attempts) < 39
    assert next(attempts) > 2 and again[0] == whole
    assert all(torch.equal(a, b) for a, b in zip(weights, again[1], strict=True))


def test_tokens_and_their_lines(small_folder):
    lm = load(str(small_folder), device="cpu")
    ids = lm.encode(LINES)
    assert lines_of(LINES) == ["Good one.", "A bad line.", "Good and long, the last one"]
    texts = ["", "", ""]
    for token, line in zip(ids, token_lines(lm, ids, LINES), strict=True):
        texts[line] += lm.decode([token])
    assert [text.strip() for text in texts] == lines_of(LINES)
    assert line_weights([1.0, 0.0, -1.0, 1.0]) == pytest.approx([2.0, 0.0, 0.0, 2.0])
    assert line_weights([-1.0, 0.0]) == [1.0, 1.0]


def test_a_grammar_has_no_lines(opened, monkeypatch):
    at = opened(rl__credit="line")
    tree = TokenTree([at.lm.encode(text) for text in ("one", "two")])
    monkeypatch.setattr(at.task, "rule", tree.row)
    with pytest.raises(UsageError, match="no lines to credit"):
        run_rounds(at, contexts(3))


def test_a_reward_that_says_nothing_of_a_candidate(opened, monkeypatch):
    class Forgetful(Counts):
        def values(self, session, scored):
            values = super().values(session, scored)
            del values["c1", 2]
            return values

    monkeypatch.setattr("selfedit.rl.session.Session.reward", property(lambda _: Forgetful()))
    at = opened(rl__rounds=1)
    with pytest.raises(DataError, match="nothing of 1 of 9") as caught:
        run_rounds(at, contexts(3))
    assert caught.value.where == "c1, 2" and "NaN" in caught.value.fix
    assert len(trainings_in(at.run.ledger, rl_place(1))) == 9


def test_reliability_per_inner_loop():
    trials = rows("a", [[1, 1], [0, 0], [0, 0]]) + rows("b", [[1, 0], [0, 1], [0, 0]])
    signal = loop_signal(trials)
    assert (signal.contexts, signal.flat, signal.loops) == (2, 0, 2)
    assert signal.mean == pytest.approx(2 * signal.one / (1 + signal.one))
    assert signal.per_loop == pytest.approx(signal.mean / 2)
    assert of_repeats(0.25, 3) == pytest.approx(0.5) and of_repeats(-0.1, 3) == -0.1
    flat = loop_signal(rows("a", [[1, 1], [1, 1]]))
    assert (flat.one, flat.mean, flat.per_loop, flat.flat) == (None, None, None, 1)


def test_the_verb_prints_it(opened, tmp_path, capsys):
    from selfedit.cli import main

    at = opened(rl__repeats=2, rl__rounds=1)
    run_rounds(at, contexts(3))
    at.run.close()
    assert main(["signal", str(tmp_path / "run"), "--json"]) == 0
    stored = json.loads(capsys.readouterr().out)
    expected = loop_signal(at_trials(tmp_path / "run"))
    assert stored["1"] == asdict(expected) | {"per_loop": expected.per_loop}
    assert main(["signal", str(tmp_path / "run")]) == 0
    assert "per inner loop %" in capsys.readouterr().out
    once = opened("once", rl__rounds=1)
    run_rounds(once, contexts(3))
    once.run.close()
    assert main(["signal", str(tmp_path / "once")]) == 3
    assert "no self-edit was tried more than once" in capsys.readouterr().err


def at_trials(folder):
    from selfedit.run.folder import RunFolder

    with RunFolder.read(folder) as run:
        return run.ledger.trials(rl_place(1))


def test_planned_seeds_are_those_of_the_round(opened):
    """Without common numbers nothing has changed: each candidate has its own."""
    at = opened(rl__rounds=1)
    used = score_round(at, 1, contexts(3), contexts(3), None)
    edits = at.run.ledger.self_edits(rl_place(1))
    planned = plan_trials(at, rl_place(1), used, edits, [0])
    assert len({trial.seed for trial in planned}) == 9
