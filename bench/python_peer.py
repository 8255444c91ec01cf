"""The same pictures in Python, for bench/peers.ts: onnxruntime on the same graphs, and diffusers eager on PyTorch.

Reads one JSON object a line: first the settings {bundle, pipeline, threads, batch, steps, guidance}, then {"peer", "images", "prompt", "seed"}; answers each with
{"seconds"}. Needs onnxruntime, numpy, torch, diffusers and transformers.
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


class OnnxPeer:
    """diffusers' loop on onnxruntime sessions, as optimum's pipelines have it: numpy in and out, its scheduler on tensors."""

    def __init__(self, settings):
        folder = Path(settings["bundle"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings["threads"]

        def open_session(name):
            path = str(folder / name / "model.onnx")
            return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        self.text, self.unet, self.vae = (open_session(name) for name in ("text_encoder", "unet", "vae_decoder"))
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
        self.scheduler = DPMSolverMultistepScheduler.from_config(config)
        self.scaling = json.loads((folder / "vae_decoder" / "config.json").read_text())["scaling_factor"]
        time_input = next(value for value in self.unet.get_inputs() if value.name == "timestep")
        self.time_type = numpy.int64 if time_input.type == "tensor(int64)" else numpy.float32
        self.shape = self.unet.get_inputs()[0].shape[1:]
        self.settings = settings

    def encode(self, prompt):
        ids = self.tokenizer(prompt, padding="max_length", truncation=True, return_tensors="np").input_ids
        return self.text.run(None, {"input_ids": ids.astype(numpy.int64)})[0]

    def paint(self, prompt, count, seed):
        guidance = self.settings["guidance"]
        text = numpy.concatenate([self.encode("").repeat(count, 0), self.encode(prompt).repeat(count, 0)])
        self.scheduler.set_timesteps(self.settings["steps"])
        generator = torch.Generator().manual_seed(seed)
        channels, side = self.settings["latentShape"][0], self.settings["latentShape"][1]
        latents = torch.randn((count, channels, side, side), generator=generator)
        for t in self.scheduler.timesteps:
            sample = numpy.concatenate([latents.numpy()] * 2)
            times = numpy.full(2 * count, t.item(), self.time_type)
            feeds = {"sample": sample, "timestep": times, "encoder_hidden_states": text}
            without, guided = numpy.split(self.unet.run(None, feeds)[0], 2)
            output = torch.from_numpy(without + guidance * (guided - without))
            latents = self.scheduler.step(output, t, latents).prev_sample
        pictures = self.vae.run(None, {"latent_sample": latents.numpy() / self.scaling})[0]
        return (numpy.clip(pictures / 2 + 0.5, 0, 1).transpose(0, 2, 3, 1) * 255).round().astype(numpy.uint8)


class DiffusersPeer:
    def __init__(self, settings):
        torch.set_num_threads(settings["threads"])
        pipeline = StableDiffusionPipeline.from_pretrained(settings["pipeline"], torch_dtype=torch.float32)
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        self.pipeline = pipeline
        self.settings = settings

    def paint(self, prompt, count, seed):
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
    print(json.dumps({"peers": list(peers), "onnxruntime": onnxruntime.__version__, "torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        began = time.perf_counter()
        for start in range(0, request["images"], settings["batch"]):
            count = min(settings["batch"], request["images"] - start)
            pictures = peers[request["peer"]].paint(request["prompt"], count, request["seed"] + start)
            assert pictures.dtype == numpy.uint8 and pictures.std() > 1
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
