"""What the pipeline asks of components is declared, and one that leaves something out is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import pytest

from evalkit.config import compose
from evalkit.contracts import members, require
from evalkit.errors import EvalkitError
from evalkit.metrics import Metric
from evalkit.plan import make_plan
from evalkit.types import Features, Measured


class Instrument(Protocol):
    @property
    def strings(self) -> int:
        """How many strings it has; none for a flute. More of this."""

    def play(self, note: str) -> None:
        """Play a note."""

    def __call__(self) -> None:
        """Sound."""


class Tuned(Instrument, Protocol):
    @property
    def pitch(self) -> float:
        """What frequency its A has."""


def test_members_are_those_that_a_contract_and_those_before_it_declare() -> None:
    assert [name for name, _ in members(Tuned)] == ["strings", "play", "__call__", "pitch"]


def test_a_member_may_be_declared_in_any_way_and_is_not_evaluated() -> None:
    @dataclass
    class Guitar:
        pitch: float
        strings: ClassVar[int] = 6

        def play(self, note: str) -> None: ...

        def __call__(self) -> None: ...

    class Broken(Guitar):
        @property
        def strings(self) -> int:  # type: ignore[override]
            raise FileNotFoundError

    require("guitar", Guitar(440.0), Tuned)
    require("guitar", Broken(440.0), Tuned)


def test_what_is_left_out_is_named_with_what_it_means() -> None:
    class Flute:
        pitch = 440.0

        def play(self, note: str) -> None: ...

    class Mute(Flute):
        strings = 0
        play = None  # type: ignore[assignment]

    with pytest.raises(EvalkitError, match=r"^flute: Flute does not say how many strings it has: declare `strings`$"):
        require("flute", Flute(), Tuned)
    with pytest.raises(EvalkitError, match=r"^mute: Mute cannot sound: declare `__call__`$"):
        require("mute", Mute(), Tuned)


@dataclass(frozen=True)
class Complete:
    """A metric that leaves out nothing."""

    encoder: Any
    kind: ClassVar[str] = "complete"
    title: ClassVar[str] = "Complete"
    higher_is_better: ClassVar[None] = None
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = False
    reference_encoder: ClassVar[None] = None

    def __call__(self, generated: Features, reference: None) -> Measured:
        return Measured(0.5, n=len(generated.ids))


def plan_with(kind: str, component: type, monkeypatch: pytest.MonkeyPatch, without: str = "") -> None:
    """Make a plan in which the class takes the place of one of evalkit's, without one of its members."""
    if without:
        monkeypatch.delattr(component, without)
    target = f"{component.__module__}.{component.__qualname__}"
    options = ["model=synth", "prompts=demo", "metric=[chroma]", "random_weights=0", "allow_targets=[tests]"]
    make_plan(compose([*options, f"{kind}._target_={target}"]))


def test_a_metric_with_all_members_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_with("metric.chroma", Complete, monkeypatch)


@pytest.mark.parametrize("member", ["title", "higher_is_better", "bounds", "clip_by_clip", "additive"])
def test_a_metric_that_leaves_out_a_member_is_refused(member: str, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = dict(members(Metric))[member].__doc__ or ""
    meaning = declared[1:20]
    with pytest.raises(
        EvalkitError, match=rf"^metric\.chroma: Complete does not say .{meaning}.*: declare `{member}`$"
    ):
        plan_with("metric.chroma", Complete, monkeypatch, without=member)
