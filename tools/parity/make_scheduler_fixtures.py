"""Records what diffusers' schedulers make of fixed model outputs, for test/unit/schedulers.test.ts.

    python tools/parity/make_scheduler_fixtures.py [NAME ...]

One file per scheduler, test/fixtures/schedulers/NAME.json. Arrays are base64 of float32, little-endian; latents are two draws of 4 numbers:
    modelOutputs  one row per evaluation, shared by all cases; noises: the same for stochastic steps; latents: the first noise
    cases         name, config (as in scheduler_config.json), steps, eta, sigmas and imageSequenceLength (flow matching), timesteps,
                  initNoiseSigma, scales (of the model's input, one a step, when not all are 1), latents after every step
    fails         the same without results: diffusers itself raises, or gives numbers that are not finite
"""

import base64
import json
import sys
import warnings
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

SHAPE = (2, 2, 2)
MOST_EVALUATIONS = 64
STEPS = (1, 2, 3, 4, 5, 8, 10, 20, 25, 30, 48, 50)

LATENT_DIFFUSION = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
# As published with the models of these names.
STABLE_DIFFUSION_1_5 = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    **LATENT_DIFFUSION,
    "skip_prk_steps": True,
    "trained_betas": None,
}
STABLE_DIFFUSION_XL = {
    "_class_name": "EulerDiscreteScheduler",
    "_diffusers_version": "0.19.0.dev0",
    **LATENT_DIFFUSION,
    "interpolation_type": "linear",
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "skip_prk_steps": True,
    "timestep_spacing": "leading",
    "trained_betas": None,
    "use_karras_sigmas": False,
}
DREAMSHAPER_8 = {
    "_class_name": "DEISMultistepScheduler",
    "_diffusers_version": "0.15.0.dev0",
    **LATENT_DIFFUSION,
    "algorithm_type": "deis",
    "dynamic_thresholding_ratio": 0.995,
    "lower_order_final": True,
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "skip_prk_steps": True,
    "solver_order": 2,
    "solver_type": "logrho",
    "thresholding": False,
    "trained_betas": None,
}
STICKERS = {
    "_class_name": "DDIMScheduler",
    **LATENT_DIFFUSION,
    "clip_sample_range": 1.0,
    "dynamic_thresholding_ratio": 0.995,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": False,
    "sample_max_value": 1.0,
    "thresholding": False,
    "timestep_spacing": "leading",
    "trained_betas": None,
}
TRAINED_BETAS = [round(0.001 + 0.0002 * i * i, 6) for i in range(40)]
ZERO_SNR = {**LATENT_DIFFUSION, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
COSINE = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}


SD15_EULER = {**STABLE_DIFFUSION_1_5, "_class_name": "EulerDiscreteScheduler"}
TURBO = {
    "_class_name": "EulerAncestralDiscreteScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "sample_max_value": 1.0,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "trailing",
}
SD21_V = {**STICKERS, "_class_name": "DDIMScheduler", "clip_sample": False}
LCM_DREAMSHAPER = {
    "_class_name": "LCMScheduler",
    **LATENT_DIFFUSION,
    "steps_offset": 0,
    "set_alpha_to_one": True,
    "original_inference_steps": 50,
    "timestep_scaling": 10.0,
    "timestep_spacing": "leading",
    "rescale_betas_zero_snr": False,
    "thresholding": False,
}
SD3 = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}
FLUX_DEV = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 4096,
    "max_shift": 1.15,
    "num_train_timesteps": 1000,
    "shift": 3.0,
    "use_dynamic_shifting": True,
}
FLUX_SCHNELL = {**FLUX_DEV, "shift": 1.0, "use_dynamic_shifting": False}

