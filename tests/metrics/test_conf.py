"""The YAMLs of metrics that the protocol does not define build what they name, with one choice of encoder each."""

from __future__ import annotations

from typing import Any

import pytest

from evalkit.assets import assets_of
from evalkit.config import build, compose
from evalkit.encoders.clap import CLAPAudio, CLAPText
from evalkit.encoders.encodec import EnCodec
from evalkit.encoders.mert import MERT
from evalkit.encoders.muq import MuQ
from evalkit.encoders.passt import PaSST
from evalkit.encoders.passt_embedding import PaSSTEmbedding
from evalkit.encoders.vggish import VGGish

METRICS: dict[str, dict[str, tuple[type, type | None]]] = {
    "fad_passt": {"fad_passt": (PaSSTEmbedding, PaSSTEmbedding)},
    "fad_clap": {"fad_clap": (CLAPAudio, CLAPAudio)},
    "fad_encodec": {"fad_encodec": (EnCodec, EnCodec)},
    "fad_mert": {"fad_mert": (MERT, MERT)},
    "kad_mert": {"kad_mert": (MERT, MERT)},
    "fad_muq": {"fad_muq": (MuQ, MuQ)},
    "kad_muq": {"kad_muq": (MuQ, MuQ)},
    "kad_clap": {"kad_clap": (CLAPAudio, CLAPAudio)},
    "fad_inf": {"fad_inf": (VGGish, VGGish)},
    "fad_contribution": {"fad_contribution": (VGGish, VGGish)},
    "kad": {"kad": (VGGish, VGGish)},
    "mad": {"mad": (MERT, MERT)},
    "precision_recall": dict.fromkeys(("precision", "recall"), (CLAPAudio, CLAPAudio)),
    "density_coverage": dict.fromkeys(("density", "coverage"), (CLAPAudio, CLAPAudio)),
    "inception_score": {"inception_score": (PaSST, None)},
    "clap_retrieval": dict.fromkeys(("clap_r1", "clap_r10", "clap_margin"), (CLAPAudio, CLAPText)),
}


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    options = ["model=synth", "prompts=demo", f"metric=[{','.join([*METRICS, 'fad', 'kld', 'clap_score'])}]"]
    first = "metric.clap_r1.encoder.weights.path=/elsewhere"
    return {str(name): build(node) for name, node in compose([*options, first]).metric.items()}


def test_each_yaml_gives_its_metrics(built: dict[str, Any]) -> None:
    for metrics in METRICS.values():
        for name, (encoder, reference) in metrics.items():
            metric = built[name]
            assert type(metric.encoder) is encoder
            assert (
                metric.reference_encoder is None if reference is None else type(metric.reference_encoder) is reference
            )
            for asset in assets_of(metric):
                assert not asset.random
                assert asset.licence != "unknown"
                assert asset.size or asset.path or asset.revision
    titles = [
        built[name].title
        for name in built
        if not name.startswith("fad_") or name in ("fad_inf", "fad_contribution", "fad_mert", "fad_muq")
    ]
    assert len(set(titles)) == len(titles)
    better = {name for name in built if built[name].higher_is_better}
    assert better >= {
        "precision",
        "recall",
        "density",
        "coverage",
        "inception_score",
        "clap_r1",
        "clap_r10",
        "clap_margin",
    }
    assert not better & {"fad_passt", "fad_clap", "fad_encodec", "fad_mert", "fad_muq", "fad_inf", "fad_contribution"}
    assert not better & {"kad", "kad_mert", "kad_clap", "kad_muq"}


def test_encoders_are_those_of_the_protocol_s_metrics(built: dict[str, Any]) -> None:
    """So that their features are computed once."""
    assert built["fad_clap"].encoder == built["precision"].encoder == built["density"].encoder
    assert built["fad_clap"].encoder == built["clap_score"].encoder
    assert built["kad_clap"].encoder == built["fad_clap"].encoder
    assert built["kad_mert"].encoder == built["fad_mert"].encoder
    assert built["kad_muq"].encoder == built["fad_muq"].encoder
    assert built["fad_passt"].encoder.classifier == built["inception_score"].encoder == built["kld"].encoder
    assert built["kad"].encoder == built["fad_inf"].encoder == built["fad_contribution"].encoder == built["fad"].encoder


def test_one_path_moves_both_halves_of_clap_in_all_three(built: dict[str, Any]) -> None:
    three = [built[name] for name in METRICS["clap_retrieval"]]
    assert all(metric.encoder == three[0].encoder for metric in three)
    assert all(metric.text_encoder == three[0].text_encoder for metric in three)
    assert three[0].encoder.weights.path == three[0].text_encoder.weights.path == "/elsewhere"
    assert (built["clap_r1"].k, built["clap_r10"].k) == (1, 10)
