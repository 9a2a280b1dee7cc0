"""Makes checkpoints with audiocraft and records what its models compute, for `test_audiocraft_lm.py`.

Run it only to make the fixtures anew, in the environment that `make_audiocraft_fixtures.py` describes (without
torchmetrics):

    OMP_NUM_THREADS=1 python -m tests.parity.make_audiocraft_lm_fixtures

The weights are seeded random ones at tiny sizes, and the checkpoints say so. audiocraft builds the models and writes
the files with its own functions; only the text encoder is taken from a folder instead of the hub, and the melody is
not separated into stems first.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import shutil
import sys
import types
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from evalkit.checkpoints.transformers import MADE_UP
from tests import parity

FIXTURES = Path(__file__).parent / "fixtures" / "audiocraft_lm"
RATE, HOP, CARD = 32000, 640, 64
FRAMES = 20  # of what is generated
KINDS = ("mono", "stereo", "melody", "delays")
CODECS = {"codec": FIXTURES / "mono", "causal codec": FIXTURES / "causal_codec"}
CAPTIONS = ("a slow piano", "fast drums and a distorted guitar, very loud")
DELAYS = [0, 2, 3, 7]  # of the codebooks of "delays"
FAR = (300, 1500)  # frames: 6 s and 30 s, the longest that MusicGen was trained on
LONG, STRIDE = 4.3, 1.2  # seconds of a clip of several windows
SECONDS = 2  # the clips that the models were trained on, as they say


def melody() -> np.ndarray:
    """A melody (samples,), a second long, so that its chromagram is repeated."""
    phase = 2 * np.pi * np.arange(RATE // 2) / RATE
    return np.concatenate([0.5 * np.sin(440 * phase), 0.3 * np.sin(587 * phase)]).astype(np.float32)


def sound() -> np.ndarray:
    """A sound (samples,) for the codec, not a whole number of frames long."""
    return parity.noise(RATE, 0.31)


def far_codes(codebooks: int) -> np.ndarray:
    """Codes (1, codebooks, frames) of a clip of 30 s."""
    return np.random.default_rng(5).integers(CARD, size=(1, codebooks, FAR[-1]))


def configuration(kind: str) -> dict[str, Any]:
    """The configuration of a training, in the sections and with the references that audiocraft's own ones have."""
    stereo, chroma = kind == "stereo", kind == "melody"
    n_q = 8 if stereo else 4
    delays = [k // 2 for k in range(8)] if stereo else DELAYS if kind == "delays" else [0, 1, 2, 3]
    description = {"t5": {"name": "t5-small", "finetune": False, "word_dropout": 0.3, "normalize_text": False}}
    conditioners: dict[str, Any] = {"description": {"model": "t5", **description}}
    if chroma:
        stem = {"sample_rate": "${sample_rate}", "n_chroma": 12, "radix2_exp": 12, "argmax": True}
        stem |= {"match_len_on_eval": False, "eval_wavs": None, "n_eval_wavs": 100, "cache_path": None}
        conditioners = {"self_wav": {"model": "chroma_stem", "chroma_stem": stem}, **conditioners}
    return {
        MADE_UP[0]: MADE_UP[1],
        "solver": "musicgen",
        "device": "cpu",
        "dtype": "float32",
        "sample_rate": RATE,
        "channels": 2 if stereo else 1,
        "compression_model_checkpoint": "//pretrained/facebook/encodec_32khz",
        "compression_model_n_q": None,
        "interleave_stereo_codebooks": {"use": stereo, "per_timestep": False},
        "dataset": {"segment_duration": SECONDS, "batch_size": 2},
        "lm_model": "transformer_lm",
        "codebooks_pattern": {
            "modeling": "delay",
            "delay": {"delays": delays, "flatten_first": 0, "empty_initial": 0},
            "unroll": {"flattening": [0, 1, 2, 3], "delays": [0, 0, 0, 0]},
        },
        "transformer_lm": {
            "dim": 32, "num_heads": 4, "num_layers": 2, "hidden_scale": 2, "n_q": n_q, "card": CARD,
            "dropout": 0.0, "emb_lr": None, "activation": "gelu", "norm_first": True,
            "bias_ff": False, "bias_attn": False, "bias_proj": False, "past_context": None, "causal": True,
            # both ways in which audiocraft names the tensors of attention
            "custom": False, "memory_efficient": kind in ("mono", "melody"), "attention_as_float32": False,
            "layer_scale": None, "positional_embedding": "sin", "xpos": False, "checkpointing": "none",
            "weight_init": "gaussian", "depthwise_init": "current", "zero_bias_init": True, "norm": "layer_norm",
            "cross_attention": False, "qk_layer_norm": False, "qk_layer_norm_cross": False,
            "attention_dropout": None, "kv_repeat": 1, "two_step_cfg": False,
        },
        "classifier_free_guidance": {"training_dropout": 0.3, "inference_coef": 3.0},
        "attribute_dropout": {},
        "fuser": {
            "cross_attention_pos_emb": False, "cross_attention_pos_emb_scale": 1, "sum": [], "input_interpolate": [],
            "prepend": ["self_wav", "description"] if chroma else [], "cross": [] if chroma else ["description"],
        },
        "conditioners": conditioners,
        "optim": {"epochs": 2, "updates_per_epoch": 10, "ema": {"use": True, "updates": "${optim.updates_per_epoch}"}},
        "fsdp": {"use": False},
    }  # fmt: skip


def codec_configuration(causal: bool) -> dict[str, Any]:
    """The configuration of the training of a codec, with audiocraft's sections and references.

    As that of MusicGen, or with all that transformers' EnCodec also has.
    """
    return {
        MADE_UP[0]: MADE_UP[1],
        "device": "cpu",
        "sample_rate": RATE,
        "channels": 1,
        "compression_model": "encodec",
        "encodec": {
            "autoencoder": "seanet", "quantizer": "rvq", "sample_rate": "${sample_rate}", "channels": "${channels}",
            "causal": causal, "renormalize": False,
        },
        "seanet": {
            "dimension": 12, "channels": "${channels}", "causal": "${encodec.causal}", "n_filters": 2,
            "n_residual_layers": 2 if causal else 1, "ratios": [8, 5, 4, 4],
            "activation": "ELU", "activation_params": {"alpha": 1.0}, "norm": "weight_norm", "norm_params": {},
            "kernel_size": 7, "residual_kernel_size": 3, "last_kernel_size": 7, "dilation_base": 2,
            "pad_mode": "reflect" if causal else "constant", "true_skip": not causal, "compress": 2,
            "lstm": 2, "disable_norm_outer_blocks": 0, "encoder": {},
            "decoder": {
                "trim_right_ratio": 0.5 if causal else 1.0, "final_activation": None, "final_activation_params": None,
            },
        },
        "rvq": {
            "n_q": 4, "q_dropout": False, "bins": CARD, "decay": 0.99, "kmeans_init": True, "kmeans_iters": 50,
            "threshold_ema_dead_code": 2, "orthogonal_reg_weight": 0.0, "orthogonal_reg_active_codes_only": False,
        },
    }  # fmt: skip


def stand_ins() -> None:
    """Modules for packages that audiocraft imports, with what of them its models use on a CPU."""
    import torch

    for name in ("av", "spacy", "xformers", "xformers.ops", "demucs", "demucs.pretrained"):
        sys.modules[name] = types.ModuleType(name)
    ops, pretrained = sys.modules["xformers.ops"], sys.modules["demucs.pretrained"]
    ops.__dict__.update(unbind=torch.unbind, LowerTriangularMask=object, memory_efficient_attention=None)
    sys.modules["xformers"].__dict__.update(ops=ops)
    demucs = torch.nn.Module()
    demucs.sources = ["drums", "bass", "other", "vocals"]
    pretrained.get_model = lambda _: demucs  # type: ignore[attr-defined]
    sys.modules["demucs"].pretrained = pretrained  # type: ignore[attr-defined]


def write_text_encoder(folder: Path) -> None:
    """Write a tiny T5 and its tokenizer, in transformers' layout."""
    import transformers

    from evalkit.models import tiny

    tokenizer = tiny._tokenizer()
    config = transformers.T5Config(vocab_size=len(tokenizer), d_model=24, d_kv=12, d_ff=48, num_layers=1, num_heads=2)
    network = transformers.T5EncoderModel(config)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def conditions(caption: str, wav: np.ndarray | None, chroma: bool) -> Any:
    """One clip's conditions, as audiocraft's MusicGen prepares them."""
    import torch
    from audiocraft.modules.conditioners import ConditioningAttributes, WavCondition

    result = ConditioningAttributes(text={"description": caption})
    if chroma:
        samples = torch.zeros(1, 1, 1) if wav is None else torch.from_numpy(wav)[None, None]
        length = 0 if wav is None else samples.shape[-1]
        result.wav["self_wav"] = WavCondition(samples, torch.tensor([length]), [RATE], [None], [0.0])
    return result


def record(kind: str, lm: Any) -> dict[str, np.ndarray]:
    """Logits of given codes, some far into a clip, and greedy tokens with and without guidance, for each caption alone.

    Alone, because audiocraft does not mask the padding of text in a batch, and transformers does.
    """
    import torch

    arrays: dict[str, np.ndarray] = {}
    for frames in FAR:
        codes = torch.from_numpy(far_codes(lm.n_q))[..., :frames]
        condition = conditions(CAPTIONS[0], None, kind == "melody")
        with torch.no_grad():
            output = lm.compute_predictions(codes, [condition], keep_only_valid_steps=False)
        arrays[f"{kind}/far {frames}"] = output.logits[:, :, -FRAMES:].numpy()
    for i, caption in enumerate(CAPTIONS):
        given = melody() if kind == "melody" and i == 0 else None
        condition = conditions(caption, given, kind == "melody")
        codes = torch.randint(CARD, (1, lm.n_q, FRAMES))
        with torch.no_grad():
            output = lm.compute_predictions(codes, [condition], keep_only_valid_steps=False)
        assert output.mask.all()
        arrays |= {f"{kind}/{i}/codes": codes.numpy().astype(np.uint8), f"{kind}/{i}/logits": output.logits.numpy()}
        for scale in (1, 3):
            tokens = lm.generate(None, [condition], max_gen_len=FRAMES, use_sampling=False, cfg_coef=float(scale))
            arrays[f"{kind}/{i}/greedy {scale}"] = tokens.numpy().astype(np.uint8)
    return arrays


def windows(kind: str, lm: Any) -> dict[str, np.ndarray]:
    """Greedy tokens of a clip that audiocraft extends window by window, from nothing and from given codes."""
    import torch
    from audiocraft.models.musicgen import MusicGen

    codec = torch.nn.Module()
    codec.__dict__.update(frame_rate=RATE / HOP, sample_rate=RATE, channels=1)
    model = MusicGen("tiny", codec, lm, max_duration=30)
    model.max_duration = SECONDS  # it does not start with less than its default stride
    model.set_generation_params(use_sampling=False, duration=LONG, extend_stride=STRIDE, cfg_coef=3.0)
    wav = melody() if kind == "melody" else None
    given = torch.randint(CARD, (1, lm.n_q, FRAMES))
    arrays = {f"{kind}/given": given.numpy().astype(np.uint8)}
    for name, prompt in (("windows", None), ("continued", given)):
        condition = conditions(CAPTIONS[0], wav, True)  # MusicGen gives every model an empty melody
        arrays[f"{kind}/{name}"] = model._generate_tokens([condition], prompt).numpy().astype(np.uint8)
    return arrays


def solver_state(cfg: Any, lm: Any) -> dict[str, Any]:
    """What audiocraft's solver saves: the last weights, an average of them (EMA), and the average as the best state."""
    import torch
    from audiocraft.optim import ModuleDictEMA
    from audiocraft.utils.best_state import BestStateDictManager

    best = BestStateDictManager()
    best.register("model", lm)
    last = {key: value + 0.1 for key, value in lm.state_dict().items()}
    ema = ModuleDictEMA(torch.nn.ModuleDict({"model": lm}))
    optimizer = torch.optim.AdamW(lm.parameters())
    return {
        "history": [{"train": {"ce": 4.2}, "valid": {"ce": np.float64(4.1)}}],
        "xp.cfg": cfg,
        "xp.sig": "0a1b2c3d",
        "best_state": best.state_dict(),
        "fsdp_best_state": {},
        "model": last,
        "optimizer": optimizer.state_dict(),
        "ema": ema.state_dict(),
    }


def make_codec(folder: Path, cfg: Any) -> Any:
    """Write a codec as audiocraft exports it."""
    import torch
    from audiocraft.models.builders import get_compression_model
    from audiocraft.utils.export import export_encodec

    codec = get_compression_model(cfg).eval()
    with torch.no_grad():
        for layer in codec.quantizer.vq.layers:
            layer._codebook.embed.normal_()
            layer._codebook.inited.fill_(1)
        for part in (codec.encoder, codec.decoder):
            for name, parameter in part.named_parameters():
                if "weight_g" in name:
                    parameter.mul_(2)  # so that the sound is not drowned in biases
    torch.save({"best_state": {"model": codec.state_dict()}, "xp.cfg": cfg}, folder / "checkpoint.th")
    export_encodec(folder / "checkpoint.th", folder / "compression_state_dict.bin")
    (folder / "checkpoint.th").unlink()
    return codec


def record_codec(kind: str, codec: Any) -> dict[str, np.ndarray]:
    """What a codec decodes, mono and stereo, and encodes."""
    import torch
    from audiocraft.models.encodec import InterleaveStereoCompressionModel

    wave = torch.from_numpy(sound())[None, None]
    codes = torch.randint(CARD, (1, 4, FRAMES // 2))
    stereo = torch.randint(CARD, (1, 8, FRAMES // 2))
    with torch.no_grad():
        return {
            f"{kind}/codes": codes.numpy().astype(np.uint8),
            f"{kind}/decoded": codec.decode(codes).numpy(),
            f"{kind}/encoded": codec.encode(wave)[0].numpy().astype(np.uint8),
            f"{kind}/stereo codes": stereo.numpy().astype(np.uint8),
            f"{kind}/stereo decoded": InterleaveStereoCompressionModel(codec).decode(stereo).numpy(),
        }


def main() -> None:
    from evalkit import compat

    compat.prepare()
    compat.laion_clap()
    stand_ins()
    import torch
    import transformers
    from audiocraft.models.builders import get_lm_model
    from audiocraft.modules import conditioners
    from audiocraft.utils.export import export_lm, export_pretrained_compression_model
    from omegaconf import OmegaConf

    shutil.rmtree(FIXTURES, ignore_errors=True)
    for kind in KINDS:
        (FIXTURES / kind).mkdir(parents=True)
    torch.manual_seed(0)
    text = FIXTURES / "t5"
    write_text_encoder(text)
    tokenizer = transformers.AutoTokenizer.from_pretrained(text)
    encoder = transformers.T5EncoderModel.from_pretrained(text)

    def as_wav(_: Any, wav: Any, __: int) -> Any:
        return wav.mean(1, keepdim=True)

    with (
        patch.object(conditioners.T5Tokenizer, "from_pretrained", lambda _: tokenizer),
        patch.object(conditioners.T5EncoderModel, "from_pretrained", lambda _: encoder),
        patch.dict(conditioners.T5Conditioner.MODELS_DIMS, {"t5-small": encoder.config.d_model}),
        patch.object(conditioners.ChromaStemConditioner, "_get_stemmed_wav", as_wav),
        # audiocraft loads with what was torch's default then
        patch.object(torch, "load", functools.partial(torch.load, weights_only=False)),
    ):
        arrays: dict[str, np.ndarray] = {}
        for kind, folder in CODECS.items():
            folder.mkdir(exist_ok=True)
            codec = make_codec(folder, OmegaConf.create(codec_configuration(causal=kind == "causal codec")))
            arrays |= record_codec(kind, codec)
        for kind in KINDS:
            folder = FIXTURES / kind
            cfg = OmegaConf.create(configuration(kind))
            lm = get_lm_model(cfg).eval()
            if kind == "melody":  # as MusicGen.get_pretrained does
                wav = lm.condition_provider.conditioners["self_wav"]
                wav.match_len_on_eval, wav._use_masking = True, False
                with torch.no_grad():
                    samples = torch.from_numpy(melody())[None]
                    arrays["melody/chroma"] = wav.chroma(samples).argmax(-1).numpy().astype(np.uint8)
            with torch.no_grad():
                for parameter in lm.parameters():
                    parameter.mul_(1.5)  # so that captions change the choice of tokens
                    if parameter.dim() == 1:  # else all norms would be the same
                        parameter.add_(0.3 * torch.randn_like(parameter))
            arrays |= record(kind, lm) | windows(kind, lm)
            torch.save(solver_state(cfg, lm), folder / "checkpoint.th")
            if kind == "delays":  # stays a Dora experiment
                (folder / ".hydra").mkdir()
                OmegaConf.save(cfg, folder / ".hydra" / "config.yaml")
                continue
            export_lm(folder / "checkpoint.th", folder / "state_dict.bin")
            (folder / "checkpoint.th").unlink()
            if kind != "mono":
                export_pretrained_compression_model("facebook/encodec_32khz", folder / "compression_state_dict.bin")
    np.savez_compressed(FIXTURES / "values.npz", **arrays)
    versions = {name: importlib.metadata.version(name) for name in ("audiocraft", "torch", "transformers")}
    (FIXTURES / "versions.json").write_text(json.dumps(versions, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
