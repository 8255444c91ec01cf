"""Generates pictures in Python for bench/peers.ts, with onnxruntime on the same graphs and with diffusers.

Reads one JSON object a line. The first line has the settings {bundle, pipeline, threads, batch, steps,
guidance, latentShape, provider, graphs}; every further line is a request {"peer", "images", "prompt",
"seed", "batch"}, answered with {"seconds"}. Needs onnxruntime, numpy, torch, diffusers and transformers.
"""

import json
import sys
import time
from pathlib import Path

import numpy
import onnxruntime
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from transformers import CLIPTokenizer

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "dml": "DmlExecutionProvider",
}
TYPES = {
    "tensor(int64)": numpy.int64,
    "tensor(int32)": numpy.int32,
    "tensor(float)": numpy.float32,
    "tensor(float16)": numpy.float16,
}


class OnnxPeer:
    """The denoising loop of diffusers on onnxruntime sessions, as in optimum."""

    def __init__(self, settings):
        folder = Path(settings["bundle"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings["threads"]

        provider = PROVIDERS[settings.get("provider", "cpu")]
        names = ("text_encoder", "unet", "vae_decoder")
        paths = settings.get("graphs") or [str(folder / name / "model.onnx") for name in names]
        self.text, self.unet, self.vae = (
            onnxruntime.InferenceSession(path, options, providers=[provider]) for path in paths
        )
        used = self.unet.get_providers()[0]
        assert used == provider, f"onnxruntime does not have {provider}; it would use {used}"
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
        self.scheduler = DPMSolverMultistepScheduler.from_config(config)
        self.scaling = json.loads((folder / "vae_decoder" / "config.json").read_text())["scaling_factor"]
        time_input = next(value for value in self.unet.get_inputs() if value.name == "timestep")
        self.time_type = TYPES[time_input.type]
        self.float_type = TYPES[self.unet.get_inputs()[0].type]
        self.vae_type = TYPES[self.vae.get_inputs()[0].type]
        self.ids_type = TYPES[self.text.get_inputs()[0].type]
        self.settings = settings

    def encode(self, prompt):
        ids = self.tokenizer(prompt, padding="max_length", truncation=True, return_tensors="np").input_ids
        return self.text.run(None, {"input_ids": ids.astype(self.ids_type)})[0]

    def generate(self, prompt, count, seed):
        guidance = self.settings["guidance"]
        text = numpy.concatenate([self.encode("").repeat(count, 0), self.encode(prompt).repeat(count, 0)])
        self.scheduler.set_timesteps(self.settings["steps"])
        generator = torch.Generator().manual_seed(seed)
        latents = torch.randn((count, *self.settings["latentShape"]), generator=generator)
        for t in self.scheduler.timesteps:
            sample = numpy.concatenate([latents.numpy()] * 2).astype(self.float_type)
            times = numpy.full(2 * count, t.item(), self.time_type)
            feeds = {"sample": sample, "timestep": times, "encoder_hidden_states": text}
            without, guided = numpy.split(self.unet.run(None, feeds)[0].astype(numpy.float32), 2)
            output = torch.from_numpy(without + guidance * (guided - without))
            latents = self.scheduler.step(output, t, latents).prev_sample
        pictures = self.vae.run(
            None, {"latent_sample": (latents.numpy() / self.scaling).astype(self.vae_type)}
        )[0].astype(numpy.float32)
        return (numpy.clip(pictures / 2 + 0.5, 0, 1).transpose(0, 2, 3, 1) * 255).round().astype(numpy.uint8)


class DiffusersPeer:
    """The pipeline of diffusers on PyTorch, eager."""

    def __init__(self, settings):
        torch.set_num_threads(settings["threads"])
        pipeline = StableDiffusionPipeline.from_pretrained(settings["pipeline"], torch_dtype=torch.float32)
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        self.pipeline = pipeline
        self.settings = settings

    def generate(self, prompt, count, seed):
        images = self.pipeline(
            prompt,
            num_images_per_prompt=count,
            num_inference_steps=self.settings["steps"],
            guidance_scale=self.settings["guidance"],
            generator=torch.Generator().manual_seed(seed),
            output_type="np",
        ).images
        return (images * 255).round().astype(numpy.uint8)


def main():
    settings = json.loads(sys.stdin.readline())
    peers = {"onnxruntime": OnnxPeer(settings)}
    if settings["pipeline"]:
        peers["diffusers"] = DiffusersPeer(settings)
    print(
        json.dumps(
            {"peers": list(peers), "onnxruntime": onnxruntime.__version__, "torch": torch.__version__}
        ),
        flush=True,
    )
    for line in sys.stdin:
        request = json.loads(line)
        began = time.perf_counter()
        batch = request.get("batch", settings["batch"])
        for start in range(0, request["images"], batch):
            count = min(batch, request["images"] - start)
            pictures = peers[request["peer"]].generate(request["prompt"], count, request["seed"] + start)
            assert pictures.dtype == numpy.uint8 and pictures.std() > 1
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
