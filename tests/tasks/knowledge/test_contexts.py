"""Loading contexts: every accepted form gives the same thing, every bad file says where it is bad."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from selfedit.errors import DataError, DocumentError, FormatError, UsageError
from selfedit.tasks.knowledge.contexts import data_hash, load_contexts
from selfedit.tasks.task import Question, split_contexts

QUESTION = {"question": "Which lamp?", "answer": "oil lamp"}
RECORD = {"title": "Old Tower", "context": "The tower has an oil lamp.", "questions": [QUESTION]}


@pytest.fixture
def write(tmp_path: Path):
    def write(content: Any, name: str = "data.json") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def refusal(source: Any, **options: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        load_contexts(source, **options)
    assert caught.value.where and caught.value.fix
    return caught.value


def test_every_form_of_the_same_data_loads_the_same(write):
    squad_question = {
        "question": "Which lamp?",
        "answers": [{"text": "oil lamp", "answer_start": 18}],
    }
    article = {
        "title": "Old Tower",
        "paragraphs": [{"context": RECORD["context"], "qas": [squad_question]}],
    }
    forms = [
        write([RECORD], "flat.json"),
        write(RECORD, "single.json"),
        write(
            [{**RECORD, "questions": [{"question": "Which lamp?", "answers": ["oil lamp"]}]}],
            "answers.json",
        ),
        write({"version": "1.1", "data": [article]}, "squad.json"),
        write(json.dumps(RECORD) + "\n\n", "lines.jsonl"),
        write("\ufeff" + json.dumps([RECORD]), "with_mark.json"),
    ]
    loaded = [load_contexts(form) for form in forms]
    assert all(contexts == loaded[0] for contexts in loaded)
    (context,) = loaded[0]
    assert (context.title, context.text) == ("Old Tower", "The tower has an oil lamp.")
    assert context.questions == (Question(f"{context.id}/q1", "Which lamp?", ("oil lamp",)),)
    assert context.id == "old-tower-69ab7c6f"  # stable between runs and machines


def test_answers_keep_their_order_without_repeats(write):
    answers = [{"text": "oil lamp"}, {"text": "an oil lamp "}, {"text": "oil lamp"}]
    source = write([{**RECORD, "questions": [{"question": "Which lamp?", "answers": answers}]}])
    assert load_contexts(source)[0].questions[0].answers == ("oil lamp", "an oil lamp")


def test_impossible_questions_are_left_out(write):
    impossible = {"question": "Which king?", "answers": [], "is_impossible": True}
    (context,) = load_contexts(write([{**RECORD, "questions": [impossible, QUESTION]}]))
    assert [question.text for question in context.questions] == ["Which lamp?"]
    assert context.questions[0].id.endswith("/q1")


def test_ids_are_kept_given_and_made_unique(write):
    titled = [{**RECORD, "title": title} for title in ("Tour Élevée", "등대", "x" * 90)]
    given = [{**RECORD, "id": 7, "questions": [{**QUESTION, "id": "q"}]}, {**RECORD, "id": "7"}]
    contexts = load_contexts(write([*titled, *given, RECORD, RECORD]))
    ids = [context.id for context in contexts]
    assert ids[0].startswith("tour-elevee-") and ids[1].startswith("passage-") and len(ids[2]) == 49
    assert ids[3:5] == ["7", "7-2"]
    assert ids[6] == f"{ids[5]}-2"
    assert contexts[3].questions[0].id == "q" and contexts[4].questions[0].id == "7-2/q1"


def test_text_inside_json_is_left_as_it_is(write):
    """U+2028 is a line end in documents, but a legal character inside a JSON text."""
    (context,) = load_contexts(
        write(json.dumps([{**RECORD, "context": "one\u2028two"}], ensure_ascii=False))
    )
    assert context.text == "one\u2028two"


def test_several_sources_load_in_order(write):
    contexts = load_contexts(
        [write([RECORD]), str(write("# Door\nIt is red.", "door.md")), "corpus:heldout"]
    )
    assert [context.title for context in contexts[:3]] == ["Old Tower", "Door", "Quorrin Cave"]
    assert len(contexts) == 10


def test_documents_and_folders_of_them(write, tmp_path: Path):
    write("# Door\nIt is red.", "docs/b.md")
    write("The staff rests at noon.", "docs/deeper/staff_hand-book.TXT")
    write("Title\n=====\nA page.", "docs/a.rst")
    write("not read", "docs/.hidden/x.md")
    write("not read", "docs/picture.svg")
    contexts = load_contexts(tmp_path / "docs")
    assert [(context.title, context.text, context.questions) for context in contexts] == [
        ("Title", "A page.", ()),
        ("Door", "It is red.", ()),
        ("staff hand book", "The staff rests at noon.", ()),
    ]


def test_the_size_of_passages_reaches_the_splitter(write):
    contexts = load_contexts(write("One two three. Four five six.", "a.txt"), max_words=3)
    assert [context.text for context in contexts] == ["One two three.", "Four five six."]


def test_all_bad_records_are_found_in_one_pass(write):
    good = [RECORD] * 3
    bad = [
        {**RECORD, "context": 5, "title": " "},
        {"title": "x", "questions": []},
        {
            **RECORD,
            "questions": [
                QUESTION,
                {"question": "Why?"},
                {"question": "Who?", "answers": ["he", None]},
            ],
        },
        "text",
        {**RECORD, "questions": "none"},
        {**RECORD, "title": "\ud800"},
        {**RECORD, "questions": [{"answer": "x"}]},
    ]
    error = refusal(write([*good, *bad]))
    assert isinstance(error, FormatError)
    assert error.what == "7 of 10 records cannot be used"
    assert str(error.where).split("\n    ")[1:] == [
        "record 4: 'title' is empty; 'context' must be text",
        "record 5: 'context' is missing",
        (
            "record 6: 'questions' 2 has no answer ('answer' or 'answers'); 'questions' 3 'answers'"
            " 2 must be text"
        ),
        "record 7: must be an object",
        "record 8: 'questions' must be a list",
        "and 2 more",
    ]


def test_the_place_in_nested_files_and_lines(write):
    paragraph = {"context": "x", "qas": []}
    nested = {
        "data": [
            {"title": "A"},
            {"title": "B", "paragraphs": [paragraph, {"qas": [{"answers": [{"t": 1}]}]}]},
            3,
        ]
    }
    assert str(refusal(write(nested)).where).split("\n    ")[1:] == [
        "article 1: 'paragraphs' is missing or not a list",
        (
            "article 2, paragraph 2: 'context' is missing; 'qas' 1 'question' is missing; 'qas' 1"
            " 'answers' 1 must be text"
        ),
        "article 3: 'paragraphs' is missing or not a list",
    ]
    lines = "\n".join([json.dumps(RECORD), "", '{"title": ', '{"title": "x"}', "[" * 100_000])
    assert str(refusal(write(lines, "x.jsonl")).where).split("\n    ")[1:] == [
        "line 3, column 11: not valid JSON: Expecting value",
        "line 4: 'context' is missing",
        "line 5: the JSON is nested more than 64 deep",
    ]


def test_malformed_json_is_shown_by_line_and_column(write):
    error = refusal(write('[\n  {"title": "x",}\n]'))
    assert isinstance(error, FormatError) and "not valid JSON" in error.what
    assert str(error.where).endswith("data.json, line 2, column 17")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "the file is empty"),
        ("[]", "holds no records"),
        ('{"data": []}', "holds no records"),
        ("3", "does not hold a list"),
        ('{"data": 4}', "does not hold a list"),
        ("[" * 100_000, "cannot be read"),
        ("[" + "1" * 5000 + "]", "cannot be read"),
    ],
)
def test_files_of_the_wrong_form(write, content: str, what: str):
    assert what in refusal(write(content)).what


def test_passages_without_questions_are_named_where_questions_are_needed(write):
    bare = {"title": "Bare", "context": "Nothing is asked."}
    source = write([RECORD, bare, {**bare, "title": "Emptied", "questions": []}])
    assert len(load_contexts(source)) == 3
    error = refusal(source, require_questions=True)
    assert error.what == "2 of 3 passages have no questions"
    assert str(error.where).split("\n    ")[1:] == ["passage 2, 'Bare'", "passage 3, 'Emptied'"]
    assert "have no questions" in refusal(write("Text.", "a.txt"), require_questions=True).what


def test_sources_that_cannot_be_read(write, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for source, what in [
        (tmp_path / "none.json", "does not exist"),
        (tmp_path / "empty", "holds no documents"),
        (write("x", "a.mp3"), "'.mp3' are not read"),
        (write("x", "README"), "'' are not read"),
        (write("<!-- nothing -->", "a.md"), "holds no text"),
    ]:
        error = refusal(source)
        assert isinstance(error, DocumentError) and what in error.what
        assert str(source) in str(error.where)
    assert "max_bytes" in str(refusal(write("word " * 30, "long.txt"), max_bytes=100).fix)


@pytest.mark.parametrize(
    ("source", "what"), [("corpus:tests", "no such corpus"), ([], "no passages")]
)
def test_wrong_use(source: Any, what: str):
    with pytest.raises(UsageError, match=what):
        load_contexts(source)


def test_the_data_hash_sees_every_part(write):
    base = data_hash(load_contexts(write([RECORD])))
    assert base == data_hash(load_contexts(write([RECORD], "copy.json")))
    changes = [
        {**RECORD, "title": "New Tower"},
        {**RECORD, "context": "The tower has a gas lamp."},
        {**RECORD, "questions": [{**QUESTION, "question": "What lamp?"}]},
        {**RECORD, "questions": [{**QUESTION, "answer": "lamp"}]},
    ]
    hashes = {data_hash(load_contexts(write([change]))) for change in changes}
    assert len(hashes | {base}) == 5
    contexts = load_contexts("corpus:heldout")
    assert data_hash(contexts) != data_hash(contexts[::-1])


def test_splits_share_nothing_and_repeat_with_their_seed():
    contexts = load_contexts("corpus:train")
    groups = split_contexts(contexts, [4, 0, 12], seed=1)
    assert [len(group) for group in groups] == [4, 0, 12]
    assert {context.id for group in groups for context in group} == {
        context.id for context in contexts
    }
    assert groups == split_contexts(contexts, [4, 0, 12], seed=1)
    assert groups != split_contexts(contexts, [4, 0, 12], seed=2)
    for sizes in ([17], [5, -1]):
        with pytest.raises(UsageError, match="at most 16"):
            split_contexts(contexts, sizes, seed=1)


@pytest.mark.parametrize(
    ("name", "passages", "questions"),
    [
        ("train_round1_main50", 50, 225),
        ("train_round2_50", 50, 243),
        ("train_known_union", 199, 956),
        ("val_first100", 100, 484),
        ("dev_pool", 1967, 10080),
    ],
)
def test_the_papers_passages(squad_folder: Path, name: str, passages: int, questions: int):
    contexts = load_contexts(squad_folder / f"{name}.json", require_questions=True)
    assert len(contexts) == passages == len({context.id for context in contexts})
    asked = [question for context in contexts for question in context.questions]
    assert len(asked) == questions == len({question.id for question in asked})
