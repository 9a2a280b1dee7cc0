"""The folder of one run."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from evalkit.errors import EvalkitError
from evalkit.store.files import cannot_write


class RunFolder:
    """A new folder for one run, named by the time and the run's name, of which other characters are written as "_".

    Raises EvalkitError where it cannot be made.

    Args:
        stamped: whether the time stands before the name.
    """

    def __init__(self, output_dir: str | os.PathLike[str], name: str, stamped: bool = True):
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-") if stamped else ""
        name = re.sub(r"[^\w.+ -]", "_", name)  # models may have any name, which must not lead elsewhere
        parent = Path(output_dir).expanduser().absolute()
        for attempt in range(100):
            self.path = parent / f"{stamp}{name}{f'-{attempt}' if attempt else ''}"
            self.made = [folder for folder in (self.path, *self.path.parents) if not os.path.exists(folder)]
            try:
                self.path.mkdir(parents=True)
                return
            except FileExistsError as error:
                if not parent.is_dir():
                    raise cannot_write(self.path, error) from error
            except OSError as error:
                raise cannot_write(self.path, error) from error
        raise EvalkitError(f"cannot make a new folder in '{parent}'")

    def discard(self) -> None:
        """Remove the folder of a run that has done nothing, its log, and the folders that were made for it."""
        with suppress(OSError):
            (self.path / "run.log").unlink(missing_ok=True)
            for folder in self.made:
                folder.rmdir()
