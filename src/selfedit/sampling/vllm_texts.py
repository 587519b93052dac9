"""What a vLLM server is asked for, and what is read out of its replies: a text as our own sampler
would have written it. No reply is trusted: ids are held to the vocabulary and to the grammar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfedit.errors import Unavailable, UsageError
from selfedit.lm.generate import Completion
from selfedit.lm.load import LanguageModel
from selfedit.lm.rules import OneOf, Stop, TokenRule, WrittenRule

Fail = Callable[[str, str], Unavailable]
"""Makes an error that names the server, of what is wrong and what to do."""
GUIDANCE = '--structured-outputs-config \'{"backend": "guidance"}\''
"""Without it a server may not read Lark grammars, or hold texts to less than they say."""
_ODD = "see that the server is vLLM, of a version that knows what it was asked for"


@dataclass(frozen=True)
class TextRequest:
    """One text to be written: see `selfedit.sampling.base.Sampler.generate`."""

    prompt: tuple[int, ...]
    limit: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    rule: TokenRule | None = None
    alphabet: Sequence[int] | None = None
    stop: Stop | None = None

    def body(self, lm: LanguageModel) -> dict[str, Any]:
        """The request, its model apart.

        Raises:
            UsageError: the grammar has no form that a server takes.
        """
        body: dict[str, Any] = {
            "prompt": list(self.prompt),
            "max_tokens": self.limit,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "return_token_ids": True,
            # Ended by our tokens alone: the server's own may be others.
            "ignore_eos": True,
            "stop_token_ids": sorted(lm.eos_ids),
            # What a model's folder asks for besides would make another distribution.
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            **dict.fromkeys(("presence_penalty", "frequency_penalty"), 0.0),
        }
        if self.temperature:
            # Seeds of 64 bits have to fit into a signed number.
            body |= {"seed": (self.seed or 0) % 2**63, "logprobs": 0}
        if self.alphabet is not None:
            body["allowed_token_ids"] = list(self.alphabet)
        if self.rule is not None:
            # The whole grammar, not its state: a server's text begins at its beginning.
            body["structured_outputs"] = {"grammar": _grammar(self.rule, lm)}
        return body

    @property
    def plain(self) -> bool:
        """Whether it is drawn from the model's distribution as it is."""
        return self.temperature == 1 and self.rule is None and self.alphabet is None


def _grammar(rule: TokenRule, lm: LanguageModel) -> str:
    if not isinstance(rule, WrittenRule):
        what = f"the grammar {type(rule).__name__} cannot be sent to a server"
        fix = "give it the methods of selfedit.lm.rules.WrittenRule, or set sampler = local"
        raise UsageError(what, where="sampler", fix=fix)
    return rule.lark(lm.decode)


def read_choice(
    lm: LanguageModel, request: TextRequest, reply: Any, fail: Fail, *, processed: bool
) -> Completion:
    """The completion in a reply.

    Args:
        processed: its log-probabilities are of what it draws from, else the model's own.

    Raises:
        Unavailable: there is none in it, or not one as it was asked for.
    """
    tokens, logs = read_tokens(lm, reply, request.limit, fail)
    written = _ended(lm, request, tokens)
    if written is None:
        tokens, logs = _cut_anew(lm, request, tokens), []
        written = _ended(lm, request, tokens)
    if written is None:
        what = "the vLLM server wrote what the grammar of self-edits forbids"
        raise fail(what, f"start it with {GUIDANCE}")
    ids, end, finish = written
    # Of the distribution it was drawn from, or none: they are read again where they are needed.
    # Under a list of texts the server may cut otherwise, so that its choices are not ours.
    comparable = processed and request.top_p == 1 and not isinstance(request.rule, OneOf)
    known = comparable or request.plain
    count = len(ids) + (end is not None)
    kept = tuple(logs[:count]) if request.temperature and known else ()
    return Completion(lm.decode(ids), ids, finish, len(request.prompt), end, kept)


def _cut_anew(lm: LanguageModel, request: TextRequest, tokens: Sequence[int]) -> list[int]:
    """The same text in tokens that our grammar allows: a server's may have one that goes beyond a
    place where ours ends, as the end of a header line and the next line's beginning.
    """
    assert isinstance(request.rule, WrittenRule)
    rule, mask = request.rule.again(), np.ones(len(lm.head), dtype=np.bool_)
    end = [token for token in tokens[-1:] if token in lm.eos_ids]
    left = list(lm.encode_more(lm.decode(tokens)))
    cut: list[int] = []
    while left and not rule.done:
        mask[:] = True
        rule.allowed(mask)
        piece = lm.decode(left[:1])
        # As much of the text at once as may stand here, down to its first letter.
        starts = (lm.encode_more(piece[:count]) for count in range(len(piece) - 1, 0, -1))
        firsts = [left[:1], *[list(start) for start in starts if len(start) == 1]]
        fitting = next((first for first in firsts if mask[first[0]]), None)
        if fitting is None:
            return [*cut, *left]
        if fitting != left[:1]:
            left = [*fitting, *lm.encode_more(lm.decode(left).removeprefix(lm.decode(fitting)))]
        cut.append(left.pop(0))
        rule.advance(cut[-1])
    return [*cut, *left, *end]


def read_tokens(
    lm: LanguageModel, reply: Any, limit: int, fail: Fail
) -> tuple[list[int], list[float]]:
    """The tokens in a reply, and the log-probability of each, where they were asked for.

    Raises:
        Unavailable: there are none, too many, or others than the model's.
    """
    try:
        choice = reply["choices"][0]
        tokens = [_checked_id(value, len(lm.head)) for value in choice["token_ids"]]
        noted = (choice.get("logprobs") or {}).get("token_logprobs") or []
        logs = [float(value) for value in noted]
        if not 0 < len(tokens) <= limit or len(logs) not in (0, len(tokens)):
            raise ValueError(f"{len(tokens)} tokens, {len(logs)} log-probabilities")
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        what = f"the vLLM server's reply holds no tokens ({type(error).__name__}: {error!s:.200})"
        raise fail(what, _ODD) from error
    return tokens, logs


def _ended(
    lm: LanguageModel, request: TextRequest, tokens: Sequence[int]
) -> tuple[tuple[int, ...], int | None, str] | None:
    """A text as `selfedit.lm.decoder.Decoder` ends one: its ids, the token that ended it, and why;
    None where its grammar forbids it.
    """
    # A grammar has a state, and this may be the second reading under it.
    rule = request.rule.again() if isinstance(request.rule, WrittenRule) else None
    mask = np.ones(len(lm.head), dtype=np.bool_)
    for count, token in enumerate(tokens, start=1):
        if rule is not None:
            mask[:] = True
            rule.allowed(mask)
            if not mask[token]:
                return None
            rule.advance(token)
        complete = rule.done if rule else request.stop is not None and request.stop(tokens[:count])
        if complete or count == request.limit:
            ended = not complete and token in lm.eos_ids
            ids = tuple(tokens[: count - ended])
            return ids, token if ended else None, "stop" if complete or ended else "length"
        if token in lm.eos_ids:
            return tuple(tokens[: count - 1]), token, "stop"
    # Cut anew into fewer tokens than the limit, which had cut it off.
    return tuple(tokens), None, "length"


def _checked_id(value: object, vocabulary: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < vocabulary:
        raise ValueError(f"{value!r:.40} is no token of the model")
    return value
