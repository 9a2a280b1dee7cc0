"""The file in which a search by Optuna keeps what it knows: one study in SQLite, which one sweep at a time may use."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import os
import re
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from evalkit.errors import EvalkitError
from evalkit.store.files import cannot_write

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage

Direction = Literal["minimize", "maximize"]

NAME = "evalkit"  # of the study in its file
INSTALL = '--search optuna needs optuna 4.9 or later: pip install "evalkit[search]"'
EARLIEST = (4, 9)
MAGIC = b"SQLite format 3\x00"  # the first bytes of a database, https://www.sqlite.org/fileformat.html
BUSY = 2.0  # seconds that a sweep waits at its start for a program that writes to the file
PATIENCE = 60.0  # and later, when there is something to lose
ANOTHER = "give another file as --study"


def require() -> None:
    """Raise EvalkitError where Optuna is not installed, or is too old."""
    try:
        found = importlib.metadata.version("optuna")
    except importlib.metadata.PackageNotFoundError:
        raise EvalkitError(INSTALL) from None
    if tuple(int(part) for part in re.findall(r"\d+", found)[:2]) < EARLIEST:
        raise EvalkitError(f"{INSTALL} ({found} is installed)")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let Optuna say nothing of what it does, and of what is experimental."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


class StudyFile:
    """A study's file, which is ours until it is closed.

    Raises EvalkitError for a file that is not a study of this search, one that another sweep uses or another program
    has locked, and one of another version of Optuna: the file is left as it was.
    """

    def __init__(self, path: Path):
        self.path = path.expanduser().absolute()
        self._storage: RDBStorage | None = None
        self._lock = _locked(self.path)
        try:
            self.new = _checked(self.path)
        except BaseException:
            self.close()
            raise

    def study(self, directions: Sequence[Direction]) -> Study:
        """Open the study, or begin one; its directions are those of its beginning."""
        import optuna

        with self.storing():
            url = f"sqlite:///{self.path}"
            busy = {"connect_args": {"timeout": PATIENCE}}
            self._storage = optuna.storages.RDBStorage(url, engine_kwargs=busy, skip_table_creation=not self.new)
            if self.new:
                return optuna.create_study(
                    study_name=NAME, storage=self._storage, directions=directions, load_if_exists=True
                )
            return optuna.load_study(study_name=NAME, storage=self._storage)

    @contextlib.contextmanager
    def storing(self) -> Iterator[None]:
        """Read or write the study in silence. Raises EvalkitError where the file cannot be read or written."""
        import optuna
        import sqlalchemy.exc

        try:
            with quiet():
                yield
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            cause = error if isinstance(error, sqlalchemy.exc.SQLAlchemyError) else error.__cause__ or error
            why = getattr(cause, "orig", None) or cause
            raise EvalkitError(
                f"the study '{self.path}' cannot be read or written ({why}): what is in it and what was measured is "
                "kept: make that it can, and start the sweep again"
            ) from error

    def close(self) -> None:
        """Give the file free."""
        if self._storage is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()
            self._storage = None
        if not self._lock.closed:
            # while it is ours, so that nobody else has it open and thinks it is theirs: see `_locked`
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._lock.name)
            self._lock.close()


def _locked(path: Path) -> IO[str]:
    """Lock a study; the lock ends with the process, whatever ends that.

    Raises EvalkitError where another sweep has it, and where there can be no file.
    """
    beside = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            file = beside.open("a+")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                file.close()
                raise EvalkitError(
                    f"another sweep (process {holder}) uses the study '{path}': wait until it has ended, or {ANOTHER}"
                ) from None
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), beside.stat()):
                    break
            file.close()  # its last owner has taken it away between our opening and our locking it
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        return file
    except OSError as error:
        raise cannot_write(beside, error) from error


def _checked(path: Path) -> bool:
    """Look whether a study is still to be made in a file, without changing the file.

    Raises EvalkitError for a file that is there and holds anything but one.
    """
    if path.is_dir():
        raise EvalkitError(f"'{path}' is a folder: {ANOTHER}")
    try:
        size = path.stat().st_size if path.exists() else 0
        if not size:
            return True
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise EvalkitError(f"'{path}' is no SQLite database, and no study of a sweep: {ANOTHER}")
    except OSError as error:
        raise EvalkitError(f"'{path}' cannot be read ({error.strerror}): {ANOTHER}") from error
    try:
        # not read-only, so that what a killed process had begun to write is taken back
        connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY, isolation_level=None)
        with contextlib.closing(connection):
            connection.execute("BEGIN IMMEDIATE")  # fails where nothing can be written, and writes nothing itself
            try:
                return _empty(path, connection)
            finally:
                connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise EvalkitError(
                f"the study '{path}' is locked by another program: end that one, or {ANOTHER}"
            ) from error
        raise EvalkitError(f"the study '{path}' is damaged or cannot be written ({error}): {ANOTHER}") from error


def _empty(path: Path, connection: sqlite3.Connection) -> bool:
    """Whether a database has no study yet, but nothing else either."""

    def rows(table: str, column: str) -> list[Any]:
        return [row[0] for row in connection.execute(f"SELECT {column} FROM {table}")]

    tables = set(rows("sqlite_master", "name"))
    if not tables:
        return True
    if "studies" not in tables or "trials" not in tables:
        raise EvalkitError(f"'{path}' is a database of something else, and no study of a sweep: {ANOTHER}")
    names = rows("studies", "study_name")
    made_by = "".join(rows("version_info", "library_version")[:1]) if "version_info" in tables else ""
    schema = rows("alembic_version", "version_num") if "alembic_version" in tables else []
    if not names and not schema:
        return True  # of a process that was killed when it made the tables
    if schema != [_schema()]:
        raise EvalkitError(
            f"the study '{path}' is of another version of Optuna ({made_by or 'unknown'}, this one is "
            f"{importlib.metadata.version('optuna')}): install that one, or {ANOTHER}"
        )
    if names and names != [NAME]:
        raise EvalkitError(f"'{path}' holds other studies ({', '.join(map(str, names))}): {ANOTHER}")
    return not names


def _schema() -> str:
    """The version of the tables that the installed Optuna reads and writes."""
    import optuna

    with quiet():
        storage = optuna.storages.RDBStorage("sqlite:///:memory:")
        try:
            return storage.get_head_version()
        finally:
            storage.engine.dispose()
