"""What a request asks for, read from its query: bounded numbers and known words only."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import QueryParams

from selfedit.serving.failures import Failure
from selfedit.view.index_tables import SHARE

_MOST_TEXT = 100_000
Number = Annotated[int, Field(ge=0, le=2**31)]
Q = TypeVar("Q", bound=BaseModel)


class Filters(BaseModel):
    """Which self-edits: those for which all that is not None holds.

    Attributes:
        stage, context: a place and a context, by their numbers in the index.
        kept, cut: whether it was kept; whether the token limit cut it off.
        least, most: of its reward, or of the share of answers right where there is none.
        q: what its text or its context's id holds; ASCII letters large or small.
        sort: their order.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    stage: Number | None = Field(None, alias="place")
    context: Number | None = None
    kept: bool | None = None
    cut: bool | None = None
    least: float | None = None
    most: float | None = None
    q: str = Field("", max_length=_MOST_TEXT)
    sort: Literal["ledger", "best", "worst", "longest", "loss"] = "ledger"

    def sql(self) -> tuple[str, tuple[object, ...]]:
        """The condition and its values."""
        # Where there is no reward, held-out self-edits say, the share right is what they are worth.
        worth = f"ifnull(e.reward, {SHARE})"
        parts: list[tuple[str, object]] = [
            ("e.place = ?", self.stage),
            ("e.context = ?", self.context),
            ("ifnull(e.kept, 0) = ?", None if self.kept is None else int(self.kept)),
            ("e.cut = ?", None if self.cut is None else int(self.cut)),
            (f"{worth} >= ?", self.least),
            (f"{worth} <= ?", self.most),
        ]
        used = [(part, value) for part, value in parts if value is not None]
        values = tuple(value for _, value in used)
        conditions = [part for part, _ in used]
        if self.q:
            # Bytes: Python's sqlite3 refuses half characters in text.
            word = self.q.encode("utf-8", "surrogatepass")
            conditions.append(
                "(instr(t.lowered, lower(CAST(? AS TEXT))) OR e.context IN (SELECT id FROM"
                " view_contexts WHERE instr(lower(name), lower(CAST(? AS TEXT)))))"
            )
            values += (word, word)
        return " AND ".join(conditions) or "1", values


class Page(BaseModel):
    """Which part of a list, and which self-edit is looked for in it."""

    offset: Number = 0
    count: int = Field(50, ge=1, le=200)
    find: Number | None = None


class Chosen(BaseModel):
    """A context, some self-edits, or a method of comparison, by what the page calls them."""

    context: Number = 0
    ids: Annotated[str, Field(pattern=r"^(\d{1,10}(,\d{1,10}){0,23})?$")] = ""
    method: str = ""


def read_query(kind: type[Q], query: QueryParams) -> Q:
    """A request's query as a model of its fields; other fields are another's.

    Raises:
        Failure: a field is not what it has to be.
    """
    try:
        return kind.model_validate({name: value for name, value in query.items() if value})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        # Only names of fields of ours are repeated, never what was sent.
        name = str(first["loc"][0])
        raise Failure(400, f"{name}: {first['msg']}", param=name, code="invalid_value") from None
