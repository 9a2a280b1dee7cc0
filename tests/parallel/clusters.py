"""A cluster to submit to: programs with the names of SLURM's that note what they are given, and run nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SBATCH = """\
#!/bin/sh
cd {folder}
echo "sbatch $*" >> calls
number=$(($(cat count 2>/dev/null || echo 1000) + 1))
if [ -e refuse-$number ]; then
    echo "sbatch: error: $(cat refuse-$number)" >&2
    exit 1
fi
echo $number > count
for last; do :; done
(cd "$OLDPWD" && cat "$last") > $number.sh
case "$*" in
    *--parsable*) echo "$number;cluster" ;;
    *) echo "Submitted batch job $number" ;;
esac
"""
SRUN = """\
#!/bin/sh
while case "$1" in --output) shift ;; -*) ;; *) false ;; esac; do shift; done
exec "$@"
"""
NOTES = """\
#!/bin/sh
echo "$(basename "$0") $*" >> {folder}/calls
"""


class Cluster:
    """What was given to the programs in its folder.

    The real ones are not on machines that tests run on: what SLURM makes of its options is not tested here.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.folder = folder
        bin = folder / "bin"
        bin.mkdir(parents=True)
        for name, text in {"sbatch": SBATCH, "srun": SRUN, "scancel": NOTES, "scontrol": NOTES}.items():
            (bin / name).write_text(text.replace("{folder}", str(folder)))
            (bin / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{bin}{os.pathsep}{os.environ['PATH']}")

    @property
    def calls(self) -> list[str]:
        """The command lines, in order."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def script(self, number: int) -> str:
        """The script of a job that was submitted; the first one is 1001."""
        return (self.folder / f"{number}.sh").read_text()

    def options(self, number: int) -> list[str]:
        """The options of sbatch in a script."""
        return [line.removeprefix("#SBATCH ") for line in self.script(number).splitlines() if line.startswith("#SB")]

    def refuse(self, number: int, why: str) -> None:
        """Let the submission of a job fail."""
        (self.folder / f"refuse-{number}").write_text(why)
