"""A domain of one's own: the naming rules of a code base go into a model, which is then asked to
follow them.

A context is a code base: its rules are the text, its questions ask what something new would be
called there. A self-edit is a list of worked examples, one a line: ``what it does -> name``. A
trial trains on the rules and on these examples, and the adapted model names things without seeing
the rules.

    python examples/naming_rules/naming_rules.py runs/naming smollm2-135m
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import selfedit as se

VERBS = {
    "reads": ("fetch", "pull", "get"),
    "writes": ("store", "push", "put"),
    "checks": ("is", "has", "ensure"),
}
THINGS = ("user", "order", "invoice", "price", "parcel", "ticket")
STYLES = {"snake": "{verb}_{thing}", "camel": "{verb}{Thing}", "suffix": "{thing}_{verb}"}
EXAMPLE = re.compile(
    r"\s*(?:[-*\d.]+\s*)?(?P<what>[^>]{3,120}?)\s*->\s*`?(?P<name>[A-Za-z_]\w{1,60})`?\s*"
)


@dataclass(frozen=True)
class Examples:
    """A self-edit once read: what a function does, and its name."""

    pairs: tuple[tuple[str, str], ...]


def code_base(number: int, questions: int = 4) -> se.Context:
    """A made-up code base: a verb for each kind of function, and a way to put verb and thing
    together.
    """
    style = list(STYLES)[number % len(STYLES)]
    verbs = {
        kind: names[(number + at) % len(names)] for at, (kind, names) in enumerate(VERBS.items())
    }
    title = f"Code base {number}"
    rules = [
        f"A function that {kind} something begins with the word {verb}."
        for kind, verb in verbs.items()
    ]
    rules.append(f"Names are put together like this: {named(style, 'verb', 'thing')}.")
    asked = []
    for at in range(questions):
        kind, thing = list(VERBS)[at % len(VERBS)], THINGS[(number + at) % len(THINGS)]
        answer = named(style, verbs[kind], thing)
        asked.append(
            se.Question(f"{number}/{at}", f"the function that {kind} one {thing}", (answer,))
        )
    return se.Context(f"base-{number}", title, "\n".join(rules), tuple(asked))


def named(style: str, verb: str, thing: str) -> str:
    """A name in a style."""
    return STYLES[style].format(verb=verb, thing=thing, Thing=thing.capitalize())


class NamingTask:
    """Code bases and examples as prompts and inner loops: everything that `selfedit.Task` asks for."""

    tries = 1

    def __init__(self, lm: se.LanguageModel, settings: se.Settings) -> None:
        self.lm, self.settings = lm, settings
        self.decoding = se.Decoding(settings.answer.max_new_tokens)
        self.lora = se.LoraSpec(**settings.inner.lora.model_dump())
        self.optim = se.OptimSpec(**settings.inner.optim.model_dump())

    @staticmethod
    def load_contexts(source: str) -> list[se.Context]:
        """The code bases that ``train`` and ``heldout`` name by their numbers, as ``0-5``."""
        first, last = map(int, source.split("-"))
        return [code_base(number) for number in range(first, last + 1)]

    def prompt(self, context: se.Context) -> tuple[int, ...]:
        """What asks for examples."""
        text = (
            f"These are the naming rules of {context.title}:\n{context.text}\n\n"
            "Write examples that follow them, one a line: what the function does -> its name"
        )
        return tuple(se.chat_prompt(self.lm, text))

    def rule(self) -> None:
        """Examples are sampled freely."""

    def parse(self, text: str) -> Examples:
        """The lines that are examples; all others are dropped."""
        lines = [EXAMPLE.fullmatch(line) for line in text.splitlines()]
        return Examples(
            tuple(dict.fromkeys((line["what"], line["name"]) for line in lines if line))
        )

    def note(self, tries: Sequence[Examples]) -> se.Note:
        """How many examples there are, for the ledger."""
        count = len(tries[-1].pairs)
        return se.Note({"examples": count}, None if count else "no example in it")

    def fixed(self, method: str, context: se.Context) -> Examples:
        """``rules`` trains on the rules alone; ``gold`` on the questions' own answers, the upper
        reference.
        """
        if method == "rules":
            return Examples(())
        if method == "gold":
            return Examples(
                tuple((question.text, question.answers[0]) for question in context.questions)
            )
        raise se.UsageError(
            f"there is no method {method!r}", where="eval.methods", fix="choose rules or gold"
        )

    def inner_loop(
        self, context: se.Context, edit: Examples, seed: int, order_seed: int | None = None
    ) -> se.AdaptJob:
        """The rules as text, every example as a question with its answer."""
        sequences = [self._text(f"{context.title}\n{context.text}")]
        sequences += [self._pair(context, what, name) for what, name in edit.pairs]
        return se.AdaptJob(sequences, self.lora, self.optim, seed, order_seed)

    def question(self, context: se.Context, question: se.Question) -> tuple[int, ...]:
        """What asks for a name, with nothing of the rules."""
        return tuple(se.chat_prompt(self.lm, self._asked(context, question.text)))

    def gold(self, context: se.Context, question: se.Question) -> se.TrainSequence:
        """A question with the name that follows the rules."""
        return self._pair(context, question.text, question.answers[0])

    def marks(self, trial: se.Trial, *, graded: bool = False) -> list[float]:
        """A name is right or wrong on its own."""
        return [float(answer.correct) for answer in trial.answers if answer.correct is not None]

    def completion(self, context: se.Context, text: str) -> se.TrainSequence:
        """The policy's own training example: the prompt, and the examples it wrote."""
        prompt, written = self.prompt(context), (*self.lm.encode_more(text), self.lm.end_id)
        return se.TrainSequence(
            (*prompt, *written), (*[False] * len(prompt), *[True] * len(written))
        )

    def _asked(self, context: se.Context, what: str) -> str:
        return f"{context.title}: what is {what} called? Answer with the name alone."

    def _text(self, text: str) -> se.TrainSequence:
        ids = self.lm.document(text)
        return se.TrainSequence(ids, (False, *[True] * (len(ids) - 1)))

    def _pair(self, context: se.Context, what: str, name: str) -> se.TrainSequence:
        ids, loss = se.chat_turns(self.lm, [(self._asked(context, what), name)])
        return se.TrainSequence(tuple(ids), tuple(loss))


SETTINGS = {
    "edit": {"max_new_tokens": 128, "temperature": 0.8},
    "inner": {"lora": {"rank": 16, "alpha": 32}, "optim": {"lr": 2e-3, "epochs": 4}},
    "rl": {"rounds": 1, "contexts": 6, "candidates": 4},
    "eval": {"methods": ["base", "rules", "own", "seal", "gold"]},
}


def main(folder: str, model: str) -> se.Results:
    """Six code bases to learn on, three held out."""
    settings = se.make_settings(SETTINGS | {"model": model})
    learned_on, held_out = NamingTask.load_contexts("0-5"), NamingTask.load_contexts("6-8")
    return se.train(
        folder,
        settings,
        NamingTask,
        learned_on,
        held_out,
        se.get_grader("exact"),
        kind="naming-rules",
    )


if __name__ == "__main__":
    for row in main(*sys.argv[1:]).rows:
        print(f"{row.method:8} {row.accuracy:.2f}  (n = {row.n})")
