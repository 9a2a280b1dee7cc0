"""The codec: no waiting for the device, the same bits, memory given back."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from evalkit import compat
from evalkit.audio import Audio
from evalkit.decoding import codec
from evalkit.decoding.codec import Codec
from evalkit.models.codec import coder
from evalkit.models.tiny import codec_config, make_audible
from evalkit.weights import seeded


class NoWaiting(TorchDispatchMode):
    """Refuses to read a number from a tensor, for which a GPU has to finish all that it was given."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.item.default):
            raise AssertionError("a number is read from a tensor")
        return func(*args, **kwargs or {})


def encodec(**options: Any) -> Any:
    compat.prepare()
    import transformers

    config = codec_config()
    for name, value in options.items():
        setattr(config, name, value)
    with seeded(0), torch.inference_mode():
        network = transformers.EncodecModel(config).eval()
        make_audible(network)
    return network


CODES = [np.random.default_rng(i).integers(2048, size=(8, 9)) for i in range(3)]
WAVE = np.random.default_rng(3).uniform(-0.5, 0.5, (2, 3333)).astype(np.float32)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("pad", ["reflect", "constant"])
def test_paddings_in_integers_change_no_bit(causal: bool, pad: str) -> None:
    theirs = encodec(use_causal_conv=causal, pad_mode=pad)
    ours = copy.deepcopy(theirs)
    compat.whole_paddings(ours)
    assert theirs.state_dict().keys() == ours.state_dict().keys()
    with torch.inference_mode():
        # of all remainders of the strides, and shorter than some windows
        for samples in (1, 2, 5, 31, 640, 641, 1279, 3333):
            wave = torch.from_numpy(WAVE[:, None, :samples])
            assert torch.equal(ours.encoder(wave), theirs.encoder(wave))
        codes = torch.from_numpy(CODES[0]).view(1, 4, 2, 9).transpose(1, 2)
        decoded = [network.decode(codes, [None]).audio_values for network in (ours, theirs)]
    assert torch.equal(*decoded)


def test_decoding_and_encoding_read_no_number_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)  # in the other, what operations consist of is not seen
    network = encodec()
    with pytest.raises(AssertionError, match="a number is read"), NoWaiting(), torch.inference_mode():
        network.encode(torch.from_numpy(WAVE)[:, None])
    run = Codec(network, 2)
    with NoWaiting():
        run._decode(CODES)
        run.encode(Audio(WAVE, 32000))
        coder(network, 2, "cpu")(Audio(WAVE, 32000))
    # where there are no numbers to be read
    network = network.to("meta")
    with torch.inference_mode():
        codes = network.encode(torch.empty(2, 1, 3333, device="meta")).audio_codes
        assert network.decode(codes, [None]).audio_values.shape == (2, 1, 6 * 640)


@pytest.mark.parametrize("change", ["none", "stored", "method"])
def test_an_encodec_of_another_kind_stays_as_it_is(change: str) -> None:
    network = encodec()
    conv = network.encoder.layers[0]
    if change == "none":
        del conv.stride
    elif change == "stored":
        conv._non_persistent_buffers_set.discard("stride")
    else:
        conv.__class__ = type("Another", (torch.nn.Module,), {})
    compat.whole_paddings(network)
    assert isinstance(conv.padding_total, torch.Tensor) and "_get_extra_padding_for_conv1d" not in vars(conv)
    compat.whole_paddings(network)  # nor does it matter whether it was done before


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    made: list[Any] = []

    def stream(device: Any, priority: int) -> Any:
        made.append((device, priority))
        return made[-1]

    monkeypatch.setattr(torch.cuda, "Stream", stream)
    codec.stream_of.cache_clear()
    yield made
    codec.stream_of.cache_clear()


def test_codecs_of_a_device_share_one_stream(streams: list[Any]) -> None:
    one, other = torch.device("cuda", 0), torch.device("cuda", 1)
    assert codec.stream_of(one) is codec.stream_of(torch.device("cuda:0")) is not codec.stream_of(other)
    assert streams == [(one, codec.LOWEST), (other, codec.LOWEST)]


class Held:
    """Stands for a tensor: weak references to it tell whether it is still held."""


@pytest.mark.parametrize("words", ["CUDA out of memory", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"])
def test_clips_that_memory_does_not_hold_are_decoded_in_halves_with_nothing_held(
    monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    run = Codec(encodec(), 2)
    expected = run.decode(CODES)
    run.alone = False
    held: list[weakref.ref[Held]] = []
    sizes: list[int] = []
    original = Codec._decode

    def failing(self: Codec, part: Any) -> Any:
        assert all(one() is None for one in held)
        tensor = Held()
        held.append(weakref.ref(tensor))
        sizes.append(len(part))
        if len(part) > 1:
            raise RuntimeError(words)
        return original(self, part)

    monkeypatch.setattr(Codec, "_decode", failing)
    for clip, other in zip(run.decode(CODES), expected, strict=True):
        np.testing.assert_array_equal(clip.samples, other.samples)
    assert sizes == [3, 1, 1, 1]
    monkeypatch.setattr(Codec, "_decode", lambda *_: (_ for _ in ()).throw(RuntimeError("CUDA error: illegal")))
    with pytest.raises(RuntimeError, match="illegal"):
        run.decode(CODES)
