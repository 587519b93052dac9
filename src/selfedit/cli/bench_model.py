"""The benchmarks that train and answer with a model: inner loops, answering, and where the time
goes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from selfedit.cli.bench_output import numbers, show_bench
from selfedit.cli.checkout import need_benchmarks
from selfedit.cli.command import say, working_with
from selfedit.cli.setting_options import overrides_from, with_settings

_Numbers = Annotated[str | None, Parameter(metavar="A,B,...")]
_OutFolder = Annotated[Path | None, Parameter(name=["--out", "-o"])]
_NoProgress = Annotated[bool, Parameter(name=["--quiet", "-q"])]


@Parameter(name="*")
@dataclass(frozen=True)
class InnerOptions:
    """What is measured of inner loops; what is not given is as the benchmark has it.

    Attributes:
        k: adapters trained in one pass, e.g. 1,8,16.
        workers: processes of one thread each that are measured beside one process with all threads;
            1 leaves them out.
        loops: inner loops that each contestant runs.
        timed_epochs: epochs that are run; the costs are scaled to inner.optim.epochs.
        steps: timed steps of the published recipe.
        pad_to: tokens the published recipe pads every sequence to.
        rounds: times everything is measured; medians are shown.
    """

    k: _Numbers = None
    workers: int | None = None
    loops: int | None = None
    timed_epochs: int | None = None
    steps: int | None = None
    pad_to: int | None = None
    rounds: int | None = None

    def changes(self) -> dict[str, Any]:
        """The fields of `benchmarks.inner.InnerSize` that were given."""
        changed: dict[str, Any] = vars(self) | {"k": None}
        if self.k is not None:
            changed |= dict.fromkeys(("together", "published_together"), numbers(self.k))
        return {name: value for name, value in changed.items() if value is not None}


@Parameter(name="*")
@dataclass(frozen=True)
class GenerateOptions:
    """What is measured of answering; what is not given is as the benchmark has it.

    Attributes:
        adapters: adapters that answer together, e.g. 1,16.
        rows: prompts decoded at once without an adapter.
        questions: of each adapter.
        new_tokens: written after each prompt.
        rounds: times everything is measured; medians are shown.
    """

    adapters: _Numbers = None
    rows: _Numbers = None
    questions: int | None = None
    new_tokens: int | None = None
    rounds: int | None = None

    def changes(self) -> dict[str, Any]:
        """The fields of `benchmarks.generate.GenerateSize` that were given."""
        lists = {"adapters": self.adapters, "rows": self.rows}
        changed: dict[str, Any] = vars(self) | {
            name: None if text is None else numbers(text) for name, text in lists.items()
        }
        return {name: value for name, value in changed.items() if value is not None}


def _show_in(folder: Path, results: dict[str, Any], picture: Path, *, json: bool) -> None:
    """The tables, and where they and their picture are."""
    show_bench(results, json=json)
    if not json:
        say(f"results: {folder / 'results.json'}; picture: {picture}")


@with_settings("seed", "device", "dtype", "inner", "edit")
def inner_loops(
    *,
    model: str = "smollm2-135m",
    self_edits: Path | None = None,
    passages: str | None = None,
    out: _OutFolder = None,
    short: Annotated[bool, Parameter(name="--quick")] = False,
    measured: InnerOptions = InnerOptions(),
    json: bool = False,
    quiet: _NoProgress = False,
    **overrides: Any,
) -> None:
    """Cost of a self-edit's inner loop: the published recipe, PEFT, K adapters together.

    Every cell is stored as it is measured; the same command again goes on with the next. A folder
    that holds all of them is not measured again: give another.

    Args:
        model: a short name, a folder, or a hub id.
        self_edits: a file of self-edits; without it they are made of the corpus's sentences and
            facts.
        passages: their passages with questions, where that file has none.
        out: where it is stored; runs/bench-inner, or runs/bench-inner-quick.
        short: a small set of cells, under five minutes on two idle cores.
        json: print the results as JSON.
        quiet: no progress.
    """
    need_benchmarks()
    from benchmarks.inner import QUICK, InnerSize, bench_inner
    from selfedit.config import read_settings

    size = replace(QUICK if short else InnerSize(), **measured.changes())
    settings = read_settings(overrides={"model": model} | overrides_from(overrides))
    folder = out or Path("runs") / ("bench-inner-quick" if short else "bench-inner")
    with working_with(model, quiet=quiet) as options:
        results = bench_inner(
            folder, settings, size, self_edits=self_edits, passages=passages, **options
        )
    from selfedit.report.bench import draw_inner

    _show_in(folder, results, draw_inner(results, folder / "report"), json=json)


@with_settings("seed", "device", "dtype", "inner")
def answering(
    *,
    model: str = "smollm2-135m",
    self_edits: Path | None = None,
    passages: str | None = None,
    vllm: str | None = None,
    out: _OutFolder = None,
    short: Annotated[bool, Parameter(name="--quick")] = False,
    measured: GenerateOptions = GenerateOptions(),
    json: bool = False,
    quiet: _NoProgress = False,
    **overrides: Any,
) -> None:
    """Cost of answering: transformers' generate, many adapters together, a server.

    `generate` takes one adapter at a time.

    Args:
        model: a short name, a folder, or a hub id.
        self_edits: a file of self-edits, which names the passages; without it the corpus's.
        passages: the passages with questions, where that file has none.
        vllm: address of a server with OpenAI's API that serves the same model, such as
            http://localhost:8000.
        out: where it is stored; runs/bench-generate, or runs/bench-generate-quick.
        short: a small set of cells, under five minutes on two idle cores.
        json: print the results as JSON.
        quiet: no progress.
    """
    need_benchmarks()
    from benchmarks.generate import QUICK, GenerateSize, bench_generate
    from selfedit.config import read_settings

    size = replace(QUICK if short else GenerateSize(), **measured.changes())
    settings = read_settings(overrides={"model": model} | overrides_from(overrides))
    folder = out or Path("runs") / ("bench-generate-quick" if short else "bench-generate")
    with working_with(model, quiet=quiet) as options:
        results = bench_generate(
            folder, settings, size, self_edits=self_edits, passages=passages, server=vllm, **options
        )
    from selfedit.report.bench import draw_generate

    _show_in(folder, results, draw_generate(results, folder / "report"), json=json)


@with_settings("seed", "device", "dtype", "inner")
def profile(
    *,
    model: str = "smollm2-135m",
    k: int = 8,
    adapters: int = 16,
    rows: int = 64,
    questions: int = 4,
    new_tokens: int = 24,
    json: bool = False,
    quiet: _NoProgress = False,
    **overrides: Any,
) -> None:
    """Where the time of adapting and answering goes.

    It prints the kinds of operations, and how fast the products run.

    Args:
        model: a short name, a folder, or a hub id.
        k: inner loops in one pass, one epoch of each.
        adapters: that answer together.
        rows: prompts decoded at once without an adapter.
        questions: of each adapter.
        new_tokens: written after each prompt.
        json: print the results as JSON.
        quiet: no progress.
    """
    need_benchmarks()
    from benchmarks.profile import bench_profile
    from selfedit.config import read_settings

    settings = read_settings(overrides={"model": model} | overrides_from(overrides))
    with working_with(model, quiet=quiet) as options:
        results = bench_profile(
            settings,
            together=k,
            adapters=adapters,
            rows=rows,
            questions=questions,
            new_tokens=new_tokens,
            progress=options["progress"],
        )
    show_bench(results, json=json)
