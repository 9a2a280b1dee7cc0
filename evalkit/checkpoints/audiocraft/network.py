"""A checkpoint of audiocraft as a whole MusicGen of transformers: language model, text encoder and codec."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit import compat
from evalkit.assets import Asset
from evalkit.checkpoints.audiocraft import codec, lm, reading
from evalkit.checkpoints.audiocraft.layout import assign
from evalkit.checkpoints.transformers import MADE_UP, load_pretrained, load_tokenizer, quiet_transformers
from evalkit.errors import EvalkitError
from evalkit.store.cache import Cache

PRETRAINED = "//pretrained/"  # what audiocraft writes before the hub id of a codec


@dataclass(frozen=True)
class Parts:
    """What evalkit generates with: a network of transformers, its tokenizer, and what reads its audio."""

    network: Any
    tokenizer: Any
    features: Any


def made_up(name: str, path: str) -> bool:
    """Whether a checkpoint says of itself that its weights mean nothing."""
    files = reading.find(name, path)
    config = reading.config_of(name, reading.load(name, files.lm), files.config)
    return config.get(MADE_UP[0]) == MADE_UP[1]


def own_codec(name: str, files: reading.Files) -> Path | None:
    """The file beside a language model that holds the weights of its codec, and not only the codec's name."""
    if files.codec is None or "pretrained" in reading.load(name, files.codec):
        return None
    return files.codec


def build(name: str, path: str, text_encoder: Asset, codec_asset: Asset | None, cache: Cache) -> Parts:
    """Put a checkpoint into the modules of transformers, in float32 on the CPU; `name` is for messages.

    What they compute is what audiocraft's modules compute, up to rounding: the table of positions is
    the one thing that transformers computes by another formula, which in the logits shows as 2e-5 of
    the largest at 1,500 positions.

    Raises EvalkitError for a checkpoint that is damaged, incomplete, or of a kind that transformers has
    no module for, and for a text encoder or a codec that it was not trained with.
    """
    compat.prepare()
    import transformers
    from transformers.initialization import no_init_weights

    files = reading.find(name, path)
    package = reading.load(name, files.lm)
    config = reading.config_of(name, package, files.config)
    model = lm.read(name, config)
    weights, text_weights = lm.split(reading.weights_of(name, package), model.finetuned)

    _require_text_encoder(name, text_encoder, model)
    folder = text_encoder.locate(cache)
    what = f"{name}: the text encoder in '{folder}'"
    text, _ = load_pretrained(what, transformers.T5EncoderModel, folder)
    if model.finetuned:
        assign(f"{name}: the text encoder", text, {key: (key,) for key in text.state_dict()}, text_weights)
    projection = weights.get(f"{lm.PROVIDER}.description.output_proj.weight")
    if projection is not None and projection.shape[1:] != (text.config.d_model,):
        raise EvalkitError(
            f"{name}: was trained with {model.text_encoder}, whose states have {projection.shape[-1]} numbers, and "
            f"those of the text encoder in '{folder}' have {text.config.d_model}: give it the right one"
        )
    if text.config.d_model == model.hidden:
        raise EvalkitError(
            f"{name}: transformers leaves out the projection of the text, whose states have {model.hidden} numbers as "
            "the decoder's have: audiocraft's checkpoint has one"
        )
    audio = _codec(name, files, config, model, codec_asset, cache)

    try:
        with no_init_weights(), quiet_transformers():  # all weights are filled in below, or an error
            network = _empty(model, text.config, audio.config)
    except ValueError as error:  # such as a width that the heads do not divide
        raise EvalkitError(f"{name}: transformers refuses the checkpoint's configuration: {error}") from error
    if config.get(MADE_UP[0]) == MADE_UP[1]:
        setattr(network.config, *MADE_UP)
    network.text_encoder, network.audio_encoder = text, audio
    assign(name, network, model.tensors(), weights)
    return Parts(network.eval(), load_tokenizer(name, folder, text.config.vocab_size), _features(model))


def _empty(model: lm.LM, text: Any, audio: Any) -> Any:
    """A network with these configurations and whatever weights."""
    import transformers

    parts = {"text_encoder": text, "audio_encoder": audio, "decoder": model.decoder_config(audio.frame_rate)}
    if model.melody is None:
        return transformers.MusicgenForConditionalGeneration(transformers.MusicgenConfig(**parts))
    return transformers.MusicgenMelodyForConditionalGeneration(
        transformers.MusicgenMelodyConfig(**parts, num_chroma=model.melody.pitches, chroma_length=model.melody.frames)
    )


