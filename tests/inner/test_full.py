"""Full finetuning against a plain loop of transformers' own loss and schedule; its weights' dtype;
going on with it.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from full_data import sequences
from transformers import AutoModelForCausalLM, get_linear_schedule_with_warmup

from selfedit.errors import DataError, UsageError
from selfedit.inner.full import FullSpec, FullTraining, _assert_master
from selfedit.inner.job import OptimSpec, TrainSequence

CPU = torch.device("cpu")
SPEC = FullSpec(OptimSpec(lr=1e-3, epochs=2, batch_size=4), warmup=0.2, rows=2)


def run(training: FullTraining, steps: int | None = None) -> list[float]:
    while not training.finished and (steps is None or len(training.losses) < steps):
        training.step()
    return training.losses


def test_against_a_plain_loop(tiny_folder: Path) -> None:
    """The same batches, one sequence at a time, with transformers' loss, schedule and torch's
    clipping.
    """
    given = sequences(10)
    training = FullTraining(tiny_folder, given, SPEC, CPU)
    model = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    total = 2 * math.ceil(10 / 4)
    schedule = get_linear_schedule_with_warmup(optimiser, math.ceil(0.2 * total), total)
    expected = []
    for indices in training.order:
        chosen = [given[index] for index in indices]
        marked = sum(len(s.ids) - 1 for s in chosen)
        loss = torch.zeros(())
        for s in chosen:
            ids = torch.tensor([s.ids])
            loss = loss + model(input_ids=ids, labels=ids).loss * (len(s.ids) - 1) / marked
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        expected.append(float(loss.detach()))
    assert run(training) == pytest.approx(expected, rel=1e-4)
    reference = model.state_dict()
    for name, weight in training.weights().items():
        torch.testing.assert_close(weight, reference[name], rtol=1e-3, atol=1e-4)


def test_every_sequence_once_an_epoch(tiny_folder: Path) -> None:
    training = FullTraining(tiny_folder, sequences(10), SPEC, CPU)
    seen = [index for indices in training.order for index in indices]
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert run(training) and training.tokens == 2 * sum(len(s.ids) for s in sequences(10))


def test_rows_of_a_pass_change_only_rounding(tiny_folder: Path) -> None:
    found = []
    for rows in (1, 4):
        spec = FullSpec(SPEC.optim, SPEC.warmup, rows)
        found.append(run(FullTraining(tiny_folder, sequences(10), spec, CPU)))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_going_on_gives_the_same_bits(tiny_folder: Path) -> None:
    whole = FullTraining(tiny_folder, sequences(10), SPEC, CPU)
    run(whole)
    first = FullTraining(tiny_folder, sequences(10), SPEC, CPU)
    run(first, steps=3)
    second = FullTraining(tiny_folder, sequences(10), SPEC, CPU)
    second.take_up(*first.state())
    assert run(second) == whole.losses and second.tokens == whole.tokens
    for name, weight in second.weights().items():
        assert torch.equal(weight, whole.weights()[name])


def test_weights_are_float32_whatever_the_files_hold(tiny_folder: Path, tmp_path: Path) -> None:
    AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.bfloat16).save_pretrained(
        tmp_path
    )
    spec = FullSpec(OptimSpec(lr=1e-5, epochs=1, batch_size=4), compute="bfloat16")
    training = FullTraining(tmp_path, sequences(4), spec, CPU)
    before = {name: weight.clone() for name, weight in training.weights().items()}
    run(training)
    moments = [state["exp_avg"].dtype for state in training.optimiser.state.values()]
    assert {weight.dtype for weight in training.named.values()} == {*moments} == {torch.float32}
    moved = [not torch.equal(w, before[name]) for name, w in training.weights().items()]
    assert not any(moved), "the only step is the first of the warm-up, whose rate is 0"


def test_another_dtype_is_refused() -> None:
    with pytest.raises(UsageError, match="not float32"):
        _assert_master({"w": torch.nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))})


def test_what_cannot_be_trained_on_is_named(tiny_folder: Path) -> None:
    with pytest.raises(DataError, match="nothing to train on"):
        FullTraining(tiny_folder, [], SPEC, CPU)
    endless = TrainSequence(tuple([5] * 3000), (False, *[True] * 2999))
    with pytest.raises(DataError, match="3000 tokens"):
        FullTraining(tiny_folder, [endless], SPEC, CPU)
