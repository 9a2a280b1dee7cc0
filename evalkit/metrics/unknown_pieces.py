"""How much of what models are given their text encoder cannot read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evalkit.encoders import Encoder
from evalkit.metrics import mean_over_items
from evalkit.types import Features, Measured


@dataclass(frozen=True)
class UnknownPieces:
    """Mean over prompts of the share of characters in pieces that the text encoder's tokenizer does not know.

    It says nothing of the clips, but tells what could not be read from what was not understood. Letters that are known
    need not make words that are.

    Attributes:
        prompt_encoder: counts characters in unknown pieces, and all.
    """

    encoder: Encoder
    prompt_encoder: Encoder
    kind: ClassVar[str] = "unknown_pieces"
    title: ClassVar[str] = "Text in unknown pieces"
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = True

    @property
    def reference_encoder(self) -> Encoder:
        return self.prompt_encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        """Average shares from characters (1, 2): those in unknown pieces, and all; a prompt of none has no share."""
        counts = [value[0].astype(float) for value in reference.values]
        return mean_over_items(reference.ids, [[unknown / every] if every else [] for unknown, every in counts])
