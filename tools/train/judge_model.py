"""The unseen scorer ("judge"): does the picture show what the caption says? Nothing is ever optimised for it.

It shares nothing with the reward: patches and depthwise convolutions (ConvNeXt, Liu et al. 2022) instead of residual blocks, recurrent reading of
the caption that looks at the picture word by word instead of a transformer over labels, no bottleneck, and another loss.
"""

import torch
import torch.nn as nn

from rendering import CELLS
from scenes import COLOURS
from shapes import OBJECTS


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.spread = nn.Conv2d(width, width, 5, 1, 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def forward(self, x):
        return x + self.mix(self.norm(self.spread(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class Glance(nn.Module):
    """Each word looks at the picture's cells once."""

    def __init__(self, width: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, words, cells):
        batch, length, width = words.shape

        def split(t):
            return t.reshape(batch, -1, self.heads, width // self.heads).transpose(1, 2)

        scores = split(self.query(words)) @ split(self.key(cells)).transpose(-1, -2) * (width // self.heads) ** -0.5
        return (scores.softmax(-1) @ split(self.value(cells))).transpose(1, 2).reshape(batch, length, width)


class Recurrent(nn.Module):
    """A gated recurrent unit (Cho et al. 2014) over the words, unrolled, so that it exports as plain arithmetic; padding keeps the state."""

    def __init__(self, width: int):
        super().__init__()
        self.inputs, self.gates, self.candidate = nn.Linear(width, 3 * width), nn.Linear(width, 2 * width), nn.Linear(width, width)

    def forward(self, words, mask, backwards: bool = False):
        batch, length, width = words.shape
        given = self.inputs(words)
        state = words[:, 0] * 0
        states = []
        for step in reversed(range(length)) if backwards else range(length):
            reset, update, new = given[:, step].chunk(3, -1)
            gates = self.gates(state)
            reset, update = torch.sigmoid(reset + gates[:, :width]), torch.sigmoid(update + gates[:, width:])
            new = torch.tanh(new + self.candidate(reset * state))
            update = update * mask[:, step, None]
            state = (1 - update) * state + update * new
            states.append(state)
        if backwards:
            states.reverse()
        return torch.stack(states, 1), state


class Judge(nn.Module):
    """forward(pixel_values [B, 3, 64, 64], input_ids [B, L <= 24] int64, attention_mask [B, L] int64) -> [B]: above 0 where the picture obeys."""

    def __init__(self, vocabulary: int, width: int = 112):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.fine = nn.Sequential(*(Block(width) for _ in range(4)))
        self.labels = nn.Conv2d(width, len(OBJECTS) + 1 + len(COLOURS) + 1, 1)
        self.join = nn.Conv2d(width, width, 2, 2)
        self.coarse = nn.Sequential(*(Block(width) for _ in range(3)))
        self.places = nn.Parameter(torch.randn((CELLS // 2) ** 2, width) * 0.02)
        self.cell_norm = nn.LayerNorm(width)
        self.words = nn.Embedding(vocabulary, width)
        self.forwards, self.backwards = Recurrent(width), Recurrent(width)
        self.glances = nn.ModuleList(Glance(width) for _ in range(3))
        self.thoughts = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.LayerNorm(width)) for _ in range(3)
        )
        self.readers = nn.ModuleList(Recurrent(width) for _ in range(3))
        self.verdict = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1))
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("std", torch.ones(1))

    def gather(self, fine):
        """Features of 16x16 cells [B, width, 16, 16] to what words look at: [B, 64, width]."""
        coarse = self.coarse(self.join(fine)).flatten(2).transpose(1, 2)
        return self.cell_norm(coarse + self.places)

    def read(self, input_ids, attention_mask, cells):
        mask = attention_mask.float()
        words = self.words(input_ids)
        words = words + self.forwards(words, mask)[0] + self.backwards(words, mask, True)[0]
        for glance, thought, reader in zip(self.glances, self.thoughts, self.readers):
            seen = thought(torch.cat([words, glance(words, cells)], -1))
            states, last = reader(words + seen, mask)
            words = words + states
        worst = (seen - 1e4 * (1 - mask[..., None])).amax(1)
        return (self.verdict(torch.cat([last, worst], -1))[:, 0] - self.mean) / self.std

    def forward(self, pixel_values, input_ids, attention_mask):
        return self.read(input_ids, attention_mask, self.gather(self.fine(self.patches(pixel_values))))
