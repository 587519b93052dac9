"""Text that comes token by token: whole characters, and nothing from a stop string on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from byte_tokenizer import byte_tokenizer
from selfedit.serving.text_stream import TextStream

TOKENIZER = byte_tokenizer(("<end>",), eos="<end>")


def decode(ids) -> str:
    return str(TOKENIZER.decode(list(ids), skip_special_tokens=True))


def streamed(text: str, stop: list[str]) -> tuple[list[str], bool]:
    """The pieces of a text, one byte a token, until it stops."""
    stream = TextStream(decode, stop)
    pieces = []
    for token in TOKENIZER(text, add_special_tokens=False)["input_ids"]:
        pieces.append(stream.add([token]))
        if stream.stopped:
            return pieces, True
    return [*pieces, stream.end()], stream.stopped


@given(st.text("aböß日🎉 \n", max_size=30), st.lists(st.text("ab日", min_size=1), max_size=3))
def test_pieces_make_the_text_up_to_the_first_stop(text: str, stop: list[str]) -> None:
    pieces, stopped = streamed(text, stop)
    ends = [text.index(each) for each in stop if each in text]
    shown = "".join(pieces)
    # The stop that comes first in time ends the text; of overlapping ones that is not the first by
    # place.
    assert stopped == bool(ends)
    assert shown == text if not ends else text.startswith(shown) and len(shown) >= min(ends)
    if ends:
        assert not any(each in shown for each in stop)
        assert any(text.startswith(each, len(shown)) for each in stop)
    assert all("\ufffd" not in piece for piece in pieces)


def test_letters_come_as_soon_as_no_stop_can_begin_with_them() -> None:
    pieces, _ = streamed("see STOP here", ["STOP!"])
    assert pieces[:5] == ["s", "e", "e", " ", ""]
    assert pieces[7] == "" and pieces[8] == "STOP "


def test_half_a_character_at_the_end_is_shown_as_one_that_is_missing() -> None:
    stream = TextStream(decode)
    ids = TOKENIZER("ö", add_special_tokens=False)["input_ids"]
    assert stream.add(ids[:1]) == "" and stream.end() == "\ufffd"
