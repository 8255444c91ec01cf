"""Records pictures of diffusers' StableDiffusionPipeline, which findery's engine must reproduce.

    python tools/parity/make_pipeline_fixture.py BUNDLE [FILE]

BUNDLE is a StableDiffusionPipeline folder (the embedded model as torch weights); FILE defaults to
test/fixtures/pipeline/stickers.json. Everything is computed in float32, one picture at a time.
    tokenIds, negativeTokenIds  ids of the prompt and of the empty prompt, padded
    draws   one entry per noise: latents (input of the pipeline), finalLatents (input of the VAE, not yet
            divided by the scaling factor), both base64 of little-endian float32, latentShape; picture: base64
            of uint8 RGB, row by row, pictureShape
"""

import base64
import json
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

PROMPT = "a green dog on the grass"
STEPS = 12
GUIDANCE_SCALE = 4.0
SEEDS = (1, 2)


def encode(array, kind):
    return base64.b64encode(np.ascontiguousarray(array, dtype=kind).tobytes()).decode()


def main():
    bundle = sys.argv[1]
    default = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "pipeline" / "stickers.json"
    path = Path(sys.argv[2]) if len(sys.argv) > 2 else default
    pipeline = StableDiffusionPipeline.from_pretrained(bundle, dtype=torch.float32, safety_checker=None)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    side = pipeline.unet.config.sample_size
    shape = [pipeline.unet.config.in_channels, side, side]

    draws = []
    for seed in SEEDS:
        latents = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        arguments = {
            "num_inference_steps": STEPS,
            "guidance_scale": GUIDANCE_SCALE,
            "latents": torch.from_numpy(latents)[None],
        }
        final = pipeline(PROMPT, output_type="latent", **arguments).images[0].numpy()
        picture = np.asarray(pipeline(PROMPT, output_type="pil", **arguments).images[0])
        draws.append(
            {
                "latents": encode(latents, "<f4"),
                "finalLatents": encode(final, "<f4"),
                "picture": encode(picture, "u1"),
            }
        )

    def tokenize(text):
        return pipeline.tokenizer(text, padding="max_length", truncation=True).input_ids

    fixture = {
        "madeWith": f"diffusers {diffusers.__version__}, torch {torch.__version__.split('+')[0]}",
        "prompt": PROMPT,
        "negativePrompt": "",
        "scheduler": "dpmsolver++",
        "steps": STEPS,
        "guidanceScale": GUIDANCE_SCALE,
        "tokenIds": tokenize(PROMPT),
        "negativeTokenIds": tokenize(""),
        "latentShape": shape,
        "pictureShape": list(picture.shape),
        "draws": draws,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
