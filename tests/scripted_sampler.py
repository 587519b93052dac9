"""A sampler whose self-edits are written down beforehand: usable ones and others in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from selfedit.lm.generate import Completion
from selfedit.sampling.local import LocalSampler

USABLE = (
    '{"data_generation": {"use_basic_augmentations": true, "use_size_augmentations": false,'
    ' "use_chain_augmentations": false, "use_repeat_augmentations": false}, "training":'
    ' {"strategy": "train_using_output_tokens", "learning_rate": 0.0001, "num_train_epochs": 2}}'
)
UNUSABLE = '{"data_generation": {"use_basic_augmentations": true'


class ScriptedSampler(LocalSampler):
    """Writes `USABLE` and `UNUSABLE` in turn where it samples; answers as the model does."""

    prompts: ClassVar[int] = 0
    """Self-edits asked for, by all of them."""

    def generate(
        self, prompts: Sequence[tuple[int, ...]], *values: Any, **named: Any
    ) -> list[Completion]:
        if not named.get("temperature"):
            return super().generate(prompts, *values, **named)
        type(self).prompts += len(prompts)
        texts = [USABLE if number % 2 == 0 else UNUSABLE for number in range(len(prompts))]
        written = super().generate(prompts, *values, **{**named, "max_new_tokens": 1})
        return [
            replace(
                one,
                text=text,
                ids=self.lm.encode(text),
                finish="stop",
                end=self.lm.end_id,
                logprobs=(),
            )
            for one, text in zip(written, texts, strict=True)
        ]


SAMPLER = ScriptedSampler
