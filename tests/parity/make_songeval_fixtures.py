"""Records what SongEval's own code says, for `test_songeval.py`; run it only to make its fixtures anew.

SongEval is no package: of its repository, model.py and config.yaml are needed, in the environment that
`make_muq_fixtures.py` describes:

    git clone https://github.com/ASLP-lab/SongEval
    OMP_NUM_THREADS=1 python -m tests.parity.make_songeval_fixtures SongEval

The audio is rendered and comes from formulas; the fixtures hold values, not audio. The weights are
seeded random ones in the published files' layout, which the originals load with their own code.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from evalkit import compat
from evalkit.audio import Audio
from evalkit.encoders.muq import SETTINGS
from evalkit.encoders.songeval import LAYER, network_of
from tests import music, parity
from tests.parity.make_muq_fixtures import FIXTURES, fingerprint, write_checkpoint

COMMIT = "f8113118221285eabcbc2882093b0956b9661446"
MUSIC = 0  # the seed of the music, which stays, whatever music other tests hear
FRAMES = {"one frame": 1, "a second": 25, "8 s": 200}


def songs() -> dict[str, Audio]:
    """Sounds in stereo, at several rates."""
    kinds = {"plain": (32000, 1.0), "hot": (44100, 1.2), "off centre": (48000, 0.9), "very quiet": (24000, 1.0)}
    return {kind: Audio(music.rendered(kind, *of, MUSIC), of[0]) for kind, of in kinds.items()}


def heard() -> np.ndarray:
    """Mean, spread and peak of each song, (songs, 3), by which other music is known."""
    return np.array([[x.samples.mean(), x.samples.std(), np.abs(x.samples).max()] for x in songs().values()], float)


def states() -> dict[str, np.ndarray]:
    """Made up hidden states (frames, 1024)."""
    rng = np.random.default_rng(11)
    return {name: rng.standard_normal((frames, 1024)).astype(np.float32) for name, frames in FRAMES.items()}


def write_weights(path: Path) -> Path:
    """Write seeded random weights in the published layout."""
    from safetensors.torch import save_file

    network = network_of(parity.random_asset("SongEval weights"), parity.cache())
    save_file(network.state_dict(), path, metadata={"format": "pt"})
    return path


def write(song: Audio, path: Path) -> Path:
    soundfile.write(path, song.samples.T, song.rate, subtype="FLOAT")
    return path


def original(repository: Path, weights: Path) -> Any:
    """SongEval's network, of its config.yaml, with weights from a file, loaded as its eval.py loads them."""
    from omegaconf import OmegaConf
    from safetensors.torch import load_file

    spec = importlib.util.spec_from_file_location("songeval_model", repository / "model.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    options: Any = OmegaConf.to_container(OmegaConf.load(repository / "config.yaml").generator)
    network = module.Generator(**{name: value for name, value in options.items() if name != "_target_"}).eval()
    assert not any(network.load_state_dict(load_file(weights), strict=False))
    return network


def main() -> None:
    compat.prepare()
    import librosa
    import torch
    from muq import MuQ

    arrays: dict[str, np.ndarray] = {"music": heard()}
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        weights = write_weights(folder / "songeval.safetensors")
        arrays["weights"] = fingerprint(weights)
        network = original(Path(sys.argv[1]), weights)
        for case, given in states().items():
            arrays[f"states/{case}"] = network(torch.from_numpy(given)[None])[0].numpy()
        muq = MuQ.from_pretrained(write_checkpoint(folder / "muq", SETTINGS), strict=True).eval()
        for kind, song in songs().items():
            samples, _ = librosa.load(write(song, folder / "song.wav"), sr=24000)
            hidden = muq(torch.from_numpy(samples)[None], output_hidden_states=True)["hidden_states"][LAYER]
            arrays[f"songs/{kind}"] = network(hidden)[0].numpy()
    packages = ("muq", "transformers", "librosa", "torch")
    arrays["versions"] = np.array(json.dumps({package: importlib.metadata.version(package) for package in packages}))
    np.savez_compressed(FIXTURES / "songeval.npz", **arrays)


if __name__ == "__main__":
    main()
