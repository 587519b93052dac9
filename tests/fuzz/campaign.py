"""Mutate inputs and read them: nothing but `SelfEditError` may come out, and nothing may take five
seconds.

``python tests/fuzz/campaign.py [N] [SEED]``: N inputs over all targets (``make fuzz``); prints the
first bad input of each kind and ends with 1 if there was one.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

from targets import TARGETS, Target

from selfedit.errors import SelfEditError

SECONDS = 5.0
PIECES = (
    b"[", b"]", b"{", b"}", b'"', b",", b":", b"null", b"true", b"-", b"0", b"1e308", b"NaN", b"Infinity", b"\\ud800",
    b"\\u001b[31m", b"\0", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r", b"../", b"<", b">", b"<!--",
    b"<script>", b"`", b"*", b"|", b"---\n", b"\xe2\x80\xae", b"\xcc\x81", b"1" * 400, b"[" * 300, b'{"a":' * 300,
    b"a." * 300, b"x" * 300, b"." * 300, b"\xe1\x80\x80" * 99,
)  # fmt: skip


def mutated(seed: bytes, draw: random.Random) -> bytes:
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


def wrong(target: Target, folder: Path, data: bytes) -> str | None:
    """What an input made of a reader that it must not: an exception and its place, or the time."""
    start = time.process_time()
    try:
        target.run(folder, data)
    except SelfEditError:
        pass
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
    return "slow" if time.process_time() - start > SECONDS else None


def campaign(name: str, inputs: int, seed: int, folder: Path) -> dict[str, bytes]:
    """The first input of each kind of failure that a target has."""
    draw, target, failures = random.Random(f"{name} {seed}"), TARGETS[name], dict[str, bytes]()
    for _ in range(inputs):
        data = mutated(draw.choice(target.seeds), draw)
        if kind := wrong(target, folder, data):
            failures.setdefault(kind, data)
    return failures


def main(inputs: int = 1_000_000, seed: int = 0) -> int:
    """Fuzz every target; the number of kinds of failures."""
    found = 0
    with tempfile.TemporaryDirectory() as folder:
        each = inputs // len(TARGETS)
        for name in TARGETS:
            start = time.monotonic()
            failures = campaign(name, each, seed, Path(folder))
            print(
                f"{name}: {each} inputs, {len(failures)} kinds wrong,"
                f" {time.monotonic() - start:.0f} s",
                flush=True,
            )
            for kind, data in failures.items():
                print(f"  {kind}: {data!r:.300}")
            found += len(failures)
    return found


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])) > 0)
