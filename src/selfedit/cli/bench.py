"""``selfedit bench``: what it costs, side by side with others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from selfedit.cli.checkout import need_benchmarks
from selfedit.cli.command import say, working
from selfedit.cli.output import print_json, print_table, write
from selfedit.cli.setting_options import overrides_from, with_settings

bench = App(name="bench", help_format="plaintext")

_Numbers = Annotated[str | None, Parameter(metavar="A,B,...")]
_Out = Annotated[Path | None, Parameter(name=["--out", "-o"])]
_Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"])]


@bench.command
@with_settings("seed", "device", "dtype", "inner", "edit")
def inner(
    *,
    model: str = "smollm2-135m",
    self_edits: Path | None = None,
    passages: str | None = None,
    out: _Out = None,
    short: Annotated[bool, Parameter(name="--quick")] = False,
    k: _Numbers = None,
    workers: int | None = None,
    loops: int | None = None,
    timed_epochs: int | None = None,
    steps: int | None = None,
    pad_to: int | None = None,
    rounds: int | None = None,
    json: bool = False,
    quiet: _Quiet = False,
    **overrides: Any,
) -> None:
    """Cost of a self-edit's inner loop: the published recipe, a careful PEFT loop, and K adapters
    together.

    Every cell is stored as it is measured; the same command again goes on with the next. A folder
    that holds all of
    them is not measured again: give another.

    Args:
        model: a short name, a folder, or a hub id.
        self_edits: a file of self-edits; without it they are made of the corpus's sentences and
            facts.
        passages: their passages with questions, where that file has none.
        out: where it is stored; runs/bench-inner, or runs/bench-inner-quick.
        short: a small set of cells, under five minutes on two idle cores.
        k: adapters trained in one pass, e.g. 1,8,16.
        workers: processes of one thread each that are measured beside one process with all threads;
            1 leaves them out.
        loops: inner loops that each contestant runs.
        timed_epochs: epochs that are run; the costs are scaled to inner.optim.epochs.
        steps: timed steps of the published recipe.
        pad_to: tokens the published recipe pads every sequence to.
        rounds: times everything is measured; medians are shown.
        json: print the results as JSON.
        quiet: no progress.
    """
    need_benchmarks()
    from dataclasses import replace

    from benchmarks.inner import QUICK, InnerSize, bench_inner
    from selfedit.config import read_settings

    ks = None if k is None else _numbers(k)
    changed = {
        "together": ks, "published_together": ks, "workers": workers, "loops": loops, "timed_epochs": timed_epochs,
        "steps": steps, "pad_to": pad_to, "rounds": rounds,
    }  # fmt: skip
    size = replace(QUICK if short else InnerSize(), **_given(changed))
    settings = read_settings(overrides={"model": model} | overrides_from(overrides))
    folder = out or Path("runs") / ("bench-inner-quick" if short else "bench-inner")
    with working(quiet=quiet) as (progress, interrupt):
        from selfedit.cli.fetching import have_model

        have_model(model, quiet=quiet)
        results = bench_inner(
            folder,
            settings,
            size,
            self_edits=self_edits,
            passages=passages,
            progress=progress,
            interrupt=interrupt,
        )
    from selfedit.report.bench import draw_inner

    picture = draw_inner(results, folder / "report")
    _show(results, json=json)
    if not json:
        say(f"results: {folder / 'results.json'}; picture: {picture}")


@bench.command
@with_settings("seed", "device", "dtype", "inner")
def generate(
    *,
    model: str = "smollm2-135m",
    self_edits: Path | None = None,
    passages: str | None = None,
    vllm: str | None = None,
    out: _Out = None,
    short: Annotated[bool, Parameter(name="--quick")] = False,
    adapters: _Numbers = None,
    rows: _Numbers = None,
    questions: int | None = None,
    new_tokens: int | None = None,
    rounds: int | None = None,
    json: bool = False,
    quiet: _Quiet = False,
    **overrides: Any,
) -> None:
    """Cost of answering: transformers' generate one adapter at a time, many adapters together, a
    server.

    Args:
        model: a short name, a folder, or a hub id.
        self_edits: a file of self-edits, which names the passages; without it the corpus's.
        passages: the passages with questions, where that file has none.
        vllm: address of a server with OpenAI's API that serves the same model, such as
            http://localhost:8000.
        out: where it is stored; runs/bench-generate, or runs/bench-generate-quick.
        short: a small set of cells, under five minutes on two idle cores.
        adapters: adapters that answer together, e.g. 1,16.
        rows: prompts decoded at once without an adapter.
        questions: of each adapter.
        new_tokens: written after each prompt.
        rounds: times everything is measured; medians are shown.
        json: print the results as JSON.
        quiet: no progress.
    """
    need_benchmarks()
    from dataclasses import replace

    from benchmarks.generate import QUICK, GenerateSize, bench_generate
    from selfedit.config import read_settings

    changed = {
        "adapters": None if adapters is None else _numbers(adapters), "rows": None if rows is None else _numbers(rows),
        "questions": questions, "new_tokens": new_tokens, "rounds": rounds,
    }  # fmt: skip
    size = replace(QUICK if short else GenerateSize(), **_given(changed))
    settings = read_settings(overrides={"model": model} | overrides_from(overrides))
    folder = out or Path("runs") / ("bench-generate-quick" if short else "bench-generate")
    with working(quiet=quiet) as (progress, interrupt):
        from selfedit.cli.fetching import have_model

        have_model(model, quiet=quiet)
        results = bench_generate(
            folder, settings, size, self_edits=self_edits, passages=passages, server=vllm,
            progress=progress, interrupt=interrupt,
        )  # fmt: skip
    from selfedit.report.bench import draw_generate

    picture = draw_generate(results, folder / "report")
    _show(results, json=json)
    if not json:
        say(f"results: {folder / 'results.json'}; picture: {picture}")


@bench.command
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
    quiet: _Quiet = False,
    **overrides: Any,
) -> None:
    """Where the time of adapting and answering goes: the kinds of operations, and how fast the
    products run.

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
    with working(quiet=quiet) as (progress, _):
        from selfedit.cli.fetching import have_model

        have_model(model, quiet=quiet)
        results = bench_profile(
            settings, together=k, adapters=adapters, rows=rows, questions=questions, new_tokens=new_tokens,
            progress=progress,
        )  # fmt: skip
    _show(results, json=json)


