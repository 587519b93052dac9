"""Pseudorehearsal: texts the model wrote from nothing before it was edited, held to what it predicted then.

Robins 1995 ("Catastrophic forgetting, rehearsal and pseudorehearsal"); for large language models self-synthesized
rehearsal (Huang et al. 2024, arXiv 2403.01244). Replay needs what was taught, this needs nothing but the model, and
keeps what no edit was ever about. The texts carry KL(unedited model ‖ model) alone, not a next-token loss: a sample is
to be predicted as it was before, not to be learned by heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from selfedit.config.retention import PseudorehearsalSettings
from selfedit.inner.job import TrainSequence
from selfedit.lm.generate import generate
from selfedit.lm.load import LanguageModel
from selfedit.retention.teachers import taught_by_itself
from selfedit.run.seeds import derive


def write_own_texts(lm: LanguageModel, settings: PseudorehearsalSettings, seed: int) -> list[list[int]]:
    """Texts the unedited model samples after nothing but an end-of-text token, as token ids; each at least two long."""
    written = generate(
        lm,
        [(lm.end_id,)] * settings.texts,
        max_new_tokens=settings.tokens,
        temperature=1.0,
        top_p=0.95,
        seeds=[derive(seed, "pseudorehearsal", number) for number in range(settings.texts)],
    )
    texts = [[*said.ids, *([lm.end_id] if said.finish == "stop" else [])] for said in written]
    return [text for text in texts if len(text) > 1]


def own_sequences(lm: LanguageModel, texts: Sequence[Sequence[int]], weight: float) -> list[TrainSequence]:
    """The texts as training sequences whose only loss is the unedited model's, with this weight."""
    bare = [TrainSequence(tuple(ids), (False, *[True] * (len(ids) - 1))) for ids in texts]
    return [replace(s, weight=0.0) for s in taught_by_itself(lm, bare, [None] * len(bare), weight)]
