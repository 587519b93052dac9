"""Each tracker for real: a run that is killed and goes on, read back with the tracker's own
library.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from followed_run import followed
from test_following import killed_at, metrics_of

from selfedit.trackers.following import numbers_of

pytestmark = pytest.mark.filterwarnings("ignore")
KILLED_AT = 2


@pytest.fixture
def run(request, small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes a run with a tracker, killed once, and gives what its metrics say by step."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_KEY", "sk-do-not-write-me")

    def make(tracker: str) -> dict[int, dict[str, float]]:
        folder = tmp_path / "run"
        killed_at(KILLED_AT, folder, small_folder, tracker)
        assert json.loads((folder / "trackers.json").read_text())[tracker]["row"] == KILLED_AT
        followed(folder, str(small_folder), tracker)
        for path in tmp_path.rglob("*"):
            assert not path.is_file() or b"sk-do-not-write-me" not in path.read_bytes()
        return {number: numbers_of(row) for number, row in enumerate(metrics_of(folder))}

    return make


def check(rows: dict[int, dict[str, float]], found: list[tuple[int, str, float]]) -> None:
    """Every number of every row once, and nothing else."""
    sent = [(step, name) for step, values in rows.items() for name in values]
    assert Counter((step, name) for step, name, _ in found) == Counter(sent)
    for step, name, value in found:
        assert value == pytest.approx(rows[step][name], rel=1e-6)


def test_tensorboard(run, tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="needs selfedit[tensorboard]",
    )
    rows = run("tensorboard")
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    found = []
    for name in events.Tags()["scalars"]:
        found += [(event.step, name, event.value) for event in events.Scalars(name)]
    check(rows, found)
    assert len(list((tmp_path / "run" / "tensorboard").glob("events.*"))) == 2


def test_mlflow(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs selfedit[mlflow]")
    # A store of files: a database would be made by fifty migrations first.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    mlflow.set_tracking_uri(None)
    rows = run("mlflow")
    client = mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("selfedit")
    (there,) = client.search_runs([experiment.experiment_id])
    found = []
    for name in there.data.metrics:
        history = client.get_metric_history(there.info.run_id, name)
        found += [(metric.step, name, metric.value) for metric in history]
    check(rows, [each for each in found if each[1] != "selfedit/row"])
    assert there.data.params["rl.candidates"] == "2" and there.info.status == "FINISHED"


def test_wandb(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="needs selfedit[wandb]")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    rows = run("wandb")
    files = sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2 and len({path.name for path in files}) == 1  # one run's id
    check(rows, [row for path in files for row in wandb_rows(path)])


def wandb_rows(path: Path) -> Iterator[tuple[int, str, float]]:
    """The history in an offline file: wandb's records in LevelDB's log, the form that `wandb sync`
    reads: after 7 bytes, blocks of 32 KiB, in them pieces of records after 7 bytes of their own.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            record, whole = Record.FromString(whole), b""
            items = {"/".join(i.nested_key) or i.key: i.value_json for i in record.history.item}
            for name, value in items.items():
                if not name.startswith("_"):
                    yield int(items["_step"]), name, float(value)


def test_trackio(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    trackio = pytest.importorskip(
        "trackio", reason="needs selfedit[trackio], which wants an older Pillow than we test with"
    )
    rows = run("trackio")
    ((name,), logs) = (trackio.SQLiteStorage.get_runs("selfedit"), [])
    for log in trackio.SQLiteStorage.get_logs("selfedit", name):
        logs += [(log["step"], key, value) for key, value in log.items() if "/" in key]
    check(rows, logs)
