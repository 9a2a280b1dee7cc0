"""`evalkit doctor`: what this machine has and what it lacks, in words that fit 80 columns, and as JSON."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from evalkit import checks
from evalkit.checks import Asked, Finding, audio_formats, extras, hub
from evalkit.report import formats

from ..conftest import Run

URL = "https://example.org/vggish.pth"
VGGISH = "metric.fad.encoder.weights"
QUICK = ("metric=[]", "model=[]")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the device, whose look takes seconds; tests/checks/test_device.py has it."""
    every = checks.subjects()
    monkeypatch.setattr(checks, "subjects", lambda: [one for one in every if one.name != "device"])


@pytest.fixture
def only_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at files alone."""
    every = checks.subjects()
    monkeypatch.setattr(checks, "subjects", lambda: [one for one in every if one.name == "files"])


def told(evalkit: Run, *arguments: str, status: int = 0) -> dict[str, Any]:
    code, out, err = evalkit("doctor", *arguments, "--json")
    assert (code, err.count("\n")) == (status, int(status > 0)), err
    found: dict[str, Any] = json.loads(out)
    return found


def of(found: dict[str, Any], subject: str) -> dict[str, Any]:
    return {row["what"]: row for row in found["table"] if row["subject"] == subject}


@pytest.mark.usefixtures("quick")
def test_every_subject_has_its_lines_in_80_columns(evalkit: Run) -> None:
    code, out, err = evalkit("doctor")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    heads = [line.split()[0] for line in lines if "status" in line and "found here" in line]
    assert heads == ["packages", "extras", "cache", "audio", "hub", "files", "models"]
    for line in lines:  # all columns stand below each other
        if "found here" in line:
            assert (line.index("status"), line.index("found here")) == (22, 32)
    assert "VGGish weights        absent" in out and "not asked, as HF_HUB_OFFLINE is set" in out


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("form", [name for name in formats() if name != "junit"])
def test_every_form_has_the_same_findings(evalkit: Run, form: str) -> None:
    code, out, err = evalkit("doctor", *QUICK, "--format", form)
    assert (code, err) == (0, "")
    assert "transformers" in out and "FLAC" in out


def test_the_first_lines_come_before_torch_is_imported(tmp_path: Path) -> None:
    code = "import sys\nfrom evalkit.commands import doctor as d\nfrom evalkit.checks import subjects\n"
    code += "asked = d.asked_for(d.parser().parse_args([]))\n"
    code += "[list(s.check(asked)) for s in subjects()[:7]]\n"
    code += "print([s.name for s in subjects()[:7]], 'torch' in sys.modules)"
    environment = {**os.environ, "EVALKIT_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    names = "['packages', 'extras', 'cache', 'audio', 'hub', 'files', 'models']"
    assert done.stdout == f"{names} False\n"


@pytest.mark.usefixtures("only_files")
def test_weights_that_are_asked_for_are_needed_and_others_are_not(evalkit: Run, tmp_path: Path) -> None:
    found = told(evalkit)
    others = {row["found"].split(",")[0]: row for row in found["table"] if "protocols" in row["facts"]}
    assert {row["what"] for row in others.values()} == {"PaSST weights", "CLAP weights"}
    assert others["630k-audioset-best.pt"]["found"].endswith("of unknown size; protocol frechet_audio_distance")
    everything = of(found, "files")
    assert {row["status"] for row in everything.values()} == {"absent"}
    assert {"VGGish weights", "PaSST weights", "CLAP weights", "MusicCaps captions"} <= set(everything)
    found = told(evalkit, "metric=[fad]", status=1)
    (name,) = of(found, "files")
    assert (name, found["ok"]) == ("VGGish weights", False)
    code, out, err = evalkit("doctor", "metric=[fad]")
    assert (code, err) == (1, "evalkit: 1 of what is needed is not there: VGGish weights (missing)\n")
    assert "'evalkit fetch' with the same options" in out
    absent = f"{VGGISH}.path={tmp_path / 'absent.pth'}"
    row = of(told(evalkit, "metric=[fad]", absent, status=1), "files")["VGGish weights"]
    assert row["found"] == f"'{tmp_path / 'absent.pth'}' does not exist" and row["remedy"] is None


@pytest.mark.usefixtures("only_files")
def test_a_file_is_whole_by_its_size_and_as_published_by_its_digest(evalkit: Run, tmp_path: Path) -> None:
    content = os.urandom(2_000_000)
    place = tmp_path / "cache" / "weights" / "vggish.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    options = ["metric=[fad]", f"{VGGISH}.url={URL}", f"{VGGISH}.size={len(content)}", f"{VGGISH}.sha256='{sha256}'"]

    def row(status: int, *more: str) -> tuple[str, str]:
        found = of(told(evalkit, *options, *more, status=status), "files")["VGGish weights"]
        return found["status"], found["found"]

    assert row(0) == ("ok", "vggish.pth: there")
    assert row(0, "--read-data") == ("ok", "vggish.pth: every byte as published")
    place.write_bytes(content[:-1])
    assert row(1) == ("damaged", f"'{place}' has 1,999,999 bytes, where 2,000,000 were published")
    place.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert row(0)[0] == "ok"  # at a look
    assert row(1, "--read-data") == ("damaged", f"'{place}' has other content than was published")
    place.write_bytes(b"")
    assert row(1) == ("damaged", f"'{place}' is empty")


@pytest.mark.usefixtures("only_files")
def test_what_is_damaged_is_an_error_also_if_nobody_asked_for_it(evalkit: Run, tmp_path: Path) -> None:
    place = tmp_path / "cache" / "weights" / "vggish-10086976.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"half")
    code, out, err = evalkit("doctor")
    assert (code, err) == (1, "evalkit: 1 of what is needed is not there: VGGish weights (damaged)\n")
    assert "delete what is damaged, and run 'evalkit fetch' again" in out


@pytest.fixture
def prompts(tmp_path: Path) -> list[str]:
    """Ten prompts, and the references of nine of them."""
    (tmp_path / "clips").mkdir()
    tone = 0.1 * np.sin(np.arange(32_000) * 0.1)
    for number in range(9):
        soundfile.write(tmp_path / "clips" / f"p{number}.flac", tone, 16_000)
    table = tmp_path / "prompts.csv"
    table.write_text("id,caption\n" + "".join(f"p{number},a tone\n" for number in range(10)))
    return ["prompts=table", f"prompts.path={table}", f"prompts.references={tmp_path / 'clips'}", *QUICK]


def references(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {what: (row["status"], row["found"]) for what, row in of(found, "prompts").items()}


@pytest.mark.usefixtures("quick")
def test_references_are_counted_by_their_headers_and_decoded_if_asked(
    evalkit: Run, tmp_path: Path, prompts: list[str]
) -> None:
    found = references(told(evalkit, *prompts))
    assert found["prompts"][0] == "ok" and found["prompts"][1].startswith("10 of ")
    assert found["references"] == ("warning", "9 of 10 can be used (by their headers)")
    assert found["missing"][1] == f"1: p9; the first one: not in '{tmp_path / 'clips'}'"
    broken = tmp_path / "clips" / "p0.flac"
    broken.write_bytes(broken.read_bytes()[:-2000])
    assert references(told(evalkit, *prompts))["references"][0] == "warning"  # its header is whole
    found = references(told(evalkit, *prompts, "--read-data", status=1))
    assert found["references"] == ("missing", "8 of 10 can be used (decoded)")
    assert found["unreadable"][1].startswith("1: p0; the first one: ")
    assert references(told(evalkit, *prompts, "--read-data", "min_references=0.5"))["references"][0] == "warning"


@pytest.mark.usefixtures("quick")
def test_references_that_are_not_there(evalkit: Run, tmp_path: Path, prompts: list[str]) -> None:
    table, path, _, *more = prompts
    assert references(told(evalkit, table, path, *more))["references"][0] == "warning"
    absent = f"prompts.references={tmp_path / 'absent'}"
    status, said = references(told(evalkit, table, path, absent, *more, status=1))["references"]
    assert status == "missing" and "does not exist" in said
    found = references(told(evalkit, table, f"prompts.path={tmp_path / 'none.csv'}", *more, status=1))
    assert set(found) == {"prompts"} and found["prompts"][0] == "missing"
    assert references(told(evalkit, "prompts=demo", *more)).get("references", ("ok",))[0] == "ok"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["prompts=musicap"], "unknown prompts 'musicap': did you mean 'musiccaps'?"),
        (["metric=[fat]"], "unknown metric 'fat'"),
        (["--format", "junit"], "unknown format 'junit'"),
        (["--nope"], "--nope: see 'evalkit doctor --help'"),
        (["--config-dir", "/absent"], "'/absent' does not exist"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(evalkit: Run, arguments: list[str], expected: str) -> None:
    code, out, err = evalkit("doctor", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert expected in err


@pytest.mark.usefixtures("quick")
def test_a_cache_that_cannot_be_written_is_missing(
    evalkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    found = told(evalkit, *QUICK, f"cache_dir={tmp_path / 'file' / 'cache'}", status=1)
    assert of(found, "cache")["room for it"]["status"] == "missing"
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("", (), {"free": 5_000_000_000, "total": 10**11})())
    row = of(told(evalkit, *QUICK), "cache")["room for it"]
    assert row["status"] == "warning" and row["found"].startswith("5.0 of 100.0 GB free; all clips of MusicCaps")


def test_ffmpeg_that_is_found_must_decode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert audio_formats.refused(audio_formats.TONES / "tone.m4a") != ""
    program.unlink()
    assert "ffmpeg, which is not installed" in audio_formats.refused(audio_formats.TONES / "tone.m4a")


def test_another_sound_is_not_the_tone(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", 0.1 * np.sin(np.arange(8000) * 0.5), 16_000)
    assert audio_formats.refused(tmp_path / "x.wav").startswith("what is decoded is another sound, of 1274 Hz")


def test_extras_are_known_by_what_they_want(monkeypatch: pytest.MonkeyPatch) -> None:
    class Package:
        def get_all(self, name: str) -> list[str]:
            more = ["here>=2; extra == 'old'", "gone; extra == 'new'", "here; extra == 'fine'", "x; extra == 'dev'"]
            return {"Provides-Extra": ["old", "new", "fine", "dev"], "Requires-Dist": ["here>=1", *more]}[name]

    monkeypatch.setattr("importlib.metadata.metadata", lambda name: Package())
    monkeypatch.setattr(extras, "installed", {"here": "1.5"}.get)
    found = {one.what: one for one in extras.check(Asked(config=None))}
    assert {name: one.status for name, one in found.items()} == {"old": "warning", "new": "absent", "fine": "ok"}
    assert found["old"].found == "pip install 'evalkit[old]' brings here>=2" and not found["old"].bad


def test_the_hub_is_asked_once_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Answers(BaseHTTPRequestHandler):
        status = 200

        def do_HEAD(self) -> None:
            self.send_response(self.status)
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    assert hub.unreachable(address, 3.0) == ""
    Answers.status = 503
    assert hub.unreachable(address, 3.0) == "it answers with status 503"
    server.shutdown()
    server.server_close()
    assert hub.unreachable(address, 3.0) == "Connection refused"

    def slow(*_: Any, **__: Any) -> Any:
        time.sleep(1)
        raise socket.gaierror("too late")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    begun = time.monotonic()
    assert hub.unreachable("http://example.org", 0.2) == "no answer in 0.2 s"
    assert time.monotonic() - begun < 0.9
    time.sleep(1)  # until the thread is done with what stands in here


def test_only_what_is_needed_is_an_error() -> None:
    for status in ("ok", "warning", "absent"):
        assert not Finding("x", status, "", needed=True).bad
    assert Finding("x", "missing", "", needed=True).bad and not Finding("x", "missing", "").bad
