"""The check of the house: each measure counts what it says, and a passed limit is an error."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

import house
from measures import read_modules

TOOLS = Path(house.__file__).parent
SOURCE = {
    "__init__.py": '"""What this package is for, said."""',
    "cart.py": '''
        """A cart."""
        from typing import Any

        TOTAL = [sum(x for x in row) for row in [[1]]]  # the sum of a row
        _RATE: dict[str, Any] = {}  # noqa: F841

        def pay(made: int, place: Place, how: str) -> Any:
            for of in range(made):
                """not a docstring"""
        ''',
    "carts.py": '''
        """Carts."""
        _RATE = 2

        def pay():
            text = "# not a comment, and longer than a hundred characters, which is as much as a line may have"
        ''',
    "till/__init__.py": '"""Till."""',
    "till/till.py": "def scan():\n" + "    pass\n" * 60,
    "till/tall.py": "X = 1\n" * 191,
    "cli/cars.py": "",
}  # fmt: skip
PLACES = {
    "comprehensions": ["cart.py:5", "cart.py:5"],
    "nested": ["cart.py:5"],
    "comments": ["cart.py:5"],
    "any": ["cart.py:6", "cart.py:8"],
    "any-dicts": ["cart.py:6"],
    "grammar-words": ["cart.py:8 made", "cart.py:8 how", "cart.py:9 of"],
    "private-names": ["_RATE: cart.py, carts.py"],
    "public-names": ["pay: cart.py, carts.py"],
    "long-modules": ["till/tall.py 191"],
    "long-functions": ["till/till.py:1 scan"],
    "long-lines": ["carts.py:6"],
    "similar-modules": ["cart / carts", "till/tall / till/till"],
    "empty-docstrings": ["till/__init__.py"],
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, text in SOURCE.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text).removesuffix(" "))
    return tmp_path


@pytest.mark.parametrize("name", PLACES)
def test_a_measure_names_each_place_that_it_counts(name: str, source: Path) -> None:
    modules = read_modules(source)
    measured = house.RULES[name].measure(modules)
    assert not isinstance(measured, int | float)
    assert sorted(measured) == sorted(PLACES[name])


def test_sizes(source: Path) -> None:
    lengths = sorted(len(path.read_text().splitlines()) for path in source.rglob("*.py"))
    modules = read_modules(source)
    assert house.RULES["lines"].value(modules) == sum(lengths)
    assert house.RULES["median-lines"].value(modules) == lengths[len(lengths) // 2]
    assert house.RULES["comments"].value(modules) == round(1000 / sum(lengths), 1)


def test_a_passed_limit_is_an_error_that_names_it(source: Path, capsys, monkeypatch) -> None:
    strict = replace(house.RULES["any"], limit=0.0)
    loose = {
        name: replace(rule, limit=0 if rule.at_least else 1000)
        for name, rule in house.RULES.items()
    }
    monkeypatch.setattr(house, "RULES", loose)
    assert house.main([str(source)]) == 0 and "within every limit" in capsys.readouterr().out
    monkeypatch.setattr(house, "RULES", loose | {"any": strict})
    assert house.main([str(source)]) == 1
    assert "any: 7" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(("at_least", "passes"), [(False, 1.1), (True, 0.9)])
def test_a_limit_itself_is_allowed(at_least: bool, passes: float) -> None:
    rule = replace(house.RULES["any"], limit=1.0, at_least=at_least)
    assert rule.allows(1.0) and not rule.allows(passes)


def test_limits_lie_on_their_way_to_the_target() -> None:
    for name, rule in house.RULES.items():
        assert rule.limit <= rule.target if rule.at_least else rule.limit >= rule.target, name


def test_places_are_printed(source: Path) -> None:
    command = [sys.executable, str(TOOLS / "house.py"), str(source), "--where", "long-lines"]
    assert (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout == "carts.py:6\n"
    )
