"""The folder of one run."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.store.files import cannot_write, write_atomic, write_bytes, write_json


class RunFolder:
    """One result: files written as they are known, `result.json` last.

    A folder without `result.json` is a run that did not finish. Raises EvalkitError where the folder
    cannot be made.
    """

    def __init__(self, output_dir: str | os.PathLike[str], name: str):
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        parent = Path(output_dir).expanduser().absolute()
        for attempt in range(100):
            self.path = parent / f"{stamp}-{name}{f'-{attempt}' if attempt else ''}"
            try:
                self.path.mkdir(parents=True)
                return
            except FileExistsError as error:
                if not parent.is_dir():
                    raise cannot_write(self.path, error) from error
            except OSError as error:
                raise cannot_write(self.path, error) from error
        raise EvalkitError(f"cannot make a new folder in '{parent}'")

    def text(self, name: str, text: str) -> None:
        write_bytes(self.path / name, text.encode())

    def json(self, name: str, value: Any) -> None:
        write_json(self.path / name, value)

    def parquet(self, name: str, frame: Any) -> None:
        write_atomic(self.path / name, lambda file: frame.to_parquet(file, index=False))