def check(name: str, path: str, text_encoder: Asset) -> None:
    """Raise EvalkitError where there is no checkpoint that can be read, and for a text encoder known to be another."""
    files = reading.find(name, path)
    _require_text_encoder(
        name, text_encoder, lm.read(name, reading.config_of(name, reading.load(name, files.lm), files.config))
    )


def _require_text_encoder(name: str, asset: Asset, model: lm.LM) -> None:
    trained = model.text_encoder if "/" in model.text_encoder else f"google-t5/{model.text_encoder}"
    given = asset.repo if asset.repo is None or "/" in asset.repo else f"google-t5/{asset.repo}"
    if not asset.path and given != trained:
        raise EvalkitError(
            f"{name}: was trained with {model.text_encoder}, not {asset.repo}: "
            f"set model.audiocraft.text_encoder.repo={trained}"
        )


def _codec(
    name: str, files: reading.Files, config: Mapping[str, Any], model: lm.LM, asset: Asset | None, cache: Cache
) -> Any:
    """Load the codec: the one beside the language model, or else the asset, in transformers' layout or audiocraft's."""
    import transformers

    codebooks = model.codebooks // model.channels
    file = own_codec(name, files)
    if file is None:
        _check_codec_name(name, files, config, asset)
        if asset is None:
            raise EvalkitError(f"{name}: '{files.lm.parent}' has no codec: set model.audiocraft.encodec")
        place = asset.locate(cache)
        if place.is_file():
            file = place
        elif not (place / "config.json").is_file():
            names = (reading.CODEC, reading.SOLVER)
            file = next((place / one for one in names if (place / one).is_file()), None)
    if file is not None:
        package = reading.load(name, file)
        own = reading.config_of(name, package, file.parent / reading.CONFIG)
        network = codec.network_of(name, own, reading.weights_of(name, package), codebooks)
    else:
        what = f"{name}: the codec in '{place}'"
        network, _ = load_pretrained(what, transformers.EncodecModel, place)
        codec.restrict(name, network.config, codebooks, len(network.quantizer.layers))
        network.quantizer.layers = network.quantizer.layers[:codebooks]
        network.quantizer.num_quantizers = codebooks
    found = network.config
    for what, have, want in (
        ("sample rate", found.sampling_rate, model.rate),
        ("tokens per codebook", found.codebook_size, model.vocabulary),
        ("channels", found.audio_channels, 1),
        ("volume normalisation", found.normalize, False),
        ("chunks", found.chunk_length_s, None),
    ):
        if have != want:
            raise EvalkitError(f"{name}: was trained with another codec: its {what} would be {want}, not {have}")
    return network


def _check_codec_name(name: str, files: reading.Files, config: Mapping[str, Any], asset: Asset | None) -> None:
    """Raise EvalkitError where the checkpoint says that its codec is another than the asset."""
    if asset is not None and asset.path:
        return
    if files.codec is not None:
        trained = f"{PRETRAINED}{reading.load(name, files.codec)['pretrained']}"
    else:
        trained = str(config.get("compression_model_checkpoint") or "")
    if trained.startswith(PRETRAINED):
        trained = trained.removeprefix(PRETRAINED)
        if asset is None or asset.repo != trained:
            raise EvalkitError(
                f"{name}: was trained with the codec {trained}, not {asset.repo if asset else None}: "
                f"set model.audiocraft.encodec.repo={trained}"
            )
    elif trained:
        raise EvalkitError(
            f"{name}: was trained with the codec '{trained}', which is not in '{files.lm.parent}': "
            f"set model.audiocraft.encodec.path to the {reading.CODEC} or {reading.SOLVER} of that codec"
        )


def _features(model: lm.LM) -> Any:
    """What transformers reads audio with: a melody model its melodies, another one what a clip continues."""
    import transformers

    if model.melody is None:
        return transformers.EncodecFeatureExtractor(
            feature_size=model.channels, sampling_rate=model.rate, padding_side="left"
        )
    melody = model.melody
    return transformers.MusicgenMelodyFeatureExtractor(
        feature_size=melody.pitches,
        num_chroma=melody.pitches,
        sampling_rate=melody.rate,
        n_fft=melody.fft,
        hop_length=melody.fft // 4,
        chunk_length=math.ceil(melody.seconds),
    )