@bench.command
def adapt(
    *,
    model: str = "smollm2-135m",
    passages: str = "corpus:learn",
    jobs: int = 8,
    lines: int = 6,
    epochs: int = 1,
    rounds: int = 2,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("runs/bench-adapt"),
    json: bool = False,
    quiet: _Quiet = False,
) -> None:
    """selfedit.adapt as a plain script calls it, beside a careful PEFT loop: some ten minutes on two
    idle cores.

    Args:
        model: a short name or a folder.
        passages: where the passages are from: corpus:PART, or a file.
        jobs: inner loops, trained together by one side and one after another by the other.
        lines: sentences that each trains on, besides its passage.
        epochs: of each.
        rounds: times each side is measured, after one that is not counted.
        out: the folder for the results.
        json: print the results as JSON.
        quiet: show no progress.
    """
    need_benchmarks()
    from benchmarks.library_call import bench_adapt

    results = bench_adapt(
        model,
        passages,
        out,
        count=jobs,
        lines=lines,
        epochs=epochs,
        rounds=rounds,
        on_part=lambda line: None if json or quiet else say(line),
    )
    if json:
        print_json(results)
        return
    write(
        f"{results['jobs']} inner loops, {results['tokens']} tokens, {results['threads']} threads:"
        f" together {results['ratio']:.2f} times as fast as a careful PEFT loop;"
        f" losses differ by at most {results['loss_difference']:.1e}"
    )


@bench.command
def gpu(
    *,
    random: str = "qwen2.5-7b",
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("runs/bench-gpu"),
    device: str = "cuda",
    quick: bool = False,
    json: bool = False,
) -> None:
    """Inner loops and answering on a GPU, on random weights of a real model's shape: a quarter of
    an hour at the most.

    Args:
        random: qwen2.5-7b, llama-3.2-1b, smollm2-135m, or a config.json.
        out: the folder for the results.
        device: cuda, or cuda:N; cpu for a look at the parts alone.
        quick: a few adapters and one epoch.
        json: print the results as JSON.
    """
    need_benchmarks()
    from benchmarks.gpu import bench_gpu

    results = bench_gpu(
        random, out, device=device, quick=quick, seen=lambda row: None if json else say(row)
    )
    _show(results, json=json)


@bench.command
def arithmetic(
    model: str = "qwen2.5-7b",
    /,
    *,
    k: _Numbers = "1,2,4,8,16,32,64",
    tokens: int = 64,
    rank: int = 16,
    width: int = 2,
    tflops: float = 989.0,
    bandwidth: float = 3350.0,
    json: bool = False,
) -> None:
    """Operations and bytes of one training step of K adapters, from the model's shape; nothing is
    measured.

    Args:
        model: qwen2.5-7b, llama-3.2-1b or smollm2-135m.
        k: adapters in one pass.
        tokens: of each adapter in a step.
        rank: of the adapters, on all seven linear modules.
        width: bytes of a weight; 2 is bfloat16.
        tflops: the device's peak, 10¹² operations a second; an H100's by default.
        bandwidth: of its memory, 10⁹ bytes a second.
        json: print JSON.
    """
    need_benchmarks()
    from benchmarks.arithmetic import arithmetic as table

    results = table(
        model,
        ks=_numbers(k or ""),
        tokens=tokens,
        rank=rank,
        width=width,
        tflops=tflops,
        bandwidth=bandwidth,
    )
    _show(results, json=json)


@bench.command
def racing(
    runs: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    repeats: int = 3,
    draws: int = 200,
    doubt: float | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Does racing (rl.racing) keep the self-edits that all repeats for all would, and what does it
    save?

    Args:
        runs: folders of runs with at least one scored round.
        repeats: of each self-edit, in the simulation from the runs' answers.
        draws: simulated rounds for each stored one.
        doubt: rl.racing_doubt; each run's own if not given.
        seed: of the simulation.
        json: print JSON.
    """
    need_benchmarks()
    from benchmarks.racing import bench_racing

    results = bench_racing(runs, repeats=repeats, draws=draws, doubt=doubt, seed=seed)
    _show(results, json=json)


@bench.command
def page(
    page: Path,
    results: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    json: bool = False,
) -> None:
    """Write benchmarks' results into the places of a Markdown page that are marked for them.

    Args:
        page: the page, docs/performance.md for one.
        results: folders of benchmarks, or files with what --json printed.
        json: print JSON.
    """
    from selfedit.report.bench_page import fill_page

    filled = fill_page(page, results)
    if json:
        print_json({"page": page, "filled": filled})
    else:
        write("\n".join(filled))


def _numbers(text: str) -> tuple[int, ...]:
    from selfedit.errors import UsageError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"these are not positive whole numbers: {text!r}", fix="such as 1,8,16")
    return tuple(sorted({int(part) for part in parts}))


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _show(results: dict[str, Any], *, json: bool) -> None:
    if json:
        print_json(results)
        return
    from selfedit.report.bench_tables import bench_tables

    for title, columns, rows in bench_tables(results):
        print_table(columns, rows, title=title)
    for note in results.get("notes", ()):
        write(f"- {note}")
