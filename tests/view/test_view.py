"""What the page of `selfedit view` is sent: runs, self-edits, documents; only to who may see it, only
read, and nothing of it alive.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from viewed_runs import SETTINGS, TOKEN, written_run

from big_view import CANDIDATES, make_passages
from payloads import PAYLOADS, raw_in
from run_rows import answer, base_trial, reward, rl, self_edit, trial
from selfedit.errors import RunFolderError
from selfedit.run.folder import RunFolder
from selfedit.run.records import Phase, Place
from selfedit.serving.failures import Failure
from selfedit.view.app import ViewPage
from selfedit.view.events import events

APIS = ("/api/runs", "/api/run", "/api/edits", "/api/whole", "/api/points", "/api/contexts",
        "/api/context", "/api/compare", "/api/events")  # fmt: skip


def contents(folder: Path) -> dict[str, str]:
    """The hash of every file, but for those in which SQLite notes who reads."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def test_nobody_without_the_token_learns_anything(viewed, made_run: Path) -> None:
    client = viewed(made_run)
    for path in APIS:
        for headers in ({}, {"authorization": "Bearer wrong-token"}, {"authorization": "Basic x"}):
            client.http.headers.pop("authorization", None)
            reply = client.http.get(path, headers=headers)
            assert reply.status_code == 401 and "run" not in reply.json()
    assert client.http.post("/api/load").status_code == 401
    page = client.http.get("/")
    assert page.status_code == 200 and "observatory" not in page.text
    assert client.http.get(f"/api/runs?token={TOKEN}").status_code == 401


def test_only_under_its_own_name(viewed, made_run: Path) -> None:
    client = viewed(made_run)
    for host in ("elsewhere.example", "127.0.0.1.elsewhere.example", "", "localhost.example:8601"):
        for path in ("/", "/app.js", "/api/runs"):
            assert client.http.get(path, headers={"host": host}).status_code == 403
    for host in ("localhost:8601", "127.0.0.1", "[::1]:8601"):
        assert client.http.get("/api/runs", headers={"host": host}).status_code == 200


def test_every_reply_forbids_all_that_is_not_the_pages_own(viewed, made_run: Path) -> None:
    client = viewed(made_run)
    for path in ("/", "/app.js", "/style.css", "/api/runs", "/nothing", "/api/run?run=x"):
        headers = client.http.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
    # Nothing in the page's own files would need more.
    for path, (data, _) in client.page.static.items():
        text = data.decode()
        assert "innerHTML" not in text and "eval(" not in text and "style=" not in text, path
        links = re.findall(r"""https?:[^"'\s]*|["'(]//[^"'\s]*""", text)
        assert set(links) <= {"http://www.w3.org/2000/svg"}, path
    page = client.http.get("/").text
    assert page.count("<script") == 1 and 'src="/app.js"' in page


@pytest.mark.parametrize(
    "path",
    ["/../pyproject.toml", "/%2e%2e/run.json", "/page/../app.py", "//etc/passwd",
     "/api/../run.json", "/ledger.sqlite", "/results.json"],
)  # fmt: skip
def test_no_path_leads_to_a_file(viewed, made_run: Path, path: str) -> None:
    assert viewed(made_run).http.get(path).status_code == 404


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"run": "../one"}, 404),
        ({"run": "x" * 5000}, 404),
        ({"offset": 10**9}, 200),
        ({"offset": 2**40}, 400),
        ({"offset": -1}, 400),
        ({"count": 10**6}, 400),
        ({"count": "1e3"}, 400),
        ({"offset": "٣"}, 400),
        ({"place": "1 OR 1=1"}, 400),
        ({"least": "nan"}, 400),
        ({"most": "inf"}, 400),
        ({"kept": "perhaps"}, 400),
        ({"sort": "id; DROP TABLE trials"}, 400),
        ({"q": "'; DROP TABLE view_edits; --"}, 200),
        ({"q": "x" * 30_000}, 200),
        ({"q": "\0\ufffd%_"}, 200),
    ],
)
def test_odd_questions_are_answered_or_refused(
    viewed, made_run: Path, query: dict[str, Any], status: int
) -> None:
    client = viewed(made_run)
    asked = {"run": client.runs["run"]} | query
    reply = client.http.get("/api/edits", params=asked)
    assert reply.status_code == status
    assert "Traceback" not in reply.text and (status != 200 or reply.json()["rows"] == [])


