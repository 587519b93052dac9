"""The policy: the model that writes self-edits, and what each round makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from selfedit.errors import RunFolderError
from selfedit.lm.bank import BankLinear
from selfedit.lm.load import LanguageModel, load_weights
from selfedit.lm.lora import Adapter
from selfedit.lm.stack import on_top
from selfedit.models.quiet import quiet
from selfedit.rl.session import Session
from selfedit.storage.files import folder_atomic, hash_folder


def merge(lm: LanguageModel, adapter: Adapter) -> None:
    """Add an adapter to the model's weights, in place: W + (alpha / rank) · B A, formed in float32."""
    for name, module in lm.model.named_modules():
        if isinstance(module, BankLinear) and name in adapter.tensors:
            delta = adapter.delta(name).to(module.weight.device)
            with torch.no_grad():
                module.weight.copy_((module.weight.float() + delta).to(module.weight.dtype))


def keep_policy(session: Session[Any], number: int, adapter: Adapter) -> str:
    """Save what a round made; with ``rl.mstep.merge`` the session's model has its weights from now
    on, else the policy is one adapter more on top of what it was: their ranks add up.

    Returns:
        SHA-256 of the policy's folder.
    """
    merged = session.settings.rl.mstep.merge
    if merged:
        merge(session.lm, adapter)
    else:
        adapter = on_top(session.policy, adapter)
    return save_policy(session.lm, adapter, session.run.policy(number), merged=merged)


def save_policy(lm: LanguageModel, adapter: Adapter, folder: Path, *, merged: bool) -> str:
    """Write what a round made: the round's adapter in PEFT's format and, if merged, the whole model
    beside it.

    Returns:
        SHA-256 of the folder.
    """
    with folder_atomic(folder) as new:
        adapter.save(new / "adapter")
        if merged:
            with quiet():
                lm.model.save_pretrained(new / "model")
                lm.tokenizer.save_pretrained(new / "model")
    return hash_folder(folder)


def adopt_policy(
    session: Session[Any],
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
    if not in_weights and hash_folder(folder) != digest:
        what = "the saved policy is not the one this run made: a file is missing or altered"
        raise RunFolderError(
            what, where=folder, fix="put the folder back from a copy, or start in a new one"
        )
    if not session.settings.rl.mstep.merge:
        policy = replace(Adapter.load(folder / "adapter"), base=session.lm.name)
        session.adopt(policy, digest)
        return policy
    if not in_weights:
        load_weights(session.lm, folder / "model")
    session.engine.load_weights(folder / "model")
    session.sampler.load_policy(folder / "model")
    session.weights = digest
    return None
