"""Every random number of a run comes from one seed through :func:`derive`."""

from __future__ import annotations

import hashlib
import operator

# Changing this line, or the encoding below, changes every number of every run.
_DOMAIN = b"selfedit/seed/1"


def derive(run_seed: int, *parts: int | str) -> int:
    """The seed for one purpose at one place of a run.

    A seed depends on nothing but its arguments: not on what ran before, so a resumed run draws the
    same numbers as one that was never stopped, and an inner loop the same numbers alone as among
    others. Name the purpose first and the
    place after it: ``derive(seed, "inner", phase, round, context_id, candidate, repeat)``. The
    purposes in use are ``"sample"`` (a self-edit), ``"inner"`` (an adapter's initialisation),
    ``"order"`` (a data order) and the like.

    Args:
        run_seed: the run's own seed, any integer.
        parts: integers and strings; their order, their number and their types count (``1`` is not
            ``"1"``).

    Returns:
        An integer in [0, 2**63), the same on every machine and Python: the first 63 bits of a
        SHA-256. It fits SQLite's INTEGER, ``torch.manual_seed`` and ``numpy.random.default_rng``.

    Raises:
        TypeError: if a part is neither an integer nor a string (a float has no one spelling, a bool
            reads as 0 or 1).
    """
    digest = hashlib.sha256(_DOMAIN)
    for part in (run_seed, *parts):
        digest.update(_encode(part))
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def _encode(part: int | str) -> bytes:
    """Kind, length, content: no two lists of parts share an encoding."""
    if isinstance(part, bool):
        raise TypeError("a seed's part is an int or a str, not a bool: name it with a word")
    if isinstance(part, str):
        kind, content = b"s", part.encode("utf-8", "surrogatepass")
    else:
        kind, content = b"i", b"%d" % operator.index(part)
    return b"%b%d:%b" % (kind, len(content), content)
