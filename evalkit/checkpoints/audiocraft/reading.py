"""The files of a checkpoint that audiocraft wrote, as tensors and plain values: nothing in them is run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import EvalkitError, reason
from evalkit.weights import Recorded, load_tensors

EXPORTED, SOLVER, CODEC = "state_dict.bin", "checkpoint.th", "compression_state_dict.bin"


CONFIG = Path(".hydra") / "config.yaml"  # of a Dora experiment


@dataclass(frozen=True)
class Files:
    """Where a checkpoint lies: the language model, and where there is one, its codec and its Dora configuration."""

    lm: Path
    codec: Path | None
    config: Path | None


def find(name: str, path: str) -> Files:
    """Find the files of a checkpoint: a folder, or its state_dict.bin or checkpoint.th; `name` is for messages.

    Raises EvalkitError where there is none.
    """
    given = Path(path).expanduser().absolute()
    if not given.exists():
        raise EvalkitError(f"{name}: '{path}' does not exist")
    found = [given] if given.is_file() else [given / file for file in (EXPORTED, SOLVER) if (given / file).is_file()]
    if not found:
        raise EvalkitError(f"{name}: '{path}' has neither {EXPORTED} nor {SOLVER}: give an exported or a Dora folder")
    lm = found[0]
    codec, config = lm.with_name(CODEC), lm.parent / CONFIG
    return Files(lm, codec if codec.is_file() and codec != lm else None, config if config.is_file() else None)


def load(name: str, path: Path) -> dict[str, Any]:
    """Read a checkpoint. Raises EvalkitError for a file that is damaged or holds something else."""
    package = load_tensors(path, name)
    if not isinstance(package, dict):
        raise EvalkitError(f"{name}: '{path}' is not a checkpoint of audiocraft: it holds no dictionary")
    return package


def plain(value: Any) -> Any:
    """Turn values as YAML or OmegaConf's pickles hold them into dictionaries, lists and scalars."""
    if isinstance(value, Recorded):
        # OmegaConf: containers have _content, leaves have _val
        state = value.state if isinstance(value.state, dict) else {}
        return plain(state.get("_content", state.get("_val")))
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else None


def config_of(name: str, package: Mapping[str, Any], file: Path | None = None) -> dict[str, Any]:
    """The configuration inside a checkpoint, or in `file` where it has none; references to other values are followed.

    Raises EvalkitError where there is none, or a damaged one.
    """
    import yaml

    given = package.get("xp.cfg")
    try:
        if given is None and file is not None and file.is_file():
            given = file.read_text(encoding="utf-8")
        values = plain(yaml.safe_load(given) if isinstance(given, str) else given)
        if isinstance(values, dict) and values:
            resolved: dict[str, Any] = _resolve(values, values)
            return resolved
    except (yaml.YAMLError, RecursionError) as error:
        raise EvalkitError(f"{name}: the checkpoint's configuration is damaged ({reason(error)})") from error
    raise EvalkitError(f"{name}: the checkpoint has no configuration ('xp.cfg'): it is not one of audiocraft's")


def _resolve(value: Any, root: dict[str, Any]) -> Any:
    """Replace "${a.b}" by the value it refers to. Other interpolations stay as they are: text, which is refused."""
    if isinstance(value, dict):
        return {key: _resolve(part, root) for key, part in value.items()}
    if isinstance(value, list):
        return [_resolve(part, root) for part in value]
    reference = re.fullmatch(r"\$\{([\w-]+(?:\.[\w-]+)*)\}", value) if isinstance(value, str) else None
    if reference is None:
        return value
    found: Any = root
    for key in reference[1].split("."):
        if not isinstance(found, dict) or key not in found:
            return value
        found = found[key]
    return _resolve(found, root)


def weights_of(name: str, package: Mapping[str, Any]) -> dict[str, Any]:
    """The weights that audiocraft would evaluate or export, by their names.

    An exported file holds them alone. Of a solver's checkpoint audiocraft takes the best state
    (`solvers/base.py`, `utils/export.py`): `fsdp_best_state` where it is filled, else `best_state`.
    Both are taken while the moving average (EMA) is in the model's place, so they hold it where the
    training has one. A checkpoint that was thinned out and has no best state gives the moving average,
    and else the model as the last step left it. Raises EvalkitError where there is none of these.
    """
    import torch

    sources: list[Callable[[], Any]] = [
        lambda: package["fsdp_best_state"]["model"],
        lambda: package["best_state"]["model"],
        lambda: package["best_state"],
        lambda: package["ema"]["state"]["model"],
        lambda: package["model"],
    ]
    for source in sources:
        try:
            state = source()
        except (KeyError, TypeError):
            continue
        if isinstance(state, Mapping) and state and all(isinstance(x, torch.Tensor) for x in state.values()):
            return dict(state)
    raise EvalkitError(f"{name}: the checkpoint has no weights: neither 'best_state' nor 'ema' nor 'model'")
