"""DPM-Solver++ and its variants: every option of diffusers' class, one at a time, and the configs of
well-known models.
"""

import diffusers

from . import Case
from .published import (
    COSINE,
    DREAMSHAPER_8,
    LATENT_DIFFUSION,
    STABLE_DIFFUSION_1_5,
    STABLE_DIFFUSION_2_1,
    STABLE_DIFFUSION_3,
    STABLE_DIFFUSION_XL,
    STICKERS,
    TRAINED_BETAS,
    ZERO_SNR,
    calculate_shift,
)

NAME = "dpmsolver++"
SCHEDULER = diffusers.DPMSolverMultistepScheduler

FEW = (1, 2, 3, 5, 16)
THIRD = {**LATENT_DIFFUSION, "solver_order": 3}
ABOVE_ZERO = {**LATENT_DIFFUSION, "final_sigmas_type": "sigma_min"}
KARRAS = {**LATENT_DIFFUSION, "use_karras_sigmas": True}
THRESHOLDING = {"thresholding": True, "dynamic_thresholding_ratio": 0.8, "sample_max_value": 2.5}


def set_timesteps(scheduler, case, steps):
    mu = calculate_shift(case) if case.options else None
    scheduler.set_timesteps(steps, mu=mu)


def of(algorithm, config):
    return {**config, "algorithm_type": algorithm}


