"""Euler ancestral: every option of diffusers' class, one at a time, and the configs of well-known models."""

import diffusers

from . import Case
from .published import (
    COSINE,
    LATENT_DIFFUSION,
    SDXL_TURBO,
    STABLE_DIFFUSION_1_5,
    STABLE_DIFFUSION_2_1,
    STABLE_DIFFUSION_XL,
    TRAINED_BETAS,
    ZERO_SNR,
)

NAME = "euler-ancestral"
SCHEDULER = diffusers.EulerAncestralDiscreteScheduler

FEW = (1, 2, 5, 10, 25)


def cases():
    yield Case("SDXL-Turbo", SDXL_TURBO)
    yield Case("Stable Diffusion XL", STABLE_DIFFUSION_XL)
    yield Case("Stable Diffusion 1.5", STABLE_DIFFUSION_1_5)
    yield Case("Stable Diffusion 2.1", STABLE_DIFFUSION_2_1)
    for spacing in ("linspace", "leading", "trailing"):
        for prediction in ("epsilon", "v_prediction"):
            config = {**LATENT_DIFFUSION, "timestep_spacing": spacing, "prediction_type": prediction}
            yield Case(f"{spacing}, {prediction}", config)
    yield Case("x_0", {**LATENT_DIFFUSION, "prediction_type": "sample"}, (5,))
    yield Case("defaults", {})
    # Not from its first noise level, 20291: there the rounding error of torch's square root
    # dominates.
    yield Case("cosine betas", {**COSINE, "timestep_spacing": "leading"}, FEW)
    yield Case("zero terminal SNR", ZERO_SNR)
    yield Case("zero terminal SNR of an epsilon model", {**ZERO_SNR, "prediction_type": "epsilon"}, FEW)
    yield Case("Karras is none of its options", {**SDXL_TURBO, "use_karras_sigmas": True}, (5,))
    yield Case("trained betas", {"trained_betas": TRAINED_BETAS, "num_train_timesteps": 40}, (3, 10, 20))
