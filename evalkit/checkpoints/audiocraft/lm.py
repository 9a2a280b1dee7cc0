"""audiocraft's language model as a decoder of transformers' MusicGen: configuration and names of tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from evalkit.checkpoints.audiocraft.layout import Section, require

PROVIDER = "condition_provider.conditioners"


@dataclass(frozen=True)
class Melody:
    """How a melody model reads chromagrams; the window is of `fft` samples, and four of its hops long."""

    rate: int
    pitches: int
    fft: int
    seconds: float

    @property
    def frames(self) -> int:
        return 1 + int(self.rate * self.seconds) // (self.fft // 4)


@dataclass(frozen=True)
class LM:
    """What a checkpoint's configuration says of its language model.

    Attributes:
        text_encoder: audiocraft's name of the T5, such as t5-base.
        finetuned: whether the checkpoint has its own weights of the T5.
        delays: of each codebook, in frames.
        seconds: how long the clips are that it was trained on.
    """

    hidden: int
    heads: int
    layers: int
    ffn: int
    codebooks: int
    vocabulary: int
    activation: str
    channels: int
    rate: int
    delays: tuple[int, ...]
    text_encoder: str
    finetuned: bool
    melody: Melody | None
    seconds: float

    def decoder_config(self, frame_rate: float) -> Any:
        """The configuration of transformers' decoder, whose positions last as long as the clips of the training."""
        import transformers

        kind = transformers.MusicgenMelodyDecoderConfig if self.melody else transformers.MusicgenDecoderConfig
        config = kind(
            vocab_size=self.vocabulary,
            max_position_embeddings=max(2048, math.ceil(self.seconds * frame_rate) + max(self.delays) + 1),
            num_hidden_layers=self.layers,
            ffn_dim=self.ffn,
            num_attention_heads=self.heads,
            activation_function=self.activation,
            hidden_size=self.hidden,
            num_codebooks=self.codebooks,
            audio_channels=self.channels,
            pad_token_id=self.vocabulary,
            bos_token_id=self.vocabulary,
        )
        config.segment_duration = self.seconds
        if list(self.delays) != [k // self.channels for k in range(self.codebooks)]:
            config.codebook_delays = list(self.delays)
        return config

    def tensors(self) -> dict[str, tuple[str, ...]]:
        """For each of audiocraft's tensors, those of transformers' that it holds."""
        model = "decoder.model.decoder"
        table: dict[str, tuple[str, ...]] = {}
        for k in range(self.codebooks):
            table[f"emb.{k}.weight"] = (f"{model}.embed_tokens.{k}.weight",)
            table[f"linears.{k}.weight"] = (f"decoder.lm_heads.{k}.weight",)
        norms = {"norm1": "self_attn_layer_norm", "norm2": "final_layer_norm"}
        attentions = {"self_attn": "self_attn"}
        if self.melody is None:
            norms["norm_cross"] = "encoder_attn_layer_norm"
            attentions["cross_attention"] = "encoder_attn"
        for i in range(self.layers):
            ours, theirs = f"transformer.layers.{i}", f"{model}.layers.{i}"
            for old, new in attentions.items():
                table[f"{ours}.{old}.in_proj_weight"] = tuple(f"{theirs}.{new}.{x}_proj.weight" for x in "qkv")
                table[f"{ours}.{old}.out_proj.weight"] = (f"{theirs}.{new}.out_proj.weight",)
            for old, new in {"linear1": "fc1", "linear2": "fc2"}.items():
                table[f"{ours}.{old}.weight"] = (f"{theirs}.{new}.weight",)
            for old, new in norms.items():
                table |= {f"{ours}.{old}.{x}": (f"{theirs}.{new}.{x}",) for x in ("weight", "bias")}
        projections = {"description": "enc_to_dec_proj"}
        if self.melody is not None:
            projections["self_wav"] = "audio_enc_to_dec_proj"
        for x in ("weight", "bias"):
            table[f"out_norm.{x}"] = (f"{model}.layer_norm.{x}",)
            table |= {f"{PROVIDER}.{old}.output_proj.{x}": (f"{new}.{x}",) for old, new in projections.items()}
        return table


def split(weights: dict[str, Any], finetuned: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors under the names of `LM.tensors`, and, if the T5 was trained too, its own."""
    text = f"{PROVIDER}.description.t5."
    own, encoder = {}, {}
    for key, tensor in weights.items():
        if finetuned and key.startswith(text):
            encoder[key.removeprefix(text)] = tensor
        elif key != f"{PROVIDER}.self_wav.chroma.spec.window":  # of the chromagram: no weight
            own[key.replace(".mha.", ".")] = tensor  # PyTorch's own attention is one level deeper
    return own, encoder


def read(name: str, config: dict[str, Any]) -> LM:
    """Read the configuration of a language model, with audiocraft's defaults (models/lm.py, modules/transformer.py).

    Raises EvalkitError for whatever transformers' modules do not compute, with its name and value.
    """
    problems: list[str] = []
    top = Section({key: value for key, value in config.items() if not isinstance(value, (dict, list))}, "", problems)
    top.one_of("lm_model", ["transformer_lm"], None)
    rate = top.number("sample_rate")
    stereo = Section(config.get("interleave_stereo_codebooks"), "interleave_stereo_codebooks", problems)
    channels = 2 if stereo.one_of("use", [True, False], False) is True else 1
    if channels == 2:
        stereo.one_of("per_timestep", [False], False)
    stereo.ignore("per_timestep")
    stereo.close()
    top.one_of("channels", [channels], channels)
    dataset = Section(config.get("dataset"), "dataset", problems)
    seconds = dataset.values.get("segment_duration") or 30
    if type(seconds) not in (int, float) or not 0 < seconds < 3600:
        dataset.refuse("segment_duration", seconds)
        seconds = 30

    transformer = Section(config.get("transformer_lm"), "transformer_lm", problems)
    hidden, codebooks = transformer.number("dim"), transformer.number("n_q")
    if codebooks % channels:
        transformer.refuse("n_q", codebooks)
    scale = transformer.values.pop("hidden_scale", 4)
    if type(scale) not in (int, float) or scale <= 0:
        transformer.refuse("hidden_scale", scale)
        scale = 1
    modeling = transformer.values.pop("q_modeling", None)
    lm = LM(
        hidden=hidden,
        heads=transformer.number("num_heads"),
        layers=transformer.number("num_layers"),
        ffn=int(scale * hidden),
        codebooks=codebooks,
        vocabulary=transformer.number("card"),
        activation=transformer.one_of("activation", ["gelu", "relu"], "relu"),
        channels=channels,
        rate=rate,
        delays=_delays(config, codebooks, modeling, problems),
        seconds=float(seconds),
        **_conditions(config, float(seconds), problems),
    )
    for key, allowed, default in [
        ("norm", "layer_norm", "layer_norm"),
        ("norm_first", True, False),
        ("bias_proj", False, True),
        ("bias_ff", False, True),
        ("bias_attn", False, True),
        ("causal", True, False),
        ("past_context", None, None),
        ("layer_scale", None, None),
        ("positional_embedding", "sin", "sin"),
        ("positional_scale", 1, 1),
        ("max_period", 10000, 10000),
        ("qk_layer_norm", False, False),
        ("qk_layer_norm_cross", False, False),
        ("kv_repeat", 1, 1),
    ]:
        transformer.one_of(key, [allowed], default)
    transformer.ignore(
        *("dropout", "attention_dropout", "emb_lr", "lr", "weight_decay", "weight_init", "depthwise_init"),
        *("zero_bias_init", "custom", "memory_efficient", "attention_as_float32", "checkpointing", "xpos"),
        *("cross_attention", "two_step_cfg", "cfg_dropout", "cfg_coef", "attribute_dropout", "device", "dtype"),
    )
    transformer.close()
    require(name, problems)
    return lm


def _delays(config: dict[str, Any], codebooks: int, modeling: str | None, problems: list[str]) -> tuple[int, ...]:
    patterns = Section(config.get("codebooks_pattern"), "codebooks_pattern", problems).values
    kind = str(patterns.get("modeling") or modeling)
    pattern = Section(patterns.get(kind), f"codebooks_pattern.{kind}", problems)
    usual = [0] * codebooks if kind == "parallel" else list(range(codebooks))
    if kind not in ("delay", "parallel"):
        problems.append(f"codebooks_pattern.modeling={kind}")
        return tuple(usual)
    delays = pattern.values.pop("delays", None)
    if delays is None or not patterns.get("modeling"):
        delays = usual
    pattern.one_of("flatten_first", [0], 0)
    pattern.one_of("empty_initial", [0], 0)
    if not isinstance(delays, list) or len(delays) != codebooks or not all(type(d) is int and d >= 0 for d in delays):
        pattern.refuse("delays", delays)
        return tuple(usual)
    return tuple(delays)


def _conditions(config: dict[str, Any], seconds: float, problems: list[str]) -> dict[str, Any]:
    """Read text and melody conditioners, and check that they are fused as transformers does."""
    given = Section(config.get("conditioners"), "conditioners", problems)
    given.ignore("args")
    conditioners = {key: Section(value, f"conditioners.{key}", problems).values for key, value in given.values.items()}
    kinds = {key: values.get("model") for key, values in conditioners.items()}
    melody = "self_wav" in kinds
    wanted = {"description": "t5", "self_wav": "chroma_stem"} if melody else {"description": "t5"}
    if kinds != wanted:
        problems.append(f"conditioners={kinds or None}")
    fuser = Section(config.get("fuser"), "fuser", problems)
    for method in ("sum", "input_interpolate", "cross", "prepend"):
        names = fuser.names(method)
        due = sorted(wanted) if method == ("prepend" if melody else "cross") else []
        if names != due:
            fuser.refuse(method, names)
    fuser.one_of("cross_attention_pos_emb", [False], False)
    fuser.ignore("cross_attention_pos_emb_scale")
    fuser.close()

    t5 = Section(conditioners.get("description", {}).get("t5"), "conditioners.description.t5", problems)
    name, finetuned = t5.values.pop("name", None), t5.one_of("finetune", [True, False], False)
    t5.one_of("normalize_text", [False], False)
    t5.ignore("word_dropout", "autocast_dtype")
    t5.close()
    read = {"text_encoder": str(name), "finetuned": bool(finetuned), "melody": None}
    if melody:
        chroma = Section(conditioners["self_wav"].get("chroma_stem"), "conditioners.self_wav.chroma_stem", problems)
        chroma.one_of("argmax", [True], False)
        # how training fills up short melodies; audiocraft generates with whole ones
        chroma.ignore("match_len_on_eval", "eval_wavs", "n_eval_wavs", "cache_path")
        exponent = chroma.one_of("radix2_exp", range(6, 21), None)
        fft = 2**exponent if exponent in range(6, 21) else 1
        read["melody"] = Melody(chroma.number("sample_rate"), chroma.number("n_chroma"), fft, seconds)
        chroma.close()
    return read
