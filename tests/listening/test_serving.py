"""The server of a listening test: whom it gives what, what it takes, and that it loses nothing."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import EvalkitError
from evalkit.listening import rules, serving
from evalkit.listening.analysing import analyse
from evalkit.listening.answers import Refused, checked, keep
from evalkit.listening.reading import read_answers
from evalkit.listening.serving import Server
from evalkit.listening.study import Study
from tests.listening.made import study


@pytest.fixture(scope="module", params=["rating", "pairs"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return study(tmp_path_factory.mktemp(request.param), method=request.param).study


@contextlib.contextmanager
def serve(found: Study, **options: Any) -> Iterator[Server]:
    with Server(found, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(made: Study) -> Iterator[Server]:
    with contextlib.suppress(FileNotFoundError):
        for path in (made.folder / "answers").rglob("*.json"):
            path.unlink()
    with serve(made) as running:
        yield running


def answers(found: Study, session: str, many: int | None = None, **changes: Any) -> dict[str, Any]:
    """What a page sends when some questions were answered, all by default."""
    pages = found.sessions[session]["pages"]
    if found.pairs:
        given: list[dict[str, Any]] = [
            {"page": i, "items": page, "choice": "tie", "heard": [1, 0.95], "seconds": 9.5, "plays": [1, 2]}
            for i, page in enumerate(pages)
        ]
    else:
        given = [
            {"page": i, "item": item, "rating": 50, "heard": 0.97, "seconds": 12.3, "plays": 2}
            for i, page in enumerate(pages)
            for item in page
        ]
    return {
        "kind": "listening answers", "schema": 1, "study": found.id, "session": session, "rater": "Ada",
        "finished": False, "started": "2026-01-01T00:00:00.000Z", "ended": "2026-01-01T00:20:00.000Z",
        "headphones": True, "comment": "",
        "answers": given[:many], "page_seconds": {"0": 20.5, "practice": 3},
        "events": [[0.5, "play", pages[0][0]], [1, "next", 0]], **changes,
    }  # fmt: skip


def ask(server: Server, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Make one request, with the path as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if data is not None:
        named = {"Content-Type": "application/json", **named}
    connection.request(method, path, data, named)
    response = connection.getresponse()
    found = response.status, response.read(), {name.lower(): value for name, value in response.getheaders()}
    connection.close()
    return found


def link(server: Server, session: str = "r01") -> str:
    return "/" + server.tokens[session]


def stored(found: Study, session: str = "r01") -> dict[str, Any]:
    return json.loads((found.folder / "answers" / f"{session}.json").read_text("utf-8"))


def test_each_link_gives_its_own_page_alone(server: Server, made: Study) -> None:
    assert len(set(server.tokens.values())) == len(made.sessions)
    for session, url in server.links().items():
        path = "/" + url.rpartition("/")[2]
        assert url == f"http://127.0.0.1:{server.server_port}{path}" and len(path) >= 33
        status, body, headers = ask(server, "GET", path)
        assert (status, body) == (200, made.page(session).read_bytes())
        assert headers["content-type"] == "text/html; charset=utf-8"
        status, nothing, head = ask(server, "HEAD", path)
        assert (status, nothing, head["content-length"]) == (200, b"", headers["content-length"])


def test_headers_let_a_page_do_nothing_else(server: Server, made: Study) -> None:
    for path in (link(server), "/"):
        _, _, headers = ask(server, "GET", path)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'sha256-") and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
    text = made.page("r01").read_text("utf-8")
    assert re.findall(r'Content-Security-Policy" content="([^"]*)"', text)[0].replace("&#39;", "'") in policy


@pytest.mark.parametrize(
    "path",
    [
        "/", "", "/study.json", "/pages/r01.html", "/answers/r01.json", "/tokens.json", "/../study.json", "/r01",
        "/..%2fstudy.json", "/%2e%2e/study.json", "//etc/passwd", "/etc/passwd", "/....//study.json",
        "\\..\\study.json",
        "/TOKEN/", "/TOKEN/../study.json", "/TOKEN?x", "/TOKEN#x", "/TOKEN%00", "/TOKE", "/pages/link.html", "/*",
    ],
)  # fmt: skip
def test_nothing_else_is_given_away(server: Server, made: Study, path: str) -> None:
    outside = made.folder.parent / "outside.html"
    outside.write_text("secret")
    alias = made.folder / "pages" / "link.html"
    if not alias.is_symlink():
        alias.symlink_to(outside)
    token = server.tokens["r01"]
    asked = path.replace("TOKEN", token).replace("TOKE", token[:-1])
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(f"GET {asked} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        with connection.makefile("rb") as file:
            answer = file.read()
    assert re.match(rb"HTTP/1\.[01] 40[04] |nothing is here", answer), answer[:80]
    assert b"secret" not in answer and b"listen-data" not in answer and b"control" not in answer.split(b"\r\n\r\n")[-1]


def test_a_page_that_is_a_link_to_elsewhere_is_not_followed(server: Server, made: Study) -> None:
    page, aside = made.page("r02"), made.folder / "aside.html"
    page.rename(aside)
    try:
        page.symlink_to(aside)
        assert ask(server, "GET", link(server, "r02"))[0] == 404
    finally:
        page.unlink()
        aside.rename(page)
    assert ask(server, "GET", link(server, "r02"))[0] == 200


@pytest.mark.parametrize(("host", "status"), [
    ("127.0.0.1", 200), ("127.0.0.1:80", 200), ("localhost:1", 200), ("LOCALHOST", 200), ("[::1]:5", 200),
    ("study.example", 200),
    ("evil.example", 421), ("127.0.0.1.evil.example", 421), ("evil@", 421), ("", 421), ("[", 421),
])  # fmt: skip
def test_other_names_that_lead_here_are_not_trusted(made: Study, host: str, status: int) -> None:
    with serve(made, name="study.example") as server:
        assert ask(server, "GET", link(server), Host=host)[0] == status
        assert ask(server, "POST", link(server), answers(made, "r01"), Host=host)[0] == status
        assert "http://study.example:" in server.links()["r01"]


def test_answers_are_kept_and_later_ones_take_their_place(server: Server, made: Study) -> None:
    for many in (1, 2, None):
        given = answers(made, "r01", many, finished=many is None)
        assert ask(server, "POST", link(server), given)[:2] == (200, b"kept\n")
        assert stored(made) == given
    assert not (made.folder / "answers" / "earlier").exists() or not any(
        (made.folder / "answers" / "earlier").iterdir()
    )
    assert server.progress() == f"1 of {len(made.sessions)} sessions are finished, 0 are begun"


def test_what_another_run_has_sent_is_put_aside_and_not_lost(server: Server, made: Study) -> None:
    first, second = answers(made, "r01", 2), answers(made, "r01", 1, started="2026-01-02T00:00:00.000Z")
    fewer = answers(made, "r01", 0, started=second["started"])
    damaged = b"{"
    for given in (first, second, fewer):
        assert ask(server, "POST", link(server), given)[0] == 200
    earlier = [json.loads(p.read_text()) for p in sorted((made.folder / "answers" / "earlier").iterdir())]
    assert (earlier, stored(made)) == ([first, second], fewer)
    (made.folder / "answers" / "r01.json").write_bytes(damaged)
    assert ask(server, "POST", link(server), first)[0] == 200
    assert (made.folder / "answers" / "earlier" / "r01-3.json").read_bytes() == damaged
    done = answers(made, "r01", finished=True)
    assert ask(server, "POST", link(server), done)[0] == 200
    assert ask(server, "POST", link(server), answers(made, "r01", 1))[:2] == (
        409,
        b"this session was finished already\n",
    )
    assert stored(made) == done


def test_tokens_are_bound_to_sessions(server: Server, made: Study) -> None:
    assert ask(server, "POST", link(server, "r02"), answers(made, "r01"))[0] == 403
    assert ask(server, "POST", link(server), answers(made, "r01", study="0" * 32))[0] == 403
    assert ask(server, "POST", "/r01", answers(made, "r01"))[0] == 404
    assert ask(server, "POST", "/", answers(made, "r01"))[0] == 404
    assert not (made.folder / "answers" / "r01.json").exists()


def test_requests_of_other_pages_are_refused(server: Server, made: Study) -> None:
    given = answers(made, "r01")
    own = f"http://127.0.0.1:{server.server_port}"
    assert ask(server, "POST", link(server), given, Origin="http://evil.example")[0] == 403
    assert ask(server, "POST", link(server), given, Origin="null")[0] == 403
    assert ask(server, "POST", link(server), given, Content_Type="text/plain")[0] == 415
    assert ask(server, "POST", link(server), given, Origin=own)[0] == 200
    assert ask(server, "OPTIONS", link(server))[0] == 501
    assert ask(server, "PUT", link(server), given)[0] == 501


def test_bodies_have_a_length_and_an_end(server: Server) -> None:
    def raw(*lines: str, body: bytes = b"") -> bytes:
        head = [f"POST {link(server)} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *lines, "", ""]
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
            connection.sendall("\r\n".join(head).encode() + body)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as file:
                return file.readline()

    assert b" 411 " in raw()
    assert b" 411 " in raw("Content-Length: -5")
    assert b" 411 " in raw("Content-Length: 5", "Transfer-Encoding: chunked", body=b"5\r\n{}   \r\n0\r\n\r\n")
    assert b" 400 " in raw("Content-Length: 50", body=b"{}")
    assert b" 413 " in raw(f"Content-Length: {serving.LARGEST + 1}")


BAD: list[Any] = [
    b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, {"kind": "x"}, {"schema": 2}, {"rater": 5},
    {"rater": "x" * 5000},
    {"finished": 1}, {"headphones": "yes"}, {"answers": {}}, {"answers": [5]}, {"answers": [{}]}, {"events": None},
    {"events": [[1, 2]]}, {"events": [[float("inf"), "play", "x"]]}, {"events": [[0, "play", "x" * 99]]},
    {"page_seconds": []},
    {"page_seconds": {"0": -1}}, {"page_seconds": {"0": 10**400}}, {"page_seconds": {"0" * 99: 1}}, {"comment": None},
    {"rater": "x" * 201}, {"started": "x" * 41}, {"events": [[0, "play", 10**400]]},
    {"events": [[0, "play", 1]] * 20_001},
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=[str(one)[:20] for one in BAD])
def test_answers_of_another_form_are_refused(made: Study, bad: Any) -> None:
    body = bad if isinstance(bad, bytes) else json.dumps(answers(made, "r01", **bad)).encode()
    with pytest.raises(Refused):
        checked(made, "r01", body)


@pytest.mark.parametrize("change", [
    {"page": 99}, {"page": -1}, {"page": True}, {"page": "0"}, {"item": "x", "items": ["x", "y"]},
    {"rating": 0, "choice": "none"}, {"rating": 101, "choice": ""}, {"rating": 50.5, "choice": 1},
    {"rating": True, "choice": None}, {"heard": 2}, {"heard": None},
    {"seconds": -1}, {"seconds": "9"}, {"seconds": 10**400}, {"plays": None}, {"plays": -5}, {"plays": [1, -5]},
])  # fmt: skip
def test_a_wrong_answer_is_refused(made: Study, change: dict[str, Any]) -> None:
    given = answers(made, "r01")
    checked(made, "r01", json.dumps(given).encode())
    given["answers"][0].update(change)
    with pytest.raises(Refused):
        checked(made, "r01", json.dumps(given).encode())
    twice = answers(made, "r01", 2)
    twice["answers"][1] = twice["answers"][0]
    with pytest.raises(Refused):
        checked(made, "r01", json.dumps(twice).encode())


def test_what_is_not_known_is_not_kept(server: Server, made: Study) -> None:
    given = answers(made, "r01", rater="\ud800 <script>\n", extra={"a": 1})
    assert ask(server, "POST", link(server), given)[0] == 200
    assert "extra" not in stored(made) and stored(made)["rater"] == "? <script>\n"


EDGES: list[dict[str, Any]] = [
    {"rater": "\ud800", "finished": True}, {"rater": "\U0001f3b7" * 200, "comment": "\udfff" * 2000}, {"answers": []},
    {"rater": "", "headphones": None, "comment": "\x00\x1b[2J"}, {"page_seconds": {"practice": 1e8}},
]  # fmt: skip


def test_whatever_is_kept_can_be_analysed(made: Study, tmp_path: Path) -> None:
    mine = replace(made, folder=tmp_path)
    paths = [
        keep(mine, session, checked(made, session, json.dumps(answers(made, session, **changes)).encode()))
        for session, changes in zip(made.sessions, EDGES, strict=False)
    ]
    assert len(paths) == len(EDGES)
    found = analyse(made, read_answers(paths, made), rules.load("none")).save(tmp_path / "record")
    assert len(found.files) == len(EDGES)


def test_many_raters_at_once_lose_nothing(server: Server, made: Study) -> None:
    def send(session: str) -> list[int]:
        return [ask(server, "POST", link(server, session), answers(made, session, many))[0] for many in (1, 2, 3)]

    with ThreadPoolExecutor(8) as pool:
        assert {status for one in pool.map(send, made.sessions) for status in one} == {200}
    assert all(stored(made, session) == answers(made, session, 3) for session in made.sessions)


def test_requests_that_drip_are_cut_and_too_many_are_not_taken(made: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST", 3)
    monkeypatch.setattr(serving, "LONGEST_ASKED", 0.6)
    with serve(made) as server, contextlib.ExitStack() as opened:
        address = ("127.0.0.1", server.server_port)
        slow = [opened.enter_context(socket.create_connection(address, timeout=10)) for _ in range(3)]
        for one in slow:
            one.sendall(b"GET / HT")
        with socket.create_connection(address, timeout=10) as fourth:
            assert fourth.recv(1) == b""
        assert len(server.until) == 3
        begun = time.monotonic()
        while server.until and time.monotonic() < begun + 10:
            for one in slow:
                with contextlib.suppress(OSError):
                    one.sendall(b"x")
            time.sleep(0.05)
        assert time.monotonic() < begun + 5
        assert ask(server, "GET", link(server))[0] == 200


def test_what_is_put_aside_of_a_session_has_an_end(server: Server, made: Study) -> None:
    for number in range(21):
        assert ask(server, "POST", link(server), answers(made, "r01", 1, started=str(number)))[0] == 200
    status, body, _ = ask(server, "POST", link(server), answers(made, "r01", 1, started="21"))
    assert (status, body) == (429, b"this session was begun too often: tell who asked you\n")
    assert len(list((made.folder / "answers" / "earlier").glob("r01-*.json"))) == 20
    assert stored(made)["started"] == "20"
    assert ask(server, "POST", link(server), answers(made, "r01", finished=True, started="20"))[0] == 200


def test_links_stay_and_are_secret(made: Study) -> None:
    with serve(made) as first:
        tokens, port = dict(first.tokens), first.server_port
    assert stat.S_IMODE((made.folder / "tokens.json").stat().st_mode) == 0o600
    with Server(made, "127.0.0.1") as again:
        assert (again.tokens, again.server_port) == (tokens, port)
        with Server(made, "127.0.0.1") as beside:  # whose port is taken
            assert beside.server_port != port
    text = "".join(made.page(session).read_text("utf-8") for session in made.sessions)
    assert not any(token in text for token in tokens.values())
    (made.folder / "tokens.json").write_text('{"tokens": {"r01": "short"}, "port": 1}')
    with pytest.raises(EvalkitError, match="is damaged: delete it for new links"):
        Server(made, "127.0.0.1")
    (made.folder / "tokens.json").unlink()
    with pytest.raises(EvalkitError, match=r"cannot listen at 192\.0\.2\.1, port 0"):
        Server(made, "192.0.2.1")


def test_a_full_disk_is_no_lost_answer(server: Server, made: Study, capfd: pytest.CaptureFixture[str]) -> None:
    (made.folder / "answers").mkdir(exist_ok=True)
    (made.folder / "answers" / "r03.json").mkdir()  # where nothing can be written
    try:
        status, body, _ = ask(server, "POST", link(server, "r03"), answers(made, "r03"))
    finally:
        (made.folder / "answers" / "r03.json").rmdir()
    assert (status, body) == (507, b"the answers cannot be stored: tell who asked you\n")
    assert capfd.readouterr().err.startswith("evalkit: ")


def started(folder: Path) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """Start the command, and read its links."""
    command = [sys.executable, "-m", "evalkit.cli", "listen", "serve", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    links = {}
    while (line := process.stdout.readline()) and not line.startswith("each link"):
        session, url = line.split()
        links[session] = url
    return process, links


def posted(url: str, given: dict[str, Any]) -> int:
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request("POST", f"/{path}", json.dumps(given), {"Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    return status


def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    made = study(tmp_path, method="rating").study
    rng = random.Random(3)
    most = len(answers(made, "r01")["answers"])
    acknowledged: dict[str, int] = {}
    for round in range(3):
        process, links = started(made.folder)

        def send(session: str, links: dict[str, str] = links, round: int = round) -> None:
            for number in range(10_000):
                many = number % (most + 1)
                given = answers(made, session, many, comment=f"{round} {number}")
                try:
                    if posted(links[session], given) == 200:
                        acknowledged[session] = round * 10_000 + number
                except (OSError, http.client.HTTPException):
                    return

        threads = [threading.Thread(target=send, args=(session,)) for session in list(links)[:3]]
        for thread in threads:
            thread.start()
        time.sleep(rng.uniform(0.05, 0.4))
        process.kill()
        for thread in threads:
            thread.join()
        process.communicate()
        for session, last in acknowledged.items():
            found = stored(made, session)
            kept, number = map(int, found["comment"].split())
            assert kept * 10_000 + number >= last
            assert found == answers(made, session, number % (most + 1), comment=found["comment"])
    assert len(acknowledged) == 3


def test_ctrl_c_ends_it_in_one_clean_line(tmp_path: Path) -> None:
    made = study(tmp_path, method="pairs").study
    process, links = started(made.folder)
    assert posted(links["r01"], answers(made, "r01", finished=True)) == 200
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out == f"stopped: 1 of {len(made.sessions)} sessions are finished, 0 are begun\n"
