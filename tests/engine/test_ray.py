"""Actors of a real Ray cluster of two nodes: the same numbers as here, and nothing is lost with a
node.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.test_engine import finished, works
from ray_runs import RAY_MARKS, STORE, lose_node, run_here, run_on_ray, settings_for, stored
from selfedit.engine.base import TrialBatch
from selfedit.engine.local import LocalEngine
from selfedit.errors import DataError, Interrupted, Unavailable
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob, OptimSpec
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.lora import LoraSpec
from selfedit.rl.policy import merge, save_policy
from selfedit.run.interrupt import own_signals
from tiny_run import tiny_settings

ray = pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = RAY_MARKS


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that may have one worker, and a node with one more."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    with own_signals():
        cluster = Cluster(initialize_head=True, head_node_args=head)
        cluster.add_node(num_cpus=1, object_store_memory=STORE)
    yield cluster
    cluster.shutdown()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As a worker of one core has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def lm(tiny_folder: Path) -> LanguageModel:
    return load(str(tiny_folder), device="cpu")


@pytest.fixture
def engine(cluster: Any, tiny_folder: Path) -> Iterator[Any]:
    from selfedit.engine.ray import RayEngine

    engine = RayEngine(settings_for(cluster, tiny_folder))
    yield engine
    engine.close()


def test_actors_give_what_this_process_gives(
    engine: Any, lm: LanguageModel, tiny_folder: Path, tmp_path: Path
) -> None:
    """Before and after a policy is broadcast; an error of the work comes back as it is."""
    given = works(lm, 5)
    before = finished(engine, given)
    assert before == finished(LocalEngine(lm), given)
    room = engine.room()
    assert room.device == "cpu" and 0 < room.free <= room.total and room.sharing == 1
    policy = load(str(tiny_folder), device="cpu")
    strong = AdaptJob(["Something else."], LoraSpec(4, 64), OptimSpec(lr=0.05, epochs=3), 1)
    adapter = adapt(policy, [strong])[0]
    merge(policy, adapter)
    save_policy(policy, adapter, tmp_path / "round-1", merged=True)
    engine.load_weights(tmp_path / "round-1" / "model")
    after = finished(engine, given)
    assert after == finished(LocalEngine(policy), given) != before
    bad = TrialBatch((AdaptJob([], LoraSpec(2, 8, ("q_proj",))),), ((),), 4)
    with pytest.raises(DataError, match="nothing to train on"):
        list(engine.run([bad], lambda _: None, lambda: None))


def test_asked_to_stop_it_finishes_what_is_in_hand(engine: Any, lm: LanguageModel) -> None:
    received: list[int] = []

    def stop() -> None:
        if received:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        for index, _ in engine.run(works(lm, 12), lambda _: None, stop):
            received.append(index)
    # The first, what the other was doing, and at most one that had begun meanwhile each.
    assert 1 <= len(received) <= 4


def test_a_run_with_a_node_lost_in_it_ends_like_one_of_one_process(
    cluster: Any, small_folder: Path, tmp_path: Path
) -> None:
    node = cluster.add_node(num_cpus=1, object_store_memory=STORE)
    lost = threading.Thread(target=lose_node, args=(cluster, node, tmp_path / "ray", 1))
    lost.start()
    try:
        run_on_ray(cluster, small_folder, tmp_path / "ray", 3)
    finally:
        lost.join()
    run_here(small_folder, tmp_path / "here", 3)
    assert stored(tmp_path / "ray") == stored(tmp_path / "here") != []


@pytest.mark.parametrize(
    ("address", "word"),
    [("127.0.0.1:9", "refused"), ("ray://127.0.0.1:9", "refused"), ("nowhere", "no HOST:PORT")],
)
def test_an_address_where_nothing_listens(tiny_folder: Path, address: str, word: str) -> None:
    from selfedit.engine.ray import RayEngine

    if ray.is_initialized():
        ray.shutdown()
    settings = tiny_settings(model=str(tiny_folder), engine__kind="ray", engine__address=address)
    with pytest.raises(Unavailable, match=f"cannot be joined: .*{word}") as caught:
        RayEngine(settings)
    assert caught.value.exit_code == 4 and address in str(caught.value)


def test_a_model_that_a_node_does_not_have(cluster: Any, tmp_path: Path) -> None:
    from selfedit.engine.ray import RayEngine

    engine = RayEngine(settings_for(cluster, tmp_path / "nowhere", 1))
    try:
        with pytest.raises(Unavailable, match=r"node [\d.]+ cannot load the model"):
            engine.read([])
            engine.room()
    finally:
        engine.close()
