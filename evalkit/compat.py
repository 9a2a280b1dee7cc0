"""The defects of the packages evalkit stands on, each handled here and nowhere else.

Nothing happens on import, and no installed file is changed: what has to be replaced is replaced for
the duration of one call. Each function names the defect it deals with.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import importlib
import importlib.util
import os
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from evalkit.errors import EvalkitError, loading

ROBERTA_VOCABULARY = 50265


class _Shared:
    """A context that several threads may be in at once: the first to come enters it, the last to go leaves it.

    What it replaces is replaced for the whole process. Were each thread to put back what it had found, the last
    one would put back what another had replaced.
    """

    def __init__(self, context: Callable[[], contextlib.AbstractContextManager[None]]):
        self._context = context
        self._lock = threading.Lock()
        self._inside = 0
        self._entered = contextlib.ExitStack()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._inside:
                self._entered.enter_context(self._context())
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._entered.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


_quiet_together = _Shared(_quiet)


def quiet() -> contextlib.AbstractContextManager[None]:
    """Keep packages from printing to stdout and from warning about their own use of old interfaces."""
    return _quiet_together()


def prepare() -> None:
    """Make torchvision and torchaudio importable beside a CPU-only torch.

    Defect: registries carry both only as CUDA builds. Beside a CPU-only torch their C++ parts cannot
    be loaded; torchvision then fails at import because it describes operators that do not exist, and
    torchaudio because it insists on its extension. timm, laion_clap, hear21passt,
    frechet-audio-distance and transformers fail with them. evalkit needs none of the C++ parts.

    Call it before anything imports the two. Does nothing where torch was built for CUDA or the C++
    parts can be loaded.
    """
    with _preparing:  # clips are decoded, and resampled, on several threads
        _prepare()


@functools.cache
def _prepare() -> None:
    import torch

    if torch.version.cuda is not None:
        return
    if "torchvision" not in sys.modules and not _extension_loads("torchvision", "_C*.so"):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, name):  # other packages deal with the defect as this one does
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)
    if "torchaudio" not in sys.modules and not _extension_loads("torchaudio", "lib/*torchaudio*.so"):
        stand_in = types.ModuleType("torchaudio._extension")
        stand_in.__dict__.update(
            _IS_TORCHAUDIO_EXT_AVAILABLE=False, _IS_ALIGN_AVAILABLE=False, fail_if_no_align=lambda function: function
        )
        sys.modules["torchaudio._extension"] = stand_in


_preparing = threading.Lock()


_kept: list[Any] = []  # definitions of operators live as long as the object that made them


def _extension_loads(package: str, pattern: str) -> bool:
    import torch

    spec = importlib.util.find_spec(package)
    files = list(Path(spec.origin).parent.glob(pattern)) if spec and spec.origin else []
    try:
        for file in files:
            torch.ops.load_library(str(file))
    except OSError:
        return False
    return bool(files)


def whole_paddings(network: Any) -> None:
    """Have the convolutions of a transformers' EnCodec compute their paddings in plain integers, to the same values.

    Defect of 5.23: strides, kernel sizes and paddings are tensors that move to the device with the weights. Each
    convolution computes with them how far to pad, and so waits for a GPU to finish all that it was given.

    Where they are no such tensors, nothing changes; what is stored of the network never does.
    """
    names = ("kernel_size", "stride", "padding_total")
    for module in network.modules():
        found = {name: tensor for name, tensor in module.named_buffers(recurse=False) if name in names}
        stored = module.state_dict().keys() & found.keys()
        if len(found) < len(names) or stored or not hasattr(module, "_get_extra_padding_for_conv1d"):
            continue
        for name, tensor in found.items():
            delattr(module, name)
            setattr(module, name, int(tensor))
        own = (module.kernel_size, module.stride, module.padding_total)
        module._get_extra_padding_for_conv1d = functools.partial(_extra_padding, *own)


def _extra_padding(kernel_size: int, stride: int, padding_total: int, x: Any) -> int:
    """How many samples x (…, samples) lacks for its last window to be full, as EncodecConv1d has it."""
    length = x.shape[-1]
    windows = -(-(length - kernel_size + padding_total) // stride)
    return int(windows * stride + kernel_size - padding_total - length)


def rotary_positions(embedding: Any, states: Any) -> Any:
    """The table that a Wav2Vec2-Conformer of transformers rotates hidden states (clips, frames, width) by.

    Defect of 5.23: it keeps the last table, and first of all how many frames that is for, so that a thread may be given
    another thread's, of clips of another length.
    """
    return copy.copy(embedding)(states)


@functools.cache
def laion_clap() -> types.ModuleType:
    """Import laion_clap without a network and without traces.

    Defects of 1.1.7: its import loads three tokenizers from the hub, which inference never uses and
    which without a network is retried for minutes; and it puts its own folder, with the top-level
    names `evaluate`, `training` and `clap_module`, on sys.path for good.
    """
    prepare()
    from transformers import BartTokenizer, BertTokenizer, RobertaTokenizer

    path = list(sys.path)
    try:
        with quiet(), contextlib.ExitStack() as stack:
            # a set: in transformers 5 Bart's tokenizer is Roberta's
            for tokenizer in {BertTokenizer, RobertaTokenizer, BartTokenizer}:
                stack.enter_context(patch.object(tokenizer, "from_pretrained", _nothing))
            return importlib.import_module("laion_clap")
    finally:
        sys.path[:] = path


def _nothing(*_: Any, **__: Any) -> None:
    return None


def clap_module(amodel: str, fusion: bool) -> Any:
    """Build laion_clap's CLAP_Module on the CPU, its weights still to be filled in.

    Defects of 1.1.7: the constructor loads roberta-base's weights from the hub, which the checkpoint
    overwrites, and roberta-base's tokenizer, which evalkit passes to each call.
    """
    module = laion_clap()
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizer

    # the shape of roberta-base, from its config.json
    config = RobertaConfig(
        vocab_size=ROBERTA_VOCABULARY, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5
    )
    with (
        quiet(),
        patch.object(RobertaModel, "from_pretrained", lambda *_, **__: RobertaModel(config)),
        patch.object(RobertaTokenizer, "from_pretrained", _nothing),
    ):
        return module.CLAP_Module(enable_fusion=fusion, device="cpu", amodel=amodel)


@contextlib.contextmanager
def _first_parts() -> Iterator[None]:
    laion_clap()
    import numpy as np

    first = types.ModuleType("numpy")
    choice = types.SimpleNamespace(choice=lambda starts: starts[0], randint=lambda low, high: low)
    first.__dict__.update(np.__dict__, random=choice)
    # in its own module alone: encoders on other threads may well draw random numbers
    with patch.object(importlib.import_module("laion_clap.training.data"), "np", first):
        yield


_first_parts_together = _Shared(_first_parts)


def clap_takes_first_parts() -> contextlib.AbstractContextManager[None]:
    """Have laion_clap take the first of all parts of a clip over 10 s that it chooses from.

    Defect of 1.1.7: it draws them from numpy's global generator, so no two calls give the same.
    """
    return _first_parts_together()


def roberta_tokenizer(folder: Path) -> Any:
    """Load roberta-base's tokenizer from a folder with vocab.json and merges.txt.

    Defect: transformers 5 silently makes a tokenizer of five tokens where the files are missing.
    Raises EvalkitError for it.
    """
    prepare()
    from transformers import RobertaTokenizer

    with loading(f"the RoBERTa tokenizer in '{folder}'"), quiet():
        tokenizer = RobertaTokenizer.from_pretrained(str(folder), local_files_only=True)
    if len(tokenizer) != ROBERTA_VOCABULARY:
        raise EvalkitError(
            f"the RoBERTa tokenizer in '{folder}' has {len(tokenizer)} entries instead of {ROBERTA_VOCABULARY}: "
            "the folder needs roberta-base's vocab.json and merges.txt"
        )
    return tokenizer


def passt_model(seconds: int) -> Any:
    """Build hear21passt's 10- or 20-second model that gives logits, its weights still to be filled in.

    Defects of 0.0.26: `get_basic_model` always downloads; it prints the whole model, and on its
    first forward every shape, to stdout.
    """
    prepare()
    with quiet():
        from hear21passt import base, base20sec
        from hear21passt.models import passt

        package = {10: base, 20: base20sec}[seconds]
        with patch.object(package, "get_model_passt", functools.partial(package.get_model_passt, pretrained=False)):
            model = package.get_basic_model(mode="logits")
    passt.first_RUN = False
    return model


def fad_vggish(network: Any) -> Any:
    """Hand a VGGish to frechet-audio-distance, and return what it computes embeddings with.

    Defects of 0.3.4: it gets VGGish through torch.hub, which asks GitHub even where the weights are
    cached, and runs what it finds there; and it moves it to the first GPU, whichever is to be used.
    """
    laion_clap()  # it imports laion_clap, unprepared
    import torch

    with quiet():
        from frechet_audio_distance import FrechetAudioDistance

        with (
            patch.object(torch.hub, "load", lambda *_, **__: network),
            patch.object(torch.cuda, "is_available", lambda: False),
        ):
            return FrechetAudioDistance(model_name="vggish", use_pca=False, use_activation=False).model


def panns_cnn14_16k() -> Any:
    """Build PANNs' Cnn14 for 16 kHz as frechet-audio-distance does, its weights still to be filled in.

    Defect of 0.3.4: its import imports laion_clap; its own use of PANNs always fails.
    """
    laion_clap()
    with quiet():
        from frechet_audio_distance.models.pann import Cnn14_16k

        return Cnn14_16k(
            sample_rate=16000, window_size=512, hop_size=160, mel_bins=64, fmin=50, fmax=8000, classes_num=527
        )


def audiobox_network(options: Mapping[str, Any]) -> Any:
    """Build Audiobox Aesthetics' network on the CPU, its weights still to be filled in.

    Defect of 0.0.4: it never computes in the precision that it is told, which is left out here.
    """
    prepare()
    with quiet():
        from audiobox_aesthetics.model.aes import AesMultiOutput

        names = {field.name for field in dataclasses.fields(AesMultiOutput)} - {"precision"}
        return AesMultiOutput(**{name: value for name, value in options.items() if name in names})


@contextlib.contextmanager
def _no_draws() -> Iterator[None]:
    from audiobox_aesthetics.model import wavlm

    fixed = types.SimpleNamespace(random=types.SimpleNamespace(random=lambda: 1.0))
    # in its own module alone: encoders on other threads may well draw random numbers
    with patch.object(wavlm, "np", fixed):
        yield


_no_draws_together = _Shared(_no_draws)


def audiobox_draws_nothing() -> contextlib.AbstractContextManager[None]:
    """Keep Audiobox Aesthetics from drawing random numbers, which change nothing.

    Defect of 0.0.4: each layer draws from NumPy's global generator whether it is left out, and then is not, because
    it is not being trained; whatever else draws from that generator gets other numbers.
    """
    return _no_draws_together()
