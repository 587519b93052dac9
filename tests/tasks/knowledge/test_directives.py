"""What a self-edit asks of its training: in the prompt, in the grammar, obeyed, recorded, reported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from selfedit.config import DirectiveSettings, EditSettings, make_settings, read_settings
from selfedit.documents.adapt import adapt_documents
from selfedit.errors import UsageError
from selfedit.experiments.knowledge.train import run_knowledge
from selfedit.inner.adapt import adapt
from selfedit.lm.generate import generate
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.rules import allowed_tokens
from selfedit.rl.evaluate import held_out
from selfedit.run.folder import RunFolder
from selfedit.tasks.knowledge import text_tools
from selfedit.tasks.knowledge.directives import (
    combined,
    directive_choices,
    directive_clause,
)
from selfedit.tasks.knowledge.edits import Directives, ParsedEdit, parse_edit
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.knowledge.text_tools import augmented, text_tool
from selfedit.tasks.task import Context, Question
from selfedit.tasks.update_tools import UPDATE_TOOLS, update_tool

RECIPES = Path(__file__).resolve().parents[3] / "recipes"
CONTEXT = Context(
    "c",
    "Mount Kerrigal",
    "Ada Voss climbed it in 1921. It has three peaks. Snow lies on it.",
    (Question("q", "Who climbed it?", ("Ada Voss",)),),
)
LINES = ("Ada Voss climbed the mountain in 1921.", "It has three peaks.")


def task(lm: LanguageModel, **directives: object) -> KnowledgeTask:
    allowed = {"allowed": True, "tools": ("all",), **directives}
    settings = {"edit": {"directives": allowed}, "inner": {"lora": {"rank": 16, "alpha": 32}}}
    return KnowledgeTask(lm, make_settings(settings))


@pytest.fixture
def own_tools() -> Iterator[None]:
    """A tool and a text tool of a user's, for one test."""

    @update_tool("dropout", choices=("none", "some"), about="share of inputs left out")
    def dropout(training, choice):  # pyright: ignore[reportUnusedFunction]
        share = 0.1 if choice == "some" else 0.0
        return replace(training, lora=replace(training.lora, dropout=share))

    @text_tool("backwards")
    def backwards(lines, context, rng):  # pyright: ignore[reportUnusedFunction]
        return [line[::-1] for line in lines]

    yield
    del UPDATE_TOOLS["dropout"], text_tools.TEXT_TOOLS["backwards"]


def test_the_prompt_tells_of_them_where_they_are_allowed(tiny_lm: LanguageModel) -> None:
    plain = KnowledgeTask(tiny_lm, make_settings({}))
    assert "@train" not in tiny_lm.decode(plain.prompt(CONTEXT))
    told = tiny_lm.decode(task(tiny_lm).prompt(CONTEXT))
    assert "@train lr=... epochs=... loss=... rank=..." in told
    assert "targets is attention or mlp or linear" in told and "augment is none or" in told
    only = directive_clause(DirectiveSettings(allowed=True, lr=(1e-3, 2e-3)))
    assert "lr is 0.001 or 0.002" in only and "rank" not in only
    assert directive_clause(DirectiveSettings()) == ""


def test_what_is_offered_is_what_is_obeyed(tiny_lm: LanguageModel) -> None:
    settings = task(tiny_lm).settings.edit
    for name, choices in directive_choices(settings.directives).items():
        for value in choices:
            parsed = parse_edit(f"@train {name}={value}\nIt is tall.", settings)
            assert not parsed.dropped and parsed.lines == ("It is tall.",), (name, value)
    for wrong in ("rank=5", "rank=4096", "targets=embed", "layers=1", "augment=x", "optimiser="):
        parsed = parse_edit(f"@train {wrong}\nIt is tall.", settings)
        assert parsed.directives == Directives()
        assert parsed.dropped == {f"directive {wrong.partition('=')[0]!r} unusable": 1}


