"""A model as the numbers that its cost depends on, and the formulas of that cost.

Floating point operations count a product of ``[m, k]`` and ``[k, n]`` as 2·m·k·n. Counted are, for
the tokens that carry data (padding is waste, not work):

- the frozen linear modules of the decoder, forward and backward to the activations: 2·2·N a token,
N their weights;
- the head, forward and backward to the hidden state, for the tokens that carry loss: 2·2·V·D each;
- the adapters, forward and backward to A, B and the activations: 3·2·P a token, P an adapter's
  parameters.

Attention's own products, norms, softmax and the optimiser are not counted, nor is a backward pass
to the frozen
weights: nobody needs it. So a share of the matrix-product rate reckoned from these is a little too
low, never too high.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from selfedit.config import ALL_LINEAR


@dataclass(frozen=True)
class Shape:
    """A Llama-like decoder.

    Attributes:
        layers: decoder layers.
        hidden: D, width of the residual stream.
        inner: F, width of the gated layer.
        query: width of all query heads together.
        key_value: width of all key (and of all value) heads together.
        vocabulary: V.
    """

    layers: int
    hidden: int
    inner: int
    query: int
    key_value: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> Shape:
        """From a transformers configuration."""
        # Some configurations leave head_dim out; transformers derives it the same way.
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(
            config.num_hidden_layers,
            config.hidden_size,
            config.intermediate_size,
            size * config.num_attention_heads,
            size * config.num_key_value_heads,
            config.vocab_size,
        )

    @property
    def modules(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of a layer's linear modules."""
        d, f, q, kv = self.hidden, self.inner, self.query, self.key_value
        sizes = [(d, q), (d, kv), (d, kv), (q, d), (d, f), (d, f), (f, d)]
        return dict(zip(ALL_LINEAR, sizes, strict=True))

    @property
    def weights(self) -> int:
        """N: weights of the decoder's linear modules."""
        return self.layers * sum(into * out for into, out in self.modules.values())

    @property
    def head(self) -> int:
        """Weights of the output head, V·D."""
        return self.vocabulary * self.hidden

    def adapter(self, rank: int, targets: Sequence[str]) -> int:
        """P: parameters of one LoRA adapter."""
        # In and out of each module, r each: A and B.
        return self.layers * rank * sum(sum(self.modules[target]) for target in targets)

    def training_flops(
        self, tokens: float, predicted: float, rank: int, targets: Sequence[str]
    ) -> float:
        """Operations of training on ``tokens`` tokens of which ``predicted`` carry loss: see the
        module's docstring.
        """
        return (
            # 2 · 2 · N: a forward and a backward product of two operations each.
            4 * self.weights * tokens
            + 4 * self.head * predicted
            + 6 * self.adapter(rank, targets) * tokens
        )

    def decoding_flops(self, tokens: float, rank: int = 0, targets: Sequence[str] = ()) -> float:
        """Operations of writing ``tokens`` tokens: 2·(N + V·D + P) each."""
        return 2 * (self.weights + self.head + self.adapter(rank, targets)) * tokens

    def activations(self, rank: int, targets: Sequence[str]) -> int:
        """Numbers a token that a plain forward pass keeps for the backward pass of all-linear
        adapters.

        A layer keeps what its norms and modules read (4 D, the query, its keys and values, the
        attended values) and the gated layer's four stages; each adapted module keeps x Aᵀ. Ours
        keeps three of the four (`selfedit.lm.block`).
        """
        layer = (
            4 * self.hidden
            + 2 * self.query
            + 2 * self.key_value
            + 4 * self.inner
            + rank * len(targets)
        )
        return self.layers * layer


KNOWN = {
    "smollm2-135m": Shape(30, 576, 1536, 576, 192, 49152),
    "qwen2.5-7b": Shape(28, 3584, 18944, 3584, 512, 152064),
    "llama-3.2-1b": Shape(16, 2048, 8192, 2048, 512, 128256),
}
"""Shapes of models that the paper or this project use, from their published configurations."""