SPACINGS = {f"{spacing} timesteps": {"timestep_spacing": spacing} for spacing in ("leading", "linspace", "trailing")}
PREDICTIONS = {kind: {"prediction_type": kind} for kind in ("epsilon", "sample", "v_prediction")}
MODELS = {
    "Stable Diffusion 1.5": STABLE_DIFFUSION_1_5,
    "Stable Diffusion 2.1 v": SD21_V,
    "Stable Diffusion XL": STABLE_DIFFUSION_XL,
    "SDXL-Turbo": TURBO,
    "the defaults": {},
}
BETAS = {
    "linear betas": {"beta_schedule": "linear"},
    "trained betas": {"trained_betas": TRAINED_BETAS, "num_train_timesteps": 40},
    "cosine betas": COSINE,
}
LINEAR_BETAS = {name: BETAS[name] for name in ("linear betas", "trained betas")}
ZERO = {"zero terminal SNR": {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}}
THRESHOLD = {"thresholding": {"thresholding": True, "sample_max_value": 1.4, "dynamic_thresholding_ratio": 0.7}}
SIGMAS = {
    "Karras": {"use_karras_sigmas": True},
    "Karras in a range": {"use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 10},
    "exponential": {"use_exponential_sigmas": True},
    "final sigma_min": {"final_sigmas_type": "sigma_min"},
}


def on_sd15(variants):
    return {name: {**LATENT_DIFFUSION, **change} for name, change in variants.items()}


# file: (diffusers' class, configs by name, etas)
SCHEDULERS = {
    "ddim": (
        diffusers.DDIMScheduler,
        {
            **MODELS,
            **on_sd15(SPACINGS | PREDICTIONS | BETAS | ZERO | THRESHOLD),
            "DreamShaper 8": DREAMSHAPER_8,
            "alpha to one": {**LATENT_DIFFUSION, "set_alpha_to_one": True},
            "clipping to a range": {"clip_sample": True, "clip_sample_range": 0.7},
            "defaults of its first class": {**STICKERS, "_use_default_values": ["prediction_type", "steps_offset"]},
        },
        (0.0, 0.6),
    ),
    "pndm": (
        diffusers.PNDMScheduler,
        {
            **MODELS,
            **on_sd15(SPACINGS | BETAS),
            "PLMS": {**LATENT_DIFFUSION, "skip_prk_steps": True},
            "PLMS, trailing": {**LATENT_DIFFUSION, "skip_prk_steps": True, "timestep_spacing": "trailing"},
            "v_prediction": {**LATENT_DIFFUSION, "skip_prk_steps": True, "prediction_type": "v_prediction"},
            "alpha to one": {**LATENT_DIFFUSION, "set_alpha_to_one": True},
        },
        (0.0,),
    ),
    "euler": (
        diffusers.EulerDiscreteScheduler,
        {
            **MODELS,
            **on_sd15(SPACINGS | PREDICTIONS | BETAS | ZERO | SIGMAS),
            "log-linear": {**LATENT_DIFFUSION, "interpolation_type": "log_linear"},
            "continuous": {**LATENT_DIFFUSION, "timestep_type": "continuous", "prediction_type": "v_prediction"},
        },
        (0.0,),
    ),
    "euler-ancestral": (
        diffusers.EulerAncestralDiscreteScheduler,
        # Without cosine betas: at their noise level of 20,291 one step of float32's grid is 2e-4 of the latents that are left.
        {**MODELS, **on_sd15(SPACINGS | LINEAR_BETAS | ZERO), "v_prediction": {**LATENT_DIFFUSION, "prediction_type": "v_prediction"}},
        (0.0,),
    ),
    "dpm-solver-multistep": (
        diffusers.DPMSolverMultistepScheduler,
        {
            **MODELS,
            # diffusers refuses the default "zero" for a config that says deis; the names of its choices are what is compared.
            "DreamShaper 8": {**DREAMSHAPER_8, "final_sigmas_type": "sigma_min"},
            **on_sd15(SPACINGS | PREDICTIONS | BETAS | ZERO | THRESHOLD | SIGMAS),
            "first order": {**LATENT_DIFFUSION, "solver_order": 1},
            "third order": {**LATENT_DIFFUSION, "solver_order": 3},
            "heun": {**LATENT_DIFFUSION, "solver_type": "heun"},
            "Lu's lambdas": {**LATENT_DIFFUSION, "use_lu_lambdas": True},
            "final sigma_min, Euler at the end": {**LATENT_DIFFUSION, "final_sigmas_type": "sigma_min", "euler_at_final": True},
            "final sigma_min, no lower order": {**LATENT_DIFFUSION, "final_sigmas_type": "sigma_min", "lower_order_final": False},
            "cosine betas, clipped lambda": {**COSINE, "lambda_min_clipped": -5.1},
        },
        (0.0,),
    ),
    "sde-dpm-solver-multistep": (
        diffusers.DPMSolverMultistepScheduler,
        {
            name: {**config, "algorithm_type": "sde-dpmsolver++"}
            for name, config in {
                "Stable Diffusion 1.5": STABLE_DIFFUSION_1_5,
                "Stable Diffusion 2.1 v": SD21_V,
                "Stable Diffusion XL": STABLE_DIFFUSION_XL,
                **on_sd15(THRESHOLD | SIGMAS),
                "first order": {**LATENT_DIFFUSION, "solver_order": 1},
                "third order": {**LATENT_DIFFUSION, "solver_order": 3},
                "heun": {**LATENT_DIFFUSION, "solver_type": "heun"},
            }.items()
        },
        (0.0,),
    ),
    "unipc": (
        diffusers.UniPCMultistepScheduler,
        {
            **MODELS,
            **on_sd15(SPACINGS | PREDICTIONS | BETAS | ZERO | THRESHOLD | SIGMAS),
            "bh1": {**LATENT_DIFFUSION, "solver_type": "bh1", "final_sigmas_type": "sigma_min"},
            "bh1, third order": {**LATENT_DIFFUSION, "solver_type": "bh1", "solver_order": 3, "final_sigmas_type": "sigma_min"},
            "first order": {**LATENT_DIFFUSION, "solver_order": 1},
            "third order": {**LATENT_DIFFUSION, "solver_order": 3},
            "predicts epsilon": {**LATENT_DIFFUSION, "predict_x0": False, "final_sigmas_type": "sigma_min"},
            "no corrector at first": {**LATENT_DIFFUSION, "disable_corrector": [0, 1]},
            "no lower order": {**LATENT_DIFFUSION, "lower_order_final": False, "final_sigmas_type": "sigma_min"},
        },
        (0.0,),
    ),
    "lcm": (
        diffusers.LCMScheduler,
        {
            "LCM DreamShaper": LCM_DREAMSHAPER,
            "Stable Diffusion XL": STABLE_DIFFUSION_XL,
            "the defaults": {},
            "another scaling": {**LCM_DREAMSHAPER, "timestep_scaling": 1.0, "original_inference_steps": 100},
            **{name: {**LCM_DREAMSHAPER, **change} for name, change in (PREDICTIONS | THRESHOLD).items()},
            "clipping": {**LCM_DREAMSHAPER, "clip_sample": True, "clip_sample_range": 0.8},
        },
        (0.0,),
    ),
    "tcd": (
        diffusers.TCDScheduler,
        {
            "TCD on Stable Diffusion XL": STABLE_DIFFUSION_XL,
            "the defaults": {},
            **{name: {**LCM_DREAMSHAPER, **change} for name, change in PREDICTIONS.items()},
            "more original steps": {"original_inference_steps": 200},
        },
        (0.0, 0.3, 1.0),
    ),
    "flow-match-euler": (
        diffusers.FlowMatchEulerDiscreteScheduler,
        {
            "Stable Diffusion 3": SD3,
            "FLUX.1-dev": FLUX_DEV,
            "FLUX.1-schnell": FLUX_SCHNELL,
            "the defaults": {},
            "linear time shift": {**FLUX_DEV, "time_shift_type": "linear"},
            "terminal": {**FLUX_DEV, "shift_terminal": 0.1},
            "Karras": {**SD3, "use_karras_sigmas": True},
            "exponential": {**SD3, "use_exponential_sigmas": True},
            "inverted": {**SD3, "invert_sigmas": True},
            "stochastic": {**SD3, "stochastic_sampling": True},
        },
        (0.0,),
    ),
}


def encode(array) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype="<f4").tobytes()).decode()


