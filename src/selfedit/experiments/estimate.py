"""How much work a run is, and how long two cores take for it, before a model is fetched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from selfedit.config import Settings
from selfedit.errors import UsageError
from selfedit.experiments.knowledge.cpt import cpt_contexts
from selfedit.experiments.knowledge.methods import is_seal, measured_methods
from selfedit.retention.facts import everyday_facts
from selfedit.retention.general import measured_texts
from selfedit.rl.work import LINES, SECONDS, TOKENS_A_WORD, Passages, Prices, WorkEstimate, WorkPart
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.heldout import heldout_contexts

KNOWN = 0.5
"""Share of everyday facts that a small model knows."""
REMEDY = 1.5
"""What a remedy adds to an inner loop, as a share of it: rehearsed and replayed texts."""


def estimate(experiment: str, settings: Settings) -> WorkEstimate:
    """What a run of an experiment comes to; ``train`` is one of them.

    Raises:
        UsageError: there is no estimate of this experiment, or its settings cannot be used.
        DataError: its passages are not there.
    """
    if experiment not in _PARTS:
        fix = f"--dry-run estimates {', '.join(_PARTS)}"
        raise UsageError(f"there is no estimate of {experiment}", where="--dry-run", fix=fix)
    return WorkEstimate(tuple(_PARTS[experiment](settings)))


def _knowledge_parts(settings: Settings) -> list[WorkPart]:
    prices, heldout = Prices(settings), Passages.of(heldout_contexts(settings))
    parts = _held_out(prices, heldout) if heldout.count else []
    train = load_contexts(settings.train) if settings.rl.rounds else []
    for number in range(1, settings.rl.rounds + 1):
        passages = Passages.of(train, settings.rl.contexts)
        parts += _round_parts(prices, f"round {number}", passages, bool(heldout.count))
    return parts


def _single_parts(settings: Settings) -> list[WorkPart]:
    """A sweep over formats measures what does not depend on them once."""
    parts = _knowledge_parts(settings)
    formats = settings.single.formats
    # `own: writing` belongs to `own`.
    shared = ("base", "context", "passage", "external", "gold")
    again = [part for part in parts if part.name.split(":")[0] not in shared]
    return parts + again * (len(formats) - 1) if formats else parts


def _held_out(prices: Prices, heldout: Passages) -> list[WorkPart]:
    chosen = prices.settings.eval
    parts: list[WorkPart] = []
    for method in measured_methods(prices.settings):
        if method in ("base", "context"):
            parts.append(prices.answers(method, heldout.count * heldout.questions))
            continue
        edited = method in ("own", "external") or is_seal(method)
        texts = heldout.count * (chosen.samples if edited else 1)
        if edited and method != "external":
            parts.append(prices.writing(method, texts))
        loops = texts * chosen.repeats
        parts.append(prices.loops(method, heldout, loops, edited=edited, gold=method == "gold"))
    return parts


def _round_parts(prices: Prices, name: str, passages: Passages, heldout: bool) -> list[WorkPart]:
    """At the most where racing spares inner loops, at the least where contexts are tried anew."""
    rl = prices.settings.rl
    edits = passages.count * rl.candidates
    learned = edits if rl.update != "filtered_sft" else passages.count
    earlier = rl.reward.earlier if rl.reward.retention else 0
    parts = [prices.writing(name, edits + earlier)]
    if rl.reward.signal != "proxy":
        parts.append(
            prices.loops(
                name, passages, edits * rl.repeats, more_questions=earlier * passages.questions
            )
        )
    if earlier:
        parts.append(prices.loops(f"{name}: earlier passages", passages, earlier))
    if rl.credit == "line":
        loops = learned * LINES * rl.repeats
        parts.append(prices.loops(f"{name}: without each line", passages, loops))
    return [*parts, prices.mstep(name, passages, learned), prices.movement(name, heldout)]


def _crossed(settings: Settings) -> list[WorkPart]:
    prices, heldout = Prices(settings), Passages.of(heldout_contexts(settings))
    texts = heldout.count * settings.eval.samples
    parts = [prices.writing(f"{model} RL", texts) for model in ("before", "after")]
    questions = 2 * heldout.count * heldout.questions
    parts.append(prices.answers("both models as they are", questions))
    return [*parts, prices.loops("four cells", heldout, 4 * texts * settings.eval.repeats)]


def _cpt(settings: Settings) -> list[WorkPart]:
    prices, cpt = Prices(settings), settings.cpt
    passages = Passages.of(cpt_contexts(settings))
    texts = {
        "own": cpt.samples,
        "seal": cpt.samples,
        "external": cpt.samples,
        "entigraph": cpt.pairs + cpt.triples,
        "spa": 7 * cpt.spa_rounds,
    }
    parts: list[WorkPart] = []
    for method in cpt.methods:
        count = passages.count * texts.get(method, 0)
        from_outside = method == "external" or (method == "seal" and cpt.policy_file is not None)
        if count and not from_outside:
            parts.append(prices.writing(method, count))
        repeats = 1 if method == "base" else settings.eval.repeats
        if method != "base":
            tokens = passages.count * passages.tokens + count * prices.edit_tokens
            parts.append(prices.documents(method, repeats * tokens))
        questions = repeats * passages.count * passages.questions
        parts.append(prices.answers(f"{method}: answering", questions))
    return parts


def _continual(settings: Settings) -> list[WorkPart]:
    """What remedies add, a gate's probes or rehearsed texts, is counted as one part."""
    chosen, prices = settings.continual, Prices(settings)
    passages = Passages.of(load_contexts(settings.train))
    edits = chosen.sequences * chosen.steps
    facts = sum(len(topic.questions) for topic in everyday_facts())
    known = KNOWN * facts if chosen.facts else chosen.probes * passages.questions
    earlier = chosen.sequences * chosen.steps * (chosen.steps - 1) / 2
    questions = earlier * passages.questions + edits * known
    tokens_read = edits * sum(TOKENS_A_WORD * len(text.split()) for text in measured_texts())
    parts = [prices.answers("before any edit", passages.count * passages.questions)]
    ways = chosen.compare or ("+".join(settings.retention.remedies) or "none",)
    for name in (*ways, *(policy.partition("=")[0] for policy in chosen.policies)):
        parts.append(prices.writing(name, edits))
        loops = prices.loops(name, passages, edits)
        parts.append(loops)
        if name in ways and name != "none":
            parts.append(WorkPart(f"{name}: the remedy", edits, "edits", REMEDY * loops.seconds))
        parts.append(prices.answers(f"{name}: earlier passages and facts", questions))
        parts.append(
            WorkPart(
                f"{name}: everyday text", ceil(tokens_read), "tokens", tokens_read * SECONDS["read"]
            )
        )
    return parts


_PARTS: dict[str, Callable[[Settings], Sequence[WorkPart]]] = {
    "train": _knowledge_parts,
    "single-passage": _single_parts,
    "crossed": _crossed,
    "cpt": _cpt,
    "continual": _continual,
}
