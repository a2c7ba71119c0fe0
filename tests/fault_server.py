"""A server on this machine that fails on purpose: each path has a list of faults, one per request, then it behaves."""

import hashlib
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: What a request can meet: a connection that breaks halfway, fewer bytes than there are, other bytes, no attention to
#: Range, 503, 404, a compressed label on plain bytes.
FAULTS = ("drop", "truncate", "wrong", "ignore range", "busy", "absent", "labelled")


class FaultServer(ThreadingHTTPServer):
    """Serves ``content`` (path to bytes); ``faults`` (path to list) are used up one by one; ``log`` keeps requests."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content: dict[str, bytes] = {}
        self.faults: dict[str, list[str]] = {}
        self.always: dict[str, str] = {}
        self.tags = True
        #: Path to a whole answer, used once: code, headers as they are written, body.
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.log: list[tuple[str, str, str | None]] = []
        self.met: dict[str, int] = {}
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Address without a final slash."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next_fault(self, path: str) -> str | None:
        """Take the next fault of a path, and count it."""
        with self.lock:
            queue = self.faults.get(path)
            fault = queue.pop(0) if queue else self.always.get(path)
            if fault:
                self.met[fault] = self.met.get(fault, 0) + 1
            return fault

    def handle_error(self, request, client_address):
        """Say nothing about connections that were broken on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20

    def log_message(self, *_):
        pass

    def odd(self) -> bool:
        """Give the whole answer that is laid down for this path, if there is one."""
        answer = self.server.answers.pop(self.path, None)
        if answer is None:
            return False
        code, headers, body = answer
        self.send_response(code, headers.get("reason"))
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            if name != "reason" and value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
        self.close_connection = True
        return True

    def do_HEAD(self):
        if self.odd():
            return
        body = self.server.content.get(self.path)
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()

    def do_GET(self):
        server: FaultServer = self.server
        with server.lock:
            server.log.append(("GET", self.path, self.headers.get("Range")))
        if self.odd():
            return None
        fault = server.next_fault(self.path)
        body = server.content.get(self.path)
        if body is None or fault == "absent":
            return self.plain(404, b"not here")
        if fault == "busy":
            return self.plain(503, b"later", {"Retry-After": "0"})
        tag = f'"{hashlib.sha1(body).hexdigest()}"'
        if fault == "wrong":
            body = bytes(byte ^ 0xFF for byte in body)
        headers = {"ETag": tag} if server.tags else {}
        if fault == "labelled":
            headers["Content-Encoding"] = "gzip"
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        unchanged = self.headers.get("If-Range") in (None, tag)
        first = int(span[1]) if span and fault != "ignore range" and unchanged else 0
        if first >= len(body) > 0:
            return self.plain(416, b"", {"Content-Range": f"bytes */{len(body)}"})
        code = 206 if first else 200
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
        rest = body[first:]
        if fault == "truncate":
            rest = rest[: len(rest) * 2 // 3]
            headers.pop("Content-Range", None)
            if first:
                headers["Content-Range"] = f"bytes {first}-{first + len(rest) - 1}/*"
        if fault == "drop":
            self.begin(code, len(rest), headers)
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)
            return None
        return self.plain(code, rest, headers)

    def begin(self, code: int, length: int, headers: dict) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def plain(self, code: int, body: bytes, headers: dict | None = None) -> None:
        self.begin(code, len(body), headers or {})
        self.wfile.write(body)


@contextmanager
def serving():
    """Give a running server, and end it."""
    server = FaultServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
