"""A small model hub on this machine: the addresses, headers and refusals of the real one, and faults on demand.

Large files lie on another server, as they do in reality, so that a token that goes there is seen.
"""

import hashlib
import json
import socket
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 20_000
TOKEN, OUTSIDER = "hf_insiderinsiderinsider", "hf_outsideroutsideroutsider"
BLOCK = 16 * 1024


@dataclass
class Model:
    """A model on the hub, or a data set where ``kind`` says so; ``gated`` and ``private`` as the real hub has them."""

    id: str
    files: dict[str, bytes]
    gated: object = False
    private: bool = False
    downloads: int = 10
    licence: str = "apache-2.0"
    tags: tuple[str, ...] = ("safetensors", "text-generation")
    commit: str = COMMIT
    branches: tuple[str, ...] = ("main",)
    says_sizes: bool = True
    kind: str = "model"
    card: dict[str, Any] = field(default_factory=dict)

    def is_large(self, name: str) -> bool:
        return len(self.files[name]) > LARGE

    def digest(self, name: str) -> str:
        content = self.files[name]
        if self.is_large(name):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Asked:
    """One request that came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Message
    server: str
    sent: int = 0

    @property
    def range(self) -> str:
        return self.headers.get("Range", "")

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")


@dataclass
class Faults:
    """What goes wrong; each number is how often it still does.

    Attributes:
        answer: path prefix -> (times, status, headers).
        cut: file name -> byte counts after which the connection breaks, one for each request to come.
        spoil: file name -> times that its bytes are wrong.
        silent: file names whose content is never sent.
        delay: seconds between blocks of a large file.
        no_ranges: ranges are ignored.
    """

    answer: dict[str, tuple[int, int, dict[str, str]]] = field(default_factory=dict)
    cut: dict[str, list[int]] = field(default_factory=dict)
    spoil: dict[str, int] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    delay: float = 0.0
    no_ranges: bool = False


class _Server(ThreadingHTTPServer):
    """Hangs up when it ends: who asks keeps the connection for more, and a thread waits for that for ever."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._talks: dict[socket.socket, threading.Thread] = {}

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._talks[request] = thread
        thread.start()

    def server_close(self) -> None:
        super().server_close()
        for request, thread in self._talks.items():
            with suppress(OSError):  # over already
                request.shutdown(socket.SHUT_RDWR)
            thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is what some tests want; anything else is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class HubServer:
    """Both servers, what they offer and what they were asked."""

    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.renamed: dict[str, str] = {}
        self.asked: list[Asked] = []
        self.faults = Faults()
        self.over = threading.Event()
        self._servers = [_Server(self._handler(name)) for name in ("hub", "store")]
        self._threads: list[threading.Thread] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._servers[0].server_port}"

    @property
    def store(self) -> str:
        return f"http://127.0.0.1:{self._servers[1].server_port}"

    def add(self, model: Model) -> Model:
        self.models[model.id] = model
        return model

    def contents(self, name: str = "") -> list[Asked]:
        """The requests for a file's content, wherever it lies."""
        return [
            asked
            for asked in self.asked
            if asked.method == "GET" and asked.sent and asked.path.endswith(name) and "/api/" not in asked.path
        ]

    def start(self) -> None:
        for server in self._servers:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        self.over.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()

    def _handler(self, name: str) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub, Handler.name = hub, name
        return Handler


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    name: str
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """The tests print nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(parts.path)
        self.asked = Asked(self.command, path, urllib.parse.parse_qs(parts.query), self.headers, self.name)
        self.hub.asked.append(self.asked)
        for prefix, (times, status, headers) in list(self.hub.faults.answer.items()):
            if path.startswith(prefix) and times:
                self.hub.faults.answer[prefix] = (times - 1, status, headers)
                self.reply(status, b"a fault", headers)
                return
        try:
            if self.name == "store":
                self.serve_store(path)
            elif path == "/api/models":
                self.serve_list()
            elif path == "/api/whoami-v2":
                self.serve_account()
            elif path.startswith(("/api/models/", "/api/datasets/")):
                self.serve_model(path.removeprefix("/api/").partition("/")[2])
            elif "/resolve/" in path:
                self.serve_file(path.strip("/").removeprefix("datasets/"))
            else:
                self.refuse(404, "", "Not found")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    # ----------------------------------------------------------------------------------------------- the hub's side

    def serve_list(self) -> None:
        query = self.asked.query
        words = query.get("search", [""])[0].lower()
        found = [
            model
            for model in self.hub.models.values()
            if words in model.id.lower()
            and model.kind == "model"
            and (not model.private or self.is_insider())
            and set(query.get("filter", [])) <= set(model.tags)
            and query.get("pipeline_tag", ["text-generation"])[0] in model.tags
        ]
        found.sort(key=lambda model: -model.downloads)
        expand = set(query.get("expand", []))
        entries = [
            {"id": model.id, **{key: value for key, value in self.entry(model).items() if key in expand}}
            for model in found[: int(query.get("limit", ["30"])[0])]
        ]
        self.reply_json(entries)

    def serve_account(self) -> None:
        if self.asked.token not in (TOKEN, OUTSIDER):
            self.refuse(401, "", "Invalid credentials in Authorization header")
            return
        name = "insider" if self.is_insider() else "outsider"
        self.reply_json({"name": name, "auth": {"accessToken": {"displayName": "laptop", "role": "read"}}})

    def serve_model(self, rest: str) -> None:
        name, _, revision = rest.partition("/revision/")
        if name in self.hub.renamed:
            kind = self.asked.path.split("/")[2]
            self.reply(307, b"", {"Location": f"/api/{kind}/{self.hub.renamed[name]}/revision/{revision}?blobs=true"})
            return
        model = self.find(name)
        if model is None:
            return
        if revision not in (*model.branches, model.commit):
            self.refuse(404, "RevisionNotFound", "Invalid rev id")
            return
        siblings: list[dict[str, Any]] = []
        for file, content in model.files.items():
            item: dict[str, Any] = {"rfilename": file}
            if model.says_sizes:
                item |= {"size": len(content), "blobId": hashlib.sha1(file.encode()).hexdigest()}
                if model.is_large(file):
                    item["lfs"] = {"sha256": model.digest(file), "size": len(content), "pointerSize": 134}
                else:
                    item["blobId"] = model.digest(file)
            siblings.append(item)
        self.reply_json({"id": model.id, "sha": model.commit, "siblings": siblings, **self.entry(model)})

    def entry(self, model: Model) -> dict[str, Any]:
        config = json.loads(model.files.get("config.json", b"{}"))
        return {
            "downloads": model.downloads,
            "likes": 3,
            "lastModified": "2025-03-01T10:00:00.000Z",
            "gated": model.gated,
            "private": model.private,
            "tags": [*model.tags, f"license:{model.licence}"],
            "safetensors": {"parameters": {"BF16": 1_000_000, "F32": 500}, "total": 1_000_500},
            **({"cardData": model.card} if model.card else {}),
            "config": {key: config[key] for key in ("model_type", "architectures") if key in config},
        }

    def serve_file(self, path: str) -> None:
        name, _, rest = path.partition("/resolve/")
        model = self.find(name)
        if model is None:
            return
        revision, _, file = rest.partition("/")
        if revision not in (*model.branches, model.commit):
            self.refuse(404, "RevisionNotFound", "Invalid rev id")
        elif file not in model.files:
            self.refuse(404, "EntryNotFound", "Entry not found")
        elif model.gated and not self.asked.token:
            self.refuse(401, "GatedRepo", f"Access to model {name} is restricted. Please log in.")
        elif model.gated and not self.is_insider():
            self.refuse(403, "GatedRepo", f"Access to model {name} is restricted and you are not in the list.")
        else:
            headers = {"X-Repo-Commit": model.commit, "ETag": f'"{model.digest(file)}"'}
            if model.is_large(file):
                headers["X-Linked-ETag"] = headers.pop("ETag")
                headers["X-Linked-Size"] = str(len(model.files[file]))
                headers["Location"] = f"{self.hub.store}/{name}/{file}?signature=abc"
                self.reply(302, b"", headers)
            else:
                self.send_content(file, model.files[file], headers)

    def find(self, name: str) -> Model | None:
        """The model, if this visitor may know of it; else he is refused, as at the real hub."""
        token = self.asked.token
        if token and token not in (TOKEN, OUTSIDER):
            self.refuse(401, "", "Invalid credentials in Authorization header")
            return None
        model = self.hub.models.get(name)
        asked_kind = "dataset" if self.asked.path.startswith(("/datasets/", "/api/datasets/")) else "model"
        if model is None or model.kind != asked_kind or (model.private and not self.is_insider()):
            self.refuse(404 if token else 401, "RepoNotFound", "Repository not found")
            return None
        return model

    def is_insider(self) -> bool:
        return self.asked.token == TOKEN

    # --------------------------------------------------------------------------------------------- the store's side

    def serve_store(self, path: str) -> None:
        for model in self.hub.models.values():
            for file, content in model.files.items():
                if path == f"/{model.id}/{file}":
                    self.send_content(file, content, {})
                    return
        self.refuse(404, "", "Not found")

    def send_content(self, name: str, content: bytes, headers: Mapping[str, str]) -> None:
        faults, start = self.hub.faults, 0
        if self.asked.range and not faults.no_ranges:
            start = int(self.asked.range.removeprefix("bytes=").rstrip("-"))
        body = content[start:]
        if faults.spoil.get(name, 0) and self.command == "GET":
            faults.spoil[name] -= 1
            body = bytes(255 - byte for byte in body)
        self.send_response(206 if start else 200)
        for key, value in headers.items():
            self.send_header(key, value)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if name in faults.silent:
            self.hub.over.wait(60)
            self.close_connection = True
            return
        cuts = faults.cut.get(name)
        limit = cuts.pop(0) if cuts else len(body)
        for position in range(0, min(limit, len(body)), BLOCK):
            block = body[position : min(position + BLOCK, limit)]
            # Counted first: who has the last byte may ask for the count before this thread goes on.
            self.asked.sent += len(block)
            self.wfile.write(block)
            self.wfile.flush()
            if faults.delay and len(content) > LARGE:
                time.sleep(faults.delay)
        if limit < len(body):
            self.close_connection = True

    # ------------------------------------------------------------------------------------------------------ replies

    def reply(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reply_json(self, value: object) -> None:
        self.reply(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self.reply(status, json.dumps({"error": message}).encode(), headers)


@contextmanager
def running_hub() -> Iterator[HubServer]:
    """A hub that ends with the block."""
    server = HubServer()
    server.start()
    try:
        yield server
    finally:
        server.close()
