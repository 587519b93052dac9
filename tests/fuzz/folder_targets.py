# ruff: noqa: E501 - an input a line
"""Readers that are fuzzed in a folder of their own: of runs, models, adapters, libraries."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import scenes
import torch
from safetensors.torch import save
from scenes import within
from target import Target, file, plain, text

from selfedit.documents.library import _PASSAGES
from selfedit.endpoint.store import ReplyRow, ReplyStore
from selfedit.grading.calibrated import CalibratedGrader
from selfedit.inner.checkpoint import Checkpoint, _content_hash
from selfedit.lm.lora import Adapter
from selfedit.report.bench_page import fill_page
from selfedit.report.markdown import rewrite
from selfedit.rl.finetune import _read_about
from selfedit.run.folder import RunFolder
from selfedit.storage.files import canonical_json

NUMBER = {"mean": 0.5, "se": 0.1, "n": 2}
CHANGE = {"before": NUMBER, "after": NUMBER, "paired": {"difference": 0.1, "se": None, "n": 2}}
ROWS = [
    {"method": method, "accuracy": 0.5, "se": 0.1, "n": 2} for method in ("base", "own", "seal")
]
APART = dict.fromkeys(
    ("kl", "entropy_before", "entropy", "changed", "tokens_before", "tokens", "facts"), 1.0
) | {"prompts": 3, "facts_before": 2.0}  # fmt: skip
ROUND = {
    "round": 1, "baseline": 0.1, "accuracy": 0.2, "best": 0.3, "kept": 1, "self_edits": 2,
    "movement": {"reason": None, "learned": APART, "heldout": None},
}  # fmt: skip
RESULTS = {
    "experiment": "knowledge",
    "title": "T",
    "rows": ROWS,
    "paired": [{"a": "own", "b": "base", "difference": 0.1, "se": 0.1, "n": 2}],
    "tables": [{"title": "T", "columns": ["a", {"name": "b", "form": "percent"}], "rows": [["x", 0.5]]}],
    "notes": ["note"],
    "names": {"base": "the base"},
    "published": {"source": "s", "rows": {"base": {"value": 0.3, "se": None, "n": 200}}, "paired": []},
    "contexts": {row["method"]: {"c0": 0.5} for row in ROWS},
    "tasks": {"train": ["t"], "heldout": ["c0"]},
    "self_edits": [{"policy": "own", "n": 1, "tokens": 3.0, "facts": 1.0}],
    "order": [{"from": "base", "to": "own", "holds": True, "z": 1.0}],
    "canary": [{"method": "constant-list", "accuracy": 0.1, "se": None, "n": 2}],
    "answer_words": {"base": 2.0},
    "training": {"full": [{"documents": 1, "steps": 2, "tokens": 3, "losses": [1.0, 0.5]}]},
    "rounds": [ROUND],
    "model": {"name": "m"},
    "settings": {"seed": 1, "eval": {"repeats": 2}},
    "grader": "contains",
}  # fmt: skip
LIBRARY = {
    "experiment": "library",
    "documents": [{"name": "a", "version": "v", "adapter": "documents/a", "passages": 1, "recall": {"loss": CHANGE, "general_loss": CHANGE}}],
    "done": {"learned": ["a"], "removed": []},
    "routed": {"a": {"right": 1, "questions": 2}},
    "model": {"name": "m"},
    "grader": "contains",
}  # fmt: skip
_HALF = {"mean": 0.5, "se": 0.1, "n": 2}
ADAPTED = {
    "experiment": "adapt", "passages": 1, "sequences": 2, "tokens": 3, "accuracy": CHANGE, "loss": CHANGE,
    "general_loss": CHANGE, "model": {"name": "m"}, "grader": "contains", "data": {}, "settings": {},
    "verdict": {
        "questions": 2, "before": _HALF, "weights": _HALF, "prompt": _HALF, "expected": _HALF, "covered": 0.5,
        "can": ["Who?"], "cannot": ["When?"], "damage": 0.01, "known_before": 3, "known_now": 2, "words": ["One of two."],
    },
    "answers": [{
        "id": "q", "question": "Who?", "answers": ["Ada"], "context": "c", "before": "Tam", "now": "Ada", "in_prompt": "Ada",
        "right_before": False, "right_now": True, "right_in_prompt": True,
    }],
    "title": "T", "names": {"before": "before"}, "notes": ["One of two."], "paired": [], "skipped": [],
    "rows": [{"method": "before", "accuracy": 0.5, "se": 0.1, "n": 2}],
    "tables": [{"title": "T", "columns": [{"name": "a", "form": "plain"}], "rows": [["x"]]}],
    "languages": [{
        "language": "Korean", "passages": 1, "tokens_per_character": 1.5, "bits_per_byte": 2.0, "hardly_known": True,
    }],
}  # fmt: skip
MATRIX = {
    "rows": [], "matrix": [[0.5]], "ways": {"none": {"matrix": [[0.5], [0.1, 0.2]]}}, "published": {"source": "s", "matrix": [[0.1]]},
}  # fmt: skip
FOREST = {
    "format": 2, "features_version": 1, "stems": {"questions": 3, "counts": {"a": 1}}, "threshold": 0.5,
    "features": ["whole_f1"], "questions": [], "trees": [[0, 0.5, -1.0, 1.0]], "base": 0.0, "about": {},
}  # fmt: skip
REPLY = ReplyRow(
    key="k", url="u", model="m", sample=0, request="{}", text="yes", finish="stop", tokens_in=1, tokens_out=1,
    raw="{}", attempts=1, seconds=0.1,
)  # fmt: skip
BENCH = {
    "benchmark": "racing", "notes": ["n"], "repeats": 3, "simulated": None,
    "stored": {"same": 0.5, "se": None, "n": 3, "races": 2, "saved": 0.1}, "targets": [{"figure": "f", "bound": "b", "measured": 1.5, "met": True}],
}  # fmt: skip
PAGE = b"# A page\n\n<!-- results: small -->\nold\n<!-- end of results -->\n"


class _Job:
    """Of a full training, what its record is compared with."""

    name = "x"


def _replies(path: Path) -> object:
    for part in ("-wal", "-shm"):
        path.with_name(path.name + part).unlink(missing_ok=True)
    store = ReplyStore(path)
    try:
        return store.find(["k"])
    finally:
        store.close()


def _reply_file() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store = ReplyStore(Path(folder) / "r.sqlite")
        store.add([REPLY])
        store.close()
        return (Path(folder) / "r.sqlite").read_bytes()


def _checkpoint_bytes() -> bytes:
    """A training's state with the key and the hash that are asked for."""
    state = {"values": torch.arange(6.0).reshape(2, 3)}
    return save(state, metadata={"key": "k", "done": "1", "sha256": _content_hash(state)})


