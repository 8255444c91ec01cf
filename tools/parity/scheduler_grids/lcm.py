"""LCM: every option of diffusers' class, one at a time, and the configs of well-known models."""

import diffusers

from . import Case
from .published import (
    COSINE,
    LATENT_DIFFUSION,
    LCM_DREAMSHAPER,
    STABLE_DIFFUSION_1_5,
    STABLE_DIFFUSION_2_1,
    STABLE_DIFFUSION_XL,
    TRAINED_BETAS,
    ZERO_SNR,
)

NAME = "lcm"
SCHEDULER = diffusers.LCMScheduler

FEW = (1, 2, 3, 4, 5, 8, 10)


def cases():
    yield Case("LCM-Dreamshaper", LCM_DREAMSHAPER)
    yield Case("Stable Diffusion 1.5 with LCM-LoRA", STABLE_DIFFUSION_1_5)
    yield Case("Stable Diffusion XL with LCM-LoRA", STABLE_DIFFUSION_XL, FEW)
    yield Case("Stable Diffusion 2.1", STABLE_DIFFUSION_2_1)
    yield Case("defaults", {})
    yield Case("x_0", {**LCM_DREAMSHAPER, "prediction_type": "sample"}, FEW)
    yield Case("100 original steps", {**LCM_DREAMSHAPER, "original_inference_steps": 100})
    yield Case("7 original steps", {**LCM_DREAMSHAPER, "original_inference_steps": 7})
    yield Case("every timestep", {**LCM_DREAMSHAPER, "original_inference_steps": 1000}, FEW)
    yield Case(
        "more original steps than trained", {**LCM_DREAMSHAPER, "original_inference_steps": 1001}, (4,)
    )
    yield Case("a boundary condition that is felt", {**LCM_DREAMSHAPER, "timestep_scaling": 0.005})
    yield Case("clipping to a range", {**LCM_DREAMSHAPER, "clip_sample": True, "clip_sample_range": 0.7}, FEW)
    thresholding = {"thresholding": True, "dynamic_thresholding_ratio": 0.8, "sample_max_value": 2.5}
    yield Case("thresholding", {**LATENT_DIFFUSION, **thresholding})
    yield Case("spacing is none of its options", {**LATENT_DIFFUSION, "timestep_spacing": "trailing"}, FEW)
    yield Case("cosine betas", COSINE, FEW)
    yield Case("linear betas", {"beta_schedule": "linear"}, FEW)
    yield Case("zero terminal SNR", ZERO_SNR)
    yield Case("zero terminal SNR of an epsilon model", {**ZERO_SNR, "prediction_type": "epsilon"}, (4,))
    trained = {"trained_betas": TRAINED_BETAS, "num_train_timesteps": 40, "original_inference_steps": 20}
    yield Case("trained betas", trained)
