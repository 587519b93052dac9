"""Reading self-edits: good ones, and everything else a model may write."""

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfedit.config import FORMATS, DirectiveSettings, EditSettings
from selfedit.tasks.knowledge.edits import MAX_LINE, Directives, parse_edit

PLAIN = EditSettings()
DIRECTED = EditSettings(directives=DirectiveSettings(allowed=True, lr=(1e-5, 3e-3), epochs=(1, 20)))


def lines(text, edit=PLAIN):
    parsed = parse_edit(text, edit)
    assert not parsed.pairs
    return list(parsed.lines)


def pairs(text, edit=PLAIN):
    parsed = parse_edit(text, edit)
    assert not parsed.lines
    return list(parsed.pairs)


@pytest.mark.parametrize("format", FORMATS)
def test_one_statement_a_line_in_every_format(format):
    text = "Ada Voss climbed it.\n\n   It is in   Verra.  \n"
    assert lines(text, EditSettings(format=format)) == ["Ada Voss climbed it.", "It is in Verra."]


@pytest.mark.parametrize(
    "text",
    [
        "1. One fact.\n2. Two facts.",
        "1) One fact.\n2) Two facts.",
        "(1) One fact.\n(2) Two facts.",
        "1: One fact.\n2: Two facts.",
        "- One fact.\n- Two facts.",
        "* One fact.\n* Two facts.",
        "• One fact.\n• Two facts.",
        "  1. One fact.\r\n\t2. Two facts.\r\n",
        "1.One fact.\n2.Two facts.",
        "1、One fact.\n2．Two facts.",
    ],
)
def test_numbers_and_bullets_are_taken_off(text):
    assert lines(text) == ["One fact.", "Two facts."]


@pytest.mark.parametrize("line", ["1.5 million people live there.", "12:30 is when it opens.", "1921 was the year.",
                                  "3-2 was the score.", "-5 degrees is the mean."])  # fmt: skip
def test_a_line_that_starts_with_a_number_of_its_own_keeps_it(line):
    assert lines(line) == [line]


@pytest.mark.parametrize(
    "filler", ["Sure, here is a list:", "Certainly!", "Here are the implications of the passage:"]
)
def test_filler_before_a_numbered_list_is_dropped(filler):
    assert lines(f"{filler}\n\n1. One fact.\n2. Two facts.") == ["One fact.", "Two facts."]
    assert lines(f"{filler}\n(1) One fact.") == ["One fact."]


def test_a_first_line_is_kept_where_no_numbering_starts_below_it():
    assert lines("One fact.\n2. Two facts.") == ["One fact.", "Two facts."]
    assert lines("1. One fact.\n1. Two facts.") == ["One fact.", "Two facts."]
    assert lines("It stands in Verra.\n1.5 million people live there.")[0] == "It stands in Verra."
    assert lines("Only this.") == ["Only this."]


@pytest.mark.parametrize(
    "text",
    [
        "Question: Who climbed it? Answer: Ada Voss\nQuestion: When? Answer: In 1921",
        "Q: Who climbed it? A: Ada Voss\nQ: When? A: In 1921",
        "Question 1: Who climbed it?\nAnswer 1: Ada Voss\n\nQuestion 2: When?\nAnswer 2: In 1921",
        "Q1: Who climbed it?\nA1: Ada Voss\nQ2: When?\nA2: In 1921",
        "1. Question: Who climbed it? Answer: Ada Voss\n2. Question: When? Answer: In 1921",
        "1. Who climbed it? Answer: Ada Voss\n2. When? Answer: In 1921",
        "1. Who climbed it?\n   Answer: Ada Voss\n2. When?\n   Answer: In 1921",
        "Who climbed it?\nAda Voss\nWhen?\nIn 1921",
        "- Who climbed it?\n- Ada Voss\n- When?\n- In 1921",
        "Question: Who climbed it?\nAnswer:\nAda Voss\nQuestion: When?\nAnswer:\n- In 1921",
        "QUESTION: Who climbed it?\nANSWER: Ada Voss\nquestion: When?\nanswer: In 1921",
        # A base model continues the cue "Question: ".
        "Who climbed it?\nAnswer: Ada Voss\nQuestion: When?\nAnswer: In 1921",
        "Here are the questions:\n1. Who climbed it? Answer: Ada Voss\n2. When? Answer: In 1921",
        "Question：Who climbed it?Answer：Ada Voss\nQ：When?A：In 1921",
    ],
)
def test_question_and_answer(text):
    assert pairs(text) == [("Who climbed it?", "Ada Voss"), ("When?", "In 1921")]


