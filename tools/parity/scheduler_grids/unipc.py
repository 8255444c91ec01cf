"""UniPC: every option of diffusers' class, one at a time, and the configs of well-known models."""

import diffusers

from . import Case
from .published import (
    COSINE,
    DREAMSHAPER_8,
    LATENT_DIFFUSION,
    STABLE_DIFFUSION_1_5,
    STABLE_DIFFUSION_2_1,
    STABLE_DIFFUSION_XL,
    TRAINED_BETAS,
    WAN,
    ZERO_SNR,
    calculate_shift,
)

NAME = "unipc"
SCHEDULER = diffusers.UniPCMultistepScheduler

FEW = (1, 2, 3, 5, 16)
ABOVE_ZERO = {**LATENT_DIFFUSION, "final_sigmas_type": "sigma_min"}
THRESHOLDING = {"thresholding": True, "dynamic_thresholding_ratio": 0.8, "sample_max_value": 2.5}
KARRAS = {**LATENT_DIFFUSION, "use_karras_sigmas": True}
EXPONENTIAL = {**LATENT_DIFFUSION, "use_exponential_sigmas": True}


def set_timesteps(scheduler, case, steps):
    scheduler.set_timesteps(steps, mu=calculate_shift(case) if case.options else None)


def cases():
    yield Case("Stable Diffusion 1.5", STABLE_DIFFUSION_1_5)
    yield Case("Stable Diffusion 1.5, Karras", {**STABLE_DIFFUSION_1_5, "use_karras_sigmas": True})
    yield Case("Stable Diffusion 2.1", STABLE_DIFFUSION_2_1, FEW)
    yield Case("Stable Diffusion XL", STABLE_DIFFUSION_XL, FEW)
    yield Case("DreamShaper 8", DREAMSHAPER_8, FEW)
    yield Case("Wan 2.1", WAN)
    for spacing in ("linspace", "leading", "trailing"):
        for prediction in ("epsilon", "sample", "v_prediction"):
            config = {**LATENT_DIFFUSION, "timestep_spacing": spacing, "prediction_type": prediction}
            yield Case(f"{spacing}, {prediction}", config, (5, 16))
    yield Case(
        "flow_prediction on the levels of noise",
        {**LATENT_DIFFUSION, "prediction_type": "flow_prediction"},
        (5,),
    )
    yield Case("defaults", {}, FEW)
    yield Case("order 1", {**LATENT_DIFFUSION, "solver_order": 1}, FEW)
    yield Case("order 3", {**LATENT_DIFFUSION, "solver_order": 3})
    yield Case(
        "order 3, no lower order, final sigma_min",
        {**ABOVE_ZERO, "solver_order": 3, "lower_order_final": False},
        FEW,
    )
    yield Case(
        "order 3, no lower order", {**LATENT_DIFFUSION, "solver_order": 3, "lower_order_final": False}, FEW
    )
    yield Case("bh1", {**ABOVE_ZERO, "solver_type": "bh1"})
    yield Case("bh1, order 3", {**ABOVE_ZERO, "solver_type": "bh1", "solver_order": 3}, FEW)
    yield Case("bh1, to zero", {**LATENT_DIFFUSION, "solver_type": "bh1"}, (1, 5))
    for name, config in (
        ("bh2", {}),
        ("bh1", {"solver_type": "bh1"}),
        ("order 3, v", {"solver_order": 3, "prediction_type": "v_prediction"}),
        ("x_0", {"prediction_type": "sample"}),
        ("thresholding says nothing", THRESHOLDING),
        ("flow_prediction", {"prediction_type": "flow_prediction"}),
    ):
        yield Case(f"noise, {name}", {**ABOVE_ZERO, "predict_x0": False, **config}, FEW)
    yield Case("noise, to zero", {**LATENT_DIFFUSION, "predict_x0": False}, (1, 5))
    yield Case("corrector off at some steps", {**LATENT_DIFFUSION, "disable_corrector": [0, 2, 3]}, FEW)
    yield Case(
        "corrector off at the first, order 3",
        {**LATENT_DIFFUSION, "disable_corrector": [0, 1], "solver_order": 3},
        FEW,
    )
    yield Case("thresholding", {**LATENT_DIFFUSION, **THRESHOLDING}, FEW)
    yield Case("final sigma_min", ABOVE_ZERO, FEW)
    yield Case(
        "Karras, order 3, trailing v", {**KARRAS, "solver_order": 3, "prediction_type": "v_prediction"}, FEW
    )
    yield Case("Karras, final sigma_min", {**KARRAS, "final_sigmas_type": "sigma_min"}, FEW)
    yield Case("Karras, its own range", {**KARRAS, "sigma_min": 0.1, "sigma_max": 10}, FEW)
    yield Case("Karras on cosine betas", {**COSINE, "use_karras_sigmas": True}, (8,))
    yield Case("exponential", EXPONENTIAL, FEW)
    yield Case(
        "exponential, its own range, final sigma_min",
        {**EXPONENTIAL, "sigma_min": 0.1, "sigma_max": 10, "final_sigmas_type": "sigma_min"},
        FEW,
    )
    yield Case("two kinds of levels", {**KARRAS, "use_exponential_sigmas": True}, (5,))
    yield Case("flow levels to a terminal one", {**WAN, "shift_terminal": 0.1}, FEW)
    yield Case(
        "flow levels, final sigma_min, order 3",
        {**WAN, "final_sigmas_type": "sigma_min", "solver_order": 3},
        FEW,
    )
    yield Case("a terminal level without a flow", {**LATENT_DIFFUSION, "shift_terminal": 0.1}, (5,))
    for shift in ("exponential", "linear"):
        dynamic = {**WAN, "use_dynamic_shifting": True, "time_shift_type": shift}
        yield Case(
            f"flow levels shifted by the picture's size, {shift}",
            dynamic,
            FEW,
            options={"imageSequenceLength": 1024},
        )
    cosmos = {**WAN, "use_karras_sigmas": True, "sigma_max": 200.0, "sigma_min": 0.01, "flow_shift": 1.0}
    yield Case("flow levels by Karras", {**cosmos, "final_sigmas_type": "sigma_min"}, FEW)
    yield Case("cosine betas", COSINE, FEW)
    yield Case("zero terminal SNR", ZERO_SNR, FEW)
    yield Case("zero terminal SNR, order 3", {**ZERO_SNR, "solver_order": 3}, FEW)
    yield Case("trained betas", {"trained_betas": TRAINED_BETAS, "num_train_timesteps": 40}, FEW)