def set_timesteps(scheduler, name: str, steps: int) -> dict:
    """As the pipelines of the model do; returns what else our scheduler has to be told."""
    if not isinstance(scheduler, diffusers.FlowMatchEulerDiscreteScheduler):
        scheduler.set_timesteps(steps)
        return {}
    length = 1024
    config = scheduler.config
    mu = calculate_shift(
        length, config.base_image_seq_len, config.max_image_seq_len, config.base_shift, config.max_shift
    )
    if "FLUX" not in name:
        scheduler.set_timesteps(steps, **({"mu": mu} if config.use_dynamic_shifting else {}))
        return {"imageSequenceLength": length}
    sigmas = np.linspace(1.0, 1 / steps, steps)
    scheduler.set_timesteps(sigmas=sigmas, mu=mu)
    return {"imageSequenceLength": length, "sigmas": sigmas.tolist()}


def run(scheduler_class, name, config, steps, eta, outputs, noises, first):
    scheduler = scheduler_class.from_config(config)
    extra = set_timesteps(scheduler, name, steps)
    if hasattr(scheduler, "set_begin_index"):
        # Without it, a first timestep that occurs twice makes diffusers skip a step and run off the end.
        scheduler.set_begin_index(0)
    sigma = float(scheduler.init_noise_sigma) if hasattr(scheduler, "init_noise_sigma") else 1.0
    latents = torch.from_numpy(first) * sigma
    module = sys.modules[scheduler_class.__module__]
    given = {"eta": eta} if scheduler_class in (diffusers.DDIMScheduler, diffusers.TCDScheduler) else {}
    trajectory, scales = [], []
    for step, timestep in enumerate(scheduler.timesteps):
        module.randn_tensor = lambda *_, **__: torch.from_numpy(noises[step])
        scale = 1.0
        if hasattr(scheduler, "scale_model_input"):
            scale = float((scheduler.scale_model_input(latents, timestep) / latents).flatten()[0])
        scales.append(scale)
        latents = scheduler.step(torch.from_numpy(outputs[step]), timestep, latents, **given).prev_sample
        trajectory.append(latents.numpy())
    if not np.isfinite(trajectory).all():
        raise ValueError("not finite")
    return {
        **extra,
        "timesteps": [float(f"{t:.9g}") for t in scheduler.timesteps.tolist()],
        "initNoiseSigma": sigma,
        **({} if all(scale == 1 for scale in scales) else {"scales": encode(scales)}),
        "latents": encode(trajectory),
    }


