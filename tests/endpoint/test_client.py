"""The client against a real HTTP server that answers slowly, with 429s, 500s, garbage, and cuts
connections.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from fake_endpoint import FakeEndpoint, every_fault, last_message
from selfedit.config import EndpointSettings, make_settings
from selfedit.endpoint import EndpointClient, ask
from selfedit.endpoint.reply import retry_after
from selfedit.endpoint.transport import Transport
from selfedit.errors import Interrupted, RunFolderError, Unavailable, UsageError

pytestmark = pytest.mark.server

pytest.importorskip("openai")
KEY = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_KEY", KEY)


def settings(url: str, **changed: object) -> EndpointSettings:
    values = {
        "url": url,
        "model": "judge-1",
        "key_env": "FAKE_KEY",
        "price_in": 2.0,
        "price_out": 8.0,
    } | changed
    return EndpointSettings.model_validate(values)


def client(endpoint: EndpointSettings, folder: Path) -> EndpointClient:
    return EndpointClient(endpoint, folder / "replies.sqlite", first_pause=0.01)


REQUESTS = [ask(f"Is {n} a number?", system="Say yes or no.") for n in range(60)]


def test_every_reply_is_obtained_once_whatever_goes_wrong(tmp_path: Path) -> None:
    with (
        FakeEndpoint(
            answer=lambda body: f"about {last_message(body)}", faults=every_fault
        ) as server,
        client(settings(server.url), tmp_path) as asking,
    ):
        found = dict(asking.stream([*REQUESTS, *REQUESTS[:20]]))
    assert {asked.fault for asked in server.asked} >= {
        "429",
        "500",
        "503",
        "garbage",
        "html",
        "cut",
        "slow",
        None,
    }
    assert len(found) == 80
    for index, reply in found.items():
        assert reply.text == f"about {REQUESTS[index % 60].messages[-1][1]}"
    once = Counter(last_message(asked.body) for asked in server.answered)
    assert set(once.values()) == {1}
    assert len(once) == 60
    tokens_in = sum(len(text) for request in REQUESTS for _, text in request.messages)
    tokens_out = sum(len(found[index].text) for index in range(60))
    bill = asking.bill
    assert (bill.replies, bill.fetched, bill.attempts) == (60, 60, len(server.asked))
    assert (bill.tokens_in, bill.tokens_out) == (tokens_in, tokens_out)
    assert bill.cost == bill.spent == pytest.approx((2 * tokens_in + 8 * tokens_out) / 1e6)
    assert all(asked.key == f"Bearer {KEY}" for asked in server.asked)


def test_what_is_kept_needs_no_server_and_costs_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeEndpoint() as server, client(settings(server.url), tmp_path) as asking:
        first = asking.replies(REQUESTS[:5])
    monkeypatch.delenv("FAKE_KEY")
    monkeypatch.setitem(sys.modules, "openai", None)
    with client(settings(server.url), tmp_path) as asking:
        again = asking.replies(REQUESTS[:5])
        assert [reply.text for reply in again] == [reply.text for reply in first]
        assert all(reply.cached for reply in again)
        assert asking.bill.spent == 0
        assert asking.bill.cost == pytest.approx(sum(reply.cost or 0 for reply in first))
        with pytest.raises(Unavailable, match="FAKE_KEY"):
            asking.replies(REQUESTS)
        monkeypatch.setenv("FAKE_KEY", KEY)
        with pytest.raises(Unavailable, match=r"selfedit\[endpoint\]"):
            asking.replies(REQUESTS)


def test_other_model_parameters_or_sample_are_other_requests(tmp_path: Path) -> None:
    with FakeEndpoint() as server:
        for changed in (
            {},
            {"model": "judge-2"},
            {"token_limit": "max_completion_tokens"},
            {"price_in": 9.0},
        ):
            with client(settings(server.url, **changed), tmp_path) as asking:
                asking.replies(
                    [ask("Well?", sample=sample, temperature=1.0) for sample in range(3)]
                )
        with client(settings(server.url), tmp_path) as asking:
            asking.replies(
                [ask("Well?"), ask("Well?", seed=4), ask("Well?", max_tokens=3), ask("\ud800?")]
            )
    assert len(server.asked) == 3 * 3 + 4  # the price is no part of what is asked


def test_killed_in_the_middle_it_asks_only_what_is_missing(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from selfedit.config import EndpointSettings
        from selfedit.endpoint import EndpointClient, ask
        endpoint = EndpointSettings(url=sys.argv[1], model="judge-1", key_env="FAKE_KEY", concurrency=4)
        with EndpointClient(endpoint, Path(sys.argv[2]) / "replies.sqlite", first_pause=0.01) as asking:
            for index, _ in asking.stream([ask(f"Is {n} a number?", system="Say yes or no.") for n in range(60)]):
                print(index, flush=True)
    """
    with FakeEndpoint(faults=every_fault, delay=0.02) as server:
        command = [sys.executable, "-c", textwrap.dedent(code), server.url, str(tmp_path)]
        given = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            given = [int(process.stdout.readline()) for _ in range(20)]
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.5)  # the last requests of the killed process run out
        before = Counter(last_message(asked.body) for asked in server.answered)
        with client(settings(server.url, concurrency=4), tmp_path) as asking:
            replies = asking.replies(REQUESTS)
    assert all(reply.text == "yes" for reply in replies)
    assert all(replies[index].cached for index in given)
    assert asking.bill.fetched < 60
    again = Counter(last_message(asked.body) for asked in server.answered) - before
    assert len(again) == asking.bill.fetched == 60 - sum(reply.cached for reply in replies)
    assert sum(count > 1 for count in (before + again).values()) <= 4  # those under way at the kill


