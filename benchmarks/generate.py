"""``bench generate``: what answering costs, one adapter at a time with transformers' ``generate``
and many with ours.

As in `bench inner` every cell has a process of its own with all cores. All contestants write the
same number of tokens for the same prompts, greedily; see `answering`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.answering import NONE, random_adapter
from benchmarks.children import all_at_once, children
from benchmarks.extras import check_extras
from benchmarks.inner import default_workers
from benchmarks.measuring import as_loaded, child_loads, measure_cells
from benchmarks.server import Server
from benchmarks.work import BenchWork, make_work
from selfedit.config import Settings
from selfedit.errors import UsageError
from selfedit.lm.load import load
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.lm.shape import Shape
from selfedit.rl.opening import open_folder
from selfedit.run.interrupt import Interrupt
from selfedit.run.progress import SILENT, ProgressSink

KIND = "bench-generate"
Row = tuple[int, int, int]
"""A prompt: its adapter (−1 is none), its inner loop in the work, its question."""


@dataclass(frozen=True)
class GenerateSize:
    """How much is measured.

    Attributes:
        adapters: adapters that answer in one call of ours.
        one_at_a_time: adapters of the one-at-a-time contestants (their speed does not depend on how
            many).
        questions: of each adapter.
        rows: prompts decoded at once without any adapter.
        new_tokens: written after each prompt.
        rounds: times every cell is measured.
        rate_size: side of the square matrices of the matrix-product rate.
    """

    adapters: tuple[int, ...] = (1, 4, 8, 16, 32)
    one_at_a_time: int = 4
    questions: int = 4
    rows: tuple[int, ...] = (1, 16, 64)
    new_tokens: int = 24
    rounds: int = 3
    rate_size: int = 2048


QUICK = GenerateSize(adapters=(1, 16), one_at_a_time=2, rows=(64,), rounds=1)
"""Under five minutes on two idle cores."""


@dataclass(frozen=True)
class Cell:
    """One contestant: who decodes, and the batches it is given one after another."""

    who: str  # "theirs", "ours" or "server"
    name: str
    batches: tuple[tuple[Row, ...], ...]

    @property
    def rows(self) -> list[Row]:
        """All its prompts."""
        return [row for batch in self.batches for row in batch]


def cells(
    size: GenerateSize, work: BenchWork, *, server: bool, adapted: bool = False
) -> list[Cell]:
    """Everything that is measured, in the order of a round; ``adapted`` is a server that takes
    adapters.
    """
    loops = len(work.prompts)
    own = [
        tuple((a, a % loops, q) for q in range(size.questions)) for a in range(max(size.adapters))
    ]
    few = own[: size.one_at_a_time]
    plain = [(NONE, n % loops, n // loops % size.questions) for n in range(max(size.rows))]
    made = [
        Cell("theirs", "generate, one question at a time", tuple((row,) for row in own[0])),
        Cell("theirs", "generate, one adapter at a time", tuple(few)),
    ]
    for k in size.adapters:
        together = tuple(row for a in own[:k] for row in a)
        made += [
            Cell(who, f"{who}, {k} adapter{'s' * (k > 1)} together", (together,))
            for who in ("ours", "server")[: 1 + adapted]
        ]
    for rows in size.rows:
        made += [
            Cell(who, f"{name}, {rows} rows, no adapter", (tuple(plain[:rows]),))
            for who, name in _who(server)
        ]
    return made


def _who(server: bool) -> list[tuple[str, str]]:
    return [("theirs", "generate"), ("ours", "ours"), *([("server", "server")] if server else [])]


def bench_generate(
    folder: str | Path,
    settings: Settings,
    size: GenerateSize,
    *,
    self_edits: Path | None = None,
    passages: str | None = None,
    server: str | None = None,
    progress: ProgressSink = SILENT,
    interrupt: Interrupt | None = None,
) -> dict[str, Any]:
    """Measure every cell that the folder does not hold yet; returns what is written to
    ``results.json``.

    Args:
        folder: made if it is not there; what was measured in it is not measured again.
        settings: model, device, dtype, and the adapters' rank and targets.
        size: how much is measured.
        self_edits, passages: see `make_work`.
        server: address of a server with OpenAI's API that holds the same model, vLLM's for one.
        progress: where progress goes.
        interrupt: how the user stops it, after the cell in hand.

    Raises:
        UsageError: a passage has fewer questions than each adapter is asked.
        Unavailable: a package of the contestants is missing, a process died, or the server does not
            answer.
    """
    check_extras()
    lm = load(settings.model, device=settings.device, dtype=settings.dtype)
    work = make_work(
        lm, settings, passages=8, edits=1, loops=8, self_edits=self_edits, passage_file=passages
    )
    if (fewest := min(map(len, work.prompts))) < size.questions:
        what = f"each adapter is asked {size.questions} questions, a passage has {fewest}"
        raise UsageError(what, where="--questions", fix=f"ask {fewest}, or give other passages")
    settings, shape = as_loaded(settings, lm), Shape.of(lm.model.config)
    del lm
    remote = None if server is None else Server(server)
    chosen = settings.model_dump(mode="json", include={"model", "device", "dtype", "inner"})
    frozen = {"settings": chosen, "size": asdict(size), "work": work.hash, "server": server}
    with open_folder(folder, frozen, {"work": work.hash}, kind=KIND) as run:
        loaded, log = child_loads(run, settings, work), run.path / "children.log"
        adapted = remote is not None and remote.takes(_random(shape, settings, 0))
        plan = cells(size, work, server=remote is not None, adapted=adapted)

        def one(cell: Cell) -> dict[str, Any]:
            if cell.who == "server":
                assert remote is not None
                return _ask(remote, cell, work, size, lambda k: _random(shape, settings, k))
            return _measure(log, cell, settings, size, loaded)

        measured = measure_cells(run, plan, size.rounds, one, progress, interrupt)
        results = _results(measured, settings, size, work, shape)
        run.write_results(results)
    return results


def _measure(
    log: Path, cell: Cell, settings: Settings, size: GenerateSize, loaded: Mapping[str, Any]
) -> dict[str, Any]:
    ours = cell.who == "ours"
    common = {"lora": settings.inner.lora.model_dump(), "new_tokens": size.new_tokens}
    with children(log, 1, **loaded, ours=ours, threads=default_workers()) as made:
        rate = all_at_once(made, "rate", [{"size": size.rate_size, "times": 5}])[0]["flops"]
        asked = {"rows": cell.batches[0]} if ours else {"batches": cell.batches}
        return {
            "rate": rate,
            **all_at_once(made, "answer" if ours else "generate", [asked | common])[0],
        }


def _random(shape: Shape, settings: Settings, number: int) -> Adapter:
    return random_adapter(shape, LoraSpec(**settings.inner.lora.model_dump()), number)


def _ask(
    server: Server,
    cell: Cell,
    work: BenchWork,
    size: GenerateSize,
    made: Callable[[int], Adapter],
) -> dict[str, Any]:
    prompts = [work.prompts[loop][question] for _, loop, question in cell.rows]
    numbers = [adapter for adapter, _, _ in cell.rows]
    if NONE not in numbers:
        adapters = {number: made(number) for number in set(numbers)}
        under = [adapters[number] for number in numbers]
        tokens, seconds = server.complete_under(prompts, under, size.new_tokens)
        return {"seconds": seconds, "tokens": tokens}
    server.complete(prompts[:1], 2)
    start = time.perf_counter()
    tokens = server.complete(prompts, size.new_tokens)
    return {"seconds": time.perf_counter() - start, "tokens": tokens}


def _results(
    measured: Sequence[tuple[Cell, Sequence[Mapping[str, Any]]]],
    settings: Settings,
    size: GenerateSize,
    work: BenchWork,
    shape: Shape,
) -> dict[str, Any]:
    rows = [_row(cell, found, settings, shape) for cell, found in measured]
    by_name = {row["name"]: row for row in rows}
    for row in rows:
        if "no adapter" in row["name"]:
            against = by_name[row["name"].replace(row["name"].split(",")[0], "generate", 1)]
        else:
            against = by_name["generate, one adapter at a time"]
        pairs = zip(row["rounds"], against["rounds"], strict=True)
        row |= {"against": against["name"], "ratio": statistics.median(a / b for a, b in pairs)}
    return {
        "benchmark": "generate",
        "rows": rows,
        "equal": _equal_rows(measured),
        "targets": _targets(by_name),
        "notes": [
            (
                "no text ends before its length, so all write the same number of tokens; reading"
                " the prompts is included"
            ),
            (
                "ratio: tokens a second against `generate` with the same rows, or with one adapter"
                " at a time"
            ),
            "MFU: 2·(N + V·D + P) operations a new token; reading the prompts is not counted",
        ],
        "work": {"source": work.source, "hash": work.hash},
        "size": asdict(size),
        "settings": settings.model_dump(mode="json", include={"model", "device", "dtype", "inner"}),
        "measured": {
            cell.name: [{k: v for k, v in f.items() if k != "ids"} for f in found]
            for cell, found in measured
        },
    }


def _row(
    cell: Cell, found: Sequence[Mapping[str, Any]], settings: Settings, shape: Shape
) -> dict[str, Any]:
    rates = [f["tokens"] / f["seconds"] for f in found]
    lora = settings.inner.lora
    adapted = any(row[0] != NONE for row in cell.rows)
    a_token = (
        shape.decoding_flops(1, lora.rank, lora.targets) if adapted else shape.decoding_flops(1)
    )
    shares = [
        a_token * rate / f["rate"] for rate, f in zip(rates, found, strict=True) if "rate" in f
    ]
    return {
        "name": cell.name,
        "rows": len(cell.rows),
        "adapters": len({row[0] for row in cell.rows} - {NONE}),
        "tokens_per_second": statistics.median(rates),
        "rounds": rates,
        "mfu": statistics.median(shares) if shares else None,
    }


def _equal_rows(measured: Sequence[tuple[Cell, Sequence[Mapping[str, Any]]]]) -> dict[str, Any]:
    """Of the prompts that both `generate` and ours answered: how many got the same tokens."""
    said: dict[str, dict[Row, list[int]]] = {"ours": {}, "theirs": {}}
    for cell, found in measured:
        if cell.who in said:
            said[cell.who] |= dict(zip(cell.rows, found[0]["ids"], strict=True))
    both = said["ours"].keys() & said["theirs"].keys()
    return {
        "rows": len(both),
        "same": sum(said["ours"][row] == said["theirs"][row] for row in both),
    }


def _targets(by_name: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    wanted = [("ours, 16 adapters together", 6), ("ours, 64 rows, no adapter", 2)]
    return [
        {
            "figure": f"× tokens a second: {name}, against {by_name[name]['against']}",
            "bound": f"≥ {bound}",
            "measured": by_name[name]["ratio"],
            "met": by_name[name]["ratio"] >= bound,
        }
        for name, bound in wanted
        if name in by_name
    ]
