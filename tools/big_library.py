"""What a library of many documents costs: planning an update, asking, one document that changes.

    python tools/big_library.py 10000 [--out FOLDER]

The documents are invented and nothing is trained: each has a folder with a small adapter, as its
training would leave. Everything else is what `selfedit adapt --library` and `ask`
do. Seconds, and the memory that this process had at the most.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from selfedit.config import read_settings
from selfedit.documents import upkeep
from selfedit.documents.library import PASSAGES, Library
from selfedit.documents.recall import compared
from selfedit.documents.upkeep import adapt_library
from selfedit.lm.load import load_without_weights
from selfedit.lm.lora import Adapter, LoraSpec

SYLLABLES = "bacedifogukelimonuparesitovuwaxeyizo"
"""Two letters each."""
QUESTIONS = 50
SENTENCES = 6


@dataclass(frozen=True)
class Figures:
    """What was measured, in seconds and MB.

    Attributes:
        documents: in the library.
        learn: making the library, without any training.
        plan: an update that finds nothing new, all of it.
        change: an update with one changed document, all of it.
        load: making ready to be asked.
        route: one question, the mean of many.
        longest: the slowest of them.
        peak: memory of this process at the most.
    """

    documents: int
    learn: float
    plan: float
    change: float
    load: float
    route: float
    longest: float
    peak: float


def word(source: random.Random) -> str:
    """An invented word."""
    starts = range(0, len(SYLLABLES), 2)
    chosen = source.choices(starts, k=source.randint(2, 4))
    return "".join(SYLLABLES[start : start + 2] for start in chosen)


def write_documents(folder: Path, count: int) -> list[str]:
    """Invented documents in folders of a hundred; returns a question to each of some."""
    source, questions = random.Random(0), []
    for number in range(count):
        name, place, thing = (word(source).capitalize() for _ in range(3))
        lines = [f"# {name}", f"{name} is kept in {place} by the people of {thing}."]
        for _ in range(SENTENCES):
            a, b = word(source), word(source).capitalize()
            lines.append(f"In {source.randint(1100, 1999)} its {a} was moved to {b} by boat.")
        path = folder / f"{number // 100:03d}" / f"{number:05d}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        questions.append(f"Who keeps {name} in {place}?")
    return questions[:: max(1, count // QUESTIONS)]


def passages(folder: Path) -> list[str]:
    """What a document says, without the run that a training would have left in its folder."""
    return json.loads((folder / PASSAGES).read_text(encoding="utf-8"))


def _write(path: Path, data: bytes) -> None:
    # Without waiting for the disk: ten thousand times that is no part of what is measured.
    path.write_bytes(data)


@contextmanager
def nothing_trained() -> Iterator[None]:
    """Documents are learned in no time: their folders get what a training leaves."""
    a, b = torch.zeros(1, 8), torch.zeros(8, 1)
    adapter = Adapter(LoraSpec(1, 1, ("q_proj",)), {"model.layers.0.self_attn.q_proj": (a, b)})

    same = compared({"a": 3.0, "b": 2.0}, {"a": 1.0, "b": 1.0})

    def learned(folder: Path, *_: Any, **__: Any) -> dict[str, Any]:
        adapter.save(folder)
        return {"loss": same, "general_loss": same}

    with (
        patch.object(upkeep, "adapt_passages", learned),
        patch.object(upkeep, "train_together", lambda *_, **__: None),
        patch.object(upkeep, "_load_model", lambda *_: None),
        patch.object(upkeep, "read_texts", passages),
        patch.object(upkeep, "write_atomic", _write),
    ):
        yield


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(count: int, folder: Path, model: str = "smollm2-135m") -> Figures:
    """Make a library of so many documents and measure it."""
    documents, library = folder / "documents", folder / "library"
    questions = write_documents(documents, count)
    settings = read_settings(overrides={"model": model})
    lm = load_without_weights(model)

    def update() -> None:
        adapt_library(library, [documents], settings, samples=1, own_questions=False)

    with nothing_trained():
        learn, plan = timed(update), timed(update)
        changed = documents / "000" / "00000.md"
        changed.write_text(changed.read_text(encoding="utf-8") + "It was moved again.\n")
        change = timed(update)
    opened: list[Library] = []
    load = timed(lambda: opened.append(Library(library, lm)))  # pyright: ignore[reportArgumentType]
    routes = [timed(lambda text=text: opened[0].route(text)) for text in questions]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    mean = sum(routes) / len(routes)
    return Figures(count, learn, plan, change, load, mean, max(routes), peak)


def main() -> int:
    """Measure one library and print the figures."""
    parser = argparse.ArgumentParser(description="what a library of many documents costs")
    parser.add_argument("documents", type=int)
    parser.add_argument(
        "--out", type=Path, help="where it is made; a temporary folder if not given"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        figures = measure(options.documents, options.out or Path(temporary))
    print(json.dumps({name: round(value, 4) for name, value in vars(figures).items()}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
