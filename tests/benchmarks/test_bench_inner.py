"""``bench inner``: the contestants do the same work, and what is printed follows from what was
measured.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.children import all_at_once, children
from benchmarks.inner import QUICK, bench_inner, cells
from benchmarks.work import make_work, read_work
from selfedit.config import ALL_LINEAR, read_settings
from selfedit.errors import Interrupted, Unavailable, UsageError
from selfedit.lm.bank import AdapterBank
from selfedit.lm.load import load
from selfedit.lm.lora import LoraSpec
from selfedit.lm.shape import KNOWN, Shape
from selfedit.run.interrupt import Interrupt

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT's and the Trainer's own

SMALL = replace(
    QUICK,
    loops=5,
    together=(1, 3),
    published_together=(3,),
    workers=2,
    pad_to=300,
    rate_size=64,
    timed_epochs=2,
)


def tiny(model: Path):
    return read_settings(
        overrides={
            "model": str(model),
            "device": "cpu",
            "inner.lora.rank": 3,
            "inner.optim.epochs": 4,
        }
    )


def test_every_contestant_does_the_same_work(
    small_folder: Path, tmp_path: Path, here: list[str]
) -> None:
    results = bench_inner(tmp_path / "run", tiny(small_folder), SMALL)
    names = {(r["contestant"], r["lora"], r["k"], r["workers"]) for r in results["rows"]}
    assert {
        ("published", "published", 1, 1),
        ("careful", "recipe", 1, 1),
        ("together", "recipe", 3, 1),
    } <= names
    assert ("together", "recipe", 1, 2) in names and (
        "together",
        "recipe",
        3,
        2,
    ) not in names  # 6 of 5 loops
    assert results["losses"]["largest"] < 1e-4
    work = read_work(tmp_path / "run" / "work.json")
    real = [
        m
        for name, rounds in results["measured"].items()
        if "published/" not in name
        for m in rounds
    ]
    assert all(
        m["tokens"] == 2 * sum(work.tokens) and m["loops"] == 5 for m in real if "tokens" in m
    )
    for row in results["rows"]:
        if row["contestant"] == "careful":
            assert row["padding"] == pytest.approx(0) and row["ratio_to_careful"] == 1
        assert row["tokens_per_second"] == pytest.approx(4 * sum(work.tokens) / 5 / row["seconds"])
        assert row["computed_per_second"] >= row["tokens_per_second"] * 0.999
    one = next(r for r in results["rows"] if r["contestant"] == "careful" and r["lora"] == "recipe")
    measured = results["measured"]["careful/recipe/K1/1x1"][0]
    assert one["seconds"] == pytest.approx(measured["seconds"] / 5 * 2)  # 2 of 4 epochs
    assert {"rate", "published", "careful", "warm_up", "together"} == set(here)


def test_the_published_recipe_is_scaled_by_its_steps(
    small_folder: Path, tmp_path: Path, here: list[str]
) -> None:
    results = bench_inner(
        tmp_path / "run", tiny(small_folder), replace(SMALL, together=(3,), workers=1)
    )
    row = next(r for r in results["rows"] if r["contestant"] == "published")
    work = read_work(tmp_path / "run" / "work.json")
    sequences = sum(map(len, work.sequences)) / 5
    (step,) = results["measured"]["published/published/K1/1x1"][0]["step_seconds"]
    assert row["seconds"] == pytest.approx(step * 4 * sequences)
    assert row["padding"] == pytest.approx(1 - sum(work.tokens) / 5 / sequences / 300)
    assert results["memory"] is None  # a single K has no slope


def test_stopped_it_goes_on_with_the_next_cell(
    small_folder: Path, tmp_path: Path, here: list[str]
) -> None:
    size = replace(SMALL, together=(2,), published_together=(), workers=1)

    class Third(Interrupt):
        asked = 0

        def check(self) -> None:
            self.asked += 1
            if self.asked == 3:
                raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        bench_inner(tmp_path / "run", tiny(small_folder), size, interrupt=Third())
    assert here.count("rate") == 2
    results = bench_inner(tmp_path / "run", tiny(small_folder), size)
    assert here.count("rate") == 4 == len(results["rows"])
    bench_inner(tmp_path / "run", tiny(small_folder), size)
    assert here.count("rate") == 4


def test_more_epochs_than_an_inner_loop_has(small_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="5 epochs are to be timed"):
        bench_inner(tmp_path / "run", tiny(small_folder), replace(SMALL, timed_epochs=5))


def test_a_round_measures_both_sides_on_all_cores() -> None:
    made = cells(replace(SMALL, loops=8), 2)
    assert all(cell.workers * cell.threads == 2 for cell in made)
    assert len({cell.name for cell in made}) == len(made)


@pytest.mark.slow
def test_a_process_of_its_own(small_folder: Path, tmp_path: Path) -> None:
    lm = load(str(small_folder), device="cpu")
    work = make_work(lm, tiny(small_folder), passages=1, edits=1, loops=1)
    work.write(tmp_path / "work.json")
    loaded = {
        "model": str(small_folder),
        "device": "cpu",
        "dtype": "float32",
        "work": str(tmp_path / "work.json"),
    }
    with children(tmp_path / "log", 1, **loaded, ours=True, threads=1) as (child,):
        assert all_at_once([child], "rate", [{"size": 32, "times": 1}])[0]["flops"] > 0
        bad = {"groups": [[0]], "lora": {"rank": 0, "targets": ["q_proj"]}, "optim": {}}
        with pytest.raises(UsageError, match="rank"):
            all_at_once([child], "together", [bad])
        child.send("no such thing")
        with pytest.raises(Unavailable, match="died"):
            child.answer()


def test_the_shape_counts_what_the_model_has(small_folder: Path) -> None:
    lm = load(str(small_folder), device="cpu")
    shape = Shape.of(lm.model.config)
    bank = AdapterBank(lm.model, [LoraSpec(5)])
    assert shape.weights == sum(m.weight.numel() for m in bank.modules.values())
    assert shape.adapter(5, ALL_LINEAR) == bank.values.shape[1]
    assert shape.head == lm.head.numel()
    # Published sizes: 7.07 billion parameters besides the embedding of 0.54; 134.5 million with a
    # tied head.
    big, small = KNOWN["qwen2.5-7b"], KNOWN["smollm2-135m"]
    assert (big.weights + big.head) / 1e9 == pytest.approx(7.07, abs=0.01)
    assert (small.weights + small.head) / 1e6 == pytest.approx(134.5, abs=0.1)


def test_work_from_a_file_of_self_edits(small_folder: Path, tmp_path: Path) -> None:
    import json

    questions = [{"question": "Who?", "answer": "Ada"}]
    records = [
        {
            "title": f"T{n}",
            "context": f"Passage {n}.",
            "questions": questions,
            "completions": ["One.\nTwo.", "Three."],
        }
        for n in range(2)
    ]
    (tmp_path / "edits.json").write_text(json.dumps(records))
    lm = load(str(small_folder), device="cpu")
    made = make_work(
        lm, tiny(small_folder), passages=2, edits=2, loops=6, self_edits=tmp_path / "edits.json"
    )
    assert [len(own) for own in made.sequences] == [3, 2, 3, 2, 3, 2]
    assert made.sequences[0] == made.sequences[4] and made.seeds[0] != made.seeds[4]
    assert made.orders[:4] == (made.orders[0],) * 4 and made.orders[4] != made.orders[0]
    made.write(tmp_path / "work.json")
    assert read_work(tmp_path / "work.json") == made
    with pytest.raises(UsageError, match="3 passages asked for, there are 2"):
        make_work(
            lm, tiny(small_folder), passages=3, edits=1, loops=1, self_edits=tmp_path / "edits.json"
        )
