"""Progress where there is no terminal: lines on stderr and in the log, in real processes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest

from evalkit.progress import progress, recording

LINE = r"(.+): (\d+) of (\d+) (\w+) in \d+:\d\d:\d\d(, [\d.]+ \4/s, \d+:\d\d:\d\d left)?"


def lines_of(code: str, tmp_path: Path, *arguments: str) -> tuple[list[str], float]:
    """What a process with lines every 0.2 s writes to stderr, and how many such times the code took."""
    begin = "import time, evalkit.progress as p\np.INTERVAL, begun = 0.2, time.monotonic()\n"
    end = "\nprint((time.monotonic() - begun) / p.INTERVAL)"
    environment = {**os.environ, "EVALKIT_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", begin + code + end, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=True)
    return done.stderr.splitlines(), float(done.stdout.splitlines()[-1])


def test_lines_have_rate_and_time_left_and_come_while_nothing_is_finished(tmp_path: Path) -> None:
    code = """
with p.progress("making", 4, "clips") as advance:
    time.sleep(0.7)
    advance(1)
    time.sleep(0.7)
"""
    lines, times = lines_of(code, tmp_path)
    matches = [re.fullmatch(LINE, line) for line in lines]
    assert all(matches) and 3 <= len(lines) <= times
    assert [(m[1], m[3], m[4]) for m in matches if m] == [("making", "4", "clips")] * len(lines)
    assert matches[0] and (matches[0][2], matches[0][5]) == ("0", None)
    assert matches[-1] and matches[-1][2] == "1" and "left" in matches[-1][5]


def test_short_blocks_in_a_row_are_told_about_as_one_long_one_would_be(tmp_path: Path) -> None:
    code = """
for number in range(12):
    with p.progress(f"block {number}", 1, "clips"):
        time.sleep(0.1)
"""
    lines, times = lines_of(code, tmp_path)
    assert 3 <= len(lines) <= times


def test_a_quick_block_says_nothing(tmp_path: Path) -> None:
    assert lines_of("with p.progress('making', 1, 'clips') as advance:\n    advance(1)\n", tmp_path)[0] == []


def test_a_run_writes_the_same_lines_to_its_log(tmp_path: Path) -> None:
    options = ["run", "model=tiny_stereo", "prompts=demo", "prompts.first=4", "random_weights=0", "metric=chroma"]
    options += ["sampling.duration=5", "engine.batch_size=1", "name=x"]
    lines, _ = lines_of("from evalkit.cli import main\nmain()\n", tmp_path, *options)
    (log,) = tmp_path.glob("results/runs/*/run.log")
    logged = [line.rpartition("evalkit.progress: ")[2] for line in log.read_text("utf-8").splitlines()]
    progress = [line for line in lines if re.fullmatch(LINE, line)]
    assert progress and set(progress) <= set(logged)


def test_what_blocks_take_is_recorded_without_the_first_step_where_there_are_more() -> None:
    with recording() as blocks:
        with progress("one", 3, "clips") as advance:
            time.sleep(0.1)
            advance(3)
        with progress("two", 3, "clips") as advance:
            time.sleep(0.3)
            advance(1)
            time.sleep(0.1)
            advance(2)
    with progress("later", 1, "clips") as advance:
        advance(1)
    one, two = blocks
    assert (one.title, one.done, two.title, two.done) == ("one", 3, "two", 3)
    assert one.rate == pytest.approx(3 / one.seconds) and one.rate <= 30
    assert two.rate == pytest.approx(2 / (two.seconds - two.steps[0][0])) and two.rate <= 20


SHORT = "with p.progress('making', 2, 'clips') as a:\n    time.sleep(0.5)\n    a(1)\n    time.sleep(0.5)\n    a(1)\n"


def on_a_terminal(code: str, **variables: str) -> str:
    """What a process writes to stderr that is a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    begin = "import time, evalkit.progress as p\np.INTERVAL = 0.2\n"
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "FORCE_COLOR")}
    environment = {**kept, "TERM": "xterm", **variables}
    process = subprocess.Popen([sys.executable, "-c", begin + code], stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    with suppress(OSError):  # Linux ends so
        while block := os.read(ours, 1 << 16):
            written += block
    os.close(ours)
    assert process.wait() == 0
    return written.decode()


def test_a_terminal_gets_a_bar_that_fits_it() -> None:
    shown = on_a_terminal(SHORT)
    assert "━" in shown and "\x1b[" in shown and "2/2" in shown
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "\r", shown)
    assert max(map(len, re.split(r"[\r\n]+", plain))) <= 80


def test_colours_are_left_out_where_they_are_not_wanted() -> None:
    shown = on_a_terminal(SHORT, NO_COLOR="1")
    assert "2/2" in shown and not re.search(r"\x1b\[[\d;]*3\dm", shown)


def test_a_terminal_that_cannot_redraw_gets_lines() -> None:
    shown = on_a_terminal(SHORT, TERM="dumb")
    assert "\x1b" not in shown and "━" not in shown
    lines = [line for line in shown.splitlines() if line]
    assert 2 <= len(lines) <= 6 and all(re.fullmatch(LINE, line) for line in lines)


def test_nothing_is_shown_where_that_is_asked_for() -> None:
    assert on_a_terminal("with p.silenced(True):\n    " + SHORT.replace("\n    ", "\n        ")) == ""
