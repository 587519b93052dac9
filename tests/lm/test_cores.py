"""Work shared out among cores: the same results as on one, and no thread outlives a failure."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from selfedit.inner import adapt as inner_adapt
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob, OptimSpec
from selfedit.lm import cores, generate, likelihood
from selfedit.lm.bank_product import BankLinear
from selfedit.lm.cores import on_cores, share_out
from selfedit.lm.lora import LoraSpec

TEXTS = [
    "The mill stands by the river.",
    "A baker opens at four.",
    "Nine boats left the bay today.",
]


@pytest.fixture
def two_threads(monkeypatch):
    for module, name in (
        (inner_adapt, "MIN_TOKENS"),
        (generate, "MIN_ROWS"),
        (likelihood, "MIN_TOKENS"),
    ):
        monkeypatch.setattr(module, name, 1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def jobs():
    optim = OptimSpec(epochs=2, lr=1e-2)
    lora = LoraSpec(rank=2, alpha=4, targets=("q_proj", "v_proj"))
    return [
        AdaptJob((TEXTS[k % 3], TEXTS[(k + 1) % 3] * (1 + k % 2)), lora, optim, seed=k)
        for k in range(5)
    ]


def ask(lm, adapters):
    prompts = [tuple(lm.encode(text)) for text in TEXTS]
    pairs = [(prompt, adapter) for adapter in (None, *adapters) for prompt in prompts]
    texts = generate.generate(lm, [p for p, _ in pairs], [a for _, a in pairs], max_new_tokens=6)
    golds = [(prompt, (False, *[True] * (len(prompt) - 1))) for prompt, _ in pairs]
    return [t.ids for t in texts], likelihood.answer_losses(lm, golds, [a for _, a in pairs])


def test_two_cores_come_to_what_one_does(tiny_lm, two_threads, monkeypatch):
    """Adapters, answers and likelihoods in the order they were asked for, whichever core did them."""
    counts = []
    original = cores.on_cores
    for module in (inner_adapt, generate, likelihood):
        monkeypatch.setattr(
            module,
            "on_cores",
            lambda lm, parts, *rest: counts.append(len(parts)) or original(lm, parts, *rest),
        )
    seen = []
    together = adapt(tiny_lm, jobs(), lambda done, total: seen.append((done, total)))
    answers = ask(tiny_lm, together)
    assert counts == [2, 2, 2]
    assert seen[-1][0] == seen[-1][1] and [done for done, _ in seen] == sorted(d for d, _ in seen)
    torch.set_num_threads(1)
    alone = adapt(tiny_lm, jobs())
    expected = ask(tiny_lm, alone)
    assert counts == [2, 2, 2, 1, 1, 1]
    torch.set_num_threads(2)
    for ours, theirs in zip(together, alone, strict=True):
        assert ours.losses == pytest.approx(theirs.losses, abs=1e-5)
        for name, (a, b) in ours.tensors.items():
            assert torch.allclose(a, theirs.tensors[name][0], atol=1e-5)
            assert torch.allclose(b, theirs.tensors[name][1], atol=1e-5)
    assert answers[0] == expected[0]
    assert answers[1] == pytest.approx(expected[1], abs=1e-4)
    wrapped = [m for m in tiny_lm.model.modules() if isinstance(m, BankLinear)]
    assert wrapped and all(module.slot is None for module in wrapped)


def test_the_same_twice(tiny_lm, two_threads):
    first, second = adapt(tiny_lm, jobs()), adapt(tiny_lm, jobs())
    for one, two in zip(first, second, strict=True):
        assert one.losses == two.losses
        assert all(torch.equal(a, two.tensors[n][0]) for n, (a, _) in one.tensors.items())


def test_parts_of_like_work_or_none(tiny_lm, two_threads):
    assert share_out(tiny_lm, [5, 1, 4, 2], 9) == [[0, 1], [2, 3]]
    assert share_out(tiny_lm, [5, 1, 4, 2], 1) == [[0, 1, 2, 3]]
    assert share_out(tiny_lm, [9, 1, 1], 9) == [[0, 1, 2]]  # one core would wait for the other
    assert share_out(tiny_lm, [], 9) == [[]]


def test_only_the_calling_thread_is_told(tiny_lm, two_threads):
    told, threads = [], set()

    def work(lm, part, after):
        for _ in part:
            time.sleep(0.01)
            after(1)
        return threading.get_ident()

    def hear(tokens):
        told.append(tokens)
        threads.add(threading.get_ident())

    ran = on_cores(tiny_lm, [[0, 1], [2, 3, 4]], work, hear)
    assert len(set(ran)) == 2 and ran[0] == threading.get_ident()
    assert sum(told) == 5 and threads == {threading.get_ident()}


@pytest.mark.parametrize("failing", [0, 1, "caller"])
def test_a_failure_ends_every_part(tiny_lm, two_threads, failing):
    steps = [0, 0]

    def work(lm, part, after):
        number = part[0]
        for _ in range(2000):
            time.sleep(0.001)
            steps[number] += 1
            after(1)
            if number == failing and steps[number] == 5:
                raise ValueError(f"part {number} failed")

    def check(_):
        if failing == "caller" and steps[1] >= 5:
            raise KeyboardInterrupt

    expected = KeyboardInterrupt if failing == "caller" else ValueError
    with pytest.raises(expected):
        on_cores(tiny_lm, [[0], [1]], work, check)
    assert max(steps) < 2000
    assert not [t for t in threading.enumerate() if t.name.startswith("ThreadPoolExecutor")]
