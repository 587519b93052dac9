"""Racing: who leaves, who is kept, and how often that is who would have been kept without it."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest

from benchmarks.racing import _race, bench_racing
from selfedit.config import RewardSettings
from selfedit.errors import RunFolderError, UsageError
from selfedit.grading.grader import Grade, Grader
from selfedit.lm.load import load
from selfedit.rl import racing
from selfedit.rl.race_chances import Race, Spread, spread
from selfedit.rl.racing import advance, raced_rewards
from selfedit.rl.rest_em import run_rounds
from selfedit.rl.rounds import rl_place
from selfedit.rl.selection import rewards
from tiny_run import contexts, session_in, tiny_settings
from trials import trainings_in

BEST = RewardSettings(rule="best-of-m")
EVERY = frozenset(range(3))


def race(*repeats: list[float], baseline: float = 0.1) -> Race:
    every = frozenset(range(len(repeats)))
    return Race(dict(enumerate(repeats)), baseline, 5, every, every)


def test_far_behind_leaves_and_a_sure_winner_runs_no_more() -> None:
    little = Spread(0.05, 0.001)
    after = advance(race([0.8, 0.8], [0.2, 0.2], [0.2, 0.0]), 4, BEST, little, 0.05)
    assert (after.alive, after.running) == ({0}, frozenset())
    close = advance(race([0.8, 0.8], [0.8, 0.6], [0.0, 0.0]), 4, BEST, Spread(0.05, 0.02), 0.05)
    assert close.alive == close.running == {0, 1}


def test_a_winner_that_may_not_beat_the_base_runs_on() -> None:
    after = advance(race([0.6, 0.6], [0.0, 0.0], baseline=0.6), 4, BEST, Spread(0.05, 0.01), 0.05)
    assert after.alive == after.running == {0}
    none = advance(race([0.2, 0.2], [0.0, 0.0], baseline=0.9), 4, BEST, Spread(0.05, 0.001), 0.05)
    assert none.alive == none.running == frozenset()


def test_improves_decides_each_by_itself() -> None:
    rule = RewardSettings(rule="improves")
    after = advance(
        race([1.0, 1.0], [0.5, 0.5], [0.0, 0.0], baseline=0.5), 4, rule, Spread(0.1, 0.005), 0.05
    )
    assert (after.alive, after.running) == (EVERY, {1})


def test_without_noise_the_first_repeat_decides_and_with_much_none_leaves() -> None:
    certain = advance(race([0.6], [0.4], [0.2]), 3, BEST, Spread(0.1, 0.0), 0.05)
    assert (certain.alive, certain.running) == ({0}, frozenset())
    vague = advance(race([0.6], [0.4], [0.2]), 3, BEST, Spread(0.0, 0.2), 0.05)
    assert vague.running == EVERY


def test_the_variances_are_found_again() -> None:
    random = np.random.default_rng(0)
    races = []
    for _ in range(300):
        means = 0.5 + 0.1 * random.standard_normal(5)
        races.append(race(*[(m + 0.05 * random.standard_normal(3)).tolist() for m in means]))
    found = spread(races)
    assert found.repeat == pytest.approx(0.05**2, rel=0.1)
    assert found.true == pytest.approx(0.1**2, rel=0.15)


def test_one_that_left_is_not_kept_whatever_the_leader_did_later() -> None:
    assert raced_rewards([0.5, 0.6, 0.4], 0.1, BEST, {0, 2}) == [
        (0.5, True),
        (0.6, False),
        (0.4, False),
    ]
    assert raced_rewards([0.5, 0.6], 0.1, BEST, {0, 1}) == rewards([0.5, 0.6], 0.1, BEST)


@pytest.mark.parametrize("rule", ["best-of-m", "improves"])
@pytest.mark.parametrize(("true", "questions"), [(0.25, 5), (0.08, 5), (0.25, 9)])
def test_the_same_are_kept_in_at_least_95_of_100_contexts(
    rule: str, true: float, questions: int
) -> None:
    """Scores with the paper's share of signal and less: accuracies of a few questions, 3 repeats, 5
    candidates.
    """
    settings = RewardSettings(rule=rule)
    random = np.random.default_rng(1)
    found = []
    for _ in range(25):
        bases, repeats = {}, {}
        for context in range(16):
            chance = np.clip(
                random.uniform(0.2, 0.6) + true * random.standard_normal((5, 1)), 0.02, 0.98
            )
            hard = 0.15 * random.standard_normal((1, questions))
            right = random.random((3, 5, questions)) < np.clip(chance + hard, 0, 1)
            bases[f"c{context}"] = (
                round(random.uniform(0, 0.5) * questions) / questions,
                questions,
            )
            repeats[f"c{context}"] = {c: right[:, c].mean(1).tolist() for c in range(5)}
        found += _race("made up", bases, repeats, 3, settings, 0.05)
    assert fmean(r.same for r in found) >= 0.95
    assert sum(r.loops for r in found) < (0.97 if true > 0.1 else 1.01) * sum(r.of for r in found)


@pytest.fixture
def settings():
    return tiny_settings(rl__rounds=1, rl__repeats=3, rl__racing=True)


def test_a_raced_round_runs_fewer_loops_and_goes_on_after_a_stop(
    settings, small_folder, tmp_path, monkeypatch
) -> None:
    # A hash for a grader is all noise: let the race think otherwise, so that some leave.
    monkeypatch.setattr(racing, "spread", lambda races: Spread(0.05, 0.003))
    whole = session_in(tmp_path / "whole", load(str(small_folder), device="cpu"), settings)
    rounds, _ = run_rounds(whole, contexts(3))
    ledger = whole.run.ledger
    ran = [row.key for row in trainings_in(ledger, rl_place(1))]
    assert 9 <= len(ran) < 27
    decided = ledger.step("race rl 1 1")["contexts"]
    for row in ledger.rewards(rl_place(1)):
        assert not row.kept or row.candidate in decided[row.context_id]["alive"]
    for key in ran:
        assert key.repeat < 2 or key.candidate in decided[key.context_id]["running"]

    stopped = session_in(tmp_path / "stopped", load(str(small_folder), device="cpu"), settings)
    first = {key for key in ran if key.repeat == 0}

    def stop() -> None:
        if len(trainings_in(stopped.run.ledger, rl_place(1))) > len(first):
            raise KeyboardInterrupt

    monkeypatch.setattr(stopped.interrupt, "check", stop)
    with pytest.raises(KeyboardInterrupt):
        run_rounds(stopped, contexts(3))
    stopped.run.close()
    again = session_in(tmp_path / "stopped", load(str(small_folder), device="cpu"), settings)
    assert run_rounds(again, contexts(3))[0] == rounds
    trained = [{**vars(row), "seconds": 0} for row in trainings_in(again.run.ledger, rl_place(1))]
    assert trained == [{**vars(row), "seconds": 0} for row in trainings_in(ledger, rl_place(1))]
    for at in (whole, again):
        at.run.close()


def test_nothing_is_decided_where_a_judge_gave_no_verdict(
    small_folder, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(racing, "spread", lambda races: Spread(0.05, 0.003))
    settings = tiny_settings(rl__rounds=1, rl__repeats=3, rl__racing=True)
    at = session_in(tmp_path / "run", load(str(small_folder), device="cpu"), settings)
    passages, scored = contexts(3), at.grader
    unread = {question.text for question in passages[1].questions}

    class Mumbling(Grader):
        name = "mumbling"

        def grade(self, question: str, golds, answer: str) -> Grade:
            return (
                Grade(None, None, self.name)
                if question in unread
                else scored.grade(question, golds, answer)
            )

    at.grader = Mumbling()
    run_rounds(at, passages)
    ran = [row.context_id for row in trainings_in(at.run.ledger, rl_place(1))]
    assert ran.count(passages[1].id) == 9 and len(ran) < 27
    rewarded = at.run.ledger.rewards(rl_place(1))
    assert not any(row.kept for row in rewarded if row.context_id == passages[1].id)
    at.run.close()
    found = bench_racing([tmp_path / "run"], repeats=3, draws=5)
    assert found["simulated"]["n"] == 2


def test_the_benchmark_reads_a_runs_ledger(small_folder, tmp_path) -> None:
    with pytest.raises(UsageError, match="repeats of at least 2"):
        tiny_settings(rl__racing=True)
    at = session_in(
        tmp_path / "run",
        load(str(small_folder), device="cpu"),
        tiny_settings(rl__rounds=1, rl__repeats=2),
    )
    with pytest.raises(RunFolderError, match="no round is scored"):
        bench_racing([tmp_path / "run"])
    run_rounds(at, contexts(3))
    at.run.close()
    found = bench_racing([tmp_path / "run"], repeats=3, draws=20)
    assert (found["stored"]["n"], found["stored"]["races"]) == (3, 3)
    assert (found["simulated"]["n"], found["simulated"]["races"]) == (3, 60)
    assert 0 <= found["simulated"]["saved"] < 1 and 0 <= found["simulated"]["same"] <= 1
    assert found == bench_racing([tmp_path / "run"], repeats=3, draws=20)
