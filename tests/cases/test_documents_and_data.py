"""Documents and data as other people write them: nothing lost in silence, nothing read in time of
the square.
"""

from __future__ import annotations

import json
import os
import time
import unicodedata
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import regex

from selfedit.config import read_settings
from selfedit.errors import DataError, FormatError
from selfedit.tasks.arc.dataset import load_tasks
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.documents import split_document
from selfedit.tasks.knowledge.edits import parse_edit
from selfedit.tasks.knowledge.units import cut_sentences, word_count

VELL = "The harbour of Vell has nine piers. Its bell is called Tam."
ROWS = [
    {
        "id": name,
        "title": "Vell",
        "context": VELL,
        "question": question,
        "answers": {"text": [gold], "answer_start": [0]},
    }
    for name, question, gold in (("q1", "How many?", "nine"), ("q2", "Its bell?", "Tam"))
]
ASKED = [("q1", "How many?", ("nine",)), ("q2", "Its bell?", ("Tam",))]


def text_of(markdown: str) -> str:
    """Every word of a Markdown document's passages and their titles."""
    return "\n".join(
        f"{p.title}\n{p.text}" for p in split_document(markdown, title="file", markdown=True)
    )


def asked(path: Path) -> list[tuple[str, str, tuple[str, ...]]]:
    (context,) = load_contexts(path)
    assert (context.title, context.text) == ("Vell", VELL)
    return [(question.id, question.text, question.answers) for question in context.questions]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_rows_of_the_datasets_library(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("\n".join(map(json.dumps, ROWS)) + "\n")
    assert asked(tmp_path / name) == ASKED


def test_rows_as_one_list(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    assert asked(tmp_path / "rows.json") == ASKED


def test_rows_in_any_order_are_one_passage(tmp_path: Path) -> None:
    other = ROWS[0] | {"id": "o", "context": "Another passage."}
    (tmp_path / "rows.json").write_text(json.dumps([ROWS[0], other, ROWS[1]]))
    contexts = load_contexts(tmp_path / "rows.json")
    assert [[each.id for each in context.questions] for context in contexts] == [
        ["q1", "q2"],
        ["o"],
    ]


def test_rows_without_an_answer_as_the_datasets_library_has_squad_2(tmp_path: Path) -> None:
    unanswerable = ROWS[0] | {"id": "u", "answers": {"text": [], "answer_start": []}}
    (tmp_path / "rows.json").write_text(json.dumps([unanswerable, *ROWS]))
    assert asked(tmp_path / "rows.json") == ASKED


@pytest.mark.parametrize("empty", [[], None])
def test_a_question_that_cannot_be_answered_has_no_answers(tmp_path: Path, empty: Any) -> None:
    impossible = {"question": "Who?", "is_impossible": True, "answers": empty}
    questions = [impossible, {"id": "q1", "question": "How many?", "answer": "nine"}]
    record = {"title": "Vell", "context": VELL, "qas": questions}
    (tmp_path / "n.json").write_text(json.dumps(record))
    assert asked(tmp_path / "n.json") == ASKED[:1]


@pytest.mark.parametrize("empty", [[], None])
def test_an_answer_beside_empty_answers(tmp_path: Path, empty: Any) -> None:
    questions = [{"id": "q1", "question": "How many?", "answers": empty, "answer": "nine"}]
    record = {"title": "Vell", "context": VELL, "questions": questions}
    (tmp_path / "n.json").write_text(json.dumps(record))
    assert asked(tmp_path / "n.json") == ASKED[:1]


@pytest.mark.parametrize("further", ["qas", "QA", "questions_2", "paragraphs", "answers"], ids=str)
def test_data_beside_the_questions_is_named(tmp_path: Path, further: str) -> None:
    record = {"title": "Vell", "context": VELL, "questions": [], further: [{"question": "x"}]}
    (tmp_path / "x.json").write_text(json.dumps([record]))
    with pytest.raises(FormatError, match=f"not read: '{further}'"):
        load_contexts(tmp_path / "x.json")


@pytest.mark.parametrize("name", ["twice.json", "twice.jsonl"])
def test_a_field_given_twice_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"title": "Vell", "context": "a b", "context": "c d"}\n')
    with pytest.raises(FormatError, match="'context' is given twice"):
        load_contexts(tmp_path / name)


def test_answers_as_a_table_in_nested_files(tmp_path: Path) -> None:
    questions = [{name: row[name] for name in ("id", "question", "answers")} for row in ROWS]
    nested = {"data": [{"title": "Vell", "paragraphs": [{"context": VELL, "qas": questions}]}]}
    (tmp_path / "nested.json").write_text(json.dumps(nested))
    assert asked(tmp_path / "nested.json") == ASKED


@pytest.mark.parametrize(
    ("answer", "text"), [(1412, "1412"), ([1412, "then"], "1412"), (3.5, "3.5")]
)
def test_a_number_is_its_text(tmp_path: Path, answer: Any, text: str) -> None:
    record = {
        "title": "Vell",
        "context": "Built in 1412.",
        "questions": [{"question": "When?", "answer": answer}],
    }
    (tmp_path / "n.json").write_text(json.dumps([record]))
    assert load_contexts(tmp_path / "n.json")[0].questions[0].answers[0] == text


@pytest.mark.parametrize(
    "field", ["QuestionList", "qa", "answers", "paragraphs", "question_answer_pairs"]
)
def test_an_unknown_field_that_looks_like_data_is_named(tmp_path: Path, field: str) -> None:
    (tmp_path / "x.json").write_text(json.dumps([{"title": "Vell", "context": VELL, field: []}]))
    with pytest.raises(FormatError) as caught:
        load_contexts(tmp_path / "x.json")
    assert field in str(caught.value)


@pytest.mark.parametrize(
    "matter",
    [
        "---\ntitle: Vell\nid: 88123\n...\n",
        "---\n# for the site\ntitle: Vell\nid: 88123\n---\n",
        "---\ntitle: Vell\ntags:\n  - 88123\n- x\nlong: >\n  several\n\n  lines\n---\n",
        "+++\ntitle = 'Vell'\n[params]\nid = 88123\n+++\n",
        "---\nlast modified: 88123\ntitle: Vell\n---\n",
        "---\ndate created: 88123\ndate modified: 88123\n---\n",
        "---\nog:title: 88123\n$schema: 88123\nog/id: 88123\n---\n",
        "\n---\nid: 88123\n---\n",
        "\ufeff---\nid: 88123\n---\n",
        '+++\ntags = [\n\'88123\',\n]\n"a b".c = 1\nd = """\n88123\n"""\n+++\n',
    ],
)
def test_front_matter_is_not_read_and_nothing_else_is_lost(matter: str) -> None:
    text = text_of(f"{matter}\nThe harbour has nine piers.\n\n---\n\nThe bell is called Tam.\n")
    assert "88123" not in text and "for the site" not in text
    assert "nine piers" in text and "called Tam" in text


@pytest.mark.parametrize(
    "start",
    [
        "---\nNote: the harbour is old.\n\nIt was built in 1412.\n---\n",
        "---\nThe first: part\nof a paragraph goes on.\n---\n",
        "---\n\nBuilt in 1412.\n\n---\n",
        "---\nNote: no end, 1412\n",
        "---\nThe keeper said: nine is enough\n---\n",
        "---\nThe keeper: old.\nThe bell: older.\n---\n",
        "+++\nnine = piers\n+++\n",
    ],
)
def test_what_only_looks_like_front_matter_stays(start: str) -> None:
    text = text_of(f"{start}\nThe bell is called Tam.\n")
    assert "called Tam" in text
    assert all(word in text for word in start.replace("-", " ").replace("#", " ").split())


@pytest.mark.parametrize(
    "words",
    [
        "Set the key <harbour-name> before you call.",
        "A Map<String> of piers, a List<List<int>> of bells",
        "where x<y and z>w holds",
        'the option "<Use this pier>" stays off',
        "<name>\n\ntext under it",
        "<title-page>in a block of its own</title-page>",
        "a <b> c and d<b and e>f",
        "Press <menu>, then <select> and <time>",
    ],
)
def test_words_in_angle_brackets_stay(words: str) -> None:
    plain = text_of(words)
    assert [w for w in words.replace("<b>", "").split() if w not in plain] == []


def test_tags_of_html_go() -> None:
    text = text_of(
        'a <b>bold</b> <a href="x">link</a> <input disabled> b\n\n<div class="x">\nin a'
        " block\n</div>\n"
    )
    assert "<" not in text and "class" not in text and "in a block" in text and "bold" in text


def test_footnotes_and_notes_of_one_word_stay() -> None:
    text = text_of(
        "Built by the master[^1].\n\n[^1]: Mirane\n\n[Keeper]: Tolwen\n\n[site]:"
        " http://example.org/x\n\nOld.\n"
    )
    assert "Mirane" in text and "Tolwen" in text and "example.org" not in text and "Old." in text


@pytest.mark.parametrize(
    "note",
    [
        "Nine.",
        "3.50",
        "12/5/1412",
        "3:1",
        "#1",
        "why?",
        "<Pier>",
        "<nine piers>",
        "tolwen@vell",
        'e.g. "nine piers"',
        "Tolwen. (nine piers)",
    ],
)
def test_a_note_of_one_word_is_no_link(note: str) -> None:
    assert note.strip("<>") in text_of(f"See the [keeper note].\n\n[keeper note]: {note}\n\nOld.\n")


@pytest.mark.parametrize(
    "target", ["http://a.example", "mailto:a@b.cd", "/a/b", "./a", "#part-two", "<a b.md>", "a.md"]
)
def test_a_link_is_no_note(target: str) -> None:
    assert text_of(f"The [bell].\n\n[bell]: {target}\n") == "file\nThe bell."


@pytest.mark.parametrize(
    "rows",
    [
        "| a1 | b1 |\n|---|---|\n| c1 | d1 | e1 | f1 |\n",
        "|a1|\n|-|\n|b1|c1|d1\n",
        "| a1 | b1 |\n|---|---|\n| `c1 | d1` | **e1** |\n",
        "> |a1|b1|\n> |-|-|\n> |c1|d1|e1|\n",
        "- a1\n\n  |b1|\n  |-|\n  |c1|d1|\n",
    ],
)
def test_cells_beyond_the_head_of_a_table_stay(rows: str) -> None:
    text = text_of(rows)
    assert all(f"{letter}1" in text for letter in "abcd"), text
    assert "*" not in text and "| |" not in text and not text.endswith("|")


BURMESE = "ဝဲလ်ဆိပ်ကမ်းကိုအော်ဒါမီရာနေကတည်ဆောက်ခဲ့သည်ဆိပ်ကမ်းတွင်တံတားကိုးစင်းရှိသည်"
THAI = "ท่าเรือเวลล์มีท่าเทียบเรือเก้าแห่งและระฆังชื่อตั้ม"
KHMER = "កំពង់ផែវែលមានផែប្រាំបួននិងកណ្ដឹងមួយ"


@pytest.mark.parametrize("text", [BURMESE, THAI, KHMER], ids=["burmese", "thai", "khmer"])
def test_scripts_without_spaces_are_cut_between_letters(text: str) -> None:
    whole = text * 40
    passages = split_document(whole, title="x", markdown=False)
    assert "".join(passage.text for passage in passages) == whole
    assert max(len(passage.text.encode()) for passage in passages) < 1500
    for passage in passages[1:]:
        assert unicodedata.category(passage.text[0])[0] != "M"
    for passage in passages[:-1]:
        assert not passage.text.endswith(("\u1039", "\u17d2"))


@pytest.mark.parametrize(
    "word",
    [
        "e\u0301\u0323",
        "น้ำท่าทำงาน",
        "ນ້ຳຈຳນວນ",
        "वेल्लबन्दरक्षत्रिय",
        "വെൽപ്പാലങ്ങളുണ്ട്ക്ഷേത്രം",
        unicodedata.normalize("NFD", "벨의항구에는부두가"),
        "か\u3099き",
        "\U0001f3f4\U000e0067\U000e0062\U000e007fa",
    ],
)
def test_long_words_are_not_cut_inside_a_letter(word: str) -> None:
    whole = word * 400
    passages = split_document(whole, title="x", markdown=False, max_words=3)
    assert "".join(passage.text for passage in passages) == whole
    cuts = set(accumulate(len(passage.text) for passage in passages))
    assert cuts <= {letter.end() for letter in regex.finditer(r"\X", whole)}


def test_sentences_end_in_other_scripts() -> None:
    assert cut_sentences("एक। दो। तीन") == ["एक। ", "दो। ", "तीन"]
    assert cut_sentences("က။ခ။") == ["က။", "ခ။"]
    assert cut_sentences("ایک۔ دو؟ تین") == ["ایک۔ ", "دو؟ ", "تین"]
    assert cut_sentences("አንድ። ሁለት") == ["አንድ። ", "ሁለት"]
    assert cut_sentences("ក៕ ខ") == ["ក៕ ", "ខ"]
    assert cut_sentences("One... Two?! Three") == ["One... ", "Two?! ", "Three"]
    assert word_count("two words") == 2


def test_a_folder_of_mixed_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, text in {
        "one.md": VELL,
        "todo.md": "",
        "letter.docx": "PK",
        "NOTES": "x",
        "data.json": "[]",
    }.items():
        (tmp_path / name).write_text(text)
    (context,) = load_contexts(tmp_path)
    assert context.text == VELL
    assert all(name in caplog.text for name in ("todo.md", "letter.docx", "NOTES", "data.json"))


def test_a_folder_of_empty_files(tmp_path: Path) -> None:
    (tmp_path / "todo.md").write_text("\n")
    with pytest.raises(DataError, match="empty"):
        load_contexts(tmp_path)


def test_a_name_that_is_latin_1(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.md")).write_text("Nine piers and a bell.\n")
    (context,) = load_contexts(tmp_path)
    assert context.title == "café" and context.id.startswith("cafe-")


@pytest.mark.parametrize("text", [VELL * 8, "a\0b", "x" * 5000])
def test_a_text_where_a_path_is_meant(text: str) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_contexts(text)


def seconds(work: Callable[[int], object], size: int) -> float:
    start = time.process_time()
    work(size)
    return time.process_time() - start


def split(markdown: bool, make: Callable[[int], str]) -> Callable[[int], object]:
    return lambda size: split_document(make(size), title="x", markdown=markdown)


def same_titles(size: int) -> object:
    from selfedit.tasks.knowledge.contexts import contexts_from

    return contexts_from([{"title": "Vell", "context": VELL}] * size, "x")


def repeated_keys(size: int) -> object:
    from selfedit.storage.bounded import json_value

    try:
        return json_value(
            "{" + ", ".join([f'"{n}": 1' for n in range(size)] + ['"0": 1']) + "}", unique=True
        )
    except ValueError:
        return None


GROWTH: dict[str, tuple[Callable[[int], object], int]] = {
    "full stops": (split(False, lambda n: "ab cd. " * 60 + "." * n), 40_000),
    "stops and quotes": (split(False, lambda n: "ab cd. " * 60 + ".'" * n), 40_000),
    "questions": (split(False, lambda n: "ab cd. " + "?!" * n), 40_000),
    "unclosed comments": (split(True, lambda n: "<!-- a\n" * n), 8_000),
    "unclosed scripts": (split(True, lambda n: "ab cd\n\n" + "<script>" * n), 8_000),
    "closed comments": (split(True, lambda n: "ab cd\n\n<div>\n" + "<!-- a -->" * n), 8_000),
    "angle brackets": (split(True, lambda n: "<a" * n), 8_000),
    "contexts without ids": (same_titles, 3_000),
    "repeated keys": (repeated_keys, 30_000),
}


@pytest.mark.parametrize("work, size", GROWTH.values(), ids=GROWTH)
def test_time_grows_with_the_length(work: Callable[[int], object], size: int) -> None:
    work(size // 4)
    small = min(seconds(work, size) for _ in range(2))
    assert (
        min(seconds(work, 4 * size) for _ in range(2)) < 9 * small + 0.02
    )  # the square would be 16 times


PAIRS = [{"input": [[0, 1]], "output": [[1, 0]]}, {"input": [[2, 3]], "output": [[3, 2]]}]
TASK = {"train": PAIRS, "test": [{"input": [[4, 5]], "output": [[5, 4]]}]}
OPEN = {"train": PAIRS, "test": [{"input": [[4, 5]]}]}


@pytest.mark.parametrize("name", ["challenges.json", "arc-agi_training_challenges.json"])
@pytest.mark.parametrize("whole", [True, False])
def test_solutions_beside_the_challenges_are_found(tmp_path: Path, name: str, whole: bool) -> None:
    (tmp_path / name).write_text(json.dumps({"t1": OPEN}))
    (tmp_path / name.replace("challenges", "solutions")).write_text(json.dumps({"t1": [[[5, 4]]]}))
    (task,) = load_tasks(tmp_path if whole else tmp_path / name)
    assert task.solutions is not None and task.solutions[0].tolist() == [[5, 4]]


@pytest.mark.parametrize(
    ("challenges", "solutions"),
    [("Challenges.json", "Solutions.json"), ("arc_challenge.json", "arc_SOLUTION.json")],
)
@pytest.mark.parametrize("whole", [True, False])
def test_solutions_are_found_however_they_are_written(
    tmp_path: Path, challenges: str, solutions: str, whole: bool
) -> None:
    (tmp_path / challenges).write_text(json.dumps({"t1": OPEN}))
    (tmp_path / solutions).write_text(json.dumps({"t1": [[[5, 4]]]}))
    (task,) = load_tasks(tmp_path if whole else tmp_path / challenges)
    assert task.solutions is not None and task.solutions[0].tolist() == [[5, 4]]


def test_solutions_that_say_otherwise_are_named(tmp_path: Path) -> None:
    (tmp_path / "challenges.json").write_text(json.dumps({"t1": TASK}))
    (tmp_path / "solutions.json").write_text(json.dumps({"t1": [[[5, 5]]]}))
    with pytest.raises(FormatError, match="otherwise"):
        load_tasks(tmp_path)


def test_hidden_files_of_a_folder_of_tasks_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(TASK))
    (tmp_path / "._a.json").write_bytes(b"\0\5\x16\7")
    assert [task.id for task in load_tasks(tmp_path)] == ["a"]


def test_half_a_character_as_a_task_id(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"\\ud800": ' + json.dumps(TASK) + "}")
    with pytest.raises(FormatError, match="half a character"):
        load_tasks(tmp_path / "a.json")


def test_tasks_in_subfolders(tmp_path: Path) -> None:
    (tmp_path / "AboveBelow").mkdir()
    (tmp_path / "AboveBelow" / "AboveBelow1.json").write_text(json.dumps(TASK))
    assert [task.id for task in load_tasks(tmp_path)] == ["AboveBelow1"]
    (tmp_path / "AboveBelow1.json").write_text(json.dumps(TASK))
    with pytest.raises(FormatError, match="two files hold a task called 'AboveBelow1'"):
        load_tasks(tmp_path)


def test_null_outputs_are_a_task_without_solutions(tmp_path: Path) -> None:
    (tmp_path / "null.json").write_text(
        json.dumps(TASK | {"test": [{"input": [[4, 5]], "output": None}]})
    )
    assert load_tasks(tmp_path / "null.json")[0].solutions is None


def test_a_list_of_pairs_is_named(tmp_path: Path) -> None:
    (tmp_path / "rearc.json").write_text(json.dumps(PAIRS))
    with pytest.raises(FormatError, match="a list: pairs of one rule"):
        load_tasks(tmp_path / "rearc.json")


def test_thoughts_in_a_self_edit_are_no_facts() -> None:
    text = (
        "<think>\nOkay, facts are wanted.\nI should keep it short.\n</think>\n\n1. Vell has nine"
        " piers.\n2. Tam rings."
    )
    found = parse_edit(text, read_settings().edit)
    assert found.lines == ("Vell has nine piers.", "Tam rings.") and found.dropped == {
        "thoughts": 1
    }
