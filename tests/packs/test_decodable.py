"""What is as good as audio is in no pack."""

from __future__ import annotations

import pytest

from evalkit.config import compose
from evalkit.errors import EvalkitError
from evalkit.packing.making import plan_of

OPTIONS = ["model=synth", "prompts=demo", "random_weights=0"]


def test_features_that_a_decoder_makes_sound_of_are_not_packed() -> None:
    with pytest.raises(EvalkitError, match=r"metric\.fad_encodec: a decoder makes sound of its features again"):
        plan_of(compose([*OPTIONS, "metric=[fad_encodec]"]))
    assert [*plan_of(compose([*OPTIONS, "metric=[fad,chroma,clap_score]"])).metrics] == ["fad", "chroma"]
