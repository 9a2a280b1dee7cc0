"""A small server of a listening test: it gives each rater the own page, and takes the answers.

Whoever has a session's link has its secret token, and nobody else gets anything. A request never names a file: its
path is looked up among the tokens, and what is sent is the page of that token's session.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import json
import os
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

from evalkit.errors import EvalkitError
from evalkit.listening.answers import Refused, checked, finished, keep
from evalkit.listening.study import SESSION, TOKENS, Study
from evalkit.report.literal import literal
from evalkit.store.files import write_bytes

LARGEST = 8 * 10**6  # bytes of answers
MOST = 100  # requests at a time
SLOWEST = 60.0  # seconds that a request may keep a thread waiting for its next bytes
LONGEST_ASKED, LONGEST_SENT = 120.0, 1800.0  # seconds in which a whole request must be here, and its answer there
TOKEN = re.compile(r"[A-Za-z0-9_-]{20,100}")
POLICY = re.compile(r"[ -~]{1,2000}")


def remembered(study: Study) -> tuple[dict[str, str], int]:
    """The secret of each session and the port of an earlier server, so that links stay; what is new of either.

    Raises EvalkitError for a file of tokens that is damaged.
    """
    path = study.folder / TOKENS
    try:
        known = json.loads(path.read_text("utf-8"))
        found, port = dict(known["tokens"]), known["port"]
        if not isinstance(port, int) or not all(TOKEN.fullmatch(one) for one in found.values()):
            raise ValueError
    except FileNotFoundError:
        found, port = {}, 0
    except (ValueError, TypeError, KeyError) as error:
        raise EvalkitError(f"'{path}' is damaged: delete it for new links") from error
    return {session: found.get(session) or secrets.token_urlsafe(24) for session in study.sessions}, port


def remember(study: Study, tokens: Mapping[str, str], port: int) -> None:
    """Store secrets, for the eyes of this user alone, and the port."""
    text = json.dumps({"port": port, "tokens": tokens}, indent=1)
    write_bytes(study.folder / TOKENS, text.encode(), mode=0o600)


class Server(ThreadingHTTPServer):
    """Serves a study on one address.

    Args:
        port: None for that of an earlier server, or one that is free; 0 for one that is free.
        name: under which others reach it, where that is not its host.

    Raises EvalkitError where it cannot listen there.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, study: Study, host: str, port: int | None = None, name: str = ""):
        self.study, self.name = study, name
        self.tokens, before = remembered(study)
        self.until: dict[Any, float] = {}  # when connections are cut
        self.keeping = threading.Lock()  # one save after another, as each looks at what is there
        self.names = {"localhost", *(one.lower() for one in (host, name, socket.gethostname()) if one)}
        policy = str(study.facts.get("policy", ""))
        self.policy = policy if POLICY.fullmatch(policy) else "default-src 'none'"
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, before if port is None else port), Handler)
        except (OSError, OverflowError) as error:
            if port is None and before:  # somebody else has it now
                super().__init__((host, 0), Handler)
            else:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                said = f"cannot listen at {host}, port {port or 0}: {reason}: give another --host or --port"
                raise EvalkitError(said) from error
        remember(study, self.tokens, self.server_port)

    def server_bind(self) -> None:
        """Bind without a look at name servers, which HTTPServer's own does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a request in a thread of its own, if there are not too many."""
        if len(self.until) >= MOST:
            self.shutdown_request(request)
        else:
            self.until[request] = time.monotonic() + LONGEST_ASKED
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a request that is done with."""
        self.until.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut connections that take too long, however often something comes."""
        now = time.monotonic()
        for request, until in list(self.until.items()):
            if until < now:
                with contextlib.suppress(OSError):  # it has ended by itself
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that broke."""

    def links(self) -> dict[str, str]:
        """The link of each session."""
        host = self.name or (socket.gethostname() if self.server_name in ("0.0.0.0", "::") else self.server_name)
        shown = f"[{host}]" if ":" in host else host
        return {session: f"http://{shown}:{self.server_port}/{token}" for session, token in self.tokens.items()}

    def said(self, text: str) -> None:
        """Tell who runs the server what is wrong."""
        print(f"evalkit: {literal(text)}", file=sys.stderr, flush=True)

    def progress(self) -> str:
        """How many sessions have answers."""
        found = [finished(self.study, session) for session in self.study.sessions]
        return f"{found.count(True)} of {len(found)} sessions are finished, {found.count(False)} are begun"

    def session(self, path: str) -> str | None:
        """Whose token a request's path is, in a time that says nothing of how much of it is right."""
        given = path.removeprefix("/").encode("utf-8", "surrogateescape")
        found = None
        for session, token in self.tokens.items():
            if hmac.compare_digest(token.encode(), given):
                found = session
        return found

    def trusts(self, host: str | None) -> bool:
        """Whether a Host header is one of ours: a name that others make lead here is not."""
        if not host:
            return False
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name)
            return True
        except ValueError:
            return name.lower() in self.names


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server_version = "evalkit"
    sys_version = ""
    timeout: ClassVar[float | None] = SLOWEST

    @property
    def ours(self) -> Server:
        """The server of the study."""
        assert isinstance(self.server, Server)
        return self.server

    def do_GET(self) -> None:
        """Send the page of a session."""
        self._page(with_body=True)

    def do_HEAD(self) -> None:
        """Say that the page is there."""
        self._page(with_body=False)

    def do_POST(self) -> None:
        """Take answers."""
        session = "a session"
        try:
            session = self._session()
            origin = self.headers.get("Origin")
            if origin is not None and urlsplit(origin).netloc != self.headers.get("Host"):
                raise Refused("sent from another page", 403)
            if self.headers.get_content_type() != "application/json":
                raise Refused("no application/json", 415)
            given = checked(self.ours.study, session, self._body())
            with self.ours.keeping:
                keep(self.ours.study, session, given)
        except Refused as error:
            self._send(error.status, f"{error}\n".encode())
        except (EvalkitError, OSError) as error:  # no space left, for one
            self.ours.said(f"answers of {session} cannot be stored: {error}")
            self._send(507, b"the answers cannot be stored: tell who asked you\n")
        else:
            self._send(200, b"kept\n")

    def _page(self, with_body: bool) -> None:
        try:
            session = self._session()
            page = _read(self.ours.study, session)
        except Refused as error:
            self._send(error.status, f"{error}\n".encode(), with_body=with_body)
        else:
            self._send(200, page, "text/html; charset=utf-8", with_body)

    def _session(self) -> str:
        """The session that is asked for. Raises Refused where it is none, or asked for under another name."""
        if not self.ours.trusts(self.headers.get("Host")):
            raise Refused("asked for under another name", 421)
        session = self.ours.session(self.path)
        if session is None:
            raise Refused("nothing is here: use the whole link that you were given", 404)
        return session

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Transfer-Encoding") or not re.fullmatch(r"\d{1,12}", length):
            raise Refused("no Content-Length", 411)
        if int(length) > LARGEST:
            raise Refused("too large", 413)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise Refused("cut short")
        return body

    def _send(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8", with_body: bool = True) -> None:
        self.ours.until[self.connection] = time.monotonic() + LONGEST_SENT
        self.send_response(status)
        headers: Mapping[str, str] = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": f"{self.ours.policy}; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "no-store",
            "Connection": "close",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep no log of requests: their paths are secrets."""


def _read(study: Study, session: str) -> bytes:
    """Read the page of a session, which must be a file of the study's own folder. Raises Refused else."""
    if not SESSION.fullmatch(session):
        raise Refused("nothing is here", 404)
    try:
        handle = os.open(study.page(session), os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as file:
            return file.read()
    except OSError as error:
        raise Refused("the page is not there: tell who asked you", 404) from error
