"""Many prompts under many adapters in one decode give what transformers gives one at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel

from ending_llama import noisy_adapters, write_ending_model
from selfedit.errors import DataError, UsageError
from selfedit.lm import decoder, sampling
from selfedit.lm import generate as generate_module
from selfedit.lm.chat import chat_prompt
from selfedit.lm.generate import Completion, generate
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.lora import Adapter, LoraSpec

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*is_gradient_checkpointing.*:FutureWarning"
)  # peft's own

NEW = 24
LENGTHS = [3, 9, 1, 9, 30, 4, 12, 5, 5, 17, 2, 8]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dozen tokens end a text: rows finish at different times."""
    return write_ending_model(tmp_path_factory.mktemp("models") / "small", every=15)


@pytest.fixture(scope="module")
def lm(folder: Path) -> LanguageModel:
    return load(str(folder), device="cpu", dtype="float64")


@pytest.fixture(scope="module")
def adapters(lm: LanguageModel) -> list[Adapter]:
    return noisy_adapters(lm)


@pytest.fixture(scope="module")
def references(
    folder: Path, adapters: list[Adapter], tmp_path_factory: pytest.TempPathFactory
) -> list[PreTrainedModel | PeftModel]:
    """transformers' model under each adapter, and last the plain one."""
    made: list[Any] = []
    for adapter in adapters:
        base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
        saved = str(adapter.save(tmp_path_factory.mktemp("adapter")))
        made.append(PeftModel.from_pretrained(base, saved, autocast_adapter_dtype=False))
    return [*made, AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)]


def prompts() -> list[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(5)
    return [tuple(torch.randint(3, 300, (n,), generator=generator).tolist()) for n in LENGTHS]


def which() -> list[int]:
    """The adapter of each prompt; 3 is none."""
    return [i % 4 for i in range(len(LENGTHS))]


@pytest.fixture(scope="module")
def one_by_one(lm: LanguageModel, references: list[Any]) -> list[tuple[tuple[int, ...], str]]:
    """transformers' greedy answers: ids without the end, and how they ended."""
    answers = []
    for prompt, k in zip(prompts(), which(), strict=True):
        ids = torch.tensor([prompt])
        out = references[k].generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False
        )
        made = tuple(out[0, len(prompt) :].tolist())
        ended = made[-1] in lm.eos_ids
        answers.append((made[:-1] if ended else made, "stop" if ended else "length"))
    return answers


def in_one(lm: LanguageModel, adapters: list[Adapter], **settings: Any) -> list[Completion]:
    chosen = [[*adapters, None][k] for k in which()]
    return generate(lm, prompts(), chosen, **{"max_new_tokens": NEW, **settings})


@pytest.mark.parametrize("drop_share", [0.01, 1 / 8, 1.0])
@pytest.mark.parametrize(
    "bounds", [{}, {"MAX_ROWS": 1}, {"MAX_ROWS": 5}, {"PREFILL_TOKENS": 7}, {"CACHE_BYTES": 60_000}]
)
def test_greedy_answers_are_transformers(
    lm: LanguageModel,
    adapters: list[Adapter],
    one_by_one: list[tuple[tuple[int, ...], str]],
    monkeypatch: pytest.MonkeyPatch,
    bounds: dict[str, int],
    drop_share: float,
) -> None:
    rows = []
    cache = decoder.KeyValueCache
    monkeypatch.setattr(decoder, "KeyValueCache", lambda *a: rows.append(a[1]) or cache(*a))
    for name, value in {**bounds, "DROP_SHARE": drop_share}.items():
        monkeypatch.setattr(decoder if hasattr(decoder, name) else generate_module, name, value)
    expected = one_by_one
    answers = in_one(lm, adapters)
    assert [(answer.ids, answer.finish) for answer in answers] == expected
    assert [answer.prompt_tokens for answer in answers] == LENGTHS
    assert [answer.text for answer in answers] == [lm.decode(ids) for ids, _ in expected]
    # The case is worth its name: rows end at different times and both ways, and adapters matter.
    assert len({len(ids) for ids, _ in expected}) > 4
    assert {finish for _, finish in expected} == {"stop", "length"}
    assert (len(rows) > 1) == ("MAX_ROWS" in bounds or "CACHE_BYTES" in bounds)
    assert sum(rows) == len(LENGTHS) and max(rows) <= bounds.get("MAX_ROWS", 12)


def test_adapters_change_answers(lm: LanguageModel, adapters: list[Adapter]) -> None:
    prompt = prompts()[0]
    answers = generate(lm, [prompt] * 4, [*adapters, None], max_new_tokens=NEW)
    assert len({answer.ids for answer in answers}) == 4
    assert answers[3] == generate(lm, [prompt], max_new_tokens=NEW)[0]


