"""Everyday prose that has nothing to do with any passage: its loss shows what an edit damages
besides.

Written for this project. The texts a gate looks at are not those the damage is reported on.
"""

from __future__ import annotations

from pathlib import Path

GATE_EVERY = 3
"""Every third text is the gate's."""


def measured_texts() -> list[str]:
    """The texts that general loss is reported on."""
    return [text for number, text in enumerate(_prose()) if number % GATE_EVERY != GATE_EVERY - 1]


def gate_texts() -> list[str]:
    """The texts that a gate may look at."""
    return _prose()[GATE_EVERY - 1 :: GATE_EVERY]


def _prose() -> list[str]:
    text = Path(__file__).with_name("general.txt").read_text(encoding="utf-8")
    return [" ".join(block.split()) for block in text.split("\n\n") if block.strip()]
