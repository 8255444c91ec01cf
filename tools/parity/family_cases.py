"""The families of make_family_fixtures.py: a tiny pipeline of each, and the calls that are recorded."""

import diffusers
from tiny_pipelines import flux, sd3, sdxl, stable_diffusion

PROMPT = "a green dog on the grass"
NEGATIVE = "a red book and a yellow vase"
SD15 = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
EULER = dict(
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    steps_offset=1,
    timestep_spacing="leading",
)
TURBO = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="trailing")
V = dict(prompt=PROMPT, num_inference_steps=3)
GUIDED = dict(**V, negative_prompt=NEGATIVE, guidance_scale=5.0)

# name: (function that makes the pipeline, cases, whether there is a float16 bundle too).
# A case is (call of the pipeline, scheduler class or None for the pipeline's, (width, height)).
FAMILIES = {
    "sd15": (
        lambda: stable_diffusion(
            diffusers.PNDMScheduler(**SD15, skip_prk_steps=True, set_alpha_to_one=False)
        ),
        [
            (GUIDED, None, (64, 64)),
            (dict(V, guidance_scale=5.0), None, (64, 64)),
            (dict(V, guidance_scale=1.0), None, (64, 64)),
            (dict(GUIDED, clip_skip=1), None, (64, 64)),
            (dict(GUIDED, clip_skip=2), "DDIMScheduler", (64, 64)),
            (dict(GUIDED, num_inference_steps=4, guidance_scale=2.0), "DDIMScheduler", (96, 48)),
            (GUIDED, "EulerDiscreteScheduler", (64, 64)),
            (dict(GUIDED, num_inference_steps=5), "UniPCMultistepScheduler", (64, 64)),
        ],
        True,
    ),
    "sd21-v": (
        lambda: stable_diffusion(
            diffusers.DDIMScheduler(
                **SD15, clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction"
            ),
            pad="a</w>",
            act="gelu",
        ),
        [(GUIDED, None, (64, 64)), (GUIDED, "DPMSolverMultistepScheduler", (48, 64))],
        False,
    ),
    "lcm": (
        lambda: stable_diffusion(
            diffusers.LCMScheduler(**{**SD15, "steps_offset": 0}, clip_sample=False),
            dict(time_cond_proj_dim=16),
            cls=diffusers.LatentConsistencyModelPipeline,
        ),
        [
            (dict(V, num_inference_steps=4, guidance_scale=8.5), None, (64, 64)),
            (dict(V, num_inference_steps=1, guidance_scale=2.0), None, (64, 64)),
        ],
        True,
    ),
    "sd-turbo": (
        lambda: stable_diffusion(diffusers.EulerDiscreteScheduler(**TURBO), pad="a</w>", act="gelu"),
        [(dict(prompt=PROMPT, num_inference_steps=1, guidance_scale=0.0), None, (64, 64))],
        False,
    ),
    "sdxl": (
        lambda: sdxl(diffusers.EulerDiscreteScheduler(**EULER)),
        [
            (GUIDED, None, (64, 64)),
            (dict(V, guidance_scale=5.0), None, (64, 64)),
            (dict(GUIDED, clip_skip=1), None, (64, 64)),
            (GUIDED, "DPMSolverMultistepScheduler", (96, 48)),
        ],
        True,
    ),
    "sdxl-turbo": (
        lambda: sdxl(diffusers.EulerAncestralDiscreteScheduler(**TURBO)),
        [
            (dict(prompt=PROMPT, num_inference_steps=1, guidance_scale=0.0), None, (64, 64)),
            (dict(prompt=PROMPT, num_inference_steps=4, guidance_scale=0.0), None, (64, 64)),
        ],
        False,
    ),
    "sd3": (
        sd3,
        [(GUIDED, None, (64, 64)), (dict(GUIDED, clip_skip=1), None, (64, 64)), (GUIDED, None, (96, 48))],
        True,
    ),
    "flux": (
        lambda: flux(True),
        [(dict(V, guidance_scale=3.5), None, (64, 64)), (dict(V, guidance_scale=8.0), None, (96, 48))],
        True,
    ),
    "flux-schnell": (
        lambda: flux(False),
        [(dict(prompt=PROMPT, num_inference_steps=4, guidance_scale=0.0), None, (64, 64))],
        False,
    ),
}
