"""What learning documents comes to before it starts: passages, tokens, minutes, memory.

Where the model is on this machine the prices of a token are measured on it (`measured_prices`): a
few steps of the documents' own training, a few texts and answers. Else those of SmolLM2-135M on
two cores stand, times the model's size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from selfedit.config import Settings
from selfedit.documents.outcome import PHASES, Phase
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob, TrainSequence
from selfedit.lm.generate import generate
from selfedit.lm.load import LanguageModel
from selfedit.lm.loss import chunk_bytes
from selfedit.lm.perplexity import row_losses
from selfedit.retention.general import gate_texts
from selfedit.rl.grouping import bytes_per_adapter
from selfedit.rl.work import SECONDS, TOKENS_A_WORD, Passages, Prices, WorkEstimate, WorkPart
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.stated_facts import stated_facts
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context, Question

PAIR = 36
"""Tokens of a fact's question with its answer, as a turn to train on."""
WORDINGS = 3
"""Trained and asked wordings of a fact that are read for each: most have two or three verbs."""
KEPT = 0.5
"""Share of a self-edit's tokens that its passage supports."""
QUIZ = 3
"""Questions of a quiz that the model writes."""
TURNS = 1.5
"""Texts written for each rehearsal text: a third are conversations of a question and a reply."""
KL = 1.4
"""What a token costs whose loss is a divergence: the head is read for the teacher too."""


def estimate_documents(
    contexts: Sequence[Context],
    settings: Settings,
    samples: int,
    seconds: Mapping[str, float] = SECONDS,
    machine: str = "two cores",
) -> WorkEstimate:
    """What `selfedit adapt` comes to.

    Args:
        contexts: the documents' passages.
        settings: the run's.
        samples: self-edits a passage.
        seconds: of each unit of work.
        machine: whose they are.
    """
    parts = tuple(part for _, part in _work_parts(contexts, settings, samples, seconds))
    return WorkEstimate(parts, seconds["start"], machine)


def _work_parts(
    contexts: Sequence[Context], settings: Settings, samples: int, seconds: Mapping[str, float]
) -> Iterator[tuple[tuple[Phase, ...], WorkPart]]:
    """The parts, each with the phases in which its time goes by."""
    prices, passages = Prices(settings, seconds), Passages.of(contexts)
    chosen, retention = settings.documents, settings.retention
    by_passage = [len(stated_facts(c, chosen.facts)) if chosen.facts else 0 for c in contexts]
    facts = sum(by_passage)
    with_answers = sum(len(context.questions) for context in contexts)
    questions = with_answers or min(chosen.questions, facts)
    edits = len(contexts) * samples
    tokens = passages.count * passages.tokens + 2 * facts * PAIR + KEPT * edits * prices.edit_tokens
    twice: tuple[Phase, ...] = ("before", "after")
    wording = _reading("the wording of questions", facts * WORDINGS * PAIR / 2, seconds)
    yield ("questions",), wording
    answers = prices.answers("questions before, after, and with the passage", 3 * questions)
    yield (*twice, "in the prompt"), answers
    yield twice, prices.answers("everyday facts", 2 * chosen.known)
    yield twice, _reading("unrelated text, before and after", 2 * _general_tokens(), seconds)
    yield ("material",), prices.writing("self-edits", edits)
    yield ("questions",), _quiz_part(prices, 0 if with_answers else by_passage.count(0))
    epochs = settings.inner.optim.epochs
    if "pseudorehearsal" in retention.remedies:
        rehearsal = retention.pseudorehearsal
        count = rehearsal.texts + rehearsal.questions
        spent = TURNS * rehearsal.texts * rehearsal.tokens * seconds["begun"]
        answers = prices.answers("", rehearsal.questions).seconds
        texts = WorkPart("own texts", count, "texts", spent + answers)
        yield ("training",), texts
        sequences = len(contexts) + 2 * facts + edits * 4
        rehearsed = rehearsal.share * sequences * TURNS * rehearsal.tokens
        spent = rehearsed * epochs * KL * seconds["trained"]
        yield ("training",), WorkPart("rehearsal", round(rehearsed * epochs), "tokens", spent)
    trained = tokens * epochs
    part = WorkPart("training", round(trained), "tokens", trained * seconds["trained"])
    yield ("training",), part


