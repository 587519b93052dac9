"""The data of test-time training: pseudo-tasks made from a task's own demonstrations.

Leave one or two demonstrations out; each pair left out is in turn the query of a pseudo-task that
shows the ones kept. Apply every chosen augmenter to the whole pseudo-task and keep what still fits
30 × 30; add the untouched pseudo-tasks; then add a copy of each with its colours permuted and its
demonstrations reordered; then draw at most 250.

For a task of n demonstrations whose grids all fit, with both ways of leaving out (n > 2), that is n
+ n(n − 1) = n² pseudo-tasks, and n² · (augmenters + 1) · 2 examples before the cap.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from selfedit.config import TTTDataSettings
from selfedit.tasks.arc.augment import Augmenter, colour_permutation, colours_of, reorder
from selfedit.tasks.arc.grids import fits
from selfedit.tasks.arc.task import ArcTask, Pair
from selfedit.tasks.arc.tokens import sequence_length
from selfedit.tasks.arc.tools import TOOLBOX, Toolbox

UNTOUCHED = "untouched"
"""The family of pseudo-tasks no augmenter was applied to."""


@dataclass(frozen=True)
class Example:
    """One pseudo-task.

    Attributes:
        demonstrations: the pairs shown.
        query: the pair asked for.
        family: the family of the augmenter applied, or :data:`UNTOUCHED`.
        tool: the augmenter's name, or :data:`UNTOUCHED`.
        left_out: how many demonstrations of the task are not shown (the query is one of them).
        permuted: whether colours were permuted and demonstrations reordered.
    """

    demonstrations: tuple[Pair, ...]
    query: Pair
    family: str = UNTOUCHED
    tool: str = UNTOUCHED
    left_out: int = 1
    permuted: bool = False

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs, the query last. Two examples with equal pairs teach the same."""
        return (*self.demonstrations, self.query)

    @property
    def tokens(self) -> int:
        """The length of its training sequence."""
        return sequence_length(self.demonstrations, self.query)


def ttt_examples(
    task: ArcTask,
    families: Iterable[str],
    seed: int,
    settings: TTTDataSettings | None = None,
    toolbox: Toolbox = TOOLBOX,
) -> list[Example]:
    """The training examples of a task, the same for the same arguments.

    Args:
        task: only its demonstrations are used, never its test inputs or solutions.
        families: the families of augmenters to apply; none is allowed.
        seed: with the task's id, the source of rolls, recolourings, orders and the draw.
        settings: the published ones where not given.
        toolbox: where the families are looked up.

    Returns:
        Distinct examples. A task of one demonstration has none: nothing would be left to show.

    Raises:
        UsageError: a family is not in the toolbox.
    """
    settings, families = settings or TTTDataSettings(), tuple(families)
    # The task's id too: tasks of one seed draw different rolls.
    rng = np.random.default_rng([seed, zlib.crc32(task.id.encode())])
    plain = [example for n in settings.leave_out for example in leave_out(task.train, n)]
    # the augmenters are made anew for each pseudo-task, so each gets its own roll
    with_tools = [(example, toolbox.augmenters(families, rng, example.pairs)) for example in plain]
    augmented = [
        changed
        for example, tools in with_tools
        for tool in tools
        if (changed := apply(tool, example)) is not None
    ]
    examples = _distinct([*plain, *augmented])
    copies = [permute(example, rng) for _ in range(settings.permutations) for example in examples]
    return _draw_examples(_distinct([*examples, *copies]), settings, rng)


def leave_out(pairs: Sequence[Pair], n: int) -> Iterator[Example]:
    """Every way to leave ``n`` pairs out, with each pair left out as the query; at least one is
    left to show.
    """
    # Nothing would be left to show.
    if n < 1 or n >= len(pairs):
        return
    for out in combinations(range(len(pairs)), n):
        demonstrations = tuple(pair for index, pair in enumerate(pairs) if index not in out)
        for index in out:
            yield Example(demonstrations, pairs[index], left_out=n)


def apply(tool: Augmenter, example: Example) -> Example | None:
    """The example with every grid augmented, or None where a grid outgrows 30 × 30."""
    pairs = [pair.map(tool.forward) for pair in example.pairs]
    # All of its grids or none: an example with one grid missing is another task.
    if not all(fits(pair.input) and fits(pair.output) for pair in pairs):
        return None
    return replace(
        example,
        demonstrations=tuple(pairs[:-1]),
        query=pairs[-1],
        family=tool.family,
        tool=tool.name,
    )


def permute(example: Example, rng: np.random.Generator) -> Example:
    """The example with its colours permuted (0 stays, some other colour moves) and its
    demonstrations reordered.
    """
    # One permutation for all grids of the example: the rule has to stay the rule.
    recolour = colour_permutation(rng, moves=colours_of(example.pairs)).forward
    reordered = reorder([pair.map(recolour) for pair in example.demonstrations], rng)
    return replace(
        example, demonstrations=reordered, query=example.query.map(recolour), permuted=True
    )


def counts_by_family(examples: Iterable[Example]) -> dict[str, int]:
    """How many examples each family gave, untouched ones under :data:`UNTOUCHED`; copies count with
    their original.
    """
    return dict(Counter(example.family for example in examples))


def _distinct(examples: Iterable[Example]) -> list[Example]:
    """Without repeats: on a symmetric task several augmenters give the same."""
    first: dict[tuple[Pair, ...], Example] = {}
    for example in examples:
        first.setdefault(example.pairs, example)
    return list(first.values())


def _draw_examples(
    examples: list[Example], settings: TTTDataSettings, rng: np.random.Generator
) -> list[Example]:
    """At most so many examples and tokens, drawn at random, in their first order."""
    longest = settings.max_example_tokens
    examples = [example for example in examples if longest is None or example.tokens <= longest]
    kept: list[int] = []
    left = settings.max_total_tokens
    # Drawn first, then cut to the tokens: which come first is chance, not size.
    for index in rng.permutation(len(examples))[: settings.max_examples].tolist():
        if left is not None:
            left -= examples[index].tokens
            if left < 0:
                break
        kept.append(index)
    # In their first order: what is trained on does not depend on the order of drawing.
    return [examples[index] for index in sorted(kept)]
