"""SongEval's network: five ratings from the hidden states of a song, with the published weights' names."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

WIDTH, HIDDEN, HEADS, LAYERS = 1024, 4096, 8, 4
RATINGS = 5


class Network(nn.Module):
    """A perceptron of each frame, attention over all frames, and ratings of their mean and their maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.ffd = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))
        self.attn = nn.ModuleList(nn.MultiheadAttention(WIDTH, HEADS, batch_first=True) for _ in range(LAYERS))
        self.fc = nn.Linear(2 * WIDTH, RATINGS)

    def forward(self, states: Any) -> Any:
        """Ratings (songs, 5) between 1 and 5 of hidden states (songs, frames, 1024)."""
        frames = mixed = self.ffd(states)
        for attention in self.attn:
            mixed, _ = attention(mixed, mixed, mixed, need_weights=False)
        return 3 + 2 * self.fc(torch.cat([mixed.mean(1), frames.amax(1)], dim=1)).tanh()


def empty() -> Network:
    """The network on the CPU with no weights yet."""
    with torch.device("meta"):
        network = Network()
    return network.to_empty(device="cpu")
