"""Decoding that never stops: rows join a batch between two tokens and leave it as soon as they have
ended, each under its own adapter, with its own length, temperature and seed.

`generate` knows all its prompts before it begins; a server learns of them one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from selfedit.lm.attention import KeyValueCache
from selfedit.lm.decoder import TOGETHER, Decoder, heads_of
from selfedit.lm.generate import room_of
from selfedit.lm.live_row import LiveRow, TokenLog
from selfedit.lm.load import LanguageModel
from selfedit.lm.sampling import next_tokens
from selfedit.lm.seats import Seats

SPAN = 64
"""Slots of the cache are made in steps of this: each step copies what is kept."""
TOGETHER_TOKENS = 2048
"""Prompt tokens that join between two tokens of the others, unless one prompt alone has more."""


class LiveDecoder(Decoder):
    """A batch that rows join and leave.

    Args:
        lm: the model; nobody else may compute with it meanwhile.
        most: rows at once.
        adapters: adapters at once.
    """

    rows: list[LiveRow]  # pyright: ignore[reportIncompatibleVariableOverride]

    # A batch without rows has no size yet, so `Decoder`'s own beginning does not fit.
    def __init__(self, lm: LanguageModel, most: int, adapters: int) -> None:
        self.lm, self.head, self.rows = lm, lm.head, []
        self.most, self.seats = most, Seats(lm, adapters)
        self.cache = self._new_cache(0, 0)

    def fitting(self, waiting: Sequence[LiveRow]) -> int:
        """How many of the waiting rows, the first ones, can join now: as many as there are rows,
        adapters and memory for. An empty batch takes at least one.
        """
        layers, heads, size = heads_of(self.lm)
        slot = 2 * layers * heads * size * self.lm.head.element_size()  # bytes: key and value
        _, room = room_of(self.lm.device)
        rows, tokens, busy = list(self.rows), 0, self._busy()
        for count, row in enumerate(waiting):
            rows.append(row)
            tokens += len(row.prompt)
            if len(rows) == 1:
                continue
            longest = max(each.longest for each in rows)
            over = slot * longest * len(rows) > room or (count and tokens > TOGETHER_TOKENS)
            weights = [each.weights for each in waiting[: count + 1]]
            if len(rows) > self.most or over or not self.seats.has_room(weights, busy):
                return count
        return len(waiting)

    @torch.inference_mode()
    def join(self, rows: Sequence[LiveRow]) -> None:
        """Read these prompts and choose the first token of each.

        Raises:
            UsageError: an adapter does not fit the model.
        """
        for row in rows:
            row.adapter = self.seats.take(row.weights, self._busy())
            self.rows.append(row)
        self._make_room(max(len(row.prompt) for row in rows))
        with self._attached():
            hidden = self._prefill(len(self.rows) - len(rows))
        self._choose(rows, hidden)

    @torch.inference_mode()
    def step(self) -> None:
        """One more token for every row; those that have ended are gone."""
        self.drop_finished()
        if not self.rows:
            return
        self._make_room(max(len(row.prompt) + len(row.tokens) for row in self.rows))
        with self._attached():
            self._assign([row.adapter for row in self.rows], TOGETHER)
            hidden = self._decode()
        self._choose(list(self.rows), hidden)

    def drop_finished(self) -> None:
        """Let rows go that have ended or were cancelled."""
        finished = [row.finish is not None for row in self.rows]
        if any(finished):
            self._close_gaps(finished)
        if not self.rows:
            self.cache = self._new_cache(0, 0)  # an idle server holds no memory for texts

    def _choose(self, rows: Sequence[LiveRow], hidden: Tensor) -> None:
        logits = self.lm.logits(hidden, self.head)  # [n, V]
        tokens = self._next(logits, rows).tolist()
        for index, (row, token) in enumerate(zip(rows, tokens, strict=True)):
            if row.alternatives is not None:
                row.noted.append(_token_log(logits[index], token, row.alternatives))
            if token in self.lm.eos_ids:
                row.finish, row.end = "stop", token
                continue
            row.tokens.append(token)
            if len(row.tokens) == row.limit:
                row.finish = "length"
        self.drop_finished()

    def _next(self, logits: Tensor, rows: Sequence[LiveRow]) -> Tensor:
        """The next token of each row, ``[n]``: rows of one temperature and nucleus together."""
        kinds: dict[tuple[float, float], list[int]] = {}
        for index, row in enumerate(rows):
            kinds.setdefault((row.temperature, row.top_p), []).append(index)
        chosen = torch.empty(len(rows), dtype=torch.long, device=logits.device)
        for (temperature, top_p), places in kinds.items():
            uniforms = [
                rows[index].uniforms[len(rows[index].tokens)] if temperature else torch.zeros(())
                for index in places
            ]
            chosen[places] = next_tokens(logits[places], temperature, top_p, torch.stack(uniforms))
        return chosen

    def _busy(self) -> set[int]:
        """Rows of the bank that are in use."""
        return {row.adapter for row in self.rows} - {-1}

    @contextmanager
    def _attached(self) -> Iterator[None]:
        self.bank = self.seats.bank if self._busy() else None
        if self.bank is None:
            yield
            return
        with self.bank.attached():
            yield

    def _make_room(self, slots: int) -> None:
        """See that the cache has this many slots for each row."""
        had_rows, _, had_slots, _ = self.cache.keys[0].shape
        if len(self.rows) <= had_rows and slots <= had_slots:
            return
        before = self.cache
        used = max((len(r.prompt) + len(r.tokens) for r in self.rows if r.tokens), default=0)
        slots = -(-max(slots, used) // SPAN) * SPAN
        self.cache = self._new_cache(len(self.rows), slots)
        stores = zip(
            (*before.keys, *before.values), (*self.cache.keys, *self.cache.values), strict=True
        )
        rows, both = min(had_rows, len(self.rows)), min(had_slots, slots)
        for old, new in stores:
            new[:rows, :, :both].copy_(old[:rows, :, :both])

    def _new_cache(self, rows: int, slots: int) -> KeyValueCache:
        layers, heads, size = heads_of(self.lm)
        return KeyValueCache(layers, rows, heads, slots, size, self.lm.head)


def _token_log(logits: Tensor, token: int, count: int) -> TokenLog:
    logs = logits.float().log_softmax(-1)
    top, ids = logs.topk(min(count, len(logs)))
    return TokenLog(float(logs[token]), tuple(zip(ids.tolist(), top.tolist(), strict=True)))