def test_a_question_need_not_end_with_its_mark():
    assert pairs("Question: Name the climber Answer: Ada Voss") == [
        ("Name the climber", "Ada Voss")
    ]


@pytest.mark.parametrize(
    "line", ["It is rich in vitamin A: eat it.", "The answer: nobody knows.", "Plan A: climb it."]
)
def test_a_statement_with_a_colon_is_no_answer(line):
    assert lines(line) == [line]


def test_questions_without_answers_and_answers_without_questions_are_counted():
    parsed = parse_edit(
        "Who?\nWhen?\nWhere? Answer: in Verra\nAnswer: nobody\nHow?\nQuestion: Why?\nAnswer:", PLAIN
    )
    assert parsed.pairs == (("Where?", "in Verra"),) and not parsed.lines
    assert parsed.dropped == {"question without an answer": 4, "answer without a question": 1}
    assert parse_edit("Who? Answer: ...", PLAIN).dropped == {"question without an answer": 1}
    assert parse_edit("Answer:", PLAIN).dropped == {"answer without a question": 1}


def test_statements_and_pairs_together():
    parsed = parse_edit("It is in Verra.\nWho? Answer: Ada\nIt is tall.", PLAIN)
    assert parsed.lines == ("It is in Verra.", "It is tall.") and parsed.pairs == (("Who?", "Ada"),)


def test_no_more_than_max_lines():
    edit = EditSettings(max_lines=3)
    text = "\n".join(f"Fact number {n} is this." for n in range(10))
    parsed = parse_edit(text, edit)
    assert parsed.lines == tuple(text.split("\n")[:3]) and parsed.dropped == {"over max_lines": 7}
    mixed = parse_edit(text + "\nWho? Answer: Ada\nWhen? Answer: then", edit)
    assert (
        len(mixed.pairs) == 2 and len(mixed.lines) == 1 and mixed.dropped == {"over max_lines": 9}
    )
    asked = parse_edit("One fact.\n" + "\n".join(f"Who {n}? Answer: Ada" for n in range(5)), edit)
    assert len(asked.pairs) == 3 and not asked.lines and asked.dropped == {"over max_lines": 3}


def test_a_line_that_comes_again_counts_once():
    parsed = parse_edit("The same line.\n" * 500 + "Who? Answer: Ada\n" * 3, PLAIN)
    assert parsed.lines == ("The same line.",) and parsed.pairs == (("Who?", "Ada"),)
    assert parsed.dropped == {"repeated": 501}


def test_html_and_special_tokens_are_taken_out():
    assert lines(
        "<ul><li class='x'>One <b>fact</b>.</li>\n<br/><li>Two</li></ul>\n<|im_end|>\n<!-- note -->"
    ) == [
        "One fact .",
        "Two",
    ]
    assert lines("It is < 5 and > 3.") == ["It is < 5 and > 3."]


def test_escape_sequences_and_control_characters():
    assert lines("\x1b[1;31mRed\x1b[0m rock.\x07\n\x1b]0;title\x07Tall\x00 rock.\x9b2K") == [
        "Red rock.",
        "Tall rock.",
    ]
    assert lines("a\tb\x08c\x7fd") == ["a b c d"]


