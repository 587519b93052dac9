"""What comes with the source checkout and not with the installed package."""

from __future__ import annotations

import sys
from pathlib import Path

import selfedit
from selfedit.errors import Unavailable


def need_benchmarks() -> None:
    """Make ``benchmarks``, the folder beside ``src`` in a checkout, a package that can be imported.

    Raises:
        Unavailable: selfedit was not imported from a checkout.
    """
    checkout = Path(selfedit.__file__).resolve().parents[2]
    if not (checkout / "benchmarks" / "child.py").is_file():
        fix = "install selfedit from a checkout of its source, with pip install -e '.[bench]'"
        what = (
            "the benchmarks come with the source checkout, and this selfedit is an installed"
            " package"
        )
        raise Unavailable(what, where=Path(selfedit.__file__).parent, fix=fix)
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