def test_stopping_waits_for_what_is_under_way_and_keeps_it(tmp_path: Path) -> None:
    stopping = False

    def check() -> None:
        if stopping:
            raise Interrupted("stopped as you asked")

    with FakeEndpoint(delay=0.05) as server:
        with (
            client(settings(server.url, concurrency=3), tmp_path) as asking,
            pytest.raises(Interrupted),
        ):
            for _ in asking.stream(REQUESTS, check):
                stopping = True
        asked = len(server.asked)
        assert asked < 20
        with client(settings(server.url), tmp_path) as asking:
            assert sum(reply.cached for reply in asking.replies(REQUESTS)) == asked
    assert len(server.asked) == 60


@pytest.mark.parametrize("status", ["401", "403", "404"])
def test_a_wrong_key_or_model_ends_it_and_the_key_is_shown_nowhere(
    tmp_path: Path, status: str
) -> None:
    with (
        FakeEndpoint(faults=lambda *_: status) as server,
        client(settings(server.url), tmp_path) as asking,
        pytest.raises(Unavailable, match=status) as caught,
    ):
        asking.replies(REQUESTS)
    assert KEY not in str(caught.value)
    assert len(server.asked) <= 8
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.iterdir())


def test_a_declined_request_is_told_of_and_not_kept(tmp_path: Path) -> None:
    with FakeEndpoint(
        faults=lambda body, _: "400" if "7" in last_message(body) else None
    ) as server:
        for _ in range(2):
            with client(settings(server.url), tmp_path) as asking:
                replies = asking.replies(REQUESTS[:20])
            assert [index for index, reply in enumerate(replies) if reply.refused] == [7, 17]
            assert asking.bill.refused == 2
            assert asking.bill.as_dict()["cost"] is not None
    assert len(server.asked) == 22


def test_the_first_requests_may_be_declined(tmp_path: Path) -> None:
    first = {last_message(request.body(settings("http://x"))) for request in REQUESTS[:7]}
    with FakeEndpoint(faults=lambda body, _: "422" if last_message(body) in first else None) as (
        server
    ):
        endpoint = settings(server.url, concurrency=1)
        with client(endpoint, tmp_path) as asking:
            replies = asking.replies(REQUESTS[:20])
    assert [reply.refused for reply in replies] == [True] * 7 + [False] * 13


def test_an_endpoint_that_declines_everything_is_an_error(tmp_path: Path) -> None:
    with (
        FakeEndpoint(faults=lambda *_: "422") as server,
        client(settings(server.url), tmp_path) as asking,
        pytest.raises(Unavailable, match="declines"),
    ):
        asking.replies(REQUESTS)
    assert len(server.asked) <= 8 + asking.endpoint.concurrency


def test_given_up_after_the_attempts_and_what_came_is_kept(tmp_path: Path) -> None:
    def faults(body: dict, _: int) -> str | None:
        return "500" if "Is 30 " in last_message(body) else None

    with FakeEndpoint(faults=faults) as server:
        endpoint = settings(server.url, attempts=3, concurrency=2)
        with client(endpoint, tmp_path) as asking, pytest.raises(Unavailable, match="3 attempts"):
            asking.replies(REQUESTS)
        assert sum("Is 30 " in last_message(asked.body) for asked in server.asked) == 3
        with client(endpoint, tmp_path) as asking:
            assert all(reply.cached for reply in asking.replies(REQUESTS[:30]))


def test_no_server_no_model_no_reply_file(tmp_path: Path) -> None:
    nobody = settings("http://127.0.0.1:9/v1", attempts=2)
    with client(nobody, tmp_path) as asking, pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        asking.replies(REQUESTS[:1])
    with (
        client(settings("http://127.0.0.1:9/v1", model=None), tmp_path) as asking,
        pytest.raises(UsageError),
    ):
        asking.replies(REQUESTS[:1])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "replies.sqlite").write_text(
        "not a database, but long enough to look at" * 40
    )
    with pytest.raises(RunFolderError, match="reply file"):
        client(nobody, tmp_path / "other")


def test_unpriced_replies_have_no_cost_rather_than_none_at_all(tmp_path: Path) -> None:
    with FakeEndpoint() as server, client(settings(server.url, price_out=None), tmp_path) as asking:
        assert asking.replies(REQUESTS[:2])[0].cost is None
    assert asking.bill.as_dict()["cost"] is None
    assert asking.bill.unpriced == 2


def test_a_pause_asked_for_is_kept_by_all(tmp_path: Path) -> None:
    seen: list[float] = []

    def faults(_: dict, times: int) -> str | None:
        seen.append(time.monotonic())
        return "429" if len(seen) == 1 else None

    with FakeEndpoint(faults=faults) as server:
        sending = Transport(settings(server.url))
        for _ in range(2):
            sending.send(REQUESTS[0])
        sending.close()
    assert seen[1] - seen[0] >= 0.05
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < (retry_after({"retry-after": soon}) or 0) <= 30
    assert retry_after({"retry-after": "2"}) == 2
    assert retry_after({"retry-after-ms": "250"}) == 0.25
    assert retry_after({}) is retry_after({"retry-after": "soon"}) is None


@pytest.mark.parametrize(
    "url", ["ftp://x", "https://me:word@host/v1", "https://host/v1?key=abc", "host"]
)
def test_a_url_that_cannot_be_asked_or_holds_a_secret_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        EndpointSettings(url=url)
    assert make_settings({}).model_dump()  # the defaults are fine