def test_tools_change_the_training_within_their_bounds(tiny_lm: LanguageModel) -> None:
    made = task(tiny_lm)

    def job(text: str):
        return made.job(CONTEXT, made.parse(f"@train {text}\n{LINES[0]}"), 0)

    usual = job("epochs=2")
    small = job("rank=4")
    assert (small.lora.rank, small.lora.alpha) == (4, 8.0) and small.optim.epochs == 8
    assert job("targets=attention").lora.targets == ("q_proj", "k_proj", "v_proj", "o_proj")
    assert job("layers=upper").lora.layers == (1,) and job("layers=lower").lora.layers == (0,)
    assert job("layers=every").lora == usual.lora
    assert job("optimiser=decay").optim.weight_decay == 0.1
    assert job("optimiser=rmsprop").optim.betas == (0.0, 0.999)
    both = job("lr=0.0005 rank=8 targets=mlp")
    assert (both.optim.lr, both.lora.rank, both.lora.targets[0]) == (5e-4, 8, "gate_proj")


def test_trainings_of_every_kind_run_together_as_alone(small_folder: Path) -> None:
    lm = load(str(small_folder), device="cpu")
    made = task(lm, epochs=(1, 20))
    calls = ("rank=4", "targets=attention", "layers=upper", "optimiser=rmsprop", "augment=qa")
    jobs = [made.job(CONTEXT, made.parse(f"@train epochs=2 {c}\n{LINES[0]}"), 0) for c in calls]
    together = adapt(lm, jobs)
    for one, job in zip(together, jobs, strict=True):
        (alone,) = adapt(lm, [job])
        assert one.losses == pytest.approx(alone.losses, abs=1e-4)
    assert len({tuple(adapter.losses) for adapter in together}) == 5


def test_text_tools_add_what_they_say() -> None:
    rewritten = augmented("rewrite", LINES, CONTEXT)
    assert len(rewritten) == 2 and all(isinstance(line, str) for line in rewritten)
    assert all(line[1:] in str(more) for line, more in zip(LINES, rewritten, strict=True))
    assert rewritten == augmented("rewrite", LINES, CONTEXT) and rewritten[0] not in LINES
    pairs = augmented("qa", LINES, CONTEXT)
    assert pairs[1] == ("Complete: It has three ...", "peaks")
    (shuffled,) = augmented("shuffle", LINES, CONTEXT)
    assert shuffled != CONTEXT.text and sorted(str(shuffled).split()) == sorted(
        CONTEXT.text.split()
    )
    assert augmented("none", LINES, CONTEXT) == []


def test_augmentation_is_trained_on_before_the_passage(tiny_lm: LanguageModel) -> None:
    made = task(tiny_lm)
    edit = ParsedEdit(LINES, (), Directives(tools=(("augment", "qa"),)))
    sequences = made.sequences(CONTEXT, edit)
    assert len(sequences) == 2 + 2 + 1
    assert "Complete: It has three ..." in tiny_lm.decode(sequences[3].ids)
    assert CONTEXT.text in tiny_lm.decode(sequences[-1].ids)


def test_the_grammar_writes_a_whole_header_and_leaves_the_rest_free(small_folder: Path) -> None:
    pytest.importorskip("llguidance")
    lm = load(str(small_folder), device="cpu")
    made = task(lm, grammar=True)
    prompts = [made.prompt(CONTEXT)] * 6
    written = generate(
        lm,
        prompts,
        max_new_tokens=260,
        temperature=1.0,
        seeds=range(6),
        rules=[made.rule() for _ in prompts],
    )
    form = "@train lr=(.+) epochs=(.+) loss=(.+) rank=(.+) targets=(.+) layers=(.+) optimiser=(.+)"
    for one in written:
        header = one.text.split("\n")[0]
        assert re.fullmatch(f"{form} augment=(.+)", header)
        parsed = made.parse(header + "\nIt is tall.")
        assert len(parsed.directives.tools) == 5 and not parsed.dropped
    headers = {one.text.split("\n")[0] for one in written}
    assert len(headers) > 3 and len({one.text.split("\n", 1)[-1] for one in written}) > 3
    rule = made.rule()
    assert rule is not None
    masks = allowed_tokens(rule, written[0].sampled, len(lm.head))
    header = len(lm.encode(written[0].text.split("\n")[0]))
    assert len(masks[0]) < len(lm.head) and len(masks[-1]) == len(lm.head), header


