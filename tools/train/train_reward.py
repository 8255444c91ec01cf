"""Trains the embedded reward in three stages: labels of cells; captions against the labels; everything
together.

usage: python train_reward.py OUT.pt --tokenizer models/stickers/tokenizer --painted painted.npz --minutes
12,10,14

Half of the pictures are rendered, half are generated. Stages that OUT.pt has are skipped, so training can be
continued.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from data import Captions, Pictures, captions_for, jitter, painted, rendered, to_tensor
from reward_model import Reward

STAGES = ("labels", "captions", "together")


def label_loss(outputs, pictures: Pictures, rows: np.ndarray) -> torch.Tensor:
    """Loss of the cells' objects and colours, of the centres, and of the place."""
    objects, colours, centres, place = outputs

    def grid(array):
        return torch.from_numpy(array[rows].astype(np.int64))

    true = grid(pictures.objects)
    weight = 0.3 + 1.7 * (true > 0).float()
    loss = (F.cross_entropy(objects, true, reduction="none") * weight).mean() * 3
    # Colours are labelled only where an object is.
    loss = loss + (F.cross_entropy(colours, grid(pictures.colours), reduction="none") * weight).mean() * 2
    there = grid(pictures.centres).clamp(max=1).float()
    loss = (
        loss + F.binary_cross_entropy_with_logits(centres, there, reduction="none").sum((1, 2)).mean() * 0.1
    )
    return loss + 0.3 * F.cross_entropy(place, torch.from_numpy(pictures.places[rows]))


def caption_loss(scores: torch.Tensor) -> torch.Tensor:
    """Loss of scores [B, K] with the right caption first: it has to be the highest in its row, and above 0
    while the wrong ones are below.
    """
    best = F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))
    sides = F.softplus(-scores[:, 0]).mean() + F.softplus(scores[:, 1:]).mean()
    return best + 0.5 * sides + 1e-3 * scores.pow(2).mean()


def broken(images: torch.Tensor) -> torch.Tensor:
    """Pictures that must score low: noise, shuffled tiles, two pictures in one."""
    u = np.random.rand()
    if u < 0.4:
        return (images * 0.6 + torch.randn_like(images) * np.random.uniform(0.25, 0.7)).clamp(-1, 1)
    if u < 0.7:
        return 0.5 * images + 0.5 * images.roll(1, 0)
    side = [2, 4][np.random.randint(2)]
    size = 64 // side
    tiles = (
        images.reshape(-1, 3, side, size, side, size)
        .permute(0, 2, 4, 1, 3, 5)
        .reshape(-1, side * side, 3, size, size)
    )
    tiles = tiles[:, np.random.permutation(side * side)].reshape(-1, side, side, 3, size, size)
    return tiles.permute(0, 3, 1, 4, 2, 5).reshape(-1, 3, 64, 64)


class Batches:
    """Indexes of batches: half rendered, half generated."""

    def __init__(self, all_pictures: Pictures, count_rendered: int, rng: np.random.Generator):
        self.pictures, self.first, self.rng = all_pictures, count_rendered, rng

    def rows(self, size: int) -> np.ndarray:
        half = size // 2
        return np.concatenate(
            [
                self.rng.integers(0, self.first, half),
                self.rng.integers(self.first, len(self.pictures), size - half),
            ]
        )


def run_stage(minutes: float, rate: float, parameters, step, name: str) -> None:
    """Calls step() -> (loss, share right) until the time is over. The learning rate has a warm-up and a
    cosine decay.
    """
    optimizer = torch.optim.AdamW(parameters, rate, weight_decay=2e-2, betas=(0.9, 0.98))
    began, done, seen = time.time(), 0, []
    while time.time() - began < minutes * 60:
        part = (time.time() - began) / (minutes * 60)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (done + 1) / 100) * (0.5 + 0.5 * np.cos(np.pi * part)) + 1e-6
        loss, right = step()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        done += 1
        seen.append((loss.item(), right))
        if done % 50 == 0:
            mean = np.mean(seen[-50:], 0)
            print(
                f"{name} {done}: {time.time() - began:.0f} s, loss {mean[0]:.3f}, right {mean[1]:.3f}",
                flush=True,
            )


