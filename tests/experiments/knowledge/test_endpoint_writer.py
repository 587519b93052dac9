"""An external writer behind an endpoint that misbehaves: every text once, costs right, nothing
asked twice.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_endpoint import FakeEndpoint, every_fault, last_message
from selfedit.config import Settings, make_settings
from selfedit.errors import UsageError
from selfedit.experiments.knowledge.cpt import run_cpt
from selfedit.experiments.knowledge.single_passage import run_single_passage
from selfedit.rl.evaluate import held_out
from selfedit.run.folder import RunFolder
from tiny_run import tiny_settings

pytestmark = pytest.mark.server


def settings(
    server: FakeEndpoint, small_folder: Path, data: Path, tmp_path: Path, **changed
) -> Settings:
    endpoint = {
        "url": server.url,
        "model": "writer",
        "key_env": None,
        "price_in": 1e6,
        "price_out": 2e6,
    }
    return tiny_settings(
        model=str(small_folder),
        device="cpu",
        heldout=str(data / "heldout.json"),
        rl__rounds=0,
        external__endpoint=endpoint | {"cache": str(tmp_path / "replies.sqlite")},
        eval__methods=["base", "external"],
        eval__samples=3,
        **changed,
    )


def answer(body: dict) -> str:
    """Says which passage it was asked about, and its own seed, so that samples differ."""
    passage = next(word for word in last_message(body).split() if word in ("c0", "c1", "c2", "c3"))
    return f"{passage} has number {body['seed']}."


def test_every_text_once_and_the_costs(small_folder: Path, data: Path, tmp_path: Path) -> None:
    with FakeEndpoint(answer, every_fault) as server:
        given = settings(server, small_folder, data, tmp_path)
        results = run_single_passage(tmp_path / "run", given)
        asked = len(server.asked)
        assert len(server.answered) == 12
        # Another run with the same seed takes what is kept, and has the same costs and bytes.
        again = run_single_passage(tmp_path / "again", given)
        assert len(server.asked) == asked and again == results
    with RunFolder.read(tmp_path / "run") as run:
        rows = run.ledger.self_edits(held_out("external"))
    assert len({row.text for row in rows}) == len(rows) == 12
    # Context ids are made of titles, "Title c0": each text is about its own passage.
    assert all(row.text.split()[0] in row.context_id for row in rows)
    bill = results["costs"]["eval:external"]
    letters_in = sum(
        len(message["content"]) for each in server.answered for message in each.body["messages"]
    )
    letters_out = sum(len(row.text) for row in rows)
    assert (bill["replies"], bill["tokens_in"], bill["tokens_out"]) == (12, letters_in, letters_out)
    assert bill["cost"] == pytest.approx(letters_in + 2 * letters_out)
    assert results["contexts"]["external"].keys() == results["contexts"]["base"].keys()


def test_entigraph_and_spa_by_an_endpoint(small_folder: Path, data: Path, tmp_path: Path) -> None:
    def writing(body: dict) -> str:
        return (
            "Orda\nVell\nTarn"
            if "Write only the names" in last_message(body)
            else f"A text, {body['seed']}."
        )

    with FakeEndpoint(writing) as server:
        given = settings(server, small_folder, data, tmp_path).model_dump()
        given["cpt"] |= {
            "methods": ["base", "entigraph", "spa"],
            "writer": "endpoint",
            "passages": 2,
        }
        results = run_cpt(tmp_path / "run", make_settings(given))
    # Three entities make three pairs and one triple; SPA has seven prompts.
    assert {m: runs[0]["documents"] for m, runs in results["training"].items()} == {
        "entigraph": 2 * 4 + 2,
        "spa": 2 * 7 + 2,
    }
    assert {phase: bill["replies"] for phase, bill in results["costs"].items()} == {
        "write:entities": 2,
        "write:entigraph": 8,
        "write:spa": 14,
    }


def test_an_endpoint_without_a_model_is_refused(
    small_folder: Path, data: Path, tmp_path: Path
) -> None:
    with FakeEndpoint() as server:
        given = settings(server, small_folder, data, tmp_path).model_dump()
    given["external"]["endpoint"]["model"] = None
    with pytest.raises(UsageError, match="no writer"):
        run_single_passage(tmp_path / "run", make_settings(given))
    given["cpt"] |= {"methods": ["spa"], "writer": "endpoint"}
    with pytest.raises(UsageError, match="no endpoint"):
        run_cpt(tmp_path / "cpt", make_settings(given))
