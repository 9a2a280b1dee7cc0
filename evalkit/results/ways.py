"""In which ways the clips of a result were computed: what may change last bits, and nothing that a clip is found by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from evalkit.results.alike import differences
from evalkit.results.record import Record, RowInfo
from evalkit.store.digests import digest

OTHERWISE = ("dtype", "torch")  # of which a comparison says by itself that they differ


def ways(made: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Count clips by how they were made: each way once, with its number of `clips`, the most frequent first."""
    found: list[tuple[Mapping[str, Any], int]] = []
    for one in made:
        place = next((i for i, (known, _) in enumerate(found) if known is one or known == one), None)
        if place is None:
            found.append((one, 1))
        else:
            found[place] = found[place][0], found[place][1] + 1
    return [{"clips": n, **way} for way, n in sorted(found, key=lambda item: -item[1])]


def words(way: Mapping[str, Any]) -> str:
    """Say a way in one line, such as "256 clips: NVIDIA H100, float16, triton attention, CUDA graphs, 64 at once"."""
    n, size = way["clips"], way.get("batch_size")
    parts = [
        str(way.get("device_name") or ""),
        str(way.get("dtype") or ""),
        f"{way['attention']} attention" if way.get("attention") else "",
        "CUDA graphs" if way.get("graphs") else "",
        f"{size:,} at once" if size else "",
    ]
    return f"{n:,} clip{'s' * (n != 1)}: {', '.join(filter(None, parts)) or 'how was not recorded'}"


def by_model(record: Record) -> dict[str, str]:
    """Say in which ways a run made the clips of its models, by the models' names; nothing of older records.

    Names stand together where it was the same way, and there is none where it was for all.
    """
    models: dict[str, list[str]] = {}
    for name, row in record.rows.items():
        if row.made and not row.calibration:
            models.setdefault("; ".join(map(words, row.made)), []).append(name)
    return {"" if len(models) == 1 else ", ".join(names): text for text, names in models.items()}


def said(record: Record) -> str:
    """Say the same in one line."""
    return "; ".join(" ".join(filter(None, item)) for item in by_model(record).items())


def kinds(record: Record) -> set[str]:
    """The digests of the different ways in which any clips of a run's models were made."""
    made = [way for row in record.rows.values() if not row.calibration for way in row.made]
    return {digest({name: value for name, value in way.items() if name != "clips"}) for way in made}


def differing(baseline: RowInfo, candidate: RowInfo) -> Iterator[str]:
    """Say in what the ways differ in which two rows were made, such as "batch_size 64, not 8"."""
    ours, theirs = (_values(row.made) for row in (candidate, baseline))
    if ours and theirs:
        yield from (f"{key} {text}" for key, text in differences(ours, theirs))


def _values(made: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What is said of the clips of a row, by its name: each value once."""
    names = dict.fromkeys(name for way in made for name in way if name not in ("clips", *OTHERWISE))
    return {name: " and ".join(dict.fromkeys(str(way[name]) for way in made if name in way)) for name in names}
