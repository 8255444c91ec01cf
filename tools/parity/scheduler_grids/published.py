"""scheduler_config.json as published with well-known models, and the base configs that they vary."""

LATENT_DIFFUSION = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
STABLE_DIFFUSION_1_5 = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    **LATENT_DIFFUSION,
    "skip_prk_steps": True,
    "trained_betas": None,
}
STABLE_DIFFUSION_2_1 = {
    "_class_name": "DDIMScheduler",
    "_diffusers_version": "0.8.0",
    **LATENT_DIFFUSION,
    "prediction_type": "v_prediction",
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
SD_TURBO = {
    "_class_name": "EulerDiscreteScheduler",
    "_diffusers_version": "0.24.0.dev0",
    **LATENT_DIFFUSION,
    "interpolation_type": "linear",
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "skip_prk_steps": True,
    "timestep_spacing": "trailing",
    "timestep_type": "discrete",
    "trained_betas": None,
    "use_karras_sigmas": False,
}
SDXL_TURBO = {**SD_TURBO, "_class_name": "EulerAncestralDiscreteScheduler"}
LCM_DREAMSHAPER = {
    "_class_name": "LCMScheduler",
    "_diffusers_version": "0.22.0.dev0",
    **LATENT_DIFFUSION,
    "clip_sample_range": 1.0,
    "dynamic_thresholding_ratio": 0.995,
    "original_inference_steps": 50,
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
    "sample_max_value": 1.0,
    "set_alpha_to_one": True,
    "thresholding": False,
    "timestep_scaling": 10.0,
    "timestep_spacing": "leading",
    "trained_betas": None,
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
ZERO_SNR = {
    **LATENT_DIFFUSION,
    "rescale_betas_zero_snr": True,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
}
COSINE = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
# Flow matching. flow_match_euler.py calls the scheduler as the pipelines do.
STABLE_DIFFUSION_3 = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "_diffusers_version": "0.29.0.dev0",
    "num_train_timesteps": 1000,
    "shift": 3.0,
}
FLUX_SCHNELL = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "_diffusers_version": "0.30.0.dev0",
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 4096,
    "max_shift": 1.15,
    "num_train_timesteps": 1000,
    "shift": 1.0,
    "use_dynamic_shifting": False,
}
FLUX_DEV = {**FLUX_SCHNELL, "shift": 3.0, "use_dynamic_shifting": True}
QWEN_IMAGE = {
    **FLUX_SCHNELL,
    "invert_sigmas": False,
    "max_image_seq_len": 8192,
    "max_shift": 0.9,
    "shift_terminal": 0.02,
    "stochastic_sampling": False,
    "time_shift_type": "exponential",
    "use_beta_sigmas": False,
    "use_dynamic_shifting": True,
    "use_exponential_sigmas": False,
    "use_karras_sigmas": False,
}
# Wan 2.1, text to video, 480p.
WAN = {
    "_class_name": "UniPCMultistepScheduler",
    "_diffusers_version": "0.33.0.dev0",
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "disable_corrector": [],
    "dynamic_thresholding_ratio": 0.995,
    "final_sigmas_type": "zero",
    "flow_shift": 3.0,
    "lower_order_final": True,
    "num_train_timesteps": 1000,
    "predict_x0": True,
    "prediction_type": "flow_prediction",
    "rescale_betas_zero_snr": False,
    "sample_max_value": 1.0,
    "solver_order": 2,
    "solver_p": None,
    "solver_type": "bh2",
    "steps_offset": 0,
    "thresholding": False,
    "timestep_spacing": "linspace",
    "trained_betas": None,
    "use_beta_sigmas": False,
    "use_exponential_sigmas": False,
    "use_flow_sigmas": True,
    "use_karras_sigmas": False,
}


def calculate_shift(case):
    """mu of the pipelines of Flux and Stable Diffusion 3, computed by their function."""
    # Imported here because it imports transformers.
    from diffusers.pipelines.flux import pipeline_flux

    config = case.config
    return pipeline_flux.calculate_shift(
        case.options["imageSequenceLength"],
        config.get("base_image_seq_len", 256),
        config.get("max_image_seq_len", 4096),
        config.get("base_shift", 0.5),
        config.get("max_shift", 1.15),
    )
