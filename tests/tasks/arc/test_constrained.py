from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfedit.errors import Unavailable, UsageError
from selfedit.lm.generate import generate
from selfedit.lm.load import load
from selfedit.tasks.arc.constrained import GrammarRow, SelfEditGrammar
from selfedit.tasks.arc.parse import Reason, Rejection, Tally
from selfedit.tasks.arc.self_edit import CHOICES, ORACLE, ArcSelfEdit, SelfEditSpec
from selfedit.tasks.arc.tools import Toolbox
from tiny_llama import made_tokenizer, tiny_llama

pytest.importorskip("llguidance", reason="needs the package llguidance")
FREE = SelfEditSpec()
CAP = 200  # tokens; the longest self-edit has about 240 characters


def sample(
    row: GrammarRow, rng: np.random.Generator, mask: np.ndarray, *, jump: bool = False
) -> None:
    """A flat random choice among the allowed tokens: a model that knows nothing."""
    while not row.done and len(row.tokens) < CAP:
        if jump and row.take_forced():
            continue
        row.allowed(mask)
        allowed = np.flatnonzero(mask)
        row.advance(int(allowed[rng.integers(len(allowed))]))


@pytest.fixture(scope="module")
def grammar(small_tokenizer: Any) -> SelfEditGrammar:
    return SelfEditGrammar(small_tokenizer, FREE)


@pytest.mark.parametrize("spec", [FREE, CHOICES], ids=["free numbers", "value sets"])
def test_10_000_samples_of_a_random_model_all_parse(
    small_tokenizer: Any, spec: SelfEditSpec
) -> None:
    grammar = SelfEditGrammar(small_tokenizer, spec)
    mask, rng, tally, seen = (
        np.zeros(grammar.vocabulary, bool),
        np.random.default_rng(0),
        Tally(),
        set(),
    )
    for _ in range(5_000):
        row = grammar.row()
        sample(row, rng, mask, jump=True)
        tally.add(row.result())
        seen.add(row.result())
    assert (tally.accepted, tally.rejected) == (5_000, 0)
    # the mask leaves room: every switch, strategy and value is reached
    edits = [edit for edit in seen if isinstance(edit, ArcSelfEdit)]
    assert (
        len({edit.families for edit in edits}) == 16 and len({edit.loss_on for edit in edits}) == 2
    )
    if spec is CHOICES:
        assert {edit.learning_rate for edit in edits} == set(spec.learning_rates or ())
        assert {edit.epochs for edit in edits} == set(spec.epochs or ())
    else:
        assert (
            len({edit.learning_rate for edit in edits}) > 500
            and len({edit.epochs for edit in edits}) > 100
        )


@pytest.mark.parametrize("bounds", [(1e-6, 1e-2), (3e-5, 7.5e-4), (2e-4, 2e-4), (0.5, 3.0)])
def test_a_model_that_likes_digits_comes_to_an_end(
    small_tokenizer: Any, bounds: tuple[float, float]
) -> None:
    spec = SelfEditSpec(learning_rate_min=bounds[0], learning_rate_max=bounds[1])
    grammar = SelfEditGrammar(small_tokenizer, spec)
    mask, rng = np.zeros(grammar.vocabulary, bool), np.random.default_rng(0)
    digits = np.isin(
        np.arange(grammar.vocabulary), [small_tokenizer.encode(digit)[0] for digit in "0123456789"]
    )
    for _ in range(50):
        row = grammar.row()
        while not row.done:
            row.allowed(mask)
            allowed = (
                np.flatnonzero(mask & digits) if (mask & digits).any() else np.flatnonzero(mask)
            )
            row.advance(int(rng.choice(allowed)))
            assert len(row.tokens) <= CAP
        result = row.result()
        assert isinstance(result, ArcSelfEdit) and bounds[0] <= result.learning_rate <= bounds[1]


def test_random_logits_under_the_mask_alone(grammar: SelfEditGrammar) -> None:
    mask, rng = np.zeros(grammar.vocabulary, bool), np.random.default_rng(1)
    for _ in range(100):
        row = grammar.row()
        while not row.done:
            row.allowed(mask)
            row.advance(int(np.where(mask, rng.normal(size=len(mask)), -np.inf).argmax()))
        assert isinstance(row.result(), ArcSelfEdit) and len(row.tokens) <= CAP
        assert " " not in row.text and "\n" not in row.text


def test_a_real_tokenizer(smollm2_tokenizer: Any) -> None:
    grammar = SelfEditGrammar(smollm2_tokenizer, CHOICES)
    mask, rng = np.zeros(grammar.vocabulary, bool), np.random.default_rng(0)
    for _ in range(50):
        row = grammar.row()
        sample(row, rng, mask)
        assert isinstance(row.result(), ArcSelfEdit)
        assert len(row.tokens) <= 128  # what the paper gives a self-edit
    # the tokens the tokenizer itself would write are allowed all along
    row = grammar.row()
    for token in smollm2_tokenizer.encode(ORACLE.to_json(), add_special_tokens=False):
        row.allowed(mask)
        assert mask[token]
        row.advance(token)
    assert row.done and row.result() == ORACLE