def test_the_list_is_what_the_ledger_holds(viewed, made_run: Path) -> None:
    client = viewed(made_run)
    run = client.runs["run"]
    whole = client.edits(run, count=3)
    assert whole["count"] == 2000 and len(whole["rows"]) == 3
    with RunFolder.read(made_run) as opened:
        rewards = {(r.place.round, r.context_id, r.candidate): r
                   for n in (1, 2) for r in opened.ledger.rewards(rl(n))}  # fmt: skip
        cut = sum(e.cut_off for n in (1, 2) for e in opened.ledger.self_edits(rl(n)))
        texts = [e.text for n in (1, 2) for e in opened.ledger.self_edits(rl(n))]
        losses = {t.key: t.training.final_loss for t in opened.ledger.trials(rl(1)) if t.training}
    kept = sum(row.kept for row in rewards.values())
    assert client.edits(run, kept=1)["count"] == kept
    assert client.edits(run, kept=0)["count"] == 2000 - kept
    assert client.edits(run, cut=1)["count"] == cut
    high = [row for row in rewards.values() if 0.3 <= row.reward <= 0.7]
    assert client.edits(run, least=0.3, most=0.7)["count"] == len(high)
    word = "never saw it"
    assert client.edits(run, q=word.upper())["count"] == sum(word in text for text in texts)
    assert client.edits(run, q="that is nowhere")["count"] == 0
    best = client.edits(run, sort="best", count=200)["rows"]
    assert [row["reward"] for row in best] == sorted(
        (row.reward for row in rewards.values()), reverse=True
    )[:200]
    first = whole["rows"][0]
    key = (1, first["name"], first["candidate"])
    assert first["reward"] == rewards[key].reward and first["kept"] == int(rewards[key].kept)
    assert first["loss"] == losses[first["name"], first["candidate"], 0]
    # A place in the list is found again, whatever the filter.
    wanted = best[150]["id"]
    assert client.edits(run, sort="best", find=wanted)["position"] == 150
    context = client.get("/api/contexts", run=run, q=first["name"])["contexts"][0][0]
    assert client.edits(run, context=context)["count"] == 2 * CANDIDATES


def test_a_context_shows_its_passage_its_rounds_and_answers(viewed, made_run: Path) -> None:
    client = viewed(made_run)
    run = client.runs["run"]
    row = client.edits(run, count=1)["rows"][0]
    context = client.get("/api/context", run=run, context=row["context"])
    assert context["title"] in context["passage"].replace("was built", "(0) was built")
    assert len(context["edits"]) == 2 * CANDIDATES and context["note"] == ""
    asked = {question["id"]: question["answers"] for question in context["questions"]}
    (edit,) = client.get("/api/whole", run=run, ids=row["id"])["edits"]
    answers = edit["trials"][0]["answers"]
    assert {each["question"] for each in answers} == set(asked)
    for each in answers:
        assert each["correct"] == (each["text"] in asked[each["question"]])
    assert edit["text"].startswith(row["text"][:50]) and edit["place_name"] == "round 1"
    assert client.refused("/api/context", run=run, context=10**6)[0] == 404
    assert client.get("/api/whole", run=run, ids="999999")["edits"] == []


