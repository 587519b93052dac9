"""How the house is kept: the source measured against limits that only ever get stricter.

    python tools/house.py              the table; exit code 1 if a limit is passed
    python tools/house.py --where NAME every place that one line of the table counts

A limit stands at its target where the source meets the target, else at what was measured last.
Whoever brings a number down brings its limit down with it, in `RULES`; no limit goes up.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import measures
from measures import Module, read_modules

SOURCE = Path(__file__).resolve().parents[1] / "src" / "selfedit"


@dataclass(frozen=True)
class Rule:
    """One line of the table.

    Attributes:
        about: what is measured.
        measure: the places that are counted, or a number by itself.
        limit: what may not be passed today.
        target: where it shall go.
        share: the count is per 1,000 lines.
        at_least: the limit is the least that is allowed, not the most.
    """

    about: str
    measure: Callable[[list[Module]], Iterator[str] | float]
    limit: float
    target: float
    share: bool = False
    at_least: bool = False

    def value(self, modules: list[Module]) -> float:
        """What the source has, rounded as the table shows it."""
        measured = self.measure(modules)
        count = measured if isinstance(measured, int | float) else sum(1 for _ in measured)
        return round(1000 * count / measures.total_lines(modules), 1) if self.share else count

    def allows(self, value: float) -> bool:
        """Whether a value is within the limit."""
        return value >= self.limit if self.at_least else value <= self.limit


RULES = {
    "comprehensions": Rule(
        "comprehensions per 1,000 lines", measures.comprehensions, 40.5, 25, share=True
    ),
    "nested": Rule(
        "comprehensions that hold another, per 1,000 lines", measures.nested, 1, 1, share=True
    ),
    "comments": Rule(
        "comments per 1,000 lines", measures.comments, 25, 25, share=True, at_least=True
    ),
    "any": Rule("`Any` per 1,000 lines", measures.any_types, 10, 10, share=True),
    "any-dicts": Rule("`dict[str, Any]` per 1,000 lines", measures.any_dicts, 3, 3, share=True),
    "grammar-words": Rule("grammar words as names", measures.grammar_words, 1, 0),
    "private-names": Rule("private names in several modules", measures.private_names, 20, 20),
    "public-names": Rule("public names in several modules", measures.public_names, 7, 0),
    "long-modules": Rule("modules over 190 lines", measures.long_modules, 80, 0),
    "long-functions": Rule("functions over 60 lines", measures.long_functions, 0, 0),
    "long-lines": Rule("lines over 100 characters", measures.long_lines, 0, 0),
    "similar-modules": Rule("module names one letter apart", measures.similar_modules, 0, 0),
    "empty-docstrings": Rule(
        "package docstrings that say nothing", measures.empty_docstrings, 0, 0
    ),
    "lines": Rule("lines", measures.total_lines, 58_400, 22_500),
    "median-lines": Rule("lines of the median module", measures.median_lines, 119, 110),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or one measure's places."""
    parser = argparse.ArgumentParser(description="measure the source against its limits")
    parser.add_argument("source", nargs="?", type=Path, default=SOURCE)
    parser.add_argument("--where", choices=RULES, help="print the places that this measure counts")
    options = parser.parse_args(arguments)
    modules = read_modules(options.source)
    if options.where is not None:
        places = RULES[options.where].measure(modules)
        print(places if isinstance(places, int | float) else "\n".join(places))
        return 0
    return report(modules)


def report(modules: list[Module]) -> int:
    """Print every rule's value, limit and target; 1 if a limit is passed."""
    print(f"{len(modules)} modules\n\n{'measure':17} {'value':>8} {'limit':>8} {'target':>8}")
    broken = []
    for name, rule in RULES.items():
        value = rule.value(modules)
        print(f"{name:17} {value:8g} {rule.limit:8g} {rule.target:8g}  {rule.about}")
        if not rule.allows(value):
            broken.append(f"{name}: {value:g} passes the limit {rule.limit:g}; see --where {name}")
    print("\n".join(["", *broken]) if broken else "\nwithin every limit")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
