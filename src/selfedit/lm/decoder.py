"""Decoding one batch of rows: their prompts are read, then every row gets token after token until
it has ended.

A prompt that is sampled several times under the same adapter is read once. Finished rows leave the
batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from selfedit.lm.attention import Decode, KeyValueCache, Prefill, cache_shape, packed_attention
from selfedit.lm.bank import AdapterBank
from selfedit.lm.load import LanguageModel
from selfedit.lm.rules import Stop, TokenRule
from selfedit.lm.sampling import log_probabilities, next_tokens
from selfedit.lm.segments import make_segments

PREFILL_TOKENS = 4096
"""Prompt tokens read in one pass at the most."""
GPU_PREFILL_TOKENS = 16384
"""The same on a GPU."""
DROP_SHARE = 1 / 8
"""Finished rows are dropped once they are this share of the batch: dropping one means copying
another's cache.
"""

TOGETHER = 4
"""Padded slots per row up to which all adapters make one product: empty slots cost less than
copying adapters.
"""

OnToken = Callable[[int, int], None]
"""Called after every decode step with (rows finished, rows in all)."""

_Prompt = tuple[int, tuple[int, ...]]
"""An adapter in the bank (−1 is none) and the ids it reads."""


@dataclass(frozen=True)
class Completion:
    """What the model wrote after one prompt.

    Attributes:
        text: without special tokens.
        ids: its tokens, the ending one left out.
        finish: "stop" where the model, or the rule it was held to, ended the text, "length" where
            the bound did.
        prompt_tokens: tokens of the prompt.
        end: the token that ended it; None where no token did.
        logprobs: of every token of `sampled`, in nats, under the distribution it was drawn from
            before the nucleus was cut: at the sampling's temperature, over what its rule allowed.
            Empty where nothing was drawn (temperature 0).
    """

    text: str
    ids: tuple[int, ...]
    finish: str
    prompt_tokens: int
    end: int | None = None
    logprobs: tuple[float, ...] = field(default=(), compare=False)  # last bits vary with company

    @property
    def sampled(self) -> tuple[int, ...]:
        """Every token that was chosen, the ending one included."""
        return self.ids if self.end is None else (*self.ids, self.end)


@dataclass
class DecodingRow:
    """A prompt on its way to a completion."""

    index: int  # in the caller's list
    prompt: tuple[int, ...]
    adapter: int  # in the bank; −1 is none
    uniforms: Tensor
    tokens: list[int]
    rule: TokenRule | None = None
    logs: list[float] = field(default_factory=list)


def prefill_tokens(device: torch.device) -> int:
    """Prompt tokens read in one pass at the most."""
    return PREFILL_TOKENS if device.type == "cpu" else GPU_PREFILL_TOKENS


def heads_of(lm: LanguageModel) -> tuple[int, int, int]:
    """Layers, key/value heads and head size."""
    return cache_shape(lm.model.config)


class Decoder:
    """One batch of rows from prompt to end."""

    def __init__(
        self,
        lm: LanguageModel,
        bank: AdapterBank | None,
        rows: list[DecodingRow],
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        done: list[Completion | None],
        on_token: OnToken | None,
    ) -> None:
        self.lm, self.bank, self.rows = lm, bank, rows
        self.limit, self.temperature, self.top_p = max_new_tokens, temperature, top_p
        self.done, self.on_token = done, on_token
        layers, heads, size = heads_of(lm)
        # One size for all rows of the batch: the longest prompt and all that may be written after
        # it.
        slots = max(len(row.prompt) for row in rows) + max_new_tokens
        self.cache = KeyValueCache(layers, len(rows), heads, slots, size, lm.head)
        self._restrict(None, None)

    def _restrict(self, alphabet: Sequence[int] | None, stop: Stop | None) -> None:
        self.stop = stop
        self.alphabet = (
            None if alphabet is None else torch.tensor(list(alphabet), device=self.lm.device)
        )
        self.head = (
            # Rows of the head for an alphabet: the other logits are never formed.
            self.lm.head if self.alphabet is None else self.lm.head[self.alphabet]
        )  # [V or A, D]

    @torch.inference_mode()
    def run(self, alphabet: Sequence[int] | None = None, stop: Stop | None = None) -> None:
        """Read the prompts, then write token by token until every row has finished: with these
        tokens only, and a row ends where ``stop`` says so too.
        """
        self._restrict(alphabet, stop)
        if self.bank is None:
            return self._run()
        with self.bank.attached():
            return self._run()

    def _run(self) -> None:
        self._take(self._prefill())
        while self.rows:
            self._take(self._decode())

    def _prefill(self, begin: int = 0) -> Tensor:
        """The hidden state after the prompt of each row from ``begin`` on, ``[R - begin, D]``;
        equal prompts under one adapter are read once.
        """
        copies: dict[_Prompt, list[int]] = {}
        for index, row in enumerate(self.rows[begin:], begin):
            copies.setdefault((row.adapter, row.prompt), []).append(index)
        out = self.lm.head.new_empty(len(self.rows), self.lm.head.shape[1])
        chunk: list[_Prompt] = []
        room = prefill_tokens(self.lm.device)
        for key in copies:
            # A chunk may be over the bound by one prompt that is longer than it alone.
            if chunk and sum(len(prompt) for _, prompt in chunk) + len(key[1]) > room:
                self._read(chunk, copies, out)
                chunk = []
            chunk.append(key)
        self._read(chunk, copies, out)
        return out[begin:]

    def _read(
        self, chunk: Sequence[_Prompt], copies: Mapping[_Prompt, list[int]], out: Tensor
    ) -> None:
        device = self.lm.device
        lengths = np.array([len(prompt) for _, prompt in chunk])
        # [n]: where each prompt begins in the packed tokens, from the running sum of lengths.
        begins = np.cumsum(lengths) - lengths
        within = np.arange(int(lengths.sum())) - np.repeat(begins, lengths)
        # How many rows share each of the chunk's prompts.
        times = np.array([len(copies[key]) for key in chunk])
        rows = np.array([row for key in chunk for row in copies[key]])
        of_row = np.repeat(np.arange(len(chunk)), times)  # each row's prompt
        source = np.concatenate([np.arange(begins[n], begins[n] + lengths[n]) for n in of_row])
        # Every copy of every token: to which row and which slot of the cache it goes.
        to = np.repeat(rows, lengths[of_row])
        indices = (to, within[source], source, rows, (begins + lengths - 1)[of_row])
        to, at, token, into, last = (torch.from_numpy(index).to(device) for index in indices)
        plan = Prefill(packed_attention(lengths, device, self.lm.dtype), to, at, token, self.cache)
        self._assign(np.repeat([adapter for adapter, _ in chunk], lengths).tolist())
        ids = np.concatenate([np.asarray(prompt) for _, prompt in chunk])
        hidden = self.lm.hidden(torch.from_numpy(ids), torch.from_numpy(within), plan)
        # The state of a prompt's last token, for each row that has this prompt.
        out.index_copy_(0, into, hidden.index_select(0, last))

    def _assign(self, owners: Sequence[int], together: float = 1.0) -> None:
        """Say which adapter each packed token goes through."""
        if self.bank is None:
            return
        rows: list[list[int]] = [[] for _ in self.bank.specs]
        for index, adapter in enumerate(owners):
            # −1 goes through no adapter: those tokens are in no segment.
            if adapter >= 0:
                rows[adapter].append(index)
        segments = make_segments(
            rows, self.lm.device, self.lm.dtype, total=len(owners), together=together
        )
        self.bank.assign(segments)

    def _decode(self) -> Tensor:
        """One more token for each row: the hidden state after it, ``[R, D]``."""
        lengths = torch.tensor(
            # Tokens in the cache: the newest one, which this pass reads, is not in it yet.
            [len(row.prompt) + len(row.tokens) - 1 for row in self.rows],
            device=self.lm.device,
        )
        ids = [row.tokens[-1] for row in self.rows]
        return self.lm.hidden(ids, lengths, Decode(self.cache, lengths))

    def _take(self, hidden: Tensor) -> None:
        """Choose every row's next token and let finished rows go."""
        self._continue(self.lm.logits(hidden, self.head))

    def _continue(self, logits: Tensor) -> None:
        """The same from every row's logits, ``[R, V]``."""
        # Before anything is drawn: what the grammar forbids has no probability.
        self._forbid(logits)
        step = [
            # A row's own number for its own n-th token: what it draws does not depend on when
            # others end.
            row.uniforms[len(row.tokens)] if self.temperature else row.uniforms.new_zeros(())
            for row in self.rows
        ]
        chosen = next_tokens(logits, self.temperature, self.top_p, torch.stack(step))
        self._note_logs(logits, chosen)
        # Chosen among an alphabet, so far an index into it.
        chosen = chosen if self.alphabet is None else self.alphabet[chosen]
        self._chosen(chosen)

    def _note_logs(self, logits: Tensor, chosen: Tensor) -> None:
        """Keep how likely the unfinished rows' new tokens were, where they were drawn."""
        if not self.temperature:
            return
        logs = log_probabilities(logits, self.temperature, chosen).tolist()
        for row, value in zip(self.rows, logs, strict=True):
            # Finished rows are computed on until they are dropped; what they draw is not theirs.
            if self.done[row.index] is None:
                row.logs.append(value)

    def _chosen(self, chosen: Tensor) -> None:
        tokens = chosen.tolist()  # the one wait of a step: who has ended?
        for row, token in zip(self.rows, tokens, strict=True):
            if self.done[row.index] is None:
                self._add(row, token)
        self._drop()
        if self.on_token:
            self.on_token(sum(c is not None for c in self.done), len(self.done))

    def _forbid(self, logits: Tensor) -> None:
        """Rule out what the unfinished rows' grammars do not allow."""
        ruled = [
            index
            for index, row in enumerate(self.rows)
            if row.rule and self.done[row.index] is None
        ]
        if not ruled:
            return
        # [rules, V] bytes on the host: grammars are evaluated there.
        mask = np.ones((len(ruled), logits.shape[1]), dtype=np.bool_)
        for allowed, index in zip(mask, ruled, strict=True):
            rule = self.rows[index].rule
            assert rule is not None
            rule.allowed(allowed)
        forbidden = torch.from_numpy(~mask).to(logits.device)
        logits[ruled] = logits[ruled].masked_fill(forbidden, -torch.inf)

    def _add(self, row: DecodingRow, token: int) -> None:
        row.tokens.append(token)
        if row.rule:
            row.rule.advance(token)
        # A rule knows when its text is complete; `stop` is asked for rows without one.
        complete = row.rule.done if row.rule else self.stop is not None and self.stop(row.tokens)
        # An end token does not belong to the text, what a stop has seen does.
        ended = not complete and token in self.lm.eos_ids
        if ended or complete or len(row.tokens) == self.limit:
            ids = tuple(row.tokens[:-1] if ended else row.tokens)
            finish = "stop" if ended or complete else "length"
            self.done[row.index] = Completion(
                text=self.lm.decode(ids),
                ids=ids,
                finish=finish,
                prompt_tokens=len(row.prompt),
                end=token if ended else None,
                logprobs=tuple(row.logs),
            )

    def _drop(self) -> None:
        """Fill the places of finished rows with the last unfinished ones, so that only those are
        computed on.
        """
        finished = [self.done[row.index] is not None for row in self.rows]
        # Copying caches for every single row that ends costs more than computing on a few.
        if sum(finished) < max(1, DROP_SHARE * len(self.rows)) and not all(finished):
            return self._assign_decode()
        self._close_gaps(finished)
        return self._assign_decode()

    def _close_gaps(self, finished: Sequence[bool]) -> None:
        """Let these rows go; their places are taken by the last of the others."""
        keep = len(self.rows) - sum(finished)
        sources = [index for index in range(keep, len(self.rows)) if not finished[index]]
        for target in range(keep):
            if finished[target]:
                source = sources.pop()
                # The last unfinished row moves into the gap: nothing between has to move.
                self.cache.move(target, source)
                self.rows[target] = self.rows[source]
        del self.rows[keep:]

    def _assign_decode(self) -> None:
        self._assign([row.adapter for row in self.rows], TOGETHER)
