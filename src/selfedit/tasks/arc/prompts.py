"""The prompt that asks for a self-edit: demonstrations, tools, values, form."""

from __future__ import annotations

from selfedit.config import SelfEditSpec
from selfedit.tasks.arc.contexts import ArcContext
from selfedit.tasks.arc.self_edit import STRATEGIES, switch
from selfedit.tasks.arc.tools import Toolbox
from selfedit.tasks.update_tools import chosen_tools

_TOOLS = {
    "basic": "turns, flips, reflections, shifts",
    "size": "cells made larger",
    "chain": "turns and flips made larger",
    "repeat": "grids repeated",
}


def arc_edit_prompt(context: ArcContext, spec: SelfEditSpec, toolbox: Toolbox) -> str:
    """What asks the policy for a self-edit of a task."""
    tools = "\n".join(
        f"- {switch(family)}: {_family_line(family, toolbox)}" for family in toolbox.families
    )
    return (
        "Below are examples of a rule that turns an input grid (I) into an output grid (O). Choose"
        " how a model is trained to follow the rule. The training data are made from the examples"
        f" with these tools, each true or false:\n{tools}\nstrategy:"
        f" {' or '.join(STRATEGIES)}\nlearning_rate: {_rates(spec)}\nnum_train_epochs:"
        f" {_epochs_line(spec)}{_tools(spec)}\n\n{context.text}\n\nAnswer with one JSON object"
        ' only, with the keys "data_generation" and "training".'
    )


def _tools(spec: SelfEditSpec) -> str:
    """The kind of update, a line a tool."""
    tools = chosen_tools(spec.tools, "arc.spec.tools")
    lines = [f"\n{t.name} ({t.about}): one of {', '.join(t.choices)}" for t in tools]
    return "".join(lines)


def _family_line(family: str, toolbox: Toolbox) -> str:
    return _TOOLS.get(family) or ", ".join(toolbox.names(family))


def _rates(spec: SelfEditSpec) -> str:
    if spec.learning_rates is not None:
        return "one of " + ", ".join(f"{rate:g}" for rate in spec.learning_rates)
    return f"a number from {spec.learning_rate_min:g} to {spec.learning_rate_max:g}"


def _epochs_line(spec: SelfEditSpec) -> str:
    if spec.epochs is not None:
        return "one of " + ", ".join(map(str, spec.epochs))
    return f"a whole number from 1 to {spec.max_epochs}"
