"""What is killed: small runs of the command line, and what they leave behind."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selfedit.run.folder import RunFolder
from tiny_llama import made_tokenizer, tiny_llama

Words = list[str]
_OF_THE_SESSION = {"environment.json", "metrics.jsonl", ".lock"}
"""Files that hold times, or what differs between two processes."""


def make_material(folder: Path) -> None:
    """A model, passages with questions, and documents."""
    tokenizer = made_tokenizer()
    tokenizer.save_pretrained(folder / "model")
    model = tiny_llama(len(tokenizer))
    model.model.layers = model.model.layers[:1]  # half the work: it is only killed
    model.config.num_hidden_layers = 1
    model.save_pretrained(folder / "model")
    for name, numbers in (("learn", range(2)), ("held", range(2, 4))):
        (folder / f"{name}.json").write_text(json.dumps([_passage(n) for n in numbers]))
    (folder / "documents").mkdir()
    for number in range(2):
        text = "".join(f"# Part {n}\nTower {number}{n} is tall.\n\n" for n in range(2))
        (folder / "documents" / f"tower-{number}.md").write_text(text)


def _passage(number: int) -> dict[str, Any]:
    return {
        "title": f"Bridge {number}",
        "context": f"Bridge {number} was built by Ada {number} and has {number} arches.",
        "questions": [
            {"question": "Who built it?", "answers": [f"Ada {number}"]},
            {"question": "How many arches has it?", "answers": [str(number)]},
        ],
    }


def scenarios(folder: Path) -> dict[str, Words]:
    """The commands, without where their results go."""
    model, documents = str(folder / "model"), str(folder / "documents")
    inner = {"inner.optim.epochs": 2, "inner.lora.rank": 2, "edit.max_new_tokens": 6}
    short = inner | {"answer.max_new_tokens": 2, "device": "cpu"}
    data = {"model": model, "train": folder / "learn.json", "heldout": folder / "held.json"}
    rl = {
        "rl.contexts": 2,
        "rl.candidates": 2,
        "rl.rounds": 2,
        "rl.reward.threshold": -1,
        "rl.mstep.lora.rank": 2,
        "rl.mstep.optim.epochs": 1,
        "inner.group": 2,
        "eval.methods": "base,seal",
    }
    sequence = {"continual.sequences": 2, "continual.steps": 2, "continual.probes": 1}
    return {
        "train": ["train", *_options(data | short | rl)],
        "train, two workers": ["train", *_options(data | short | rl | {"workers": 2})],
        "adapt": ["adapt", model, documents, *_options(short | {"inner.optim.epochs": 3})],
        "library": ["adapt", model, documents, "--library", *_options(short)],
        "continual": ["experiment", "continual", *_options(data | short | sequence)],
    }


def _options(values: dict[str, Any]) -> Words:
    return [f"--{name}={value}" for name, value in values.items()]


def content(folder: Path) -> dict[str, Any]:
    """All that a finished run has to show for itself, but its times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name == "run.json":
            found[f"{name}: ledger"] = _rows(path.parent)
        if path.is_file() and path.name not in _OF_THE_SESSION and "ledger.sqlite" not in path.name:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _rows(folder: Path) -> list[Any]:
    with RunFolder.read(folder) as run:
        ledger = run.ledger
        tables = (ledger.self_edits, ledger.trials, ledger.rewards)
        rows = [
            _timeless(asdict(row)) for place in ledger.places() for t in tables for row in t(place)
        ]
        return [rows, [(step.name, step.payload_json) for step in ledger.steps()]]


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(inner) for name, inner in value.items() if name != "seconds"}
    return [_timeless(inner) for inner in value] if isinstance(value, list | tuple) else value


def phases(folder: Path) -> set[str]:
    """The steps that the runs in a folder have finished so far, while they run."""
    found: set[str] = set()
    for path in [folder / "ledger.sqlite", *folder.glob("documents/*/ledger.sqlite")]:
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.1)) as db:
                found |= {name for (name,) in db.execute("SELECT name FROM steps")}
        except sqlite3.Error:
            continue  # just being made
    return found
