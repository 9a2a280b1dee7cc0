"""Components that were made in Python, in place of what a configuration would build."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, open_dict

from evalkit.config import compose
from evalkit.errors import EvalkitError, unknown


@dataclass(frozen=True)
class Objects:
    """Components by their place in the configuration.

    Attributes:
        models, metrics: by name, as in `model.NAME` and `metric.NAME`.
        prompts: None for those that the configuration builds.
    """

    models: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    prompts: Any = None

    def __post_init__(self) -> None:
        for group, given in (("models", self.models), ("metrics", self.metrics)):
            if not isinstance(given, Mapping) or not all(isinstance(name, str) and name for name in given):
                raise EvalkitError(f"{group}: give a dictionary of components by name")
            for name, component in given.items():
                require_component(f"{group}['{name}']", component)
        if self.prompts is not None:
            require_component("prompts", self.prompts)


def require_component(name: str, component: object) -> None:
    """Raise EvalkitError for what is no instance of a frozen dataclass, whose fields say all that it depends on."""
    if params := getattr(type(component), "__dataclass_params__", None):
        if params.frozen:
            return
        raise EvalkitError(f"{name}: {type(component).__name__} may change: make it a dataclass(frozen=True)")
    shown = f"the class {component.__name__}" if isinstance(component, type) else repr(component)[:60]
    raise EvalkitError(f"{name}: {shown} is no component: give an instance of a frozen dataclass")


def compose_with(overrides: Sequence[str], config_dir: str | None, given: Objects) -> tuple[DictConfig, Objects]:
    """Compose a configuration that describes objects as well, and give the objects as its options leave them.

    Objects are instead of what is selected by default; what an override selects besides them is kept. Options of the
    prompts, such as prompts.first=100, are set on their object. Raises EvalkitError for a name that is given twice,
    and for all that is wrong with the options.
    """
    kept = list(overrides)
    for group, objects in (("model", given.models), ("metric", given.metrics)):
        if objects and not any(option.startswith(f"{group}=") for option in kept):
            kept.append(f"{group}=[]")
    prompts = given.prompts
    if prompts is not None:
        own = [option for option in kept if option.startswith(("prompts.", "prompts="))]
        prompts = _with_options(prompts, own)
        kept = [*(option for option in kept if option not in own), "prompts=demo"]  # which is replaced below
    config = compose(kept, config_dir)
    with open_dict(config):
        for group, objects in (("model", given.models), ("metric", given.metrics)):
            for name, component in objects.items():
                if name in config[group]:
                    raise EvalkitError(f"{group}.{name} is selected, and given as an object: choose another name")
                config[group][name] = described(component)
        if prompts is not None:
            config.prompts = described(prompts)
    return config, dataclasses.replace(given, prompts=prompts)


def _with_options(prompts: Any, options: Sequence[str]) -> Any:
    """Set options such as prompts.first=100 on a component."""
    fields = [f.name for f in dataclasses.fields(prompts) if f.init]
    for option in options:
        key, _, text = option.partition("=")
        if key == "prompts":
            raise EvalkitError(f"'{option}': the prompts are given as an object: give one of the two")
        name = key.removeprefix("prompts.")
        if name not in fields:
            raise unknown("option of the prompts", name, fields)
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise EvalkitError(f"cannot read the option '{option}': write KEY=VALUE, or KEY=[A,B]") from error
        prompts = dataclasses.replace(prompts, **{name: value})
    return prompts


def described(value: Any) -> Any:
    """Describe a component as a configuration would: its class as `_target_`, and its fields."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        target = f"{type(value).__module__}.{type(value).__qualname__}"
        return {"_target_": target, **{f.name: described(getattr(value, f.name)) for f in dataclasses.fields(value)}}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): described(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [described(part) for part in value]
    if isinstance(value, (str, Path)):
        return str(value).replace("${", "\\${")  # else it would be looked up
    return value if isinstance(value, (bool, int, float, type(None))) else repr(value)
