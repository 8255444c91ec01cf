"""Trains the unseen scorer: binary cross-entropy of single (picture, caption) pairs, two of five right.

usage: python train_judge.py OUT.pt --tokenizer models/stickers/tokenizer --painted painted-judge.npz --minutes 3,6,5

Stages: the cells' labels; reading captions over what the first stage sees; all together. Its pictures are not those of the reward: give it a painted set of
another seed and other starts.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from data import Captions, Pictures, captions_for, jitter, painted, rendered, to_tensor
from judge_model import Judge
from train_reward import Batches, broken, run_stage

WRONG = 3
"""Wrong captions for each right one, which counts twice."""


def label_loss(labels: torch.Tensor, pictures: Pictures, rows: np.ndarray) -> torch.Tensor:
    loss = torch.zeros(())
    for output, truth in ((labels[:, :25], pictures.objects), (labels[:, 25:], pictures.colours)):
        true = torch.from_numpy(truth[rows].astype(np.int64))
        loss = loss + (F.cross_entropy(output, true, reduction="none") * (0.3 + 1.7 * (true > 0).float())).mean()
    return loss


def verdict_loss(model: Judge, captions: Captions, cells: torch.Tensor, lists: list[list[str]], spoilt: int) -> tuple[torch.Tensor, float]:
    """`cells` of len(lists) pictures, the first `spoilt` of them broken: nothing is right for those."""
    texts = [row[i] for i in range(1 + WRONG) for row in lists]
    ids, mask = captions.encode(texts)
    logits = model.read(ids, mask, cells.repeat(1 + WRONG, 1, 1)).reshape(1 + WRONG, -1)
    good = torch.zeros_like(logits)
    good[0, spoilt:] = 1
    weight = torch.ones_like(logits)
    weight[0] = 2
    return F.binary_cross_entropy_with_logits(logits, good, weight), ((logits > 0) == (good > 0.5)).float().mean().item()


def train_labels(model: Judge, batches: Batches, minutes: float) -> None:
    pictures = batches.pictures

    def step():
        rows = batches.rows(48)
        labels = model.labels(model.fine(model.patches(jitter(to_tensor(pictures.pixels[rows])).contiguous())))
        true = torch.from_numpy(pictures.objects[rows].astype(np.int64))
        return label_loss(labels, pictures, rows), (labels[:, :25].argmax(1) == true)[true > 0].float().mean().item()

    first = [*model.patches.parameters(), *model.fine.parameters(), *model.labels.parameters()]
    run_stage(minutes, 2e-3, first, step, "labels")


def train_reading(model: Judge, batches: Batches, captions: Captions, minutes: float) -> None:
    pictures, seen = batches.pictures, []
    with torch.no_grad():
        for first in range(0, len(pictures), 250):
            images = jitter(to_tensor(pictures.pixels[first : first + 250])).contiguous()
            seen.append(model.fine(model.patches(images)).half())
    fine = torch.cat(seen)
    two = np.array([row for row, scene in enumerate(pictures.scenes) if scene.kind in ("pair", "relation")])

    def step(only_two: bool):
        rows = two[batches.rng.integers(0, len(two), 64)] if only_two else batches.rows(64)
        lists = [captions_for(batches.rng, pictures.scenes[row], 1 + WRONG) for row in rows]
        return verdict_loss(model, captions, model.gather(fine[rows].float()), lists, 0)

    frozen = {id(p) for part in (model.patches, model.fine, model.labels) for p in part.parameters()}
    rest = [p for p in model.parameters() if id(p) not in frozen]
    run_stage(minutes * 0.6, 2e-3, rest, lambda: step(True), "pairs")
    run_stage(minutes * 0.4, 1.5e-3, rest, lambda: step(False), "reading")


def train_together(model: Judge, batches: Batches, captions: Captions, minutes: float, spoilt: int = 4) -> None:
    pictures = batches.pictures

    def step():
        rows = batches.rows(40)
        images = jitter(to_tensor(pictures.pixels[rows])).contiguous()
        images[:spoilt] = broken(images[:spoilt])
        fine = model.fine(model.patches(images))
        lists = [captions_for(batches.rng, pictures.scenes[row], 1 + WRONG) for row in rows]
        loss, right = verdict_loss(model, captions, model.gather(fine), lists, spoilt)
        return loss + 0.2 * label_loss(model.labels(fine[spoilt:]), pictures, rows[spoilt:]), right

    run_stage(minutes, 6e-4, list(model.parameters()), step, "together")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--painted", type=Path, required=True)
    parser.add_argument("--rendered", type=int, default=16000)
    parser.add_argument("--minutes", default="3,6,5")
    parser.add_argument("--seed", type=int, default=4242)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    np.random.seed(options.seed)
    captions = Captions(options.tokenizer)
    model = Judge(len(captions))
    done = []
    if options.out.exists():
        stored = torch.load(options.out)
        done = stored["done"]
        model.load_state_dict(stored["model"])
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters; done: {done}")
    first, second = rendered(options.rendered, 5 + options.seed), painted(options.painted)
    batches = Batches(first + second + second.flipped(), len(first), np.random.default_rng(options.seed))
    stages = {"labels": train_labels, "reading": train_reading, "together": train_together}
    for (name, train), minutes in zip(stages.items(), map(float, options.minutes.split(","))):
        if name in done:
            continue
        train(model, batches, minutes) if name == "labels" else train(model, batches, captions, minutes)
        done.append(name)
        torch.save({"model": model.state_dict(), "done": done}, options.out)


if __name__ == "__main__":
    main()
