"""The kind of update as a choice of ARC's self-edits: schema, grammar, prompt, training."""

from __future__ import annotations

import json
from dataclasses import replace

from selfedit.config import SelfEditSpec, make_settings
from selfedit.tasks.arc.contexts import arc_context
from selfedit.tasks.arc.few_shot import FewShotTask, plain
from selfedit.tasks.arc.parse import Rejection, parse_self_edit
from selfedit.tasks.arc.rules import rule_task
from selfedit.tasks.arc.self_edit import ORACLE, json_schema

SPEC = SelfEditSpec(tools=("rank", "layers"))
EDIT = replace(ORACLE, tools=(("rank", "8"), ("layers", "upper")))


def test_they_are_written_read_and_bounded() -> None:
    assert parse_self_edit(EDIT.to_json(), SPEC) == EDIT
    assert isinstance(parse_self_edit(ORACLE.to_json(), SPEC), Rejection), "a key is missing"
    assert isinstance(parse_self_edit(EDIT.to_json(), SelfEditSpec()), Rejection), "not allowed"
    wrong = EDIT.to_json().replace('"rank":"8"', '"rank":"4096"')
    assert isinstance(parse_self_edit(wrong, SPEC), Rejection)
    training = json_schema(SPEC)["$defs"]["Training"]["properties"]
    assert training["rank"]["enum"] == ["4", "8", "16", "32"]
    assert json_schema(SelfEditSpec()) == json_schema(replace_tools(()))


def replace_tools(tools: tuple[str, ...]) -> SelfEditSpec:
    return SPEC.model_copy(update={"tools": tools})


def test_they_are_asked_for_sampled_and_obeyed(tiny_lm) -> None:
    settings = make_settings({"arc": {"spec": {"tools": ("rank", "layers")}}})
    context = arc_context(rule_task("mirror", 0), 0, settings.arc.answer)
    task = FewShotTask(tiny_lm, settings, [context])
    asks = tiny_lm.decode(task.prompt(context))
    assert "rank (size of the adapter): one of 4, 8, 16, 32" in asks and "layers" in asks
    job = task.inner_loop(context, replace(EDIT, epochs=1, families=()), 0)
    assert job is not None and (job.lora.rank, job.lora.layers) == (8, (1,))
    assert plain(EDIT)["rank"] == "8" and "rank" not in plain(ORACLE)
    row = task.rule()
    assert row is not None
    for token in tiny_lm.encode(EDIT.to_json()):
        row.advance(token)
    record = json.loads(EDIT.to_json())["training"]
    assert list(record)[-2:] == ["rank", "layers"]
