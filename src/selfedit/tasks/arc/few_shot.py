"""Few-shot ARC as a `Task`: a self-edit calls tools and sets test-time training, the adapted model
answers by vote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from selfedit.config import Settings
from selfedit.errors import UsageError
from selfedit.inner.job import AdaptJob, OptimSpec, TrainSequence
from selfedit.lm.chat import chat_prompt
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import LoraSpec
from selfedit.lm.rules import Decoding, OneOf
from selfedit.run.records import Trial
from selfedit.tasks.arc.answering import GridStop, is_solved
from selfedit.tasks.arc.constrained import GrammarRow, SelfEditGrammar
from selfedit.tasks.arc.contexts import ArcContext
from selfedit.tasks.arc.grids import symbols_of
from selfedit.tasks.arc.listed import self_edit_tree
from selfedit.tasks.arc.parse import Rejection, check_budget, parse_self_edit
from selfedit.tasks.arc.prompts import arc_edit_prompt
from selfedit.tasks.arc.self_edit import ArcSelfEdit
from selfedit.tasks.arc.tokens import GridTokens, training_sequence
from selfedit.tasks.arc.tools import TOOLBOX, Toolbox
from selfedit.tasks.arc.ttt_data import Example, ttt_examples
from selfedit.tasks.completion import completion
from selfedit.tasks.task import Note, Question
from selfedit.tasks.update_tools import UpdateKind, apply_tools


class FewShotTask:
    """Turns ARC tasks and self-edits into prompts, test-time training, votes.

    Args:
        lm: the model; only its tokenizer, chat template and width are used here.
        settings: the run's settings.
        contexts: every task the run meets.
        toolbox: the tools a self-edit may call.

    Raises:
        FormatError: the model's vocabulary has no single token for a symbol of grids.
        Unavailable, UsageError: self-edits cannot be constrained with this model.
    """

    def __init__(
        self,
        lm: LanguageModel,
        settings: Settings,
        contexts: Iterable[ArcContext],
        toolbox: Toolbox = TOOLBOX,
    ) -> None:
        self.lm, self.settings, self.toolbox = lm, settings, toolbox
        arc = settings.arc
        self.arc, self.spec = arc, arc.spec
        self.contexts = {context.id: context for context in contexts}
        self.tokens = GridTokens.of_model(lm)
        self.lora = LoraSpec(**settings.inner.lora.model_dump())
        # The batch size is the specification's: a self-edit chooses rate and epochs, not this.
        self.optim = replace(
            OptimSpec(**settings.inner.optim.model_dump()), batch_size=arc.spec.batch_size
        )
        # A training sequence has the beginning of text before its symbols.
        room = lm.max_tokens - len(lm.bos)
        longest = min(arc.data.max_example_tokens or room, room)
        self.data = arc.data.model_copy(update={"max_example_tokens": longest})
        # Loss and decoding over 14 tokens instead of the vocabulary.
        self.alphabet = self.tokens.ids if arc.alphabet else None
        self.decoding = Decoding(
            arc.answer.max_new_tokens, self.alphabet, GridStop(self.tokens.ids)
        )
        width = int(lm.head.shape[0])
        self.grammar = None
        # A list is a grammar with one path a self-edit: probabilities can be summed.
        if arc.listed:
            self.grammar = self_edit_tree(lm, self.spec, toolbox)
        elif arc.constrained:
            self.grammar = SelfEditGrammar(lm.tokenizer, self.spec, toolbox, vocabulary=width)
        # Under a grammar nothing is refused, so there is nothing to try again.
        self.tries = 1 if arc.constrained else arc.tries

    def prompt(self, context: ArcContext) -> tuple[int, ...]:
        """Token ids that ask the policy for a self-edit."""
        text = arc_edit_prompt(context, self.spec, self.toolbox)
        return tuple(
            chat_prompt(self.lm, text, self.settings.edit.system if self.lm.has_chat else None)
        )

    def rule(self) -> GrammarRow | OneOf | None:
        """The grammar of self-edits, where they are constrained."""
        return self.grammar.row() if self.grammar else None

    def parse(self, text: str) -> ArcSelfEdit | Rejection:
        """Read a self-edit strictly; white space around it is forgiven."""
        return parse_self_edit(text.strip(), self.spec, self.toolbox)

    def note(self, tries: Sequence[ArcSelfEdit | Rejection]) -> Note:
        """What is asked for, how it was sampled, and for each reason how many tries were refused
        for it.
        """
        last = tries[-1]
        refused = Counter(
            str(reason) for edit in tries if isinstance(edit, Rejection) for reason in edit.reasons
        )
        request = {
            "constrained": self.grammar is not None,
            "tries": len(tries),
            "refused": dict(sorted(refused.items())),
        }
        if isinstance(last, Rejection):
            return Note(request, str(last)[:500])
        return Note(request | {"self_edit": plain(last)})

    def fixed(self, method: str, context: ArcContext) -> ArcSelfEdit:
        """The human-tuned recipe."""
        if method != "oracle":
            raise UsageError(
                f"the method {method!r} has no self-edit of its own", where="eval.methods"
            )
        oracle = self.arc.oracle
        return ArcSelfEdit(oracle.families, oracle.loss_on, oracle.learning_rate, oracle.epochs)

    def inner_loop(
        self,
        context: ArcContext,
        edit: ArcSelfEdit | Rejection,
        seed: int,
        order_seed: int | None = None,
    ) -> AdaptJob | None:
        """Test-time training; none for a refused self-edit, one over the step budget, or a task
        without examples.
        """
        if isinstance(edit, Rejection):
            return None
        examples = self.examples(context, edit, seed)
        # Over the budget is known only now, once the examples are counted.
        if not examples or isinstance(check_budget(edit, len(examples), self.spec), Rejection):
            return None
        sequences = [self._sequence(example, edit) for example in examples]
        optim = replace(self.optim, lr=edit.learning_rate, epochs=edit.epochs)
        layers = int(getattr(self.lm.model.config, "num_hidden_layers", 1))
        training = apply_tools(UpdateKind(self.lora, optim, layers), edit.tools)
        return AdaptJob(sequences, training.lora, training.optim, seed, order_seed, self.alphabet)

    def examples(self, context: ArcContext, edit: ArcSelfEdit, seed: int) -> list[Example]:
        """The training examples a self-edit makes of the task's demonstrations."""
        return ttt_examples(context.task, edit.families, seed, self.data, self.toolbox)

    def question(self, context: ArcContext, question: Question) -> tuple[int, ...]:
        """One prompt, token by token: grids are never left to the tokenizer."""
        return self.tokens.text_ids(symbols_of(question.text))

    def gold(self, context: ArcContext, question: Question) -> TrainSequence:
        """None: a task's answer is a vote over many prompts.

        Raises:
            UsageError: always.
        """
        what = "this task has no gold answers whose likelihood could be a reward"
        raise UsageError(what, where="rl.reward.signal", fix="set rl.reward.signal = accuracy")

    def marks(self, trial: Trial, *, graded: bool = False) -> list[float]:
        """One mark: solved or not, by vote; or the graded partial score, where the reward asks for
        it.
        """
        if graded and self.arc.reward == "cells":
            return [sum(answer.score or 0.0 for answer in trial.answers) / len(trial.answers)]
        return [float(is_solved(self.contexts[trial.context_id], trial, self.arc.answer.attempts))]

    def completion(self, context: ArcContext, text: str) -> TrainSequence:
        """The prompt for a self-edit and the self-edit, loss on the latter."""
        return completion(self.lm, self.prompt(context), text)

    def _sequence(self, example: Example, edit: ArcSelfEdit) -> TrainSequence:
        sequence = training_sequence(example.demonstrations, example.query, edit.loss_on)
        ids = self.tokens.text_ids(sequence.symbols)
        first = max(1, len(self.tokens.bos) + sequence.loss_from)  # nothing predicts the very first
        return TrainSequence(ids, tuple(position >= first for position in range(len(ids))))


def plain(edit: ArcSelfEdit) -> dict[str, object]:
    """A self-edit as plain data."""
    return {
        "families": list(edit.families),
        "loss_on": edit.loss_on,
        "learning_rate": edit.learning_rate,
        "epochs": edit.epochs,
        **dict(edit.tools),
    }
