# ruff: noqa: E501 - an input a line
"""What is fuzzed: each reader of files, replies and texts from outside, with a few small inputs to
begin with.
"""

from __future__ import annotations

import gzip

from folder_targets import CHANGE, FOLDERS
from target import Target, file, plain, text

from selfedit.config import read_settings
from selfedit.documents.adapt import read_about
from selfedit.documents.library_state import read_library
from selfedit.endpoint.reply import Again, retry_after
from selfedit.endpoint.transport import read_reply
from selfedit.errors import SelfEditError
from selfedit.experiments.arc.prime import primed_record
from selfedit.grading.grader import GRADERS, get_grader
from selfedit.grading.judge import read_verdict
from selfedit.grading.labels import read_labels
from selfedit.lm.lora import Adapter
from selfedit.models import manifest
from selfedit.models.config import check_tables, read_config, shards
from selfedit.rl.rewards.proxy import read_marks
from selfedit.run.folder import RunFolder
from selfedit.storage.neutral import file_name, in_csv, in_html, in_lines, in_markdown, in_picture
from selfedit.tasks.arc.dataset import load_tasks
from selfedit.tasks.arc.grids import parse_text
from selfedit.tasks.arc.parse import parse_self_edit
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.documents import split_document
from selfedit.tasks.knowledge.edits import parse_edit
from selfedit.tasks.knowledge.written import read_self_edits


def reply(raw: str) -> object:
    try:
        return read_reply(raw)
    except Again as again:
        raise SelfEditError(again.what) from again


def graded(raw: str) -> object:
    """A question, a gold answer and a reply, by each grader that needs no model."""
    question, gold, reply = (*raw.split("|"), "", "", "")[:3]
    names = [name for name in GRADERS if name != "judge"]
    return [get_grader(name).grade(question, [gold], reply) for name in names]


def overridden(raw: str) -> object:
    """A dotted setting and its value."""
    name, _, value = raw.partition("=")
    return read_settings(overrides={name: value})


def shown(name: str) -> object:
    return [make(name) for make in (file_name, in_csv, in_html, in_lines, in_markdown, in_picture)]


LABEL = {"question": "q", "gold": "g", "prediction": "p", "votes_yes": 2, "votes": 3}
SQUAD = {"title": "t", "context": "c", "questions": [{"question": "q", "answers": [{"text": "a"}]}]}
ROW = {
    "title": "t",
    "context": "c",
    "question": "q",
    "answers": {"text": ["a"], "answer_start": [0]},
}
TASK = {
    "train": [{"input": [[0, 1]], "output": [[1, 0]]}],
    "test": [{"input": [[2]], "output": None}],
}
ADAPTER = {
    "peft_type": "LORA",
    "r": 2,
    "lora_alpha": 4.0,
    "lora_dropout": 0.1,
    "use_rslora": True,
    "bias": "none",
}
CONFIG = {
    "model_type": "llama",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "rms_norm_eps": 1e-5,
    "layer_types": ["x"],
}
ENTRY = {
    "name": "a",
    "version": "v",
    "adapter": "documents/a",
    "passages": 1,
    "recall": {"loss": CHANGE, "general_loss": CHANGE},
}
REPLY = {
    "choices": [{"finish_reason": "stop", "message": {"content": "yes"}}],
    "usage": {"prompt_tokens": 3},
}
ARC_EDIT = {
    "data_generation": {"use_basic_augmentations": True, "use_size_augmentations": False, "use_chain_augmentations": False,
                        "use_repeat_augmentations": False},
    "training": {"strategy": "train_using_all_tokens", "learning_rate": 1e-3, "num_train_epochs": 2},
}  # fmt: skip
MARKDOWN = (
    b"---\na: b\n---\n# Head\n\nText[^1] <b>x</b> <y z>.\n\n- a\n\n| a | b |\n|---|---|\n| c | d"
    b" |\n\n[^1]: Note\n"
)