@pytest.mark.parametrize("top_p", [0.9, 1.0])
def test_a_sampled_text_depends_on_its_own_seed_alone(
    lm: LanguageModel, adapters: list[Adapter], monkeypatch: pytest.MonkeyPatch, top_p: float
) -> None:
    monkeypatch.setattr(sampling, "FIRST_K", 4)
    settings: dict[str, Any] = {"temperature": 1.2, "top_p": top_p}
    seeds = list(range(100, 100 + len(LENGTHS)))
    together = in_one(lm, adapters, seeds=seeds, **settings)
    for i, (prompt, k) in enumerate(zip(prompts(), which(), strict=True)):
        adapter = [*adapters, None][k]
        alone = generate(lm, [prompt], [adapter], max_new_tokens=NEW, seeds=[seeds[i]], **settings)
        assert alone == [together[i]]
    shorter = in_one(lm, adapters, seeds=seeds, max_new_tokens=5, **settings)
    assert [answer.ids for answer in shorter] == [answer.ids[:5] for answer in together]
    others = in_one(lm, adapters, seeds=[seed + 50 for seed in seeds], **settings)
    assert sum(a.ids != b.ids for a, b in zip(together, others, strict=True)) > 8


def test_first_tokens_are_distributed_as_the_model_says(
    lm: LanguageModel, references: list[Any]
) -> None:
    prompt, n, temperature = prompts()[6], 3000, 0.6
    answers = generate(lm, [prompt] * n, max_new_tokens=1, temperature=temperature, seeds=range(n))
    with torch.no_grad():
        probs = torch.softmax(
            references[-1](torch.tensor([prompt])).logits[0, -1] / temperature, -1
        )
    drawn = torch.zeros(len(probs), dtype=torch.float64)
    for answer in answers:
        if answer.ids:  # an ending token is not told
            drawn[answer.ids[0]] += 1
    told = torch.ones_like(probs, dtype=torch.bool)
    told[list(lm.eos_ids)] = False
    likely = told & (probs * n >= 5)
    expected, counts = probs[likely] * n, drawn[likely]
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    cells = int(likely.sum())
    assert cells > 5
    assert chi2 < cells + 5 * (2 * cells) ** 0.5  # mean and five standard deviations of chi-square


def test_a_prompt_sampled_many_times_is_read_once(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = []
    hidden = LanguageModel.hidden

    def counted(lm: LanguageModel, ids, positions, plan):
        passed.append(len(ids))
        return hidden(lm, ids, positions, plan)

    monkeypatch.setattr(LanguageModel, "hidden", counted)
    prompt = prompts()[4]
    answers = generate(lm, [prompt] * 6, max_new_tokens=3, temperature=1.0, seeds=range(6))
    assert passed[0] == len(prompt)
    assert all(rows <= 6 for rows in passed[1:])
    assert len({answer.ids for answer in answers}) > 1


def test_finished_rows_are_told_and_leave(
    lm: LanguageModel, adapters: list[Adapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder, "DROP_SHARE", 0.0)
    rows, heard = [], []
    decode = decoder.Decode
    monkeypatch.setattr(decoder, "Decode", lambda *a: rows.append(len(a[1])) or decode(*a))
    answers = in_one(lm, adapters, on_token=lambda done, total: heard.append((done, total)))
    steps = [len(answer.ids) + (answer.finish == "stop") for answer in answers]
    assert rows == [sum(taken > n for taken in steps) for n in range(1, max(steps))]
    assert heard == [(sum(taken <= n for taken in steps), 12) for n in range(1, max(steps) + 1)]


def test_a_text_is_a_users_message(lm: LanguageModel) -> None:
    assert generate(lm, ["Hello", "you"], max_new_tokens=4) == generate(
        lm, [chat_prompt(lm, "Hello"), chat_prompt(lm, "you")], max_new_tokens=4
    )


def test_nothing_asked_nothing_answered(lm: LanguageModel) -> None:
    assert generate(lm, []) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"temperature": 1.0},
        {"seeds": [1, 2]},
        {"adapters": [None, None]},
    ],
)
def test_wrong_usage_is_said(lm: LanguageModel, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        generate(lm, [(5, 6)], **wrong)


def test_prompts_that_cannot_be_read_are_data_errors(lm: LanguageModel) -> None:
    with pytest.raises(DataError, match="prompt 1"):
        generate(lm, [(5,), ()])
    with pytest.raises(DataError, match="2000 prompt tokens"):
        generate(lm, [(5,) * 2000], max_new_tokens=49)


def test_another_models_adapter_is_refused(lm: LanguageModel) -> None:
    alien = Adapter(
        LoraSpec(1, targets=("q_proj",)),
        {"model.layers.9.self_attn.q_proj": (torch.zeros(1, 64),) * 2},
    )
    with pytest.raises(UsageError, match=r"layers\.9"):
        generate(lm, [(5, 6)], [alien])


@pytest.mark.model
def test_the_real_models_greedy_answers_are_transformers(smollm2: LanguageModel) -> None:
    from selfedit.models.names import list_models

    folder = next(info.where for info in list_models() if info.alias == "smollm2-135m")
    model = AutoModelForCausalLM.from_pretrained(folder)
    asked = [
        chat_prompt(smollm2, text)
        for text in ("Name a river.", "What is 2 + 2? Answer with one number.", "Hi")
    ]
    answers = generate(smollm2, asked, max_new_tokens=12)
    for prompt, answer in zip(asked, answers, strict=True):
        ids = torch.tensor([prompt])
        out = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False
        )
        made = tuple(out[0, len(prompt) :].tolist())
        assert answer.ids == (made[:-1] if answer.finish == "stop" else made)
