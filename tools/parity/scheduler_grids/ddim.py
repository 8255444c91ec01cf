"""DDIM: every option of diffusers' class, one at a time, and the configs of well-known models."""

import diffusers

from . import Case
from .published import (
    COSINE,
    DREAMSHAPER_8,
    LATENT_DIFFUSION,
    STABLE_DIFFUSION_1_5,
    STABLE_DIFFUSION_2_1,
    STABLE_DIFFUSION_XL,
    STICKERS,
    TRAINED_BETAS,
    ZERO_SNR,
)

NAME = "ddim"
SCHEDULER = diffusers.DDIMScheduler

THRESHOLDING = {"thresholding": True, "dynamic_thresholding_ratio": 0.8, "sample_max_value": 2.5}
FEW = (1, 2, 5, 10, 25)


def cases():
    yield Case("Stable Diffusion 1.5, the paper's sampler", STABLE_DIFFUSION_1_5, eta=1.0)
    yield Case("Stable Diffusion 1.5", STABLE_DIFFUSION_1_5)
    yield Case("Stable Diffusion 2.1", STABLE_DIFFUSION_2_1)
    yield Case("Stable Diffusion XL", STABLE_DIFFUSION_XL, eta=0.5)
    yield Case("DreamShaper 8", DREAMSHAPER_8, (10,))
    yield Case("stickers", STICKERS, (12,))
    for spacing in ("leading", "linspace", "trailing"):
        for prediction in ("epsilon", "sample", "v_prediction"):
            for eta in (0.0, 1.0):
                config = {**LATENT_DIFFUSION, "timestep_spacing": spacing, "prediction_type": prediction}
                yield Case(f"{spacing}, {prediction}, eta {eta:g}", config, FEW, eta)
    yield Case("defaults", {})
    yield Case("clipping to a range", {"clip_sample_range": 0.7}, eta=0.3)
    yield Case("thresholding, not clipping", {**THRESHOLDING, "clip_sample_range": 0.3})
    yield Case("thresholding v, eta 0.9", {**ZERO_SNR, **THRESHOLDING}, eta=0.9)
    yield Case(
        "thresholding of x_0 at its defaults", {"thresholding": True, "prediction_type": "sample"}, FEW
    )
    yield Case("alpha to one, linear betas", {"clip_sample": False, "set_alpha_to_one": True}, FEW)
    yield Case("no alpha to one", {"clip_sample": False, "set_alpha_to_one": False}, FEW, eta=1.0)
    yield Case("cosine betas", COSINE, eta=0.5)
    yield Case("trailing timesteps on halves", {**LATENT_DIFFUSION, "timestep_spacing": "trailing"}, (16, 48))
    yield Case("zero terminal SNR", ZERO_SNR)
    # Not eta 1: without any signal, diffusers takes the root of a rounding error, up to 2e-4 or
    # NaN.
    yield Case("zero terminal SNR, eta 0.9", ZERO_SNR, FEW, eta=0.9)
    yield Case("zero terminal SNR of an epsilon model", {**ZERO_SNR, "prediction_type": "epsilon"}, (1, 10))
    trained = {"trained_betas": TRAINED_BETAS, "num_train_timesteps": 40, "clip_sample": False}
    yield Case("trained betas", trained, eta=0.5)
    yield Case(
        "defaults of its first class",
        {**STICKERS, "_use_default_values": ["prediction_type", "steps_offset"]},
        (5,),
    )
