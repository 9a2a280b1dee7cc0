"""The options in which the runs of several results differ, by the shortest names that are clear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from evalkit.results.frames import TAKEN
from evalkit.results.record import Record

# Where a run lies, how its work is done and what is shown of it: no number depends on these. What prompts and
# references there were is compared by their content.
UNSEEN = (
    *(
        "name",
        "output_dir",
        "cache_dir",
        "config_dir",
        "allow_targets",
        "min_references",
        "small_slice",
        "slices",
        "report",
    ),
    *("engine.batch_size", "engine.feature_batch_size", "engine.attention", "engine.cuda_graphs"),
    *("engine.keep_going", "engine.quiet", "engine.workers", "engine.launcher", "engine.address"),
    *("prompts", "tracker"),
)
DERIVED = ("metric", "model", "calibration")  # of which parts come from other options


class Options:
    """The options in which results differ.

    Attributes:
        names: by the option's whole name the shortest one, such as "top_k" for "sampling.top_k".
    """

    def __init__(self, results: Sequence[Record]):
        self._values = [dict(leaves(result.config)) for result in results]
        every = dict.fromkeys(key for values in self._values for key in values)
        taken = {*TAKEN, "model", "n", *(name for result in results for name in result.metrics)}
        self.names = {key: short(key, every, taken) for key in self._differing(every)}

    def _differing(self, keys: Sequence[str] | Mapping[str, None]) -> list[str]:
        found: dict[str, tuple[Any, ...]] = {}
        for key in sorted(keys, key=lambda key: key.startswith(tuple(f"{part}." for part in DERIVED))):
            if any(key == hidden or key.startswith(f"{hidden}.") for hidden in UNSEEN):
                continue
            there = [values[key] for values in self._values if key in values]
            values = tuple(repr(values.get(key)) for values in self._values)
            if all(value == there[0] for value in there[1:]):
                continue
            group = key.partition(".")[0]
            if "protocol.name" in found and group in ("protocol", "metric"):  # the protocol's name stands for these
                continue
            if group in DERIVED and values in found.values():  # what ${random_weights} and the like have set
                continue
            found[key] = values
        return [key for key in found if key != "protocol.name"]  # which tables have a column of

    def of(self, place: int, row: str | None = None, generated: bool = True) -> dict[str, Any]:
        """The values of a result, by the options' short names.

        Args:
            place: of the result among the results.
            row: one of its rows, for what concerns that one only; None for the whole result.
            generated: whether the run made the clips of that row; if not, they do not depend on sampling.
        """
        found = {}
        for key, name in self.names.items():
            group, _, rest = key.partition(".")
            concerns = row is None or (group != "model" or rest.partition(".")[0] == row)
            if key in self._values[place] and concerns and (generated or group != "sampling"):
                found[name] = self._values[place][key]
        return found

    def text(self, place: int, name: str) -> str:
        """A value for people: of paths the last parts, where these are not alike."""
        (key,) = [key for key, short in self.names.items() if short == name]
        values = dict.fromkeys(str(values[key]) for values in self._values if key in values)
        value = self._values[place][key]
        last = {text: PurePath(text).name for text in values}
        if isinstance(value, str) and len({*last.values()}) == len(values):
            return last[value] or value
        return "null" if value is None else str(value)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values inside of mappings, each with its keys joined by dots."""
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from leaves(part, f"{path}.{key}" if path else str(key))
    elif path:
        yield path, value


def short(key: str, keys: Mapping[str, None], taken: set[str]) -> str:
    """The shortest end of a key that no other key has, and no column of a table.

    Args:
        keys: all that there are.
        taken: columns of the table.
    """
    parts = key.split(".")
    for k in range(len(parts) - 1, -1, -1):
        name = ".".join(parts[k:])
        if name not in taken and not any(other != key and f".{other}".endswith(f".{name}") for other in keys):
            return name
    return f"option.{key}"
