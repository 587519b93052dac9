"""Results come back as they were written; a table is shown alike everywhere; numbers stay numbers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfedit.errors import FormatError
from selfedit.results.layout import main_tables, more_tables
from selfedit.results.render import as_html, as_markdown, as_text
from selfedit.results.results import Difference, Published, Reference, Results, Row
from selfedit.results.tabular import Column, Table, show_cell
from selfedit.storage.files import canonical_json

TABLE = Table.make(
    "What changed",
    ["", Column("share %", "percent"), Column("mean (se)", "number2"), "n"],
    [["on|<b>", 0.125, (1.5, None), 3], ["off", None, (0.25, 0.125), 12]],
)
RESULTS = Results(
    experiment="knowledge",
    title="Held-out things",
    names={"own": "its own"},
    rows=[Row("base", 0.25, 0.125, 4, {"trials": 4}), Row("own", 0.5, None, 4, {"trials": 8})],
    paired=[Difference("own", "base", 0.25, 0.0625, 4, (0.5, 0.0), 0.25)],
    tables=[TABLE],
    notes=["a note"],
    published=Published(
        "a paper",
        {"base": Reference(0.327, 0.019, 200)},
        {("base", "own"): Reference(0.1, None, 9)},
    ),
    contexts={"base": {"x": 0.25}, "own": {"x": 0.5}},
    model={"name": "m", "fingerprint": "f"},
    grader="exact",
    data={"train": "hash"},
    settings={"seed": 3},
    runs=2,
    seeds=[3, 4],
    more={"rounds": [], "self_edits": [{"policy": "own", "n": 2, "tokens": 10.0}]},
)


def test_results_come_back_as_they_were_written() -> None:
    assert Results.read(json.loads(canonical_json(RESULTS.as_dict()))) == RESULTS


def test_no_cell_that_is_written_is_a_formatted_number() -> None:
    stored = json.loads(canonical_json(RESULTS.as_dict()))["tables"][0]
    assert stored["rows"] == [["on|<b>", 0.125, [1.5, None], 3], ["off", None, [0.25, 0.125], 12]]
    assert stored["columns"][1] == {"name": "share %", "form": "percent"}


def test_the_same_cells_everywhere() -> None:
    cells = ["12.5", "1.50 (?)", "0.25 (0.12)", "12", "?"]
    for drawn in (as_text(TABLE), as_markdown(TABLE), as_html(TABLE)):
        assert all(cell in drawn for cell in cells)
    assert "| on\\|&lt;b> | 12.5 | 1.50 (?) | 3 |" in as_markdown(TABLE)
    assert "<td>on|&lt;b&gt;</td>" in as_html(TABLE) and "<h2>What changed</h2>" in as_html(TABLE)
    assert as_text(TABLE).splitlines()[-1] == "off           ?  0.25 (0.12)  12"


def test_rows_differences_and_published_numbers_side_by_side() -> None:
    rows, paired = main_tables(RESULTS)
    assert rows.shown()[0] == [
        "base: the model as it is",
        "25.0",
        "12.5",
        "4",
        "32.7",
        "1.9",
        "200",
        "4",
    ]
    assert rows.shown()[1] == ["its own", "50.0", "?", "4", "", "", "", "8"]
    # With one error alone, 25 / 6.25 is Student's 4 with 3 degrees of freedom: p = 0.028, and the
    # interval is ± 3.182 errors.
    both = ["6.2", "+5.1 to +44.9", "0.028"]
    assert paired.shown() == [
        ["own − base", "+25.0", "6.2", "4", "+10.0", "", "9", "+50.0, +0.0", "25.0", *both]
    ]
    assert [table.title for table in more_tables(RESULTS)] == [
        "What changed",
        "What self-edits look like",
    ]


def test_rows_of_different_kinds_have_their_own_form() -> None:
    mixed = Table.make("", ["", "before"], [["n", 3], ["valid %", 0.5]], ["plain", "percent"])
    assert mixed.shown() == [["n", "3"], ["valid %", "50.0"]]
    assert Table.read(json.loads(json.dumps(mixed.as_dict()))) == mixed


@given(st.text(), st.text())
def test_no_text_steers_a_terminal_or_leaves_its_cell(name: str, cell: str) -> None:
    table = Table.make("", ["", "x"], [[cell, name]])
    assert len(as_text(table).split("\n")) == 3 and "\x1b" not in as_text(table)
    line = as_markdown(table).split("\n")[-1]
    assert line.replace("\\|", "").count("|") == 3 and len(as_markdown(table).split("\n")) == 3


@pytest.mark.parametrize(
    "stored",
    [
        {"title": "x", "columns": ["a"], "rows": [["b", "c"]]},
        {"title": "x", "columns": [{"name": "a", "form": "magic"}], "rows": []},
        {"title": "x", "columns": ["a"], "rows": [[{}]]},
        {"columns": [], "rows": []},
    ],
)
def test_what_is_no_table_is_refused(stored) -> None:
    with pytest.raises(FormatError, match="not a table"):
        Table.read(stored)


def test_what_is_not_known_says_so() -> None:
    assert show_cell(None, "percent") == "?" and show_cell((None, None), "number2") == "? (?)"
    assert show_cell(0.0712, "points") == "+7.1" and show_cell(3, "plain") == "3"


def test_columns_of_numbers_are_flush_right_and_those_of_words_are_not() -> None:
    rows = [["a", "Ada Venn", 12, "3 min 2 s"], ["b", "", None, "?"]]
    table = Table.make("", ["row", "answer", "n", "took"], rows)
    assert as_markdown(table).split("\n")[1] == "| --- | --- | ---: | ---: |"
    assert as_text(table).split("\n")[2:] == [
        "a    Ada Venn  12  3 min 2 s",
        "b               ?          ?",
    ]
    assert as_markdown(Table.make("", ["x", "y"], [])).split("\n")[1] == "| --- | ---: |"
