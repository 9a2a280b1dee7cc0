"""The result of a run, as it is returned by `evaluate`, saved, and loaded again."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from evalkit import report
from evalkit.report.document import Document, Table
from evalkit.report.numbers import counted
from evalkit.results import files, recompute, reproduction_text, summary
from evalkit.results.record import Record
from evalkit.results.scored import Scored


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Result(Record):
    """What a run measured; its fields are those of `evalkit.results.record.Record`.

    It is complete but for the audio: it can be copied to another machine and be tabled, compared and
    resampled there, without the cache, the weights or a network.
    """

    @classmethod
    def load(cls, folder: str | Path) -> Result:
        """Read a result from the folder that `evalkit run` printed.

        Raises EvalkitError for a folder without a finished result, a file that is missing or damaged,
        and a result of another version of the record.
        """
        return cls(**files.read(Path(folder).expanduser().absolute()))

    def save(self, folder: str | Path) -> Result:
        """Write the result into a folder, with its table in every plain form, and return it as it lies there.

        Large arrays are linked where the file system allows it; audio stays where it is. Raises
        EvalkitError for features that are missing or damaged, and where the folder holds a result
        already or cannot be written to.
        """
        target = Path(folder).expanduser().absolute()
        evidence = files.write(self, target, report.files(self.document()))
        return dataclasses.replace(self, evidence=evidence, path=target)

    def document(self) -> Document[Table]:
        """Everything that the table of this result says, for the renderers of `evalkit.report`."""
        said = summary.document(self)
        return dataclasses.replace(said, more=[*reproduction_text.listings(self), *said.more])

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """The wide table: one row per model, and of each metric M the columns M, M_low, M_high, M_n, …"""
        return summary.table(self)

    def print(self) -> None:
        """Print the table, and where the result lies, on the terminal."""
        print(report.renderer("terminal")(self.document()), end="")
        print(f"result: {self.path}")

    def score(self, row: str, metric: str, ids: Iterable[str] | None = None, allow: Sequence[str] = ()) -> Scored:
        """Compute the score of some prompts from what is stored; see `evalkit.results.recompute.score`."""
        return recompute.score(self, row, metric, ids, allow)

    def audio(self, sha256: str, path: str | None) -> Path | None:
        """Find a clip by its digest: among the files of an unpacked archive, or else where it was measured.

        Args:
            sha256, path: columns of `clips`, or with the prefix "reference_" those of the reference.
        """
        if sha256 in self._packed:
            return self._packed[sha256]
        found = Path(path) if isinstance(path, str) else None
        return found if found is not None and found.is_file() else None

    @functools.cached_property
    def _packed(self) -> dict[str, Path]:
        """The clips of an unpacked archive by their digests, listed once: looking for each would list all each time."""
        folder = self.path / "audio"
        return {path.stem: path for path in folder.iterdir()} if folder.is_dir() else {}

    def __repr__(self) -> str:
        prompts = counted(self.prompts_info.selected, "prompt")
        size = f"{counted(len(self.rows), 'row')} × {counted(len(self.metrics), 'metric')}"
        return (
            f"Result({self.prompts_info.dataset}, {prompts}, {size}, {json.dumps(str(self.path), ensure_ascii=False)})"
        )
