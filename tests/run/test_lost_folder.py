"""A run's folder that disappears, while the run works in it or between two starts."""

import shutil

import pytest

from run_rows import HERE, answer, base_trial, reward
from selfedit.errors import RunFolderError
from selfedit.experiments.train import train
from selfedit.run.folder import RunFolder
from selfedit.run.ledger import Ledger
from selfedit.storage.files import folder_atomic
from selfedit.tasks.knowledge.task import KnowledgeTask
from stopping import Stop
from tiny_run import HashGrader, contexts, tiny_settings


def move(folder):
    folder.rename(folder.with_name("elsewhere"))


def remove(folder):
    shutil.rmtree(folder)


def empty(folder):
    remove(folder)
    folder.mkdir()


def remove_the_ledger(folder):
    (folder / "ledger.sqlite").unlink()


def empty_the_ledger(folder):
    (folder / "ledger.sqlite").write_bytes(b"")


def exchange(folder):
    move(folder)
    RunFolder.open(folder, {}, kind="rl").close()


LOSSES = [move, remove, empty, remove_the_ledger, empty_the_ledger, exchange]


def fill_policy(run):
    with folder_atomic(run.policy(1)) as new:
        (new / "weights").write_text("w")


WRITES = {
    "ledger": lambda run: run.ledger.add_rewards([reward()]),
    "step": lambda run: run.ledger.finish_step("one", {}),
    "metric": lambda run: run.append_metric({"a": 1}),
    "results": lambda run: run.write_results({}),
    "policy": fill_policy,
    "adapters": lambda run: run.adapters,
}


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_nothing_is_written_to_a_folder_that_is_no_longer_the_runs(tmp_path, lose, write):
    with RunFolder.open(tmp_path / "run", {}, kind="rl") as run:
        run.ledger.add_trials([base_trial()])
        lose(run.path)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(RunFolderError, match="moved, removed or emptied"):
            write(run)
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("lose", LOSSES)
def test_a_whole_run_ends_in_an_error_and_not_in_results(tiny_lm, tmp_path, lose):
    class Lose(Stop):
        def check(self):
            self.left -= 1
            if self.left == 0:
                lose(tmp_path / "run")

    settings = tiny_settings(rl__rounds=1, eval__methods=("base",))
    with pytest.raises(RunFolderError, match="moved, removed or emptied"):
        train(
            tmp_path / "run", settings, KnowledgeTask, contexts(3), contexts(1, 3), HashGrader(),
            interrupt=Lose(2), lm=tiny_lm,
        )  # fmt: skip
    assert not (tmp_path / "run" / "results.json").exists()


@pytest.mark.parametrize("loss", ["missing", "empty"])
def test_a_lost_ledger_is_not_begun_anew(tmp_path, loss):
    folder = tmp_path / "run"
    with RunFolder.open(folder, {}, kind="rl") as run:
        run.ledger.add_rewards([reward()])
    (remove_the_ledger if loss == "missing" else empty_the_ledger)(folder)
    (folder / "ledger.sqlite-wal").write_bytes(b"what could be saved")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.name != ".lock"}
    for opening in (lambda: RunFolder.open(folder, {}, kind="rl"), lambda: RunFolder.read(folder)):
        with pytest.raises(RunFolderError, match=f"the ledger is {loss}"):
            opening()
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.name != ".lock"} == before


def test_a_start_that_was_killed_before_its_ledger_is_finished(tmp_path):
    folder = tmp_path / "run"
    RunFolder.open(folder, {}, kind="rl").close()
    marker = folder / "run.json"
    marker.write_text(marker.read_text().replace('"ledger": true', '"ledger": false'))
    for begin in (remove_the_ledger, empty_the_ledger):
        begin(folder)
        with RunFolder.open(folder, {}, kind="rl") as run:
            run.ledger.add_rewards([])
        marker.write_text(marker.read_text().replace('"ledger": true', '"ledger": false'))


def test_a_copy_of_the_file_alone_holds_everything_up_to_the_last_finished_step(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        for number in range(5):
            ledger.add_trials([base_trial(f"c{number}", answers=[answer()])])
        with ledger.transaction():
            ledger.add_rewards([reward()])
            ledger.finish_step("round-1", {})
        shutil.copy(ledger.path, tmp_path / "copy.sqlite")
        stored = ledger.trials(HERE)
    with Ledger(tmp_path / "copy.sqlite", begun=True) as copy:
        assert copy.trials(HERE) == stored and len(stored) == 5
        assert copy.step("round-1") == {} and copy.rewards(HERE) == [reward()]
