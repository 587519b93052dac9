"""Texts as token ids, whoever wrote them: the beginning of text where a tokenizer puts one, no
added space where a text goes on, and no control token read out of what a document says.

transformers keeps special tokens out of a text with ``split_special_tokens``, but not tokens that
were added without that mark (Qwen's ``<think>``, ``<|im_end|>`` in some finetuned models), and
tokenizers of Llama 2's kind put a space before every piece they are given, also before the middle
of a text. Of a tokenizer that does either, copies are made that do not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from selfedit.errors import ModelFileError
from selfedit.storage.neutral import as_unicode

# Brackets of any kind around it: `<think>`, `[INST]`, `{{...}}`, `|im_end|`.
_BRACKETED = re.compile(r"[<\[{|].*[>\]}|]")
_PROBE_TEXT = "x"
Encoder = Callable[[str], list[int]]
Parts = dict[str, Any]
"""A tokenizer's description, as the `tokenizers` library writes it, or a part of one."""


class Encoding:
    """How one tokenizer's texts become ids.

    Attributes:
        tokenizer: the model's.
        controls: text and id of every token that is no text: special ones, and added ones in
            brackets. One of them in a document is spelt out.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        added = tokenizer.added_tokens_decoder
        # transformers' own list leaves out added tokens that are marked special: both are asked.
        special = dict(
            zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)
        ) | {kind.content: number for number, kind in added.items() if kind.special}
        unmarked = {
            kind.content: number
            for number, kind in added.items()
            if kind.content not in special and _BRACKETED.fullmatch(kind.content)
        }
        self.tokenizer = tokenizer
        self.controls: dict[str, int] = special | unmarked
        self._has_unmarked = bool(unmarked)
        self._strips = {kind.content: (kind.lstrip, kind.rstrip) for kind in added.values()}

    # Found by asking, since fast and slow tokenizers keep it in different settings.
    @cached_property
    def bos(self) -> tuple[int, ...]:
        """What the tokenizer puts before a text; empty for most. What it puts after one is left
        out: a prompt does not end with it.
        """
        framed = list(self.tokenizer(_PROBE_TEXT).input_ids)
        plain = self.written(_PROBE_TEXT)
        starts = range(len(framed) - len(plain) + 1)
        return tuple(framed[: next((s for s in starts if framed[s : s + len(plain)] == plain), 0)])

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches the text of any control token."""
        # The longest first: an alternation takes the first branch that fits.
        texts = sorted(self.controls, key=len, reverse=True)
        # (?!) matches nothing: an empty alternation would match everywhere.
        return re.compile("|".join(map(re.escape, texts)) or "(?!)")

    def written(self, text: str) -> list[int]:
        """The ids of a text that a template wrote: its control tokens are what they say."""
        plain = as_unicode(text)
        return _tried(lambda: self.tokenizer(plain, add_special_tokens=False).input_ids)

    @cached_property
    def begin(self) -> Encoder:
        """The ids of a plain text, as the tokenizer begins one; none is a control token."""
        return self._copied(self._parts()) if self._has_unmarked else self._split

    @cached_property
    def more(self) -> Encoder:
        """The ids of plain text that goes on from other text: no space is put before it."""
        parts = self._parts()
        spaceless = _without_space(parts)
        # Equal descriptions: the tokenizer adds no space, and one copy serves both.
        return self.begin if spaceless == parts else self._copied(spaceless)

    @cached_property
    def _after_control(self) -> Encoder:
        """To some tokenizers text after a control token is a beginning."""
        # No setting says so for every kind of tokenizer: one control token is tried.
        for text, number in self.controls.items():
            if self.written(text + _PROBE_TEXT) == [number, *self.begin(_PROBE_TEXT)]:
                return self.begin
        return self.more

    def filled(self, text: str, fill: Callable[[str], str], *, goes_on: bool = False) -> list[int]:
        """The ids of a template's text with stand-ins in it for what documents say.

        Args:
            text: the texts of control tokens in it are the template's own.
            fill: puts a document's words back where their stand-ins are.
            goes_on: from other text.
        """
        ids: list[int] = []
        encode, end, strip = (self.more if goes_on else self.begin), 0, False
        for control in self.pattern.finditer(text):
            before, after = self._strips.get(control.group(), (False, False))
            section = text[end : control.start()]
            # A control token may swallow the blanks beside it; its neighbours are stripped as the
            # tokenizer would.
            section = section.lstrip() if strip else section
            ids += encode(fill(section.rstrip() if before else section))
            ids.append(self.controls[control.group()])
            encode, end, strip = self._after_control, control.end(), after
        return ids + encode(fill(text[end:].lstrip() if strip else text[end:]))

    def _split(self, text: str) -> list[int]:
        plain = as_unicode(text)
        return _tried(
            lambda: (
                self.tokenizer(plain, add_special_tokens=False, split_special_tokens=True).input_ids
            )
        )

    def _parts(self) -> Parts:
        """The tokenizer's description; empty for one that is not of the `tokenizers` library."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        # A slow tokenizer has no description to change: `_split` is what is left.
        return json.loads(backend.to_str()) if isinstance(backend, Tokenizer) else {}

    def _copied(self, parts: Parts) -> Encoder:
        """A tokenizer of that description that knows no control token."""
        if not parts:
            return self._split
        vocabulary = parts["model"]["vocab"]  # Unigram's is a list of pieces with their scores
        numbered = (
            vocabulary if isinstance(vocabulary, dict) else {piece for piece, _ in vocabulary}
        )
        kept: list[Parts] = []
        for token in parts["added_tokens"]:
            # Control tokens go: their texts are then spelt out like any other.
            if token["content"] not in self.controls:
                kept.append(token)
            elif token["content"] not in numbered:
                # Renamed to noncharacters, which no text has, so that its number stays taken.
                # Numbers are given out by place: the ones behind it keep theirs.
                kept.append(token | {"content": f"\ufdd0{token['id']}\ufdd0"})
        copied = Tokenizer.from_str(json.dumps(parts | {"added_tokens": kept}))
        return lambda text: (
            _tried(lambda: copied.encode(as_unicode(text), add_special_tokens=False).ids)
            if text
            else []
        )


def is_of_tokenizer(error: BaseException) -> bool:
    """Whether the tokenizers library raised it: the panics of its Rust are no `Exception`."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _tried(encode: Callable[[], Iterable[int]]) -> list[int]:
    """The ids, or why the tokenizer gave none."""
    try:
        return list(encode())
    except BaseException as error:
        if isinstance(error, Exception) or not is_of_tokenizer(error):
            raise
        what = f"the model's tokenizer cannot cut this text: {error}"  # a pattern of its own, say
        fix = "use the tokenizer that came with the model"
        raise ModelFileError(what, fix=fix) from error


def _without_space(parts: Parts) -> Parts:
    """A tokenizer's description without what puts a space before a text."""
    changed = dict(parts)
    for name, inner in (("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers")):
        if (step := parts.get(name)) is not None:
            steps = list(_spaceless(step.get(inner, [step])))
            changed[name] = (
                {**step, inner: steps} if inner in step else (steps[0] if steps else None)
            )
    return changed


def _spaceless(steps: Iterable[Parts]) -> Iterable[Parts]:
    for step in steps:
        if step["type"] == "Metaspace":
            yield step | {"prepend_scheme": "never"}
        elif step["type"] == "ByteLevel":
            yield step | {"add_prefix_space": False}
        elif step["type"] != "Prepend":
            yield step
