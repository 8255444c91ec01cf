"""The embedded reward: a small ImageReward that labels the picture first, and then reads the caption against
the labels.

A convolutional trunk labels each of 16x16 cells with an object, a colour and the probability that an object's
centre is there. The text layers attend only to tokens made of these labels: one per kind of object (how much
of it, how many, where, in which colours) and one for the place. A search can raise the score only by changing
what the trunk detects, not by a texture that pleases the last layer.

Whether a picture obeys is nearly binary, which gives a search little to follow. As human ratings do, the
score therefore also grows with how clearly the named objects are visible: the log-odds of their labels, which
do not saturate.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from data import to_tensor
from rendering import CELLS
from scenes import BACKGROUNDS, COLOURS, plural
from shapes import OBJECTS

KINDS, HUES, PLACES = len(OBJECTS), len(COLOURS), len(BACKGROUNDS) + 1


class Residual(nn.Module):
    def __init__(self, channels: int):
        super().__init__()

        def conv():
            return nn.Conv2d(channels, channels, 3, 1, 1, bias=False)

        self.body = nn.Sequential(
            conv(), nn.BatchNorm2d(channels), nn.SiLU(), conv(), nn.BatchNorm2d(channels)
        )

    def forward(self, x):
        return F.silu(x + self.body(x))


class Trunk(nn.Module):
    """Labels of pictures [B, 3, 64, 64] in [-1, 1], as logits.

    objects [B, 25, 16, 16], colours [B, 12, 16, 16], centres [B, 16, 16], place [B, 20].
    """

    def __init__(self, channels: int = 80):
        super().__init__()

        def down(i, o):
            return nn.Sequential(nn.Conv2d(i, o, 4, 2, 1, bias=False), nn.BatchNorm2d(o), nn.SiLU())

        self.stem = nn.Sequential(down(3, 32), down(32, channels), *(Residual(channels) for _ in range(3)))
        self.labels = nn.Conv2d(channels, KINDS + 1 + HUES + 1 + 1, 1)
        self.place = nn.Sequential(nn.Linear(2 * channels, 64), nn.SiLU(), nn.Linear(64, PLACES))

    def forward(self, pixel_values):
        features = self.stem(pixel_values)
        objects, colours, centres = self.labels(features).split([KINDS + 1, HUES + 1, 1], 1)
        return (
            objects,
            colours,
            centres[:, 0],
            self.place(torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)),
        )


class Layer(nn.Module):
    """Pre-norm transformer layer: tokens attend to each other and to the tokens of the picture."""

    def __init__(self, width: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.norm1, self.qkv, self.out = (
            nn.LayerNorm(width),
            nn.Linear(width, 3 * width),
            nn.Linear(width, width),
        )
        self.norm2, self.q2, self.kv2, self.out2 = (
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(width, width),
        )
        self.norm3, self.feed = (
            nn.LayerNorm(width),
            nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width)),
        )

    def attend(self, q, k, v, mask=None):
        batch, length, width = q.shape

        def split(t):
            return t.reshape(batch, -1, self.heads, width // self.heads).transpose(1, 2)

        scores = split(q) @ split(k).transpose(-1, -2) * (width // self.heads) ** -0.5
        if mask is not None:
            scores = scores + mask
        return (scores.softmax(-1) @ split(v)).transpose(1, 2).reshape(batch, length, width)

    def forward(self, x, picture, mask):
        x = x + self.out(self.attend(*self.qkv(self.norm1(x)).chunk(3, -1), mask))
        x = x + self.out2(self.attend(self.q2(self.norm2(x)), *self.kv2(picture).chunk(2, -1)))
        return x + self.feed(self.norm3(x))


FACTS = 1 + 1 + 4 + HUES + 1
"""Of one kind of object: its area, how many, its mean place and spread, its colours."""


PLAINNESS = 6.0
"""What one unit of log-odds is worth, where a right picture's verdict is about +5 and a wrong one's -5."""


def plainness(objects, colours):
    """How clearly each kind of object is visible, [B, 24]; 0 if it is absent.

    The log-odds of its label against all others and of its colour against the second one, averaged over its
    cells.
    """
    p = objects.softmax(1)[:, 1:]
    # log p / (1 - p) without the cancellation near p = 1
    rest = torch.stack(
        [torch.cat([objects[:, : k + 1], objects[:, k + 2 :]], 1).logsumexp(1) for k in range(KINDS)], 1
    )
    best = colours.topk(2, 1).values
    odds = (objects[:, 1:] - rest).clamp(min=0) + (best[:, :1] - best[:, 1:])
    return (p * odds).sum((2, 3)) / (p.sum((2, 3)) + 2)


@torch.no_grad()
def know_kinds(model: "Reward", tokenizer, pictures) -> None:
    """Sets the tokens that name objects, and the usual plainness of each kind. Each name, one or many, is one
    token.

    Some outlines are easier than others, which is no merit of a picture. `pictures` are labelled ones.
    """
    model.names.zero_()
    for kind, name in enumerate(OBJECTS):
        for word in {name, plural(name)}:
            (token,) = tokenizer(word, add_special_tokens=False)["input_ids"]
            model.names[token, kind] = 1
    plain = torch.cat(
        [
            plainness(*model.trunk(to_tensor(pictures.pixels[first : first + 250]))[:2])
            for first in range(0, len(pictures), 250)
        ]
    )
    there = torch.tensor(
        [[any(thing.name == name for thing in scene.things) for name in OBJECTS] for scene in pictures.scenes]
    )
    model.usual.copy_((plain * there).sum(0) / there.sum(0))


class Reward(nn.Module):
    """forward(pixel_values [B, 3, 64, 64], input_ids [B, L <= 24] int64, attention_mask [B, L] int64) -> [B]:
    higher follows the text better.
    """

    def __init__(self, vocabulary: int, width: int = 128, length: int = 24):
        super().__init__()
        # Token of each kind of object, and its usual plainness; set by know_kinds.
        self.register_buffer("names", torch.zeros(vocabulary, KINDS))
        self.register_buffer("usual", torch.zeros(KINDS))
        self.trunk = Trunk()
        self.facts = nn.Sequential(nn.Linear(FACTS, width), nn.GELU(), nn.Linear(width, width))
        self.kinds = nn.Parameter(torch.randn(KINDS, width) * 0.3)
        self.place = nn.Linear(PLACES + 3, width)
        self.picture_norm = nn.LayerNorm(width)
        self.words, self.positions = (
            nn.Embedding(vocabulary, width),
            nn.Parameter(torch.randn(length, width) * 0.02),
        )
        # A word and its neighbours, so that "red book" is read as one.
        self.neighbours = nn.Conv1d(width, width, 5, padding=2)
        self.layers = nn.ModuleList(Layer(width) for _ in range(3))
        self.head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1)
        )
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("std", torch.ones(1))
        row = torch.linspace(-1, 1, CELLS)
        self.register_buffer(
            "grid",
            torch.stack([row[None].expand(CELLS, -1), row[:, None].expand(-1, CELLS)]).reshape(2, -1),
            persistent=False,
        )

    def look(self, pixel_values):
        return self.read(*self.trunk(pixel_values))

    def read(self, objects, colours, centres, place):
        """Facts from the labels: [B, 24, FACTS] of each kind of object, and [B, PLACES + 3] of the whole
        picture.
        """
        p = objects.softmax(1).flatten(2)  # [B, 25, 256]
        hue = colours.softmax(1).flatten(2)
        centre = centres.sigmoid().flatten(1)
        some = p[:, 1:]
        area = some.sum(-1, keepdim=True)
        share = some / (area + 0.5)
        middle = share @ self.grid.T
        spread = (share @ (self.grid * self.grid).T - middle**2).clamp(min=1e-4).sqrt()
        # The centre of an object lies in its body or in a hole of it, so the labels of its
        # surroundings count.
        near = F.avg_pool2d(p.unflatten(2, (CELLS, CELLS)), 3, 1, 1).flatten(2)[:, 1:]
        near = near / (near.sum(1, keepdim=True) + 0.05)
        many = (near * centre[:, None]).sum(-1, keepdim=True)
        facts = torch.cat([area / 16, many, middle, spread, share @ hue.transpose(1, 2)], -1)
        sure = torch.stack([centre.sum(-1), p.amax(1).mean(-1) * 4, hue.amax(1).mean(-1) * 4], -1)
        return facts, torch.cat([place.log_softmax(-1).clamp(min=-8) / 4, sure], -1)

    def picture(self, facts, whole):
        """The tokens that the text attends to: [B, 25, width]."""
        return self.picture_norm(torch.cat([self.facts(facts) + self.kinds, self.place(whole)[:, None]], 1))

    def text(self, input_ids, attention_mask, picture):
        mask = (1 - attention_mask.float())[:, None, None, :] * -1e4
        words = self.words(input_ids) * attention_mask[..., None]
        x = (
            words
            + self.neighbours(words.transpose(1, 2)).transpose(1, 2)
            + self.positions[: input_ids.shape[1]]
        )
        for layer in self.layers:
            x = layer(x, picture, mask)
        return self.head(x[:, 0])[:, 0]

    def forward(self, pixel_values, input_ids, attention_mask):
        labels = self.trunk(pixel_values)
        verdict = self.text(input_ids, attention_mask, self.picture(*self.read(*labels)))
        named = self.names[input_ids].amax(1)
        plain = ((plainness(*labels[:2]) - self.usual) * named).sum(1) / named.sum(1).clamp(min=1)
        return (verdict + PLAINNESS * plain - self.mean) / self.std
