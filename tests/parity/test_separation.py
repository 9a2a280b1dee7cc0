"""References without vocals against the stems that the package demucs itself gives, added up."""

from __future__ import annotations

import numpy as np
import soundfile
import torch

from evalkit.assets import Asset
from evalkit.separation import Demucs
from evalkit.store.digests import sha256_file
from evalkit.transforms.instrumental import Instrumental
from evalkit.types import Clip
from tests import music, parity, separators
from tests.engines import CPU


def test_the_sum_of_three_stems_is_the_original_s(tmp_path):
    network = separators.write(tmp_path / "weights.safetensors")
    from demucs.apply import apply_model
    from demucs.audio import convert_audio

    make = Instrumental(Demucs(Asset("HT-Demucs", path=str(tmp_path)))).load(parity.cache(), CPU)
    for rate in (32000, 44100):
        for name in ("plain", "left only"):
            samples = np.atleast_2d(music.rendered(name, rate, 1.2))
            path = tmp_path / f"{name} {rate}.wav"
            soundfile.write(path, samples.T, rate, subtype="FLOAT")
            clip = Clip(name, path, "ok", "", sha256_file(path), samples.shape[1], rate, len(samples), 0.4, 0.6)
            mix = convert_audio(torch.from_numpy(samples), rate, 44100, 2)
            stems = apply_model(network, mix[None], shifts=0)[0]
            theirs = stems[:3].sum(0).numpy()[:, 17640 : 17640 + 26460]
            theirs = theirs.mean(axis=0, keepdims=True) if len(samples) == 1 else theirs
            (ours,) = make([clip])
            error = parity.difference(ours.samples, theirs)
            parity.within("Separated references", "demucs 4.1's apply_model", f"{name}, {rate} Hz", error, 1e-6)
