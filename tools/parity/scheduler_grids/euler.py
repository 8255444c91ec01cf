"""Euler: every option of diffusers' class, one at a time, and the configs of well-known models."""

import diffusers

from . import Case
from .published import (
    COSINE,
    LATENT_DIFFUSION,
    SD_TURBO,
    STABLE_DIFFUSION_1_5,
    STABLE_DIFFUSION_2_1,
    STABLE_DIFFUSION_XL,
    TRAINED_BETAS,
    ZERO_SNR,
)

NAME = "euler"
SCHEDULER = diffusers.EulerDiscreteScheduler

FEW = (1, 2, 5, 10, 25)
# Stable Video Diffusion, whose timesteps are log(sigma).
STABLE_VIDEO_DIFFUSION = {
    "_class_name": "EulerDiscreteScheduler",
    "_diffusers_version": "0.24.0.dev0",
    **LATENT_DIFFUSION,
    "interpolation_type": "linear",
    "prediction_type": "v_prediction",
    "sigma_max": 700.0,
    "sigma_min": 0.002,
    "skip_prk_steps": True,
    "timestep_spacing": "leading",
    "timestep_type": "continuous",
    "trained_betas": None,
    "use_karras_sigmas": True,
}


def cases():
    yield Case("Stable Diffusion XL", STABLE_DIFFUSION_XL)
    yield Case("SD-Turbo", SD_TURBO)
    yield Case("Stable Diffusion 1.5", STABLE_DIFFUSION_1_5)
    yield Case("Stable Diffusion 2.1", STABLE_DIFFUSION_2_1)
    yield Case("Stable Video Diffusion", STABLE_VIDEO_DIFFUSION)
    karras = {**STABLE_DIFFUSION_XL, "use_karras_sigmas": True}
    yield Case("Stable Diffusion XL, Karras", karras, scheduler="euler-karras")
    for spacing in ("linspace", "leading", "trailing"):
        for prediction in ("epsilon", "sample", "v_prediction"):
            config = {**LATENT_DIFFUSION, "timestep_spacing": spacing, "prediction_type": prediction}
            yield Case(f"{spacing}, {prediction}", config, FEW)
    yield Case("defaults", {})
    linspace = {**LATENT_DIFFUSION, "timestep_spacing": "linspace"}
    yield Case("log-linear levels", {**linspace, "interpolation_type": "log_linear"}, FEW)
    continuous = {"timestep_type": "continuous", "prediction_type": "v_prediction"}
    yield Case(
        "log-linear levels, continuous", {**linspace, "interpolation_type": "log_linear", **continuous}, FEW
    )
    yield Case("log-linear levels, Karras", {**karras, "interpolation_type": "log_linear"}, FEW)
    yield Case("continuous", {**linspace, **continuous}, FEW)
    yield Case("continuous says nothing without v", {**linspace, "timestep_type": "continuous"}, (5,))
    yield Case("final sigma_min", {**linspace, "final_sigmas_type": "sigma_min"}, FEW)
    yield Case("Karras", {**linspace, "use_karras_sigmas": True})
    yield Case(
        "Karras, its own range, trailing",
        {**SD_TURBO, "use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 10},
        FEW,
    )
    yield Case("exponential", {**linspace, "use_exponential_sigmas": True}, FEW)
    yield Case(
        "exponential, its own range",
        {**linspace, "use_exponential_sigmas": True, "sigma_min": 0.1, "sigma_max": 10},
        FEW,
    )
    yield Case(
        "two kinds of levels", {**linspace, "use_exponential_sigmas": True, "use_karras_sigmas": True}, (5,)
    )
    yield Case("cosine betas", COSINE, FEW)
    yield Case("zero terminal SNR", ZERO_SNR)
    yield Case("zero terminal SNR of an epsilon model", {**ZERO_SNR, "prediction_type": "epsilon"}, FEW)
    yield Case("trained betas", {"trained_betas": TRAINED_BETAS, "num_train_timesteps": 40}, (3, 10, 20))
