"""Whether the policy moved: measured against transformers' own distributions, and said."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from test_updates import opened, scored_round
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from selfedit.lm.load import load
from selfedit.lm.rules import TokenTree
from selfedit.results.layout import more_tables
from selfedit.results.policy_moved import round_tables
from selfedit.rl.movement import Movement, measure_movement
from selfedit.rl.policy import merge
from selfedit.rl.rest_em import run_rounds
from selfedit.rl.rounds import finished_round
from selfedit.rl.updates.base import update_of
from selfedit.run.progress import PlainProgress
from selfedit.run.seeds import derive
from tiny_run import contexts, session_in, tiny_settings

STRONG = {"epochs": 8, "lr": 0.1, "batch_size": 9}


@pytest.mark.parametrize("free", [False, True])
def test_the_divergence_is_that_of_transformers_models(tmp_path, small_folder, monkeypatch, free):
    """Of the same sampled self-edits: the sum over tokens of KL(new‖old), by the merged weights."""
    at = opened(tmp_path / "run", small_folder, monkeypatch, free=free, rl__mstep__optim=STRONG)
    scored = scored_round(at)
    adapter = update_of(at.settings).update(at, scored)
    moved = measure_movement(at, scored, contexts(2, start=4), adapter).heldout
    prompts = [at.task.prompt(context) for context in contexts(2, start=4)]
    seeds = [derive(at.settings.seed, "movement", 1, f"c{n}") for n in (4, 5)]
    written = at.sampler.generate(
        prompts,
        [adapter] * 2,
        max_new_tokens=10,
        temperature=1.0,
        seeds=seeds,
        rules=[at.task.rule() for _ in prompts],
    )
    old = AutoModelForCausalLM.from_pretrained(small_folder, dtype=torch.float32)
    merge(at.lm, adapter)
    at.lm.model.save_pretrained(tmp_path / "new")
    new = AutoModelForCausalLM.from_pretrained(tmp_path / "new", dtype=torch.float32)
    kl, entropy, choices = 0.0, 0.0, 0
    for prompt, one in zip(prompts, written, strict=True):
        ids = torch.tensor([[*prompt, *one.sampled]])
        with torch.no_grad():
            now, was = (model(ids).logits[0, len(prompt) - 1 : -1] for model in (new, old))
        rule = at.task.rule()
        for after, before, token in zip(now, was, one.sampled, strict=True):
            keep = torch.ones(len(after), dtype=torch.bool)
            if rule is not None:
                rule.allowed(keep.numpy())
                rule.advance(token)
            p, q = F.log_softmax(after[keep], 0), F.log_softmax(before[keep], 0)
            kl += float((p.exp() * (p - q)).sum())
            entropy -= float((p.exp() * p).sum())
            choices += int(keep.sum() > 1)
    assert moved.kl == pytest.approx(kl / 2, rel=1e-3) and moved.kl > 0.02
    assert moved.entropy == pytest.approx(entropy / choices, rel=1e-3)
    at.run.close()


def test_an_update_that_does_nothing_moved_nothing(tmp_path, small_folder, monkeypatch):
    at = opened(tmp_path / "run", small_folder, monkeypatch)
    scored = scored_round(at)
    adapter = update_of(at.settings).update(at, scored)
    nothing = replace(
        adapter, tensors={name: (a, 0 * b) for name, (a, b) in adapter.tensors.items()}
    )
    movement = measure_movement(at, scored, (), nothing)
    assert movement.learned.kl == pytest.approx(0.0, abs=1e-6) and movement.learned.changed == 0
    assert movement.learned.entropy == pytest.approx(movement.learned.entropy_before, abs=1e-6)
    assert movement.heldout is None
    assert movement.expected.after == pytest.approx(movement.expected.before, abs=1e-6)
    assert "optimiser steps are few" in movement.reason
    at.run.close()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"rl__reward__threshold": 1.0}, "nothing was kept"),
        ({"rl__mstep__optim": {"epochs": 1, "lr": 1e-6, "batch_size": 9}}, "steps are few"),
        ({"rl__mstep__optim": {"epochs": 9, "lr": 1e-7, "batch_size": 9}}, "the rate 1e-07 is low"),
        ({"rl__mstep__optim": STRONG}, None),
        ({"constant": True}, "no context has self-edits with different rewards"),
        ({"missing": True}, "no reward could be measured"),
    ],
)
def test_a_round_says_whether_it_moved_and_why_not(
    tmp_path, small_folder, monkeypatch, changed, reason
):
    changed = dict(changed)
    constant, missing = changed.pop("constant", False), changed.pop("missing", False)
    settings = tiny_settings(
        rl__rounds=1, rl__update="rloo" if constant or missing else "filtered_sft", **changed
    )
    at = session_in(tmp_path / "run", load(str(small_folder), device="cpu"), settings)
    if constant or missing:
        grade = at.grader.grade
        monkeypatch.setattr(
            at.grader,
            "grade",
            lambda *told: replace(grade(*told), correct=True if constant else None),
        )
    stream = io.StringIO()
    at.progress = PlainProgress(stream)
    (done,), _ = run_rounds(at, contexts(3), heldout=contexts(2, start=6))
    movement = done.movement
    assert finished_round(at, 1) == done
    (line,) = [row for row in at.run.metrics() if row["id"] == "round-1"]
    (told,) = [text for text in stream.getvalue().splitlines() if "the policy " in text
               and "finetuning" not in text]  # fmt: skip
    if reason is None:
        assert (
            movement.reason is None and movement.learned.kl > 0.02 and movement.learned.changed > 0
        )
        assert movement.heldout.prompts == 2 and "the policy moved" in told
        assert line["movement"]["learned"]["kl"] == movement.learned.kl
    else:
        assert reason in movement.reason and reason in told and "did not move" in told
        assert reason in line["movement"]["reason"]
    results = SimpleNamespace(more={"rounds": [line]})
    moved, *_ = round_tables(results)
    assert moved.rows[0][-1] == (movement.reason or "yes")
    at.run.close()


def test_nothing_is_measured_where_that_is_asked(tmp_path, small_folder):
    settings = tiny_settings(rl__rounds=1, rl__movement__prompts=0)
    at = session_in(tmp_path / "run", load(str(small_folder), device="cpu"), settings)
    (done,), _ = run_rounds(at, contexts(3))
    assert done.movement == Movement(steps=2)
    assert "was not measured" in done.movement.sentence(1)
    at.run.close()


def test_listed_divergence_is_estimated_without_bias(tmp_path, small_folder, monkeypatch):
    """Against the exact sum over all six self-edits, on prompts enough to average over."""
    at = opened(tmp_path / "run", small_folder, monkeypatch, rl__movement__prompts=60)
    scored = scored_round(at)
    adapter = update_of(at.settings).update(at, scored)
    many = contexts(60, start=10)
    moved = measure_movement(at, scored, many, adapter).heldout
    from selfedit.rl.policy_tokens import read_logs, sampled_sequence
    from selfedit.run.records import Sampled

    exact = []
    tree: TokenTree = at.task.rule().tree
    for context in many:
        prompt = at.task.prompt(context)
        sequences = [sampled_sequence(at, prompt, Sampled(text)) for text in tree.texts]
        new, old = (
            torch.tensor([sum(logs) for logs in read_logs(at.lm, sequences, policy, 1.0)])
            for policy in (adapter, None)
        )
        exact.append(float((new.exp() * (new - old)).sum()))
    assert moved.kl == pytest.approx(sum(exact) / len(exact), rel=0.2)
    at.run.close()


def test_the_tables_are_among_a_results(tmp_path):
    from selfedit.results.results import Results

    stored = {
        "round": 1, "self_edits": 9,
        "cut_off": {"count": 4, "kept": 1, "accuracy": 0.15, "others": 0.2},
        "movement": {"learned": None, "heldout": None, "expected": None, "steps": 0, "reason": "why"},
    }  # fmt: skip
    moved, cut = more_tables(Results(experiment="x", more={"rounds": [stored]}))
    assert moved.title == "Did the policy move?" and moved.rows[0][-1] == "why"
    assert list(cut.shown()[0]) == ["round 1", "4", "9", "1", "0.150", "0.200"]
