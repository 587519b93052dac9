"""Rows that join and leave a running batch get what each gets alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from ending_llama import noisy_adapters, write_ending_model
from selfedit.errors import UsageError
from selfedit.lm import live
from selfedit.lm.generate import generate
from selfedit.lm.live import LiveDecoder
from selfedit.lm.live_row import LiveRow, live_row
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.lm.seats import check_adapter

PROMPTS = [[5, 9, 40], [7] * 9, [11], [30, 31, 32, 33] * 8, [5, 9, 40], [90, 91, 92, 93]]
NEW = 20
LIMITS = [20, 5, 13, 20, 8, 17]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many tokens end a text: some rows end before their limit."""
    return write_ending_model(tmp_path_factory.mktemp("models") / "small", every=6)


@pytest.fixture(scope="module")
def lm(folder: Path) -> LanguageModel:
    return load(str(folder), device="cpu", dtype="float64")


@pytest.fixture(scope="module")
def adapters(lm: LanguageModel) -> list[Adapter]:
    return noisy_adapters(lm)


def decoded(decoder: LiveDecoder, rows: list[LiveRow], every: int) -> None:
    """Rows join one after another, ``every`` tokens apart."""
    waiting = list(rows)
    while waiting or decoder.rows:
        if waiting and decoder.fitting(waiting[:1]):
            decoder.join([waiting.pop(0)])
        for _ in range(every):
            decoder.step()


@pytest.mark.parametrize("most", [2, 8])
@pytest.mark.parametrize("seats", [1, 2, 4])
def test_in_company_as_alone(lm, adapters, most: int, seats: int) -> None:
    under = [None, *adapters, adapters[0], None]
    rows = [live_row(*each) for each in zip(PROMPTS, under, LIMITS, strict=True)]
    decoded(LiveDecoder(lm, most, seats), rows, every=3)
    for row in rows:
        alone = generate(lm, [row.prompt], [row.weights], max_new_tokens=row.limit)[0]
        assert (tuple(row.tokens), row.finish, row.end) == (alone.ids, alone.finish, alone.end)
    # Some end early and some late, or nothing was tried.
    assert len({len(row.tokens) for row in rows}) > 2


def test_each_is_sampled_its_own_way(lm, adapters) -> None:
    ways = [(0.0, 1.0), (0.7, 1.0), (0.7, 0.8), (1.5, 1.0), (0.7, 0.8), (0.0, 1.0)]
    rows = [
        live_row(p, adapters[1], NEW, temperature=t, top_p=top, seed=n)
        for n, (p, (t, top)) in enumerate(zip(PROMPTS, ways, strict=True))
    ]
    decoder = LiveDecoder(lm, 8, 2)
    decoder.join(rows)
    while decoder.rows:
        decoder.step()
    for n, (row, (temperature, top_p)) in enumerate(zip(rows, ways, strict=True)):
        alone = generate(
            lm, [PROMPTS[n]], [adapters[1]], max_new_tokens=NEW, temperature=temperature,
            top_p=top_p, seeds=[n],
        )[0]  # fmt: skip
        assert tuple(row.tokens) == alone.ids


def test_a_cancelled_row_frees_its_place(lm) -> None:
    decoder = LiveDecoder(lm, 2, 1)
    rows = [live_row([5, 6, n], None, 200) for n in (8, 9)]
    decoder.join(rows)
    late = live_row(PROMPTS[3], None, NEW)
    assert decoder.fitting([late]) == 0
    rows[0].finish = "cancelled"
    written = len(rows[0].tokens)
    decoder.step()
    assert decoder.rows == [rows[1]] and len(rows[0].tokens) == written
    assert decoder.fitting([late]) == 1
    decoder.join([late])
    while decoder.rows:
        decoder.step()
    alone = generate(lm, [PROMPTS[3]], max_new_tokens=NEW)[0]
    assert tuple(late.tokens) == alone.ids


def test_what_cannot_join_waits(lm, adapters, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = LiveDecoder(lm, 8, 2)
    decoder.join([live_row([5], adapters[0], 99), live_row([5], adapters[1], 99)])
    third = live_row([5], adapters[2], 9)
    seated = live_row([5], adapters[0], 9)
    assert decoder.fitting([third]) == 0  # no adapter may lose its row while it writes
    assert decoder.fitting([seated, third]) == 1
    slot = 2 * 2 * 2 * 16 * 8  # both, layers, heads, size, float64
    monkeypatch.setattr(live, "room_of", lambda device: (96, slot * 3 * 100))
    assert decoder.fitting([live_row([5], None, 99)]) == 1
    assert decoder.fitting([live_row([5], None, 99), live_row([5], None, 99)]) == 1
    assert decoder.fitting([live_row([5], None, 200)]) == 0
    # Alone in an empty batch even a long one goes: nothing else would let it.
    assert LiveDecoder(lm, 8, 2).fitting([live_row([5] * 50, None, 1000)]) == 1


def test_noted_probabilities_are_the_models_own(lm, folder: Path) -> None:
    row = live_row(PROMPTS[0], None, 6, temperature=1.3, seed=3, alternatives=3)
    decoder = LiveDecoder(lm, 2, 1)
    decoder.join([row])
    while decoder.rows:
        decoder.step()
    written = [*row.tokens, *([] if row.end is None else [row.end])]
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    with torch.no_grad():
        logits = theirs(torch.tensor([[*PROMPTS[0], *written]])).logits[0]
    logs = logits.log_softmax(-1)[len(PROMPTS[0]) - 1 :]
    assert len(row.noted) == len(written) > 1
    for place, (token, log) in enumerate(zip(written, row.noted, strict=True)):
        assert log.logprob == pytest.approx(float(logs[place, token]), abs=1e-5)
        ids = [number for number, _ in log.likeliest]
        assert ids == logs[place].topk(3).indices.tolist()


def test_an_adapter_of_another_model_is_refused(lm) -> None:
    other = Adapter(
        LoraSpec(1, 1, ("q_proj",)),
        {"model.layers.0.self_attn.q_proj": (torch.zeros(1, 8), torch.zeros(8, 1))},
    )
    with pytest.raises(UsageError, match="8×8"):
        check_adapter(lm, other)
