"""audiocraft's EnCodec as transformers' EncodecModel: its configuration, and which tensor goes where."""

from __future__ import annotations

import re
from typing import Any

from evalkit.checkpoints.audiocraft.layout import Section, assign, require


def network_of(name: str, config: dict[str, Any], weights: dict[str, Any], codebooks: int) -> Any:
    """Make transformers' EnCodec from a checkpoint's configuration and weights, with its first `codebooks` codebooks.

    Raises EvalkitError for an EnCodec of another kind than transformers', and for tensors that do not fit.
    """
    import transformers
    from transformers.initialization import no_init_weights

    values = _config(name, config)
    network_config = transformers.EncodecConfig(**values)
    available = Section(config.get("rvq"), "rvq", []).number("n_q")
    restrict(name, network_config, codebooks, available)
    with no_init_weights():  # all weights are filled in below, or an error
        network = transformers.EncodecModel(network_config)
    unused = tuple(f"quantizer.vq.layers.{k}." for k in range(codebooks, available))
    spelled = {
        key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for key, tensor in weights.items()
        if not key.startswith(unused)
    }
    assign(f"{name}: the codec", network, _tensors(network), spelled)
    return network


def restrict(name: str, config: Any, codebooks: int, available: int) -> None:
    """Set the bit rate at which transformers' EnCodec uses `codebooks` codebooks, and has no others."""
    if available < codebooks:
        require(name, [f"{codebooks} codebooks per channel where its codec has {available}"])
    # transformers counts codebooks by the bit rate, rounded down
    config.target_bandwidths = [codebooks * config.codebook_nbits * config.frame_rate / 1000]
    if config.num_quantizers != codebooks:
        config.target_bandwidths = [(codebooks + 0.01) * config.codebook_nbits * config.frame_rate / 1000]


def _config(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Read the configuration, with audiocraft's defaults (modules/seanet.py, models/encodec.py)."""
    problems: list[str] = []
    top = Section({key: value for key, value in config.items() if key == "compression_model"}, "", problems)
    top.one_of("compression_model", ["encodec"], None)
    encodec = Section(config.get("encodec"), "encodec", problems)
    encodec.one_of("autoencoder", ["seanet"], None)
    encodec.one_of("quantizer", ["rvq"], None)
    encodec.one_of("channels", [1], None)
    encodec.one_of("renormalize", [False], False)
    rate, causal = encodec.number("sample_rate"), encodec.one_of("causal", [True, False], False)
    encodec.ignore("renorm")
    encodec.close()

    seanet = Section(config.get("seanet"), "seanet", problems)
    for part in ("encoder", "decoder"):
        own = Section(seanet.values.pop(part, None), f"seanet.{part}", problems)
        if part == "decoder":
            trim = own.values.pop("trim_right_ratio", 1.0) if causal else own.one_of("trim_right_ratio", [1.0], 1.0)
        own.one_of("final_activation", [None], None)
        own.ignore("final_activation_params")
        own.close()
    seanet.one_of("channels", [1], 1)
    seanet.one_of("causal", [causal], False)
    seanet.one_of("activation", ["ELU"], "ELU")
    seanet.one_of("activation_params", [{"alpha": 1.0}], {"alpha": 1.0})
    seanet.one_of("norm_params", [{}, None], {})
    seanet.one_of("disable_norm_outer_blocks", [0], 0)
    ratios = seanet.values.pop("ratios", [8, 5, 4, 2])
    if not isinstance(ratios, list) or not all(type(ratio) is int and ratio > 0 for ratio in ratios):
        seanet.refuse("ratios", ratios)
    rvq = Section(config.get("rvq"), "rvq", problems)
    dimension = seanet.number("dimension")
    bins = rvq.number("bins")
    if bins & (bins - 1):
        rvq.refuse("bins", bins)
    values = {
        "sampling_rate": rate,
        "audio_channels": 1,
        "hidden_size": dimension,
        "codebook_dim": dimension,
        "codebook_size": bins,
        "num_filters": seanet.number("n_filters"),
        "num_residual_layers": seanet.number("n_residual_layers"),
        "upsampling_ratios": ratios,
        "norm_type": seanet.one_of("norm", ["weight_norm", "time_group_norm"], "none"),
        "kernel_size": seanet.number("kernel_size"),
        "last_kernel_size": seanet.number("last_kernel_size"),
        "residual_kernel_size": seanet.number("residual_kernel_size"),
        "dilation_growth_rate": seanet.number("dilation_base"),
        "use_causal_conv": causal,
        "pad_mode": seanet.one_of("pad_mode", ["constant", "reflect", "replicate"], "reflect"),
        "compress": seanet.number("compress"),
        "num_lstm_layers": seanet.number("lstm"),
        "trim_right_ratio": trim,
        "use_conv_shortcut": not seanet.one_of("true_skip", [True, False], True),
    }
    seanet.close()
    require(f"{name}: the codec", problems)
    return values


def _tensors(network: Any) -> dict[str, tuple[str, ...]]:
    """For each of audiocraft's tensors, the one of transformers' that it holds."""
    upsampling = {key for key, module in network.named_modules() if type(module).__name__ == "EncodecConvTranspose1d"}
    table: dict[str, tuple[str, ...]] = {}
    for key in network.state_dict():
        old = key
        if layer := re.fullmatch(r"((?:encoder|decoder)\.layers\..+?)\.(conv|norm)\.(.+)", key):
            convolution = "convtr" if layer[1] in upsampling else "conv"
            inner = convolution if layer[2] == "conv" else "norm"
            old = f"{layer[1]}.{convolution}.{inner}.{layer[3]}"
        old = re.sub(r"^(encoder|decoder)\.layers\.", r"\1.model.", old)
        old = old.replace("parametrizations.weight.original0", "weight_g")
        old = old.replace("parametrizations.weight.original1", "weight_v")
        old = re.sub(r"^quantizer\.layers\.(\d+)\.codebook\.", r"quantizer.vq.layers.\1._codebook.", old)
        table[old] = (key,)
    return table
