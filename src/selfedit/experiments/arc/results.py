"""What a few-shot run found: the rows, what the policy writes before and after, whether the reward
had signal.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from typing import Any

from selfedit.experiments.arc.filter import filter_record
from selfedit.experiments.arc.notes import notes
from selfedit.results.compare import compare
from selfedit.results.results import Results
from selfedit.results.tabular import Cell, Column, Form, Table
from selfedit.rl.evaluate import context_scores, held_out
from selfedit.rl.rounds import Round, rl_place
from selfedit.rl.session import Session
from selfedit.rl.signal import reward_signal
from selfedit.run.ledger import Ledger
from selfedit.run.records import Place, SelfEditRow
from selfedit.tasks.arc.contexts import ArcContext
from selfedit.tasks.arc.few_shot import FewShotTask
from selfedit.tasks.update_tools import UPDATE_TOOLS

SHOWN = 6
"""Tasks whose self-edits are shown side by side."""


def few_shot_results(
    session: Session[FewShotTask],
    train: Sequence[ArcContext],
    heldout: Sequence[ArcContext],
    rounds: Sequence[Round],
    methods: Mapping[str, str],
) -> dict[str, Any]:
    """The results of a finished run; no times and no dates, so that equal runs give equal bytes."""
    settings, ledger, task = session.settings, session.run.ledger, session.task
    measured = [
        m for m in methods if m in settings.eval.methods and (m != "seal" or settings.rl.rounds)
    ]
    scores = {method: context_scores(ledger, method, task) for method in measured}
    compared = compare(scores)
    rows = [
        replace(row, more={"trials": ledger.trial_count(held_out(row.method))})
        for row in compared.rows
    ]
    policies = _policies(ledger, task, len(rounds))
    return Results(
        experiment="few-shot",
        title="ARC tasks solved (n counts tasks, the standard error is over tasks)",
        names=methods,
        rows=rows,
        paired=compared.paired,
        tables=[
            _what_changed(policies),
            _before_and_after(ledger),
            *_signal_table(ledger, task, rounds),
        ],
        notes=notes(settings, filter_record(ledger, task)),
        contexts=scores,
        model={"name": settings.model, "fingerprint": session.lm.fingerprint},
        data=session.run.settings["data"],
        settings=settings.model_dump(mode="json"),
        more={
            "tasks": {"train": [c.id for c in train], "heldout": [c.id for c in heldout]},
            "filter": filter_record(ledger, task) or None,
            "rounds": [asdict(r) for r in rounds],
            "signal": [reward_signal(ledger.each_trial(rl_place(r.round)), task) for r in rounds],
            "policies": policies,
        },
    ).as_dict()


def _policies(ledger: Ledger, task: FewShotTask, rounds: int) -> list[dict[str, Any]]:
    places = [(f"round {n}", rl_place(n)) for n in range(1, rounds + 1)]
    places += [("held-out, before RL", held_out("own")), ("held-out, after RL", held_out("seal"))]
    return [
        _policy(name, rows, ledger, at, task)
        for name, at in places
        if (rows := ledger.self_edits(at))
    ]


def _policy(
    name: str, rows: Sequence[SelfEditRow], ledger: Ledger, at: Place, task: FewShotTask
) -> dict[str, Any]:
    """What a policy writes: how often valid, and how often it asks for what, as shares of the valid
    ones.
    """
    noted = [json.loads(row.directives_json or "{}") for row in rows]
    edits = [note["self_edit"] for note in noted if "self_edit" in note]
    refused = Counter[str]()
    for note in noted:
        refused.update(note.get("refused", {}))
    share = max(1, len(edits))
    chosen = Counter(chain.from_iterable(set(edit["families"]) for edit in edits))
    choices = {f"{family} on": chosen[family] for family in task.toolbox.families}
    choices |= {"loss on outputs only": sum(e["loss_on"] == "output" for e in edits)}
    choices |= _counts("learning rate", [e["learning_rate"] for e in edits])
    choices |= _counts("epochs", [e["epochs"] for e in edits])
    for name in dict.fromkeys(key for e in edits for key in e if key in UPDATE_TOOLS):
        choices |= {f"{name} {value}": n for value, n in Counter(e[name] for e in edits).items()}
    untrained = sum(t.training is not None and t.training.steps == 0 for t in ledger.each_trial(at))
    return {
        "policy": name,
        "n": len(rows),
        "constrained": all(note.get("constrained", False) for note in noted),
        "valid": len(edits) / len(rows),
        "tries": sum(note.get("tries", 1) for note in noted) / len(rows),
        "refused": dict(sorted(refused.items())),
        "untrained_loops": untrained,
        "asked": {key: value / share for key, value in choices.items()},
    }


def _counts(what: str, values: Sequence[float]) -> dict[str, int]:
    """How often each value was asked for; free numbers, where there are many, by power of ten."""
    few = len(set(values)) <= 8
    counts = Counter(
        f"{value:g}" if few else f"about {float(f'{value:.0e}'):.0e}" for value in values
    )
    return {
        f"{what} {value}": counts[value]
        for value in sorted(counts, key=lambda v: float(v.removeprefix("about ")))
    }


def _what_changed(policies: Sequence[Mapping[str, Any]]) -> Table:
    """Every choice a row, every policy a column."""
    rows: list[list[Cell]] = [
        ["self-edits (n)", *(policy["n"] for policy in policies)],
        ["valid %", *(policy["valid"] for policy in policies)],
        ["inner loops without training", *(policy["untrained_loops"] for policy in policies)],
    ]
    forms: list[Form] = ["plain", "percent", "plain"]
    for key in dict.fromkeys(key for policy in policies for key in policy["asked"]):
        rows.append([f"{key} %", *(policy["asked"].get(key, 0.0) for policy in policies)])
        forms.append("percent")
    return Table.make(
        "What the policy asks for", ["", *(policy["policy"] for policy in policies)], rows, forms
    )


def _before_and_after(ledger: Ledger) -> Table:
    """The first self-edit of a few tasks before and after RL."""
    before = {
        row.context_id: row for row in ledger.self_edits(held_out("own")) if row.candidate == 0
    }
    after = {
        row.context_id: row for row in ledger.self_edits(held_out("seal")) if row.candidate == 0
    }
    rows = [
        [name, _one_line(before[name]), _one_line(after[name])]
        for name in list(before)[:SHOWN]
        if name in after
    ]
    return Table.make("Self-edits of held-out tasks", ["task", "before RL", "after RL"], rows)


def _one_line(row: SelfEditRow) -> str:
    edit = json.loads(row.directives_json or "{}").get("self_edit")
    if edit is None:
        return f"refused: {(row.rejected or '')[:60]}"
    families = "+".join(edit["families"]) or "no tools"
    return f"{families}, loss on {edit['loss_on']}, {edit['learning_rate']:g} × {edit['epochs']}"


def _signal_table(ledger: Ledger, task: FewShotTask, rounds: Sequence[Round]) -> list[Table]:
    """Does the best self-edit of a task win again? Only where each had two inner seeds or more."""
    rows: list[list[Cell]] = []
    for done in rounds:
        for name, graded in (("solved", False), ("the reward", True)):
            signal = reward_signal(ledger.each_trial(rl_place(done.round)), task, graded=graded)
            if (gain := signal["gain"]) is None or (graded and task.arc.reward == "solved"):
                continue
            cells: list[Cell] = [
                gain["mean"],
                gain["se"],
                signal["n"],
                signal["undecided"],
                signal["reliability"],
            ]
            rows.append([f"round {done.round}, {name}", *cells])
    columns = [
        "best by one seed, on the others",
        Column("points above the rest", "points"),
        Column("se", "percent"),
        "n",
        "no difference",
        Column("reliability %", "percent"),
    ]
    return (
        [Table.make("Does the best self-edit of a task win again?", columns, rows)] if rows else []
    )
