"""SQLite tables made from frozen dataclasses: one column a field.

SQLite has no NaN: a NaN in a ``float`` column reads back as NaN, in a ``float | None`` column as None.
"""

from __future__ import annotations

import operator
from dataclasses import fields
from types import NoneType
from typing import Any, Generic, NamedTuple, TypeVar, get_args, get_type_hints

R = TypeVar("R")
"""A table's row, a frozen dataclass."""

_SQL_TYPES = {int: "INTEGER", bool: "INTEGER", float: "REAL", str: "TEXT"}


class Column(NamedTuple):
    """A column: its name, the Python type of its values, whether None is one of them."""

    name: str
    type: type
    optional: bool

    @property
    def declaration(self) -> str:
        """How CREATE TABLE spells it; a float's NULL is its NaN."""
        required = "" if self.optional or self.type is float else " NOT NULL"
        check = f" CHECK ({self.name} IN (0, 1))" if self.type is bool else ""
        return f"{self.name} {_SQL_TYPES[self.type]}{required}{check}"

    @property
    def placeholder(self) -> str:
        """How a statement takes a value: text travels as bytes (see `encode`)."""
        return "CAST(? AS TEXT)" if self.type is str else "?"

    def encode(self, value: Any) -> Any:
        """A Python value as SQLite takes it.

        Text goes as UTF-8 bytes with lone surrogates let through, since a model's text may hold them and Python's
        ``sqlite3`` refuses them; NUL characters are stored as they are. NumPy integers become Python's: ``sqlite3``
        would silently store them as blobs.
        """
        if value is None:
            return None
        if self.type is str:
            return value.encode("utf-8", "surrogatepass")
        if self.type is float:
            return float(value)
        return int(bool(value)) if self.type is bool else operator.index(value)

    def decode(self, value: Any) -> Any:
        """The Python value that `encode` was given."""
        if value is None:
            return float("nan") if self.type is float and not self.optional else None
        return bool(value) if self.type is bool else value


class Table(Generic[R]):
    """A table's name, its key, and the statements made from its row's dataclass."""

    def __init__(self, row: type[R], name: str, key: tuple[str, ...]) -> None:
        self.row = row
        self.name = name
        self.key = key
        self.columns = columns(row)
        names = ", ".join(column.name for column in self.columns)
        declarations = ", ".join(column.declaration for column in self.columns)
        self.create = f"CREATE TABLE {name} ({declarations}, PRIMARY KEY ({', '.join(key)}))"
        self.insert = f"INSERT INTO {name} ({names}) VALUES ({', '.join(c.placeholder for c in self.columns)})"
        self.select = f"SELECT {names} FROM {name}"
        self.order = f" ORDER BY {', '.join(key)}"

    def encode(self, row: R) -> list[Any]:
        """A row's values for `insert`."""
        return [column.encode(getattr(row, column.name)) for column in self.columns]

    def decode(self, values: tuple[Any, ...]) -> R:
        """The row that `select` gave these values for."""
        return self.row(**{c.name: c.decode(value) for c, value in zip(self.columns, values, strict=True)})


def columns(row: type) -> tuple[Column, ...]:
    """The columns of a row's dataclass, in its order."""
    hints = get_type_hints(row)
    return tuple(_column(field.name, hints[field.name]) for field in fields(row))


def _column(name: str, hint: Any) -> Column:
    options = [option for option in get_args(hint) or (hint,) if option is not NoneType]
    return Column(name, options[0], optional=NoneType in get_args(hint))
