"""Every self-edit that a specification allows, as a list and as the tree of their tokens.

Under the grammar of `constrained.py` a text may be cut into tokens in many ways, and each is
another path of the policy. Here a self-edit has one path, its text as the tokenizer cuts it, so
that a policy over self-edits is a table that can be summed over.
"""

from __future__ import annotations

from itertools import product

from selfedit.config import SelfEditSpec
from selfedit.errors import UsageError
from selfedit.lm.load import LanguageModel
from selfedit.lm.rules import TokenTree
from selfedit.tasks.arc.self_edit import STRATEGIES, ArcSelfEdit
from selfedit.tasks.arc.tools import TOOLBOX, Toolbox

MOST = 4096
"""Self-edits of a list at the most: a round that sums over them reads every one for each task."""


def every_self_edit(spec: SelfEditSpec, toolbox: Toolbox = TOOLBOX) -> list[ArcSelfEdit]:
    """All of them, in the order of their JSON's keys.

    Raises:
        UsageError: learning rates or epochs are free, or there are more than `MOST`.
    """
    if spec.learning_rates is None or spec.epochs is None:
        fix = "set arc.spec.learning_rates and arc.spec.epochs to a handful of values each"
        raise UsageError("free numbers cannot be listed", where="arc.spec", fix=fix)
    switches = [(True, False)] * len(toolbox.families)
    # A value given twice would be the same self-edit twice, which a tree cannot hold.
    values = [tuple(dict.fromkeys(each)) for each in (spec.learning_rates, spec.epochs)]
    count = 2 ** len(switches) * len(STRATEGIES) * len(values[0]) * len(values[1])
    if count > MOST:
        fix = f"give fewer learning rates, epochs or families: {MOST} self-edits at the most"
        raise UsageError(f"{count} self-edits are too many to list", where="arc.spec", fix=fix)
    # In the keys' order of the JSON, so that the list is the tree's order.
    return [
        ArcSelfEdit(
            tuple(name for name, on in zip(toolbox.families, flags, strict=True) if on),
            loss_on,
            float(rate),
            int(epochs),
        )
        for flags in product(*switches)
        for loss_on in STRATEGIES.values()
        for rate, epochs in product(*values)
    ]


def self_edit_tree(lm: LanguageModel, spec: SelfEditSpec, toolbox: Toolbox = TOOLBOX) -> TokenTree:
    """The tree of all self-edits' tokens."""
    return TokenTree([lm.encode(edit.to_json(toolbox)) for edit in every_self_edit(spec, toolbox)])
