"""What components declare of themselves, checked before anything relies on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from evalkit.contracts import require
from evalkit.encoders import Encoder, Input, Reads
from evalkit.errors import EvalkitError, reason, unknown
from evalkit.metrics import Metric
from evalkit.store.identity import named


def check_metric(name: str, metric: Metric) -> None:
    """Check what a metric and its encoders declare. Raises EvalkitError for what is wrong, or cannot be read."""
    try:
        require_metric(name, metric)
    except EvalkitError:
        raise
    except Exception as error:
        raise EvalkitError(
            f"{name}: what it declares cannot be read: {type(error).__name__}: {reason(error)}"
        ) from error


def require_metric(name: str, metric: Metric) -> None:
    """Raise EvalkitError for a metric whose declarations are of another type, or do not fit together."""
    require_encoders(name, metric)
    if not isinstance(metric.title, str):
        raise EvalkitError(f"{name}: title is {metric.title!r}: set text")
    for member, value, fits in (
        ("higher_is_better", metric.higher_is_better, (bool, type(None))),
        ("clip_by_clip", metric.clip_by_clip, (bool,)),
        ("additive", metric.additive, (bool,)),
    ):
        if not isinstance(value, fits):
            raise EvalkitError(f"{name}: {member} is {value!r}: say True or False")
    least = getattr(metric, "min_clips", 1)
    if type(least) is not int or least < 1:
        raise EvalkitError(f"{name}: min_clips is {least!r}: set a whole number from 1")
    low, high = metric.bounds
    if not low < high:
        raise EvalkitError(f"{name}: bounds are {low!r} and {high!r}: set a lower and a higher number")


def require_encoders(name: str, metric: Metric) -> None:
    """Raise EvalkitError for an encoder of a metric that leaves something out, or does not fit its place."""
    for part, encoder in (("encoder", metric.encoder), ("reference_encoder", metric.reference_encoder)):
        if encoder is None:
            if part == "encoder":
                raise EvalkitError(f"{name} has no encoder: set {name}.encoder")
            continue
        require(f"{name}.{part}", encoder, Encoder)
        require_random(f"{name}.{part}", encoder)
        require_version(f"{name}.{part}", encoder)
        if encoder.reads not in get_args(Reads):
            raise EvalkitError(f"{name}.{part}: {unknown('reads', str(encoder.reads), get_args(Reads))}")
        if encoder.hears is not None and not isinstance(encoder.hears, Input):
            raise EvalkitError(
                f"{name}.{part}: {type(encoder).__name__}: hears is {encoder.hears!r}: set an evalkit.encoders.Input"
            )
        if (encoder.reads == "audio") != (encoder.hears is not None):
            raise EvalkitError(
                f"{name}.{part}: {type(encoder).__name__} reads {encoder.reads} and hears {encoder.hears}: "
                "what reads audio, and nothing else, hears an Input"
            )
    if metric.encoder.reads != "audio":
        raise EvalkitError(f"{name}.encoder reads {metric.encoder.reads}: generated clips need one that reads audio")


def require_random(name: str, component: Any) -> None:
    """Raise EvalkitError for a component that does not say True or False of whether its weights are random."""
    if not isinstance(component.random, bool):
        raise EvalkitError(f"{name}: {type(component).__name__}: random is {component.random!r}: say True or False")


def require_version(name: str, component: Any) -> None:
    """Raise EvalkitError for a component whose version is no whole number."""
    if type(component.version) is not int:
        raise EvalkitError(f"{name}: {type(component).__name__}: version is {component.version!r}: set a whole number")


def components_of(models: Mapping[str, Any], metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """The models, metrics and encoders of a run, by their options."""
    found: dict[str, Any] = {f"model.{name}": model for name, model in models.items()}
    for name, metric in metrics.items():
        found |= {f"metric.{name}": metric, f"metric.{name}.encoder": metric.encoder}
        if metric.reference_encoder is not None:
            found[f"metric.{name}.reference_encoder"] = metric.reference_encoder
    return found


def require_kinds(components: Mapping[str, Any]) -> None:
    """Raise EvalkitError for two classes of one package under one name: the cache would take one for the other.

    Args:
        components: by their options, such as "metric.fad.encoder".
    """
    known: dict[tuple[str, ...], tuple[str, type]] = {}
    for option, component in components.items():
        own = type(component)
        name = named(own)
        other, first = known.setdefault((name["kind"], name.get("package", "")), (option, own))
        if first is not own:
            raise EvalkitError(
                f"{option} ({own.__qualname__}) and {other} ({first.__qualname__}) have one kind, '{name['kind']}', "
                "under which their results are kept: give each class a kind of its own"
            )
