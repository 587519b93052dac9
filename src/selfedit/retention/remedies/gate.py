"""The gate: an edit that harms a probe set beyond a bound is scaled down, or refused.

STABLE (arXiv 2510.16089) gates LoRA merges on measured damage. Harm is the rise of the mean loss in
nats a token, on everyday text and on what earlier edits were trained on; neither is what the
experiments report damage on.
"""

from __future__ import annotations

from selfedit.config.retention import GateSettings
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.lm.perplexity import row_losses
from selfedit.retention.general import gate_texts
from selfedit.retention.learner import Learner
from selfedit.retention.remedies.base import NewEdit, Remedy, Verdict
from selfedit.retention.remedies.replay import sample_items
from selfedit.run.seeds import derive


def gate(
    lm: LanguageModel,
    learner: Learner,
    adapter: Adapter,
    settings: GateSettings,
    *,
    seed: int,
    apart: bool = False,
) -> Verdict:
    """The largest scale found at which the edit stays within the bounds; 0 if none does.

    1, ½, ¼, … are tried; between the first that does and the one before it, ``bisections`` more.

    Args:
        lm: the base model.
        learner: what it has been edited with so far.
        adapter: the new edit.
        settings: bounds, probes, halvings.
        seed: which earlier sequences are looked at.
        apart: the adapter is not merged with the others (a library): earlier edits cannot be harmed
            by it.
    """
    everyday = [lm.document(text) for text in gate_texts()]
    earlier = (
        [] if apart else [s.ids for s in sample_items(learner.earlier(), settings.probes, seed)]
    )
    rows = [*everyday, *earlier]
    before = row_losses(lm, rows, None if apart else learner.merged)
    attempts: list[tuple[float, float, float | None]] = []

    def is_harmless(factor: float) -> bool:
        after = (Learner() if apart else learner).candidate(adapter, factor)
        rises = [a - b for a, b in zip(row_losses(lm, rows, after), before, strict=True)]
        general = sum(rises[: len(everyday)]) / len(everyday)
        old = sum(rises[len(everyday) :]) / len(earlier) if earlier else None
        attempts.append((factor, general, old))
        return general <= settings.general and (old is None or old <= settings.earlier)

    halved = (0.5**halving for halving in range(settings.halvings + 1))
    best = next(filter(is_harmless, halved), 0.0)
    beyond = 2 * best
    for _ in range(settings.bisections if 0 < best < 1 else 0):
        middle = (best + beyond) / 2
        best, beyond = (middle, beyond) if is_harmless(middle) else (best, middle)
    return Verdict(best, tuple(attempts))


class Gate(Remedy):
    """A trained edit is taken over at the largest scale at which it does no more harm than
    ``retention.gate`` says.
    """

    turn = 70

    def admit(self, edit: NewEdit, adapter: Adapter, *, apart: bool) -> Verdict:
        """See `Remedy`."""
        seed = derive(edit.seed, "gate")
        return gate(self.task.lm, edit.learner, adapter, self.settings.gate, seed=seed, apart=apart)


REMEDY = Gate
