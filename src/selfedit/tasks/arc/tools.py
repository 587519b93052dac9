"""The tools a self-edit can call: the four built-in families, and whatever a user adds with one
decorator.

::

    from selfedit.tasks.arc.tools import tool

    @tool("checker", family="mine", inverse=lambda grid: grid)
    def checker(grid): ...

From then on self-edits have a switch ``use_mine_augmentations``, in the schema, the constrained
grammar and the data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from selfedit.errors import UsageError
from selfedit.tasks.arc.augment import BASIC, CHAIN, REPEAT, SIZE, Augmenter, Change, random_roll
from selfedit.tasks.arc.grids import COLOURS, Grid
from selfedit.tasks.arc.task import Pair

Maker = Callable[[np.random.Generator, Sequence[Pair]], Augmenter]
"""Makes an augmenter for these pairs, drawing what it leaves to chance."""


@dataclass
class Toolbox:
    """The augmenters a self-edit can switch on, by family. Families keep the order they were added
    in.
    """

    makers: dict[str, dict[str, Maker]] = field(default_factory=dict)

    @classmethod
    def builtin(cls) -> Toolbox:
        """A toolbox of the 23 published augmenters: basic 11, size 3, chain 6, repeat 3."""
        box = cls()
        for augmenter in BASIC:
            box.add(augmenter)
        box.add_random("random_roll", "basic", random_roll)
        for augmenter in (*SIZE, *CHAIN, *REPEAT):
            box.add(augmenter)
        return box

    @property
    def families(self) -> tuple[str, ...]:
        """The families' names, in the order of their switches."""
        return tuple(self.makers)

    def names(self, family: str) -> tuple[str, ...]:
        """The names of a family's augmenters."""
        return tuple(self._family(family))

    def add(self, augmenter: Augmenter) -> None:
        """Add an augmenter that leaves nothing to chance.

        Raises:
            UsageError: its name is taken, or the family's name cannot be part of a key.
        """
        self.add_random(augmenter.name, augmenter.family, lambda rng, pairs: augmenter)

    def add_random(self, name: str, family: str, maker: Maker) -> None:
        """Add an augmenter that draws something, once for each task it is applied to.

        Raises:
            UsageError: its name is taken, or the family's name cannot be part of a key.
        """
        # It becomes a part of a JSON key, and of a grammar.
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,29}", family):
            fix = "use up to 30 small letters, digits and _, a letter first"
            raise UsageError(f"{family!r} cannot name a family", where=f"tool {name!r}", fix=fix)
        # In whatever family: names tell examples' tools apart.
        if any(name in tools for tools in self.makers.values()):
            raise UsageError(
                "there is a tool of this name already", where=name, fix="choose another name"
            )
        self.makers.setdefault(family, {})[name] = maker

    def tool(
        self, name: str, family: str, inverse: Change | None = None
    ) -> Callable[[Change], Change]:
        """A decorator that adds a function from grid to grid as an augmenter.

        Args:
            name: unique in the toolbox.
            family: an existing family, or a new one, which gets a switch of its own.
            inverse: undoes the function, where something does.

        Raises:
            UsageError: the name is taken or cannot be used; or later, when the function returns no
                grid.
        """

        def register(forward: Change) -> Change:
            self.add(Augmenter(name, family, _checked_tool(name, forward), inverse))
            return forward

        return register

    def augmenters(
        self, families: Iterable[str], rng: np.random.Generator, pairs: Sequence[Pair] = ()
    ) -> tuple[Augmenter, ...]:
        """The augmenters of these families for these pairs, in the toolbox's order, their chances
        drawn from ``rng``.

        Raises:
            UsageError: a family is not in the toolbox.
        """
        # In the toolbox's order, whatever order they were named in: the same draws, the same data.
        usable = {family for family in families if self._family(family)}
        makers = [
            make
            for family in self.families
            if family in usable
            for make in self.makers[family].values()
        ]
        return tuple(make(rng, pairs) for make in makers)

    def _family(self, family: str) -> dict[str, Maker]:
        if family not in self.makers:
            raise UsageError(
                f"no family {family!r}", fix=f"known families: {', '.join(self.families)}"
            )
        return self.makers[family]


def _checked_tool(name: str, forward: Change) -> Change:
    """A user's function, given a grid of its own and held to giving one back (it may be too large:
    that is dropped).
    """

    def checked(grid: Grid) -> Grid:
        # A copy: a user's function may write into its argument.
        result: Any = forward(grid.copy())
        good = (
            isinstance(result, np.ndarray)
            and result.ndim == 2
            and result.size
            and result.dtype.kind in "iu"
        )
        if not good or result.min() < 0 or result.max() >= COLOURS:
            fix = "return a two-dimensional numpy array of whole numbers from 0 to 9"
            raise UsageError(
                "a tool gave something that is no grid", where=f"tool {name!r}", fix=fix
            )
        return result.astype(np.int8)

    return checked


TOOLBOX = Toolbox.builtin()
"""The toolbox used where none is named."""

tool = TOOLBOX.tool
"""Add a function to :data:`TOOLBOX`; see :meth:`Toolbox.tool`."""
