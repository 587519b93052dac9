"""Model cards: what they say, and that nothing in them steers the page or the metadata."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml
from markdown_it import MarkdownIt

from selfedit.cli import main
from selfedit.documents.served import read_served
from selfedit.results.command import command_of
from selfedit.results.model_card import ModelCard, render_card
from selfedit.results.results import Results, Row
from selfedit.run.folder import RunFolder


def parts_of(text: str) -> tuple[dict[str, object], str]:
    _, block, body = text.split("---\n", 2)
    return yaml.safe_load(block), body


def test_the_card_of_documents(learned: Path) -> None:
    about, body = parts_of((learned / "README.md").read_text())
    assert about["library_name"] == "peft" and "lora" in about["tags"]
    # A folder of this machine is nobody's base model, and nobody's business.
    assert "base_model" not in about and str(Path.home()) not in body
    with RunFolder.read(learned) as run:
        results, data = run.results(), run.settings["data"]
    assert data["documents"] in body and results["model"]["fingerprint"] in body
    assert f"{100 * results['verdict']['damage']:+.1f} %" in body
    assert "Answer directly and concisely." in body and "An ordinary chat" in body
    assert body.count('    peft.AutoPeftModelForCausalLM.from_pretrained("FOLDER")') == 1
    assert "--inner.optim.lr 0.01" in body and "selfedit adapt small DOCUMENTS" in body
    assert f"torch {run_environment(learned)['torch']}" in body.replace("\\", "")


def run_environment(folder: Path) -> dict[str, str]:
    import json

    return json.loads((folder / "environment.json").read_text())["packages"]


def test_the_card_of_each_policy(policy_run: Path) -> None:
    for number in (1, 2):
        _, body = parts_of((policy_run / f"policy/round-{number}/README.md").read_text())
        assert f"round {number}" in body and "Rounds of reinforcement learning" in body
        assert "selfedit train" in body and "--rl.candidates 3" in body
    # The policy is still the one that the ledger names.
    assert read_served(policy_run).kind == "policy"


def test_a_base_of_the_hub_is_named_with_its_licence() -> None:
    text = render_card(ModelCard("x", "An adapter.", "smollm2-135m"))
    about, body = parts_of(text)
    assert about["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert about["license"] == "apache-2.0" and "Apache-2.0" in body


def test_hostile_texts_stay_texts() -> None:
    bad = "x\n---\nlicense: mit\n# <script>alert(1)</script> [a](http://b) ![c](d) | ``` \x1b[2J"
    results = Results(
        experiment="adapt", rows=[Row(bad, 0.5, 0.1, 3)], names={bad: bad}, notes=[bad], title=bad
    )
    card = ModelCard(
        bad, bad, bad, results=results, command=["selfedit adapt", bad], data=[bad], more=[bad],
        packages={bad: bad}, fingerprint="f",
    )  # fmt: skip
    text = render_card(card)
    about, body = parts_of(text)
    assert set(about) <= {"library_name", "pipeline_tag", "tags"}
    page = MarkdownIt("commonmark").enable("table").render(body)
    for mark in ("<script", "<a ", "<img", "\x1b"):
        assert mark not in page
    assert page.count("<h1>") == 1
    other = replace(card, name="plain")
    assert render_card(other) != text


def test_a_command_starts_the_same_run_again(policy_run: Path, tmp_path: Path, capsys) -> None:
    with RunFolder.read(policy_run) as run:
        lines = command_of(run.kind, run.settings)
    assert lines[0] == "selfedit train --out FOLDER"
    import shlex

    words = shlex.split(" ".join(lines))[1:]
    words[words.index("FOLDER")] = str(tmp_path / "again")
    # All options are options of the verb: it gets as far as looking for the passages.
    words += ["--train", str(tmp_path / "missing.json")]
    assert main(words) == 3 and "missing.json" in capsys.readouterr().err
