"""HTTP servers to measure beside ours: git's ``http-backend`` by CGI, and dulwich's WSGI."""

from __future__ import annotations

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import ThreadingMixIn
from typing import IO, Any, cast
from wsgiref.simple_server import WSGIServer, make_server


class _CGI(BaseHTTPRequestHandler):
    """Runs ``git http-backend`` for each request, and passes bytes as they come."""

    root = ""
    disable_nagle_algorithm = True

    def _run(self) -> None:
        path, _, query = self.path.partition("?")
        environ = {
            **os.environ,
            "GIT_PROJECT_ROOT": self.root,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "REMOTE_ADDR": str(self.client_address[0]),
        }
        for header, name in (
            ("Content-Length", "CONTENT_LENGTH"),
            ("Content-Encoding", "HTTP_CONTENT_ENCODING"),
            ("Git-Protocol", "GIT_PROTOCOL"),
        ):
            if header in self.headers:
                environ[name] = self.headers[header]
        process = subprocess.Popen(
            ["git", "http-backend"], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        stdin, stdout = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        with process:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                while size := int(self.rfile.readline(), 16):
                    stdin.write(self.rfile.read(size))
                    self.rfile.readline()
            else:
                stdin.write(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            stdin.close()
            self.wfile.write(b"HTTP/1.0 200 OK\r\n")
            while data := os.read(stdout.fileno(), 1 << 16):
                self.wfile.write(data)

    do_GET = do_POST = _run

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class _ThreadingWSGIServer(ThreadingMixIn, WSGIServer):
    """Dulwich's application with a thread for each request."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Serve until killed; the arguments are a kind, a folder and a port."""
    kind, root, port = sys.argv[1:]
    if kind == "cgi":
        _CGI.root = root
        ThreadingHTTPServer.request_queue_size = 128
        ThreadingHTTPServer(("127.0.0.1", int(port)), _CGI).serve_forever()
    from dulwich.repo import Repo
    from dulwich.server import DictBackend
    from dulwich.web import WSGIRequestHandlerLogger, make_wsgi_chain

    served: dict[str, Any] = {
        f"/{name}": Repo(os.path.join(root, name)) for name in os.listdir(root)
    }
    application = make_wsgi_chain(DictBackend(served))
    make_server(
        "127.0.0.1", int(port), application, _ThreadingWSGIServer, WSGIRequestHandlerLogger
    ).serve_forever()


if __name__ == "__main__":
    main()
