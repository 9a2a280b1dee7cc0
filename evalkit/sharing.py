"""Files of options, one a line, for a run that takes what its file leaves open from another run."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from evalkit.config import compose, explain, quoted
from evalkit.errors import EvalkitError
from evalkit.objects import described
from evalkit.settings import conf_dir

# by a name, and then set key by key
SELECTED = ("model", "prompts", "references", "metric", "protocol", "sampling", "engine")
SHARED = (
    *SELECTED,
    *("uncertainty", "slices", "small_slice", "min_references", "random_weights", "cache_dir", "allow_targets"),
)
# groups whose YAMLs read an option
READ_BY = {"protocol": ("metric",), "random_weights": ("metric", "model", "references")}


@dataclass(frozen=True)
class OptionsFile:
    """Options of `evalkit run`, one a line: KEY=VALUE.

    Attributes:
        path: the file, as it was given.
        options: line number and option.
        more: options besides those of the file, which go before them.
    """

    path: Path
    options: Sequence[tuple[int, str]]
    more: Sequence[str] = ()

    @classmethod
    def read(cls, path: Path, more: Sequence[str] = ()) -> OptionsFile:
        """Read a file; "#" at the start of a line or after a space begins a comment, and blank lines mean nothing.

        Raises EvalkitError for a file that is no text, and names the line that is no option.
        """
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise EvalkitError(
                f"'{path}' is no text: give the folder of a result, or a file with one option of evalkit run a line"
            ) from error
        bare = [(number, _without_comment(line)) for number, line in enumerate(lines, 1)]
        options = [(number, line) for number, line in bare if line]
        for number, option in options:
            if not re.match(r"~[\w./@-]+$|[+~]*[\w./@-]+=", option):
                raise EvalkitError(f"'{path}', line {number}: '{option:.80}' is no option: write KEY=VALUE")
        return cls(path, options, more)

    def configured(
        self, base: Mapping[str, Any] | None, config_dir: str | None, check: Callable[[DictConfig], None]
    ) -> DictConfig:
        """Compose the configuration of the run, with what no option mentions as in `base`, and check it.

        Raises EvalkitError that names file and line for everything that is wrong with the options.
        """

        def work(options: Sequence[str]) -> DictConfig:
            config = completed([*self.more, *options], base, config_dir)
            check(config)
            return config

        try:
            return work([option for _, option in self.options])
        except EvalkitError as error:
            line = self._line(str(error), work)
            place = f"'{self.path}'" + (f", line {line}" if line else "")
            raise EvalkitError(f"{place}: {error}") from error

    def _line(self, message: str, work: Callable[[Sequence[str]], object]) -> int | None:
        """The line that a message speaks of, or without which there is none; the last, because it sets the details."""
        for number, option in reversed(self.options):
            key, _, value = option.lstrip("+~").partition("=")
            if f"{key}=" in message or ("." in key and re.search(rf"\b{re.escape(key)}\b", message)):
                return number
            if f"'{value}'" in message or (len(value) > 3 and value in message):
                return number
        for number, _ in reversed(self.options):
            with contextlib.suppress(EvalkitError):
                work([option for other, option in self.options if other != number])
                return number
        return None


def _without_comment(line: str) -> str:
    for match in re.finditer(r"(^|\s)#", line):
        before = line[: match.start()]
        if all(before.count(quote) % 2 == 0 for quote in "\"'"):
            return before.strip()
    return line.strip()


def completed(options: Sequence[str], base: Mapping[str, Any] | None, config_dir: str | None = None) -> DictConfig:
    """Compose a configuration of which the groups and keys that no option mentions are those of another one.

    A group that an option selects, such as prompts=NAME, is that one, whole; a single key, such as prompts.first=100,
    is set in the other's. An experiment among the options says what its YAML says.

    Raises EvalkitError as `compose` does, and where an option changes what metrics or models were made by that are
    the other's.
    """
    if base is None:
        return compose(list(options), config_dir)
    parsed = [(option, _parsed(option)) for option in options]
    experiments = [name for _, found in parsed if found.key_or_group == "experiment" for name in _names(found)]
    said = {found.key_or_group for _, found in parsed if found.package is None}
    for name in experiments:
        said.update(_said_by(name, config_dir))
    shared = {key: base[key] for key in SHARED if key in base and key not in said}
    nothing = [f"{group}=[]" for group in SELECTED if group in shared]  # instead of the defaults
    own = [option for option, found in parsed if found.key_or_group != "experiment"]
    with TemporaryDirectory(prefix="evalkit-") as folder:
        # as an experiment, so that Hydra merges it: over the groups, under the options
        file = Path(folder) / "experiment" / "the_other_run.yaml"
        file.parent.mkdir()
        content = yaml.safe_dump(described(shared), sort_keys=False, allow_unicode=True)
        file.write_text(f"# @package _global_\n{content}", "utf-8")
        chosen = f"experiment=[{','.join([file.stem, *experiments])}]"
        config = compose([*nothing, chosen, *own], config_dir, [Path(folder)])
    plain: Any = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    for key, groups in READ_BY.items():
        stale = [group for group in groups if shared.get(group)]
        if stale and key in base and plain[key] != base[key]:
            needed = " and ".join(f"{group}=NAME" for group in stale)
            raise EvalkitError(
                f"{key} is not that of the other side, whose {' and '.join(stale)} would be taken: set {needed} too"
            )
    return config


def _parsed(option: str) -> Override:
    try:
        (found,) = OverridesParser.create().parse_overrides([quoted(option)])
    except HydraException as error:
        raise explain(error) from error
    return found


def _names(option: Override) -> list[str]:
    value = option.value()
    return [str(name) for name in value] if isinstance(value, list) else [] if value is None else [str(value)]


def _said_by(experiment: str, config_dir: str | None) -> Iterator[str]:
    """The groups that an experiment selects, or adds components to. Nothing for one that there is not."""
    folders = [conf_dir(), *([Path(config_dir)] if config_dir else [])]
    files = [path for folder in folders if (path := folder / "experiment" / f"{experiment}.yaml").is_file()]
    for path in files:
        with contextlib.suppress(yaml.YAMLError):  # composing says what is wrong with it
            content = yaml.safe_load(path.read_text("utf-8")) or {}
            yield from (group for group in ("model", "prompts", "metric") if group in content)
            for entry in content.get("defaults", []):
                if isinstance(entry, dict):
                    yield from (str(key).removeprefix("override ").strip("/ ") for key in entry)
                elif entry != "_self_":
                    yield from _said_by(entry, config_dir)
