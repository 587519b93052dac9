"""Nothing is silent for long: what the process is doing is said when nothing else was."""

from __future__ import annotations

import io
import threading

from selfedit.run.heartbeat import heartbeat
from selfedit.run.lasting import LastingStream
from selfedit.storage.doing import doing, doing_now


def test_what_is_done_is_said_when_nothing_was() -> None:
    said: list[str] = []
    spoken = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        spoken.set()

    with heartbeat(say, seconds=0.02, every=0.005), doing("loading a model"):
        assert spoken.wait(5)
    assert said[0].startswith("loading a model: ") and said[0].endswith(" so far")
    assert doing_now() == ""
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def test_nothing_is_added_where_something_was_written() -> None:
    said: list[str] = []
    quiet = threading.Event()
    with heartbeat(said.append, seconds=0.5, every=0.005):
        for _ in range(5):
            LastingStream(io.StringIO()).write("a line")
            quiet.wait(0.02)
    assert said == []


def test_the_innermost_thing_is_named() -> None:
    with doing("a run"):
        with doing("a phase of it"):
            assert doing_now() == "a phase of it"
        assert doing_now() == "a run"
