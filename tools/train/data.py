"""Labelled pictures for training and measuring, and batches of right and wrong captions for them."""

import pickle
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from errors import OPPOSITE, one_error, possible_errors, too_few_or_many
from rendering import render
from scenes import BACKGROUNDS, Scene, caption, draw_scene
from transformers import CLIPTokenizer

KINDS = {"single": 0.19, "pair": 0.27, "relation": 0.29, "count": 0.25}
"""Shares of the kinds in the scorers' training: more relations and counts than in the generator's."""


class Pictures:
    """N pictures with labels: pixels [N, 64, 64, 3] uint8; objects, colours, centres [N, 16, 16] uint8; N
    scenes.
    """

    def __init__(self, pixels, objects, colours, centres, scenes: list[Scene]):
        self.pixels, self.objects, self.colours, self.centres, self.scenes = (
            pixels,
            objects,
            colours,
            centres,
            scenes,
        )
        self.places = np.array([place_number(scene) for scene in scenes])

    def __len__(self) -> int:
        return len(self.scenes)

    def flipped(self) -> "Pictures":
        """The pictures mirrored left to right."""
        scenes = [
            replace(s, relation=OPPOSITE[s.relation]) if s.relation in ("left", "right") else s
            for s in self.scenes
        ]
        grids = [array[:, :, ::-1] for array in (self.pixels, self.objects, self.colours, self.centres)]
        return Pictures(*map(np.ascontiguousarray, grids), scenes)

    def __add__(self, other: "Pictures") -> "Pictures":
        names = ("pixels", "objects", "colours", "centres")
        return Pictures(
            *(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names),
            self.scenes + other.scenes,
        )


def place_number(scene: Scene) -> int:
    return BACKGROUNDS.index(scene.place) + 1 if scene.place else 0


def _render(job: tuple[int, int]):
    rng = np.random.default_rng(job[0])
    scenes = [draw_scene(rng, KINDS) for _ in range(job[1])]
    pictures = [render(rng, scene) for scene in scenes]
    return [
        np.stack([getattr(p, n) for p in pictures]) for n in ("pixels", "objects", "colours", "centres")
    ], scenes


def rendered(count: int, seed: int) -> Pictures:
    """`count` pictures of random scenes. Depends only on `seed`."""
    jobs = [(seed * 1000 + part, count // 8) for part in range(8)]
    with get_context("fork").Pool(2) as pool:
        parts = pool.map(_render, jobs)
    arrays = [np.concatenate([part[0][i] for part in parts]) for i in range(4)]
    return Pictures(*arrays, [scene for part in parts for scene in part[1]])


def painted(file: Path) -> Pictures:
    """Reads the output of painted.py."""
    stored = np.load(file)
    scenes = pickle.loads(file.with_suffix(".pkl").read_bytes())
    return Pictures(stored["painted"], stored["objects"], stored["colours"], stored["centres"], scenes)


class Captions:
    """The tokenizer with a cache."""

    def __init__(self, folder: Path):
        self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        self.known: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self.tokenizer)

    def encode(self, texts: list[str], full: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """(input_ids, attention_mask), each [B, longest] or, if `full`, [B, 24]."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, self.tokenizer(new)["input_ids"], strict=True))
        rows = [self.known[text] for text in texts]
        length = self.tokenizer.model_max_length if full else max(map(len, rows))
        ids = torch.full((len(rows), length), self.tokenizer.pad_token_id)
        mask = torch.zeros((len(rows), length), dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        return ids, mask


def captions_for(rng: np.random.Generator, scene: Scene, count: int) -> list[str]:
    """The right caption, followed by count - 1 different wrong ones, mostly with a single error."""
    right = caption(scene)
    texts = [right]
    # Errors of colours and of relations are learned last, so they come first.
    errors = sorted(
        rng.permutation(possible_errors(scene)), key=lambda error: error not in ("swap", "relation")
    )
    tried = 0
    while len(texts) < count:
        error = errors[tried % len(errors)]
        tried += 1
        u = rng.random() if error not in ("swap", "relation") else 1
        wrong = one_error(rng, scene, error)
        if u < 0.1:
            wrong = one_error(rng, wrong, rng.choice(possible_errors(wrong)))
        elif u < 0.2:
            wrong = too_few_or_many(rng, scene) or wrong
        elif u < 0.24:
            wrong = draw_scene(rng, KINDS)
        text = caption(wrong)
        if text not in texts:
            texts.append(text)
    return texts


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """Converts [B, 64, 64, 3] uint8 to [B, 3, 64, 64] in [-1, 1]."""
    return (
        torch.from_numpy(np.ascontiguousarray(pixels))
        .permute(0, 3, 1, 2)
        .float()
        .div(127.5)
        .sub(1)
        .contiguous(memory_format=torch.channels_last)
    )


def jitter(images: torch.Tensor) -> torch.Tensor:
    """Applies blur, contrast, tint, noise and a shift by up to 2 pixels, so that scores do not depend on
    details that a decoder does not produce.
    """
    x = images
    count = len(x)
    blurred = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = torch.rand(count, 1, 1, 1) * (torch.rand(count, 1, 1, 1) < 0.5)
    x = blurred * share + x * (1 - share)
    x = x * (0.85 + 0.3 * torch.rand(count, 1, 1, 1)) + torch.randn(count, 3, 1, 1) * 0.05
    x = x + torch.randn_like(x) * 0.06 * torch.rand(count, 1, 1, 1)
    dx, dy = np.random.randint(-2, 3, 2)
    x = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")[:, :, 2 + dy : 66 + dy, 2 + dx : 66 + dx]
    return x.clamp(-1, 1).contiguous(memory_format=torch.channels_last)
