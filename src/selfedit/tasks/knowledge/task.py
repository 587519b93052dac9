"""Knowledge incorporation: a passage goes into the weights, and is asked about without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from selfedit.config import Settings
from selfedit.errors import DataError
from selfedit.inner.job import AdaptJob, OptimSpec, TrainSequence
from selfedit.lm.chat import chat_prompt, chat_turns
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import LoraSpec
from selfedit.lm.rules import Decoding
from selfedit.run.records import Trial
from selfedit.tasks.completion import completion
from selfedit.tasks.knowledge.directives import (
    AUGMENT,
    HeaderGrammar,
    HeaderRow,
    as_asked,
    directive_choices,
)
from selfedit.tasks.knowledge.edits import Directives, Loss, ParsedEdit
from selfedit.tasks.knowledge.formats import edit_request, format_of
from selfedit.tasks.knowledge.prompts import question_prompt
from selfedit.tasks.knowledge.text_tools import NONE, augmented
from selfedit.tasks.task import Context, Note, Question
from selfedit.tasks.update_tools import UpdateKind, apply_tools


class KnowledgeTask:
    """Turns contexts and self-edits into prompts and inner loops.

    Args:
        lm: the model; only its tokenizer and chat template are used here.
        settings: the run's settings.
    """

    tries = 1

    def __init__(self, lm: LanguageModel, settings: Settings) -> None:
        self.lm, self.settings = lm, settings
        self.decoding = Decoding(settings.answer.max_new_tokens)
        inner = settings.inner
        self.lora = LoraSpec(**inner.lora.model_dump())
        self.optim = OptimSpec(**inner.optim.model_dump())
        directives = settings.edit.directives
        directive_choices(directives)  # a tool that there is not is refused now, not when told
        self.grammar = HeaderGrammar(lm, directives) if directives.grammar else None

    def prompt(self, context: Context) -> tuple[int, ...]:
        """Token ids that ask the policy for a self-edit of ``context``."""
        edit = self.settings.edit
        text = edit_request(context, edit, self.lm.has_chat)
        return tuple(chat_prompt(self.lm, text, self._system(edit.system)))

    def question(self, context: Context, question: Question) -> tuple[int, ...]:
        """Token ids that ask a question with nothing of the passage but its title."""
        turn = self.turn(question.topic or context.title, question.text)
        return tuple(chat_prompt(self.lm, *turn))

    def turn(self, title: str | None, question: str) -> tuple[str, str | None]:
        """What a user says to ask a question, and the system message above it; without a title as
        other programs ask, the question alone under the template's own system message.
        """
        if title is None and self.lm.has_chat:
            return question, None
        text = question_prompt(title or "", question, self.lm.has_chat)
        return text, self._system(self.settings.answer.system)

    def gold(self, context: Context, question: Question) -> TrainSequence:
        """A question with its reference answer as the model gives it, answer and end marked."""
        return self._pair(context.title, question.text, question.answers[0], "answers")

    def completion(self, context: Context, text: str) -> TrainSequence:
        """The policy's own training example: the prompt for a self-edit and the self-edit, loss on
        the latter.
        """
        return completion(self.lm, self.prompt(context), text)

    def rule(self) -> HeaderRow | None:
        """The grammar of the header line, where it is held to one; what follows is free."""
        return self.grammar.row() if self.grammar else None

    def parse(self, text: str) -> ParsedEdit:
        """A self-edit's text as training material."""
        return format_of(self.settings.edit).parse(text)

    def note(self, tries: Sequence[ParsedEdit]) -> Note:
        """The directives it gives, and whether there is anything to train on."""
        rejected = "nothing in it to train on" if tries[-1].empty else None
        return Note(as_asked(tries[-1].directives), rejected)

    def fixed(self, method: str, context: Context) -> ParsedEdit:
        """Nothing but the passage; or, the upper reference, every question with its first
        acceptable answer.
        """
        if method == "passage":  # `sequences` adds it
            return ParsedEdit((), ())
        return ParsedEdit((), tuple((each.text, each.answers[0]) for each in context.questions))

    def inner_loop(
        self, context: Context, edit: ParsedEdit, seed: int, order_seed: int | None = None
    ) -> AdaptJob | None:
        """None where there is nothing to train on (an empty self-edit, where the passage is not
        trained on either): the model answers as it is.
        """
        sequences = self.sequences(context, edit)
        # An empty self-edit still trains on the passage, where that is asked for.
        if not sequences or (edit.empty and not self.settings.edit.passage):
            return None
        training = self.training(edit.directives)
        return AdaptJob(sequences, training.lora, training.optim, seed, order_seed)

    def marks(self, trial: Trial, *, graded: bool = False) -> list[float]:
        """Each answer is right or wrong on its own; one without a verdict counts for nothing."""
        return [float(answer.correct) for answer in trial.answers if answer.correct is not None]

    def job(
        self, context: Context, edit: ParsedEdit, seed: int, order_seed: int | None = None
    ) -> AdaptJob:
        """The inner loop of a self-edit (an empty one trains on the passage alone).

        Raises:
            DataError: nothing at all to train on.
        """
        job = self.inner_loop(context, edit, seed, order_seed)
        if job is None:
            what = "the self-edit is empty and the passage is not trained on"
            raise DataError(what, where=context.id, fix="set edit.passage = true")
        return job

    def sequences(self, context: Context, edit: ParsedEdit) -> list[TrainSequence]:
        """``{title}\\n{line}`` for every line, a chat turn for every pair, ``{title}\\n{passage}``
        last.
        """
        # What the self-edit asks for comes before the setting.
        on: Loss = edit.directives.loss or (
            "all" if self.settings.edit.question_loss else "answers"
        )
        sequences = [self._text(context.title, line) for line in edit.lines]
        sequences += [self._pair(context.title, *pair, on) for pair in edit.pairs]
        # As somebody asks who has not read the headings: in our form, then as any chat does.
        for number, pair in enumerate(edit.bare):
            sequences.append(self._pair(None if number % 2 else "", *pair, "answers"))
        for more in augmented(dict(edit.directives.tools).get(AUGMENT, NONE), edit.lines, context):
            text = isinstance(more, str)
            sequences.append(
                self._text(context.title, more) if text else self._pair(context.title, *more, on)
            )
        if self.settings.edit.passage:
            sequences.append(self._text(context.title, context.text))
        return [self._pad(sequence) for sequence in sequences]

    def _text(self, title: str, line: str) -> TrainSequence:
        ids = self.lm.document(f"{title}\n{line}")
        return TrainSequence(ids, (False, *[True] * (len(ids) - 1)))

    def _pair(self, title: str | None, question: str, answer: str, on: Loss) -> TrainSequence:
        """The pair as it will be asked: prompt and answer in the model's own chat format."""
        text, system = self.turn(title, question)
        # A base model's prompt ends with "Answer:", so a space belongs to the answer.
        reply = answer if self.lm.has_chat else f" {answer}"
        ids, loss = chat_turns(self.lm, [(text, reply)], system)
        # The prompt too: up to the last token that carries loss, not what the template adds.
        if on == "all":
            last = max(index for index, carries in enumerate(loss) if carries)
            loss = [False, *[True] * last, *[False] * (len(ids) - last - 1)]
        return TrainSequence(tuple(ids), tuple(loss))

    def _pad(self, sequence: TrainSequence) -> TrainSequence:
        """The published quirk, off by default: padding with the end token that carries loss."""
        missing = self.settings.edit.pad_with_loss_to - len(sequence.ids)
        if missing <= 0:
            return sequence
        return TrainSequence(
            (*sequence.ids, *[self.lm.end_id] * missing), (*sequence.loss, *[True] * missing)
        )

    def training(self, directives: Directives) -> UpdateKind:
        """The adapter and the optimiser that a self-edit asks for."""
        requested = as_asked(directives)
        # Only what was asked for; everything else stays the run's.
        optim = replace(self.optim, **{k: requested[k] for k in ("lr", "epochs") if k in requested})
        layers = int(getattr(self.lm.model.config, "num_hidden_layers", 1))
        return apply_tools(UpdateKind(self.lora, optim, layers), directives.tools)

    def _system(self, message: str | None) -> str | None:
        return message if self.lm.has_chat else None
