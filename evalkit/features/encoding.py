"""An encoder at work: what it returns is checked before anything is kept of it, and what it raises names it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError, failure

log = logging.getLogger(__name__)

Run = Callable[[list[Any]], list[np.ndarray]]


def named(encoder: Encoder) -> str:
    """What messages call an encoder: its kind, and where its class lies."""
    return f"encoder {encoder.kind} ({type(encoder).__module__}.{type(encoder).__qualname__})"


def attempt(encoder: Encoder, step: Callable[[], Any]) -> Any:
    """Take one step of an encoder. Raises EvalkitError for whatever it raises; the traceback goes to the log."""
    try:
        return step()
    except EvalkitError:
        raise
    except Exception as error:
        log.info("%s failed", named(encoder), exc_info=True)
        raise EvalkitError(failure(named(encoder), error)) from error


def load(encoder: Encoder, step: Callable[[], Run]) -> Run:
    """Load what turns items into features. Raises EvalkitError where that fails, or gives nothing to call."""
    run: Run = attempt(encoder, step)
    if not callable(run):
        raise EvalkitError(f"{named(encoder)}: load gave {type(run).__name__}, not a function from items to features")
    return run


def checked(encoder: Encoder, values: Any, ids: Sequence[str], dimensions: int | None) -> list[np.ndarray]:
    """The features of some items, if they are one finite float32 array (frames, dimensions) for each.

    Args:
        ids: of the items, for messages.
        dimensions: of the encoder's other features, where there are some.

    Raises EvalkitError, with the encoder's name, where they are not.
    """
    name = named(encoder)
    if not isinstance(values, (list, tuple)):
        raise EvalkitError(f"{name} gave {type(values).__name__}, not a list of arrays, one for each item")
    if len(values) != len(ids):
        raise EvalkitError(f"{name} gave {len(values)} arrays for {len(ids)} items: give one for each, in order")
    for i, value in zip(ids, values, strict=True):
        if not isinstance(value, np.ndarray):
            raise EvalkitError(f"{name} gave {type(value).__name__} for '{i}', not an array of numpy")
        if value.dtype != np.float32:
            raise EvalkitError(f"{name} gave {value.dtype} for '{i}': features are float32")
        if value.ndim != 2 or not value.shape[1]:
            raise EvalkitError(f"{name} gave an array {value.shape} for '{i}': features are (frames, dimensions)")
        if dimensions is not None and value.shape[1] != dimensions:
            raise EvalkitError(
                f"{name} gave {value.shape[1]} dimensions for '{i}' and {dimensions} for others: all must have as many"
            )
        if not np.isfinite(value).all():
            raise EvalkitError(f"{name} gave NaN or infinity for '{i}'")
        dimensions = value.shape[1]
    return list(values)
