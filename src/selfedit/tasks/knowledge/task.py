"""Knowledge incorporation: a passage goes into the weights, and is asked about with nothing of it
in the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from selfedit.config import Settings
from selfedit.errors import DataError
from selfedit.inner.job import AdaptJob, OptimSpec, TrainSequence
from selfedit.lm.chat import chat_prompt, chat_turns
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import LoraSpec
from selfedit.lm.rules import Decoding
from selfedit.run.records import Trial
from selfedit.tasks.completion import completion
from selfedit.tasks.knowledge.edits import Directives, Loss, ParsedEdit
from selfedit.tasks.knowledge.formats import edit_request, format_of
from selfedit.tasks.knowledge.prompts import question_prompt
from selfedit.tasks.task import Context, Note, Question


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

    def prompt(self, context: Context) -> tuple[int, ...]:
        """Token ids that ask the policy for a self-edit of ``context``."""
        edit = self.settings.edit
        text = edit_request(context, edit, self.lm.has_chat)
        return tuple(chat_prompt(self.lm, text, self._system(edit.system)))

    def question(self, context: Context, question: Question) -> tuple[int, ...]:
        """Token ids that ask a question with nothing of the passage but its title."""
        text = question_prompt(question.topic or context.title, question.text, self.lm.has_chat)
        return tuple(chat_prompt(self.lm, text, self._system(self.settings.answer.system)))

    def gold(self, context: Context, question: Question) -> TrainSequence:
        """A question with its reference answer as the model would give it, the answer and its end
        marked.
        """
        return self._pair(context.title, question.text, question.answers[0], "answers")

    def completion(self, context: Context, text: str) -> TrainSequence:
        """The policy's own training example: the prompt for a self-edit and the self-edit, loss on
        the latter.
        """
        return completion(self.lm, self.prompt(context), text)

    def rule(self) -> None:
        """Self-edits are sampled freely."""

    def parse(self, text: str) -> ParsedEdit:
        """A self-edit's text as training material."""
        return format_of(self.settings.edit).parse(text)

    def note(self, tries: Sequence[ParsedEdit]) -> Note:
        """The directives it gives, and whether there is anything to train on."""
        asked = {
            name: value for name, value in asdict(tries[-1].directives).items() if value is not None
        }
        return Note(asked, "nothing in it to train on" if tries[-1].empty else None)

    def fixed(self, method: str, context: Context) -> ParsedEdit:
        """Nothing but the passage; or, the upper reference, every question with its first
        acceptable answer.
        """
        if method == "passage":
            return ParsedEdit((), ())
        return ParsedEdit(
            (), tuple((question.text, question.answers[0]) for question in context.questions)
        )

    def inner_loop(
        self, context: Context, edit: ParsedEdit, seed: int, order_seed: int | None = None
    ) -> AdaptJob | None:
        """None for an empty self-edit where the passage is not trained on either: the model answers
        as it is.
        """
        if edit.empty and not self.settings.edit.passage:
            return None
        return self.job(context, edit, seed, order_seed)

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
        sequences = self.sequences(context, edit)
        if not sequences:
            what = "the self-edit is empty and the passage is not trained on"
            raise DataError(what, where=context.id, fix="set edit.passage = true")
        return AdaptJob(sequences, self.lora, self._optim(edit.directives), seed, order_seed)

    def sequences(self, context: Context, edit: ParsedEdit) -> list[TrainSequence]:
        """``{title}\\n{line}`` for every line, a chat turn for every pair, ``{title}\\n{passage}``
        last.
        """
        on: Loss = edit.directives.loss or (
            "all" if self.settings.edit.question_loss else "answers"
        )
        made = [self._text(context.title, line) for line in edit.lines]
        made += [self._pair(context.title, *pair, on) for pair in edit.pairs]
        if self.settings.edit.passage:
            made.append(self._text(context.title, context.text))
        return [self._pad(sequence) for sequence in made]

    def _text(self, title: str, line: str) -> TrainSequence:
        ids = self.lm.document(f"{title}\n{line}")
        return TrainSequence(ids, (False, *[True] * (len(ids) - 1)))

    def _pair(self, title: str, question: str, answer: str, on: Loss) -> TrainSequence:
        """The pair as it will be asked: prompt and answer in the model's own chat format."""
        text = question_prompt(title, question, self.lm.has_chat)
        said = answer if self.lm.has_chat else f" {answer}"
        ids, loss = chat_turns(self.lm, [(text, said)], self._system(self.settings.answer.system))
        if on == "all":
            last = max(place for place, carries in enumerate(loss) if carries)
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

    def _optim(self, directives: Directives) -> OptimSpec:
        asked = {
            name: getattr(directives, name)
            for name in ("lr", "epochs")
            if getattr(directives, name) is not None
        }
        return replace(self.optim, **asked)

    def _system(self, message: str | None) -> str | None:
        return message if self.lm.has_chat else None
