"""MLflow; ``MLFLOW_TRACKING_URI`` says where, as it does for MLflow itself."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from itertools import islice

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from selfedit.run.settings import flat
from selfedit.trackers.base import TrackedRun

_TAG, _ROW = "selfedit.id", "selfedit/row"
_PARAMETERS = 100
"""That MLflow takes at once, and the letters of one's value that every server of it takes."""
_VALUE_LETTERS = 500


class MLflow:
    """One run of an experiment that is called as the project."""

    def __init__(self, run: TrackedRun) -> None:
        # Of itself it would try for minutes, with the run waiting.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        self._client = MlflowClient()
        experiment = self._client.get_experiment_by_name(run.project)
        number = (
            experiment.experiment_id
            if experiment is not None
            else self._client.create_experiment(run.project)
        )
        # It names runs itself; ours is found by a tag.
        known = self._client.search_runs([number], f"tags.`{_TAG}` = '{run.id}'", max_results=1)
        self.last_step: int | None = -1
        if known:
            self._id = known[0].info.run_id
            self._client.set_terminated(self._id, "RUNNING")
            rows = self._client.get_metric_history(self._id, _ROW)
            self.last_step = max((metric.step for metric in rows), default=-1)
            return
        created = self._client.create_run(number, tags={_TAG: run.id}, run_name=run.name)
        self._id = created.info.run_id
        settings = iter(flat(run.settings))
        while part := list(islice(settings, _PARAMETERS)):
            params = [Param(name, str(value)[:_VALUE_LETTERS]) for name, value in part]
            self._client.log_batch(self._id, params=params)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        # One call, the row's number last: where it is, the rest of the row is too.
        metrics.append(Metric(_ROW, step, now, step))
        self._client.log_batch(self._id, metrics=metrics)

    def close(self) -> None:
        """See `Tracker`."""
        self._client.set_terminated(self._id, "FINISHED")


TRACKER = MLflow
