"""The transformers of PaSST and HTS-AT without work that changes nothing: the same numbers in about half the time.

Only functions of modules that the packages built are replaced, so weights keep their names and the
packages' own code still runs around them.
"""

from __future__ import annotations

import types
from typing import Any

OUTPUTS = 2  # tokens that PaSST's last block is asked for: class and distillation


def speed_up_passt(model: Any) -> None:
    """Change a hear21passt model in place, for inference only.

    Its attention goes through torch's fused kernel, which never holds the (tokens, tokens) weights;
    the last block computes only the tokens that are read; and the mel filters, which the package
    makes anew in each forward, are made here.
    """
    for block in model.net.blocks:
        block.attn.forward = types.MethodType(_passt_attention, block.attn)
    last = model.net.blocks[-1]
    last.forward = types.MethodType(_last_block, last)
    model.mel.register_buffer("mel_basis", _passt_mel_basis(model.mel), persistent=False)
    model.mel.forward = types.MethodType(_passt_spectrogram, model.mel)


def _passt_attention(self: Any, tokens: Any, outputs: int | None = None) -> Any:
    """Attention of all tokens (n, tokens, width), or of the first few, to all."""
    from torch.nn import functional

    n, _, width = tokens.shape
    weight, bias = self.qkv.weight, self.qkv.bias
    queries = functional.linear(tokens[:, :outputs], weight[:width], bias[:width])
    keys_values = functional.linear(tokens, weight[width:], bias[width:])
    q = queries.view(n, -1, self.num_heads, width // self.num_heads).transpose(1, 2)
    k, v = keys_values.view(n, -1, 2, self.num_heads, width // self.num_heads).permute(2, 0, 3, 1, 4)
    mixed = functional.scaled_dot_product_attention(q, k, v)
    return self.proj(mixed.transpose(1, 2).reshape(n, -1, width))


def _last_block(self: Any, tokens: Any) -> Any:
    """A block's output for the first OUTPUTS tokens: (n, OUTPUTS, width)."""
    tokens = tokens[:, :OUTPUTS] + self.attn(self.norm1(tokens), OUTPUTS)
    return tokens + self.mlp(self.norm2(tokens))


def _passt_mel_basis(mel: Any) -> Any:
    import torch
    import torchaudio

    filters, _ = torchaudio.compliance.kaldi.get_mel_banks(
        mel.n_mels, mel.n_fft, float(mel.sr), mel.fmin, mel.fmax, vtln_low=100.0, vtln_high=-500.0, vtln_warp_factor=1.0
    )
    return torch.nn.functional.pad(filters, (0, 1))  # Kaldi leaves out the highest frequency


def _passt_spectrogram(self: Any, samples: Any) -> Any:
    """What AugmentMelSTFT.forward gives in eval mode: log-mel (n, bands, frames) of samples (n, samples)."""
    import torch

    emphasised = torch.nn.functional.conv1d(samples[:, None], self.preemphasis_coefficient)[:, 0]
    spectrum = torch.stft(
        emphasised, self.n_fft, self.hopsize, self.win_length, window=self.window, return_complex=True
    )
    power = torch.view_as_real(spectrum).square().sum(-1)
    return ((self.mel_basis @ power + 1e-5).log() + 4.5) / 5


def speed_up_htsat(branch: Any) -> None:
    """Change laion_clap's HTS-AT in place, for inference only.

    Its attention goes through torch's fused kernel, with the position bias and the mask of shifted
    windows added up once, and its weights, which nothing reads, are not averaged over blocks.
    """
    import torch

    for block in (block for layer in branch.layers for block in layer.blocks):
        attention = block.attn
        size = attention.window_size[0] * attention.window_size[1]
        with torch.no_grad():
            bias = attention.relative_position_bias_table[attention.relative_position_index.view(-1)]
            bias = bias.view(size, size, -1).permute(2, 0, 1)[None]  # (1, heads, size, size)
            if block.attn_mask is not None:
                bias = bias + block.attn_mask[:, None]  # (windows, heads, size, size)
        attention.register_buffer("bias", bias.contiguous(), persistent=False)
        attention.forward = types.MethodType(_htsat_attention, attention)


def _htsat_attention(self: Any, tokens: Any, mask: Any = None) -> Any:
    """Attention within windows (n * windows, size, width); `mask` is in the bias already."""
    from torch.nn import functional

    n, size, width = tokens.shape
    q, k, v = self.qkv(tokens).view(n, size, 3, self.num_heads, width // self.num_heads).permute(2, 0, 3, 1, 4)
    bias = self.bias if mask is None else self.bias.repeat(n // len(self.bias), 1, 1, 1)
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=self.scale)
    return self.proj(mixed.transpose(1, 2).reshape(n, size, width)), tokens.new_empty(0)