def phase_percents(contexts: Sequence[Context], settings: Settings, samples: int) -> list[int]:
    """How much of a run each of its phases is, in per cent: for one bar over all of them.

    The phases are those of `selfedit.documents.outcome.PHASES`, in their order.
    """
    spent = [0.0] * len(PHASES)
    # Shares only: how fast this machine is does not matter to them.
    for phases, part in _work_parts(contexts, settings, samples, SECONDS):
        for phase in phases:
            spent[PHASES.index(phase)] += part.seconds / len(phases)
    total = sum(spent) or 1.0
    ends = [round(100 * sum(spent[: end + 1]) / total) for end in range(len(spent))]
    # Of the roundings of the sums: what they add up to is 100.
    return [now - before for before, now in pairwise([0, *ends])]


def _quiz_part(prices: Prices, passages: int) -> WorkPart:
    """A quiz for each passage without facts, its questions answered with and without it."""
    votes = 2 * prices.settings.rl.own.votes * QUIZ
    seconds = prices.writing("", passages).seconds + prices.answers("", passages * votes).seconds
    return WorkPart("quizzes of passages without facts", passages, "passages", seconds)


def _reading(name: str, tokens: float, seconds: Mapping[str, float]) -> WorkPart:
    return WorkPart(name, round(tokens), "tokens", tokens * seconds["read"])


def _general_tokens() -> float:
    return sum(TOKENS_A_WORD * len(c.text.split()) for c in load_contexts("corpus:heldout"))


def sized_prices(parameters: float) -> dict[str, float]:
    """`SECONDS` for a model of another size: work grows with its weights."""
    scale = parameters / 135e6
    return {name: price * scale for name, price in SECONDS.items()}


def measured_prices(
    lm: LanguageModel, settings: Settings, contexts: Sequence[Context]
) -> dict[str, float]:
    """The seconds of each unit of work of learning documents, measured on this machine: about as
    long as the training of a page.
    """
    task = KnowledgeTask(lm, settings)
    context = max(contexts[:50], key=lambda each: len(each.text))
    question = Question("q", "What is said here about the opening hours?", ("nothing is said",))
    pair, passage = task.gold(context, question), task.sequences(context, task.parse(""))
    sequences: list[TrainSequence] = [*[pair] * 6, *passage, *passage]
    # One step first: what is made ready once is not a price.
    _timed(lambda: _train_once(lm, task, sequences[:1]))
    trained = sum(len(sequence.ids) for sequence in sequences)
    prices = {"trained": _timed(lambda: _train_once(lm, task, sequences)) / trained}
    # Everyday prose: its length is near that of what is read later.
    rows = [lm.document(text) for text in gate_texts()[:6]]
    prices["read"] = _timed(lambda: row_losses(lm, rows, None)) / sum(map(len, rows))
    # As many as are written together: of one passage one, of nothing many.
    prices["written"] = _written_token(lm, [task.prompt(each) for each in contexts[:8]])
    prices["begun"] = _written_token(lm, [lm.text_start] * 16)
    asking = [task.question(context, Question("q", f"{number}?", ("",))) for number in range(8)]
    limit = settings.answer.max_new_tokens
    prices["answered"] = _timed(lambda: generate(lm, asking, max_new_tokens=limit)) / len(asking)
    return SECONDS | prices | {"start": 0.0}


def needed_memory(lm: LanguageModel, settings: Settings, contexts: Sequence[Context]) -> int:
    """Bytes that the training takes: the weights, two chunks of logits, the adapter with its
    gradients and moments, and what the longest batch keeps.
    """
    task = KnowledgeTask(lm, settings)
    edit = task.parse("")
    longest = sorted(contexts, key=lambda each: len(each.text))[-task.optim.batch_size :]
    sequences = [sequence for context in longest for sequence in task.sequences(context, edit)]
    weights = sum(p.numel() * p.element_size() for p in lm.model.parameters())
    job = AdaptJob(sequences, task.lora, task.optim, 0)
    return weights + 2 * chunk_bytes(lm.device) + bytes_per_adapter(lm, job)


def _train_once(lm: LanguageModel, task: KnowledgeTask, sequences: Sequence[TrainSequence]) -> None:
    # One pass over a batch's sequences is as dear as any other.
    optim = type(task.optim)(epochs=1, batch_size=task.optim.batch_size)
    adapt(lm, [AdaptJob(sequences, task.lora, optim, 0)])


def _written_token(lm: LanguageModel, prompts: Sequence[Sequence[int]]) -> float:
    """Seconds a token, of few tokens of as many texts."""
    seeds = list(range(len(prompts)))
    spent = _timed(lambda: generate(lm, prompts, max_new_tokens=12, temperature=1.0, seeds=seeds))
    return spent / (12 * len(prompts))


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
