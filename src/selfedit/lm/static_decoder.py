"""Decoding on a GPU: a token's pass through the model is one CUDA graph, with the bank and the
cache where they are.

Rows stay in the order of their adapters, so the adapters' products go by offsets
(`selfedit.lm.grouped`). Finished rows are computed on until half of the batch has finished; then
the others go on in a batch, and a graph, of their own. The host waits once a token, to learn which
rows have ended.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from selfedit.lm.attention import Decode
from selfedit.lm.block import run_layers
from selfedit.lm.decoder import Decoder
from selfedit.lm.grouped import offsets_of
from selfedit.lm.load import LanguageModel
from selfedit.lm.sampling import next_tokens

SPAN = 64
"""Slots of the cache that are looked at are rounded up to a multiple of this."""
WORTH_A_GRAPH = 4
"""Tokens still to come that are worth one."""


def decodes_statically(lm: LanguageModel) -> bool:
    """Whether this model decodes by graphs: on CUDA, in bfloat16, of known parts."""
    return lm.device.type == "cuda" and lm.dtype == torch.bfloat16 and lm.known


class StaticDecoder(Decoder):
    """See the module. Rows are sorted by adapter, and every row has one: the plain model's is one
    that adds nothing.
    """

    _graph: torch.cuda.CUDAGraph | None = None
    _step = 0

    def _assign(self, owners: Sequence[int], together: float = 1.0) -> None:
        if self.bank is None:
            return
        counts = [0] * len(self.bank.specs)
        for owner in owners:
            counts[owner] += 1
        self.bank.assign(offsets_of(counts, self.bank.scale, len(owners), self.lm.dtype))

    def _run(self) -> None:
        device = self.lm.device
        if self.temperature:
            # Uploaded once: a step takes its column on the device.
            self._uniforms = torch.stack([row.uniforms for row in self.rows]).to(
                device
            )  # [R, new tokens]
        self._tokens = torch.zeros(len(self.rows), dtype=torch.long, device=device)
        self._lengths = torch.tensor([len(row.prompt) for row in self.rows], device=device)
        self._take(self._prefill())
        self._assign_decode()
        while self.rows:
            self._continue(self._next_logits())

    def _assign_decode(self) -> None:
        self._assign([row.adapter for row in self.rows])

    def _next_logits(self) -> Tensor:
        """Every row's logits after its last token, ``[R, V]``; its lengths are one more
        afterwards.
        """
        # Not the first step: a graph is captured after kernels have been chosen and loaded once.
        if self._graph is None and self._step >= 1 and self.limit - self._step >= WORTH_A_GRAPH:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._logits = self._pass()
            # Kept only when capturing went through: an interrupt must not leave half a graph.
            self._graph = graph
        if self._graph is None:
            return self._pass()
        self._graph.replay()
        # The graph writes where it wrote when it was captured; the same tensor each time.
        return self._logits

    def _pass(self) -> Tensor:
        # The cache's full length: a length that grew would be a new shape, and a new graph, each
        # token.
        longest = self.cache.keys[0].shape[2]
        plan = Decode(self.cache, self._lengths, longest)
        hidden = run_layers(self.lm.model, self.lm.embed(self._tokens), self._lengths, plan)
        # In place: the graph's tensors must stay where they are.
        self._lengths.add_(1)
        return self.lm.logits(hidden, self.head)

    def _continue(self, logits: Tensor) -> None:
        self._forbid(logits)
        uniforms = (
            self._uniforms[:, self._step] if self.temperature else logits.new_zeros(len(logits))
        )
        chosen = next_tokens(logits, self.temperature, self.top_p, uniforms)
        self._note_logs(logits, chosen)
        chosen = chosen if self.alphabet is None else self.alphabet[chosen]
        # In place for the same reason.
        self._tokens.copy_(chosen)
        self._step += 1
        self._chosen(chosen)

    def _drop(self) -> None:
        going = [index for index, row in enumerate(self.rows) if self.done[row.index] is None]
        # Half of the rows still write: computing on all costs less than a new graph.
        if 2 * len(going) > len(self.rows):
            return
        rows = torch.tensor(going, dtype=torch.long, device=self.lm.device)
        self.rows = [self.rows[index] for index in going]
        # Captured for the old batch's memory and shape.
        self._graph = None
        if not self.rows:
            return
        self.cache.keep(rows)
        self._tokens, self._lengths = self._tokens[rows], self._lengths[rows]
        if self.temperature:
            self._uniforms = self._uniforms[rows]
        self._assign_decode()
