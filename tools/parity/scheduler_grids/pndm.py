"""PNDM: every option of diffusers' class, one at a time, and the configs of well-known models."""

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

NAME = "pndm"
SCHEDULER = diffusers.PNDMScheduler

FEW = (1, 2, 3, 4, 5, 8, 10, 20, 25)


def cases():
    yield Case("Stable Diffusion 1.5", STABLE_DIFFUSION_1_5)
    yield Case("Stable Diffusion 2.1", STABLE_DIFFUSION_2_1)
    yield Case("Stable Diffusion XL", STABLE_DIFFUSION_XL, FEW)
    yield Case("defaults, which start with Runge-Kutta", {})
    plms = {**LATENT_DIFFUSION, "skip_prk_steps": True}
    for spacing in ("linspace", "trailing"):
        for prediction in ("epsilon", "v_prediction"):
            for start, config in (("PLMS", plms), ("Runge-Kutta", LATENT_DIFFUSION)):
                changed = {**config, "timestep_spacing": spacing, "prediction_type": prediction}
                yield Case(f"{start}, {spacing}, {prediction}", changed, FEW)
    yield Case(
        "Runge-Kutta, leading, v_prediction", {**LATENT_DIFFUSION, "prediction_type": "v_prediction"}, FEW
    )
    yield Case("alpha to one", {**plms, "set_alpha_to_one": True}, FEW)
    yield Case("no offset", {**plms, "steps_offset": 0}, FEW)
    yield Case("cosine betas", COSINE, FEW)
    yield Case("a zero terminal SNR is none of its options", ZERO_SNR, (10,))
    trained = {"trained_betas": TRAINED_BETAS, "num_train_timesteps": 40, "skip_prk_steps": True}
    yield Case("trained betas", trained, (10, 20))
