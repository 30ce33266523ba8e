"""A Hugging Face Hub on 127.0.0.1: enough of its API for the real clients, with revisions and faults that tests set.

As a program, ``python -m tests.hub.server --port N`` serves the sample rows of every Hub source under its repository id
and takes ``POST /admin/commit`` ``{"repo": …, "files": {path: text}}`` to advance a revision.
"""

import argparse
import contextlib
import hashlib
import http.server
import json
import re
import threading
import time
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tests.hub.uploads import answer_upload

_REPO = r"(?P<repo>[^/]+/[^/]+)"
_API = re.compile(rf"^/api/(?:datasets|models)/{_REPO}(?:/revision/(?P<revision>[^/]+))?$")
_TREE = re.compile(rf"^/api/(?:datasets|models)/{_REPO}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.*))?$")
_PATHS = re.compile(rf"^/api/(?:datasets|models)/{_REPO}/paths-info/(?P<revision>[^/]+)$")
_RESOLVE = re.compile(rf"^(?:/datasets)?/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)$")


def blob_id(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repo:
    commits: dict = field(default_factory=dict)  # sha -> {path: content}
    head: str = ""
    gated: bool = False
    moved_to: str = ""
    card: dict = field(default_factory=dict)


@dataclass
class Fault:
    """A failure of the next ``times`` requests whose path matches ``pattern``."""

    pattern: str
    kind: str  # "status", "truncate", "cut"
    times: int
    status: int = 500
    retry_after: str = ""


class HubServer:
    """Use as a context manager; ``url`` is the value of HF_ENDPOINT."""

    def __init__(self, port=0):
        self.repos, self.faults, self.requests, self.created = {}, [], Counter(), []
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def serve_forever(self):
        self._server.serve_forever()

    def commit(self, name, files, *, remove=()):
        """Add or replace files and return the new commit's sha."""
        with self._lock:
            repo = self.repos.setdefault(name, Repo())
            content = dict(repo.commits.get(repo.head, {}))
            content.update({path: c.encode() if isinstance(c, str) else c for path, c in files.items()})
            for path in remove:
                del content[path]
            text = f"{name} {len(repo.commits)} " + " ".join(f"{p} {blob_id(c)}" for p, c in sorted(content.items()))
            repo.head = hashlib.sha1(text.encode()).hexdigest()
            repo.commits[repo.head] = content
            return repo.head

    def fail(self, pattern, kind="status", *, times=1, status=500, retry_after=""):
        self.faults.append(Fault(pattern, kind, times, status, retry_after))

    def take_fault(self, path):
        with self._lock:
            for fault in self.faults:
                if fault.times and re.search(fault.pattern, path):
                    fault.times -= 1
                    return fault
        return None

    def reset(self):
        self.repos.clear()
        self.faults.clear()
        self.requests.clear()
        self.created.clear()


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urllib.parse.urlsplit(self.path).path
        if path == "/admin/commit":
            commit = json.loads(body)
            self._json({"sha": self.hub.commit(commit["repo"], commit["files"])})
        elif match := _PATHS.match(path):
            query = json.loads(body) if body.startswith(b"{") else dict(urllib.parse.parse_qsl(body.decode()))
            paths = query.get("paths", [])
            self._with_files(match, lambda files: self._json(path_entries(files, paths)))
        elif written := answer_upload(self.hub, path, body, self.headers.get("Authorization", "")):
            self._send(written[0], json.dumps(written[1]).encode(), {"Content-Type": "application/json"})
        else:
            self._error(404, "EntryNotFound")

    def _answer(self, *, with_body):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        self.hub.requests[path] += 1
        self._with_body = with_body
        self._fault = self.hub.take_fault(path)
        if self._fault is not None and self._fault.kind == "status":
            headers = {"Retry-After": self._fault.retry_after} if self._fault.retry_after else {}
            return self._send(self._fault.status, b"fault", headers)
        for pattern, answer in ((_RESOLVE, self._resolve), (_TREE, self._tree), (_API, self._info)):
            if match := pattern.match(path):
                return answer(match)
        return self._error(404, "EntryNotFound")

    def _with_files(self, match, answer, *, needs_access=False):
        name = match["repo"]
        repo = self.hub.repos.get(name)
        if repo is None:
            return self._error(401, "RepoNotFound")
        if repo.moved_to:
            target = self.path.replace(name, repo.moved_to, 1)
            return self._send(307, b"", {"Location": f"{self.hub.url}{target}"})
        if needs_access and repo.gated and not self.headers.get("Authorization"):
            return self._error(403, "GatedRepo")
        revision = match["revision"] or "main"
        sha = repo.head if revision in {"main", "HEAD"} else revision
        if sha not in repo.commits:
            return self._error(404, "RevisionNotFound")
        self._sha = sha
        return answer(repo.commits[sha])

    def _info(self, match):
        def answer(files):
            repo = self.hub.repos[match["repo"]]
            self._json(
                {
                    "id": match["repo"],
                    "sha": self._sha,
                    "lastModified": "2026-01-01T00:00:00.000Z",
                    "private": False,
                    "gated": "auto" if repo.gated else False,
                    "disabled": False,
                    "downloads": 0,
                    "likes": 0,
                    "tags": [],
                    "cardData": repo.card,
                    "siblings": [{"rfilename": path} for path in sorted(files)],
                }
            )

        self._with_files(match, answer)

    def _tree(self, match):
        folder = (match["folder"] or "").strip("/")

        def answer(files):
            inside = {p: c for p, c in sorted(files.items()) if not folder or p.startswith(f"{folder}/")}
            if folder and not inside:
                return self._error(404, "EntryNotFound")
            if "recursive=true" not in self.path.lower():
                depth = folder.count("/") + 2 if folder else 1
                inside = {"/".join(p.split("/")[:depth]): None for p in inside}
                return self._json(path_entries(files, list(inside)))
            folders = {str(parent) for path in inside for parent in PurePosixPath(path).parents}
            below = sorted(name for name in folders if name != "." and (not folder or name.startswith(f"{folder}/")))
            return self._json(path_entries(files, [*inside, *below]))

        self._with_files(match, answer)

    def _resolve(self, match):
        def answer(files):
            if match["path"] not in files:
                return self._error(404, "EntryNotFound")
            content = files[match["path"]]
            headers = {"X-Repo-Commit": self._sha, "ETag": f'"{blob_id(content)}"', "Accept-Ranges": "bytes"}
            wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if not wanted:
                return self._send(200, content, headers)
            start, end = int(wanted[1]), min(int(wanted[2] or len(content) - 1), len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            return self._send(206, content[start : end + 1], headers)

        self._with_files(match, answer, needs_access=True)

    def _json(self, value):
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status, code):
        self._send(status, json.dumps({"error": code}).encode(), {"X-Error-Code": code, "X-Error-Message": code})

    def _send(self, status, body, headers):
        fault = getattr(self, "_fault", None)
        if fault is not None and fault.kind == "truncate":
            body = body[: len(body) // 2]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault is not None and fault.kind == "cut":
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        if getattr(self, "_with_body", True):
            self.wfile.write(body)


def entry(path, content):
    return {"type": "file", "path": path, "size": len(content), "oid": blob_id(content)}


def path_entries(files, paths):
    """Return the entries of ``paths``: files, and folders that hold some."""
    folders = [p for p in paths if any(name.startswith(f"{p}/") for name in files)]
    found = [entry(p, files[p]) for p in files if p in paths]
    return found + [{"type": "directory", "path": p, "size": 0, "oid": blob_id(p.encode())} for p in folders]


def sample_files(name, origin):
    """Return the sample of a Hub source as files of its repository."""
    folder = Path(__file__).parents[2] / "codeft_assets" / "samples"
    single = folder / f"{name}.jsonl"
    if single.is_file():
        return {"data/train.jsonl": single.read_bytes()}
    files = sorted((folder / name).iterdir())
    if origin.splits == ("train",):
        return {path.name: path.read_bytes() for path in files}
    return {f"data/{path.stem}-00000-of-00001.jsonl": path.read_bytes() for path in files}


def seed_samples(hub):
    """Put the sample rows of every Hub source into ``hub``."""
    from codeft_assets.origins import HubOrigin
    from codeft_assets.sources import SOURCES

    for source in SOURCES.values():
        if isinstance(source.origin, HubOrigin):
            hub.commit(source.origin.repo_id, sample_files(source.name, source.origin))


@contextlib.contextmanager
def plain_server(answers):
    """Serve ``answers``: a function from (path, number of the request) to (status, headers, body)."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            seen.append((self.path, dict(self.headers)))
            status, headers, body = answers(self.path, len(seen))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  the name that the server looks for

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    hub = HubServer(parser.parse_args().port)
    seed_samples(hub)
    print(f"serving {len(hub.repos)} repositories at {hub.url} since {time.ctime()}", flush=True)
    hub.serve_forever()


if __name__ == "__main__":
    main()