def test_rows_share_nothing(grammar: SelfEditGrammar) -> None:
    mask, alone = np.zeros(grammar.vocabulary, bool), grammar.row()
    sample(alone, np.random.default_rng(3), mask)
    one, other = grammar.row(), grammar.row()
    sample(other, np.random.default_rng(4), mask)
    sample(one, np.random.default_rng(3), mask)
    assert one.tokens == alone.tokens != other.tokens


def test_forced_tokens_come_one_by_one_or_at_once(grammar: SelfEditGrammar) -> None:
    mask, slow, fast = np.zeros(grammar.vocabulary, bool), grammar.row(), grammar.row()
    forced = fast.forced
    assert fast.text == "" and fast.take_forced() == forced == tuple(fast.tokens)
    assert fast.text == '{"data_generation":{"use_basic_augmentations":'
    for token in forced:
        slow.allowed(mask)
        assert np.flatnonzero(mask).tolist() == [token]
        slow.advance(token)
    assert not slow.forced and not fast.take_forced()
    for row in (slow, fast):
        sample(row, np.random.default_rng(0), mask)
    assert slow.tokens == fast.tokens and slow.result() == fast.result()


def test_after_the_end_nothing_is_allowed(grammar: SelfEditGrammar) -> None:
    mask, row = np.ones(grammar.vocabulary, bool), grammar.row()
    sample(row, np.random.default_rng(0), mask)
    row.allowed(mask)
    assert row.done and not mask.any() and row.forced == ()
    with pytest.raises(UsageError, match="not allowed"):
        row.advance(5)


def test_a_token_that_is_not_allowed_is_refused_and_changes_nothing(
    grammar: SelfEditGrammar,
) -> None:
    mask, row = np.zeros(grammar.vocabulary, bool), grammar.row()
    row.take_forced()
    before = list(row.tokens)
    row.allowed(mask)
    for token in np.flatnonzero(~mask)[:50].tolist():
        with pytest.raises(UsageError, match=f"token {token} is not allowed"):
            row.advance(token)
    assert row.tokens == before
    sample(row, np.random.default_rng(0), mask)
    assert isinstance(row.result(), ArcSelfEdit)


def test_a_row_that_is_not_done_is_a_rejection(grammar: SelfEditGrammar) -> None:
    row = grammar.row()
    for token in row.forced[:5]:
        row.advance(token)
    result = row.result()
    assert isinstance(result, Rejection) and result.reasons == (Reason.CUT_OFF,)


def test_a_wider_head_than_vocabulary(small_tokenizer: Any) -> None:
    grammar = SelfEditGrammar(small_tokenizer, CHOICES, vocabulary=384)
    assert grammar.vocabulary == 384
    mask, rng = np.ones(400, bool), np.random.default_rng(0)
    for _ in range(20):
        row = grammar.row()
        row.allowed(mask)
        assert not mask[320:].any()
        sample(row, rng, mask)
        assert isinstance(row.result(), ArcSelfEdit)


def test_a_users_tool_is_in_the_grammar(small_tokenizer: Any) -> None:
    box = Toolbox.builtin()
    box.tool("swap", family="mine")(lambda cells: cells)
    grammar = SelfEditGrammar(small_tokenizer, CHOICES, box)
    mask, rng, found = np.zeros(grammar.vocabulary, bool), np.random.default_rng(0), set()
    for _ in range(20):
        row = grammar.row()
        sample(row, rng, mask, jump=True)
        result = row.result()
        assert isinstance(result, ArcSelfEdit)
        found.add("mine" in result.families)
    assert found == {True, False}


def test_without_llguidance_the_remedy_is_named(
    small_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llguidance.hf", None)
    with pytest.raises(Unavailable, match=r"selfedit\[arc\]"):
        SelfEditGrammar(small_tokenizer, FREE)


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(UsageError, match="fast tokenizer"):
        SelfEditGrammar(object(), FREE)


@pytest.mark.slow
def test_samples_of_a_language_model_with_random_weights_all_parse(tmp_path: Path) -> None:
    """The same through the decoder, whose model's likings are not flat."""
    tokenizer = made_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    tiny_llama(len(tokenizer)).save_pretrained(tmp_path)
    lm = load(str(tmp_path), device="cpu")
    grammar, tally = SelfEditGrammar(lm.tokenizer, CHOICES), Tally()
    rows = [grammar.row() for _ in range(192)]
    asked = [[5, 6, 7], [8, 9]] * 96
    said = generate(lm, asked, rules=rows, max_new_tokens=300, temperature=1.5, seeds=range(192))
    assert all(completion.finish == "stop" for completion in said)
    for row in rows:
        tally.add(row.result())
    assert (tally.accepted, tally.rejected) == (192, 0)
    assert len({row.result() for row in rows}) > 50