def cases():
    # DPM++ 2M Karras and DPM++ 2M SDE Karras of A1111.
    yield Case(
        "Stable Diffusion 1.5, Karras",
        {**STABLE_DIFFUSION_1_5, "use_karras_sigmas": True},
        scheduler="dpmsolver++-karras",
    )
    sde_karras = of("sde-dpmsolver++", {**STABLE_DIFFUSION_1_5, "use_karras_sigmas": True})
    yield Case("Stable Diffusion 1.5, SDE, Karras", sde_karras, scheduler="sde-dpmsolver++-karras")
    yield Case("Stable Diffusion 1.5", STABLE_DIFFUSION_1_5)
    yield Case("Stable Diffusion 2.1", STABLE_DIFFUSION_2_1, FEW)
    yield Case("Stable Diffusion XL", STABLE_DIFFUSION_XL, FEW)
    yield Case("stickers", STICKERS, (12,))
    # diffusers refuses the default "zero" for a config with deis, so the names of its choices are
    # compared.
    yield Case("DreamShaper 8", {**DREAMSHAPER_8, "final_sigmas_type": "sigma_min"}, (15,))
    flow = {
        **STABLE_DIFFUSION_3,
        "use_flow_sigmas": True,
        "prediction_type": "flow_prediction",
        "flow_shift": 3.0,
    }
    yield Case("Stable Diffusion 3 on flow levels", flow)
    yield Case(
        "flow levels, SDE, order 3",
        of("sde-dpmsolver++", {**flow, "solver_order": 3}),
        FEW,
        scheduler="sde-dpmsolver++",
    )
    dynamic = {**flow, "use_dynamic_shifting": True}
    yield Case(
        "flow levels shifted by the picture's size", dynamic, (4, 20), options={"imageSequenceLength": 1024}
    )
    yield Case(
        "flow levels, final sigma_min, epsilon",
        {**flow, "final_sigmas_type": "sigma_min", "prediction_type": "epsilon"},
        (5,),
    )

    for spacing in ("linspace", "leading", "trailing"):
        for prediction in ("epsilon", "sample", "v_prediction"):
            config = {**LATENT_DIFFUSION, "timestep_spacing": spacing, "prediction_type": prediction}
            yield Case(f"{spacing}, {prediction}", config, (5, 16))
    yield Case(
        "flow_prediction on the levels of noise",
        {**LATENT_DIFFUSION, "prediction_type": "flow_prediction"},
        (5,),
    )
    yield Case("defaults", {}, (9,))
    yield Case("first order", {**LATENT_DIFFUSION, "solver_order": 1}, FEW)
    yield Case("heun", {**LATENT_DIFFUSION, "solver_type": "heun"}, FEW)
    yield Case("order 3", THIRD)
    yield Case(
        "order 3, Karras, trailing v",
        {
            **THIRD,
            "use_karras_sigmas": True,
            "timestep_spacing": "trailing",
            "prediction_type": "v_prediction",
        },
        FEW,
    )
    yield Case("thresholding", {**LATENT_DIFFUSION, **THRESHOLDING}, FEW)

    yield Case("SDE", of("sde-dpmsolver++", LATENT_DIFFUSION), scheduler="sde-dpmsolver++")
    for name, config in (
        ("first order", {**LATENT_DIFFUSION, "solver_order": 1}),
        ("heun", {**LATENT_DIFFUSION, "solver_type": "heun"}),
        ("order 3", THIRD),
        ("x_0, leading", {**LATENT_DIFFUSION, "prediction_type": "sample", "timestep_spacing": "leading"}),
        ("thresholding v", {**LATENT_DIFFUSION, **THRESHOLDING, "prediction_type": "v_prediction"}),
        ("final sigma_min, Euler at the end", {**ABOVE_ZERO, "euler_at_final": True}),
        ("zero terminal SNR", ZERO_SNR),
    ):
        yield Case(f"SDE, {name}", of("sde-dpmsolver++", config), FEW, scheduler="sde-dpmsolver++")

    for algorithm in ("dpmsolver", "sde-dpmsolver"):
        yield Case(algorithm, of(algorithm, ABOVE_ZERO), FEW, scheduler=algorithm)
        yield Case(
            f"{algorithm}, heun",
            of(algorithm, {**ABOVE_ZERO, "solver_type": "heun"}),
            FEW,
            scheduler=algorithm,
        )
        yield Case(
            f"{algorithm}, thresholding v",
            of(algorithm, {**ABOVE_ZERO, **THRESHOLDING, "prediction_type": "v_prediction"}),
            (5,),
            scheduler=algorithm,
        )
        yield Case(f"{algorithm}, to zero", of(algorithm, LATENT_DIFFUSION), (5,), scheduler=algorithm)
    yield Case(
        "dpmsolver, order 3", of("dpmsolver", {**ABOVE_ZERO, "solver_order": 3}), FEW, scheduler="dpmsolver"
    )
    yield Case(
        "dpmsolver, x_0",
        of("dpmsolver", {**ABOVE_ZERO, "prediction_type": "sample"}),
        (5,),
        scheduler="dpmsolver",
    )
    yield Case(
        "dpmsolver, flow_prediction",
        of("dpmsolver", {**ABOVE_ZERO, "prediction_type": "flow_prediction"}),
        (5,),
        scheduler="dpmsolver",
    )

    yield Case("final sigma_min", ABOVE_ZERO, FEW)
    yield Case("final sigma_min, no lower order", {**ABOVE_ZERO, "lower_order_final": False}, (8,))
    yield Case(
        "final sigma_min, order 3, no lower order",
        {**ABOVE_ZERO, "solver_order": 3, "lower_order_final": False},
        (8,),
    )
    yield Case("final sigma_min, Euler at the end", {**ABOVE_ZERO, "euler_at_final": True}, (16,))
    yield Case("Karras, final sigma_min", {**KARRAS, "final_sigmas_type": "sigma_min"}, FEW)
    yield Case("Karras, its own range", {**KARRAS, "sigma_min": 0.1, "sigma_max": 10}, (8,))
    yield Case(
        "Karras on cosine betas", {**COSINE, "use_karras_sigmas": True, "lambda_min_clipped": -5.1}, (8,)
    )
    yield Case("exponential", {**LATENT_DIFFUSION, "use_exponential_sigmas": True})
    yield Case(
        "exponential, its own range",
        {**LATENT_DIFFUSION, "use_exponential_sigmas": True, "sigma_min": 0.1, "sigma_max": 10},
        (8,),
    )
    yield Case("Lu", {**LATENT_DIFFUSION, "use_lu_lambdas": True})
    yield Case(
        "Lu, whatever the range",
        {**LATENT_DIFFUSION, "use_lu_lambdas": True, "sigma_min": 0.1, "sigma_max": 10},
        (8,),
    )
    yield Case("Lu on cosine betas", {**COSINE, "use_lu_lambdas": True}, (8,))
    yield Case(
        "Lu before exponential",
        {**LATENT_DIFFUSION, "use_lu_lambdas": True, "use_exponential_sigmas": True},
        (8,),
    )
    yield Case("two kinds of levels", {**KARRAS, "use_exponential_sigmas": True}, (5,))
    clipped = {**COSINE, "lambda_min_clipped": -5.1}
    yield Case("cosine betas, clipped lambda", clipped, (8,))
    yield Case("cosine betas, clipped lambda, trailing", {**clipped, "timestep_spacing": "trailing"}, (8,))
    yield Case("zero terminal SNR", ZERO_SNR, FEW)
    yield Case("zero terminal SNR, order 3", {**ZERO_SNR, "solver_order": 3}, FEW)
    yield Case("trained betas", {"trained_betas": TRAINED_BETAS, "num_train_timesteps": 40}, (10,))
