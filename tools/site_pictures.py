"""How it works, in pictures: SVG that takes the page's own colours, light or dark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

_WIDTH, _HEIGHT = 160, 62


def _box(x: float, y: float, title: str, text: str, *, strong: bool = False) -> str:
    """A step: its name, and what it makes."""
    weight = 2.5 if strong else 1.2
    return (
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="none"'
        f' stroke="currentColor" stroke-width="{weight}"/>'
        f'<text x="{x + _WIDTH / 2}" y="{y + 26}" text-anchor="middle" font-weight="600"'
        f' font-size="14">{escape(title)}</text>'
        f'<text x="{x + _WIDTH / 2}" y="{y + 45}" text-anchor="middle" font-size="11.5">'
        f"{escape(text)}</text>"
    )


def _arrow(points: Sequence[tuple[float, float]], words: str = "", dy: float = -7) -> str:
    """A line along points that ends in a head; its words stand over its middle."""
    path = "M" + " L".join(f"{x} {y}" for x, y in points)
    line = (
        f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="1.4"'
        ' marker-end="url(#head)"/>'
    )
    if not words:
        return line
    (x0, y0), (x1, y1) = points[len(points) // 2 - 1], points[len(points) // 2]
    at = f'x="{(x0 + x1) / 2}" y="{(y0 + y1) / 2 + dy}"'
    return f'{line}<text {at} text-anchor="middle" font-size="11.5">{escape(words)}</text>'


def _picture(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    """One SVG, as wide as the page at the most."""
    head = (
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7"'
        ' markerHeight="7" orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z"'
        ' fill="currentColor"/></marker></defs>'
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}"'
        f' style="max-width:{width}px;width:100%;height:auto" fill="currentColor"'
        f' xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>{head}'
        f"{''.join(parts)}</svg>"
    )


def loop_picture() -> str:
    """The two loops: an adapter learns a self-edit, the policy learns from what adapters earn."""
    parts = [
        _box(10, 20, "passage", "text and its title"),
        _box(230, 20, "policy", "writes M self-edits", strong=True),
        _box(450, 20, "inner loops", "M adapters, one pass", strong=True),
        _box(450, 150, "answers", "without the passage"),
        _box(230, 150, "rewards", "right answers, graded"),
        _box(10, 150, "kept", "self-edits that helped"),
        _arrow([(170, 51), (228, 51)], "prompt"),
        _arrow([(390, 51), (448, 51)], "self-edits"),
        _arrow([(530, 82), (530, 148)]),
        _arrow([(450, 181), (392, 181)]),
        _arrow([(230, 181), (172, 181)]),
        _arrow(
            [(90, 150), (90, 116), (310, 116), (310, 84)],
            "the update: the policy of the next round",
        ),
    ]
    title = "A policy writes self-edits, adapters learn them, what they earn teaches the policy"
    return _picture(620, 230, title, parts)


def bank_picture() -> str:
    """One pass through the frozen base for K adapters."""
    parts = [_box(230, 75, "frozen base", "one pass for all rows", strong=True)]
    for number in range(4):
        y = 8 + 54 * number
        parts.append(
            f'<rect x="20" y="{y}" width="120" height="36" rx="6" fill="none"'
            ' stroke="currentColor" stroke-width="1.2"/>'
            f'<text x="80" y="{y + 23}" text-anchor="middle" font-size="12.5">'
            f"self-edit {number + 1}</text>"
        )
        parts.append(_arrow([(140, y + 18), (185, y + 18), (185, 106), (228, 106)]))
        parts.append(
            f'<rect x="480" y="{y}" width="120" height="36" rx="6" fill="none"'
            ' stroke="currentColor" stroke-width="1.2" stroke-dasharray="5 3"/>'
            f'<text x="540" y="{y + 23}" text-anchor="middle" font-size="12.5">'
            f"adapter {number + 1}</text>"
        )
        parts.append(_arrow([(390, 106), (435, 106), (435, y + 18), (478, y + 18)]))
    words = "each adapter sees its own rows: own data, rank, rate, epochs and seed"
    parts.append(f'<text x="310" y="238" text-anchor="middle" font-size="12">{words}</text>')
    return _picture(620, 250, "K adapters train in one pass through one frozen base", parts)


def library_picture() -> str:
    """Documents, an adapter each, and a question that finds its own."""
    parts = [
        _box(10, 15, "documents", "changed, added, removed"),
        _box(230, 15, "adapt --library", "learns only what changed", strong=True),
        _box(450, 15, "adapters", "one a document"),
        _box(10, 125, "question", "over HTTP, or typed"),
        _box(230, 125, "router", "by the question's words", strong=True),
        _box(450, 125, "answer", "with its document"),
        _arrow([(170, 46), (228, 46)]),
        _arrow([(390, 46), (448, 46)]),
        _arrow([(170, 156), (228, 156)]),
        _arrow([(390, 156), (448, 156)]),
        _arrow([(530, 77), (530, 123)]),
    ]
    return _picture(620, 200, "A library: an adapter a document, a router in front", parts)


PICTURES: dict[str, Callable[[], str]] = {
    "loop": loop_picture,
    "bank": bank_picture,
    "library": library_picture,
}
"""By the name that stands in a page as ``<!-- picture: NAME -->``."""
