"""Training on top of a frozen adapter, outside an earlier one's span, and after a teacher."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from peft_loop import difference

from selfedit.errors import DataError, UsageError
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob, OptimSpec, TrainSequence
from selfedit.lm.load import load
from selfedit.lm.lora import LoraSpec
from selfedit.lm.stack import stack
from selfedit.lm.teacher import Teacher, teach
from selfedit.rl.policy import merge

NORMS = 1e-6
"""How close float64 can come: the model's norms are formed in float32, each time with its rounding."""
SPEC = LoraSpec(3, 6)
OPTIM = OptimSpec(lr=1e-2, epochs=3)


def sequence(seed: int, length: int) -> TrainSequence:
    ids = torch.randint(3, 300, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
    return TrainSequence(tuple(ids), (False, *[True] * (length - 1)))


def job(*seeds: int, **fields) -> AdaptJob:
    return AdaptJob(
        [sequence(seed, 5 + seed % 4) for seed in seeds], SPEC, OPTIM, seed=seeds[0], **fields
    )


def test_on_top_of_an_adapter_is_on_top_of_merged_weights(small64, small_folder) -> None:
    first, second = adapt(small64, [job(1, 2), job(3, 4)])
    # Three jobs together, each on its own: one on nothing.
    on_first, on_second, plain = adapt(
        small64, [job(5, 6, start=first), job(5, 6, start=second), job(5, 6)]
    )
    for start, ours in ((first, on_first), (second, on_second)):
        merged = load(str(small_folder), device="cpu", dtype="float64")
        # `merge` forms its sums in float32: here they are wanted exact.
        modules = dict(merged.model.named_modules())
        for name in start.tensors:
            modules[name].weight.data += start.delta(name)
        (theirs,) = adapt(merged, [job(5, 6)])
        assert ours.losses == pytest.approx(theirs.losses, rel=NORMS)
        for name in ours.tensors:
            assert difference(ours.delta(name), theirs.delta(name)) < 10 * NORMS
    (alone,) = adapt(small64, [job(5, 6)])
    assert plain.losses == pytest.approx(alone.losses, rel=NORMS)
    assert on_first.losses[0] != pytest.approx(plain.losses[0], rel=1e-4)


def test_merging_a_stack_is_merging_one_after_the_other(small_folder) -> None:
    once, twice = (load(str(small_folder), device="cpu") for _ in range(2))
    first, second = adapt(once, [job(1, 2), job(3, 4)])
    whole = stack([first, second], [1.0, 0.25])
    assert whole is not None
    merge(once, whole)
    merge(twice, first)
    merge(twice, replace(second, spec=replace(second.spec, alpha=second.spec.alpha * 0.25)))
    for ours, theirs in zip(once.model.parameters(), twice.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_new_adapter_stays_outside_the_span(small64) -> None:
    (first,) = adapt(small64, [job(1, 2)])
    free, fenced = adapt(small64, [job(3, 4), job(3, 4, start=first, outside=first)])
    for name, (a, b) in fenced.tensors.items():
        assert (first.tensors[name][0] @ a.T).abs().max() < 1e-12
        assert (first.tensors[name][0] @ free.tensors[name][0].T).abs().max() > 1e-3
        assert b.abs().max() > 0
    assert fenced.losses[-1] < fenced.losses[0]


def test_no_room_outside(small64) -> None:
    (first,) = adapt(small64, [replace(job(1, 2), lora=LoraSpec(64, 64))])
    with pytest.raises(UsageError, match="span all 64 inputs"):
        adapt(small64, [job(3, 4, outside=first)])


@pytest.mark.parametrize("same", [True, False])
def test_modules_below_need_not_be_above(small64, small_folder, same) -> None:
    """Loops on a policy adapt what their own settings say, whatever the policy adapts; they are
    those on merged weights, alone on the policy or beside loops on another one.
    """
    few = LoraSpec(2, 4, ("q_proj",), layers=(1,))
    first, other = adapt(small64, [job(1, 2), job(7, 8)])
    below = [first, first if same else other]
    ours, _ = adapt(small64, [replace(job(3, 4, start=start), lora=few) for start in below])
    merged = load(str(small_folder), device="cpu", dtype="float64")
    modules = dict(merged.model.named_modules())
    for name in first.tensors:
        modules[name].weight.data += first.delta(name)
    (theirs,) = adapt(merged, [replace(job(3, 4), lora=few)])
    assert ours.tensors.keys() == theirs.tensors.keys() and len(ours.tensors) == 1
    assert ours.losses == pytest.approx(theirs.losses, rel=NORMS)
    for name in ours.tensors:
        assert difference(ours.delta(name), theirs.delta(name)) < 10 * NORMS


def test_a_pupil_comes_nearer_to_its_teacher_and_goes_no_way_from_itself(small64) -> None:
    text = sequence(7, 9)
    (far,) = teach(small64, [(text.ids, text.loss)], weight=1.0, prefixes=[sequence(8, 12).ids])
    (same,) = teach(small64, [(text.ids, text.loss)], weight=1.0)
    only = [replace(text, weight=0.0, teacher=teacher) for teacher in (far, same)]
    pupil, still = adapt(small64, [AdaptJob([s], SPEC, replace(OPTIM, epochs=20)) for s in only])
    assert pupil.losses[-1] < 0.5 * pupil.losses[0]
    assert max(map(abs, still.losses)) < NORMS


def test_the_loss_is_that_of_autograd(small64) -> None:
    """The first step's loss: next-token loss times its weight and the divergence times its, mean
    over the tokens.
    """
    from torch.nn import functional as F

    text = sequence(7, 9)
    (teacher,) = teach(small64, [(text.ids, text.loss)], weight=0.3, prefixes=[sequence(8, 12).ids])
    taught = replace(text, weight=0.7, teacher=teacher)
    (adapter,) = adapt(small64, [AdaptJob([taught], SPEC, replace(OPTIM, epochs=1))])
    (own,) = teach(small64, [(text.ids, text.loss)], weight=1)
    logits, wanted = own.hidden @ small64.head.T, F.log_softmax(teacher.hidden @ small64.head.T, 1)
    kl = F.kl_div(F.log_softmax(logits, 1), wanted, reduction="batchmean", log_target=True)
    expected = 0.7 * F.cross_entropy(logits, torch.tensor(text.ids[1:])) + 0.3 * kl
    assert adapter.losses[0] == pytest.approx(float(expected), rel=NORMS)


def test_a_teacher_of_another_length(small64) -> None:
    wrong = replace(sequence(1, 6), teacher=Teacher(torch.zeros(3, 64)))
    with pytest.raises(DataError, match="teacher has 3 states, 5 tokens"):
        adapt(small64, [AdaptJob([wrong], SPEC, OPTIM)])
