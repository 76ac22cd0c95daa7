"""A stand-in of the Hugging Face Hub on this machine: as much of its HTTP interface as publishing and reading need."""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN = "hf_made"


class StandIn(ThreadingHTTPServer):
    """A Hub that holds what is committed; `refusals` answers paths with an error instead."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.made: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.refusals: dict[str, int] = {}
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        refusal = next((code for part, code in self.server.refusals.items() if part in self.path), None)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            refusal = 401
        if refusal is not None:
            self.answer({"error": "made to fail"}, refusal)
        elif self.path == "/api/repos/create":
            self.create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            self.answer({"warnings": [], "errors": []})
        elif match := re.fullmatch(r"/api/datasets/(.+)/preupload/main", self.path):
            files = [{"path": each["path"], **self.mode()} for each in json.loads(body)["files"]]
            self.answer({"files": files})
        elif match := re.fullmatch(r"/api/datasets/(.+)/commit/main", self.path):
            self.commit(match[1], [json.loads(line) for line in body.splitlines()])
        else:
            self.answer({"error": f"unknown: {self.path}"}, 404)

    def mode(self) -> dict[str, Any]:
        return {"uploadMode": "regular", "shouldIgnore": False, "oid": None}

    def create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        assert wanted["type"] == "dataset"
        existed = name in self.server.made
        self.server.made.setdefault(name, wanted)
        self.answer({"url": f"{self.server.address}/datasets/{name}"}, 409 if existed else 200)

    def commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        assert [line["key"] for line in lines] == ["header"] + ["file"] * (len(lines) - 1)
        for line in lines[1:]:
            value = line["value"]
            self.server.files.setdefault(name, {})[value["path"]] = base64.b64decode(value["content"])
        self.answer({"commitUrl": f"{self.server.address}/{name}/commit/0", "commitOid": "0" * 40})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        match = re.fullmatch(r"/datasets/(.+?/.+?)/resolve/[^/]+/(.+)", self.path)
        repository = self.server.files.get(match[1]) if match else None
        content = repository.get(match[2]) if repository and match else None
        if content is None:
            code = "EntryNotFound" if repository else "RepoNotFound"
            self.answer({"error": "nothing here"}, 404, {"X-Error-Code": code, "X-Repo-Commit": "0" * 40})
            return
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def answer(self, values: dict[str, Any], code: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(values).encode()
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""