def test_passages_that_have_changed_are_not_shown(viewed, made_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(made_run, folder)
    other = tmp_path / "passages.json"
    make_passages(other, 39)
    config = folder / "config.toml"
    config.write_text(
        config.read_text().replace(str(made_run.parent / "passages.json"), str(other))
    )
    client = viewed(folder)
    row = client.edits(client.runs["copy"], count=1)["rows"][0]
    context = client.get("/api/context", run=client.runs["copy"], context=row["context"])
    assert (
        context["passage"] == "" and context["questions"] == [] and "has changed" in context["note"]
    )


def test_an_overview_counts_and_averages_over_passages(viewed, made_run: Path) -> None:
    client = viewed(made_run)
    run = client.runs["run"]
    client.edits(run)
    shown = client.get("/api/run", run=run)
    assert [place["name"] for place in shown["places"]] == ["round 1", "round 2"]
    assert shown["state"] == "stopped" and [done["round"] for done in shown["rounds"]] == [1, 2]
    for place in shown["places"]:
        assert place["count"] == place["expected"] == 1000 and place["reward"]["n"] == 40
    with RunFolder.read(made_run) as opened:
        rewards = [row.reward for row in opened.ledger.rewards(rl(1))]
    assert shown["places"][0]["reward"]["mean"] == pytest.approx(sum(rewards) / len(rewards))
    points = client.get("/api/points", run=run)
    assert points["count"] == 2000 == len(points["points"])


@pytest.mark.parametrize("name", PAYLOADS.values(), ids=PAYLOADS)
def test_whatever_a_model_wrote_is_sent_as_plain_text(viewed, tmp_path: Path, name: str) -> None:
    client = viewed(written_run(tmp_path / "run", name, name))
    run = client.runs["run"]
    row = client.edits(run)["rows"][0]
    replies = [
        client.http.get(path, params={"run": run, "a": run, "b": run, "context": row["context"],
                                      "ids": row["id"]})
        for path in APIS[:-1]
    ]  # fmt: skip
    for reply in replies:
        assert reply.status_code == 200, reply.text
        assert reply.headers["content-type"] == "application/json"
        assert raw_in(json.dumps(reply.json(), ensure_ascii=False)) == []
        assert raw_in("".join(strings(reply.json()))) == []


def strings(value: Any) -> list[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        return [value]
    parts = [*value, *value.values()] if isinstance(value, dict) else value
    return [text for part in parts for text in strings(part)] if isinstance(parts, list) else []


def test_a_folder_of_runs_with_a_broken_one(viewed, tmp_path: Path) -> None:
    written_run(tmp_path / "good")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    written_run(tmp_path / "deep" / "er" / "run")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "run.json").write_text('{"program": "other"}')
    broken = written_run(tmp_path / "broken")
    (broken / "results.json").write_text("{")
    (tmp_path / "loop").symlink_to(tmp_path)
    client = viewed(tmp_path)
    listed = {run["name"]: run for run in client.get("/api/runs")["runs"]}
    assert set(listed) == {"good", "deep/er/run", "foreign", "broken"}
    assert listed["good"]["rows"][0]["accuracy"] == 0.5 and listed["good"]["state"] == "finished"
    assert "not a run's folder" in listed["foreign"]["error"]
    assert "not valid JSON" in listed["broken"]["error"]
    shown = client.get("/api/run", run=listed["broken"]["id"])
    assert "not valid JSON" in shown["problems"][0] and shown["places"]
    assert client.refused("/api/run", run=listed["foreign"]["id"])[0] == 500
    with pytest.raises(RunFolderError):
        ViewPage(tmp_path / "foreign" / "nothing")


def test_looking_changes_nothing(viewed, made_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(made_run, folder)
    before = contents(folder)
    client = viewed(tmp_path)
    run = client.runs["run"]
    row = client.edits(run, q="bridge", sort="loss")["rows"][0]
    for path in APIS[1:-1]:
        client.get(path, run=run, a=run, b=run, context=row["context"], ids=row["id"])
    assert contents(folder) == before
    database = client.page._open[run]._reader.run.ledger
    with pytest.raises(RunFolderError, match="readonly"):
        asyncio.run(client.page._open[run].ask(lambda _: database.fetch("DELETE FROM trials")))


def test_a_running_run_is_followed(viewed, tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run", SETTINGS, kind="knowledge") as run:
        run.ledger.add_self_edits([self_edit("c0", place=rl(1))])
        client = viewed(tmp_path / "run")
        name = client.runs["run"]
        assert client.get("/api/runs")["runs"][0]["state"] == "running"
        row = client.edits(name)["rows"][0]
        assert row["reward"] is None and row["kept"] is None and row["trials"] == 0
        graded = [answer("q0", correct=True), answer("q1", correct=False), answer("q2")]
        run.ledger.add_trials([trial("c0", place=rl(1), answers=graded)])
        assert client.edits(name)["rows"][0]["trials"] == 1
        right = [answer("q0", correct=True), answer("q1", correct=True)]
        run.ledger.add_trials([trial("c0", place=rl(1), answers=right, repeat=1)])
        run.ledger.add_rewards([reward("c0", place=rl(1), reward=0.25, kept=True)])
        row = client.edits(name, least=0.2)["rows"][0]
        assert row["reward"] == 0.25 and row["kept"] == 1 and row["trials"] == 2
        assert row["right"] == 0.75 and row["loss"] == 0.25
        run.ledger.add_self_edits([self_edit("c1", place=rl(2))])
        base = Place(Phase.EVAL, "base")
        run.ledger.add_trials([base_trial("c0", place=base, answers=graded)])
        assert client.edits(name)["count"] == 2
        context = client.get("/api/context", run=name, context=row["context"])
        assert context["fixed"][0]["place_name"] == "base"
        assert client.get("/api/run", run=name)["places"][1]["name"] == "round 2"
    assert client.get("/api/runs")["runs"][0]["state"] == "stopped"


def test_events_tell_what_is_new_until_the_run_is_gone(viewed, tmp_path: Path) -> None:
    folder = written_run(tmp_path / "run")
    client = viewed(tmp_path / "run")

    async def heard() -> list[dict[str, Any]]:
        opened = client.page._of({"run": client.runs["run"]})
        told = []
        async for event in events(opened, client.page.closing):
            if event.startswith(b"data: "):
                told.append(json.loads(event[6:]))
            if len(told) == 1:
                with RunFolder.open(folder, SETTINGS, kind="knowledge") as run:
                    run.ledger.finish_step("round-1", {"round": 1})
            elif told[-1].get("steps") and folder.exists():
                shutil.rmtree(folder)
        return told

    told = asyncio.run(asyncio.wait_for(heard(), 20))
    assert told[0]["steps"] == [] and told[0]["finished"] and told[0]["place"] == "round 1"
    assert any(each.get("steps") == ["round-1"] for each in told)
    assert "gone" in told[-1]["gone"]
    assert client.refused("/api/edits", run=client.page._runs.popitem()[0])[0] == 404


def test_another_run_in_its_place_is_another_run(viewed, tmp_path: Path) -> None:
    written_run(tmp_path / "runs" / "run", text="the first")
    client = viewed(tmp_path / "runs")
    run = client.runs["run"]
    assert client.edits(run)["rows"][0]["text"] == "the first"
    written_run(tmp_path / "other", text="the second")
    shutil.move(tmp_path / "runs" / "run", tmp_path / "away")
    assert client.refused("/api/edits", run=run)[0] == 404
    shutil.move(tmp_path / "other", tmp_path / "runs" / "run")
    assert client.edits(run)["rows"][0]["text"] == "the second"
    shutil.rmtree(tmp_path / "away")
    (tmp_path / "runs" / "run").rename(tmp_path / "away")
    written_run(tmp_path / "runs" / "run", text="the third")
    assert client.edits(run)["rows"][0]["text"] == "the third"


def test_events_end_when_the_server_does(viewed, tmp_path: Path) -> None:
    client = viewed(written_run(tmp_path / "run"))

    async def heard() -> int:
        opened, count = client.page._of({"run": client.runs["run"]}), 0
        async for _ in events(opened, client.page.closing):
            count += 1
            client.page.closing.set()
        return count

    assert asyncio.run(asyncio.wait_for(heard(), 20)) == 1


def test_a_damaged_ledger_is_said(viewed, tmp_path: Path) -> None:
    folder = written_run(tmp_path / "run")
    with sqlite3.connect(folder / "ledger.sqlite") as database:
        database.execute("UPDATE rewards SET reward = 9.0")
    database.close()
    client = viewed(folder)
    run = client.runs["run"]
    client.edits(run)
    opened = client.page._open[run]
    for _ in range(200):
        if opened.verdict is not None:
            break
        asyncio.run(asyncio.sleep(0.05))
    assert "rows of rewards are not those that were stored" in str(opened.verdict)
    (folder / "ledger.sqlite").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    status, message = client.refused("/api/edits", run=run)
    assert status in (404, 500) and "ledger" in message


def test_two_runs_are_paired_by_context(viewed, tmp_path: Path) -> None:
    scores = {"one": {"p": 0.5, "q": 0.25, "r": 0.0}, "two": {"p": 0.75, "q": 0.25, "s": 1.0}}
    for name, by_context in scores.items():
        with RunFolder.open(tmp_path / name, SETTINGS, kind="knowledge") as run:
            row = {"method": "own", "accuracy": 0.5, "se": 0.1, "n": 3}
            run.write_results({"experiment": "x", "rows": [row], "contexts": {"own": by_context}})
    client = viewed(tmp_path)
    runs = client.runs
    shown = client.get("/api/compare", a=runs["one"], b=runs["two"])
    assert shown["method"] == "own" and shown["only"] == [1, 1]
    assert shown["rows"] == [["p", 0.5, 0.75], ["q", 0.25, 0.25]]
    gap = shown["methods"][0]["difference"]
    assert gap == {"difference": 0.125, "n": 2, "se": pytest.approx(0.125)}
    assert client.refused("/api/compare", a=runs["one"], b="nothing")[0] == 404


def test_a_library_leads_to_what_each_document_taught(viewed, tmp_path: Path) -> None:
    estimate = {"mean": 0.5, "se": 0.1, "n": 4}
    change = {"before": estimate, "after": estimate | {"mean": 0.75}}
    change["paired"] = {"difference": 0.25, "se": 0.1, "n": 4}
    recall = {"accuracy": change, "loss": change, "general_loss": change}
    entry = {"name": "vell.md", "version": "1", "adapter": "documents/vell-1", "passages": 2}
    with RunFolder.open(tmp_path / "lib", SETTINGS, kind="library"):
        state = {"form": 1, "model": "m", "documents": [entry | {"recall": recall}]}
        (tmp_path / "lib" / "library.json").write_text(json.dumps(state))
    asked = {"question": "Who?", "right_before": False, "right_now": True, "right_in_prompt": None}
    document = tmp_path / "lib" / "documents" / "vell-1"
    with RunFolder.open(document, SETTINGS, kind="adapt") as run:
        table = {
            "title": "Questions",
            "columns": ["question", "now", ""],
            "rows": [["Who?", "Ada", "right"]],
        }
        run.write_results(
            {"experiment": "adapt", "tables": [table], "answers": [asked], "notes": ["good"]}
        )
    client = viewed(tmp_path)
    runs = client.runs
    assert set(runs) == {"lib", "lib/documents/vell-1"}
    shown = client.get("/api/run", run=runs["lib"])
    (line,) = shown["documents"]
    assert line["run"] == runs["lib/documents/vell-1"] and line["accuracy"]["after"]["mean"] == 0.75
    assert line["damage"]["paired"]["difference"] == 0.25 and shown["can_ask"]
    taught = client.get("/api/run", run=line["run"])
    assert taught["tables"][0]["rows"] == [["Who?", "Ada", "right"]] and taught["notes"] == ["good"]
    both = client.get("/api/compare", a=line["run"], b=line["run"])
    assert [method["method"] for method in both["methods"]] == ["before", "now"]
    (tmp_path / "lib" / "library.json").write_text('{"documents": [{"adapter": "../../etc"}]}')
    assert "library's state" in client.get("/api/run", run=runs["lib"])["problems"][0]


def test_without_asking_no_model_is_loaded(viewed, made_run: Path) -> None:
    client = viewed(made_run)
    assert not client.get("/api/runs")["can_ask"]
    for path in ("/api/load", "/api/ask"):
        reply = client.http.post(path, params={"run": client.runs["run"]}, json={})
        assert reply.status_code == 404 and "--no-ask" in reply.json()["error"]["message"]


def test_a_model_that_cannot_be_loaded_is_said_and_asked_for_again(viewed, made_run: Path) -> None:
    asked: list[Path] = []

    def broken(path: Path) -> Any:
        asked.append(path)
        raise Failure(503, "there is no room for the model")

    client = viewed(made_run, broken)
    for _ in range(2):
        reply = client.http.post("/api/load", params={"run": client.runs["run"]})
        assert reply.status_code == 503 and "no room" in reply.json()["error"]["message"]
    assert asked == [made_run, made_run]