def _grade(path: Path) -> object:
    return CalibratedGrader.load(path).grade("Who?", ["Ada"], "Ada did")


def _bench_page(path: Path) -> object:
    page = path.with_name("page.md")
    page.write_text("<!-- bench racing -->\n<!-- end -->\n")
    return fill_page(page, [path])


def _run_bytes(read, seed: object, name: str = "results.json", weight: int = 3) -> Target:
    return Target(within(name, scenes.run_folder, read), (plain(seed),), weight)


FOLDERS = {
    "results": _run_bytes(scenes.print_run, RESULTS),
    "results of documents": _run_bytes(scenes.print_table, ADAPTED),
    "results of a library": _run_bytes(scenes.print_table, LIBRARY),
    "pictures": Target(
        within("results.json", scenes.run_folder, scenes.draw_run), (plain(RESULTS), plain(MATRIX)), 1
    ),
    "environment": _run_bytes(scenes.note_environment, {"packages": {"torch": "2"}, "resumed_in": [{"a": 1}]}, "environment.json"),
    "frozen settings": Target(
        within("config.toml", scenes.run_folder, RunFolder.read), (b'model = "m"\nseed = 1\n',), 5
    ),
    "metrics": Target(
        within("metrics.jsonl", scenes.run_folder, lambda folder: RunFolder.read(folder).metrics()),
        (canonical_json({"id": "a", "loss": 1.0}),), 5,
    ),
    "ledger": Target(file("ledger.sqlite", scenes.read_ledger), (scenes.ledger_bytes(),), 2),
    "kept replies": Target(file("replies.sqlite", _replies), (_reply_file(),), 2),
    "tokenizer": Target(
        within("tokenizer.json", scenes.model_folder, scenes.read_tokenizer), (scenes.model_file("tokenizer.json"),), 1
    ),
    "tokenizer settings": Target(
        within("tokenizer_config.json", scenes.model_folder, scenes.read_tokenizer),
        (scenes.model_file("tokenizer_config.json"),), 1,
    ),
    "templates": Target(text(scenes.read_template), (scenes.model_file("chat_template.jinja"),), 2),
    "weights": Target(file("model.safetensors", scenes.read_weights), (scenes.tensor_bytes(),)),
    "adapter's weights": Target(
        within("adapter_model.safetensors", scenes.adapter_folder, Adapter.load), (scenes.adapter_bytes(),)
    ),
    "checkpoint": Target(
        file("training.safetensors", lambda path: Checkpoint(path, "k")._read()), (_checkpoint_bytes(),)
    ),
    "training record": Target(
        file("about.json", lambda path: _read_about(path.parent, _Job())),  # pyright: ignore[reportArgumentType]
        (plain({"job": "x", "losses": [1.0], "tokens": 3}),),
    ),
    "grader": Target(file("grader.json", _grade), (plain(FOREST),)),
    "document's passages": Target(
        file("texts.json", lambda path: _PASSAGES.shape(_PASSAGES.json(path), list[str], path)), (plain(["a"]),)
    ),
    "benchmark": Target(file("b.json", _bench_page), (plain(BENCH),)),
    "page": Target(file("page.md", partial(rewrite, name="small", text="new")), (PAGE,)),
}  # fmt: skip
