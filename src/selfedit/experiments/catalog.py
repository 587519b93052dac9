"""Every experiment by name: what it is, and where its function stands.

An experiment is one function, ``run(folder, settings, *, progress, interrupt) -> results``. It goes
on where it stopped, writes ``results.json`` into the folder and returns the same: ``rows: [{method,
accuracy, se, n, …}]``,
``paired: [{a, b, difference, se, n}]``, ``settings``, ``data`` (hashes), and what else it found.
Nothing is imported before an experiment is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from selfedit.config import Settings
from selfedit.errors import UsageError


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    Attributes:
        about: what it measures, one line.
        home: ``module:function`` under `selfedit.experiments`.
        data: the same of the function that reads and checks its data.
    """

    about: str
    home: str
    data: str

    def load(self) -> Callable[..., dict[str, Any]]:
        """Import its function."""
        return _imported(self.home)

    def check_data(self, settings: Settings) -> None:
        """Read all that the experiment works on, before a model is fetched.

        Raises:
            UsageError, DataError, FormatError: settings or data that cannot be used.
        """
        _imported(self.data)(settings)


def _imported(home: str) -> Callable[..., Any]:
    module, _, name = home.partition(":")
    return getattr(import_module(f"selfedit.experiments.{module}"), name)


EXPERIMENTS: dict[str, Experiment] = {
    "single-passage": Experiment(
        "one passage at a time: unadapted, in the prompt, passage only, own self-edits before RL"
        " and by round of it",
        "knowledge.single_passage:run_single_passage",
        "knowledge.train:knowledge_data",
    ),
    "replay": Experiment(
        "the published self-edits as training text for another learner",
        "knowledge.replay:run_replay",
        "knowledge.replay:replay_data",
    ),
    "cpt": Experiment(
        "continued pretraining on many passages at once, an adapter or all weights",
        "knowledge.cpt:run_cpt",
        "knowledge.cpt:cpt_data",
    ),
    "crossed": Experiment(
        "texts or weights: self-edits from before and after RL, each trained into the model before"
        " and after it",
        "knowledge.crossed:run_crossed",
        "knowledge.crossed:crossed_data",
    ),
    "few-shot": Experiment(
        "ARC: in-context learning, test-time training by self-edits before and after RL,"
        " Oracle TTT",
        "arc.few_shot:run_few_shot",
        "arc.few_shot:few_shot_data",
    ),
    "continual": Experiment(
        "passages one after the other into one model: what is kept, what is damaged, with remedies"
        " or without",
        "continual.run:run_continual",
        "continual.run:continual_data",
    ),
    "own-questions": Experiment(
        "the reward from questions the model writes itself, against the reward from gold questions",
        "rewards.own_questions:run_own_questions",
        "rewards.own_questions:own_questions_data",
    ),
    "rewards": Experiment(
        "cheaper rewards beside the true one: how well each predicts its ranking, at what cost",
        "rewards.compare:run_rewards",
        "rewards.compare:rewards_data",
    ),
}


def find_experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in EXPERIMENTS:
        fix = f"choose among {', '.join(EXPERIMENTS)}"
        raise UsageError(f"there is no experiment {name!r}", where="experiment", fix=fix)
    return EXPERIMENTS[name]
