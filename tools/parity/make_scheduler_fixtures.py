"""Records what diffusers' schedulers make of fixed model outputs, for test/unit/schedulers.test.ts.

    python tools/parity/make_scheduler_fixtures.py [FOLDER]

FOLDER is test/fixtures/schedulers unless given. One file per scheduler:
    modelOutputs  one row per step, shared by all cases; latents: the first latents; noises: rows for eta > 0
    cases         name, config (as in scheduler_config.json), steps, eta, timesteps, latents after every step
"""

import json
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch

LENGTH = 16
MOST_STEPS = 50

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


def ddim_cases():
    yield "Stable Diffusion 1.5, the paper's sampler", STABLE_DIFFUSION_1_5, 50, 1.0
    yield "Stable Diffusion 1.5, deterministic", STABLE_DIFFUSION_1_5, 25, 0.0
    yield "Stable Diffusion XL", STABLE_DIFFUSION_XL, 10, 0.0
    yield "DreamShaper 8", DREAMSHAPER_8, 10, 0.5
    yield "stickers", STICKERS, 12, 0.0
    for spacing in ("leading", "linspace", "trailing"):
        for prediction in ("epsilon", "sample", "v_prediction"):
            for eta in (0.0, 1.0):
                config = {**LATENT_DIFFUSION, "timestep_spacing": spacing, "prediction_type": prediction}
                yield f"{spacing}, {prediction}, eta {eta:g}", config, 7, eta
    yield "defaults", {}, 9, 0.0
    yield "clipping to a range", {"clip_sample_range": 0.7}, 6, 0.3
    yield "alpha to one, linear betas", {"clip_sample": False, "set_alpha_to_one": True}, 8, 0.0
    yield "no alpha to one", {"clip_sample": False, "set_alpha_to_one": False}, 8, 1.0
    yield "cosine betas", COSINE, 8, 0.5
    yield "trailing timesteps on halves", {**LATENT_DIFFUSION, "timestep_spacing": "trailing"}, 16, 0.0
    yield "linspace timesteps on halves", {**LATENT_DIFFUSION, "timestep_spacing": "linspace"}, 3, 0.0
    yield "zero terminal SNR", {**ZERO_SNR, "timestep_spacing": "trailing"}, 8, 0.0
    yield "zero terminal SNR, eta 1", {**ZERO_SNR, "timestep_spacing": "trailing"}, 8, 1.0
    yield "trained betas", {"trained_betas": TRAINED_BETAS, "num_train_timesteps": 40, "clip_sample": False}, 10, 0.5
    yield "one step", LATENT_DIFFUSION, 1, 0.0
    yield "defaults of its first class", {**STICKERS, "_use_default_values": ["prediction_type", "steps_offset"]}, 5, 0.0


def dpm_cases():
    yield "stickers", STICKERS, 12, 0.0
    yield "Stable Diffusion 1.5", STABLE_DIFFUSION_1_5, 20, 0.0
    yield "Stable Diffusion XL", STABLE_DIFFUSION_XL, 10, 0.0
    # diffusers refuses the default "zero" for a config that says deis; the names of its choices are what is compared.
    yield "DreamShaper 8", {**DREAMSHAPER_8, "final_sigmas_type": "sigma_min"}, 15, 0.0
    for spacing in ("linspace", "leading", "trailing"):
        for prediction in ("epsilon", "sample", "v_prediction"):
            for steps in (5, 16):
                config = {**LATENT_DIFFUSION, "timestep_spacing": spacing, "prediction_type": prediction}
                yield f"{spacing}, {prediction}, {steps} steps", config, steps, 0.0
    yield "defaults", {}, 9, 0.0
    yield "first order", {**LATENT_DIFFUSION, "solver_order": 1}, 8, 0.0
    yield "heun", {**LATENT_DIFFUSION, "solver_type": "heun"}, 8, 0.0
    ends_above_zero = {**LATENT_DIFFUSION, "final_sigmas_type": "sigma_min"}
    yield "final sigma_min", ends_above_zero, 8, 0.0
    yield "final sigma_min, no lower order", {**ends_above_zero, "lower_order_final": False}, 8, 0.0
    yield "final sigma_min, 16 steps", ends_above_zero, 16, 0.0
    yield "final sigma_min, Euler at the end", {**ends_above_zero, "euler_at_final": True}, 16, 0.0
    yield "Karras", {**LATENT_DIFFUSION, "use_karras_sigmas": True}, 12, 0.0
    yield "Karras, its own range", {**LATENT_DIFFUSION, "use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 10}, 8, 0.0
    yield "Karras on cosine betas", {**COSINE, "use_karras_sigmas": True, "lambda_min_clipped": -5.1}, 8, 0.0
    yield "cosine betas, clipped lambda", {**COSINE, "lambda_min_clipped": -5.1}, 8, 0.0
    yield "cosine betas, clipped lambda, trailing", {**COSINE, "lambda_min_clipped": -5.1, "timestep_spacing": "trailing"}, 8, 0.0
    yield "zero terminal SNR", {**ZERO_SNR, "timestep_spacing": "trailing"}, 8, 0.0
    yield "trained betas", {"trained_betas": TRAINED_BETAS, "num_train_timesteps": 40}, 10, 0.0
    yield "one step", LATENT_DIFFUSION, 1, 0.0
    yield "two steps", LATENT_DIFFUSION, 2, 0.0


def numbers(array):
    return [float(f"{value:.8g}") for value in np.asarray(array, dtype=np.float32).ravel()]


def record(scheduler_class, cases, seed):
    generator = np.random.default_rng(seed)
    outputs, noises = generator.standard_normal((2, MOST_STEPS, LENGTH), dtype=np.float32)
    first = generator.standard_normal(LENGTH, dtype=np.float32)
    recorded = []
    for name, config, steps, eta in cases:
        scheduler = scheduler_class.from_config(config)
        scheduler.set_timesteps(steps)
        if hasattr(scheduler, "set_begin_index"):
            # Without it, a first timestep that occurs twice makes diffusers skip a step and run off the end.
            scheduler.set_begin_index(0)
        latents = torch.from_numpy(first) * scheduler.init_noise_sigma
        trajectory = []
        for step, timestep in enumerate(scheduler.timesteps):
            extra = {}
            if scheduler_class is diffusers.DDIMScheduler:
                extra = {"eta": eta, "variance_noise": torch.from_numpy(noises[step]) if eta > 0 else None}
            output = torch.from_numpy(outputs[step])
            latents = scheduler.step(output, timestep, latents, **extra).prev_sample
            trajectory.append(numbers(latents))
        assert np.isfinite(trajectory).all(), name
        timesteps = scheduler.timesteps.tolist()
        recorded.append(
            {"name": name, "config": config, "steps": steps, "eta": eta, "timesteps": timesteps, "latents": trajectory}
        )
    return {
        "madeWith": f"diffusers {diffusers.__version__}, torch {torch.__version__.split('+')[0]}",
        "modelOutputs": [numbers(row) for row in outputs],
        "noises": [numbers(row) for row in noises],
        "latents": numbers(first),
        "cases": recorded,
    }


def main():
    default = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "schedulers"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    folder.mkdir(parents=True, exist_ok=True)
    for name, scheduler_class, cases, seed in (
        ("ddim", diffusers.DDIMScheduler, ddim_cases(), 1),
        ("dpm-solver-multistep", diffusers.DPMSolverMultistepScheduler, dpm_cases(), 2),
    ):
        path = folder / f"{name}.json"
        path.write_text(json.dumps(record(scheduler_class, cases, seed), separators=(",", ":")) + "\n")
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
