"""The self-edit of few-shot ARC: one JSON object that calls the tools and sets the training.

::

    {"data_generation": {"use_basic_augmentations": true, ...},
     "training": {"strategy": "train_using_output_tokens", "learning_rate": 0.0001,
     "num_train_epochs": 2}}

What values it may hold is a :class:`~selfedit.config.SelfEditSpec`; reading one strictly is
`parse.py`, decoding one so that it cannot be wrong is `constrained.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, create_model

from selfedit.config import SelfEditSpec
from selfedit.tasks.arc.tokens import LossOn
from selfedit.tasks.arc.tools import TOOLBOX, Toolbox
from selfedit.tasks.update_tools import UPDATE_TOOLS, chosen_tools

Strategy = Literal["train_using_all_tokens", "train_using_output_tokens"]
STRATEGIES: dict[Strategy, LossOn] = {
    "train_using_all_tokens": "all",
    "train_using_output_tokens": "output",
}
"""The strategies' names in the JSON, and the tokens that carry loss."""

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


CHOICES = SelfEditSpec(learning_rates=(1e-4, 5e-4, 1e-3, 2e-3, 5e-3), epochs=(1, 2, 3, 4, 5))
"""A handful of values instead of free numbers: what a small model can be expected to choose among.
"""


@dataclass(frozen=True)
class ArcSelfEdit:
    """What a self-edit asks for.

    Attributes:
        families: the families of augmenters it switches on, in the toolbox's order.
        loss_on: the tokens that carry loss.
        learning_rate: of the optimiser.
        epochs: passes over the training examples.
        tools: the kind of update: tools that it calls, with what.
    """

    families: tuple[str, ...]
    loss_on: LossOn
    learning_rate: float
    epochs: int
    tools: tuple[tuple[str, str], ...] = ()

    def to_json(self, toolbox: Toolbox = TOOLBOX) -> str:
        """The compact JSON that asks for it, as constrained decoding would write it."""
        # The strategy's name by what it does: the table has it the other way round.
        strategy = next(name for name, loss_on in STRATEGIES.items() if loss_on == self.loss_on)
        switches = {switch(family): family in self.families for family in toolbox.families}
        # plain decimals, as the grammar writes them: 1e-05 is 0.00001
        rate = f"{self.learning_rate:.15f}".rstrip("0").rstrip(".")
        head = json.dumps(
            {"data_generation": switches, "training": {"strategy": strategy}}, separators=(",", ":")
        )
        calls = "".join(f',"{name}":"{value}"' for name, value in self.tools)
        # Without the two closing brackets of the head: what follows stands inside "training".
        return f'{head[:-2]},"learning_rate":{rate},"num_train_epochs":{self.epochs}{calls}}}}}'


ORACLE = ArcSelfEdit(("basic", "size", "chain", "repeat"), "output", 1e-4, 2)
"""The human-tuned recipe of the paper: all four families, loss on output tokens, 1e-4, 2 epochs."""


def switch(family: str) -> str:
    """The key that switches a family on or off."""
    return f"use_{family}_augmentations"


def schema_model(spec: SelfEditSpec, toolbox: Toolbox = TOOLBOX) -> type[BaseModel]:
    """The pydantic model of the JSON: every key required, no other allowed, no type converted."""
    switches: dict[str, Any] = {switch(family): (bool, ...) for family in toolbox.families}
    generation = create_model("DataGeneration", __config__=_STRICT, **switches)
    calls: dict[str, Any] = {
        tool.name: (Literal[*tool.choices], ...)
        for tool in chosen_tools(spec.tools, "arc.spec.tools")
    }
    training = create_model(
        "Training",
        __config__=_STRICT,
        strategy=(Strategy, ...),
        learning_rate=(_learning_rate(spec), ...),
        num_train_epochs=(_epochs(spec), ...),
        **calls,
    )
    return create_model(
        "SelfEdit", __config__=_STRICT, data_generation=(generation, ...), training=(training, ...)
    )


def json_schema(spec: SelfEditSpec, toolbox: Toolbox = TOOLBOX) -> dict[str, Any]:
    """The JSON schema for constrained decoding; whatever fits it parses.

    A free learning rate is a multiple of the power of ten at or below its lower bound: without that
    a number may have any count of digits, and a model that likes digits never ends one.
    """
    return schema_model(spec, toolbox).model_json_schema()


def to_self_edit(record: dict[str, Any], toolbox: Toolbox = TOOLBOX) -> ArcSelfEdit:
    """The self-edit of a JSON object that was already checked against the model."""
    training = record["training"]
    families = tuple(
        family for family in toolbox.families if record["data_generation"][switch(family)]
    )
    loss_on = STRATEGIES[training["strategy"]]
    rate, epochs = float(training["learning_rate"]), training["num_train_epochs"]
    calls = tuple((name, value) for name, value in training.items() if name in UPDATE_TOOLS)
    return ArcSelfEdit(families, loss_on, rate, epochs, calls)


def _learning_rate(spec: SelfEditSpec) -> Any:
    if spec.learning_rates is not None:
        return _one_of(float, spec.learning_rates)
    # log10(1e-6) may be just below −6.
    exponent = math.floor(math.log10(spec.learning_rate_min) + 1e-9)
    schema = {
        "type": "number",
        "minimum": spec.learning_rate_min,
        "maximum": spec.learning_rate_max,
        "multipleOf": float(f"1e{exponent}"),
    }
    bounds = Field(ge=spec.learning_rate_min, le=spec.learning_rate_max)
    return Annotated[float, bounds, WithJsonSchema(schema)]


def _epochs(spec: SelfEditSpec) -> Any:
    if spec.epochs is not None:
        return _one_of(int, spec.epochs)
    return Annotated[int, Field(ge=1, le=spec.max_epochs)]


def _one_of(kind: type[int] | type[float], values: Sequence[float]) -> Any:
    """A number that must equal one of the values (`Literal` takes no float)."""
    schema = {"type": "integer" if kind is int else "number", "enum": list(values)}
    return Annotated[kind, AfterValidator(partial(_among, tuple(values))), WithJsonSchema(schema)]


def _among(values: tuple[float, ...], value: float) -> float:
    if value not in values:
        raise ValueError(f"not one of {', '.join(f'{item:g}' for item in values)}")
    return value