def record(name: str) -> dict:
    scheduler_class, configs, etas = SCHEDULERS[name]
    generator = np.random.default_rng(sorted(SCHEDULERS).index(name))
    outputs, noises = generator.standard_normal((2, MOST_EVALUATIONS, *SHAPE), dtype=np.float32)
    first = generator.standard_normal(SHAPE, dtype=np.float32)
    cases, fails = [], []
    for title, config in configs.items():
        for eta in etas:
            for steps in STEPS:
                if steps > config.get("num_train_timesteps", 1000):
                    continue
                case = {"name": title, "steps": steps, "eta": eta}
                try:
                    cases.append({**case, **run(scheduler_class, title, config, steps, eta, outputs, noises, first)})
                except Exception:
                    fails.append(case)
    return {
        "madeWith": f"diffusers {diffusers.__version__}, torch {torch.__version__.split('+')[0]}",
        "modelOutputs": encode(outputs),
        "noises": encode(noises),
        "latents": encode(first),
        "configs": configs,
        "cases": cases,
        "fails": fails,
    }


def main():
    folder = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "schedulers"
    folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    for name in sys.argv[1:] or SCHEDULERS:
        path = folder / f"{name}.json"
        fixture = record(name)
        path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
        print(f"{path.name}: {len(fixture['cases'])} cases, {len(fixture['fails'])} fail, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
