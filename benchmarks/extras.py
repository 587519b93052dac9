"""Packages that only the contestants need: an extra of the installation."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from selfedit.errors import Unavailable


def _need(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        fix = "pip install 'selfedit[bench]'"
        raise Unavailable(
            f"the benchmark compares with {name}, which is not installed", where=name, fix=fix
        ) from error


def peft() -> Any:
    """The package peft.

    Raises:
        Unavailable: it is not installed.
    """
    return _need("peft")


def check_extras() -> None:
    """Raise `Unavailable` at once rather than in the middle of a measurement."""
    peft()
    _need("accelerate")  # transformers' Trainer needs it
