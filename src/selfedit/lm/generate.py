"""Batched answering: many prompts, each under its own adapter or none, in as few decodes as memory
allows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from selfedit.errors import DataError, UsageError
from selfedit.lm.bank import AdapterBank
from selfedit.lm.chat import chat_prompt
from selfedit.lm.cores import OnTokens, on_cores, places_by_key, places_of_units, share_out
from selfedit.lm.decoder import Completion, Decoder, DecodingRow, OnToken, heads_of
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter, distinct_adapters
from selfedit.lm.memory import memory_bytes
from selfedit.lm.rules import Stop, TokenRule
from selfedit.lm.sampling import draw_uniforms
from selfedit.lm.static_decoder import StaticDecoder, decodes_statically

MIN_ROWS = 8
"""Rows that every core decodes at the least: with fewer, reading the weights takes the time."""
MAX_ROWS = 96
"""Rows decoded at once: beyond this a step's time grows as fast as its rows."""
CACHE_BYTES = 2 * 2**30
"""Keys and values of one batch at the most."""
GPU_ROWS = 1024
"""The same on a GPU, where the weights are read once a token for all."""
GPU_CACHE_SHARE = 0.4
"""Keys and values of one batch on a GPU at the most, as a share of the memory that is free."""


def generate(
    lm: LanguageModel,
    prompts: Sequence[str | Sequence[int]],
    adapters: Sequence[Adapter | None] | None = None,
    *,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seeds: Sequence[int] | None = None,
    rules: Sequence[TokenRule | None] | None = None,
    alphabet: Sequence[int] | None = None,
    stop: Stop | None = None,
    on_token: OnToken | None = None,
) -> list[Completion]:
    """Complete every prompt, each under its own adapter.

    Args:
        lm: the model.
        prompts: texts (put to a chat model as a user's message) or token ids (taken as they are).
        adapters: one for each prompt, None for the plain model; or None for all. The same object
            may stand many times.
        max_new_tokens: at most this many tokens are written.
        temperature: 0 is greedy.
        top_p: nucleus, in (0, 1].
        seeds: one for each prompt; needed unless greedy. A row's draws depend on its own seed
            alone.
        rules: for each prompt, a grammar of its own that its completion is held to, or None.
        alphabet: the only tokens that completions are made of; the head is computed for no others.
            Not with rules.
        stop: told what a row has written, says whether it has ended; the last token stays.

    Returns:
        One completion for each prompt, in order.
    """
    ids = [tuple(chat_prompt(lm, p)) if isinstance(p, str) else tuple(p) for p in prompts]
    seeds = _check(lm, ids, adapters, max_new_tokens, temperature, top_p, seeds)
    row_rules = _check_rules(rules, alphabet, len(ids))
    if not ids:
        return []
    chosen = [None] * len(ids) if adapters is None else list(adapters)
    distinct = distinct_adapters(chosen)
    # Drawn ahead for every token: a row's numbers do not depend on who decodes it, or when.
    uniforms = draw_uniforms(list(seeds), max_new_tokens if temperature else 0)
    rows = _decoding_rows(ids, chosen, distinct, uniforms, row_rules)
    done: list[Completion | None] = [None] * len(rows)
    # With a callback the caller wants steps in order: one part, one count.
    parts = [list(range(len(rows)))] if on_token else _core_parts(lm, rows, max_new_tokens)

    def decode(model: LanguageModel, part: Sequence[int], after: OnTokens) -> None:
        # `done` is shared: every row writes its own place, so the threads need no lock.
        for batch in _batches(model, [rows[index] for index in part], max_new_tokens, len(parts)):
            bank = _bank_of(model, batch, distinct)
            kind = StaticDecoder if decodes_statically(model) else Decoder
            decoder = kind(model, bank, batch, max_new_tokens, temperature, top_p, done, on_token)
            decoder.run(alphabet, stop)
            # No tokens to report; the call is what lets another part's failure stop this one.
            after(0)

    on_cores(lm, parts, decode, lambda _: None)
    return [completion for completion in done if completion is not None]


def _decoding_rows(
    ids: Sequence[tuple[int, ...]],
    adapters: Sequence[Adapter | None],
    distinct: Sequence[Adapter],
    uniforms: Tensor,
    rules: Sequence[TokenRule | None],
) -> list[DecodingRow]:
    """A row for each prompt; those of the plain model go through adapter −1, which is none."""
    number = {id(adapter): k for k, adapter in enumerate(distinct)}
    rows: list[DecodingRow] = []
    for index, (prompt, adapter) in enumerate(zip(ids, adapters, strict=True)):
        k = -1 if adapter is None else number[id(adapter)]
        rows.append(DecodingRow(index, prompt, k, uniforms[index], [], rules[index]))
    return rows


