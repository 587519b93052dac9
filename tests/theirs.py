"""One of each thing that settings may name, as a user would write them: public names only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import selfedit as se


class Shouting(se.LineFormat):
    """Asks in its own words and reads every self-edit as two lines."""

    def prompt(self, context: se.Context, chat: bool) -> str:
        return f"SHOUT ABOUT {context.title}: {context.text}"

    def parse(self, text: str) -> se.ParsedEdit:
        return se.ParsedEdit((f"LOUD {text[:3]}", "LOUD TOO"), ())


class EvenLength(se.Grader):
    """Right if the answer has an even number of characters."""

    name = "even"

    def grade(self, question: str, golds: Sequence[str], answer: str) -> se.Grade:
        return se.Grade(len(answer) % 2 == 0, 0.25, self.name)


class NoPassage(se.KnowledgeTask):
    """Trains on the self-edit's first line alone."""

    def sequences(self, context: se.Context, edit: se.ParsedEdit) -> list[se.TrainSequence]:
        return super().sequences(context, edit)[:1]


class Constant(se.LocalSampler):
    """Writes the same self-edit every time."""

    def generate(
        self, prompts: Sequence[tuple[int, ...]], *args: Any, **options: Any
    ) -> list[se.Completion]:
        written = super().generate(prompts, *args, **options)
        ids = tuple(self.lm.encode("again"))
        # Its tokens were not drawn: the probabilities of those that were are not theirs.
        return [replace(one, ids=ids, text="again", logprobs=()) for one in written]


class ByCandidate(se.PlainReward):
    """The later a candidate, the better."""

    needs = ("answers",)

    def values(self, session: se.Session[Any], scored: se.ScoredRound) -> Mapping[Any, se.Value]:
        return {
            (trial.context_id, trial.candidate): se.Value(float(trial.candidate or 0))
            for trial in scored.trials
        }


class FirstOnly(se.FilteredSFT):
    """Imitates one self-edit a round, with a rank of its own."""

    def update(self, session: se.Session[Any], scored: se.ScoredEdits) -> se.Adapter | None:
        row = scored.kept[0]
        sequence = session.task.completion(scored.contexts[row.context_id], row.text)
        lora, optim = se.LoraSpec(rank=3, alpha=3), se.OptimSpec(lr=0.01, epochs=1)
        job = se.AdaptJob([sequence], lora, optim, seed=0)
        return se.adapt(session.lm, [job])[0]
