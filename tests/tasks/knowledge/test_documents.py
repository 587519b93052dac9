"""Documents to passages: nothing lost, nothing too long, clear words for what cannot be read."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfedit.errors import DocumentError, UsageError
from selfedit.tasks.knowledge.documents import Passage, read_document, split_document
from selfedit.tasks.knowledge.units import cut_sentences, word_count

WORDS = st.text("abcdefgh", min_size=1, max_size=12)
HANGUL = st.text("가나다라마바사아자차", min_size=1, max_size=30)
HAN = st.text("日本語文字中国人大学。、！", min_size=1, max_size=60)
SENTENCES = st.lists(WORDS, min_size=1, max_size=40).map(
    lambda words: " ".join(words).capitalize() + "."
)
PARAGRAPHS = st.lists(SENTENCES | HANGUL | HAN, min_size=1, max_size=6).map(" ".join)
HEADINGS = st.builds(
    lambda level, words: "#" * level + " " + " ".join(words),
    st.integers(1, 4),
    st.lists(WORDS, min_size=1, max_size=4),
)
LISTS = st.lists(SENTENCES, min_size=1, max_size=4).map(
    lambda items: "\n".join(f"- {item}" for item in items)
)
TABLES = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4).map(
    lambda rows: "\n".join(
        ["| head | row |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows)]
    )
)
FENCES = PARAGRAPHS.map(lambda code: f"```\n{code}\n```")
MARKDOWN = st.lists(HEADINGS | PARAGRAPHS | LISTS | TABLES | FENCES, min_size=1, max_size=12).map(
    "\n\n".join
)
PLAIN = st.lists(PARAGRAPHS, min_size=1, max_size=8).map("\n\n".join)
SIZES = st.integers(1, 60)


def split(text: str, **options) -> list[Passage]:
    return split_document(text, **{"title": "notes", "markdown": True, **options})


def letters(text: str) -> str:
    return "".join(re.findall(r"\w", text))


@given(PLAIN, SIZES)
def test_plain_text_keeps_every_character_in_order(text: str, max_words: int):
    if not letters(text):
        return
    passages = split(text, markdown=False, max_words=max_words)
    assert letters("".join(passage.text for passage in passages)) == letters(text)
    assert {passage.title for passage in passages} == {"notes"}


@given(MARKDOWN, SIZES)
def test_markdown_keeps_every_word(text: str, max_words: int):
    if not letters(text):
        return
    passages = split(text, max_words=max_words)
    kept = Counter(
        re.findall(
            r"[a-z]+", " ".join(passage.title + " " + passage.text for passage in passages).lower()
        )
    )
    assert not Counter(re.findall(r"[a-z]+", text.lower())).keys() - kept.keys()
    asian = re.compile(r"[가-힣一-龥]")
    assert asian.findall("".join(passage.text for passage in passages)) == asian.findall(text)
    # a title is repeated over its passages, so only the words of the texts can be counted
    body = re.sub(r"^#.*$", "", text, flags=re.MULTILINE)
    texts = Counter(re.findall(r"[a-z]+", " ".join(passage.text for passage in passages).lower()))
    assert not Counter(re.findall(r"[a-z]+", body.lower())) - texts


@given(MARKDOWN | PLAIN, SIZES, st.booleans())
def test_passages_are_within_bounds_and_the_same_each_time(
    text: str, max_words: int, markdown: bool
):
    if not letters(text):
        return
    passages = split(text, markdown=markdown, max_words=max_words)
    assert all(1 <= word_count(passage.text) <= max_words for passage in passages)
    assert passages == split(text, markdown=markdown, max_words=max_words)


@given(st.text())
def test_sentences_join_to_the_text(text: str):
    assert "".join(cut_sentences(text)) == text


@settings(max_examples=300)
@given(st.text("ab #*_-`>|[]()<!\\&;\n~=1.\t 한。", max_size=200), st.booleans())
def test_any_text_is_split_or_refused(text: str, markdown: bool):
    try:
        passages = split(text, markdown=markdown, max_words=5)
    except DocumentError as error:
        assert error.where and error.fix
    else:
        assert all(letters(passage.text) and word_count(passage.text) <= 5 for passage in passages)


def test_titles_are_the_trail_of_headings():
    text = (
        "Before.\n\n# Handbook\nWelcome.\n\n## Holidays\nTwenty days.\n\n### Sick days\nAsk.\n\n##"
        " Pay\nMonthly.\n"
    )
    assert split(text) == [
        Passage("notes", "Before."),
        Passage("Handbook", "Welcome."),
        Passage("Handbook › Holidays", "Twenty days."),
        Passage("Handbook › Holidays › Sick days", "Ask."),
        Passage("Handbook › Pay", "Monthly."),
    ]


def test_a_heading_without_text_is_kept_as_text():
    assert split("# Shop\n\n## Closed on Mondays\n\n## Till\nCash only.") == [
        Passage("Shop", "Closed on Mondays"),
        Passage("Shop › Till", "Cash only."),
    ]


@pytest.mark.parametrize(
    ("text", "markdown"), [("# Shop\n\n...\n", True), ("Shop\n====\n\n...\n", False)]
)
def test_a_heading_above_mere_signs_is_kept_too(text: str, markdown: bool):
    assert split(text, markdown=markdown) == [Passage("notes", "Shop")]


def test_a_long_paragraph_above_dashes_is_not_a_heading():
    text = "word " * 50 + "\n---\nMore."
    assert split(text, max_words=60) == [Passage("notes", ("word " * 50).strip() + "\nMore.")]
    assert split(text, max_words=60, markdown=False) == [
        Passage("notes", ("word " * 50).strip() + " --- More.")
    ]


def test_markup_goes_and_text_stays():
    text = """---
