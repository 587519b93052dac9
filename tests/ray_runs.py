"""Runs on a real Ray, and the marks of tests that start one."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from selfedit.config import Settings
from selfedit.lm.load import load
from selfedit.rl.rest_em import run_rounds
from selfedit.run.folder import RunFolder
from selfedit.run.records import Trial
from tiny_run import contexts, session_in, tiny_settings

STORE = 80 * 2**20
"""Bytes of a node's object store."""
SIZE = {"inner__group": 2, "rl__rounds": 2}

RAY_MARKS = [
    pytest.mark.slow,
    pytest.mark.server,
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def settings_for(cluster: Any, folder: Path, workers: int = 2, **changed: Any) -> Settings:
    return tiny_settings(
        workers=workers,
        model=str(folder),
        device="cpu",
        engine__kind="ray",
        engine__address=cluster.address,
        **changed,
    )


def run_on_ray(cluster: Any, model: Path, folder: Path, workers: int) -> None:
    """A small run whose inner loops are trained by so many actors."""
    from selfedit.engine.ray import RayEngine

    settings = settings_for(cluster, model, workers, **SIZE)
    engine = RayEngine(settings)
    try:
        session = session_in(folder, load(str(model), device="cpu"), settings)
        session = replace(session, engine=engine, sampler=None)
        run_rounds(session, contexts(3))
        session.run.close()
    finally:
        engine.close()


def run_here(model: Path, folder: Path, workers: int) -> None:
    """The same run in this process, in the groups that so many workers have."""
    session = session_in(folder, load(str(model), device="cpu"), tiny_settings(**SIZE))
    session.engine.workers = workers
    run_rounds(session, contexts(3))
    session.run.close()


def timeless(trial: Trial) -> Trial:
    return replace(
        trial,
        training=trial.training and replace(trial.training, seconds=0.0),
        answers=tuple(replace(answer, seconds=0.0) for answer in trial.answers),
    )


def stored(folder: Path) -> list[Any]:
    """All that a ledger has, without times."""
    with RunFolder.read(folder) as run:
        places = run.ledger.places()
        trials = [timeless(trial) for place in places for trial in run.ledger.trials(place)]
        rewards = [row for place in places for row in run.ledger.rewards(place)]
        edits = [replace(e, seconds=0.0) for p in places for e in run.ledger.self_edits(p)]
    return sorted(map(repr, [*trials, *rewards, *edits]))


def lose_node(cluster: Any, node: Any, folder: Path, trials: int, seconds: float = 0.0) -> None:
    """Kill a node so many seconds after so many trials are stored."""
    end = time.monotonic() + 120
    while count_trials(folder) < trials and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(seconds)
    cluster.remove_node(node, allow_graceful=False)


def count_trials(folder: Path) -> int:
    """Trials that a run has stored so far."""
    try:
        with sqlite3.connect(f"file:{folder / 'ledger.sqlite'}?mode=ro", uri=True) as database:
            return database.execute("select count(*) from trials").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
