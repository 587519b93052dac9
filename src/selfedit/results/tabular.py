"""A table of numbers: its columns or rows say how numbers are shown, never what is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from selfedit.errors import FormatError

Form = Literal["plain", "percent", "points", "number0", "number1", "number2", "number3", "signed1"]
"""How a number is shown: as it is; a share in percent; a difference of shares in points with its
sign; with so many decimals; with one decimal and its sign.
"""
Number = float | int | None
Cell = str | Number | tuple[Number, Number]
"""Text, a number (None is not known), or a mean with its standard error."""

_SPEC: dict[Form, tuple[float, str]] = {
    "percent": (100, ".1f"),
    "points": (100, "+.1f"),
    "number0": (1, ".0f"),
    "number1": (1, ".1f"),
    "number2": (1, ".2f"),
    "number3": (1, ".3f"),
    "signed1": (1, "+.1f"),
}
UNKNOWN = "?"


@dataclass(frozen=True)
class Column:
    """A column's head, and how its numbers are shown."""

    name: str
    form: Form = "plain"


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: may be empty.
        columns: the first one names the rows.
        rows: cells, as many as columns.
        row_forms: where a table's rows are of different kinds, how each one's numbers are shown;
            else empty.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    row_forms: tuple[Form, ...] = field(default=())

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"a row of {self.title!r} has not {len(self.columns)} cells")
        if self.row_forms and len(self.row_forms) != len(self.rows):
            raise ValueError(
                f"{self.title!r} has {len(self.rows)} rows, {len(self.row_forms)} forms"
            )

    @classmethod
    def make(
        cls,
        title: str,
        columns: Sequence[Column | str],
        rows: Sequence[Sequence[Cell]],
        row_forms: Sequence[Form] = (),
    ) -> Table:
        """A table from lists; a bare name is a column of text or whole numbers."""
        heads = tuple(Column(column) if isinstance(column, str) else column for column in columns)
        return cls(title, heads, tuple(tuple(row) for row in rows), tuple(row_forms))

    def shown(self) -> list[list[str]]:
        """Every row as text."""
        lines: list[list[str]] = []
        for number, row in enumerate(self.rows):
            forms: list[Form] = [column.form for column in self.columns]
            if self.row_forms:
                forms = [self.row_forms[number]] * len(row)
            lines.append([show_cell(cell, form) for cell, form in zip(row, forms, strict=True)])
        return lines

    def flush_right(self) -> list[bool]:
        """Which columns stand flush right: those after the first, but for those that hold words."""
        worded = [any(map(_is_worded, cells)) for cells in zip(*self.rows, strict=True)]
        return [False, *(not each for each in worded[1:] or [False] * (len(self.columns) - 1))]

    def as_dict(self) -> dict[str, Any]:
        """As results.json keeps it."""
        stored: dict[str, Any] = {
            "title": self.title,
            "columns": [{"name": column.name, "form": column.form} for column in self.columns],
            "rows": [list(map(_stored_cell, row)) for row in self.rows],
        }
        return stored | ({"row_forms": list(self.row_forms)} if self.row_forms else {})

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Table:
        """A table as `as_dict` gives it.

        Raises:
            FormatError: it is none.
        """
        try:
            columns = tuple(_column(column) for column in stored["columns"])
            rows = tuple(tuple(map(_cell, row)) for row in stored["rows"])
            forms: list[Form] = [_stored_form(form) for form in stored.get("row_forms", ())]
            return cls(str(stored["title"]), columns, rows, tuple(forms))
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(
                f"this is not a table of results: {error}", where="results.json"
            ) from error


def _is_worded(cell: Cell) -> bool:
    """Whether it is several words; a number may have its unit behind it."""
    return isinstance(cell, str) and cell[:1].isalpha() and " " in cell.strip()


def show_cell(cell: Cell, form: Form) -> str:
    """A cell as a person reads it; a mean with its standard error after it."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, tuple):
        mean, error = cell
        return (
            f"{show_cell(mean, form)} ({show_cell(error, 'percent' if form == 'points' else form)})"
        )
    if cell is None:
        return UNKNOWN
    if form == "plain":
        return str(cell)
    scale, spec = _SPEC[form]
    return f"{scale * cell:{spec}}"


def _column(stored: object) -> Column:
    if isinstance(stored, str):
        return Column(stored)
    named = cast("Mapping[str, Any]", stored)
    return Column(str(named["name"]), _stored_form(named["form"]))


def _stored_form(stored: object) -> Form:
    if stored != "plain" and stored not in _SPEC:
        raise ValueError(f"there is no form {stored!r}")
    return cast("Form", stored)


def _cell(stored: object) -> Cell:
    if isinstance(stored, list):
        mean, error = map(_stored_number, cast("list[object]", stored))
        return mean, error
    return stored if isinstance(stored, str) else _stored_number(stored)


def _stored_number(stored: object) -> Number:
    if stored is None or isinstance(stored, int | float):
        return stored
    raise TypeError(f"{stored!r} is no cell")


def _stored_cell(cell: Cell) -> object:
    """JSON has no tuples: a value with its error is a list there."""
    return list(cell) if isinstance(cell, tuple) else cell
