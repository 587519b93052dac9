"""What comes back from a server: its bytes, bounded, and what it says about sending again."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_BYTES = 2**23
"""Of one reply, unpacked."""


class Again(Exception):
    """Worth sending once more, after ``after`` seconds if the endpoint said so; ``raw`` is a reply
    nobody can read.
    """

    def __init__(self, what: str, after: float | None = None, raw: str | None = None) -> None:
        super().__init__(what)
        self.what, self.after, self.raw = what, after, raw


def bounded(blocks: Iterable[bytes], latest: float, *, packed: bool) -> bytes:
    """A body's bytes, unpacked; not more than `MAX_BYTES` of them, and none after ``latest``."""
    data, inflate = bytearray(), zlib.decompressobj(wbits=31)
    for block in blocks:
        data += inflate.decompress(block, MAX_BYTES + 1 - len(data)) if packed else block
        if len(data) > MAX_BYTES:
            raise Again(
                f"a reply of more than {MAX_BYTES:,} bytes", raw=f"(more than {MAX_BYTES} bytes)"
            )
        if time.monotonic() > latest:
            raise Again("a reply that did not come to its end in time")
    if packed and data and not inflate.eof:
        raise Again("a reply that was cut short")
    return bytes(data)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds an endpoint asks to wait: Retry-After as a number or a date (RFC 9110, section
    10.2.3), or in ms.
    """
    text = headers.get("retry-after", "").strip()
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        return max(0.0, float(text)) if text else None
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(text)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max(0.0, (when - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError, TypeError):
        return None
