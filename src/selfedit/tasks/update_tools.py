"""The kind of update as a tool that a self-edit calls: what its adapter is and how it is optimised.

::

    from selfedit.tasks.update_tools import update_tool

    @update_tool("dropout", choices=("none", "some"), about="share of inputs left out")
    def dropout(training, choice): ...

From then on self-edits may call it by that name where ``edit.directives.tools`` or
``arc.spec.tools`` names it, or ``all``: it is in what asks for a self-edit, in the grammar, in the
record and in the report. Its choices are its bounds: whatever else is asked for is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from selfedit.config import ALL_LINEAR
from selfedit.errors import UsageError
from selfedit.inner.job import OptimSpec
from selfedit.lm.lora import LoraSpec

ALL = "all"
"""Names every tool there is."""
_RESERVED = (
    "lr",
    "epochs",
    "loss",
    "augment",
    "strategy",
    "learning_rate",
    "num_train_epochs",
    ALL,
)


@dataclass(frozen=True)
class UpdateKind:
    """How a self-edit is trained, before a tool and after it.

    Attributes:
        lora: the adapter.
        optim: its optimiser.
        layers: decoder layers of the model.
    """

    lora: LoraSpec
    optim: OptimSpec
    layers: int


Apply = Callable[[UpdateKind, str], UpdateKind]


@dataclass(frozen=True)
class UpdateTool:
    """One tool.

    Attributes:
        name: as a self-edit calls it.
        choices: what it may be called with.
        about: a few words for whoever writes self-edits.
        apply: changes the training.
    """

    name: str
    choices: tuple[str, ...]
    about: str
    apply: Apply


UPDATE_TOOLS: dict[str, UpdateTool] = {}
"""Every tool, in the order they were added."""


def update_tool(name: str, *, choices: Sequence[str], about: str) -> Callable[[Apply], Apply]:
    """A decorator that adds a function from a training and a choice to a training.

    Raises:
        UsageError: the name is taken or cannot be used, or a choice is no single word.
    """
    # Other names of the JSON or the header line would be ambiguous.
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,29}", name) or name in (*_RESERVED, *UPDATE_TOOLS):
        fix = "use up to 30 small letters, digits and _, a name that no other tool has"
        raise UsageError(f"{name!r} cannot name a tool", where="update_tool", fix=fix)
    # A choice stands in a grammar and in one line: no spaces, no signs.
    if not choices or not all(re.fullmatch(r"[A-Za-z0-9._-]{1,30}", each) for each in choices):
        fix = "give one or more words of letters, digits, '.', '_' and '-'"
        raise UsageError("these choices cannot be written", where=f"tool {name!r}", fix=fix)

    def register(apply: Apply) -> Apply:
        UPDATE_TOOLS[name] = UpdateTool(name, tuple(choices), about, apply)
        return apply

    return register


def chosen_tools(names: Sequence[str], where: str = "tools") -> tuple[UpdateTool, ...]:
    """The tools of these names, in the order they were added; ``all`` names every one.

    Raises:
        UsageError: there is no such tool.
    """
    if unknown := [name for name in names if name not in (ALL, *UPDATE_TOOLS)]:
        fix = f"choose among {', '.join((*UPDATE_TOOLS, ALL))}"
        raise UsageError(f"there is no tool {unknown[0]!r}", where=where, fix=fix)
    return tuple(tool for tool in UPDATE_TOOLS.values() if tool.name in names or ALL in names)


def apply_tools(training: UpdateKind, calls: Sequence[tuple[str, str]]) -> UpdateKind:
    """The training after all tools that were called, in the order they were added."""
    called = dict(calls)
    for tool in UPDATE_TOOLS.values():
        if tool.name in called:
            training = tool.apply(training, called[tool.name])
    return training


@update_tool("rank", choices=("4", "8", "16", "32"), about="size of the adapter")
def _rank(training: UpdateKind, choice: str) -> UpdateKind:
    """With alpha changed alike, so that the update is scaled as before."""
    rank, lora = int(choice), training.lora
    # alpha / rank is the factor of the update.
    return replace(training, lora=replace(lora, rank=rank, alpha=lora.alpha * rank / lora.rank))


@update_tool("targets", choices=("attention", "mlp", "linear"), about="modules that are changed")
def _targets(training: UpdateKind, choice: str) -> UpdateKind:
    modules = {"attention": ALL_LINEAR[:4], "mlp": ALL_LINEAR[4:], "linear": ALL_LINEAR}
    return replace(training, lora=replace(training.lora, targets=modules[choice]))


@update_tool("layers", choices=("every", "upper", "lower"), about="layers that are changed")
def _layers(training: UpdateKind, choice: str) -> UpdateKind:
    half = training.layers // 2
    layers = {
        "every": None,
        "upper": tuple(range(half, training.layers)),
        "lower": tuple(range(max(1, half))),
    }
    return replace(training, lora=replace(training.lora, layers=layers[choice]))


@update_tool("optimiser", choices=("adamw", "decay", "rmsprop"), about="how steps are made")
def _optimiser(training: UpdateKind, choice: str) -> UpdateKind:
    """AdamW as set; with a decay of 0.1; or without its first moment, which is RMSProp's step."""
    optim = training.optim
    changed = {
        "adamw": optim,
        "decay": replace(optim, weight_decay=0.1),
        # β₁ = 0: the step is g / √v, without momentum.
        "rmsprop": replace(optim, betas=(0.0, optim.betas[1])),
    }
    return replace(training, optim=changed[choice])
