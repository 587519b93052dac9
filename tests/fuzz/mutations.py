# ruff: noqa: E501 - an input a line
"""How an input is changed: bytes anywhere, or, of one that is JSON, a value for another."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

PIECES = (
    b"[", b"]", b"{", b"}", b'"', b",", b":", b"null", b"true", b"-", b"0", b"1e308", b"NaN", b"Infinity", b"\\ud800",
    b"\\u001b[31m", b"\0", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r", b"../", b"<", b">", b"<!--",
    b"<script>", b"`", b"*", b"|", b"---\n", b"\xe2\x80\xae", b"\xcc\x81", b"1" * 400, b"[" * 300, b'{"a":' * 300,
    b"a." * 300, b"x" * 300, b"." * 300, b"\xe1\x80\x80" * 99, b"<think>" * 50, b"</think>" * 50, b"\xcc\xa3\xcc\x81" * 200,
    b"{{ a }}", b"{% for i in range(99999) %}", b"{% endfor %}", b"%s", b"=1+1", b"\xed\xa0\x80", b"e\xcc\x81" * 200,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 7.5, -0.0, 2**31, 2**63, 10**30, 10**299, 1e308, "", " ", "x", "1", "\0", "\ud800",
    "../../x", "x" * 300, "\x1b[31m", [], {}, [[]], [None], [0], ["a"], {"a": 1}, {"": None}, [[[[0]]]], "null",
)  # fmt: skip


def mutated(seed: bytes, draw: random.Random) -> bytes:
    """An input with a few things changed."""
    if draw.random() < 0.5:
        try:
            return in_tree(json.loads(seed), draw)
        except (ValueError, RecursionError):
            pass
    return in_bytes(seed, draw)


def in_bytes(seed: bytes, draw: random.Random) -> bytes:
    """An input with a few things cut, doubled, exchanged or put in."""
    data = bytearray(seed)
    for _ in range(draw.randint(1, 4)):
        start = draw.randint(0, len(data))
        end = min(len(data), start + draw.choice((0, 1, 2, 8, 64)))
        match draw.randrange(5):
            case 0:
                del data[start:end]
            case 1:
                data[start:start] = data[start:end] * draw.randint(1, 8)
            case 2:
                data[start:end] = draw.choice(PIECES)
            case 3:
                data[start:start] = draw.choice(PIECES)
            case _:
                data[start:end] = draw.randbytes(end - start)
    return bytes(data)


def in_tree(value: Any, draw: random.Random) -> bytes:
    """A JSON value with one to three of its parts left out, renamed, or of other values and types."""
    whole = [value]
    for _ in range(draw.randint(1, 3)):
        change_at(draw.choice(list(slots(whole))), draw)
    return json.dumps(whole[0]).encode()


Slot = tuple[Any, Any]
"""A list and an index, or an object and a key."""


def slots(value: Any) -> list[Slot]:
    """Every place of a value that holds another."""
    places: list[Slot] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        keys = item.keys() if isinstance(item, dict) else range(len(item))
        for key in list(keys):
            places.append((item, key))
            if isinstance(item[key], dict | list):
                waiting.append(item[key])
    return places


def change_at(slot: Slot, draw: random.Random) -> None:
    """Change what stands at one place."""
    holder, key = slot
    changes: tuple[Callable[[], Any], ...] = (
        lambda: draw.choice(VALUES),
        lambda: [holder[key]],
        lambda: str(holder[key]),
        lambda: {str(key): holder[key]},
        lambda: holder[key] * 3 if isinstance(holder[key], str | list) else draw.choice(VALUES),
    )
    change = draw.randrange(len(changes) + 2)
    if change < len(changes):
        holder[key] = changes[change]()
    elif isinstance(holder, dict):
        moved = holder.pop(key)
        if change > len(changes):
            holder[draw.choice(("", "x", str(key).upper(), "\ud800"))] = moved
