"""Adapters trained together are those trained alone, and those a plain PEFT loop trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MethodType
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft_loop import difference, initial_values, train_with_peft
from transformers import AutoModelForCausalLM

from selfedit.errors import DataError, UsageError
from selfedit.inner import adapt as adapt_module
from selfedit.inner import packed
from selfedit.inner.adapt import adapt, tokenise
from selfedit.inner.job import AdaptJob, OptimSpec, TrainSequence
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.lora import ALL_LINEAR, Adapter, LoraSpec
from selfedit.models.names import list_models

NORMS = 1e-6
"""How close float64 can come to PEFT: the model's norms are formed in float32 on both sides, each with its rounding."""
peft_warns = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")


def sequence(seed: int, length: int, loss_from: int = 1, vocab: int = 300) -> TrainSequence:
    ids = torch.randint(3, vocab, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
    return TrainSequence(tuple(ids), tuple(place >= loss_from for place in range(length)))


def three_jobs() -> list[AdaptJob]:
    """Different ranks, targets, batch sizes, schedules, lengths and losses."""
    qv = ("q_proj", "v_proj")
    return [
        AdaptJob(
            [sequence(1, 9), sequence(2, 5), sequence(3, 12, loss_from=4)],
            LoraSpec(8, 16, qv),
            OptimSpec(lr=1e-3, epochs=3),
            seed=11,
        ),
        AdaptJob(
            [sequence(4, 7), sequence(5, 14, loss_from=6), sequence(6, 3)],
            LoraSpec(4, 16, ALL_LINEAR),
            OptimSpec(lr=5e-4, epochs=2, batch_size=2, schedule="cosine", warmup_steps=1),
            seed=12,
        ),
        AdaptJob(
            [sequence(7, 6), sequence(8, 6)],
            LoraSpec(16, 16, qv),
            OptimSpec(
                lr=2e-3, epochs=2, batch_size=2, schedule="constant", weight_decay=0.1, clip=None
            ),
            seed=13,
        ),
    ]


def assert_same(ours: Adapter, theirs: Adapter, within: float) -> None:
    assert set(ours.tensors) == set(theirs.tensors)
    for name in ours.tensors:
        assert difference(ours.delta(name), theirs.delta(name)) <= within
    assert ours.losses == pytest.approx(theirs.losses, rel=within)
    assert ours.tokens == theirs.tokens


@peft_warns
def test_together_is_alone_is_peft(small64: LanguageModel, small_folder: Path) -> None:
    jobs = three_jobs()
    base = AutoModelForCausalLM.from_pretrained(small_folder, dtype=torch.float64)
    together = adapt(small64, jobs)
    for job, adapter in zip(jobs, together, strict=True):
        assert_same(adapter, adapt(small64, [job])[0], 1e-9)
        deltas, losses = train_with_peft(base, job, initial_values(small64, job))
        assert set(deltas) == set(adapter.tensors)
        assert (
            max(difference(adapter.delta(name), delta) for name, delta in deltas.items()) <= NORMS
        )
        assert adapter.losses == pytest.approx(losses, rel=NORMS)


@pytest.mark.model
@peft_warns
def test_the_real_model_trains_as_peft_does_in_float64() -> None:
    lm = load("smollm2-135m", device="cpu", dtype="float64")
    folder = next(info.where for info in list_models() if info.alias == "smollm2-135m")
    jobs = [
        replace(job, sequences=job.sequences[1:3], optim=replace(job.optim, epochs=1))
        for job in three_jobs()[:2]
    ]
    jobs[1] = replace(jobs[1], optim=replace(jobs[1].optim, epochs=2))
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    for job, adapter in zip(jobs, adapt(lm, jobs), strict=True):
        deltas, losses = train_with_peft(base, job, initial_values(lm, job))
        assert max(difference(adapter.delta(name), delta) for name, delta in deltas.items()) <= 1e-4
        assert adapter.losses == pytest.approx(losses, rel=NORMS)


@pytest.mark.model
@peft_warns
def test_the_real_model_loses_as_much_as_with_peft_in_float32(smollm2: LanguageModel) -> None:
    folder = next(info.where for info in list_models() if info.alias == "smollm2-135m")
    texts = [
        "The river Aare flows through Bern.",
        "Bern is the seat of the Swiss government, not Zürich.",
    ]
    job = AdaptJob(
        [tokenise(smollm2, text) for text in texts], LoraSpec(8, 16), OptimSpec(epochs=2), seed=1
    )
    other = replace(three_jobs()[1], optim=OptimSpec(epochs=1))
    adapter, _ = adapt(smollm2, [job, other])
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    _, losses = train_with_peft(base, job, initial_values(smollm2, job))
    assert adapter.losses[-1] == pytest.approx(losses[-1], rel=1e-4)
    assert adapter.losses[-1] < adapter.losses[0]


@st.composite
def any_job(draw: st.DrawFn) -> AdaptJob:
    # Of two tokens, attention's queries and keys get no gradient but rounding, which Adam makes
    # steps of.
    lengths = draw(st.lists(st.integers(3, 14), min_size=1, max_size=4))
    seed = draw(st.integers(0, 2**32))
    targets = draw(st.sets(st.sampled_from(ALL_LINEAR), min_size=1, max_size=4))
    return AdaptJob(
        [
            sequence(seed + i, n, loss_from=draw(st.integers(0, n - 1)))
            for i, n in enumerate(lengths)
        ],
        LoraSpec(
            draw(st.integers(1, 6)),
            draw(st.sampled_from([1, 8, 32.5])),
            tuple(targets),
            draw(st.sampled_from([0, 0.3])),
        ),
        OptimSpec(
            lr=draw(st.sampled_from([1e-4, 1e-2])),
            epochs=draw(st.integers(1, 3)),
            batch_size=draw(st.integers(1, 3)),
            schedule=draw(st.sampled_from(["linear", "cosine", "constant"])),
            warmup_steps=draw(st.integers(0, 2)),
            weight_decay=draw(st.sampled_from([0.0, 0.1])),
            clip=draw(st.sampled_from([None, 1.0, 0.01])),
        ),
        seed=seed,
        order_seed=draw(st.sampled_from([None, 1])),
    )


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(any_job(), min_size=2, max_size=4))
def test_any_company_leaves_an_adapter_as_it_is_alone(
    small64: LanguageModel, jobs: list[AdaptJob]
) -> None:
    for job, adapter in zip(jobs, adapt(small64, jobs), strict=True):
        alone = adapt(small64, [job])[0]
        for name, (a, b) in alone.tensors.items():
            assert difference(adapter.tensors[name][0], a) <= 1e-6
            assert difference(adapter.tensors[name][1], b) <= 1e-6
        assert adapter.losses == pytest.approx(alone.losses, rel=1e-7)
        assert (
            adapter.tokens
            == alone.tokens
            == job.optim.epochs * sum(len(s.ids) for s in job.sequences)
        )
        assert len(adapter.losses) == job.steps


