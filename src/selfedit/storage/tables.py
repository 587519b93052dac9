"""SQLite tables made from frozen dataclasses: a column a field.

A field that is a `Flat` dataclass gives the table its own columns (an address, say). A field that
is another dataclass, or a tuple of them, is one column of JSON, so that a record and its parts are
stored as one row and come back as they were.

SQLite has no NaN: a NaN in a ``float`` column reads back as NaN, in a ``float | None`` column as
None.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

R = TypeVar("R")
"""A table's row, a frozen dataclass."""

_SQL_TYPES = {int: "INTEGER", bool: "INTEGER", float: "REAL", str: "TEXT"}


class Flat:
    """A dataclass whose fields are columns of every table whose row holds one."""

    __slots__ = ()


@dataclass(frozen=True)
class RecordColumn:
    """A column: where its value is in a row, its values' type, whether None is one of them."""

    path: tuple[str, ...]
    type: type
    optional: bool
    many: bool = False

    @property
    def name(self) -> str:
        """The column's name in SQL."""
        return self.path[-1]

    @property
    def is_json(self) -> bool:
        """Whether the column holds records."""
        return is_dataclass(self.type)

    @property
    def is_text(self) -> bool:
        """Whether SQLite stores text."""
        return self.is_json or issubclass(self.type, str)

    @property
    def declaration(self) -> str:
        """How CREATE TABLE spells it; a float's NULL is its NaN."""
        required = "" if self.optional or self.type is float else " NOT NULL"
        check = f" CHECK ({self.name} IN (0, 1))" if self.type is bool else ""
        return f"{self.name} {'TEXT' if self.is_text else _SQL_TYPES[self.type]}{required}{check}"

    @property
    def placeholder(self) -> str:
        """How a statement takes a value: text travels as bytes (see `encode`)."""
        return "CAST(? AS TEXT)" if self.is_text else "?"

    def encode(self, value: Any) -> Any:
        """A Python value as SQLite takes it.

        Text goes as UTF-8 bytes with lone surrogates let through, since a model's text may hold
        them and Python's ``sqlite3`` refuses them; NUL characters are stored as they are. NumPy
        integers become Python's: ``sqlite3`` would silently store them as blobs.
        """
        if value is None:
            return None
        if self.is_json:
            parts = [_plain(part) for part in value] if self.many else _plain(value)
            return json.dumps(parts).encode()
        return value.encode("utf-8", "surrogatepass") if self.is_text else self.number(value)

    def number(self, value: Any) -> Any:
        """A number as Python's own.

        Raises:
            TypeError: it is no number of the column's type.
        """
        if self.type is float:
            return float(value)
        return int(bool(value)) if self.type is bool else operator.index(value)

    def decode(self, value: Any) -> Any:
        """The Python value that `encode` was given."""
        if value is None:
            return float("nan") if self.type is float and not self.optional else None
        if self.is_json:
            parts = json.loads(value)
            return tuple(self.type(**part) for part in parts) if self.many else self.type(**parts)
        if issubclass(self.type, StrEnum):
            return self.type(value)
        return bool(value) if self.type is bool else value


class RecordTable(Generic[R]):
    """A table's name, its key, and the statements made from its row's dataclass.

    Args:
        row: the dataclass.
        name: the table's.
        key: the columns that name a row.
        rewritten: rows are changed in place; the rows of other tables stay as they were stored.
    """

    def __init__(
        self, row: type[R], name: str, key: tuple[str, ...], *, rewritten: bool = False
    ) -> None:
        self.row = row
        self.name = name
        self.key = key
        self.rewritten = rewritten
        self.columns = columns(row)
        names = ", ".join(column.name for column in self.columns)
        declarations = ", ".join(column.declaration for column in self.columns)
        optional = [column.name for column in self.columns if column.optional]
        # A primary key would let two rows differ in a NULL alone: to SQL, NULL is equal to nothing.
        nullable_key = any(name in optional for name in key)
        primary = "" if nullable_key else f", PRIMARY KEY ({', '.join(key)})"
        unique = ", ".join(f"ifnull({name}, '')" if name in optional else name for name in key)
        self.create = [f"CREATE TABLE IF NOT EXISTS {name} ({declarations}{primary})"]
        if nullable_key:
            self.create.append(f"CREATE UNIQUE INDEX IF NOT EXISTS {name}_key ON {name} ({unique})")
        self.insert = (
            f"INSERT INTO {name} ({names}) VALUES"
            f" ({', '.join(c.placeholder for c in self.columns)})"
        )
        self.select = f"SELECT {names} FROM {name}"
        self.order = f" ORDER BY {', '.join(key)}"

    def encode(self, row: R) -> list[Any]:
        """A row's values for `insert`."""
        return [
            column.encode(operator.attrgetter(".".join(column.path))(row))
            for column in self.columns
        ]

    def decode(self, values: tuple[Any, ...]) -> R:
        """The row that `select` gave these values for."""
        decoded = {c.path: c.decode(value) for c, value in zip(self.columns, values, strict=True)}
        return _record(self.row, decoded, ())


@cache  # the hints of a dataclass are looked up by name each time: a hundred times a row's own work
def columns(row: type, path: tuple[str, ...] = ()) -> tuple[RecordColumn, ...]:
    """The columns of a row's dataclass, in its order."""
    return tuple(_columns(row, path))


def _columns(row: type, path: tuple[str, ...]) -> Iterator[RecordColumn]:
    hints = get_type_hints(row)
    for field in fields(row):
        hint, field_path = hints[field.name], (*path, field.name)
        if _is_flat(hint):
            yield from _columns(hint, field_path)
        elif get_origin(hint) is tuple:
            yield RecordColumn(field_path, get_args(hint)[0], optional=False, many=True)
        else:
            options = [option for option in get_args(hint) or (hint,) if option is not NoneType]
            yield RecordColumn(field_path, options[0], optional=NoneType in get_args(hint))


def _record(row: type[R], values: dict[tuple[str, ...], Any], path: tuple[str, ...]) -> R:
    """A dataclass from its columns' values, the flat ones within it first."""
    parts = {
        name: values[*path, name] if flat is None else _record(flat, values, (*path, name))
        for name, flat in _parts(row)
    }
    return row(**parts)


@cache
def _parts(row: type) -> tuple[tuple[str, type | None], ...]:
    """The fields of a row's dataclass, and of those that are flat records of which kind."""
    hints = get_type_hints(row)
    names = [field.name for field in fields(row)]
    return tuple((name, hints[name] if _is_flat(hints[name]) else None) for name in names)


def _is_flat(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Flat)


def _plain(record: Any) -> dict[str, Any]:
    """A record's fields as JSON takes them, each of its column's type; text as it is."""
    values: dict[str, Any] = {}
    for column in columns(type(record)):
        value = getattr(record, column.name)
        if value is not None and not column.is_text:
            value = bool(value) if column.type is bool else column.number(value)
        missing = column.optional and isinstance(value, float) and math.isnan(value)
        values[column.name] = None if missing else value
    return values
