"""``selfedit bench``: what it costs, side by side with others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from selfedit.cli import bench_model
from selfedit.cli.bench_output import numbers, show_bench
from selfedit.cli.checkout import need_benchmarks
from selfedit.cli.command import say, working_with
from selfedit.cli.output import print_json, print_table, write
from selfedit.cli.verbs import example, example_of
from selfedit.errors import UsageError
from selfedit.storage.files import JsonObject

bench = App(
    name="bench",
    help=(
        "What it costs, side by side with others.\n\nThe benchmarks come with the source checkout"
        " and want the extra `bench`."
    ),
    help_format="markdown",
    help_epilogue=example_of("bench"),
)
_OF_MODELS = {
    "inner --quick": bench_model.inner_loops,
    "generate --quick": bench_model.answering,
    "profile": bench_model.profile,
}
for _words, _verb in _OF_MODELS.items():
    _epilogue = example(f"selfedit bench {_words}")
    bench.command(_verb, name=_words.split()[0], help_epilogue=_epilogue)


@bench.command(name="adapt", help_epilogue=example("selfedit bench adapt --jobs 4"))
def library_call(
    *,
    model: str = "smollm2-135m",
    passages: str = "corpus:learn",
    jobs: int = 8,
    lines: int = 6,
    epochs: int = 1,
    rounds: int = 2,
    layers: Annotated[str | None, Parameter(metavar="A-B,...")] = None,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("runs/bench-adapt"),
    json: bool = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False,
) -> None:
    """selfedit.adapt as a plain script calls it, beside a careful PEFT loop.

    It takes some ten minutes on two idle cores.

    Args:
        model: a short name or a folder.
        passages: where the passages are from: corpus:PART, or a file.
        jobs: inner loops, trained together by one side and one after another by the other.
        lines: sentences that each trains on, besides its passage.
        epochs: of each.
        rounds: times each side is measured, after one epoch that is not counted.
        layers: ranges of decoder layers (15-29,20-29) that alone have adapters, measured besides.
        out: the folder for the results.
        json: print the results as JSON.
        quiet: show no progress.
    """
    need_benchmarks()
    from benchmarks.library_call import bench_adapt

    with working_with(model, quiet=quiet):
        results = bench_adapt(
            model,
            passages,
            out,
            count=jobs,
            lines=lines,
            epochs=epochs,
            rounds=rounds,
            layers=[_layer_range(part) for part in (layers or "").split(",") if part],
            on_part=lambda line: None if json or quiet else say(line),
        )
    show_bench(results, json=json)


def _layer_range(text: str) -> tuple[int, ...]:
    """The layers of a range such as 15-29."""
    first, _, last = text.strip().partition("-")
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
        fix = "name the first and the last layer: --layers 15-29,20-29"
        raise UsageError(f"no range of layers: {text!r}", where="--layers", fix=fix)
    return tuple(range(int(first), int(last) + 1))


@bench.command(name="serve", help_epilogue=example("selfedit bench serve --requests 16"))
def serving(
    *,
    model: str = "smollm2-135m",
    adapters: int = 16,
    requests: int = 32,
    new_tokens: int = 24,
    rounds: int = 3,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("runs/bench-serve"),
    json: bool = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False,
) -> None:
    """Requests to `selfedit serve` at once, beside the same one after another.

    It takes some three minutes on two idle cores.

    Args:
        model: a short name or a folder.
        adapters: random ones, of rank 16 on all linear modules, that requests go to in turn.
        requests: questions, as many clients.
        new_tokens: of each answer.
        rounds: times both are measured, in turns.
        out: the folder for the results.
        json: print the results as JSON.
        quiet: show no progress.
    """
    need_benchmarks()
    from benchmarks.serving import bench_serve

    with working_with(model, quiet=quiet):
        results = bench_serve(
            model,
            out,
            adapters=adapters,
            requests=requests,
            new_tokens=new_tokens,
            rounds=rounds,
            on_part=lambda line: None if json or quiet else say(line),
        )
    show_bench(results, json=json)


@bench.command(help_epilogue=example("selfedit bench cluster --workers 64,512"))
def cluster(
    *,
    workers: str = "64",
    trials: int = 20_000,
    loops: int = 16,
    questions: int = 5,
    seconds: float = 1.0,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("runs/bench-cluster"),
    json: bool = False,
) -> None:
    """A Ray cluster whose workers sleep instead of training.

    It shows what driver, Ray and ledger cost.

    Args:
        workers: that work at the same time; several numbers, such as 64,512, are run one after
            another.
        trials: of each; they take trials / loops / workers * seconds at the least.
        loops: inner loops a group has.
        questions: each adapter answers.
        seconds: a group takes.
        out: the folder of the ledgers.
        json: print the results as JSON.
    """
    need_benchmarks()
    from benchmarks.cluster import COLUMNS, Shape, bench_cluster, cells

    rows: list[JsonObject] = []
    for count in numbers(workers):
        shape = Shape(count, trials, loops, questions, seconds)
        least = shape.groups * seconds / count
        say(f"{count} workers: {shape.groups} groups, {least:.0f} seconds at the least")
        rows.append(bench_cluster(shape, out / str(count)))
    if json:
        print_json({"rows": rows})
        return
    print_table(COLUMNS, [cells(row) for row in rows], title="a simulated cluster")


@bench.command(help_epilogue=example("selfedit bench gpu --quick"))
def gpu(
    *,
    random: str = "qwen2.5-7b",
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("runs/bench-gpu"),
    device: str = "cuda",
    quick: bool = False,
    json: bool = False,
) -> None:
    """Inner loops and answering on a GPU, on random weights of a real model's shape.

    It takes a quarter of an hour at the most.

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
    show_bench(results, json=json)


@bench.command(help_epilogue=example_of("bench"))
def arithmetic(
    model: str = "qwen2.5-7b",
    /,
    *,
    k: Annotated[str | None, Parameter(metavar="A,B,...")] = "1,2,4,8,16,32,64",
    tokens: int = 64,
    rank: int = 16,
    width: int = 2,
    tflops: float = 989.0,
    bandwidth: float = 3350.0,
    json: bool = False,
) -> None:
    """Operations and bytes of one training step of K adapters; nothing is measured.

    They follow from the model's shape.

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
        ks=numbers(k or ""),
        tokens=tokens,
        rank=rank,
        width=width,
        tflops=tflops,
        bandwidth=bandwidth,
    )
    show_bench(results, json=json)


@bench.command(help_epilogue=example("selfedit bench racing runs/a runs/b"))
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
    """What racing (rl.racing) saves, and whether it keeps the same self-edits.

    They are held against those that all repeats for all would keep.

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
    show_bench(results, json=json)


@bench.command(help_epilogue=example("selfedit bench page docs/performance.md runs/bench-inner"))
def page(
    page: Path,
    results: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    json: bool = False,
) -> None:
    """Write benchmarks' results into the marked places of a Markdown page.

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
