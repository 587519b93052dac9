"""A ledger's trials flattened, for tests that look at single answers or trainings."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace

from selfedit.run.ledger import Ledger
from selfedit.run.records import Place, Trial


def _with_key(trial: Trial, **more) -> SimpleNamespace:
    return SimpleNamespace(**trial.key._asdict(), key=trial.key, place=trial.place, **more)


def answers_in(ledger: Ledger, place: Place) -> list[SimpleNamespace]:
    """Every answer of a place with its trial's key, in the ledger's order."""
    return [
        _with_key(trial, **asdict(answer))
        for trial in ledger.trials(place)
        for answer in trial.answers
    ]


def trainings_in(ledger: Ledger, place: Place) -> list[SimpleNamespace]:
    """Every training of a place with its trial's key, in the ledger's order."""
    return [
        _with_key(trial, **asdict(trial.training))
        for trial in ledger.trials(place)
        if trial.training
    ]


def likelihoods_in(ledger: Ledger, place: Place) -> list[SimpleNamespace]:
    """Every reference answer's likelihood of a place with its trial's key, in the ledger's order."""
    return [
        _with_key(trial, **asdict(one))
        for trial in ledger.trials(place)
        for one in trial.likelihoods
    ]
