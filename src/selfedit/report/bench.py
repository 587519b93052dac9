"""The pictures of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from selfedit.report.bench_gpu import BenchResults
from selfedit.report.drawing import save


def draw_inner(results: BenchResults, folder: Path) -> Path:
    """Cost of a self-edit against the adapters trained together; the one-at-a-time contestants are
    level lines.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    rows: Sequence[BenchResults] = results["rows"]
    for lora in ("recipe", "published"):
        for workers in sorted({r["workers"] for r in rows}):
            line = [
                r
                for r in rows
                if (r["contestant"], r["lora"], r["workers"]) == ("together", lora, workers)
            ]
            if line:
                name = (
                    f"together, {_adapter_name(lora, results)}, {workers}"
                    f" process{'es' if workers > 1 else ''}"
                )
                axes.plot(
                    [r["k"] for r in line], [r["seconds"] for r in line], marker="o", label=name
                )
    for row in rows:
        if row["contestant"] != "together":
            style = "--" if row["contestant"] == "careful" else ":"
            name = f"{row['contestant']}, {_adapter_name(row['lora'], results)}"
            axes.axhline(
                row["seconds"],
                linestyle=style,
                color="gray" if row["lora"] == "recipe" else "black",
                label=name,
            )
    axes.set(
        xlabel="K, adapters trained in one pass",
        ylabel="seconds a self-edit",
        title="Cost of a self-edit",
    )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.legend(fontsize="small")
    return save(figure, folder / "cost-by-k.png")


def draw_generate(results: BenchResults, folder: Path) -> Path:
    """Tokens a second of every contestant."""
    figure = Figure(figsize=(7, 0.4 * len(results["rows"]) + 1.5), layout="constrained")
    axes = figure.add_subplot()
    rows = list(reversed(results["rows"]))
    axes.barh(range(len(rows)), [r["tokens_per_second"] for r in rows])
    axes.set_yticks(range(len(rows)), [r["name"] for r in rows])
    axes.set(xlabel="new tokens a second", title="Answering")
    return save(figure, folder / "tokens-per-second.png")


def _adapter_name(lora: str, results: BenchResults) -> str:
    if lora == "published":
        return "rank 32 on q, v"
    spec = results["settings"]["inner"]["lora"]
    return f"rank {spec['rank']} on {len(spec['targets'])} modules"
