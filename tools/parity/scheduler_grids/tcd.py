"""TCD: every option that diffusers' class uses, one at a time, and the configs of well-known models."""

import diffusers

from . import Case
from .published import (
    COSINE,
    LATENT_DIFFUSION,
    STABLE_DIFFUSION_1_5,
    STABLE_DIFFUSION_2_1,
    STABLE_DIFFUSION_XL,
    TRAINED_BETAS,
    ZERO_SNR,
)

NAME = "tcd"
SCHEDULER = diffusers.TCDScheduler

FEW = (1, 2, 3, 4, 5, 8, 10)


def cases():
    yield Case("Stable Diffusion XL with TCD-LoRA", STABLE_DIFFUSION_XL, eta=0.3)
    yield Case("Stable Diffusion XL with TCD-LoRA, deterministic", STABLE_DIFFUSION_XL)
    yield Case("Stable Diffusion 1.5 with TCD-LoRA", STABLE_DIFFUSION_1_5, eta=0.3)
    yield Case("Stable Diffusion 2.1", STABLE_DIFFUSION_2_1, eta=0.5)
    for eta in (0.1, 0.7, 0.9, 1.0):
        yield Case(f"eta {eta:g}", LATENT_DIFFUSION, eta=eta)
    yield Case("defaults", {}, eta=0.2)
    yield Case("x_0", {**LATENT_DIFFUSION, "prediction_type": "sample"}, eta=0.3)
    yield Case("100 original steps", {**LATENT_DIFFUSION, "original_inference_steps": 100}, eta=0.3)
    yield Case("7 original steps", {**LATENT_DIFFUSION, "original_inference_steps": 7}, eta=0.3)
    every = {**LATENT_DIFFUSION, "num_train_timesteps": 1001, "original_inference_steps": 1001}
    yield Case("shares of a timestep that are whole but for rounding", every, (10,), eta=0.9)
    yield Case(
        "more original steps than trained", {**LATENT_DIFFUSION, "original_inference_steps": 1001}, (4,)
    )
    heedless = {
        "thresholding": True,
        "clip_sample": True,
        "timestep_spacing": "trailing",
        "set_alpha_to_one": True,
    }
    yield Case("options without effect", {**LATENT_DIFFUSION, **heedless}, FEW, eta=0.3)
    yield Case("cosine betas", COSINE, FEW, eta=0.3)
    yield Case("zero terminal SNR", ZERO_SNR, eta=0.3)
    yield Case(
        "zero terminal SNR of an epsilon model", {**ZERO_SNR, "prediction_type": "epsilon"}, (4,), eta=0.3
    )
    trained = {"trained_betas": TRAINED_BETAS, "num_train_timesteps": 40, "original_inference_steps": 20}
    yield Case("trained betas", trained, eta=0.3)
