"""A stand-in for the Hugging Face hub on loopback: repositories in memory, and the requests of its client."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """The files of ``server.repositories``: name -> path -> content."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        repositories = self.server.repositories
        if self.path == "/api/repos/create":
            request = json.loads(body)
            name = f"{request['organization']}/{request['name']}"
            status = 409 if name in repositories else 200
            repositories.setdefault(name, {})
            self.answer(status, {"url": f"{self.server.url}/{name}", "id": name})
        elif self.path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        elif match := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            if match[1] not in repositories:
                self.missing("RepoNotFound")
                return
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self.answer(200, {"files": files})
        elif match := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            for line in map(json.loads, body.decode().splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    repositories[match[1]][line["value"]["path"]] = content
            self.answer(200, {"commitUrl": f"{self.server.url}/{match[1]}/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self.missing("EntryNotFound")

    def do_HEAD(self):
        match = re.fullmatch(r"/(.+)/resolve/([^/]+)/(.+)", self.path)
        if match is None or match[1] not in self.server.repositories:
            self.missing("RepoNotFound")
        elif match[2] not in ("main", COMMIT):
            self.missing("RevisionNotFound")
        elif match[3] not in self.server.repositories[match[1]]:
            self.missing("EntryNotFound")
        else:
            self.server.downloads.append(match[3])
            self.answer(200, self.server.repositories[match[1]][match[3]])

    do_GET = do_HEAD  # noqa: N815

    def missing(self, code):
        self.answer(404, {"error": code}, {"X-Error-Code": code, "X-Error-Message": code})

    def answer(self, status, content, headers=()):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def running():
    """A hub with no repositories; its ``url`` is what HF_ENDPOINT has to be."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.url = f"http://127.0.0.1:{server.server_port}"
        server.repositories, server.downloads = {}, []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
