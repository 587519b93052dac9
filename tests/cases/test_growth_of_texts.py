"""What is done for a text grows with its length, not with its square: counted in this process's own
time at two sizes, so that a slow machine changes nothing.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from selfedit.grading.grader import Reply, get_grader
from selfedit.grading.judge import read_verdict
from selfedit.grading.statement import _joined_pieces
from selfedit.grading.text import _runs_in, contains_gold, normalise
from selfedit.storage.bounded import BoundedReader
from selfedit.storage.neutral import in_form, slug
from selfedit.tasks.arc.dataset import load_tasks
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.edits import parse_edit

FACTOR = 4
"""The second size is as many times the first: a square would take its square times as long."""
PASSAGE = '{"title": "Vell", "context": "The harbour.", "questions": []}'
PAIR = '{"input": [[0]], "output": [[1]]}'


def one(seconds: Callable[[], float]) -> float:
    """The least of three tries."""
    return min(seconds() for _ in range(3))


def grows_with_the_length(work: Callable[[int], Callable[[], object]], size: int) -> None:
    """See that four times the size takes less than nine times as long."""

    def seconds(count: int) -> float:
        prepared = work(count)
        start = time.thread_time()
        prepared()
        return time.thread_time() - start

    small, large = (one(lambda count=count: seconds(count)) for count in (size, FACTOR * size))
    assert large < 9 * small + 0.05, f"{small:.3f} s, then {large:.3f} s"


def graded(
    grader: str, make: Callable[[int], tuple[str, str]]
) -> Callable[[int], Callable[[], object]]:
    """A reply of a length by a grader; every call has another text, since graders remember texts."""
    numbers = iter(range(10**6))

    def prepare(size: int) -> Callable[[], object]:
        gold, answer = make(size)
        reply = Reply("Who built it?", [gold], f"{answer} z{next(numbers)}")
        return lambda: get_grader(grader).grade_all([reply])

    return prepare


REPLIES: dict[str, Callable[[int], tuple[str, str]]] = {
    "a long gold answer of one word": lambda n: ("a " * (n // 4) + "b", "a " * n),
    "a long Korean one": lambda n: ("물 " * (n // 4) + "가", "물이 " * n),
    "many words": lambda n: (" ".join(map(str, range(n // 4))), " ".join(map(str, range(1, n)))),
    "marks that change places": lambda n: ("e\u0301", "e" + "\u0301\u0323" * n),
    "initials": lambda n: ("a.b", "a." * n + "aa"),
    "thousands": lambda n: ("1", "111," * n + "1"),
    "blank lines": lambda n: ("ada", "ada" + "\n" * n + "x"),
    "signs": lambda n: ("x", "c" + "+" * n + "a"),
    "numbers": lambda n: ("ada", "two hundred and " * n),
    "a word without an end": lambda n: ("中国", "中" * n),
}


@pytest.mark.parametrize("make", REPLIES.values(), ids=REPLIES)
@pytest.mark.parametrize("grader", ["contains", "exact", "f1", "concise"])
def test_a_reply_is_graded(grader: str, make: Callable[[int], tuple[str, str]]) -> None:
    grows_with_the_length(graded(grader, make), 1500)


@pytest.mark.parametrize("make", REPLIES.values(), ids=REPLIES)
def test_the_fitted_grader_looks_at_so_much_of_a_text(
    make: Callable[[int], tuple[str, str]],
) -> None:
    """Some of its features compare each word with each: a bound holds them."""
    start = time.thread_time()
    gold, answer = make(100_000)
    get_grader("calibrated").grade_all([Reply("Who built it?", [gold], answer)])
    assert time.thread_time() - start < 60


TEXTS: dict[str, tuple[Callable[[str], object], str, int]] = {
    "thoughts without an end": (read_verdict, "<think>yes ", 20_000),
    "thoughts without a beginning": (read_verdict, "yes </think>", 20_000),
    "thoughts of many kinds": (read_verdict, "<think>[THINK]</reasoning>", 10_000),
    "a self-edit of thoughts": (lambda text: parse_edit(text, _edit()), "<think>\n", 5_000),
    "a title of marks": (slug, "\u0301\u0323", 20_000),
    "a text of marks": (lambda text: in_form("NFC", text), "\u0323\u0344\u0f73", 10_000),
    "marks after letters": (normalise, "e\u0301\u0323\u0301", 5_000),
}


def _edit() -> object:
    from selfedit.config import read_settings

    return read_settings().edit


@pytest.mark.parametrize("read, part, size", TEXTS.values(), ids=TEXTS)
def test_a_text_is_read(read: Callable[[str], object], part: str, size: int) -> None:
    numbers = iter(range(10**6))

    def prepare(count: int) -> Callable[[], object]:
        text = f"{part * count}{next(numbers)}"
        return lambda: read(text)

    grows_with_the_length(prepare, size)


@pytest.mark.parametrize(
    "name, one_record, load",
    [("c.json", PASSAGE, load_contexts), ("t.json", f'"KEY": {{"train": [{PAIR}], "test": [{PAIR}]}}', load_tasks)],
    ids=["contexts without ids", "tasks"],
)  # fmt: skip
def test_a_file_of_many(
    tmp_path: Path, name: str, one_record: str, load: Callable[[Path], object]
) -> None:
    opening, closing = "[]" if name == "c.json" else "{}"

    def prepare(count: int) -> Callable[[], object]:
        path = tmp_path / name
        records = (one_record.replace("KEY", f"k{number}") for number in range(count))
        path.write_text(f"{opening}{','.join(records)}{closing}")
        return lambda: load(path)

    grows_with_the_length(prepare, 1000)


def test_a_packed_file_of_many_members(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl.gz"

    def prepare(count: int) -> Callable[[], object]:
        path.write_bytes(gzip.compress(b" ") * count)
        return lambda: BoundedReader("the file").bytes(path)

    grows_with_the_length(prepare, 12_000)


def test_words_in_a_row_are_found_as_when_each_place_is_tried() -> None:
    import random

    from selfedit.grading.text import _same_word

    def tried(gold: list[str], answered: list[str]) -> bool:
        places = range(len(answered) - len(gold) + 1)
        return any(all(map(_same_word, gold, answered[at : at + len(gold)])) for at in places)

    draw, words, found = (
        random.Random(0),
        ["a", "b", "물", "물이", "물리학", "القاهرة", "بالقاهرة"],
        0,
    )
    for _ in range(5000):
        some = draw.choice((words, ["a", "b"]))
        gold, answered = (draw.choices(some, k=draw.randint(1, most)) for most in (4, 9))
        assert _runs_in(gold, answered) == tried(gold, answered)
        found += tried(gold, answered)
    assert 500 < found < 4500


def test_words_together_are_found_as_when_each_stretch_is_tried() -> None:
    import random
    from collections import Counter

    from selfedit.grading.statement import _LONGEST_BETWEEN

    def tried(gold: Counter[str], words: list[str]) -> bool:
        width = gold.total() + _LONGEST_BETWEEN
        starts = range(max(1, len(words) - width + 1))
        return any(not gold - Counter(words[start : start + width]) for start in starts)

    draw, found = random.Random(0), 0
    for _ in range(5000):
        gold = Counter(draw.choices("abcde", k=draw.randint(1, 4)))
        words = draw.choices("abcdefghijklm", k=draw.randint(0, 25))
        assert _joined_pieces(gold, words) == tried(gold, words)
        found += tried(gold, words)
    assert 500 < found < 4500


def test_normal_forms_are_unicodes() -> None:
    import random
    import unicodedata

    draw, marks = random.Random(0), [*map(chr, range(0x300, 0x370)), "\u0f73", "\u05b0", "\u064b"]
    for _ in range(500):
        text = f"e{''.join(draw.choices(marks, k=draw.randint(0, 90)))}x\u0301"
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            assert in_form(form, text) == unicodedata.normalize(form, text)


def test_a_long_gold_answer_is_found_at_the_end() -> None:
    assert contains_gold("a " * 5000 + "b", ["a " * 4000 + "b"])
    assert not contains_gold("a " * 5000, ["a " * 4000 + "b"])
