"""Self-edits as the policy's own tokens: what it sampled, what it could have, how likely it was.

The gradient of reinforcement learning is a sum over the tokens that were sampled (SEAL, arXiv
2506.10943, eq. 4), so those are trained on, never the text encoded again; and under a grammar the
policy is the masked one, so only its choices carry loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from selfedit.errors import RunFolderError
from selfedit.inner.job import TrainSequence
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.lm.reading import read_rows
from selfedit.lm.rules import allowed_tokens
from selfedit.lm.segments import consecutive
from selfedit.lm.token_logs import Allowed, Choosing, token_logs
from selfedit.rl.session import AnySession
from selfedit.run.records import Sampled, SelfEditRow
from selfedit.storage.files import fingerprint
from selfedit.tasks.task import Context


@dataclass(frozen=True)
class PolicySequence(TrainSequence):
    """A prompt and a self-edit. What follows is of its tokens that carry loss, one value each.

    Attributes:
        allowed: what the grammar allowed there; empty where self-edits are sampled freely.
        old: log-probability when it was sampled.
        reference: log-probability under the policy that a brake holds it to.
        advantages: what each token is worth beside what else could have been written; as weights
            of the likelihood in filtered finetuning.
    """

    allowed: tuple[Allowed, ...] = field(default=(), compare=False, repr=False)
    old: tuple[float, ...] = ()
    reference: tuple[float, ...] = ()
    advantages: tuple[float, ...] = ()

    @property
    def places(self) -> list[int]:
        """Where its tokens that carry loss are."""
        return [index for index in range(1, len(self.ids)) if self.loss[index]]


def policy_sequence(session: AnySession, context: Context, row: SelfEditRow) -> PolicySequence:
    """The training example of a self-edit: its prompt and its tokens as they were sampled.

    A self-edit that the token limit cut off has no end, and none is taught. A text from outside is
    encoded, and ends.

    Raises:
        RunFolderError: it was sampled after another prompt than the task makes now, or its record
            is damaged.
    """
    # Cut off: the text has no end token, and none is added.
    sampled = row.sampled
    if sampled is None:
        example = session.task.completion(context, row.text)
        return PolicySequence(example.ids, example.loss)
    prompt, vocabulary = session.task.prompt(context), len(session.lm.head)
    # An id beyond the vocabulary would crash the embedding with an error nobody understands.
    strange = any(not 0 <= token < vocabulary for token in sampled.ids)
    if strange or row.prompt_hash != fingerprint(prompt):
        what = "the self-edit is not one that this model wrote after this prompt"
        raise RunFolderError(
            what,
            where=f"self-edit {row.candidate} of {row.context_id}",
            fix="go on with the version of selfedit that made the run, or start in a new folder",
        )
    return sampled_sequence(session, prompt, sampled)


def sampled_sequence(
    session: AnySession, prompt: tuple[int, ...], sampled: Sampled
) -> PolicySequence:
    """A prompt and the tokens sampled after it, under the task's grammar if it has one."""
    rule, vocabulary = session.task.rule(), len(session.lm.head)
    # Replayed through the grammar: it is not stored what was allowed at each token.
    allowed = () if rule is None else tuple(allowed_tokens(rule, sampled.ids, vocabulary))
    # A forced token teaches nothing, and its probability is 1 whatever the policy.
    carries = [len(ids) > 1 for ids in allowed] if allowed else [True] * len(sampled.ids)
    return PolicySequence(
        (*prompt, *sampled.ids),
        (*[False] * len(prompt), *carries),
        # None where all is allowed: an array of the whole vocabulary for each token is megabytes.
        allowed=tuple(None if len(ids) == vocabulary else ids for ids in allowed if len(ids) > 1),
        old=tuple(value for value, loss in zip(sampled.logprobs, carries, strict=False) if loss),
    )


def policy_temperature(session: AnySession) -> float:
    """What logits are divided by where the policy is a distribution; 1 where self-edits are the
    likeliest ones.
    """
    # Greedy decoding has no temperature; its policy is measured at 1.
    return session.settings.edit.temperature or 1.0


def without_logs(sequence: PolicySequence) -> PolicySequence:
    """Equal self-edits are then equal, whatever batch each was sampled in."""
    return replace(sequence, old=())


def read_logs(
    lm: LanguageModel,
    sequences: Sequence[PolicySequence],
    adapter: Adapter | None,
    temperature: float,
) -> list[tuple[float, ...]]:
    """Log-probability of every token that carries loss under a policy, ``adapter`` on the model's
    weights.
    """
    every: list[tuple[float, ...]] = []
    rows = [sequence.ids for sequence in sequences]
    for chunk, hidden in read_rows(lm, rows, [adapter] * len(rows)):
        part = sequences[len(every) : len(every) + len(chunk)]
        before, targets = before_and_targets(part, lm.device)
        choosing = Choosing(temperature, joined(part), lm.cap)
        with torch.no_grad():
            logs = token_logs(hidden[before], lm.head, targets, choosing)
        counts = [len(sequence.places) for sequence in part]
        every += [tuple(one.tolist()) for one in logs.split(counts)]
    return every


def before_and_targets(
    sequences: Sequence[PolicySequence], device: torch.device
) -> tuple[Tensor, Tensor]:
    """In sequences packed end to end: the places before the tokens that carry loss, and these
    tokens, ``[N]`` each.
    """
    before: list[int] = []
    targets: list[int] = []
    for sequence, span in zip(sequences, consecutive([len(s.ids) for s in sequences]), strict=True):
        before += [span[index - 1] for index in sequence.places]
        targets += [sequence.ids[index] for index in sequence.places]
    return torch.tensor(before, device=device), torch.tensor(targets, device=device)


def joined(sequences: Sequence[PolicySequence]) -> list[Allowed]:
    """What may be chosen at the places of several sequences, one after the other; empty where all
    is allowed in all.
    """
    if not any(sequence.allowed for sequence in sequences):
        return []
    every: list[Allowed] = []
    for sequence in sequences:
        # One None a place keeps the list in step where a sequence has no grammar.
        every += sequence.allowed or [None] * len(sequence.places)
    return every
