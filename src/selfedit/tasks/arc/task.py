"""A task: demonstration pairs that show a rule, and test inputs to apply it to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from selfedit.errors import FormatError
from selfedit.tasks.arc.grids import Grid, grid_key


@dataclass(frozen=True, eq=False)
class Pair:
    """An input grid and the output grid the rule makes of it. Equal grids make equal pairs."""

    input: Grid
    output: Grid

    @cached_property
    def key(self) -> tuple[object, ...]:
        """A hashable value, the same for equal pairs and for no others."""
        return grid_key(self.input), grid_key(self.output)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pair) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def map(self, change: Callable[[Grid], Grid]) -> Pair:
        """The pair with ``change`` applied to both grids."""
        return Pair(change(self.input), change(self.output))


@dataclass(frozen=True, eq=False)
class ArcTask:
    """One ARC task.

    Attributes:
        id: the task's name, stable between runs.
        train: the demonstrations, at least one.
        inputs: the test inputs, at least one.
        solutions: the test outputs in the same order, or None where they are not known.
    """

    id: str
    train: tuple[Pair, ...]
    inputs: tuple[Grid, ...]
    solutions: tuple[Grid, ...] | None = None

    def __post_init__(self) -> None:
        if not self.train:
            raise FormatError(
                "a task has no demonstrations",
                where=self.id,
                fix="give it at least one training pair",
            )
        if not self.inputs:
            raise FormatError(
                "a task has no test input", where=self.id, fix="give it at least one test pair"
            )
        if self.solutions is not None and len(self.solutions) != len(self.inputs):
            what = f"a task has {len(self.inputs)} test inputs and {len(self.solutions)} solutions"
            raise FormatError(
                what, where=self.id, fix="give one solution for each test input, in the same order"
            )

    @property
    def test(self) -> tuple[Pair, ...]:
        """The test pairs.

        Raises:
            FormatError: the task's solutions are not known.
        """
        if self.solutions is None:
            fix = "load the solutions file beside the challenges, or use a split that has solutions"
            raise FormatError("a task has no solutions", where=self.id, fix=fix)
        return tuple(
            Pair(grid, solution) for grid, solution in zip(self.inputs, self.solutions, strict=True)
        )

    @property
    def key(self) -> tuple[object, ...]:
        """A hashable value, the same for tasks with equal grids in the same order."""
        # Without solutions the key is another one: the same inputs may be asked with and without.
        solutions = None if self.solutions is None else tuple(map(grid_key, self.solutions))
        return tuple(pair.key for pair in self.train), tuple(map(grid_key, self.inputs)), solutions

    def only_test(self, index: int) -> ArcTask:
        """The task with one of its test inputs alone, named ``id-index`` as in the published lists.

        Raises:
            FormatError: there is no such test input.
        """
        if not 0 <= index < len(self.inputs):
            what = f"test input {index} was asked for and the task has {len(self.inputs)}"
            raise FormatError(what, where=self.id, fix="count test inputs from 0")
        solutions = None if self.solutions is None else (self.solutions[index],)
        return replace(
            self, id=f"{self.id}-{index}", inputs=(self.inputs[index],), solutions=solutions
        )
