"""``bench generate``: equally many tokens for all, and the same ones; a server as a contestant."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from benchmarks.generate import QUICK, bench_generate
from selfedit.config import read_settings
from selfedit.errors import Unavailable, UsageError

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT's and transformers' own

SMALL = replace(
    QUICK, adapters=(1, 3), one_at_a_time=2, questions=2, rows=(4,), new_tokens=5, rate_size=64
)


class Model(BaseHTTPRequestHandler):
    """Counts what it is asked for."""

    short = False

    def do_GET(self) -> None:
        self._say({"data": [{"id": "a-model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert (
            body["model"] == "a-model"
            and body["temperature"] == 0
            and isinstance(body["prompt"][0][0], int)
        )
        self._say(
            {"usage": {"completion_tokens": body["max_tokens"] * len(body["prompt"]) - self.short}}
        )

    def _say(self, answer: object) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        """Not on the terminal."""


@pytest.fixture
def server() -> Iterator[str]:
    running = HTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/v1"
    running.shutdown()
    running.server_close()


def tiny(model: Path):
    return read_settings(overrides={"model": str(model), "device": "cpu", "inner.lora.rank": 3})


@pytest.mark.server
def test_all_write_the_same(
    small_folder: Path, tmp_path: Path, here: list[str], server: str
) -> None:
    results = bench_generate(tmp_path / "run", tiny(small_folder), SMALL, server=server)
    by_name = {row["name"]: row for row in results["rows"]}
    assert by_name["generate, one adapter at a time"]["ratio"] == 1
    assert by_name["ours, 3 adapters together"]["adapters"] == 3
    assert by_name["server, 4 rows, no adapter"]["against"] == "generate, 4 rows, no adapter"
    for name, rounds in results["measured"].items():
        assert rounds[0]["tokens"] == 5 * by_name[name]["rows"]
    # Two adapters' two questions and four rows without: on all of them greedy decoding agrees.
    assert results["equal"] == {"rows": 8, "same": 8}


@pytest.mark.server
def test_a_server_that_is_not_there_or_stops_early(
    small_folder: Path,
    tmp_path: Path,
    here: list[str],
    server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        bench_generate(tmp_path / "a", tiny(small_folder), SMALL, server="http://127.0.0.1:9")
    monkeypatch.setattr(Model, "short", True)
    with pytest.raises(Unavailable, match="wrote 1 tokens instead of 2"):
        bench_generate(tmp_path / "b", tiny(small_folder), SMALL, server=server)
    with pytest.raises(UsageError, match="99 questions"):
        bench_generate(tmp_path / "c", tiny(small_folder), replace(SMALL, questions=99))
