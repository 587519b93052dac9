"""The policy: the model that writes self-edits, and what each round makes of it."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path

import torch

from selfedit.errors import DataError, RunFolderError
from selfedit.lm.bank_product import BankLinear
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.lm.stack import on_top
from selfedit.lm.weights import load_weights
from selfedit.models.quiet import quiet
from selfedit.results.model_card import CARD
from selfedit.rl.session import AnySession
from selfedit.storage.files import folder_atomic, hash_folder

ROUNDED = 0.01
"""Share of an update that a merge may round away before the run says so."""
_LOG = logging.getLogger(__name__)


def merge(lm: LanguageModel, adapter: Adapter) -> float:
    """Add an adapter to the model's weights, in place: W + (alpha / rank) · B A, formed in float32.

    Returns:
        What the weights' precision rounded away, ‖W' − W − ΔW‖ / ‖ΔW‖ over all modules (Frobenius).
    """
    lost, total = 0.0, 0.0
    for name, module in lm.model.named_modules():
        if isinstance(module, BankLinear) and name in adapter.tensors:
            delta = adapter.delta(name).to(module.weight.device)
            with torch.no_grad():
                # In the wider of the two types: an update smaller than half a step of bfloat16
                # would vanish in a sum.
                exact = module.weight.to(torch.promote_types(delta.dtype, module.weight.dtype))
                target = exact + delta
                module.weight.copy_(target.to(module.weight.dtype))
                # What the weights' type could not hold, measured after the copy.
                lost += float((module.weight.to(target.dtype) - target).square().sum())
                total += float(delta.square().sum())
    return math.sqrt(lost / total) if total else 0.0


def merges(session: AnySession) -> bool:
    """Whether a round's policy goes into the weights, as ``rl.mstep.merge`` says."""
    settings = session.settings
    if settings.rl.mstep.merge != "auto":
        return settings.rl.mstep.merge
    # A server goes on with the weights it was started with: it can be given an adapter.
    served = "vllm" in (settings.sampler, settings.eval.sampler)
    return session.lm.dtype in (torch.float32, torch.float64) and not served


def keep_policy(session: AnySession, number: int, adapter: Adapter) -> str:
    """Save what a round made; where it is merged the session's model has its weights from now on,
    else the policy is one adapter more on top of what it was: their ranks add up.

    Returns:
        SHA-256 of the policy's folder.
    """
    merged, below = merges(session), None
    if merged:
        below = _merged_before(session, number)
        if (rounded := merge(session.lm, adapter)) > ROUNDED:
            _LOG.warning(
                "merging round %d's policy into %s weights rounded %.0f %% of it away: with"
                " rl.mstep.merge = false it is kept as an adapter",
                number,
                str(session.lm.dtype).removeprefix("torch."),
                100 * rounded,
            )
    else:
        adapter = on_top(session.policy, adapter)
    # The adapter is saved either way: policies can be compared without 14 GB of weights.
    new = session.run.policy(number)
    return save_policy(session.lm, adapter, new, merged=merged, below=below)


def _merged_before(session: AnySession, number: int) -> str | None:
    """What a merged round's adapter stands on: the model of the one before, by its folder within
    the run's (so equal runs write equal bytes); None for the base itself."""
    for earlier in range(number - 1, 0, -1):
        if (session.run.ledger.step(f"round-{earlier}") or {}).get("policy"):
            return f"policy/round-{earlier}/model"
    return None


def policy_hash(folder: Path) -> str:
    """The SHA-256 of a policy's folder without its card, which is written anew at the run's end."""
    return hash_folder(folder, but=CARD)


def save_policy(
    lm: LanguageModel, adapter: Adapter, folder: Path, *, merged: bool, below: str | None = None
) -> str:
    """Write what a round made: the round's adapter in PEFT's format and, if merged, the whole model
    beside it.

    Args:
        lm: the model, with the policy in its weights if merged.
        adapter: the round's.
        folder: the policy's.
        merged: whether the model is written too.
        below: what the adapter names as its base, where that is not the model as it was loaded.

    Returns:
        SHA-256 of the folder.
    """
    # Whole or absent: the ledger may name only what is there.
    with folder_atomic(folder) as new:
        adapter.save(new / "adapter", base=below)
        if merged:
            with quiet():
                lm.model.save_pretrained(new / "model")
                lm.tokenizer.save_pretrained(new / "model")
    return policy_hash(folder)


def adopt_policy(
    session: AnySession,
    number: int,
    digest: str | None,
    before: Adapter | None,
    *,
    in_weights: bool,
) -> Adapter | None:
    """Make a round's policy the current one: what samples, and what inner loops start from.

    Args:
        session: the run.
        number: the round.
        digest: of the policy's folder; None where the round left the policy as it was.
        before: the policy's adapter until now.
        in_weights: this process has made the policy itself, so its model has the weights already.

    Returns:
        The policy's adapter where it is kept apart from the weights, else None.

    Raises:
        RunFolderError: the folder is not the one that the round made.
    """
    if digest is None:
        return before
    folder = session.run.policy(number)
    # Freshly made: hashing gigabytes that were written a moment ago proves nothing.
    if not in_weights and policy_hash(folder) != digest:
        what = "the saved policy is not the one this run made: a file is missing or altered"
        raise RunFolderError(
            what, where=folder, fix="put the folder back from a copy, or start in a new one"
        )
    if not merges(session):
        policy = replace(Adapter.load(folder / "adapter"), base=session.lm.name)
        session.adopt(policy, digest)
        return policy
    use_weights(session, folder / "model", digest, load_here=not in_weights)
    return None


def policy_folder(named: str, where: str) -> Path:
    """The model folder of another run's policy, as a setting names it.

    Raises:
        DataError: there is no model in it.
    """
    if not any(Path(named).glob("*.safetensors")):
        fix = (
            "give a folder policy/round-N/model of a run with rl.mstep.merge = true; where"
            " one was to be trained first, run that first"
        )
        raise DataError(f"there is no model here ({where})", where=named, fix=fix)
    return Path(named)


def use_weights(session: AnySession, folder: Path, name: str, *, load_here: bool = True) -> None:
    """Go on with the weights of a model folder: this process, its workers and its sampler.

    Args:
        session: the run.
        folder: with the weights in safetensors.
        name: what tells these weights from others.
        load_here: whether this process's model has yet to be given them.
    """
    if load_here:
        load_weights(session.lm, folder)
    # Workers hold copies of their own.
    session.engine.load_weights(folder)
    session.sampler.load_policy(folder)
    session.weights = name