author: nobody
tags: [a, b]
---
See [the *manual*](https://example.org/page "hidden") and ![a red door](door.png), **now**, `run()` &amp; ~~rest~~.
<!-- a note
to nobody -->
Then<!-- inline --> press <kbd>Enter</kbd>.

<div class="box">
<p>Boxed text.</p>
<script>ignored()</script>
</div>

> Quoted.

1. First
2. Second

| Day | Hours |
|-----|-------|
| Monday | 9 |

```python
def run():

    return 1
```
"""
    (passage,) = split(text)
    assert passage.title == "notes"
    assert (
        passage.text == "See the manual and a red door, now, run() & rest.\n"
        "Then press Enter.\n"
        "Boxed text.\n"
        "Quoted.\n"
        "1. First\n"
        "2. Second\n"
        "Day | Hours\n"
        "Monday | 9\n"
        "def run():\n\n    return 1"
    )


def test_a_line_of_dashes_on_top_is_not_front_matter_without_fields():
    assert [passage.text for passage in split("---\n\nHello there.\n\n---\n\nBye.")] == [
        "Hello there.\nBye."
    ]


def test_plain_text_headings_are_underlined_lines_and_list_items_stay_lines():
    text = (
        "======\nManual\n======\nOne line\nwrapped here.\n\nTools\n-----\n- saw\n-"
        " axe\n\nCare\n-----\nOil it.\n"
    )
    assert split(text, markdown=False) == [
        Passage("Manual", "One line wrapped here."),
        Passage("Manual › Tools", "- saw\n- axe"),
        Passage("Manual › Care", "Oil it."),
    ]


def test_paragraphs_are_packed_whole_when_they_fit():
    text = "\n\n".join(f"Paragraph {n} has exactly eight words in it." for n in range(5))
    assert [passage.text.count("Paragraph") for passage in split(text, max_words=17)] == [2, 2, 1]


def test_a_long_paragraph_is_cut_between_sentences_into_even_parts():
    text = " ".join(f"Sentence {n} of Dr. Moss has seven words." for n in range(20))  # 8 words each
    passages = split(text, max_words=100)
    assert [word_count(passage.text) for passage in passages] == [80, 80]
    assert all(
        passage.text.startswith("Sentence") and passage.text.endswith("words.")
        for passage in passages
    )


def test_an_overlong_sentence_is_cut_between_words():
    words = [f"w{n}" for n in range(50)]
    passages = split(" ".join(words), max_words=20)
    assert [word for passage in passages for word in passage.text.split()] == words
    assert max(word_count(passage.text) for passage in passages) <= 20


def test_abbreviations_and_decimals_do_not_end_a_sentence():
    text = "Dr. A. Moss paid 3.50 crowns, i.e. little. He left! “Why?” she asked. Nobody knew."
    assert [piece.strip() for piece in cut_sentences(text)] == [
        "Dr. A. Moss paid 3.50 crowns, i.e. little.",
        "He left!",
        "“Why?” she asked.",
        "Nobody knew.",
    ]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Three plain words.", 3),
        ("灯台は白い。", 5),  # each character; the full stop belongs to the last
        ("등대는 하얗다.", 2),  # about one for each Korean word
        ("등대는하얗다", 2),
        ("日本語 and English", 5),
        ("x" * 49, 3),
        ("", 0),
    ],
)
def test_size_is_words_or_characters_by_script(text: str, count: int):
    assert word_count(text) == count


@pytest.mark.parametrize(
    "sentence",
    ["灯台は白い石でできている。", "灯塔是用白色石头建造的！", "등대는하얀돌로지어졌다。"],
)
def test_text_without_spaces_is_cut_behind_its_sentences(sentence: str):
    passages = split(sentence * 40, max_words=60)
    assert "".join(passage.text for passage in passages) == sentence * 40
    assert len(passages) > 1
    assert all(
        passage.text.endswith(sentence[-1]) and word_count(passage.text) <= 60
        for passage in passages
    )


def test_wrapped_lines_join_without_a_space_only_where_the_script_has_none():
    assert split("灯台は\n白い。")[0].text == "灯台は白い。"
    assert split("등대는\n하얗다.")[0].text == "등대는 하얗다."
    assert split("白い\nlighthouse", markdown=False)[0].text == "白い lighthouse"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_with_and_without_a_byte_order_mark(tmp_path: Path, encoding: str):
    file = tmp_path / "a.txt"
    file.write_bytes("등대 lighthouse\r\nend".encode(encoding))
    assert split(read_document(file), markdown=False)[0].text == "등대 lighthouse end"


@pytest.mark.parametrize(
    ("data", "what", "where", "fix"),
    [
        (b"", "empty", "a.txt", "text in it"),
        (b" \n\t\n", "empty", "a.txt", "text in it"),
        (b"\xef\xbb\xbf", "empty", "a.txt", "text in it"),
        (b"abc\x00def", "binary", "byte 3", "give a text file"),
        ("text".encode("utf-16-le"), "binary", "byte 1", "byte order mark"),
        ("text".encode("utf-32-le"), "binary", "byte 1", "UTF-32"),
        (b"\xff\xfe" + "a\U0001f600\0".encode("utf-16-le"), "binary", "byte 8", "UTF-32"),
        (b"caf\xe9 au lait", "not valid UTF-8", "byte 3", "iconv"),
        (b"\xef\xbb\xbfcaf\xe9 au lait", "not valid UTF-8", "byte 6", "iconv"),
        (b"\xff\xfea\x00b", "not valid UTF-16", "byte 4", "iconv"),
        (b"%PDF-1.7 ...", "PDF", "a.txt", "convert"),
        (b"x" * 101, "101 bytes, more than the limit of 100", "a.txt", "raise max_bytes"),
    ],
)
def test_bad_files_are_named_with_place_and_remedy(
    tmp_path: Path, data: bytes, what: str, where: str, fix: str
):
    file = tmp_path / "a.txt"
    file.write_bytes(data)
    with pytest.raises(DocumentError) as caught:
        read_document(file, max_bytes=100)
    assert what in caught.value.what
    assert where in str(caught.value.where)
    assert fix in str(caught.value.fix)


def test_five_megabytes_are_refused_unless_allowed(tmp_path: Path):
    file = tmp_path / "big.txt"
    file.write_text("A line of a long book.\n" * 230_000)
    with pytest.raises(
        DocumentError, match=r"5,290,000 bytes.*limit of 4,000,000[\s\S]*split it.*max_bytes"
    ):
        read_document(file)
    assert len(read_document(file, max_bytes=6_000_000)) == 5_290_000


def test_missing_files_and_folders_are_refused(tmp_path: Path):
    with pytest.raises(DocumentError, match="does not exist"):
        read_document(tmp_path / "none.txt")
    with pytest.raises(DocumentError, match="cannot be opened"):
        read_document(tmp_path)


@pytest.mark.parametrize(
    "text", ["<!-- only a comment -->", "---\n\n***\n", "[ref]: https://example.org"]
)
def test_markup_without_text_is_refused(text: str):
    with pytest.raises(DocumentError, match="holds no text"):
        split(text)


def test_text_nested_too_deeply_is_refused_not_lost():
    assert split("> " * 40 + "deep words")[0].text == "deep words"
    with pytest.raises(DocumentError, match="100 deep"):
        split("> " * 150 + "deep words")


def test_a_passage_of_no_words_is_refused():
    with pytest.raises(UsageError, match="max_words = 0"):
        split("text", max_words=0)
