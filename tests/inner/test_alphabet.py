"""A loss that is a choice among a few tokens."""

from dataclasses import replace

import pytest
import torch

from selfedit.errors import DataError, UsageError
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob, OptimSpec, TrainSequence
from selfedit.lm.attention import Packed
from selfedit.lm.lora import LoraSpec
from selfedit.lm.segments import consecutive, make_segments

FEW = (40, 50, 60)
SEQUENCE = TrainSequence((7, 8, 9, 40, 60, 60, 50), (False, False, False, True, True, True, True))
JOB = AdaptJob([SEQUENCE], LoraSpec(2, 4), OptimSpec(lr=1e-2, epochs=3), seed=1, alphabet=FEW)


def test_the_loss_is_of_choosing_among_them(small64):
    with torch.inference_mode():
        plan = Packed(make_segments(consecutive([7]), small64.device, small64.dtype))
        logits = (small64.hidden(SEQUENCE.ids, range(7), plan) @ small64.head.T)[2:6, list(FEW)]
    by_hand = -logits.log_softmax(-1)[
        range(4), [FEW.index(token) for token in SEQUENCE.ids[3:]]
    ].mean()
    losses = adapt(small64, [JOB])[0].losses
    assert losses[0] == pytest.approx(float(by_hand)) and losses[2] < losses[0]


def test_the_whole_vocabulary_in_any_order_is_no_alphabet(small64):
    order = torch.randperm(
        small64.head.shape[0], generator=torch.Generator().manual_seed(0)
    ).tolist()
    some, every = (adapt(small64, [replace(JOB, alphabet=a)])[0] for a in (None, tuple(order)))
    assert some.losses == pytest.approx(every.losses, rel=1e-9)


def test_together_as_alone(small64):
    jobs = [JOB, replace(JOB, seed=2), replace(JOB, optim=OptimSpec(lr=1e-3, epochs=1), seed=3)]
    for job, together in zip(jobs, adapt(small64, jobs), strict=True):
        assert together.losses == pytest.approx(adapt(small64, [job])[0].losses, rel=1e-9)


def test_what_cannot_be_is_refused(small64):
    with pytest.raises(UsageError, match="different alphabets"):
        adapt(small64, [JOB, replace(JOB, alphabet=None)])
    with pytest.raises(DataError, match="token 60 carries loss"):
        adapt(small64, [replace(JOB, alphabet=(40, 50))])
