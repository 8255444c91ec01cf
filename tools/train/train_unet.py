"""Trains text encoder and UNet together on the latents of rendered scenes.

v-prediction (Salimans and Ho 2022) with min-SNR weights (Hang et al. 2023), 10 % of the captions dropped, an
exponential moving average of the weights. Writes a diffusers pipeline, which
tools/export/import_checkpoint.py turns into a bundle.

usage: python train_unet.py OUT_FOLDER --minutes 55
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from data import rendered, to_tensor
from diffusers import AutoencoderKL
from generator import make_scheduler, make_text_encoder, make_tokenizer, make_unet
from scenes import caption

BATCH, RATE, DECAY, GAMMA = 64, 6e-4, 0.9993, 5.0
PIPELINE = {
    "_class_name": "StableDiffusionPipeline",
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
}


def encode(vae: AutoencoderKL, pixels: np.ndarray) -> torch.Tensor:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        parts = [
            vae.encode(to_tensor(pixels[first : first + 200])).latent_dist.mean
            for first in range(0, len(pixels), 200)
        ]
    return (torch.cat(parts).float() * vae.config.scaling_factor).bfloat16()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="has the autoencoder of train_vae.py")
    parser.add_argument("--minutes", type=float, default=55)
    parser.add_argument("--pictures", type=int, default=70_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    tokenizer = make_tokenizer(options.out / "tokenizer")
    vae = AutoencoderKL.from_pretrained(options.out / "vae").eval().to(memory_format=torch.channels_last)
    pictures = rendered(options.pictures, options.seed)
    texts = [caption(scene) for scene in pictures.scenes]
    (options.out / "captions.txt").write_text("\n".join(texts) + "\n")
    ids = torch.tensor(tokenizer(texts, padding="max_length", truncation=True)["input_ids"])
    empty = torch.tensor(tokenizer("", padding="max_length")["input_ids"])
    latents = encode(vae, pictures.pixels)
    text_encoder, unet = make_text_encoder(tokenizer), make_unet().to(memory_format=torch.channels_last)
    parameters = [*text_encoder.parameters(), *unet.parameters()]
    optimizer = torch.optim.AdamW(parameters, RATE, betas=(0.9, 0.99), weight_decay=1e-2)
    average = [parameter.detach().clone() for parameter in parameters]
    scheduler = make_scheduler()
    began, done, seen = time.time(), 0, []
    while (part := (time.time() - began) / (options.minutes * 60)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = (
                RATE
                * min(1, (done + 1) / 300)
                * (1 if part < 0.5 else 0.5 + 0.5 * np.cos(np.pi * (2 * part - 1)))
                + 1e-6
            )
        rows = torch.randint(0, len(latents), (BATCH,))
        captions = ids[rows].clone()
        captions[torch.rand(BATCH) < 0.1] = empty
        timesteps = torch.randint(0, 1000, (BATCH,))
        clean, noise = latents[rows].float(), torch.randn(BATCH, *latents.shape[1:])
        noisy = scheduler.add_noise(clean, noise, timesteps).contiguous(memory_format=torch.channels_last)
        target = scheduler.get_velocity(clean, noise, timesteps)
        with torch.autocast("cpu", torch.bfloat16):
            prediction = unet(noisy, timesteps, text_encoder(captions).last_hidden_state).sample.float()
        alpha = scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        ratio = alpha / (1 - alpha)
        loss = (ratio.clamp(max=GAMMA) / (ratio + 1) * (prediction - target) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        done += 1
        torch._foreach_lerp_(
            average, [parameter.detach() for parameter in parameters], 1 - min(DECAY, done / (done + 20))
        )
        seen.append(loss.item())
        if done % 100 == 0:
            print(f"{done}: {time.time() - began:.0f} s, loss {np.mean(seen[-100:]):.4f}", flush=True)
    with torch.no_grad():
        for parameter, mean in zip(parameters, average, strict=True):
            parameter.copy_(mean)
    unet.save_pretrained(options.out / "unet")
    text_encoder.save_pretrained(options.out / "text_encoder")
    scheduler.save_pretrained(options.out / "scheduler")
    (options.out / "model_index.json").write_text(json.dumps(PIPELINE, indent=2) + "\n")


if __name__ == "__main__":
    main()
