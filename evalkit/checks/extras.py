"""Which of evalkit's optional extras are installed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement

from evalkit.checks import Asked, Finding
from evalkit.store.provenance import installed

SUBJECT = "extras"
ORDER = 20
NOT_FOR_USERS = ("dev",)


def check(asked: Asked) -> Iterator[Finding]:
    """Compare what each extra wants with what is installed, by the metadata of packages."""
    for extra, wanted in extras().items():
        lacking = [one for one in wanted if not _met(one)]
        facts = {extra: not lacking}
        if not lacking:
            said = ", ".join(f"{one.name} {installed(one.name)}" for one in wanted)
            yield Finding(extra, "ok", said, facts=facts)
            continue
        names = ", ".join(f"{one.name}{one.specifier}" for one in lacking)
        old = any(installed(one.name) for one in lacking)
        yield Finding(
            extra, "warning" if old else "absent", f"pip install 'evalkit[{extra}]' brings {names}", facts=facts
        )


def extras() -> dict[str, list[Requirement]]:
    """What each extra of evalkit wants on this system; nothing where evalkit is not installed as a package."""
    try:
        found = metadata.metadata("evalkit")
    except metadata.PackageNotFoundError:
        return {}
    wanted = [Requirement(text) for text in found.get_all("Requires-Dist") or []]
    return {
        extra: [one for one in wanted if one.marker and one.marker.evaluate({"extra": extra}) and _of(one, extra)]
        for extra in found.get_all("Provides-Extra") or []
        if extra not in NOT_FOR_USERS
    }


def _of(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement is not there without the extra."""
    return requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})


def _met(requirement: Requirement) -> bool:
    version = installed(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)
