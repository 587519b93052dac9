"""A hub in small: what huggingface_hub asks of one when it makes a repository and commits to it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

TOKEN = "hf_smallhubtoken0123456789"


@dataclass
class SmallHub:
    """What the hub has by now, and what it was sent."""

    address: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    visibility: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    fails: str = ""


@contextmanager
def running() -> Iterator[SmallHub]:
    """A hub in a thread of this process."""
    hub = SmallHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: SmallHub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.calls.append(("POST", self.path))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid username or password."})
        elif self.hub.fails and self.hub.fails in self.path:
            self._answer(500, {"error": "broken"})
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            self._validate(json.loads(body)["content"])
        elif self.path.endswith("/preupload/main"):
            self._preupload(json.loads(body))
        elif self.path.endswith(".git/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif self.path.endswith("/commit/main"):
            self._commit(body)
        else:
            self._answer(404, {"error": "not here"})

    def do_PUT(self) -> None:
        self.hub.calls.append(("PUT", self.path))
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.objects[self.path.rpartition("/")[2]] = data
        self._answer(200, {})

    def _create(self, asked: dict) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        made = {"url": f"{self.hub.address}/{name}", "name": name}
        if name in self.hub.repositories:
            self._answer(409, made | {"error": "You already created this model repo"})
            return
        self.hub.repositories[name] = {}
        self.hub.visibility[name] = asked.get("visibility", "public")
        self._answer(200, made)

    def _validate(self, content: str) -> None:
        about = yaml.safe_load(content.split("---\n", 2)[1])
        right = isinstance(about, dict) and isinstance(about.get("tags"), list)
        errors = [] if right else [{"message": "no metadata"}]
        self._answer(200 if right else 400, {"errors": errors, "warnings": []})

    def _preupload(self, asked: dict) -> None:
        files = []
        for file in asked["files"]:
            large = file["path"].endswith((".safetensors", ".gguf"))
            mode = "lfs" if large else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False})
        self._answer(200, {"files": files})

    def _batch(self, asked: dict) -> None:
        objects = []
        for each in asked["objects"]:
            to = {"upload": {"href": f"{self.hub.address}/upload/{each['oid']}"}}
            objects.append({**each, "authenticated": True, "actions": to})
        self._answer(200, {"transfer": "basic", "objects": objects})

    def _commit(self, body: bytes) -> None:
        name = self.path.removeprefix("/api/models/").removesuffix("/commit/main")
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                self.hub.repositories[name][value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                self.hub.repositories[name][value["path"]] = self.hub.objects[value["oid"]]
        made = {"commitUrl": f"{self.hub.address}/{name}/commit/abc", "commitOid": "abc"}
        self._answer(200, made)

    def _answer(self, status: int, body: dict) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""
