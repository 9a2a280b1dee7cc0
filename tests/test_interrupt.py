"""Ctrl-C, in real processes: one line, and the end of a shell's loop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

RUN = [
    *("run", "model=tiny_stereo", "prompts=demo", "prompts.first=2", "random_weights=0", "sampling.duration=1"),
    "metric=chroma",
]
LINE = "evalkit: interrupted; what was finished is kept, the same command goes on from there\n"

# the program, and beside it a thread that presses Ctrl-C as soon as a condition holds
PRESSED = """
import os, pathlib, signal, sys, threading, time

def press():
    while not ({condition}):
        time.sleep(0.001)
    os.killpg(0, signal.SIGINT)

threading.Thread(target=press, daemon=True).start()
from evalkit.cli import main
main()
"""


def pressed(condition: str, tmp_path: Path, arguments: list[str], shell: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "EVALKIT_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", PRESSED.format(condition=condition), *arguments]
    if shell:
        command = ["bash", "-c", shell, *command]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        start_new_session=True,
        timeout=120,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    )


@pytest.mark.parametrize("sweep", [[], ["-m", "sampling.seed=1,2"]], ids=["single", "sweep"])
@pytest.mark.parametrize(
    "condition",
    [
        *("'evalkit.commands.run' in sys.modules", "'hydra.main' in sys.modules", "'evalkit.plan' in sys.modules"),
        *("'torch' in sys.modules", "'torch.nn' in sys.modules", "'scipy.linalg' in sys.modules"),
        "list(pathlib.Path('cache').glob('clips/*'))",
    ],
)
def test_an_interrupted_program_says_one_line_and_dies_of_the_signal(
    condition: str, sweep: list[str], tmp_path: Path
) -> None:
    done = pressed(condition, tmp_path, [*RUN, *sweep])
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", LINE)


def test_a_shell_leaves_its_loop_and_sees_status_130(tmp_path: Path) -> None:
    loop = 'for i in 1 2 3; do echo "start $i"; "$0" "$@"; done'
    done = pressed("'hydra.main' in sys.modules", tmp_path, RUN, loop)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "start 1\n", LINE)
    status = 'trap : INT; "$0" "$@"; echo "status $?"'
    assert pressed("'hydra.main' in sys.modules", tmp_path, RUN, status).stdout == "status 130\n"


def test_a_program_in_the_background_is_not_interrupted(tmp_path: Path) -> None:
    ignored = 'trap \'\' INT; exec "$0" "$@"'
    done = pressed("'hydra.main' in sys.modules", tmp_path, ["fetch", "--list", "experiment=demo"], ignored)
    assert (done.returncode, done.stderr) == (0, "")
