"""The tables of ``bench gpu``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

BenchResults = Mapping[str, Any]
"""A benchmark's results, or one row of them, as JSON holds them."""
TRAINING = ("part", "jobs / K", "epochs", "s/self-edit", "ms/step", "tok/s", "MFU %", "peak GB")


class GpuTable(NamedTuple):
    """A title, the columns' names, and rows of text."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def gpu_tables(rows: Sequence[BenchResults]) -> list[GpuTable]:
    """Training, answering, and what a step asks of the host."""
    machine = next(row for row in rows if row["part"] == "machine")
    title = (
        f"{machine['card']}, torch {machine['torch']}, {machine['dtype']}, shape of"
        f" {machine['shape']}; product of two large matrices: {machine['rate'] / 1e12:.0f}·10¹²"
        " operations a second"
    )
    tables = [
        GpuTable(
            title, TRAINING, [_gpu_training(row) for row in rows if "seconds_per_self_edit" in row]
        )
    ]
    if answers := [row for row in rows if row["part"].startswith("answering")]:
        lines = [
            [row["part"], str(row["tokens"]), f"{row['tokens_per_second']:.0f}"] for row in answers
        ]
        tables.append(GpuTable("", ("part", "tokens", "tok/s"), lines))
    if profiles := [row for row in rows if row["part"].startswith("profile")]:
        columns = ("part", "device busy %", "kernels", "launches", "waits", "copies to the host")
        tables.append(
            GpuTable("A step, under the profiler", columns, [_gpu_profile(row) for row in profiles])
        )
    return tables


def _gpu_training(row: BenchResults) -> list[str]:
    jobs = f"{row['jobs']} / {row['rows']}" if "jobs" in row else "1 / 1"
    step = row.get("ms_per_step", 1e3 * row.get("step_seconds", 0.0))
    mfu, peak, tokens = row.get("mfu"), row.get("peak_gb"), row.get("tokens_per_second")
    return [
        row["part"],
        jobs,
        str(row.get("epochs", "")),
        f"{row['seconds_per_self_edit']:.3f}",
        f"{step:.0f}",
        "" if tokens is None else f"{tokens:.0f}",
        "" if mfu is None else f"{100 * mfu:.1f}",
        "" if peak is None else f"{peak:.1f}",
    ]


def _gpu_profile(row: BenchResults) -> list[str]:
    step = row["per_step"]
    counts = (step[kind] for kind in ("kernels", "launches", "waits", "copies to host"))
    return [row["part"], f"{100 * row['busy_share']:.0f}", *(f"{count:.1f}" for count in counts)]
