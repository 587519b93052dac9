from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from arc_grids import grid, grids, pair, same
from hypothesis import given

from selfedit.errors import FormatError
from selfedit.tasks.arc.grids import ALPHABET, AnswerFault, symbols_text
from selfedit.tasks.arc.task import ArcTask, Pair
from selfedit.tasks.arc.tokens import (
    GridTokens,
    count_tokens,
    printed_text,
    prompt_symbols,
    sequence_length,
    training_sequence,
)

DEMO = Pair(grid("12", "34"), grid("5"))


def test_a_prompt_is_marked_pairs_and_the_open_query() -> None:
    assert symbols_text(prompt_symbols([DEMO], grid("67"))) == "I12\n34.O5.I67.O"


def test_loss_is_on_everything_or_on_the_answer() -> None:
    query = Pair(grid("67"), grid("8", "9"))
    whole, answer = (training_sequence([DEMO], query, loss_on) for loss_on in ("all", "output"))
    assert (
        whole.symbols == answer.symbols and symbols_text(whole.symbols) == "I12\n34.O5.I67.O8\n9."
    )
    assert whole.loss_from == 0
    assert symbols_text(answer.symbols[answer.loss_from :]) == "8\n9."
    assert sequence_length([DEMO], query) == len(whole.symbols)


def test_a_task_costs_its_longest_sequence() -> None:
    task = ArcTask("t", (DEMO,), (grid("1"), grid("67")), (grid("1"), grid("8", "9")))
    longest = training_sequence([DEMO], task.test[1], "all")
    assert count_tokens(task) == len(longest.symbols)
    unsolved = ArcTask("t", (DEMO,), task.inputs)
    assert count_tokens(unsolved) == len(prompt_symbols([DEMO], grid("67")))


@given(grids)
def test_token_ids_are_the_tokenizers_and_invertible(small_tokenizer: Any, cells: Any) -> None:
    tokens = GridTokens.of(small_tokenizer)
    assert len(set(tokens.ids)) == 14
    assert same(tokens.decode(tokens.encode(cells)), cells)
    assert (
        small_tokenizer.decode(tokens.encode(cells))
        == "\n".join("".join(map(str, row)) for row in cells) + "."
    )


def test_ids_do_not_depend_on_merges(small_tokenizer: Any) -> None:
    # the tokenizer merges two newlines; by hand they are two row separators
    assert len(small_tokenizer.encode("\n\n")) == 1
    tokens = GridTokens.of(small_tokenizer)
    assert (
        tokens.parse([tokens.ids[1], *[tokens.ids[10]] * 2, tokens.ids[11]]) is AnswerFault.RAGGED
    )


def test_a_foreign_token_is_no_grid(small_tokenizer: Any) -> None:
    tokens = GridTokens.of(small_tokenizer)
    foreign = next(token for token in range(320) if token not in tokens.ids)
    assert tokens.parse([tokens.ids[1], foreign, tokens.ids[11]]) is AnswerFault.NOT_A_GRID
    with pytest.raises(FormatError, match="not a grid"):
        tokens.decode([foreign])


def test_a_tokenizer_without_the_symbols_is_refused() -> None:
    class Words:
        def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
            return [1, 2]

    with pytest.raises(FormatError, match="'0' as 2 tokens"):
        GridTokens.of(Words())


def test_half_the_tokens_of_printed_arrays(
    arc1: dict[str, ArcTask], smollm2_tokenizer: Any
) -> None:
    tokens = GridTokens.of(smollm2_tokenizer)
    sample = [task for task in arc1.values() if len(task.inputs) == 1][::20]
    ours = np.array([count_tokens(task) for task in sample])
    built = [
        len(tokens.to_ids(training_sequence(task.train, task.test[0], "all").symbols))
        for task in sample
    ]
    assert built == ours.tolist()
    printed = np.array([len(smollm2_tokenizer.encode(printed_text(task))) for task in sample])
    assert 0.4 < (ours / printed).mean() < 0.55
    assert [smollm2_tokenizer.decode([token]) for token in tokens.ids] == list(ALPHABET)


def test_pairs_and_tasks_are_equal_by_their_cells() -> None:
    assert pair("12") == pair("12") and hash(pair("12")) == hash(pair("12"))
    assert pair("12") != pair("21") and pair("12") != "12"
    task = ArcTask("a", (pair("12"),), (grid("1"),))
    assert task.key == ArcTask("b", (pair("12"),), (grid("1"),)).key
    assert task.key != ArcTask("a", (pair("12"),), (grid("2"),)).key