def test_characters_without_width():
    assert lines("\ufeffKerri\u200bgal is\u2060 a mo\u00adun\u200etain.") == [
        "Kerrigal is a mountain."
    ]
    assert lines("क\u094d\u200dष is kept.") == [
        "क\u094d\u200dष is kept."
    ]  # a joiner changes what is read


def test_lone_surrogates():
    (line,) = lines("A \ud83d rock \udc00.")
    assert line == "A rock ."
    line.encode()


@pytest.mark.parametrize(
    "text", ["", "\n \n\t\n", "...\n---\n!!! ???\n***", "1.\n2.\n-\n123.", "\u200d\n\ufeff", "<p>"]
)
def test_nothing_to_train_on(text):
    parsed = parse_edit(text, PLAIN)
    assert parsed.empty and parsed.directives == Directives()


def test_lines_without_words_are_counted():
    assert parse_edit("***\n...\nx\n1921", PLAIN).dropped == {"no words": 4}


@pytest.mark.parametrize(
    "unit", ["word ", "<a", "<", "A: ", "Question: ", "1. ", "\x1b[", "\x1b]", "\u0323\u0307", "?"]
)
def test_an_endless_line_is_cut_quickly(unit):
    text = "A fact " + unit * (2**20 // len(unit))
    start = time.process_time()
    parsed = parse_edit(text, PLAIN)
    assert time.process_time() - start < 5
    assert all(
        len(line) <= MAX_LINE
        for line in [*parsed.lines, *(part for pair in parsed.pairs for part in pair)]
    )


def test_many_lines_are_read_quickly():
    text = "".join(
        f"Question: Who {n}?\nAnswer: {n}th man\nFact {n} is so.\n" for n in range(20_000)
    )
    start = time.process_time()
    parsed = parse_edit(text, PLAIN)
    assert time.process_time() - start < 20
    assert len(parsed.pairs) == PLAIN.max_lines


def test_chinese_and_korean():
    assert lines("1. 科里加尔山位于维拉。\n2. 阿达·沃斯于1921年登顶。") == [
        "科里加尔山位于维拉。",
        "阿达·沃斯于1921年登顶。",
    ]
    assert lines("1、科里加尔山位于维拉。\n2、它很高。") == ["科里加尔山位于维拉。", "它很高。"]
    assert lines("- 케리갈 산은 베라에 있다.") == ["케리갈 산은 베라에 있다."]
    assert pairs("谁登上了它？\n阿达·沃斯\nQuestion: 누가 올랐는가? Answer: 에이다") == [
        ("谁登上了它？", "阿达·沃斯"),
        ("누가 올랐는가?", "에이다"),
    ]
    assert lines(unicodedata.normalize("NFD", "케리갈")) == ["케리갈"]


def test_chain_of_thought_keeps_what_stands_below_the_facts_line():
    edit = EditSettings(format="chain-of-thought")
    thoughts = "The passage is about a mountain.\nSo:\n"
    assert lines(f"{thoughts}**Facts:**\n1. It is tall.\n2. It is old.", edit) == [
        "It is tall.",
        "It is old.",
    ]
    assert lines(f"{thoughts}IMPLICATIONS\nIt is tall.", edit) == ["It is tall."]
    assert lines("Facts: it is tall.\nIt is old.", edit) == ["Facts: it is tall.", "It is old."]
    assert parse_edit(f"{thoughts}Facts:\n", edit).empty


def test_directives_are_taken_over():
    parsed = parse_edit("@train lr=5e-4 epochs=6 loss=answers\nIt is tall.", DIRECTED)
    assert parsed.directives == Directives(lr=5e-4, epochs=6, loss="answers")
    assert parsed.lines == ("It is tall.",) and not parsed.dropped
    spread = parse_edit(
        "@train lr=.001\nIt is tall.\n  @train   epochs=20\n1. @train loss=all", DIRECTED
    )
    assert spread.directives == Directives(lr=1e-3, epochs=20, loss="all") and spread.lines == (
        "It is tall.",
    )


def test_a_directive_does_not_stand_in_the_way_of_filler():
    for text in ("@train lr=5e-4\n1. It is tall.", "Sure, here:\n@train lr=5e-4\n1. It is tall."):
        parsed = parse_edit(text, DIRECTED)
        assert parsed.directives.lr == 5e-4 and parsed.lines == ("It is tall.",)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("lr=1e9", "'lr' unusable"),
        ("lr=1e-9", "'lr' unusable"),
        ("lr=nan", "'lr' unusable"),
        ("lr=inf", "'lr' unusable"),
        ("lr=-1e-3", "'lr' unusable"),
        ("lr=", "'lr' unusable"),
        ("lr=e-3", "'lr' unusable"),
        ("lr=1e-3; rm", "'lr' unusable"),
        ("lr=١e-3", "'lr' unusable"),
        ("epochs=-1", "'epochs' unusable"),
        ("epochs=0", "'epochs' unusable"),
        ("epochs=21", "'epochs' unusable"),
        ("epochs=2.5", "'epochs' unusable"),
        ("epochs=99999999999", "'epochs' unusable"),
        ("epochs=NaN", "'epochs' unusable"),
        ("loss=none", "'loss' unusable"),
        ("epochs=2 epochs=3", "'epochs' repeated"),
        ("lr=1e-3 epochs=2 lr=1e-3", "'lr' repeated"),
        ("rank=4", "unknown"),
        ("epochs=2 __class__=x", "unknown"),
        ("please", "unknown"),
        ("", "unknown"),
    ],
)
def test_an_unusable_directive_is_left_out_whole(asked, reason):
    parsed = parse_edit(f"@train {asked}\nIt is tall.", DIRECTED)
    assert parsed.directives == Directives() and parsed.lines == ("It is tall.",)
    assert parsed.dropped == {f"directive {reason}": 1}