def exact_norm(norm: Any, x: torch.Tensor) -> torch.Tensor:
    return norm.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + norm.variance_epsilon)


def with_exact_norms(model: Any) -> Any:
    """The model with norms in its own type: transformers' are float32, and of a random job's
    smallest gradients, whose terms nearly cancel, that rounding leaves a large part."""
    for module in model.modules():
        if type(module).__name__ == "LlamaRMSNorm":
            module.forward = MethodType(exact_norm, module)
    return model


@pytest.fixture(scope="module")
def exact64(small_folder: Path) -> LanguageModel:
    lm = load(str(small_folder), device="cpu", dtype="float64")
    with_exact_norms(lm.model)
    return lm


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(any_job(), min_size=3, max_size=8), st.randoms(use_true_random=False))
def test_any_division_into_groups_gives_the_same_adapters(
    exact64: LanguageModel, jobs: list[AdaptJob], random
) -> None:
    """Which jobs train together, how many, and in which order, is of no consequence for any of
    them.
    """
    whole = adapt(exact64, jobs)
    order = random.sample(range(len(jobs)), len(jobs))
    cuts = sorted(random.sample(range(1, len(jobs)), random.randint(0, len(jobs) - 1)))
    for start, end in zip([0, *cuts], [*cuts, len(jobs)], strict=True):
        group = order[start:end]
        for place, adapter in zip(group, adapt(exact64, [jobs[n] for n in group]), strict=True):
            assert_same(adapter, whole[place], 1e-6)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(any_job(), min_size=1, max_size=3))
@peft_warns
def test_any_jobs_together_are_what_a_plain_peft_loop_trains(
    exact64: LanguageModel, small_folder: Path, jobs: list[AdaptJob]
) -> None:
    base = with_exact_norms(AutoModelForCausalLM.from_pretrained(small_folder, dtype=torch.float64))
    jobs = [
        replace(job, lora=replace(job.lora, dropout=0.0)) for job in jobs
    ]  # masks are drawn in other ways
    for job, adapter in zip(jobs, adapt(exact64, jobs), strict=True):
        deltas, losses = train_with_peft(base, job, initial_values(exact64, job))
        assert max(difference(adapter.delta(name), delta) for name, delta in deltas.items()) <= 1e-6
        assert adapter.losses == pytest.approx(losses, rel=1e-7)


