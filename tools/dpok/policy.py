"""A Stable Diffusion pipeline as a policy: each denoising step is an action, sampled from a Gaussian whose
mean the UNet predicts.

DPOK (Fan et al. 2023, arXiv 2305.16381), section 4.1. The Gaussian is that of DDIM with eta 1 (Song et al.
2021, equation 16).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

ETA = 1.0


@dataclass(frozen=True)
class Trajectories:
    """The states and actions of B trajectories of T steps."""

    states: torch.Tensor
    """[T, B, 4, h, w]: what each step began with."""
    actions: torch.Tensor
    """[T, B, 4, h, w]: what it led to."""
    log_probs: torch.Tensor
    """[T, B]."""
    pixels: np.ndarray
    """[B, H, W, 3] uint8."""


class Policy:
    """Denoises for one prompt and computes the log-probability of steps. `folder` is a diffusers pipeline in
    Stable Diffusion 1's layout.
    """

    def __init__(self, folder: Path, steps: int, guidance_scale: float):
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").float().eval()
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet").float().eval().requires_grad_(False)
        self.vae = AutoencoderKL.from_pretrained(folder / "vae").float().eval().requires_grad_(False)
        self.scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
        self.scheduler.set_timesteps(steps)
        self.guidance_scale = guidance_scale
        self.embeddings = torch.zeros(0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one noise."""
        return self.unet.config.in_channels, self.unet.config.sample_size, self.unet.config.sample_size

    @property
    def timesteps(self) -> torch.Tensor:
        """Timesteps [T], descending."""
        return self.scheduler.timesteps

    @torch.no_grad()
    def set_prompt(self, prompt: str) -> None:
        ids = self.tokenizer(
            ["", prompt], padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        self.embeddings = self.text_encoder(ids).last_hidden_state

    def predict(self, latents: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """The guided prediction [B, 4, h, w] for `timesteps` [B]."""
        text = self.embeddings.repeat_interleave(len(latents), 0)
        without, with_text = self.unet(
            torch.cat([latents, latents]), torch.cat([timesteps, timesteps]), text
        ).sample.chunk(2)
        return without + self.guidance_scale * (with_text - without)

    def action(
        self, prediction: torch.Tensor, latents: torch.Tensor, timestep: int
    ) -> tuple[torch.Tensor, float]:
        """Mean [B, 4, h, w] and standard deviation of the result of a step."""
        mean = self.scheduler.step(
            prediction, timestep, latents, eta=ETA, variance_noise=torch.zeros_like(latents)
        ).prev_sample
        before = timestep - self.scheduler.config.num_train_timesteps // len(self.timesteps)
        return mean, ETA * float(self.scheduler._get_variance(timestep, before)) ** 0.5

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Trajectories:
        latents = torch.randn((count, *self.shape), generator=generator)
        states, actions, log_probs = [], [], []
        for timestep in self.timesteps.tolist():
            mean, deviation = self.action(
                self.predict(latents, torch.full((count,), timestep)), latents, timestep
            )
            states.append(latents)
            latents = mean + deviation * torch.randn(latents.shape, generator=generator)
            actions.append(latents)
            log_probs.append(log_prob(latents, mean, deviation))
        return Trajectories(
            torch.stack(states), torch.stack(actions), torch.stack(log_probs), self.decode(latents)
        )

    @torch.no_grad()
    def paint(self, noises: np.ndarray, steps: int) -> np.ndarray:
        """Pictures [B, H, W, 3] uint8 from noises by DPM-Solver++, findery's default scheduler.
        Deterministic.
        """
        solver = DPMSolverMultistepScheduler.from_config(self.scheduler.config)
        solver.set_timesteps(steps)
        latents = torch.from_numpy(noises).float() * solver.init_noise_sigma
        for timestep in solver.timesteps:
            prediction = self.predict(latents, torch.full((len(latents),), int(timestep)))
            latents = solver.step(prediction, timestep, latents).prev_sample
        return self.decode(latents)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> np.ndarray:
        images = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        return ((images.permute(0, 2, 3, 1) + 1) * 127.5).clamp(0, 255).round().to(torch.uint8).numpy()


def log_prob(action: torch.Tensor, mean: torch.Tensor, deviation: float) -> torch.Tensor:
    """Log-probability [B] of an action as the mean over its numbers, as in the authors' code: ratios do not
    depend on their number.
    """
    each = -((action - mean) ** 2) / (2 * deviation**2) - np.log(deviation) - 0.5 * np.log(2 * np.pi)
    return each.mean((1, 2, 3))
