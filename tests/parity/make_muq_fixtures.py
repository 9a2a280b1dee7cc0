"""Records what MuQ's own package and SongEval's own code say, for `test_muq.py`; run it only to make its fixtures anew.

muq 0.1.0 runs with transformers 4 alone, so its fixtures need an environment of their own. SongEval is no package: its
repository is needed, of which only model.py runs.

    python -m venv muq-env && . muq-env/bin/activate
    pip install -c constraints.txt torch && pip install -c constraints.txt -e .
    pip install muq==0.1.0 'transformers==4.57.6'
    git clone https://github.com/ASLP-lab/SongEval
    OMP_NUM_THREADS=1 python -m tests.parity.make_muq_fixtures SongEval

The audio is rendered and comes from formulas; the fixtures hold values, not audio. The weights are
seeded random ones in the published files' layout, which the originals load with their own code.
"""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evalkit import compat
from evalkit.encoders.muq import SETTINGS, SHORTEST, randomize_layers
from evalkit.weights import seeded
from tests import music, parity

FIXTURES = Path(__file__).parent / "fixtures"
RATE = 24000
MUSIC = 0  # the seed of the music, which stays, whatever music other tests hear
STATES = (0, 6, 12)
# of one codebook of the residual quantizer that made training's targets
QUANTIZER = {
    "stale_counter": (1024,),
    "in_proj.bias": (16,),
    "in_proj.weight_g": (16, 1, 1),
    "in_proj.weight_v": (16, 512, 1),
    "out_proj.bias": (512,),
    "out_proj.weight_g": (512, 1, 1),
    "out_proj.weight_v": (512, 16, 1),
    "codebook.weight": (1024, 16),
}
# the same network in small, for tests that take no time
SMALL: dict[str, Any] = {
    **SETTINGS,
    "conv_dim": 8,
    "encoder_dim": 32,
    "w2v2_config": {**SETTINGS["w2v2_config"], "intermediate_size": 64, "num_attention_heads": 4},
}
# what the published config.json says of training, as far as the package reads it
TRAINING: dict[str, Any] = {
    "codebook_dim": 16,
    "codebook_size": 8192,
    "features": ["melspec_2048"],
    "is_flash": False,
    "mask_hop": 0.4,
    "mask_prob": 0.6,
    "num_codebooks": 1,
    "recon_loss_ratio": None,
    "resume_checkpoint": None,
    "rvq_ckpt_path": None,
    "rvq_multi_layer_num": 1,
    "rvq_n_codebooks": 8,
    "use_encodec_target": False,
    "use_rvq_target": True,
    "use_vq_target": False,
}
DROPOUTS = ("activation_dropout", "attention_dropout", "conformer_conv_dropout", "hidden_dropout")


def clips() -> dict[str, np.ndarray]:
    """Clips (samples,) at 24 kHz, of several lengths."""
    found = {
        kind: music.rendered(kind, RATE, seconds, MUSIC).mean(0).astype(np.float32)
        for kind, seconds in {"plain": 1.0, "hot": 1.3, "pauses": 1.0, "off centre": 1.1, "very quiet": 0.9}.items()
    }
    made = {"noise": parity.noise(RATE, 1.0), "tone": parity.sine(RATE, 0.5), "silence": parity.silence(RATE, 0.5)}
    return found | made | {"shortest": parity.noise(RATE, SHORTEST / RATE)}


def whole() -> dict[str, np.ndarray]:
    """The clips that the network of the published size hears."""
    return {name: clip for name, clip in clips().items() if name in ("plain", "tone")}


def kept(states: np.ndarray) -> np.ndarray:
    """What a fixture holds of hidden states (frames, dimensions): 32 dimensions."""
    return states[:, :: states.shape[1] // 32]


def heard() -> np.ndarray:
    """Mean, spread and peak of each clip, (clips, 3), by which other music is known."""
    return np.array([[x.mean(), x.std(), np.abs(x).max()] for x in clips().values()], np.float64)


def write_checkpoint(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Write seeded random weights in the published layout: config.json and model.safetensors."""
    import torch
    from safetensors.torch import save_file

    from evalkit.encoders.muq_network import empty

    network = empty(settings, settings["encoder_depth"])
    with seeded(parity.SEED):
        randomize_layers(network)
        width, kernel = settings["encoder_dim"], settings["w2v2_config"]["num_conv_pos_embeddings"]
        groups, codes = settings["w2v2_config"]["num_conv_pos_embedding_groups"], TRAINING["codebook_size"]
        positions = "conformer.pos_conv_embed.conv."
        state = network.state_dict() | {  # what training reads, and the convolution that nothing reads
            "cls_token": torch.randn(width),
            "linear.weight": torch.randn(codes, width),
            "linear.bias": torch.randn(codes),
            f"{positions}bias": torch.randn(width),
            f"{positions}parametrizations.weight.original0": torch.rand(1, 1, kernel),
            f"{positions}parametrizations.weight.original1": torch.randn(width, width // groups, kernel),
        }
        for i in range(TRAINING["rvq_n_codebooks"]):
            for name, shape in QUANTIZER.items():
                state[f"rvq.quantizers.{i}.{name}"] = torch.rand(shape)
    training = {"layerdrop": 0.0, **dict.fromkeys(DROPOUTS, 0.1), "num_hidden_layers": 24}
    config = {**settings, **TRAINING, "w2v2_config": {**settings["w2v2_config"], **training}}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True), "utf-8")
    named = {f"model.{name}": value.contiguous() for name, value in state.items()}
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def fingerprint(path: Path) -> np.ndarray:
    """Mean and spread of each tensor of a checkpoint, (tensors, 2), by which other weights are known."""
    from safetensors.torch import load_file

    values = [v.double().numpy() for _, v in sorted(load_file(path).items()) if v.is_floating_point()]
    return np.array([[v.mean(), v.std()] for v in values])


def main() -> None:
    compat.prepare()
    import torch
    from muq import MuQ

    arrays: dict[str, np.ndarray] = {"music": heard()}
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        for size, settings, sounds in (("small", SMALL, clips()), ("published", SETTINGS, whole())):
            folder = write_checkpoint(Path(name) / size, settings)
            arrays[f"{size}/weights"] = fingerprint(folder / "model.safetensors")
            original = MuQ.from_pretrained(folder, strict=True).eval()
            for clip, samples in sounds.items():
                states = original(torch.from_numpy(samples)[None], output_hidden_states=True).hidden_states
                assert len(states) == settings["encoder_depth"] + 1
                for layer in STATES:
                    arrays[f"{size}/{clip}/{layer}"] = kept(states[layer][0].numpy())
    versions = {package: importlib.metadata.version(package) for package in ("muq", "transformers", "torch")}
    arrays["versions"] = np.array(json.dumps(versions))
    FIXTURES.mkdir(exist_ok=True)
    np.savez_compressed(FIXTURES / "muq.npz", **arrays)


if __name__ == "__main__":
    main()
