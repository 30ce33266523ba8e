"""Stands between a client and an object store, and does to requests what networks and stores do."""

import http.client
import http.server
import socket
import struct
import threading
import time
from collections import Counter

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class FaultyProxy:
    """Forwards to ``port``. Every n-th request meets a fault; ``down`` answers none."""

    def __init__(self, port):
        self.port, self.every, self.down, self.num = port, {}, False, Counter()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                proxy.answer(self)

            do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815  http.server names them

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request):
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        self.num["requests"] += 1
        fault = next((name for name, n in self.every.items() if self.num["requests"] % n == 0), None)
        if self.down or fault == "reset":
            self.num["reset"] += 1
            # a linger of 0 s: the client reads a reset, not an end
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.close_connection = True
            request.connection.close()
            return
        if fault == "error":
            self.num["error"] += 1
            self._send(request, 500, {}, b"<Error><Code>InternalError</Code></Error>")
            return
        if fault == "slow":
            self.num["slow"] += 1
            time.sleep(0.3)
        self._forward(request, body)

    def _forward(self, request, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "connection"}
        connection.request(request.command, request.path, body, headers)
        found = connection.getresponse()
        self._send(request, found.status, dict(found.getheaders()), found.read())
        connection.close()

    def _send(self, request, status, headers, body):
        request.send_response_only(status)
        length = next((value for name, value in headers.items() if name.lower() == "content-length"), len(body))
        for name, value in headers.items():
            if name.lower() not in HOP_BY_HOP:
                request.send_header(name, value)
        request.send_header("Content-Length", length if request.command == "HEAD" else len(body))
        request.end_headers()
        request.wfile.write(body)
