"""The runs behind the tables of the recipes' pages, one after the other, and the pages written anew.

    python tools/tables.py                        which there are, how far each is, what it takes
    python tools/tables.py NAME ... [--seeds N]   run these with what they need, and write their blocks
    python tools/tables.py NAME -- --device cuda  the same with more options for every run

A run that was stopped goes on where it stopped; a finished one costs nothing. Minutes are those of
two idle cores. A page is written only from runs that are all finished.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

RECIPES = Path("recipes")
RUNS = Path("runs")
UPPER = {"half": 15, "third": 20, "six": 24}
"""The lowest of SmolLM2's thirty layers that has an adapter."""


@dataclass(frozen=True)
class Run:
    """A run: its folder's name, the words of its command, the minutes it takes."""

    name: str
    words: tuple[str, ...]
    minutes: int
    needs: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return RUNS / self.name

    def is_done(self) -> bool:
        """Whether its results are there."""
        return (self.folder / "results.json").exists()


@dataclass(frozen=True)
class Page:
    """A block of a page and the runs it is written from."""

    block: str
    page: str
    runs: tuple[Run, ...]
    verb: str = "report"


def training(name: str, minutes: int, *more: str) -> Run:
    """A run of the recipe for the update rules."""
    words = ("train", "--recipe", "recipes/rl-methods-cpu.toml", *more)
    return Run(name, words, minutes)


def experiment(name: str, kind: str, recipe: str, minutes: int, *more: str, **needs: str) -> Run:
    """A run of an experiment; ``needs`` are runs whose policy its recipe names."""
    words = ("experiment", kind, "--recipe", f"recipes/{recipe}.toml", *more)
    return Run(name, words, minutes, tuple(needs.values()))


POLICIES = {
    run.name: run
    for run in (
        training("rl-0", 16, "--rl.rounds", "1", "--heldout", "none"),
        training(
            "rl-retention-0", 19,
            "--rl.rounds", "1", "--heldout", "none", "--rl.reward.retention", "1",
        ),
    )
}  # fmt: skip


def layers() -> Iterator[Run]:
    """The study of adapters in fewer layers."""
    yield experiment("layers-all", "single-passage", "layers-cpu", 8)
    for name, lowest in UPPER.items():
        chosen = ",".join(str(layer) for layer in range(lowest, 30))
        more = ("--inner.lora.layers", chosen)
        yield experiment(f"layers-{name}", "single-passage", "layers-cpu", 6, *more)


def update_rules(seeds: int) -> Iterator[Run]:
    """Every update rule with so many seeds."""
    for seed in range(seeds):
        for rule in ("filtered_sft", "rloo", "grpo"):
            more = ("--rl.update", rule, "--seed", str(seed))
            yield training(f"{rule}-{seed}", 81, *more)


def pages(seeds: int) -> list[Page]:
    """Every block that is made here."""
    cpt = experiment("cpt-cpu", "cpt", "cpt-cpu", 23, policy="rl-0")
    lora = experiment("cpt-lora", "cpt", "cpt-cpu", 18, "--cpt.update", "lora", policy="rl-0")
    crossed = experiment("crossed-cpu", "crossed", "crossed-cpu", 22, policy="rl-0")
    needs = {"policy": "rl-0", "retention": "rl-retention-0"}
    continual = experiment("continual-rl-cpu", "continual", "continual-rl-cpu", 26, **needs)
    return [
        Page("layers", "layers", tuple(layers()), "compare"),
        Page("cpt-cpu", "cpt", (cpt,)),
        Page("cpt-lora", "cpt", (lora,)),
        Page("crossed-cpu", "crossed", (crossed,)),
        Page("continual-rl-cpu", "continual", (continual,)),
        Page("rl-methods", "rl-methods", tuple(update_rules(seeds))),
    ]


def start(run: Run, more: Sequence[str]) -> None:
    """Run what a run needs, then the run itself; both go on where they stopped.

    Raises:
        SystemExit: a command failed; with its exit code.
    """
    for name in run.needs:
        start(POLICIES[name], more)
    if run.is_done():
        print(f"{run.name}: done")
        return
    call(*run.words, "-o", str(run.folder), *more)


def call(*words: str) -> None:
    """Run selfedit, and end with its exit code where that is not 0."""
    print("selfedit", *words, flush=True)
    code = subprocess.call([sys.executable, "-m", "selfedit", *words])
    if code:
        raise SystemExit(code)


def write(page: Page) -> None:
    """Write a page's block from its runs."""
    folders = [str(run.folder) for run in page.runs]
    call(page.verb, *folders, "--into", str(RECIPES / f"{page.page}.md"), "--block", page.block)


def show(every: Sequence[Page]) -> None:
    """Print a line for each block."""
    for page in every:
        done = sum(run.is_done() for run in page.runs)
        waiting = {run.name: run for run in page.runs if not run.is_done()}
        for name in [need for run in waiting.values() for need in run.needs]:
            if not POLICIES[name].is_done():
                waiting[name] = POLICIES[name]
        minutes = sum(run.minutes for run in waiting.values())
        print(f"{page.block:18} {done} of {len(page.runs)} runs done, {minutes:5} minutes to go")


def main() -> None:
    """See the module."""
    words = sys.argv[1:]
    more = words[words.index("--") + 1 :] if "--" in words else []
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="blocks; none: list them")
    parser.add_argument("--seeds", type=int, default=6, help="policies of each update rule")
    args = parser.parse_args(words[: len(words) - len(more)])
    every = pages(args.seeds)
    names = [name for name in args.names if name != "--"]
    if unknown := {*names} - {page.block for page in every}:
        parser.error(f"no block is called {', '.join(sorted(unknown))}")
    for page in every:
        if page.block in names:
            for run in page.runs:
                start(run, more)
            write(page)
    if not names:
        show(every)


if __name__ == "__main__":
    main()
