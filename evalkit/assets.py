"""Files that come from elsewhere: where they are, how to get them, and whether they are the right ones."""

from __future__ import annotations

import dataclasses
import errno
import fnmatch
import functools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from evalkit.archives import unpack
from evalkit.errors import EvalkitError, reason
from evalkit.store.cache import Cache
from evalkit.store.digests import digest, sha256_file, sha256_tree
from evalkit.store.files import PARTIAL, write_folder


@dataclass(frozen=True)
class Asset:
    """A weight or data file, or a hub repository, that something needs.

    Exactly one source applies, the first that is set: `path` (local), `random_seed` (no file: seeded
    random weights), `url` (one file), `repo` (a hub repository).

    Attributes:
        name: what it is, for messages.
        licence: its licence, in words.
        size: bytes to fetch, where known.
        sha256: the file's digest or its first digits, where known; checked when it is fetched.
        repo, repo_type, revision, files: the hub repository, its pinned commit, and patterns of the
            files needed from it.
        unpack: whether `url` is a ZIP or TAR archive, which is fetched as the folder of its `files`.
    """

    name: str
    licence: str = "unknown"
    size: int | None = None
    path: str | None = None
    url: str | None = None
    sha256: str | None = None
    repo: str | None = None
    repo_type: str = "model"
    revision: str | None = None
    files: list[str] | None = None
    random_seed: int | None = None
    unpack: bool = False

    @property
    def random(self) -> bool:
        return self.random_seed is not None and not self.path

    @property
    def source(self) -> str:
        if self.random:
            return f"seeded random weights ({self.random_seed})"
        return self.path or self.url or f"{self.repo}@{self.revision or 'main'}"

    def find(self, cache: Cache) -> Path | None:
        """Find the file or folder on this machine, or None. Never uses the network."""
        if self.random:
            return None
        if self.path:
            local = Path(self.path).expanduser().absolute()
            return local if local.exists() else None
        if self.url:
            # an archive's folder has its name only when all is in it
            return next((p for p in self._places(cache) if (p.is_dir() if self.unpack else p.is_file())), None)
        return self._snapshot(local_files_only=True)

    def locate(self, cache: Cache, option: str = "its path") -> Path:
        """Find the file or folder on this machine. Raises EvalkitError that says how to get what is missing.

        Args:
            option: what sets the path, for messages.
        """
        found = self.find(cache)
        if found is None:
            if self.path:
                where = f" ({option})" if option != "its path" else ""
                raise EvalkitError(f"{self.name}: '{self.path}' does not exist{where}")
            raise EvalkitError(
                f"{self.name} is not on this machine ({self.source}): run 'evalkit fetch' with the same "
                f"options where there is a network, or set {option} to a local copy"
            )
        return found

    def fetch(self, cache: Cache, bar: bool = True) -> Path | None:
        """Bring the file into the cache if it is not there. Raises EvalkitError if that fails.

        Args:
            bar: whether a bar is shown for a single file.
        """
        found = self.find(cache)
        if found is not None or self.random or self.path:
            return found
        try:
            if not self.url:
                return self._snapshot(local_files_only=False)
            destination = self._places(cache)[0]
            if self.unpack:
                write_folder(destination, functools.partial(self._unpacked, bar=bar))
            else:
                destination.parent.mkdir(parents=True, exist_ok=True)
                self._downloaded(destination, bar)
            return destination
        except Exception as error:  # urllib, the hub client and torch.hub each raise their own
            if self.unpack and (found := self.find(cache)) is not None:
                return found  # another process was faster
            raise EvalkitError(f"cannot fetch {self.name} from {self.source}: {reason(error)}") from error

    def _downloaded(self, destination: Path, bar: bool) -> None:
        # the standard downloader of torch.hub: temporary file, progress bar, digest check
        from torch.hub import download_url_to_file

        download_url_to_file(str(self.url), str(destination), hash_prefix=self.sha256, progress=bar)

    def _unpacked(self, folder: Path, bar: bool) -> None:
        """Bring the archive into an empty folder, and leave only its files there."""
        archive = folder / f"{PARTIAL}archive"
        try:
            self._downloaded(archive, bar)
        except OSError as error:  # those of the network are such too, and are nothing that another folder would mend
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise EvalkitError(reason(error)) from error
        unpack(archive, folder, self.files or ["*"])
        archive.unlink()

    def identity(self, cache: Cache) -> Any:
        """Describe what a result depends on: the content, or the pinned commit of a hub repository."""
        if self.random:
            return {"random_seed": self.random_seed}
        found = self.locate(cache)
        if self.repo and not self.path and not self.url:
            return {"repo": self.repo, "commit": found.name, "files": self.files}
        return {"sha256": sha256_tree(found)}

    def verify(self, cache: Cache) -> None:
        """Raise EvalkitError if a single file is not the one that was published."""
        if self.random or self.path or not self.url or not self.sha256 or self.unpack:
            return  # of an archive, nothing is left to compare once it is unpacked
        found = self.locate(cache)
        actual = sha256_file(found)
        if not actual.startswith(self.sha256):
            raise EvalkitError(
                f"{self.name}: '{found}' is damaged (SHA-256 {actual[:12]}…, expected {self.sha256[:12]}…): "
                "delete it and run 'evalkit fetch' again"
            )

    def published(self, cache: Cache) -> bool:
        """Whether this is, as far as is known, the published file: false for one of another content or size."""
        found = self.find(cache)
        # random, not there yet, from a hub, or an archive, which was compared when it was fetched
        if found is None or not (self.path or self.url) or (self.unpack and not self.path):
            return True
        if self.sha256:
            return found.is_file() and sha256_file(found).startswith(self.sha256)
        return not (self.url and self.size) or (found.is_file() and found.stat().st_size == self.size)

    def _places(self, cache: Cache) -> list[Path]:
        """Where a downloaded file may lie: evalkit's own folder, and the one that torch.hub uses."""
        assert self.url is not None
        name = os.path.basename(urlparse(self.url).path)
        if self.unpack:  # many archives are called data.zip
            return [cache.weights / f"{name.partition('.')[0]}-{digest([self.url, self.files])[:12]}"]
        if name == "model.safetensors":  # as many files are called
            return [cache.weights / f"model-{digest(self.url)[:12]}.safetensors"]
        torch_home = os.environ.get("TORCH_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch")
        return [cache.weights / name, Path(torch_home).expanduser() / "hub" / "checkpoints" / name]

    def _snapshot(self, local_files_only: bool) -> Path | None:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        if not self.repo:
            raise EvalkitError(f"{self.name}: none of path, url, repo is set")
        try:
            folder = Path(
                snapshot_download(
                    self.repo,
                    repo_type=self.repo_type,
                    revision=self.revision,
                    allow_patterns=self.files,
                    local_files_only=local_files_only,
                )
            )
        except LocalEntryNotFoundError:
            if local_files_only:
                return None
            raise
        present = {p.relative_to(folder).as_posix() for p in folder.rglob("*")}
        # a snapshot folder exists as soon as one file was fetched, by anyone; a shard is only
        # missed by those who read the index
        patterns = self.files or ["*"]
        indices = [p for p in folder.glob("*.index.json") if any(fnmatch.fnmatch(p.name, x) for x in patterns)]
        try:
            shards = {shard for p in indices for shard in json.loads(p.read_text("utf-8"))["weight_map"].values()}
        except (ValueError, KeyError):  # half an index
            return None
        complete = shards <= present and all(fnmatch.filter(present, pattern) for pattern in patterns)
        return folder if complete else None


def assets_of(*components: Any) -> Iterator[Asset]:
    """List the assets that components hold, each once."""
    seen = []
    for _, asset in options_of(dict(enumerate(components))):
        if asset not in seen:
            seen.append(asset)
            yield asset


def options_of(components: Mapping[Any, Any]) -> Iterator[tuple[str, Asset]]:
    """List the assets that components hold, each with the option that sets its path, once for each place.

    A field of assets whose metadata has an `option` names another one of the component, or with an empty one the
    component's own.

    Args:
        components: by the name of their option, such as "metric".
    """
    todo = [(str(name), value) for name, value in components.items()]
    while todo:
        option, value = todo.pop(0)
        if isinstance(value, Asset):
            yield f"{option}.path", value
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            for f in dataclasses.fields(value):
                part = getattr(value, f.name)
                if "option" in f.metadata and isinstance(part, Asset):
                    yield f"{option}.{f.metadata['option']}".removesuffix("."), part
                else:
                    todo.append((f"{option}.{f.name}", part))
        elif isinstance(value, (list, tuple)):
            todo += [(f"{option}.{i}", part) for i, part in enumerate(value)]
        elif isinstance(value, dict):
            todo += [(f"{option}.{name}", part) for name, part in value.items()]
