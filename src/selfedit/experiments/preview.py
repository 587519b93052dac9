"""What a model is asked and trained on by a recipe, to the letter and to the token, before anything
is run.

Nothing is computed: only the model's tokenizer and the shape of it are needed, no weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from selfedit.config import Settings
from selfedit.errors import DataError
from selfedit.inner.job import TrainSequence
from selfedit.lm.load import LanguageModel
from selfedit.tasks.arc.contexts import ArcContext, arc_context, read_tasks
from selfedit.tasks.arc.few_shot import FewShotTask
from selfedit.tasks.arc.self_edit import STRATEGIES, ArcSelfEdit
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context

WITHOUT_DATA = "corpus:heldout"
"""Whose first passage is shown where a recipe's own are not on this machine."""
_LINES = "1. The first fact of the passage.\n2. The second fact of the passage."
_QUIZ = "Question 1: What is the first fact?\nAnswer: The first fact of the passage."
EXAMPLES = {"self-qa": _QUIZ, "chain-of-thought": f"Facts:\n{_LINES}"}
"""A self-edit for each format, where none is given: `_LINES` for the others."""


@dataclass(frozen=True)
class TokenView:
    """One sequence of tokens.

    Attributes:
        name: what it is for.
        text: all of it as text, control tokens included.
        ids: its token ids.
        tokens: each of them as the vocabulary writes it.
        loss: which of them carry loss; empty where nothing is trained.
    """

    name: str
    text: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    loss: tuple[bool, ...] = ()

    @property
    def learned(self) -> tuple[int, ...]:
        """The ids that carry loss."""
        return tuple(i for i, carries in zip(self.ids, self.loss, strict=False) if carries)


def passage_for(settings: Settings) -> tuple[Context, str]:
    """The passage that is shown, and where it is from: the first held out, or trained on, of the
    recipe; of the project's own where those are not here.
    """
    for source in (settings.heldout, settings.train):
        try:
            if source is not None:
                return load_contexts(source, require_questions=True)[0], source
        except DataError:
            continue
    return load_contexts(WITHOUT_DATA, require_questions=True)[0], WITHOUT_DATA


def show_knowledge(
    lm: LanguageModel, settings: Settings, context: Context, text: str | None = None
) -> list[TokenView]:
    """What is asked about one passage and trained on one self-edit of it.

    Args:
        lm: the model; its weights are not used.
        settings: the recipe's.
        context: the passage, with at least one question.
        text: the self-edit; one of the recipe's format if not given.
    """
    task = KnowledgeTask(lm, settings)
    text = EXAMPLES.get(settings.edit.format, _LINES) if text is None else text
    views = [_view(lm, "asks for a self-edit", task.prompt(context))]
    sequences = task.sequences(context, task.parse(text))
    names = [f"trained on, {number}" for number in range(1, len(sequences) + 1)]
    if settings.edit.passage:
        names[-1] = "trained on, the passage"
    views += [_training_view(lm, *named) for named in zip(names, sequences, strict=True)]
    views.append(_view(lm, "asks a question", task.question(context, context.questions[0])))
    views.append(_training_view(lm, "the update trains on", task.completion(context, text)))
    return views


def show_arc(lm: LanguageModel, settings: Settings) -> list[TokenView]:
    """What is asked about the first training task and trained on by the human-tuned recipe."""
    puzzle = read_tasks(settings.arc.train, settings.arc.train_ids, settings.arc)[0]
    context = arc_context(puzzle, settings.seed, settings.arc.answer)
    task = FewShotTask(lm, settings, [context])
    edit = task.fixed("oracle", context)
    views = [_view(lm, "asks for a self-edit", task.prompt(context))]
    views += _arc_training(task, context, edit)
    views.append(_view(lm, "asks a question", task.question(context, context.questions[0])))
    written = task.completion(context, edit.to_json(task.toolbox))
    views.append(_training_view(lm, "the update trains on", written))
    return views


def _arc_training(task: FewShotTask, context: ArcContext, edit: ArcSelfEdit) -> Iterator[TokenView]:
    for loss_on in STRATEGIES.values():
        job = task.inner_loop(context, replace(edit, loss_on=loss_on), 0)
        first = None if job is None else job.sequences[0]
        if isinstance(first, TrainSequence):
            yield _training_view(task.lm, f"trained on, loss on {loss_on}", first)


def _training_view(lm: LanguageModel, name: str, sequence: TrainSequence) -> TokenView:
    return replace(_view(lm, name, sequence.ids), loss=tuple(sequence.loss))


def _view(lm: LanguageModel, name: str, ids: Sequence[int]) -> TokenView:
    text = str(lm.tokenizer.decode(list(ids), skip_special_tokens=False))
    tokens = lm.tokenizer.convert_ids_to_tokens(list(ids))
    return TokenView(name, text, tuple(ids), tuple(map(str, tokens)))