TARGETS = {
    "labels": Target(file("l.jsonl", read_labels), (plain(LABEL), plain([LABEL, LABEL | {"label": True}]))),
    "packed labels": Target(file("l.jsonl.gz", read_labels), (gzip.compress(plain(LABEL)),)),
    "self-edits": Target(file("e.json", read_self_edits), (plain([{"context": "c", "self_edits": ["a"]}]),)),
    "passages": Target(file("p.json", load_contexts), (plain([SQUAD]), plain({"data": []}), plain(ROW))),
    "lines": Target(file("p.jsonl", load_contexts), (plain(SQUAD) + b"\n" + plain(ROW),)),
    "tasks": Target(file("t.json", load_tasks), (plain(TASK), plain({"a": TASK}))),
    "packed self-edits": Target(
        file("e.jsonl.gz", read_self_edits), (gzip.compress(plain({"context": "c", "self_edits": ["a"]})),)
    ),
    "documents": Target(file("d.md", load_contexts), (MARKDOWN, MARKDOWN.decode().encode("utf-16"))),
    "text files": Target(file("d.txt", load_contexts), (b"Head\n====\n\nA. B!\n", b"\xff\xfea\0")),
    "recipe": Target(file("r.toml", read_settings), (b'seed = 1\n[inner.optim]\nlr = 1e-3\n[rl]\nrounds = 2\n',)),
    "adapter": Target(file("adapter_config.json", lambda path: Adapter.load(path.parent)), (plain(ADAPTER),)),
    "model settings": Target(file("config.json", lambda path: read_config(path.parent)), (plain(CONFIG),)),
    "generation settings": Target(
        file("generation_config.json", lambda path: check_tables(path.parent)), (plain({"eos_token_id": [1, 2]}),)
    ),
    "weight index": Target(
        file("model.safetensors.index.json", shards), (plain({"weight_map": {"a": "m.safetensors"}}),)
    ),
    "manifest": Target(
        file(manifest.NAME, lambda path: manifest.check(path.parent, fix="x")),
        (plain({"source": "x", "files": {manifest.NAME: {"size": 2, "mtime_ns": 1, "sha256": "0"}}}),),
    ),
    "run": Target(
        file("run.json", lambda path: RunFolder.read(path.parent)),
        (plain({"program": "selfedit", "kind": "knowledge", "format": 1}),),
    ),
    "library": Target(file("library.json", lambda path: read_library(path.parent)), (plain({"model": "tiny", "documents": [ENTRY]}),)),
    "about": Target(file("selfedit.json", lambda path: read_about(path.parent)), (plain({"model": {"name": "x"}}),)),
    "replies": Target(text(reply), (plain(REPLY),)),
    "pauses": Target(text(lambda value: retry_after({"retry-after": value})), (b"3", b"Wed, 21 Oct 2015 07:28:00 GMT")),
    "marks": Target(text(read_marks), (b'{"length": 3, "diversity": 3, "quality": 3, "correctness": 3}',)),
    "verdicts": Target(text(read_verdict), (b"<think>hm</think> Verdict: yes",)),
    "self-edit": Target(
        text(lambda value: parse_edit(value, read_settings().edit)), (b"1. A fact.\nQuestion: q\nAnswer: a\n@train lr=1",)
    ),
    "ARC self-edit": Target(
        text(lambda value: parse_self_edit(value, read_settings().arc.spec)), (plain(ARC_EDIT),)
    ),
    "grids": Target(text(parse_text), (b"01|10", b"0 1\n1 0", b"[[0, 1], [1, 0]]")),
    "answers": Target(text(graded), (b"Who built Vell?|Ada Brannoch|It was Ada Brannoch, in 1412.",), 5),
    "settings": Target(
        text(overridden), (b"inner.optim.lr=1e-3", b"eval.methods=base,own", b"judge.endpoint.url=http://x/v1")
    ),
    "primed model": Target(file("primed.json", lambda path: primed_record(path.parent)), (plain({"model": {}}),)),
    "markdown": Target(text(lambda value: split_document(value, title="t", markdown=True)), (MARKDOWN,)),
    "plain text": Target(text(lambda value: split_document(value, title="t", markdown=False)), (b"Head\n====\n\nA. B!\n",)),
    "names": Target(text(shown), (b"a/../b [x](y) <z> $a$ \x1b[31m",)),
}  # fmt: skip
TARGETS |= FOLDERS
