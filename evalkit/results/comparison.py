"""A comparison of two checkpoints, as it is returned by `evalkit.compare`, saved, and loaded again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from evalkit import report
from evalkit.report import to_markdown
from evalkit.report.document import Document, Listing
from evalkit.results import comparison_text, folders
from evalkit.results.comparison_record import METRICS, MOVED, SCHEMA, SLICES, ComparisonRecord, SideInfo
from evalkit.results.folders import FACTS, Kind, read_frame, write_frame
from evalkit.results.frames import typed
from evalkit.store.files import write_bytes, write_json

FRAMES = {"metrics": METRICS, "slices": SLICES, "moved": MOVED}
COMPARISON = Kind(
    name="comparison",
    about="a comparison",
    maker="the comparison",
    command="evalkit compare",
    schema=SCHEMA,
    files=(FACTS, *(f"{name}.parquet" for name in FRAMES)),
)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Comparison(ComparisonRecord):
    """What differs between two checkpoints; its fields are those of `ComparisonRecord`.

    It is complete but for the audio, and needs neither of the results that it was made from.
    """

    @classmethod
    def load(cls, folder: str | Path) -> Comparison:
        """Read a comparison from the folder that `evalkit compare` printed.

        Raises EvalkitError for a folder without a finished comparison, a file that is missing or damaged,
        and a comparison of a later version of the record.
        """
        target = Path(folder).expanduser().absolute()
        folders.checked(target, COMPARISON)
        facts: dict[str, Any] = json.loads((target / FACTS).read_text("utf-8"))
        for side in ("baseline", "candidate"):
            facts[side] = [SideInfo(**info) for info in facts[side]]
        frames = {name: typed(read_frame(target / f"{name}.parquet"), columns) for name, columns in FRAMES.items()}
        return cls(**{**facts, **frames, "path": target})

    def save(self, folder: str | Path) -> Comparison:
        """Write the comparison into a folder, with what is said of it in plain forms, and return it as it lies there.

        Raises EvalkitError where the folder holds a record already or cannot be written to.
        """
        target = Path(folder).expanduser().absolute()
        document = self.document()
        forms = {"summary.md": to_markdown.shortened(document)}
        forms |= {f"table.{name}": report.renderer(name)(document) for name in ("csv", "json")}
        folders.begin(target, COMPARISON, forms)
        write_json(target / FACTS, folders.facts(self, without=[*FRAMES, "path"]))
        for name in FRAMES:
            write_frame(target / f"{name}.parquet", getattr(self, name))
        for name, text in forms.items():
            write_bytes(target / name, text.encode())
        folders.finish(target, COMPARISON)
        return dataclasses.replace(self, path=target)

    def document(self) -> Document[Listing]:
        """Everything that is said of this comparison, for the renderers of `evalkit.report`."""
        return comparison_text.document(self)

    def print(self) -> None:
        """Print what is said of it, and where it lies if it was saved, on the terminal."""
        print(report.renderer("terminal")(self.document()), end="")
        if self.path != Path():
            print(f"comparison: {self.path}")

    def __repr__(self) -> str:
        size = f"{self.prompts:,} prompt{'' if self.prompts == 1 else 's'} × {len(self.metrics):,} metrics"
        return f"Comparison({self.outcome}, {self.dataset}, {size}, {json.dumps(str(self.path), ensure_ascii=False)})"
