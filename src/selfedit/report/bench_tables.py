"""What a benchmark found, as tables: for the terminal and for a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from selfedit.report.bench_gpu import BenchResults, gpu_tables

CONTESTANTS = {
    "published": "published recipe (a)",
    "careful": "careful loop (b)",
    "together": "ours (c)",
}


class BenchTable(NamedTuple):
    """A title, the columns' names, and rows of text; all columns but the first are numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def bench_tables(results: BenchResults) -> list[BenchTable]:
    """The tables of any benchmark's results, and what it says of the figures this project sets
    itself.
    """
    makers = {
        "adapt": _adapt,
        "inner": _inner,
        "generate": _generate,
        "arithmetic": _arithmetic,
        "racing": _racing,
        "profile": _profile_table,
        "gpu": _gpu,
        "serve": _serve,
    }
    tables = makers[results["benchmark"]](results)
    targets = [
        [t["figure"], t["bound"], f"{t['measured']:.4g}", "yes" if t["met"] else "no"]
        for t in results.get("targets", ())
    ]
    if targets:
        tables.append(BenchTable("", ["figure", "asked", "measured", "met"], targets))
    return tables


def _serve(results: BenchResults) -> list[BenchTable]:
    written = results["requests"] * results["new_tokens"]
    rows = [
        [
            row["name"],
            f"{row['median']:.1f}",
            f"{written / row['median']:.0f}",
            f"{row['ratio']:.2f}",
        ]
        for row in results["rows"]
    ]
    title = (
        f"{results['requests']} requests to {results['adapters']} adapters of {results['model']},"
        f" {results['new_tokens']} tokens each, {results['threads']} threads; texts"
        f" {'equal' if results['equal'] else 'not all equal'}"
    )
    return [BenchTable(title, ["requests", "s", "tok/s", "× one after another"], rows)]


def _adapt(results: BenchResults) -> list[BenchTable]:
    rows = [
        [
            row["name"],
            f"{row['median']:.1f}",
            f"{results['tokens'] / row['median']:.0f}",
            f"{row['ratio']:.2f}",
        ]
        for row in results["rows"]
    ]
    title = (
        f"{results['jobs']} inner loops, {results['epochs']} epoch(s), {results['tokens']} tokens,"
        f" the longest sequence {results['longest']}, {results['threads']} threads; losses differ"
        f" by at most {results['loss_difference']:.1e}"
    )
    return [BenchTable(title, ["side", "s", "tok/s", "× careful loop"], rows)]


def _gpu(results: BenchResults) -> list[BenchTable]:
    return [BenchTable(*table) for table in gpu_tables(results["rows"])]


def _profile_table(results: BenchResults) -> list[BenchTable]:
    tables = []
    for work in results["rows"]:
        rows = [
            [
                k["kind"],
                f"{k['seconds']:.2f}",
                _percent(k["share"]),
                "" if k["of_rate"] is None else _percent(k["of_rate"]),
            ]
            for k in work["kinds"]
        ]
        rows.append(
            ["at best", f"{work['at_best'] * work['seconds']:.2f}", _percent(work["at_best"]), ""]
        )
        title = f"{work['work']}: {work['seconds']:.2f} s"
        tables.append(BenchTable(title, ["kind", "s", "share %", "of rate %"], rows))
    if memory := results.get("memory"):
        tables.append(_memory_table("MB an adapter, of its tensors", memory))
    return tables


def _inner(results: BenchResults) -> list[BenchTable]:
    rows = [
        [
            f"{CONTESTANTS[r['contestant']]}, {r['lora']} adapter",
            str(r["k"]),
            f"{r['workers']}×{r['threads']}",
            f"{r['seconds']:.2f}",
            f"{r['tokens_per_second']:.0f}",
            f"{r['computed_per_second']:.0f}",
            _percent(r["padding"]),
            _percent(r["mfu"]),
            f"{r['peak'] / 2**20:.0f}",
            f"{r['ratio_to_published']:.1f}",
            f"{r['ratio_to_careful']:.2f}",
        ]
        for r in results["rows"]
    ]
    columns = [
        "contestant",
        "K",
        "proc×thr",
        "s/self-edit",
        "tok/s",
        "padded tok/s",
        "padding %",
        "MFU %",
        "peak MB",
    ]
    timed, work = results["epochs"], results["work"]
    title = (
        f"{work['loops']} inner loops of {work['source']}, {timed['timed']} of {timed['of']} epochs"
        " timed"
    )
    losses = [
        [name, f"{cell['largest']:.1e}"] for name, cell in results["losses"]["together"].items()
    ]
    tables = [
        BenchTable(title, [*columns, "× (a)", "× (b)"], rows),
        BenchTable("", ["final losses against (b)", "largest relative difference"], losses),
    ]
    if memory := results["memory"]:
        tables.append(_memory_table("MB an adapter, of the process", memory))
    return tables


def _memory_table(what: str, memory: BenchResults) -> BenchTable:
    cells = [
        f"{memory[key] / 2**20:.1f}" for key in ("per_adapter", "states", "extra", "activations")
    ]
    columns = [what, "all", "parameters, gradients, Adam", "extra", "activations by formula"]
    return BenchTable("", columns, [[f"from K = {memory['from_k']} to {memory['to_k']}", *cells]])


def _generate(results: BenchResults) -> list[BenchTable]:
    rows = [
        [
            r["name"],
            str(r["rows"]),
            str(r["adapters"]),
            f"{r['tokens_per_second']:.1f}",
            _percent(r["mfu"]),
            f"{r['ratio']:.2f}",
        ]
        for r in results["rows"]
    ]
    equal = results["equal"]
    title = (
        f"{equal['same']} of the {equal['rows']} prompts that generate and ours both answered got"
        " the same tokens"
    )
    return [BenchTable(title, ["contestant", "rows", "adapters", "tok/s", "MFU %", "ratio"], rows)]


def _arithmetic(results: BenchResults) -> list[BenchTable]:
    rows = [
        [
            str(r["k"]),
            f"{r['flops'] / 1e12:.1f}",
            f"{r['bytes'] / 1e9:.1f}",
            f"{100 * r['weight_bytes'] / r['bytes']:.0f}",
            f"{1e3 * r['seconds_by_rate']:.1f}",
            f"{1e3 * r['seconds_by_bandwidth']:.1f}",
            r["bound"],
            f"{1e3 * r['seconds_an_adapter']:.2f}",
            f"{r['times_cheaper']:.1f}",
            f"{r['memory'] / 1e9:.0f}",
        ]
        for r in results["rows"]
    ]
    columns = [
        "K",
        "10¹² op",
        "GB moved",
        "weights %",
        "ms by rate",
        "ms by bus",
        "bound",
        "ms/adapter",
        "×",
        "GB held",
    ]
    what = f"{results['model']}, {results['tokens']} tokens each, rank {results['rank']}"
    device = f"{results['tflops']:g}·10¹² op/s, {results['bandwidth']:g} GB/s"
    return [BenchTable(f"One step of K adapters: {what}; {device}", columns, rows)]


def _racing(results: BenchResults) -> list[BenchTable]:
    parts = {
        "stored repeats": results["stored"],
        f"simulated, {results['repeats']} repeats": results["simulated"],
    }
    rows = [
        [
            name,
            _percent(p["same"]),
            _percent(p["se"]),
            str(p["n"]),
            str(p["races"]),
            _percent(p["saved"]),
        ]
        for name, p in parts.items()
        if p is not None
    ]
    columns = ["scores", "same kept set %", "se", "n (contexts)", "races", "inner loops saved %"]
    return [BenchTable("", columns, rows)]


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{100 * share:.1f}"
