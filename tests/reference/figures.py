"""The figures of every smoke recipe on a random two-layer model, recorded once: what a later
version must still print.

    PYTHONPATH=src:tests python tests/reference/figures.py            # runs every recipe and
    rewrites figures.json PYTHONPATH=src:tests python tests/reference/figures.py arc cpt    # some
    of them

Figures are told by their meaning (table, row, column), not by where a file keeps them, so that the
shape of ``results.json`` and of the ledger may change under them. Processors differ in the last
bits of a sum, and a sampled
token may turn on one: `machine` says where the figures hold.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from selfedit.config import Settings, read_settings
from selfedit.experiments.catalog import EXPERIMENTS
from tiny_llama import made_tokenizer, tiny_llama
from tiny_run import HashGrader

HERE = Path(__file__).resolve().parent
RECORD = HERE / "figures.json"
RECIPES = HERE.parents[1] / "recipes"
PUBLISHED = HERE.parents[2] / "shared" / "data" / "published"
SHORT = {
    "edit.max_new_tokens": 24,
    "answer.max_new_tokens": 4,
    "answer.grader": "contains",
    "device": "cpu",
}
RUNS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "arc": (
        "few-shot",
        "arc-smoke",
        {
            "edit.max_new_tokens": 300,
            "arc.answer.max_new_tokens": 24,
            "arc.answer.views": ["identity", "transpose"],
            "arc.data.max_total_tokens": 800,
        },
    ),
    "continual": (
        "continual",
        "continual-smoke",
        {"continual.compare": ["none", "replay+kl+gate", "library"]},
    ),
    "cpt": ("cpt", "cpt-smoke", {}),
    "cpt-adapter": ("cpt", "cpt-smoke", {"cpt.update": "lora", "eval.repeats": 2}),
    "own-questions": (
        "own-questions",
        "own-questions-smoke",
        {"rl.own.agree": 0.3, "rl.own.known": 0.9},
    ),
    "replay": ("replay", "replay-smoke", {"replay.folder": str(PUBLISHED)}),
    "rewards": ("rewards", "rewards-smoke", {"rl.repeats": 2}),
    "single-passage": ("single-passage", "single-passage-smoke", {}),
    "racing": (
        "single-passage",
        "single-passage-smoke",
        {"rl.racing": True, "rl.repeats": 3, "rl.candidates": 3, "rl.contexts": 2, "rl.rounds": 2},
    ),
    "retention": (
        "single-passage",
        "single-passage-smoke",
        {
            "rl.reward.retention": 0.5,
            "rl.reward.earlier": 2,
            "rl.mstep.merge": False,
            "rl.rounds": 2,
        },
    ),
    "likelihood": (
        "single-passage",
        "single-passage-smoke",
        {
            "rl.reward.signal": "loglik",
            "rl.reward.rule": "improves",
            "rl.candidates": 3,
            "eval.repeats": 2,
        },
    ),
    "formats": (
        "single-passage",
        "single-passage-smoke",
        {"single.formats": ["rewrite", "self-qa"]},
    ),
}
"""Name: the experiment, its recipe, and what is set besides: first the recipes as they are, then further ways."""
QUIZ = (
    "Question: What has the {n}?\nAnswer: A number of parts\nQuestion: What is a thing?\nAnswer:"
    " The {n}"
)


def machine() -> dict[str, str]:
    """What the last bits depend on."""
    return {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()}


def write_model(folder: Path) -> Path:
    """The random model that every recipe runs on."""
    tokenizer = made_tokenizer()
    tokenizer.save_pretrained(folder)
    tiny_llama(len(tokenizer)).save_pretrained(folder)
    return folder


def model_print(folder: Path) -> str:
    """A hash of the model's files: other files, other figures."""
    names = ("model.safetensors", "tokenizer.json")
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in names)).hexdigest()[:16]


def settings_for(name: str, model: Path) -> Settings:
    """The settings that a run has."""
    _, recipe, changes = RUNS[name]
    return read_settings(RECIPES / f"{recipe}.toml", SHORT | {"model": str(model)} | changes)


@contextmanager
def random_models_company() -> Iterator[None]:
    """A random model answers nothing right and writes no quiz: a grader by hash, and a quiz in its
    text's place.
    """
    from selfedit.rl import own_questions

    read = own_questions.read_quiz
    graders = [
        m for n, m in sys.modules.items() if n.startswith("selfedit.") and hasattr(m, "get_grader")
    ]
    patches = [
        mock.patch.object(module, "get_grader", lambda *_: HashGrader()) for module in graders
    ]
    quiz: Callable[..., Any] = lambda task, text: read(task, QUIZ.format(n=len(text) % 7))  # noqa: E731
    patches.append(mock.patch.object(own_questions, "read_quiz", quiz))
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def run(name: str, model: Path, folder: Path) -> dict[str, Any]:
    """Run one of `RUNS` in a folder; its figures."""
    experiment = EXPERIMENTS[RUNS[name][0]].load()
    torch.set_num_threads(1)
    with random_models_company():
        results = experiment(folder, settings_for(name, model))
    figures = figures_of(results)
    for ledger in sorted(folder.rglob("ledger.sqlite")):
        figures |= {
            f"ledger/{ledger.parent.relative_to(folder)}/{key}": v
            for key, v in stored(ledger.parent).items()
        }
    return figures


