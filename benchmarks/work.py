"""The work of a benchmark: one set of inner loops and questions, the same for every contestant."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from selfedit.config import Settings
from selfedit.errors import UsageError
from selfedit.inner.job import AdaptJob, OptimSpec, TrainSequence
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import LoraSpec
from selfedit.run.seeds import derive
from selfedit.storage.files import canonical_json, fingerprint, write_atomic
from selfedit.tasks.knowledge.contexts import contexts_from, load_contexts
from selfedit.tasks.knowledge.edits import ParsedEdit
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.knowledge.written import read_self_edits
from selfedit.tasks.task import Context

CORPUS_EDITS = 3
"""Self-edits that are written from a passage of the corpus."""


@dataclass(frozen=True)
class BenchWork:
    """Inner loops and what is asked after each; plain token ids, so that a contestant needs no
    tokenizer.

    Attributes:
        sequences: for each inner loop its training sequences.
        seeds: its inner seed.
        orders: the seed of its data order; inner loops of one repeat share it.
        prompts: for each, the ids of its passage's questions.
        source: where the work is from.
    """

    sequences: tuple[tuple[TrainSequence, ...], ...]
    seeds: tuple[int, ...]
    orders: tuple[int, ...]
    prompts: tuple[tuple[tuple[int, ...], ...], ...]
    source: str

    def job(self, index: int, lora: LoraSpec, optim: OptimSpec) -> AdaptJob:
        """An inner loop with these settings."""
        return AdaptJob(self.sequences[index], lora, optim, self.seeds[index], self.orders[index])

    @property
    def tokens(self) -> list[int]:
        """Tokens of each inner loop in one epoch."""
        return [sum(len(s.ids) for s in own) for own in self.sequences]

    @property
    def hash(self) -> str:
        """Equal work, equal hash."""
        return fingerprint(asdict(self))

    def write(self, path: Path) -> None:
        """For the contestants' processes."""
        write_atomic(path, canonical_json(asdict(self), indent=None))


def read_work(path: Path) -> BenchWork:
    """What `BenchWork.write` wrote."""
    data: dict[str, Any] = json.loads(path.read_bytes())
    sequences = tuple(
        tuple(TrainSequence(tuple(s["ids"]), tuple(s["loss"])) for s in own)
        for own in data["sequences"]
    )
    prompts = tuple(tuple(tuple(ids) for ids in own) for own in data["prompts"])
    return BenchWork(
        sequences, tuple(data["seeds"]), tuple(data["orders"]), prompts, data["source"]
    )


def longest_step(job: AdaptJob) -> AdaptJob:
    """One step on the job's longest sequence: what needs the most memory."""
    longest = max((s for s in job.sequences if not isinstance(s, str)), key=lambda s: len(s.ids))
    return replace(job, sequences=[longest], optim=replace(job.optim, epochs=1))


def make_work(
    lm: LanguageModel,
    settings: Settings,
    *,
    passages: int,
    edits: int,
    loops: int,
    self_edits: Path | None = None,
    passage_file: str | None = None,
) -> BenchWork:
    """``passages`` × ``edits`` inner loops; where ``loops`` is more, they come again with other
    seeds, as repeats do.

    Args:
        lm: its tokenizer makes the ids.
        settings: how self-edits are read and questions asked.
        passages: how many passages, from the first on.
        edits: self-edits a passage.
        loops: inner loops in all.
        self_edits: a file of somebody's self-edits; without one they are written from the corpus's
            own sentences and facts, the same ones every time.
        passage_file: the passages' own file, where the file of self-edits does not hold them.

    Raises:
        UsageError, DataError, FormatError: see `read_self_edits` and `load_contexts`.
    """
    contexts, parsed, source = _material(settings, passages, edits, self_edits, passage_file, lm)
    task = KnowledgeTask(lm, settings)
    pairs = [(context, edit) for context in contexts for edit in parsed[context.id]]
    chosen = [(*pairs[n % len(pairs)], n // len(pairs)) for n in range(loops)]
    return BenchWork(
        tuple(tuple(task.sequences(context, edit)) for context, edit, _ in chosen),
        tuple(derive(settings.seed, "inner", "bench", number) for number in range(loops)),
        tuple(derive(settings.seed, "order", "bench", repeat) for _, _, repeat in chosen),
        tuple(
            tuple(task.question(context, q) for q in context.questions) for context, _, _ in chosen
        ),
        source,
    )


def _material(
    settings: Settings,
    passages: int,
    edits: int,
    file: Path | None,
    passage_file: str | None,
    lm: LanguageModel,
) -> tuple[list[Context], dict[str, list[ParsedEdit]], str]:
    if file is None:
        contexts = _first(
            load_contexts(passage_file or "corpus:train", require_questions=True), passages
        )
        if edits > CORPUS_EDITS:
            what = (
                f"{edits} self-edits a passage asked for, {CORPUS_EDITS} are written from a passage"
            )
            raise UsageError(
                what, where="edits", fix="ask for fewer, or give a file with --self-edits"
            )
        return (
            contexts,
            {c.id: _written(c)[:edits] for c in contexts},
            passage_file or "corpus:train",
        )
    found = read_self_edits(file)
    if passage_file is None:
        every = contexts_from(found.records, file, require_questions=True)
    else:
        every = load_contexts(passage_file, require_questions=True)
    contexts = _first(every, passages)
    task = KnowledgeTask(lm, settings)
    texts = found.of(contexts, edits)
    return contexts, {c.id: [task.parse(text) for text in texts[c.id]] for c in contexts}, file.name


def _first(contexts: Sequence[Context], count: int) -> list[Context]:
    if len(contexts) < count:
        what = f"{count} passages asked for, there are {len(contexts)}"
        raise UsageError(what, where="passages", fix="ask for fewer, or give other files")
    return list(contexts[:count])


def _written(context: Context) -> list[ParsedEdit]:
    """Three self-edits of the lengths that models write: the sentences, the facts, and both."""
    sentences = tuple(
        f"{part.strip().rstrip('.')}." for part in context.text.split(". ") if part.strip()
    )
    facts = tuple(f"{question.text} {question.answers[0]}." for question in context.questions)
    return [ParsedEdit(lines, ()) for lines in (sentences, facts, sentences + facts[::2])]
