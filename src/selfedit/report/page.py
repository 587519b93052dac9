"""A run as one page for the browser: a table, pictures, times, self-edits side by side. Nothing in
it is fetched.

What a model or a document wrote is escaped, and the page forbids scripts altogether (its content
security policy).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from selfedit.report.drawing import night_name
from selfedit.results.layout import HELD_OUT, main_tables, more_tables, notes_of
from selfedit.results.names import PARTS
from selfedit.results.render import as_html
from selfedit.results.results import Results
from selfedit.results.tabular import Table
from selfedit.run.folder import RunFolder
from selfedit.run.records import Phase, Place, SelfEditRow, TimingRow
from selfedit.storage.neutral import in_html

EXAMPLES = 3
"""Passages whose self-edits are shown side by side."""

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
html {{ color-scheme: light dark; background: light-dark(#fff, #16181d); }}
body {{ font: 16px/1.5 system-ui, sans-serif; color: light-dark(#222, #eee); }}
body {{ max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
th, td {{ border-bottom: 1px solid light-dark(#ddd, #444); padding: .3rem .8rem; }}
th, td {{ text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
img {{ max-width: 100%; }}
.side {{ display: flex; gap: 1rem; overflow-x: auto; }}
.side figure {{ flex: 1 1 20rem; margin: 0; min-width: 18rem; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; padding: .8rem; }}
pre {{ background: light-dark(#f6f6f6, #23262d); }}
</style>
</head>
<body>
"""


def write_page(run: RunFolder, results: Results, pictures: Sequence[Path]) -> str:
    """The page's HTML.

    Args:
        run: opened for reading.
        results: its results, or what there is of them.
        pictures: files beside the page.
    """
    parts = [
        _HEAD.format(title=in_html(f"selfedit: {run.path.name}")),
        f"<h1>{in_html(run.path.name)}</h1>",
        *_tables(results),
        *map(_picture, pictures),
        *map(as_html, more_tables(results)),
        *_times(run.ledger.timings()),
        *_self_edits(run),
        "</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _picture(path: Path) -> str:
    """A picture, or on a dark page its twin."""
    name, alt = in_html(path.name), in_html(path.stem.replace("-", " "))
    image = f'<img src="{name}" alt="{alt}">'
    if not (twin := night_name(path)).is_file():
        return f"<p>{image}</p>"
    dark = f'<source srcset="{in_html(twin.name)}" media="(prefers-color-scheme: dark)">'
    return f"<p><picture>{dark}{image}</picture></p>"


def _tables(results: Results) -> list[str]:
    notes = [f"<p>{in_html(note)}</p>" for note in notes_of(results)]
    if not results.rows:
        return notes or ["<p>No held-out results: the run is not finished, or has none.</p>"]
    rows, *others = main_tables(results, results.title or HELD_OUT)
    return [as_html(rows), *notes, *map(as_html, others)]


def _times(timings: Iterable[TimingRow]) -> list[str]:
    """Seconds of every part, a line a place: an E-step is its round."""
    seconds: dict[str, dict[str, float]] = {}
    counts: dict[str, int] = {}
    for row in timings:
        name = _stage(row.place)
        of_phase = seconds.setdefault(name, {})
        of_phase[row.part] = of_phase.get(row.part, 0.0) + row.seconds
        counts[row.part] = counts.get(row.part, 0) + row.count
    if not seconds:
        return []
    parts = [part for part in PARTS if part in counts] + sorted(counts.keys() - PARTS.keys())
    totals = dict.fromkeys(parts, 0.0)
    for of_phase in seconds.values():
        for part in parts:
            totals[part] += of_phase.get(part, 0.0)
    total = sum(totals.values()) or 1.0
    rows = [[name, *_seconds_row(of_phase, parts)] for name, of_phase in seconds.items()]
    rows += [
        ["all", *_seconds_row(totals, parts)],
        ["all, %", *(f"{100 * totals[part] / total:.0f}" for part in parts), "100"],
        ["how many", *(str(counts[part]) for part in parts), ""],
    ]
    return [
        "<h2>Where the time went</h2>",
        as_html(
            Table.make(
                "", ["seconds", *(PARTS.get(part, part) for part in parts), "together"], rows
            )
        ),
        (
            "<p>Wall time of the run: of what its workers do side by side, their mean. Waiting is"
            " what a worker stood still while others worked, the loading of its model included; it"
            " counts the inner loops done.</p>"
        ),
    ]


def _seconds_row(of_phase: Mapping[str, float], parts: Sequence[str]) -> list[str]:
    return [*(f"{of_phase.get(part, 0.0):.1f}" for part in parts), f"{sum(of_phase.values()):.1f}"]


def _self_edits(run: RunFolder) -> list[str]:
    """The first candidate of a few passages, one column a policy, in the order of the rounds."""
    places = run.ledger.places()
    counts = Counter(
        row.context_id
        for at in places
        for row in run.ledger.each_self_edit(at)
        if row.candidate == 0
    )
    most = [context for context, _ in counts.most_common(EXAMPLES)]
    by_context: dict[str, list[tuple[tuple[int, str], SelfEditRow]]] = {name: [] for name in most}
    for at in places:
        for row in run.ledger.each_self_edit(at):
            if row.candidate == 0 and row.context_id in by_context:
                by_context[row.context_id].append((_policy_column(at), row))
    parts = ["<h2>Self-edits</h2>" if most else ""]
    for context in most:
        ordered = sorted(by_context[context], key=lambda column: column[0])
        parts.append(_edits_side_by_side(context, [(name, row) for (_, name), row in ordered]))
    return parts


def _stage(at: Place) -> str:
    """What a run did at a place, for people."""
    if at.phase is Phase.RL:
        return f"E-step of round {at.round}"
    return f"held-out: {at.method}" if at.phase is Phase.EVAL else str(at)


def _policy_column(at: Place) -> tuple[int, str]:
    """Where a policy's column stands, and its name: before RL, after each round, then what others
    wrote.
    """
    if at.phase is Phase.RL:
        return at.round or 0, f"round {at.round}"
    method = at.method or str(at.phase)
    seal, _, round = method.partition("-")
    if method == "own":
        return 0, "before RL"
    if seal == "seal":
        return (int(round), f"after round {round}") if round.isdigit() else (999, "after RL")
    return 1000, method


def _edits_side_by_side(context: str, edits: Sequence[tuple[str, SelfEditRow]]) -> str:
    columns = "".join(
        f"<figure><figcaption>{in_html(name)}, {row.tokens}"
        f" tokens</figcaption><pre>{in_html(row.text)}</pre></figure>"
        for name, row in edits
    )
    return f'<h3>{in_html(context)}</h3>\n<div class="side">{columns}</div>'
