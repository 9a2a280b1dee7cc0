"""Whether references can be transformed as the options ask."""

from __future__ import annotations

from collections.abc import Iterator

from evalkit.checks import Asked, Finding
from evalkit.errors import EvalkitError
from evalkit.plan import transform_of
from evalkit.store.cache import Cache

SUBJECT = "transforms"
ORDER = 85


def check(asked: Asked) -> Iterator[Finding]:
    """Build what references are to be transformed by."""
    try:
        transform = transform_of(asked.config)
    except EvalkitError as error:
        yield Finding("references", "missing", str(error), needed=True)
        return
    if transform is not None:
        about = transform.about(Cache(asked.config.cache_dir))
        yield Finding("references", "ok", f"{about}: an analysis, beside no published number")
