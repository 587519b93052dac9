"""One odd reply among many: it is that one's failure, everything else is kept, and nothing is
unbounded or told.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fake_endpoint import completion
from hostile_endpoint import BEHAVIOURS, Behaviour, HostileEndpoint
from selfedit.config import EndpointSettings, read_settings
from selfedit.endpoint import EndpointClient, ask
from selfedit.errors import Unavailable, UsageError
from selfedit.grading.judge import read_verdict
from selfedit.grading.thoughts import without_thoughts

pytestmark = pytest.mark.server

pytest.importorskip("openai")
KEY = "sk-secret-0123456789"
REQUESTS = [ask(f"Is {n} a number?") for n in range(31)]
ODD = ask("This one is odd")


def settings(url: str, key_env: str | None = None) -> EndpointSettings:
    return EndpointSettings(
        url=url, model="m", key_env=key_env, concurrency=8, attempts=3, timeout=0.3
    )


def client(server: HostileEndpoint, folder: Path, key_env: str | None = None) -> EndpointClient:
    return EndpointClient(
        settings(server.url, key_env), folder / "replies.sqlite", first_pause=0.01
    )


@pytest.mark.parametrize("behaviour", BEHAVIOURS.values(), ids=BEHAVIOURS)
def test_one_odd_reply_among_many(tmp_path: Path, behaviour: Behaviour) -> None:
    started = time.monotonic()
    with HostileEndpoint(behaviour.send) as server:
        with client(server, tmp_path) as asking:
            if behaviour.outcome == "ended":
                with pytest.raises(Unavailable):
                    asking.replies([*REQUESTS[:15], ODD, *REQUESTS[15:]])
            else:
                # First: it may come back before any other was answered.
                odd, *_ = asking.replies([ODD, *REQUESTS])
                assert odd.refused == (behaviour.outcome == "declined")
                assert odd.refused or odd.text == "yes" or behaviour.outcome == "read"
        asked = len(server.seen)
        with client(server, tmp_path) as asking:
            replies = asking.replies(REQUESTS)
        assert all(reply.text == "yes" for reply in replies)
        if behaviour.outcome != "ended":
            assert all(reply.cached for reply in replies) and len(server.seen) == asked
        else:  # what was under way when the run ended is kept too
            assert sum(reply.cached for reply in replies) >= 15
    assert time.monotonic() - started < 30


def test_the_environment_names_nobody_to_another_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "mine-and-nobody-elses")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Secret: mine-and-nobody-elses")
    with HostileEndpoint(BEHAVIOURS["nested"].send) as server, client(server, tmp_path) as asking:
        asking.replies(REQUESTS[:2])
    assert server.seen and "mine-and-nobody-elses" not in str(server.seen)


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    "escape", [str, lambda key: "".join(f"\\u{ord(letter):04x}" for letter in key)]
)
def test_a_key_that_is_sent_back_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, escape
) -> None:
    monkeypatch.setenv("FAKE_KEY", KEY)

    def send(handler, asked) -> None:
        text = str(completion("KEYHERE", asked)).replace("'", '"').replace("KEYHERE", escape(KEY))
        handler.send(status, text.encode(), {})

    with HostileEndpoint(send) as server, client(server, tmp_path, "FAKE_KEY") as asking:
        *_, reply = asking.replies([*REQUESTS[:3], ODD])
        assert server.seen[0]["Authorization"] == f"Bearer {KEY}"
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert KEY not in reply.text + reply.raw and KEY.encode() not in kept
    assert escape(KEY).encode() not in kept


@pytest.mark.parametrize(
    "typed", ["sk-LIVE-1234567890", "AIzaSyLIVE1234567890", "hf_LIVE1234567890", "a key"]
)
def test_a_key_typed_where_its_variable_belongs_is_refused_and_not_shown(typed: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_settings(overrides={"judge.endpoint.key_env": typed})
    assert typed not in str(caught.value) and "key_env" in str(caught.value)


def test_a_login_in_a_url_is_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        read_settings(overrides={"judge.endpoint.url": "https://me:LIVEword@host/v1"})
    assert "LIVEword" not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("It matches.\n</think>\n\nyes", True),
        ("<think>no</think>yes", True),
        ("<thinking>yes</thinking>no", False),
        ("<reasoning>hm</reasoning>\nVerdict: no", False),
        ("[THINK]no[/THINK]yes", True),
        ("<think>yes, it", None),
        ("<seed:think>no</seed:think>yes", True),
        ('<think effort="low">no</think >yes', True),
        ("<inner_thoughts>yes</inner_thoughts> no", False),
        ("<reflection>no</reflection><scratchpad>no</scratchpad>yes", True),
        ("◁think▷no◁/think▷yes", True),
        ("<|START_THINKING|>no<|END_THINKING|>yes", True),
        ("<|begin_of_thought|>yes<|end_of_thought|>no", False),
        (
            "<|channel|>analysis<|message|>no<|end|><|start|>assistant<|channel|>final<|message|>yes",
            True,
        ),
        ("no◁/think▷yes", True),
        ("<|channel|>analysis<|message|>yes", None),
        ("</think>", None),
        ("no </think> yes </think> no", False),
        ("yes", True),
    ],
)
def test_a_verdict_after_thoughts_is_read_as_it_stands(reply: str, verdict: bool | None) -> None:
    assert read_verdict(reply) is verdict


def test_thoughts_are_left_out_in_time_that_grows_with_the_text() -> None:
    started = time.process_time()
    assert without_thoughts("a<think>" * 200_000) == "a"
    assert without_thoughts("x</think>" * 200_000 + "b") == "b"
    assert without_thoughts("<think " * 200_000) == "<think " * 200_000
    assert without_thoughts("<" + "a_" * 200_000) == "<" + "a_" * 200_000
    assert time.process_time() - started < 2
