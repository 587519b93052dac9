"""Runs to look at, and the page over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from starlette.testclient import TestClient
from viewed_runs import TOKEN

from big_view import make_run
from selfedit.view.app import ViewPage


class Client(NamedTuple):
    """The page without a browser."""

    http: TestClient
    page: ViewPage

    def get(self, path: str, **query: object) -> Any:
        """The JSON of a path that answers."""
        reply = self.http.get(path, params={name: str(value) for name, value in query.items()})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def refused(self, path: str, **query: object) -> tuple[int, str]:
        """Status and message of a path that does not."""
        reply = self.http.get(path, params={name: str(value) for name, value in query.items()})
        return reply.status_code, reply.json()["error"]["message"]

    @property
    def runs(self) -> dict[str, str]:
        """The id of each run by its name."""
        return {run["name"]: run["id"] for run in self.get("/api/runs")["runs"]}

    def edits(self, run: str, **query: object) -> Any:
        """A list of self-edits, when all of them are in the index."""
        answer = self.get("/api/edits", run=run, **query)
        while answer["indexed"] < answer["total"]:
            answer = self.get("/api/edits", run=run, **query)
        return answer


@pytest.fixture(scope="session")
def made_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of about 2,000 trials in two rounds, nobody in it: look at it, do not change it."""
    return make_run(tmp_path_factory.mktemp("runs") / "one", 2000)


@pytest.fixture
def viewed() -> Any:
    """``viewed(folder)``: the page over it, with the token."""
    opened: list[Client] = []

    def over(folder: Path, open_service: Callable[[Path], Any] | None = None) -> Client:
        page = ViewPage(folder, open_service)
        app = page.application(TOKEN, [])
        headers = {"authorization": f"Bearer {TOKEN}"}
        http = TestClient(
            app, "http://127.0.0.1:8601", headers=headers, raise_server_exceptions=False
        )
        opened.append(Client(http, page))
        return opened[-1]

    yield over
    for client in opened:
        client.page.close()
