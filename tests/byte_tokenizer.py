"""Tokenizers of one token a byte, framed as those of large models are."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast


def byte_tokenizer(
    special: tuple[str, ...],
    plain: tuple[str, ...] = (),
    *,
    bos: str | None = None,
    eos: str,
    ends: bool = False,
    template: str | None = None,
) -> PreTrainedTokenizerFast:
    """One token a byte, and those named: Qwen's kind, or with a beginning of text Llama 3's.

    Args:
        special: tokens that are marked as special.
        plain: tokens that are not.
        bos: is put before every text.
        eos: the end of a text.
        ends: that is put after every text.
        template: of a chat.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({char: number for number, char in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in plain])
    frame = [*([bos] if bos else []), "$A", *([eos] if ends else [])]
    if len(frame) > 1:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=frame, special_tokens=[(t, tokenizer.token_to_id(t)) for t in special]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, chat_template=template
    )
