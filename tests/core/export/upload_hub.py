"""The tests' hub with a door for uploads: repositories are made, large files kept by their hash, commits applied.

As the real one has it: what has come whole is kept although no commit names it, and is not asked for again.
"""

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.core.hub.hub_server import LARGE, TOKEN, HubServer, Model, _Handler


class UploadHub(HubServer):
    """Models as in `HubServer`, which uploads add.

    Attributes:
        objects: large files that have come whole, by their SHA-256.
        puts: hashes of large files in the order in which they came.
        cut_after: so many bytes of a large file break the connection, once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.cut_after = 0
        self.read_only = False

    def _handler(self, name: str) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(_UploadHandler):
            pass

        Handler.hub, Handler.name = hub, name
        return Handler


class _UploadHandler(_Handler):
    hub: UploadHub

    def serve_model(self, rest: str) -> None:
        super().serve_model(rest if "/revision/" in rest else f"{rest}/revision/main")

    def do_POST(self) -> None:  # noqa: N802 (the library calls it so)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token != TOKEN:
            self.refuse(401, "", "Invalid credentials in Authorization header")
        elif self.hub.read_only and not self.path.endswith("validate-yaml"):
            self.refuse(403, "", "You need the write role")
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            self.reply_json({})
        elif "/preupload/" in self.path:
            self._say_modes(json.loads(body))
        elif self.path.endswith("/info/lfs/objects/batch"):
            self._say_where(json.loads(body))
        elif "/commit/" in self.path:
            self._commit([json.loads(line) for line in body.splitlines()])
        else:
            self.refuse(404, "", f"no such door: {self.path}")

    def do_PUT(self) -> None:  # noqa: N802
        length, digest = int(self.headers["Content-Length"]), self.path.rpartition("/")[2]
        if self.hub.cut_after:
            self.rfile.read(self.hub.cut_after)
            self.hub.cut_after = 0
            self.close_connection = True
            self.refuse(400, "", "the store broke off")
            return
        content = self.rfile.read(length)
        assert hashlib.sha256(content).hexdigest() == digest
        self.hub.objects[digest] = content
        self.hub.puts.append(digest)
        self.reply(200, b"", {})

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        model = self.hub.add(Model(name, {".gitattributes": b""}, private=asked.get("visibility") == "private"))
        self.reply_json({"url": f"{self.hub.address}/{model.id}", "name": name})

    def _say_modes(self, asked: dict[str, Any]) -> None:
        modes = [
            {"path": file["path"], "uploadMode": "lfs" if file["size"] > LARGE else "regular", "shouldIgnore": False}
            for file in asked["files"]
        ]
        self.reply_json({"files": modes})

    def _say_where(self, asked: dict[str, Any]) -> None:
        found = []
        for item in asked["objects"]:
            entry: dict[str, Any] = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.objects:
                entry["actions"] = {"upload": {"href": f"{self.hub.store}/upload/{item['oid']}"}}
            found.append(entry)
        self.reply_json({"transfer": "basic", "objects": found})

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        model = self.hub.models[self.path.removeprefix("/api/models/").partition("/commit/")[0]]
        for line in lines:
            if line["key"] == "file":
                model.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "lfsFile":
                model.files[line["value"]["path"]] = self.hub.objects[line["value"]["oid"]]
        self.reply_json({"commitUrl": f"{self.hub.address}/{model.id}/commit/1", "commitOid": "1" * 40})
