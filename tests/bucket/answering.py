"""An HTTP server on 127.0.0.1 that answers every request as it is told."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

SECRET = "sEcReTsEcReT"


class Answer(NamedTuple):
    status: int
    code: str = ""
    body: bytes | None = None
    headers: dict[str, str] = {}  # noqa: RUF012
    cut: int = 0  # bytes of the body that are announced and not sent

    def content(self) -> bytes:
        if self.body is not None:
            return self.body
        return (
            b"<Error><Code>%b</Code><Message>m</Message><Resource>%b</Resource></Error>"
            % (self.code.encode(), SECRET.encode())
            if self.code
            else b""
        )


class AnsweringServer:
    """The server; ``answers`` are given in turn, the last one again and again."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [Answer(500)]
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.seen.append((self.command, self.path, headers))
                answer = outer.answers[0]
                if len(outer.answers) > 1:
                    outer.answers.pop(0)
                content = answer.content()
                head = [f"HTTP/1.1 {answer.status} Whatever"]
                head += [f"{name}: {value}" for name, value in answer.headers.items()]
                head += [f"Content-Length: {len(content) + answer.cut}", "", ""]
                sent = "\r\n".join(head).encode()
                self.wfile.write(sent if self.command == "HEAD" else sent + content)
                self.close_connection = bool(answer.cut)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def options(self) -> dict[str, Any]:
        return {
            "endpoint": f"http://127.0.0.1:{self._server.server_port}",
            "access_key_id": "key",
            "secret_access_key": SECRET,
            "region": "us-east-1",
        }

    def __enter__(self) -> AnsweringServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