def test_the_first_of_two_directives_of_a_name_counts():
    parsed = parse_edit("@train epochs=4\n@train epochs=9 lr=1e-3", DIRECTED)
    assert parsed.directives == Directives(epochs=4) and parsed.dropped == {
        "directive 'epochs' repeated": 1
    }


def test_directives_that_are_not_allowed_are_counted_and_not_trained_on():
    parsed = parse_edit("@train lr=5e-4\n2. @train epochs=2\n@train\nIt is tall.", PLAIN)
    assert parsed.directives == Directives() and parsed.lines == ("It is tall.",)
    assert parsed.dropped == {"directive, not allowed": 3}
    assert lines("@trainers are people.") == ["@trainers are people."]


WORDS = [
    "Question: ",
    "Answer:",
    "A: ",
    "?",
    "1. ",
    "- ",
    "\n",
    "@train ",
    "lr=1e-3",
    "epochs=",
    "<b>",
    "<",
    ">",
    "word ",
]
PIECES = st.sampled_from(
    [*WORDS, "Facts:\n", "\x1b[0m", "\u2028", "\ud800", "\u200b", "é", "사", "山", "1", "\x85"]
)
TEXTS = st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=60).map("".join))


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.sampled_from(FORMATS), st.integers(1, 5), st.booleans())
def test_whatever_is_written_it_is_read(text, format, most, allowed):
    edit = EditSettings(
        format=format, max_lines=most, directives=DirectiveSettings(allowed=allowed)
    )
    parsed = parse_edit(text, edit)
    assert parsed == parse_edit(text, edit)
    assert len(parsed.lines) + len(parsed.pairs) <= most
    parts = [*parsed.lines, *(part for pair in parsed.pairs for part in pair)]
    assert all(
        part and part == part.strip() and "\n" not in part and len(part) <= MAX_LINE
        for part in parts
    )
    assert not any(line.startswith("@train ") for line in parsed.lines)
    "".join(parts).encode()
    asked = parsed.directives
    assert allowed or asked == Directives()
    assert asked.lr is None or 1e-5 <= asked.lr <= 3e-3
    assert asked.epochs is None or 1 <= asked.epochs <= 20
    assert all(count > 0 for count in parsed.dropped.values())