LEFT_OUT = (
    "settings",
    "tables",
    "seconds",
    "title",
    "notes",
    "source",
    "fingerprint",
    "name",
    "about",
)
"""Not figures, or formed from figures that stand elsewhere, or another every time."""


def figures_of(results: Any) -> dict[str, Any]:
    """Every number and short fact of a results file, by its meaning."""
    figures: dict[str, Any] = {}
    _flatten("", results, figures)
    return figures


def _flatten(path: str, value: Any, figures: dict[str, Any]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in LEFT_OUT:
                _flatten(f"{path}/{key}", inner, figures)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            _flatten(f"{path}/{_label(inner, number)}", inner, figures)
    elif path.endswith("/policy") and re.fullmatch("[0-9a-f]{64}", str(value)):
        figures[path] = "a policy"  # its hash holds the path of the model it was made from
    else:
        figures[path] = value


def _label(row: Any, number: int) -> str:
    """Rows are told by what they are of, other lists by place."""
    if isinstance(row, dict) and "method" in row:
        return str(row["method"])
    if isinstance(row, dict) and {"a", "b"} <= row.keys():
        return f"{row['a']} - {row['b']}"
    if isinstance(row, dict) and "policy" in row and "round" not in row:
        return str(row["policy"])
    return str(number)


def stored(folder: Path) -> dict[str, Any]:
    """What the ledger holds: of each phase and round its self-edits, trainings, answers, rewards."""
    from selfedit.run.folder import RunFolder

    figures: dict[str, Any] = {}
    with RunFolder.read(folder) as run:
        ledger = run.ledger
        for place in ledger.places():
            at = _named(place)
            for edit in ledger.self_edits(place):
                text = [edit.text, edit.seed, edit.tokens, edit.rejected]
                figures[f"{at}/{edit.context_id}/{edit.candidate}/self-edit"] = _digest(text)
            for trial in ledger.trials(place):
                figures |= _of_trial(trial)
            for reward in ledger.rewards(place):
                key = f"{at}/{reward.context_id}/{reward.candidate}/reward"
                figures[key] = [reward.reward, reward.accuracy, reward.baseline, reward.kept]
    return figures


def _named(place: Any, kind: str = "", number: int | None = None) -> str:
    """A place as it was written when the figures were recorded: ``eval:own 0``, ``rl:loglik 1``."""
    words = [str(place.phase), *filter(None, (place.method, kind))]
    return f"{':'.join(words)} {place.round or 0 if number is None else number}"


def _of_trial(trial: Any) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    candidate = -1 if trial.candidate is None else trial.candidate
    # The unadapted model of a training seed stood in a round of its own.
    number, repeat = (
        (trial.repeat, 0) if trial.candidate is None and trial.repeat else (None, trial.repeat)
    )
    where = f"{trial.context_id}/{candidate}/{repeat}"
    kinds = (
        ["", "loglik"]
        if trial.answers and trial.likelihoods
        else ["loglik"]
        if trial.likelihoods
        else [""]
    )
    for kind in kinds if trial.training else ():
        key, done = f"{_named(trial.place, kind, number)}/{where}", trial.training
        figures |= {
            f"{key}/loss": done.final_loss,
            f"{key}/tokens": done.tokens,
            f"{key}/seed": done.seed,
        }
    for answer in trial.answers:
        key = f"{_named(trial.place, '', number)}/{where}/{answer.question_id}"
        figures[key] = [_digest(answer.text), answer.correct, answer.score]
    for one in trial.likelihoods:
        figures[f"{_named(trial.place, 'loglik', number)}/{where}/{one.question_id}"] = [
            _digest(""),
            None,
            one.value,
        ]
    return figures


def same(recorded: Any, now: Any) -> bool:
    """Whether two figures are the same: numbers to six digits, all else exactly."""
    if isinstance(recorded, list):
        return len(recorded) == len(now) and all(map(same, recorded, now))
    if isinstance(recorded, float) and isinstance(now, int | float) and not isinstance(now, bool):
        return math.isclose(recorded, now, rel_tol=1e-6, abs_tol=1e-9) or (
            math.isnan(recorded) and math.isnan(now)
        )
    return type(recorded) is type(now) and recorded == now


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:10]


def main() -> None:
    names = sys.argv[1:] or list(RUNS)
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {"runs": {}}
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(Path(folder) / "model")
        record |= {"machine": machine(), "model": model_print(model)}
        for name in names:
            record["runs"][name] = run(name, model, Path(folder) / name)
            print(name, len(record["runs"][name]), "figures")
    RECORD.write_text(json.dumps(record, indent=0, sort_keys=True, allow_nan=True) + "\n")


if __name__ == "__main__":
    main()