def train_labels(model: Reward, batches: Batches, minutes: float) -> None:
    def step():
        rows = batches.rows(48)
        outputs = model.trunk(jitter(to_tensor(batches.pictures.pixels[rows])))
        true = torch.from_numpy(batches.pictures.objects[rows].astype(np.int64))
        right = (outputs[0].argmax(1) == true)[true > 0].float().mean().item()
        return label_loss(outputs, batches.pictures, rows), right

    model.trunk.train()
    run_stage(minutes, 2e-3, list(model.trunk.parameters()), step, "labels")


def score_lists(
    model: Reward, captions: Captions, tokens: torch.Tensor, texts: list[list[str]]
) -> torch.Tensor:
    """Scores [B, K] of the tokens of B pictures and K captions each."""
    each = len(texts[0])
    ids, mask = captions.encode([text for row in texts for text in row])
    return model.text(ids, mask, tokens.repeat_interleave(each, 0)).reshape(-1, each)


def train_captions(
    model: Reward, batches: Batches, captions: Captions, minutes: float, each: int = 6
) -> None:
    """Trains the text layers on fixed labels of the trunk, which are computed once. The first half uses only
    pairs and relations, which need words tied to objects.
    """
    model.trunk.eval()
    pictures, looks = batches.pictures, []
    with torch.no_grad():
        for first in range(0, len(pictures), 250):
            images = to_tensor(pictures.pixels[first : first + 250])
            looks.append(model.look(jitter(images)))
    facts, whole = (torch.cat([look[i] for look in looks]) for i in (0, 1))

    two = np.array([row for row, scene in enumerate(pictures.scenes) if scene.kind in ("pair", "relation")])

    def step(only_two: bool):
        rows = two[batches.rng.integers(0, len(two), 64)] if only_two else batches.rows(64)
        tokens = model.picture(facts[rows], whole[rows])
        scores = score_lists(
            model, captions, tokens, [captions_for(batches.rng, pictures.scenes[row], each) for row in rows]
        )
        return caption_loss(scores), (scores.argmax(1) == 0).float().mean().item()

    head = [parameter for name, parameter in model.named_parameters() if not name.startswith("trunk.")]
    run_stage(minutes / 2, 2e-3, head, lambda: step(True), "pairs")
    run_stage(minutes / 2, 1.5e-3, head, lambda: step(False), "captions")


def train_together(
    model: Reward, batches: Batches, captions: Captions, minutes: float, each: int = 6
) -> None:
    model.train()
    pictures = batches.pictures
    for module in model.modules():  # keeps its batch statistics, which broken pictures would shift
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()

    def step():
        rows = batches.rows(40)
        images = jitter(to_tensor(pictures.pixels[rows]))
        labels = model.trunk(images)
        tokens = model.picture(*model.read(*labels))
        texts = [captions_for(batches.rng, pictures.scenes[row], each) for row in rows]
        scores = score_lists(model, captions, tokens, texts)
        spoilt = broken(images[:8])
        low = score_lists(
            model, captions, model.picture(*model.look(spoilt)), [row[:1] for row in texts[:8]]
        )[:, 0]
        loss = caption_loss(scores) + 0.3 * label_loss(labels, pictures, rows)
        loss = loss + 0.1 * (F.softplus(low).mean() + F.softplus(low - scores[:8, 0]).mean())
        return loss, (scores.argmax(1) == 0).float().mean().item()

    run_stage(minutes, 6e-4, list(model.parameters()), step, "together")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--painted", type=Path, required=True)
    parser.add_argument("--rendered", type=int, default=30000)
    parser.add_argument("--minutes", default="12,10,14", help=f"of the stages {', '.join(STAGES)}")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    np.random.seed(options.seed)
    captions = Captions(options.tokenizer)
    model = Reward(len(captions)).to(memory_format=torch.channels_last)
    done = []
    if options.out.exists():
        stored = torch.load(options.out)
        done = stored["done"]
        model.load_state_dict(stored["model"])
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters; done: {done}")
    first = rendered(options.rendered, 31 + options.seed)
    second = painted(options.painted)
    batches = Batches(
        first + second + second.flipped(), len(first), np.random.default_rng(options.seed + len(done))
    )
    minutes = dict(zip(STAGES, map(float, options.minutes.split(",")), strict=False))
    for stage in STAGES[len(done) :]:
        if stage == "labels":
            train_labels(model, batches, minutes[stage])
        elif stage == "captions":
            train_captions(model, batches, captions, minutes[stage])
        else:
            train_together(model, batches, captions, minutes[stage])
        done.append(stage)
        torch.save({"model": model.state_dict(), "done": done}, options.out)


if __name__ == "__main__":
    main()
