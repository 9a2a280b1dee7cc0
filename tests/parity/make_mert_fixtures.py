"""Records what MERT's own code computes, for `test_mert.py`; run it only to make its fixtures anew.

That code comes with the weights and is run by transformers; it was written for transformers 4, so it needs an
environment of its own, and the folder with the code, which is the same in the repository of MERT:

    python -m venv mert-env && . mert-env/bin/activate
    pip install -c constraints.txt torch && pip install -c constraints.txt -e .
    pip install transformers==4.46.3
    git clone https://github.com/yizhilll/MERT
    OMP_NUM_THREADS=1 python -m tests.parity.make_mert_fixtures MERT/scripts/mert_hf

The weights are seeded random ones in the published files' layout. The fixtures hold values, not audio and no code.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np

from evalkit.encoders.mert import RATE, SIZES, Model, network_of
from tests import music, parity

FIXTURES = Path(__file__).parent / "fixtures"
LAYERS = {"MERT-v1-95M": (0, 1, 6, 11, 12), "MERT-v1-330M": (0, 12, 23, 24)}
# what the published config.json says beside HuBERT's defaults; layerdrop and dropout play no part here
CONFIG = {
    "architectures": ["MERTModel"],
    "model_type": "mert_model",
    "sample_rate": RATE,
    "feature_extractor_cqt": False,
    "deepnorm": False,
    "feat_extract_norm": "group",
    "conv_bias": False,
}
RELAX = {"MERT-v1-95M": -1.0, "MERT-v1-330M": 32.0}
PROCESSOR = {
    "do_normalize": True,
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "feature_size": 1,
    "padding_side": "right",
    "padding_value": 0,
    "return_attention_mask": True,
    "sampling_rate": RATE,
}


def clips() -> dict[str, np.ndarray]:
    """Clips (samples,) at 24 kHz, always the same ones."""
    return {
        **{kind: music.rendered(kind, RATE, 0.5, 0).mean(axis=0) for kind in ("hot", "off centre", "very quiet")},
        "noise, 0.3 s": parity.noise(RATE, 0.3),
        "one frame": parity.noise(RATE, 0.02),
    }


def kept(states: np.ndarray) -> np.ndarray:
    """The values that a fixture holds of (frames, dimensions)."""
    return states[::5, ::16]


def published(model: str, folder: Path) -> Path:
    """Write seeded random weights as the hub has a model's."""
    import torch

    folder.mkdir(parents=True)
    sizes = SIZES[model]
    network, _ = network_of(
        parity.random_asset("MERT weights"), parity.cache(), cast(Model, model), sizes["num_hidden_layers"]
    )
    # the published files are from before torch renamed the parts of weight normalisation
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    state = {}
    for key, value in network.state_dict().items():
        for new, old in names.items():
            key = key.replace(new, old)
        state[key] = value
    torch.save(state, folder / "pytorch_model.bin")
    config = {**CONFIG, **sizes, "attention_relax": RELAX[model]}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR), "utf-8")
    return folder


def fingerprint(network: Any) -> np.ndarray:
    """Mean and spread of each tensor of a network's state, (tensors, 2), by which other weights are known."""
    values = [value.double().numpy() for _, value in sorted(network.state_dict().items())]
    return np.array([[value.mean(), value.std()] for value in values])


def heard() -> np.ndarray:
    """Mean, spread and peak of each clip, (clips, 3), by which other audio is known."""
    return np.array([[x.mean(), x.std(), np.abs(x).max()] for x in clips().values()])


def main() -> None:
    code = parity.folder() / "mert_code"
    shutil.copytree(sys.argv[1], code)
    (code / "__init__.py").touch()  # the two files import one another
    sys.path.insert(0, str(code.parent))
    import torch

    from evalkit import compat

    compat.prepare()
    import transformers

    original = importlib.import_module("mert_code.modeling_MERT").MERTModel
    arrays: dict[str, np.ndarray] = {"music": heard()}
    for model, layers in LAYERS.items():
        folder = published(model, parity.folder() / model)
        network, loaded = original.from_pretrained(folder, output_loading_info=True)
        assert not any(loaded[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), loaded
        processor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder)
        network.eval()
        arrays[model] = fingerprint(network)
        for name, clip in clips().items():
            inputs = processor(clip, sampling_rate=RATE, return_tensors="pt")
            with torch.no_grad():
                states = network(**inputs, output_hidden_states=True).hidden_states
            assert len(states) == SIZES[model]["num_hidden_layers"] + 1
            for layer in layers:
                arrays[f"{model}/{layer}/{name}"] = kept(states[layer][0].numpy())
    FIXTURES.mkdir(exist_ok=True)
    np.savez_compressed(FIXTURES / "mert.npz", **arrays)
    print(transformers.__version__, {name: array.shape for name, array in arrays.items()})


if __name__ == "__main__":
    main()
