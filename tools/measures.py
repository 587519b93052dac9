"""What is counted in the source: each measure yields the places it counts, as an editor reads them."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from statistics import median

DIRECTIVE = re.compile(r"#\s*(noqa|pyright:|type:|!|pragma)")
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
GRAMMAR_WORDS = {
    "of", "found", "said", "asked", "made", "told", "own", "held", "place", "given", "read", "taken", "seen", "shown",
    "whole", "wanted", "drawn", "tried", "sent", "meant", "gone", "got", "here", "there", "this", "that", "these",
    "those", "them", "it", "its", "some", "such", "which", "who", "whose", "how",
}  # fmt: skip
"""Words that say what part a thing plays in a sentence, not what it is."""


@dataclass(frozen=True)
class Module:
    """One source file: its path below the source folder, its text, its syntax tree."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def lines(self) -> list[str]:
        """The text by line."""
        return self.text.splitlines()

    def at(self, node: ast.expr | ast.stmt | ast.arg, note: str = "") -> str:
        """Where a node stands, as an editor reads it."""
        return f"{self.path}:{node.lineno} {note}".rstrip()


Hits = Iterator[str]


def read_modules(source: Path) -> list[Module]:
    """Every Python file below ``source``."""
    modules = []
    for path in sorted(source.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        modules.append(Module(path.relative_to(source), text, ast.parse(text)))
    return modules


def nodes(modules: Iterable[Module]) -> Iterator[tuple[Module, ast.AST]]:
    """Every node of every module's tree."""
    for module in modules:
        for node in ast.walk(module.tree):
            yield module, node


def total_lines(modules: list[Module]) -> int:
    """All lines."""
    return sum(len(module.lines) for module in modules)


def median_lines(modules: list[Module]) -> float:
    """Lines of the median module."""
    return median(len(module.lines) for module in modules)


def comprehensions(modules: list[Module]) -> Hits:
    """List, set and dict comprehensions and generator expressions."""
    return (module.at(node) for module, node in nodes(modules) if isinstance(node, COMPREHENSIONS))


def nested(modules: list[Module]) -> Hits:
    """Comprehensions that hold another one."""
    for module, node in nodes(modules):
        if isinstance(node, COMPREHENSIONS):
            inside = set(ast.walk(node)) - {node}
            if any(isinstance(other, COMPREHENSIONS) for other in inside):
                yield module.at(node)


def comments(modules: list[Module]) -> Hits:
    """Comments for readers; those for a tool do not count."""
    for module in modules:
        for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
            if token.type == tokenize.COMMENT and not DIRECTIVE.match(token.string):
                yield f"{module.path}:{token.start[0]}"


def any_types(modules: list[Module]) -> Hits:
    """Uses of ``Any``."""
    return (
        module.at(node)
        for module, node in nodes(modules)
        if isinstance(node, ast.Name) and node.id == "Any"
    )


def any_dicts(modules: list[Module]) -> Hits:
    """Uses of ``dict[str, Any]``."""
    for module, node in nodes(modules):
        if isinstance(node, ast.Subscript) and ast.unparse(node) == "dict[str, Any]":
            yield module.at(node)


def grammar_words(modules: list[Module]) -> Hits:
    """Variables, fields and parameters named by a `GRAMMAR_WORDS`; ``place: Place`` names a thing."""
    for module in modules:
        nouns = {id(name) for name in _annotated_as_themselves(module.tree)}
        for node in ast.walk(module.tree):
            name = _bound_name(node)
            if name in GRAMMAR_WORDS and id(node) not in nouns:
                yield module.at(node, name)  # pyright: ignore[reportArgumentType] - a Name or an arg


def _bound_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.arg):
        return node.arg
    return node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else None


def _annotated_as_themselves(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        target = node.target if isinstance(node, ast.AnnAssign) else node
        annotation = getattr(node, "annotation", None)
        name = _bound_name(target)
        if name and annotation is not None and name.title() in ast.unparse(annotation):
            yield target


def _top_level(module: Module) -> Iterator[tuple[ast.stmt, str]]:
    for node in module.tree.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield node, node.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    yield node, target.id


def private_names(modules: list[Module]) -> Hits:
    """Private names that several modules define."""
    homes: dict[str, list[str]] = defaultdict(list)
    for module in modules:
        for name in {name for _, name in _top_level(module) if re.match(r"_[^_]", name)}:
            homes[name].append(str(module.path))
    return (
        f"{name}: {', '.join(paths)}" for name, paths in sorted(homes.items()) if len(paths) > 1
    )


def public_names(modules: list[Module]) -> Hits:
    """Public classes and functions that several modules define."""
    homes: dict[str, list[str]] = defaultdict(list)
    for module in modules:
        for node, name in _top_level(module):
            if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not name.startswith("_"):
                homes[name].append(str(module.path))
    return (
        f"{name}: {', '.join(paths)}"
        for name, paths in sorted(homes.items())
        if len(set(paths)) > 1
    )


def long_modules(modules: list[Module]) -> Hits:
    """Modules of more than 190 lines."""
    return (f"{module.path} {len(module.lines)}" for module in modules if len(module.lines) > 190)


def long_functions(modules: list[Module]) -> Hits:
    """Functions of more than 60 lines."""
    for module, node in nodes(modules):
        if (
            isinstance(node, FUNCTIONS)
            and node.end_lineno is not None
            and node.end_lineno - node.lineno >= 60
        ):
            yield module.at(node, node.name)


def long_lines(modules: list[Module]) -> Hits:
    """Lines of more than 100 characters."""
    for module in modules:
        for number, line in enumerate(module.lines, start=1):
            if len(line) > 100:
                yield f"{module.path}:{number}"


def similar_modules(modules: list[Module]) -> Hits:
    """Modules or packages whose names differ in one letter: in one package, or by the last letter
    anywhere.

    A package's own noun (``tasks/task.py``) may, and so may the verbs in ``cli``, which are named
    as they are typed.
    """
    paths: dict[str, list[Path]] = defaultdict(list)
    for module in modules:
        path = module.path.parent if module.path.stem == "__init__" else module.path.with_suffix("")
        if path.parent.name != "cli":
            paths[path.name].append(path)
    for first, second in combinations(sorted(paths), 2):
        if _one_letter_apart(first, second):
            for one, other in product(paths[first], paths[second]):
                related = one.parent == other.parent or second.startswith(first)
                if related and one not in other.parents and other not in one.parents:
                    yield f"{one} / {other}"


def _one_letter_apart(first: str, second: str) -> bool:
    short, long = sorted((first, second), key=len)
    if len(long) - len(short) > 1 or len(short) < 3:
        return False
    pairs = enumerate(zip(short, long, strict=False))
    same = next((n for n, (one, other) in pairs if one != other), len(short))
    return short[same + (len(short) == len(long)) :] == long[same + 1 :]


def empty_docstrings(modules: list[Module]) -> Hits:
    """Packages whose docstring has fewer than five words."""
    for module in modules:
        docstring = ast.get_docstring(module.tree) or ""
        if module.path.stem == "__init__" and len(docstring.split()) < 5:
            yield str(module.path)
