"""The resamplers of the protocols against the packages that they are named after."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evalkit import audio, compat
from evalkit.audio import RESAMPLERS, Audio, AudioError
from evalkit.errors import EvalkitError
from tests import music, parity

RATES = [(44100, 16000), (32000, 16000), (48000, 16000), (22050, 16000), (16000, 32000), (44100, 48000)]


def sounds(rate: int) -> dict[str, np.ndarray]:
    """(channels, samples) at a rate, up to full scale."""
    clips = music.clips(rate, 1.0) | music.clips(rate, 1.5, "electro_1.mp3", start=1)
    return {
        **{name: clip / max(1, np.abs(clip).max()) for name, clip in clips.items()},
        "full-scale noise, stereo": np.random.default_rng(0).uniform(-1, 1, (2, rate + 37)).astype(np.float32),
        "shorter than the filter": parity.noise(rate, 0.002, level=0.3)[None],
        "step": np.repeat(np.float32([1, -1]), rate // 4)[None],
    }


@pytest.mark.parametrize(("old", "new"), RATES)
def test_resampy(old, new):
    import resampy

    for name, samples in sounds(old).items():
        ours = audio.resample(Audio(samples, old), new, "resampy")
        assert (ours.rate, ours.samples.dtype) == (new, np.float32)
        theirs = resampy.resample(samples, old, new)  # with its default filter, in float32 as the packages call it
        assert ours.samples.shape == theirs.shape
        error = float(np.abs(ours.samples - theirs).max())
        # its sums of some hundred products round in float32
        parity.within("resampling: resampy", "resampy 0.4.3", f"{old} to {new}, {name}", error, 1e-5, "of full scale")
        exact = resampy.resample(samples.astype(np.float64), old, new)
        error = float(np.abs(ours.samples - exact).max())
        parity.within(
            "resampling: resampy", "resampy 0.4.3 in float64", f"{old} to {new}, {name}", error, 2e-7, "of full scale"
        )


@pytest.mark.parametrize(("old", "new"), RATES)
def test_torchaudio_and_soxr(old, new):
    compat.prepare()
    import librosa
    import torchaudio

    kaiser = torchaudio.transforms.Resample(
        old,
        new,
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        resampling_method="sinc_interp_kaiser",
        beta=14.769656459379492,
    )
    originals = {
        "torchaudio": lambda x: torchaudio.functional.resample(torch.from_numpy(x), old, new).numpy(),
        "torchaudio_kaiser_best": lambda x: kaiser(torch.from_numpy(x)).numpy(),
        "soxr_hq": lambda x: librosa.resample(x, orig_sr=old, target_sr=new),  # its default
    }
    for resampler, original in originals.items():
        for name, samples in sounds(old).items():
            ours, theirs = audio.resample(Audio(samples, old), new, resampler).samples, original(samples)
            assert ours.shape == theirs.shape
            assert ours.dtype == np.float32
            error = float(np.abs(ours - theirs).max())
            parity.within(f"resampling: {resampler}", "the package itself", f"{old} to {new}, {name}", error, 0)


def test_resamplers_differ_from_each_other():
    sound = Audio(sounds(44100)["full-scale noise, stereo"], 44100)
    results = [audio.resample(sound, 16000, name).samples[:, :16000] for name in RESAMPLERS]
    for i, one in enumerate(results):
        assert all(np.abs(one - other[:, : one.shape[1]]).max() > 1e-3 for other in results[:i])


@pytest.mark.parametrize("resampler", RESAMPLERS)
def test_the_same_rate_changes_nothing_and_unlike_rates_are_refused(resampler):
    sound = Audio(parity.noise(32000, 0.1)[None], 32000)
    assert audio.resample(sound, 32000, resampler) is sound
    if resampler != "soxr_hq":  # whose filters have any ratio
        with pytest.raises(AudioError, match="cannot be brought to 32000 Hz"):
            audio.resample(Audio(sound.samples, 31999), 32000, resampler)


def test_an_unknown_resampler_is_named():
    with pytest.raises(EvalkitError, match="unknown resampler 'resampi': did you mean 'resampy'"):
        audio.resample(Audio(parity.noise(32000, 0.1)[None], 32000), 16000, "resampi")
