"""What other versions of evalkit have left in a store is neither read nor in the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evalkit.store import entry
from evalkit.store.entry import Item, read_entry, write_entry

from .conftest import Site


@pytest.mark.parametrize(
    "schema", [entry.SCHEMA - 1, pytest.param(entry.SCHEMA + 1, marks=pytest.mark.slow)], ids=["older", "later"]
)
def test_entries_of_another_schema_are_not_read(full: Site, schema: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stay, for the version that reads them; that what they hold is another number would be seen."""
    found = {path: read_entry(path) for path in sorted(full.cache.glob("*/*/*.entry"))}
    items = {path: dict(one.items()) for path, one in found.items()}
    monkeypatch.setattr(entry, "SCHEMA", schema)
    written = []
    for path, one in found.items():
        changed = {}
        for key, item in items[path].items():
            assert isinstance(item, Item)
            numbers = item.value is not None and np.issubdtype(item.value.dtype, np.floating)
            changed[key] = item._replace(value=-item.value) if numbers and item.value is not None else item
        path.unlink()
        written.append(write_entry(path.parent, one.kind, one.collection, changed))
    monkeypatch.undo()
    assert full.differences(full.run()) == []
    assert all(path.exists() for path in written)


FORMER = (  # files of versions before entries, and of those that may have been made while one was written
    "digests.json",
    *("clips/{0}/key.json", "clips/{0}/batch-0123456789abcdef.json", "clips/{0}/{0}.flac"),
    *("codes/{0}/key.json", "codes/{0}/codes-0123456789abcdef.npz", "codes/{0}/codes-0123456789abcdef.json"),
    *("features/{0}/ab/{0}", "features/peak/ab/{0}", "features/resamples/ab/{0}", "features/{0}/packs/{0}.npz"),
    *("checkpoints/tiny-stereo-2-0.sha256", "checkpoints/tiny-stereo-2-0/config.json"),
    "checkpoints/made-up-roberta-tokenizer/vocab.json",
)


def former(root: Path) -> list[Path]:
    """Write what versions before entries had in a store, into the folders of collections too."""
    digests = ["0123456789abcdef" * 2, *(path.name for path in root.glob("*/*") if (path / "about.json").is_file())]
    found = []
    for name in FORMER:
        for digest in digests if "{0}" in name else digests[:1]:
            path = root / name.format(digest)
            if path.parent.exists() or digest == digests[0]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"digest": "0", "clips": {}}))
                found.append(path)
    return found


def test_files_of_the_former_layout_are_in_nobodys_way(full: Site) -> None:
    files = former(full.cache)
    ended = full.run()
    assert full.wrong(ended) == []
    assert not ended.computed()
    assert all(path.exists() for path in files)