def test_a_tool_of_ones_own_is_in_prompt_grammar_record_and_report(
    own_tools: None, small_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("llguidance")
    settings = read_settings(
        RECIPES / "directives-smoke.toml",
        {"model": str(small_folder), "device": "cpu", "edit.max_new_tokens": 280, "workers": 1},
    )
    lm = load(str(small_folder), device="cpu")
    made = KnowledgeTask(lm, settings)
    asks = lm.decode(made.prompt(CONTEXT))
    assert "dropout is none or some" in asks and "shuffle or backwards" in asks
    job = made.job(CONTEXT, made.parse("@train dropout=some augment=backwards\nIt is tall."), 0)
    assert job.lora.dropout == 0.1 and len(job.sequences) == 3
    results = run_knowledge(tmp_path / "run", settings)
    with RunFolder.read(tmp_path / "run") as run:
        rows = run.ledger.self_edits(held_out("own"))
    recorded = json.loads(rows[0].directives_json or "{}")
    assert recorded["dropout"] in ("none", "some") and "augment" in recorded
    shapes = {one["policy"]: one for one in results["self_edits"]}
    shares = shapes["held-out, own"]["asked"]
    assert shares[f"dropout={recorded['dropout']}"] == 1.0
    (table,) = [t for t in results["tables"] if "ask of their training" in t["title"]]
    assert any(row[0].startswith("dropout=") for row in table["rows"])


def test_a_tool_that_cannot_be_one_is_refused(tiny_lm: LanguageModel) -> None:
    for name, choices in (
        ("rank", ("1",)),
        ("lr", ("1",)),
        ("Bad", ("1",)),
        ("t", ()),
        ("t", ("a b",)),
    ):
        with pytest.raises(UsageError):
            update_tool(name, choices=choices, about="")
    with pytest.raises(UsageError, match="no tool 'magic'"):
        task(tiny_lm, tools=("magic",))
    with pytest.raises(ValidationError, match="grammar"):
        EditSettings.model_validate({"directives": {"grammar": True}})
    with pytest.raises(ValidationError, match="published"):
        EditSettings.model_validate({"reading": "published", "directives": {"allowed": True}})


def test_what_several_ask_for_together() -> None:
    asked = [
        Directives(lr=1e-3, epochs=2, loss="all", tools=(("rank", "4"),)),
        Directives(lr=2e-3, epochs=8, tools=(("rank", "8"),)),
        Directives(lr=5e-4, epochs=4, loss="all", tools=(("rank", "8"), ("layers", "upper"))),
        Directives(),
    ]
    tools = (("rank", "8"), ("layers", "upper"))
    assert combined(asked) == Directives(lr=1e-3, epochs=4, loss="all", tools=tools)
    assert combined([Directives()]) == Directives() == combined([])


def test_adapt_obeys_what_self_edits_ask_for(small_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("llguidance")
    document = tmp_path / "note.md"
    document.write_text("# Kerrigal\nAda Voss climbed it in 1921. It has three peaks.\n")
    directives = {"allowed": True, "grammar": True, "tools": ("rank",), "epoch_choices": (1,)}
    values = {
        "model": str(small_folder),
        "device": "cpu",
        "edit": {"directives": directives | {"lr_choices": (2e-4,)}, "max_new_tokens": 80},
        "inner": {"lora": {"rank": 16, "alpha": 32}, "optim": {"epochs": 3}},
        "answer": {"max_new_tokens": 3},
    }
    settings = make_settings(values)
    adapt_documents(tmp_path / "out", [document], settings, samples=1)
    with RunFolder.read(tmp_path / "out") as run:
        trained = run.ledger.step("adapter")
    assert trained is not None and trained["directives"]["epochs"] == 1
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert str(config["r"]) == trained["directives"]["rank"]
    assert trained["tokens"] > 0
