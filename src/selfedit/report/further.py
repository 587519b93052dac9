"""Tables beside the methods' own, alike on a run's page and in a recipe's: the published order, the self-edits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def further_tables(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those tables for which the results hold something, in order; formed as ``tables`` in the results are."""
    return [table for table in (_order(results), _shapes(results)) if table["rows"]]


def _order(results: Mapping[str, Any]) -> dict[str, Any]:
    """Step by step of the published order, whether it holds here, and the difference over its standard error."""
    columns = ["step of the published order", "holds here", "difference / se"]
    rows = [
        [
            f"{step['from']} < {step['to']}",
            "yes" if step["holds"] else "no",
            "?" if step["z"] is None else f"{step['z']:+.1f}",
        ]
        for step in results.get("order", [])
    ]
    return {"title": "Does the published order hold?", "columns": columns, "rows": rows}


def _shapes(results: Mapping[str, Any]) -> dict[str, Any]:
    """What each policy's self-edits look like, as means over them."""
    names = {"tokens": ".0f", "facts": ".1f", "single_fact": ".2f", "diversity": ".2f", "compression": ".2f"}
    columns = ["self-edits", "n", "tokens", "lines", "lines with one fact", "lexical diversity", "compression ratio"]
    rows = []
    for shape in results.get("self_edits", []):
        cells = ["?" if shape.get(key) is None else f"{shape[key]:{form}}" for key, form in names.items()]
        rows.append([shape["policy"], shape["n"], *cells])
    return {"title": "What self-edits look like", "columns": columns, "rows": rows}
