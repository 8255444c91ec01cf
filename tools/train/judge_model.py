"""The unseen scorer ("judge"): does the picture show what the caption says? Nothing is ever optimized for it.

It judges as GenEval does (Ghosh et al. 2023, arXiv 2310.11513): a detector finds objects, colours, their
number and place, and rules compare them with the caption. It shares nothing with the reward: patches and
depthwise convolutions (ConvNeXt, Liu et al. 2022) instead of residual blocks, a fixed grammar of captions
instead of a transformer, and another loss, seed and set of pictures.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from rendering import CELLS
from scenes import BACKGROUNDS, COLOURS, NUMBERS, PLACES, RELATIONS, plural
from shapes import OBJECTS

KINDS, HUES = len(OBJECTS), len(COLOURS)


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.spread = nn.Conv2d(width, width, 7, 1, 3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def forward(self, x):
        return x + self.mix(self.norm(self.spread(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class Detector(nn.Module):
    """Logits of the 16x16 cells of pictures [B, 3, 64, 64] in [-1, 1].

    objects [B, 25, 16, 16], colours [B, 12, 16, 16], centres [B, 1, 16, 16]; place [B, 20].
    """

    def __init__(self, width: int = 96, blocks: int = 6):
        super().__init__()
        self.patches = nn.Sequential(nn.Conv2d(3, width, 6, 4, 1), nn.GroupNorm(1, width))
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))
        self.labels = nn.Conv2d(width, KINDS + 1 + HUES + 1 + 1, 1)
        self.place = nn.Linear(width, len(BACKGROUNDS) + 1)

    def forward(self, pixel_values):
        features = self.blocks(self.patches(pixel_values))
        return *self.labels(features).split([KINDS + 1, HUES + 1, 1], 1), self.place(features.mean((2, 3)))


class Grammar(nn.Module):
    """Reads from the tokens of a caption what it requires. Unknown words require nothing."""

    def __init__(self, vocabulary: int):
        super().__init__()
        for name, size in (
            ("kind", KINDS),
            ("colour", HUES),
            ("number", len(NUMBERS)),
            ("place", len(PLACES)),
            ("relation", len(RELATIONS)),
            ("background", 1),
        ):
            self.register_buffer(name, torch.zeros(vocabulary, size))

    def learn(self, tokenizer) -> None:
        """Fills the tables. Each of these words is one token."""

        def put(table: torch.Tensor, column: int, word: str) -> None:
            (token,) = tokenizer(word, add_special_tokens=False)["input_ids"]
            table[token, column] = 1

        for column, name in enumerate(OBJECTS):
            put(self.kind, column, name)
            put(self.kind, column, plural(name))
        for column, name in enumerate(COLOURS):
            put(self.colour, column, name)
        for column, name in enumerate(NUMBERS.values()):
            put(self.number, column, name)
        for column, text in enumerate(PLACES.values()):
            put(self.place, column, text.split()[-1])
        for column, name in enumerate(RELATIONS):
            put(self.relation, column, name)
        put(self.background, 0, "background")

    def forward(self, input_ids):
        """Requirements of captions; zeros: the caption does not require it.

        Kinds [B, 2, 24] and colours [B, 2, 11] of the first and second object, numbers [B, 4],
        places [B, 19], relations [B, 4].
        """
        kind, colour = self.kind[input_ids], self.colour[input_ids]
        before = F.pad(colour, (0, 0, 1, 0))[:, :-1]  # the colour before a word belongs to it
        names = kind.amax(-1)
        order = names.cumsum(1)
        things = torch.stack([names * (order == 1), names * (order == 2)], 1)
        backdrop = (before * self.background[input_ids]).amax(1)
        places = torch.cat([self.place[input_ids].amax(1), backdrop], -1)
        return (
            things @ kind,
            things @ before,
            self.number[input_ids].amax(1),
            places,
            self.relation[input_ids].amax(1),
        )


FEATURES = 20


class Judge(nn.Module):
    """forward(pixel_values [B, 3, 64, 64], input_ids [B, L <= 24] int64, attention_mask [B, L] int64) -> [B]:
    above 0 if the picture obeys.
    """

    def __init__(self, vocabulary: int, width: int = 48):
        super().__init__()
        self.detector, self.grammar = Detector(), Grammar(vocabulary)
        self.rules = nn.Sequential(
            nn.Linear(FEATURES, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
        )
        row = torch.linspace(-1, 1, CELLS)
        self.register_buffer(
            "grid",
            torch.stack([row[None].expand(CELLS, -1), row[:, None].expand(-1, CELLS)]).reshape(2, -1),
            persistent=False,
        )
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("std", torch.ones(1))

    def compare(self, detected, input_ids):
        """Features [B, FEATURES] that compare the caption with the detections."""
        objects, colours, centres, place = detected
        kinds, hues, numbers, places, relations = self.grammar(input_ids)
        p, hue = objects.softmax(1).flatten(2)[:, 1:], colours.softmax(1).flatten(2)[:, 1:]
        # Amount of each kind near each cell. A centre may lie in a hole of its object.
        near = F.avg_pool2d(p.unflatten(2, (CELLS, CELLS)), 3, 1, 1).flatten(2)
        near = near / (near.sum(1, keepdim=True) + 0.05)
        many = (near * centres.sigmoid().flatten(2)).sum(-1)  # [B, 24]
        mine = kinds @ p  # [B, 2, 256]: cells of the first and of the second thing
        area = mine.sum(-1)
        share = mine / (area[..., None] + 0.5)
        right = (share * (hues @ hue)).sum(-1)
        coloured = hues.sum(-1)
        middle = share @ self.grid.T  # [B, 2, 2]
        gap = middle[:, 0] - middle[:, 1]
        along = torch.stack([-gap[:, 0], gap[:, 0], -gap[:, 1], gap[:, 1]], 1)  # left, right, above, below
        across = torch.stack([gap[:, 1], gap[:, 1], gap[:, 0], gap[:, 0]], 1).abs()
        asked = kinds.sum(-1)
        named = kinds.sum(1).clamp(max=1)
        count = torch.arange(2, 2 + len(NUMBERS), device=p.device).float()
        wanted = numbers @ count + (1 - numbers.sum(-1))
        found = (many[:, None] * kinds).sum(-1)
        extra = (p.sum(-1) * (1 - named)).sum(-1)
        chances = place.log_softmax(-1)
        odds = (places * chances[:, 1:]).sum(-1) + (1 - places.sum(-1)) * torch.maximum(
            chances[:, 0], chances[:, -3]
        )
        related = relations.sum(-1)
        return torch.stack(
            [
                asked[:, 1],
                (area[:, 0] / 10).clamp(max=2),
                asked[:, 1] * (area[:, 1] / 10).clamp(max=2),
                2 * right[:, 0] * coloured[:, 0],
                coloured[:, 0],
                2 * right[:, 1] * coloured[:, 1],
                coloured[:, 1],
                found[:, 0] - wanted,
                (found[:, 0] - wanted).abs(),
                wanted / 3,
                asked[:, 1] * (found[:, 1] - 1),
                asked[:, 1] * (found[:, 1] - 1).abs(),
                (extra / 5).clamp(max=4),
                (many * (1 - named)).sum(-1),
                related,
                2 * (relations * along).sum(-1),
                2 * (relations * across).sum(-1),
                places.sum(-1),
                (odds / 4).clamp(min=-3),
                p.sum((1, 2)) / 60,
            ],
            1,
        )

    def forward(self, pixel_values, input_ids, attention_mask):
        # The mask is not needed, because padding requires nothing.
        verdict = self.rules(self.compare(self.detector(pixel_values), input_ids))[:, 0]
        return (verdict + 0 * attention_mask[:, 0] - self.mean) / self.std
