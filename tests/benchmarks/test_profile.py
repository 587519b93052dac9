"""Where the time goes: kinds of operations that add up, products with their rate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.memory import peak_allocated
from benchmarks.profile import KINDS, PYTHON, REST, WEIGHTS, _kind, _profiled, bench_profile
from selfedit.config import read_settings
from selfedit.report.bench_tables import bench_tables


def test_kinds_add_up_to_the_whole(small_folder: Path) -> None:
    settings = read_settings(overrides={"model": str(small_folder), "inner": {"lora": {"rank": 2}}})
    found = bench_profile(
        settings, together=2, adapters=2, rows=3, questions=2, new_tokens=3, rate_size=64
    )
    assert [row["work"].split(",")[0] for row in found["rows"]] == [
        "adapting",
        "answering",
        "answering",
    ]
    for row in found["rows"]:
        kinds = {kind["kind"]: kind for kind in row["kinds"]}
        assert list(kinds) == [*KINDS, REST, PYTHON]
        assert sum(kind["seconds"] for kind in kinds.values()) == pytest.approx(row["seconds"])
        assert kinds[WEIGHTS]["of_rate"] > 0 and kinds[WEIGHTS]["seconds"] < row["seconds"]
        assert row["at_best"] == pytest.approx(sum(k["share"] for k in list(kinds.values())[:2]))
    adapting, answering, plain = (
        {k["kind"]: k["seconds"] for k in row["kinds"]} for row in found["rows"]
    )
    assert adapting["AdamW and clipping"] > 0 and not answering["AdamW and clipping"]
    assert plain["attention"] > 0
    memory = found["memory"]
    assert (memory["from_k"], memory["to_k"]) == (1, 2) and 0 < memory["extra"] < memory[
        "per_adapter"
    ]
    assert found["targets"][0]["measured"] == pytest.approx(memory["extra"] / memory["activations"])
    assert len(bench_tables(found)) == 3 + 2


def test_a_single_inner_loop_has_no_memory_of_one_more(small_folder: Path) -> None:
    settings = read_settings(overrides={"model": str(small_folder), "inner": {"lora": {"rank": 2}}})
    found = bench_profile(
        settings, together=1, adapters=1, rows=1, questions=1, new_tokens=2, rate_size=64
    )
    assert found["memory"] is None and found["targets"] == [] and len(bench_tables(found)) == 3


def test_the_peak_of_tensors_is_what_was_alive_at_once() -> None:
    def run() -> None:
        first = torch.zeros(1000, dtype=torch.float32)
        second = first.clone()
        del first
        second + second

    assert 8000 <= peak_allocated(run, torch.device("cpu")) < 8000 + 512


def test_every_product_has_its_kind() -> None:
    assert _kind("aten::mm") == WEIGHTS and _kind("aten::mul") == REST
    assert _kind("aten::bmm") == "batched products (adapters, decode attention)"
    assert _kind("aten::index_select") == "gathers and copies"


def test_a_product_is_counted_with_its_operations() -> None:
    a = torch.rand(64, 64)
    found = _profiled(lambda: [torch.mm(a, a) for _ in range(50)], rate=1.0, device=a.device)
    weights = found["kinds"][0]
    assert weights["of_rate"] * weights["seconds"] == pytest.approx(50 * 2 * 64**3)
