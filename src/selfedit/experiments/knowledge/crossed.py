"""Texts or weights: what a model and its policy after RL write, each trained into each of them.

RL changes what is written and the weights it is trained into. Here the self-edits of θ_0 and of
θ_T about the same held-out passages are trained into θ_0 and into θ_T, under the same inner seeds,
so that the two can be told apart: 2 × 2 cells, and both models as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from selfedit.config import Settings
from selfedit.errors import UsageError
from selfedit.experiments.knowledge.methods import measure_written
from selfedit.experiments.knowledge.summary import method_results
from selfedit.models.names import model_path
from selfedit.rl.base_answers import measure_base
from selfedit.rl.evaluate import context_scores, held_out
from selfedit.rl.opening import RunOptions, open_passages
from selfedit.rl.policy import policy_folder, use_weights
from selfedit.rl.sample import sample
from selfedit.rl.session import Session
from selfedit.run.records import Phase, Place
from selfedit.storage.files import hash_folder
from selfedit.tasks.knowledge.contexts import data_hash
from selfedit.tasks.knowledge.heldout import heldout_contexts
from selfedit.tasks.task import Context

KIND = "crossed"
MODELS = ("before", "after")
"""θ_0 and θ_T: the model before RL and after it."""
METHODS = {
    "base-before": "the model before RL, not trained",
    "base-after": "the model after RL, not trained",
    "before-into-before": "self-edits from before RL, trained into the model before it",
    "after-into-before": "self-edits from after RL, trained into the model before it",
    "before-into-after": "self-edits from before RL, trained into the model after it",
    "after-into-after": "self-edits from after RL, trained into the model after it",
}
PAIRS = (
    ("before-into-before", "after-into-after"),
    ("before-into-before", "after-into-before"),
    ("before-into-after", "after-into-after"),
    ("before-into-before", "before-into-after"),
    ("after-into-before", "after-into-after"),
    ("base-before", "base-after"),
)
"""Both together, the texts' part in each model, the weights' part; the earlier row first."""


def run_crossed(
    folder: str | Path, settings: Settings, **options: Unpack[RunOptions]
) -> dict[str, Any]:
    """Start the experiment, or go on with it where it stopped; returns what is written to
    ``results.json``.

    ``crossed.policy`` is the model after RL; ``heldout``, ``edit``, ``inner``, ``answer``,
    ``eval.samples`` and ``eval.repeats`` are used.

    Raises:
        UsageError, DataError: settings or passages that cannot be used; nothing is written.
        SettingsChanged, RunFolderError, StorageFull, Interrupted: see `selfedit.errors`.
    """
    contexts, policy = crossed_data(settings)
    hashes = {"heldout": data_hash(contexts), "policy": hash_folder(policy)}
    with open_passages(folder, settings, hashes, kind=KIND, **options) as session:
        for model in MODELS:
            _use(session, model, policy, hashes["policy"])
            sample(session, _written_by(model), contexts, settings.eval.samples)
        # The policy's weights are there already.
        for model in reversed(MODELS):
            _use(session, model, policy, hashes["policy"])
            _measure_cells(session, model, contexts)
        scores = {method: context_scores(session.run.ledger, method) for method in METHODS}
        table = method_results(KIND, session, scores, hashes, pairs=PAIRS, questioned=contexts)
        results = replace(table, names=METHODS).as_dict()
        session.run.write_results(results)
    return results


def crossed_data(settings: Settings) -> tuple[list[Context], Path]:
    """The held-out passages, and the folder of the model after RL.

    Raises:
        UsageError, DataError: settings or passages that cannot be used.
    """
    contexts, named = heldout_contexts(settings), settings.crossed.policy
    if not contexts:
        raise UsageError("there are no passages", where="heldout", fix="name a file of them")
    if named is None:
        fix = "set crossed.policy to the model folder of a round, runs/NAME/policy/round-2/model"
        raise UsageError("there is no model after RL", where="crossed.policy", fix=fix)
    return contexts, policy_folder(named, "crossed.policy")


def crossed_pairs(methods: Collection[str]) -> list[tuple[str, str]]:
    """What is compared of these rows, the earlier first."""
    return [(b, a) for b, a in PAIRS if b in methods and a in methods]


def _use(session: Session, model: str, policy: Path, digest: str) -> None:
    """Give this process, its workers and its sampler the weights of one of the two models."""
    weights = digest if model == "after" else session.lm.fingerprint
    if session.weights == weights:
        return
    folder = policy if model == "after" else model_path(session.settings.model)
    use_weights(session, folder, weights)


def _measure_cells(session: Session, learner: str, contexts: Sequence[Context]) -> None:
    measure_base(session, held_out(f"base-{learner}"), contexts)
    for writer in MODELS:
        texts: dict[str, list[str]] = {context.id: [] for context in contexts}
        for row in session.run.ledger.self_edits(_written_by(writer)):
            texts[row.context_id].append(row.text)
        measure_written(session, f"{writer}-into-{learner}", contexts, texts)


def _written_by(model: str) -> Place:
    return Place(Phase.WRITE, model)
