"""Trains the autoencoder on rendered scenes with L1, L1 of edges, and a small KL term.

usage: python train_vae.py OUT_FOLDER --minutes 11
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from data import rendered, to_tensor
from generator import make_autoencoder
from train_reward import run_stage


def edges(images: torch.Tensor) -> list[torch.Tensor]:
    return [images[..., 1:] - images[..., :-1], images[..., 1:, :] - images[..., :-1, :]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=11)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    pictures, rng = rendered(options.pictures, options.seed).pixels, np.random.default_rng(options.seed)
    model = make_autoencoder().to(memory_format=torch.channels_last)

    def step():
        images = to_tensor(pictures[rng.integers(0, len(pictures), 16)])
        with torch.autocast("cpu", torch.bfloat16):
            latents = model.encode(images).latent_dist
            again = model.decode(latents.sample()).sample
        again = again.float()
        error = (again - images).abs().mean()
        sharp = sum(
            (ours - theirs).abs().mean() for ours, theirs in zip(edges(again), edges(images), strict=True)
        )
        return error + 0.5 * sharp + 2e-4 * latents.kl().float().mean() / 1024, error.item()

    began = time.time()
    run_stage(options.minutes, 2e-3, list(model.parameters()), step, "autoencoder (right is the mean error)")
    model.eval()
    with torch.no_grad():
        latents = torch.cat(
            [
                model.encode(to_tensor(pictures[first : first + 100])).latent_dist.mean
                for first in range(0, min(2000, len(pictures)), 100)
            ]
        )
        model.register_to_config(scaling_factor=float(1 / latents.std()))
        held_out = to_tensor(rendered(256, options.seed + 1).pixels)
        again = model.decode(model.encode(held_out).latent_dist.mean).sample.clamp(-1, 1)
    noise = ((again - held_out) / 2).pow(2).mean()
    print(
        f"scaling factor {model.config.scaling_factor:.4f}; held out: {-10 * torch.log10(noise):.1f} dB; "
        f"{time.time() - began:.0f} s"
    )
    model.save_pretrained(options.out / "vae")


if __name__ == "__main__":
    main()
