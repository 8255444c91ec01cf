"""Draws latents for a diffusers pipeline from a policy file. Needs: pip install numpy safetensors

Run: python3 examples/load_policy.py policy.safetensors [COUNT]

GET /v1/policies/{id}/parameters is the file; examples/follow_job.py writes one.
Writes latents.npy, [COUNT, C, H, W].
"""

import json
import sys

import numpy as np
from safetensors import safe_open

path = sys.argv[1] if len(sys.argv) > 1 else "policy.safetensors"
count = int(sys.argv[2]) if len(sys.argv) > 2 else 4

with safe_open(path, "numpy") as file:
    # [K, C, H, W], [K] or [K, C, H, W], [K]
    mean, std, weights = (file.get_tensor(name) for name in ("mean", "std", "weights"))
    metadata = file.metadata()
print("prompt:", json.loads(metadata["prompt"]), "| model:", json.loads(metadata["model"]))
print("components:", len(weights), "| latents:", mean.shape[1:])

rng = np.random.default_rng(0)
component = rng.choice(len(weights), size=count, p=weights.astype(np.float64) / weights.sum(dtype=np.float64))
# std is one number for each component, or one for each number of the latent.
std = std.reshape(std.shape + (1,) * (mean.ndim - std.ndim))
latents = mean[component] + std[component] * rng.standard_normal((count, *mean.shape[1:]), dtype=np.float32)
np.save("latents.npy", latents)
print("latents.npy:", latents.shape, f"mean norm {np.sqrt((latents**2).mean()):.3f}")

# With diffusers, on the model that the policy was learned for:
#
#   pipeline = StableDiffusionPipeline.from_pretrained(...)
#   latents = torch.from_numpy(latents).to(pipeline.device, pipeline.dtype)
#   images = pipeline([prompt] * count, latents=latents).images
