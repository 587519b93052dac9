"""The first table: every row, a sweep over formats, several inner seeds, gone on with after a stop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selfedit.config import FORMATS, make_settings
from selfedit.errors import DataError, Interrupted, UsageError
from selfedit.experiments.knowledge.methods import measured_methods, pairs_of
from selfedit.experiments.knowledge.single_passage import run_single_passage
from selfedit.lm.load import load
from selfedit.rl.evaluate import held_out
from selfedit.run.folder import RunFolder
from selfedit.run.interrupt import Interrupt
from tiny_run import tiny_settings
from trials import answers_in, trainings_in

EVERY = ["base", "context", "passage", "own", "external", "seal", "gold"]


@pytest.fixture(scope="module")
def settings(small_folder: Path, data: Path):
    return tiny_settings(
        model=str(small_folder),
        device="cpu",
        train=str(data / "train.json"),
        heldout=str(data / "heldout.json"),
        heldout_contexts=2,
        rl__contexts=2,
        rl__candidates=2,
        external__file=str(data / "self_edits_gpt4_1.json.gz"),
        eval__methods=EVERY,
        eval__by_round=True,
        eval__repeats=2,
    )


def test_every_row_by_round_and_seed(settings, tmp_path: Path) -> None:
    results = run_single_passage(tmp_path / "run", settings)
    rows = ["base", "context", "passage", "own", "external", "seal-1", "seal-2", "gold"]
    assert [row["method"] for row in results["rows"]] == rows
    assert all(row["n"] == 2 and set(results["contexts"][row["method"]]) for row in results["rows"])
    assert ("own", "seal-2") in {(gap["b"], gap["a"]) for gap in results["paired"]}
    assert [len(results["by_seed"][row]) for row in rows] == [1, 1, 2, 2, 2, 2, 2, 2]
    assert results["published"]["rows"]["seal-2"]["value"] == 0.47
    with RunFolder.read(tmp_path / "run") as run:
        external = run.ledger.self_edits(held_out("external"))
        assert [row.text for row in external] == ["1. A long fact 0.\n2. A second long one."] * 2
        # Inner seeds are shared by all rows that train: differences are paired.
        seeds = [
            {r.key: r.seed for r in trainings_in(run.ledger, held_out(m))}
            for m in ("passage", "external")
        ]
        assert seeds[0] == seeds[1] and len(set(seeds[0].values())) == 4
        # SEAL's rounds are measured with that round's policy: after the first, texts differ from
        # those before RL.
        texts = [
            [row.text for row in run.ledger.self_edits(held_out(m))]
            for m in ("own", "seal-1", "seal-2")
        ]
        assert texts[0] != texts[1] != texts[2]


def test_the_passage_is_in_the_prompt_of_context_alone(
    settings, tmp_path: Path, monkeypatch
) -> None:
    from selfedit.sampling import local as sampler

    asked: list[list[tuple[int, ...]]] = []
    plain = sampler.generate

    def listening(lm, prompts, *rest, **more):
        asked.append(list(prompts))
        return plain(lm, prompts, *rest, **more)

    monkeypatch.setattr(sampler, "generate", listening)
    only = settings.model_dump() | {"eval": {"methods": ["base", "context"]}, "rl": {"rounds": 0}}
    lm = load(settings.model, device="cpu")
    run_single_passage(tmp_path / "run", make_settings(only), lm=lm)
    base, context = asked
    assert all("is a thing with a number of parts" not in lm.decode(p) for p in base)
    assert all("is a thing with a number of parts" in lm.decode(p) for p in context)


def test_a_sweep_over_every_format(settings, tmp_path: Path) -> None:
    changed = settings.model_dump() | {"single": {"formats": FORMATS}, "rl": {"rounds": 0}}
    changed["eval"] |= {"repeats": 1, "methods": ["base", "passage", "own", "gold"]}
    results = run_single_passage(tmp_path / "run", make_settings(changed))
    rows = [row["method"] for row in results["rows"]]
    assert rows == ["base", "passage", *[f"own:{format}" for format in FORMATS], "gold"]
    assert {(gap["b"], gap["a"]) for gap in results["paired"]} >= {
        ("passage", f"own:{f}") for f in FORMATS
    }
    assert results["published"]["rows"]["own:rewrite"]["value"] == pytest.approx(0.494)
    with RunFolder.read(tmp_path / "run" / "formats" / "rewrite") as run:
        assert not answers_in(run.ledger, held_out("base")), (
            "what does not depend on the format is measured once"
        )
    assert json.loads((tmp_path / "run" / "results.json").read_text())["rows"] == results["rows"]


def test_a_sweep_goes_on_where_it_stopped(settings, tmp_path: Path) -> None:
    class Stop(Interrupt):
        def __init__(self, checks: int) -> None:
            super().__init__()
            self.left = checks

        def check(self) -> None:
            self.left -= 1
            self.requested = self.left < 0
            super().check()

    changed = settings.model_dump() | {"single": {"formats": ["implications", "rewrite"]}}
    changed["eval"] |= {"repeats": 1, "methods": ["base", "own", "seal"]}
    changed["rl"] |= {"rounds": 1}
    sweep = make_settings(changed)
    whole = run_single_passage(tmp_path / "whole", sweep)
    stops, again = 0, None
    for checks in (2, 5, 9, 14, 1000):
        try:
            again = run_single_passage(tmp_path / "parts", sweep, interrupt=Stop(checks))
        except Interrupted:
            stops += 1
    assert stops >= 3 and again == whole
    assert "seal-1:rewrite" in {row["method"] for row in whole["rows"]}


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"external": {"file": None}}, UsageError, "'external' has no writer"),
        ({"eval": {"methods": ["external"], "samples": 9}}, DataError, "fewer than 9 self-edits"),
        ({"single": {"formats": ["rewrite", "rewrite"]}}, UsageError, "twice"),
        ({"eval": {"methods": ["seal-1"]}}, UsageError, "unknown method"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_written(
    settings, tmp_path, changed, error, said
) -> None:
    with pytest.raises(error, match=said):
        run_single_passage(tmp_path / "run", make_settings(settings.model_dump() | changed))
    assert not (tmp_path / "run").exists()


def test_what_is_compared() -> None:
    assert pairs_of(["base", "passage", "own"]) == [("base", "passage"), ("passage", "own")]
    rows = ["base", "passage", "own", "external", "seal-1", "seal-2"]
    assert pairs_of(rows)[5:] == [
        ("own", "seal-2"),
        ("external", "seal-2"),
        ("passage", "external"),
    ]


def test_without_rl_there_is_no_row_after_it(settings) -> None:
    changed = settings.model_dump() | {"rl": {"rounds": 0}}
    assert "seal" not in " ".join(measured_methods(make_settings(changed)))
