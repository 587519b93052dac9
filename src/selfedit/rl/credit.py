"""Credit a line: what a self-edit earns without each of its lines says what the line is worth.

A reward is of a whole self-edit, and much of its variance is which lines that happens to have. With
``rl.credit = "line"`` every self-edit that is learned from is tried again without each of its
lines, in groups of such trials and with the seeds of the whole one, and a line is worth what is
lost without it: the counterfactual baseline of COMA (Foerster et al. 2018, arXiv 1705.08926), with
the line left out as its default action. The line's tokens carry that in the update:

- `filtered_sft` weights them by it, not below 0, so that the weights of a self-edit are 1 in the
  mean;
- `rloo` and `grpo` add to the self-edit's advantage what the line is worth beside the mean over its
  tokens, in `grpo` over the standard deviation of the context's rewards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from selfedit.errors import UsageError
from selfedit.lm.load import LanguageModel
from selfedit.rl.rewards.base import ScoredRound
from selfedit.rl.scoring import run_trials
from selfedit.rl.session import AnySession
from selfedit.rl.trial import PlannedTrial, plan_trials
from selfedit.rl.updates.base import ScoredEdits
from selfedit.run.records import Phase, Place, SelfEditRow

Key = tuple[str, int]
"""A context's id and a candidate."""


@dataclass(frozen=True)
class _Shorter:
    """A self-edit without one of its lines, and its number among its context's."""

    row: SelfEditRow
    line: int
    number: int


def check_lines(session: AnySession) -> None:
    """Refuse what has no lines to credit.

    Raises:
        UsageError: self-edits are written under a grammar.
    """
    if session.settings.rl.credit == "line" and session.task.rule() is not None:
        what = "self-edits under a grammar have no lines to credit"
        raise UsageError(what, where="rl.credit", fix="set rl.credit = self-edit")


def lines_of(text: str) -> list[str]:
    """A self-edit's lines with something in them."""
    return [line for line in text.split("\n") if line.strip()]


def token_lines(lm: LanguageModel, ids: Sequence[int], text: str) -> list[int]:
    """For each token its line, from 0, of `lines_of`; a line break counts to the line it ends."""
    # A text of blanks has no line, but its tokens still need a number.
    last = max(1, len(lines_of(text))) - 1
    lines = []
    for index in range(len(ids)):
        # Up to the last line break: the line in progress counts as not finished.
        finished = lines_of(lm.decode(ids[:index]).rpartition("\n")[0])
        lines.append(min(len(finished), last))
    return lines


def with_line_credit(session: AnySession, scored: ScoredEdits) -> ScoredEdits:
    """The same with what each token of the self-edits that are learned from is worth beside the
    others of its self-edit, where ``rl.credit`` asks for it.

    What the ledger has is not tried again. Self-edits of one line have nothing to share out.
    """
    if session.settings.rl.credit != "line":
        return scored
    # A self-edit of one line loses all with it: there is nothing to share.
    learned = [row for row in session.update.learns_from(scored) if len(lines_of(row.text)) > 1]
    lost = _lost_without_lines(session, scored, learned)
    worths: dict[Key, tuple[float, ...]] = {}
    for row in learned:
        key, sampled = (row.context_id, row.candidate), row.sampled
        if sampled is not None and key in lost:
            lines = token_lines(session.lm, sampled.ids, row.text)
            worths[key] = tuple(lost[key][line] for line in lines)
    return replace(scored, worths=worths)


def _lost_without_lines(
    session: AnySession, scored: ScoredEdits, learned: Sequence[SelfEditRow]
) -> Mapping[Key, list[float]]:
    """For each self-edit what its reward loses without each line; what could not be measured counts
    as the mean of the others, and a self-edit of which nothing could be is left out.
    """
    # A phase of its own in the ledger: these trials are no candidates of the round.
    place: Place = Place(Phase.CREDIT, round=scored.number)
    shorter = _without_lines(learned)
    planned = _planned(session, scored, shorter)
    run_trials(session, place, planned, session.reward.needs)
    ledger, contexts = session.run.ledger, list(scored.contexts.values())
    e_step = ledger.trials(Place(Phase.RL, round=scored.number))
    # The round's own base: without it the reward has nothing to compare with.
    base = [trial for trial in e_step if trial.candidate is None]
    rows = [replace(each.row, candidate=each.number) for each in shorter]
    trials = ScoredRound(place, contexts, rows, [*base, *ledger.trials(place)])
    values = session.reward.values(session, trials)
    measured = {(row.context_id, row.candidate): row.accuracy for row in scored.rewards}
    lost: dict[Key, list[float]] = {}
    for each in shorter:
        key = (each.row.context_id, each.row.candidate)
        left = values[each.row.context_id, each.number].measured
        lost.setdefault(key, []).append(measured[key] - left)
    # NaN where nothing could be measured without the line.
    known = {key: _without_gaps(losses) for key, losses in lost.items()}
    return {key: losses for key, losses in known.items() if losses}


def _without_lines(learned: Sequence[SelfEditRow]) -> list[_Shorter]:
    """Every self-edit without each of its lines in turn, numbered within its context."""
    shorter: list[_Shorter] = []
    numbers: dict[str, int] = {}
    for row in learned:
        lines = lines_of(row.text)
        for line in range(len(lines)):
            number = numbers.get(row.context_id, 0)
            numbers[row.context_id] = number + 1
            # Without line k, with all others as they were.
            text = "\n".join(lines[:line] + lines[line + 1 :])
            shorter.append(_Shorter(replace(row, text=text), line, number))
    return shorter


def _planned(
    session: AnySession, scored: ScoredEdits, shorter: Sequence[_Shorter]
) -> list[PlannedTrial]:
    """The trials of whole self-edits, with their seeds, of what is left of them."""
    place: Place = Place(Phase.RL, round=scored.number)
    repeats = range(session.settings.rl.repeats)
    contexts = list(scored.contexts.values())
    planned: list[PlannedTrial] = []
    for each in shorter:
        # The seeds of the whole self-edit: what changes is the line alone (common random numbers).
        trials = plan_trials(session, place, contexts, [each.row], repeats)
        planned += [replace(trial, candidate=each.number) for trial in trials]
    return planned


def _without_gaps(losses: Sequence[float]) -> list[float]:
    known = [value for value in losses if not math.isnan(value)]
    return [fmean(known) if math.isnan(value) else value for value in losses] if known else []


def line_weights(worths: Sequence[float]) -> list[float]:
    """Worths of a self-edit's tokens as weights of their likelihood: not below 0, 1 in the mean;
    all 1 where no line is worth anything.
    """
    positive = [max(0.0, worth) for worth in worths]
    mean = fmean(positive)
    return [value / mean for value in positive] if mean > 0 else [1.0] * len(positive)