def _core_parts(lm: LanguageModel, rows: Sequence[DecodingRow], new_tokens: int) -> list[list[int]]:
    """Places of the rows that each core decodes; one prompt's rows under one adapter stay
    together.
    """
    # A prompt that rows share is read once, so those rows must not be torn apart.
    units = places_by_key([(row.adapter, row.prompt) for row in rows])
    loads = [len(rows[unit[0]].prompt) + new_tokens * len(unit) for unit in units]
    parts = share_out(lm, loads, len(rows) // MIN_ROWS)
    return places_of_units(units, parts)


def _bank_of(
    lm: LanguageModel, batch: Sequence[DecodingRow], distinct: Sequence[Adapter]
) -> AdapterBank | None:
    """The adapters of a batch in a bank; its rows' places among all become places in the bank."""
    used = sorted({row.adapter for row in batch})
    # rows without an adapter are in no segment; among others, offsets want one that adds nothing
    if used[0] < 0 and not (decodes_statically(lm) and len(used) > 1):
        used = used[1:]
    bank = _bank(lm, [None if k < 0 else distinct[k] for k in used])
    for row in batch:
        row.adapter = used.index(row.adapter) if row.adapter in used else -1
    return bank


def _check(
    lm: LanguageModel,
    ids: Sequence[Sequence[int]],
    adapters: Sequence[Adapter | None] | None,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seeds: Sequence[int] | None,
) -> Sequence[int]:
    if adapters is not None and len(adapters) != len(ids):
        raise UsageError(
            f"{len(ids)} prompts but {len(adapters)} adapters",
            fix="give one adapter (or None) a prompt",
        )
    if max_new_tokens < 1 or temperature < 0 or not 0 < top_p <= 1:
        raise UsageError(
            f"cannot decode with max_new_tokens={max_new_tokens}, temperature={temperature},"
            f" top_p={top_p}",
            fix="max_new_tokens ≥ 1, temperature ≥ 0, 0 < top_p ≤ 1",
        )
    if temperature and seeds is None:
        raise UsageError("sampling needs a seed for each prompt", fix="pass seeds=[…]")
    if seeds is not None and len(seeds) != len(ids):
        raise UsageError(f"{len(ids)} prompts but {len(seeds)} seeds", fix="give one seed a prompt")
    # Named by their place: a batch has hundreds, and the caller has to find the one.
    for i, prompt in enumerate(ids):
        if not prompt:
            raise DataError("the prompt is empty", where=f"prompt {i}")
        if len(prompt) + max_new_tokens > lm.max_tokens:
            what = (
                f"{len(prompt)} prompt tokens and {max_new_tokens} new ones exceed the model's"
                f" {lm.max_tokens}"
            )
            raise DataError(
                what, where=f"prompt {i}", fix="shorten the passage or lower max_new_tokens"
            )
    return [0] * len(ids) if seeds is None else seeds


def _check_rules(
    rules: Sequence[TokenRule | None] | None, alphabet: Sequence[int] | None, count: int
) -> Sequence[TokenRule | None]:
    if rules is not None and alphabet is not None:
        raise UsageError(
            "rules and an alphabet cannot be given together", fix="let the rules allow fewer tokens"
        )
    if rules is not None and len(rules) != count:
        raise UsageError(
            f"{count} prompts but {len(rules)} rules", fix="give one rule (or None) a prompt"
        )
    if alphabet is not None and not len(alphabet):
        raise UsageError(
            "the alphabet is empty", fix="give the ids of the tokens that may be written"
        )
    return [None] * count if rules is None else rules


def _batches(
    lm: LanguageModel, rows: Sequence[DecodingRow], new_tokens: int, parts: int
) -> list[list[DecodingRow]]:
    """Rows of one adapter and of like length side by side, as many as one part's cache may hold."""
    # Rows of one adapter side by side make its tokens one run of the batch, a view of the bank.
    rows = sorted(rows, key=lambda row: (row.adapter, len(row.prompt), row.index))
    layers, heads, size = heads_of(lm)
    most, cache = room_of(lm.device)
    # Every part decodes a batch of its own at the same time.
    cache /= parts
    batches: list[list[DecodingRow]] = []
    longest = 0
    for row in rows:
        longest = max(longest, len(row.prompt) + new_tokens)
        count = len(batches[-1]) + 1 if batches else 1
        # 2 for keys and values; every row has slots for the longest.
        room = 2 * layers * heads * size * longest * count * lm.head.element_size() <= cache
        if batches and count <= most and room:
            batches[-1].append(row)
        else:
            batches.append([row])
            longest = len(row.prompt) + new_tokens
    return batches


def room_of(device: torch.device) -> tuple[int, float]:
    """Rows and bytes of cache of one batch."""
    if device.type != "cuda":
        return MAX_ROWS, CACHE_BYTES
    return GPU_ROWS, GPU_CACHE_SHARE * memory_bytes(device)[1]


def _bank(lm: LanguageModel, adapters: Sequence[Adapter | None]) -> AdapterBank | None:
    if not adapters:
        return None
    # Any of them: the plain model's row adds nothing, whatever its rank.
    example = next(adapter for adapter in adapters if adapter is not None)
    specs = [example.spec if adapter is None else adapter.spec for adapter in adapters]
    # On a GPU answering needs no master values in float32: half the memory.
    bank = AdapterBank(lm.model, specs, masters=lm.device.type == "cpu")
    for k, adapter in enumerate(adapters):
        if adapter is not None:
            bank.put(k, adapter)
    return bank
