"""A chat endpoint on this machine that answers well, slowly, with errors, nonsense and cut connections, as scripted.

python -m tests.assets.fake_endpoint    # an annotation against it, killed half-way and resumed; prints the calls
"""

import contextlib
import hashlib
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

from tests import patience

GOOD, SLOW, BUSY, BROKEN, CUT, NONSENSE, NO_JSON = "good", "slow", "429", "500", "cut", "nonsense", "no json"
# faults of the first calls about a document; after its list a document is answered well
TROUBLES = (
    [GOOD],
    [SLOW],
    [BUSY],
    [BROKEN, BUSY],
    [CUT],
    [NONSENSE],
    [BROKEN, CUT, NO_JSON],
    [NONSENSE, NO_JSON],  # never answers well: left out by name
)
USAGE = {"prompt_tokens": 100, "completion_tokens": 20}


def completion(content, usage=USAGE):
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}], "usage": usage}).encode()


def label(number):
    return completion(json.dumps({"reason": f"teaches {number}", "label": number % 6}))


class Endpoint:
    """Serves ``/v1/chat/completions``; ``troubles(number)`` lists the faults of the calls about document ``number``."""

    def __init__(self, troubles=lambda number: TROUBLES[number % len(TROUBLES)]):
        self.troubles, self.lock = troubles, threading.Lock()
        self.calls, self.labeled, self.seen, self.key_names = Counter(), Counter(), [], Counter()
        self.in_flight = self.most_in_flight = 0
        self.on_label = lambda num_labeled: None
        self.release = threading.Event()  # a slow answer waits for this, a moment at most

    def answer(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        number = int(re.search(r"document number (\d+)", body["messages"][0]["content"])[1])
        with self.lock:
            self.calls[number] += 1
            self.seen.append((body, dict(handler.headers)))
            self.key_names[handler.headers["Idempotency-Key"]] += 1
            troubles, nth = self.troubles(number), self.calls[number]
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        trouble = troubles[nth - 1] if nth <= len(troubles) else GOOD
        try:
            self.send(handler, trouble, number)
        finally:
            with self.lock:
                self.in_flight -= 1

    def send(self, handler, trouble, number):
        if trouble == SLOW:
            self.release.wait(0.2)
        if trouble == CUT:
            reply(handler, 200, label(number)[:20], length=400)
            handler.close_connection = True
        elif trouble in {BUSY, BROKEN}:
            reply(handler, int(trouble), b"{}", {"Retry-After": "0"} if trouble == BUSY else {})
        elif trouble in {NONSENSE, NO_JSON}:
            reply(handler, 200, completion("I would say it is rather good.") if trouble == NONSENSE else b"<html>oops")
        else:
            with self.lock:
                self.labeled[number] += 1
                num = sum(self.labeled.values())
            self.on_label(num)
            reply(handler, 200, label(number))


def reply(handler, status, body, headers=None, length=None):
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A killed client leaves broken pipes behind, as intended."""


@contextlib.contextmanager
def serving(endpoint):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            endpoint.answer(self)

    server = _Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


def questions(num):
    from codeft_assets.curation.quality.annotation import build_question

    return [
        build_question(
            f"This is document number {number}.", language="text", name=f"document-{number}", annotator="fake",
            reading=0, max_chars=1000,
        )
        for number in range(num)
    ]  # fmt: skip


async def no_wait(seconds):
    del seconds


def annotate(url, journal_path, num, concurrency=4):
    """Return the questions about ``num`` documents, their annotations, and the totals of the calls."""
    from codeft_assets.annotators.annotate import annotate_questions
    from codeft_assets.annotators.calls import open_journal
    from codeft_assets.annotators.endpoint import EndpointAnnotator

    annotator = EndpointAnnotator(url=url, model="fake", max_concurrency=concurrency, sleep=no_wait)
    sent = questions(num)
    with open_journal(Path(journal_path)) as journal:
        found = annotate_questions(sent, annotator, journal)
        return sent, found, journal.totals()


def annotate_in_a_process(url, journal_path, num):
    command = [sys.executable, "-m", "tests.assets.fake_endpoint", url, str(journal_path), str(num)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], env=os.environ, stderr=subprocess.PIPE)


def kill_half_way(endpoint, url, journal_path, num):
    """Annotate in a process of its own that is killed by SIGKILL as soon as half the documents are labeled."""
    process = annotate_in_a_process(url, journal_path, num)
    endpoint.on_label = lambda num_labeled: num_labeled == num // 2 and process.send_signal(signal.SIGKILL)
    process.communicate(timeout=patience.SECONDS)
    endpoint.on_label = lambda num_labeled: None
    return process.returncode


def main():
    if len(sys.argv) > 1:
        url, journal_path, num = sys.argv[1:]
        annotate(url, journal_path, int(num))
        return
    num, endpoint = 160, Endpoint()
    with tempfile.TemporaryDirectory() as folder, serving(endpoint) as url:
        path = Path(folder) / "journal.sqlite"
        code = kill_half_way(endpoint, url, path, num)
        print(f"first run: exit code {code}, {sum(endpoint.calls.values())} calls, {len(path.read_bytes())} bytes")
        _, found, totals = annotate(url, path, num)
        print(f"resumed: {len(found.found)} labels, {len(found.left_out)} left out, {num} documents; {totals}")
        print(f"the endpoint served {sum(endpoint.calls.values())} calls, at most {endpoint.most_in_flight} at a time")
        print(f"documents it labeled twice, in flight at the kill: {sum(n > 1 for n in endpoint.labeled.values())}")
        before = sum(endpoint.calls.values())
        _, again, _ = annotate(url, path, num)
        print(f"a third run made {sum(endpoint.calls.values()) - before} calls, the same labels: {again == found}")
        print(f"labels {hashlib.sha256(repr(sorted(found.found.items())).encode()).hexdigest()[:16]}")


if __name__ == "__main__":
    main()