def test_finished_jobs_leave_the_batch(
    small64: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed, heard = [], []
    hidden = LanguageModel.hidden

    def counted(lm: LanguageModel, ids, positions, plan):
        passed.append(len(ids))
        return hidden(lm, ids, positions, plan)

    monkeypatch.setattr(adapt_module.LanguageModel, "hidden", counted)
    short = AdaptJob([sequence(1, 10)], LoraSpec(2), OptimSpec(epochs=1))
    long = AdaptJob([sequence(2, 7)], LoraSpec(2), OptimSpec(epochs=3))
    adapters = adapt(
        small64, [short, long], on_step=lambda done, total: heard.append((done, total))
    )
    assert passed == [17, 7, 7]
    assert heard == [(17, 31), (24, 31), (31, 31)]
    assert [adapter.tokens for adapter in adapters] == [10, 21]
    assert [len(adapter.losses) for adapter in adapters] == [1, 3]


def test_the_first_loss_is_the_models_own(small64: LanguageModel, small_folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(small_folder, dtype=torch.float64)
    ids = sequence(1, 9).ids
    labels = torch.tensor([ids])
    (adapter,) = adapt(small64, [AdaptJob([sequence(1, 9)], LoraSpec(2), OptimSpec(epochs=1))])
    assert adapter.losses == pytest.approx(
        [model(labels, labels=labels).loss.item()], rel=1e-6
    )  # theirs is float32


def test_training_changes_nothing_of_the_model(small64: LanguageModel) -> None:
    before = {name: value.clone() for name, value in small64.model.state_dict().items()}
    adapt(small64, three_jobs())
    assert all(
        torch.equal(value, before[name]) for name, value in small64.model.state_dict().items()
    )
    assert all(p.grad is None and not p.requires_grad for p in small64.model.parameters())


def test_dropout_is_the_jobs_own(small64: LanguageModel) -> None:
    data, qv = [sequence(1, 12), sequence(2, 5)], ("q_proj", "v_proj")
    job = AdaptJob(data, LoraSpec(4, targets=qv, dropout=0.5), OptimSpec(epochs=2), seed=3)
    plain = AdaptJob(data, LoraSpec(4, targets=qv), OptimSpec(epochs=2), seed=3)
    longer = AdaptJob(data, LoraSpec(2, targets=ALL_LINEAR), OptimSpec(epochs=4), seed=5)
    alone = adapt(small64, [job])[0]
    together, without = adapt(small64, [job, longer])
    assert_same(together, alone, 1e-7)
    assert_same(without, adapt(small64, [longer])[0], 1e-7)
    assert_same(adapt(small64, [job])[0], alone, 0)
    assert adapt(small64, [plain])[0].losses[1:] != pytest.approx(alone.losses[1:], rel=1e-6)
    assert adapt(small64, [replace(job, seed=4)])[0].losses != pytest.approx(alone.losses, rel=1e-6)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_padding_to_a_common_length_changes_nothing(
    small64: LanguageModel, monkeypatch: pytest.MonkeyPatch, dropout: float
) -> None:
    # Lengths 15 and 16: close enough that the shorter would be padded in company.
    jobs = [
        AdaptJob(
            [sequence(n, n)],
            LoraSpec(3, targets=("q_proj", "up_proj"), dropout=dropout),
            OptimSpec(epochs=3),
        )
        for n in (15, 16)
    ]
    together = adapt(small64, jobs)
    monkeypatch.setattr(packed, "MAX_PADDING", 0.0)
    for job, adapter in zip(jobs, together, strict=True):
        assert_same(adapter, adapt(small64, [job])[0], 1e-7)
    for ours, theirs in zip(together, adapt(small64, jobs), strict=True):
        assert_same(ours, theirs, 1e-7)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_bfloat16_model_trains_float32_adapters(small_folder: Path, dropout: float) -> None:
    lm = load(str(small_folder), device="cpu", dtype="bfloat16")
    job = AdaptJob([sequence(1, 12)], LoraSpec(4, dropout=dropout), OptimSpec(lr=1e-2, epochs=12))
    (adapter,) = adapt(lm, [job])
    assert adapter.losses[-1] < 0.9 * adapter.losses[0]
    assert all(a.dtype == b.dtype == torch.float32 for a, b in adapter.tensors.values())


def test_texts_are_trained_with_their_end_and_no_special_tokens(small64: LanguageModel) -> None:
    made = tokenise(small64, "a<|im_end|>b")
    assert made.ids == (*small64.encode("a<|im_end|>b"), small64.end_id)
    assert made.ids.count(small64.end_id) == 1
    assert made.loss == (False, *[True] * (len(made.ids) - 1))
    as_text = adapt(small64, [AdaptJob(["some words"], LoraSpec(2), OptimSpec(epochs=2))])[0]
    as_ids = adapt(
        small64, [AdaptJob([tokenise(small64, "some words")], LoraSpec(2), OptimSpec(epochs=2))]
    )[0]
    assert_same(as_text, as_ids, 0)


@pytest.mark.parametrize(
    ("sequences", "said"),
    [
        ([], "nothing to train on"),
        ([sequence(1, 5), ""], "carries loss"),
        ([sequence(1, 5, loss_from=5)], "carries loss"),
        ([TrainSequence((5, 6), (True, False))], "carries loss"),
        ([TrainSequence((5, 6, 7), (False, True))], "3 tokens but 2 loss marks"),
        ([sequence(1, 2049)], "2049 tokens"),
    ],
)
def test_data_that_cannot_be_trained_on_is_a_data_error(
    small64: LanguageModel, sequences: list, said: str
) -> None:
    good = AdaptJob([sequence(1, 5)], LoraSpec(2))
    with pytest.raises(DataError, match=said) as error:
        adapt(small64, [good, AdaptJob(sequences, LoraSpec(2))])
    assert "job 1" in str(error.value)


def test_unknown_targets_are_named(small64: LanguageModel) -> None:
    job = AdaptJob([sequence(1, 5)], LoraSpec(2, targets=("q_proj", "lm_head", "w1")))
    with pytest.raises(UsageError, match=r"lm_head, w1") as error:
        adapt(small64, [job])
    assert "o_proj" in str(error.value)


def test_no_jobs_no_adapters(small64: LanguageModel) -> None:
    assert adapt(small64, []) == []


def test_a_group_larger_than_the_bank_refills_its_rows(small64: LanguageModel) -> None:
    jobs = three_jobs() + [replace(job, seed=job.seed + 50) for job in three_jobs()]
    for rows in (1, 2, 4):
        for job, adapter in zip(jobs, adapt(small64, jobs, rows=rows), strict=True):
            assert_same(adapter, adapt(small64, [job])[0], 1e-7)


@peft_warns
def test_adapters_in_some_layers_are_pefts(small64: LanguageModel, small_folder: Path) -> None:
    """The lower layers' outputs are computed once; what is trained is what PEFT's
    layers_to_transform trains.
    """
    jobs = [replace(job, lora=replace(job.lora, layers=(1,))) for job in three_jobs()]
    every = [replace(job, lora=replace(job.lora, layers=(0, 1))) for job in three_jobs()]
    base = AutoModelForCausalLM.from_pretrained(small_folder, dtype=torch.float64)
    for job, adapter in zip(jobs, adapt(small64, jobs), strict=True):
        assert {name.split(".")[2] for name in adapter.tensors} == {"1"}
        deltas, losses = train_with_peft(base, job, initial_values(small64, job))
        assert (
            max(difference(adapter.delta(name), delta) for name, delta in deltas.items()) <= NORMS
        )
        assert adapter.losses == pytest.approx(losses, rel=NORMS)
    mixed = adapt(small64, [jobs[0], every[1]])  # the lowest adapter of the group decides
    assert_same(mixed[0], adapt(small64, [jobs[0]])[0], 1e-7)
    assert_same(mixed[1], adapt(small64, [three_jobs()[1]])[0], 1e-7)


def test_layers_that_a_model_lacks_are_named(small64: LanguageModel) -> None:
    with pytest.raises(UsageError, match="no layer 7"):
        adapt(small64, [AdaptJob([sequence(1, 5)], LoraSpec(2, layers=(1, 7)))])


def test_float16_is_refused(small_folder: Path) -> None:
    lm = load(str(small_folder), device="cpu", dtype="float16")
    with pytest.raises(UsageError, match="float16 loses small gradients"):
        adapt(lm, [AdaptJob([sequence(1, 5)], LoraSpec(2))])
