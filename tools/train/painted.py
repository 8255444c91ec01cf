"""Pictures as the generator paints them, with a known truth: rendered scenes, noised half way and denoised with their own caption.

usage: python painted.py MODEL OUT.npz --count 12000 --seed 555

MODEL is a model folder with graphs (models/stickers). A picture whose things lost their colour or their place on the way has no known
truth any more and is left out: the test is against the rendered picture, by pixels, and asks no scorer.
"""

import argparse
import json
import pickle
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from diffusers import DDIMScheduler
from transformers import CLIPTokenizer

from rendering import CELLS, SIZE, Picture, render
from scenes import COLOURS, draw_scene, caption

STEPS = 8
HALF_WAY = 3
"""First of the 8 timesteps (876, 751, 626, 501, 376 ...) that is denoised from: timestep 501 of 1,000."""
KINDS = {"single": 0.19, "pair": 0.27, "relation": 0.29, "count": 0.25}


class ImageSource:
    """The generator of a model folder, on 2 threads."""

    def __init__(self, folder: Path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2

        def open_graph(part: str) -> onnxruntime.InferenceSession:
            return onnxruntime.InferenceSession(str(folder / part / "model.onnx"), options)

        self.text_encoder, self.unet = open_graph("text_encoder"), open_graph("unet")
        self.encoder, self.decoder = open_graph("vae_encoder"), open_graph("vae_decoder")
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.scale = json.loads((folder / "vae_decoder/config.json").read_text())["scaling_factor"]
        self.scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
        self.scheduler.set_timesteps(STEPS)

    def embed(self, texts: list[str]) -> np.ndarray:
        length = self.tokenizer.model_max_length
        ids = self.tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="np")["input_ids"]
        return self.text_encoder.run(["last_hidden_state"], {"input_ids": ids.astype(np.int64)})[0]

    def paint(self, pixels: np.ndarray, texts: list[str], start: int, guidance: float, rng: np.random.Generator) -> np.ndarray:
        """[B, 64, 64, 3] uint8 in and out: noised to timestep `start` of STEPS and denoised with their captions."""
        images = pixels.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
        latents = self.encoder.run(None, {"sample": images})[0] * self.scale
        timesteps = self.scheduler.timesteps[start:].numpy()
        alpha = float(self.scheduler.alphas_cumprod[timesteps[0]])
        latents = alpha**0.5 * latents + (1 - alpha) ** 0.5 * rng.standard_normal(latents.shape)
        return self._denoise(latents, texts, timesteps, guidance)

    def generate(self, texts: list[str], guidance: float, steps: int, rng: np.random.Generator) -> np.ndarray:
        """[B, 64, 64, 3] uint8 from noise, by DDIM with eta 0."""
        self.scheduler.set_timesteps(steps)
        pixels = self._denoise(rng.standard_normal((len(texts), 4, CELLS, CELLS)), texts, self.scheduler.timesteps.numpy(), guidance)
        self.scheduler.set_timesteps(STEPS)
        return pixels

    def _denoise(self, latents: np.ndarray, texts: list[str], timesteps: np.ndarray, guidance: float) -> np.ndarray:
        count = len(texts)
        embedding = np.concatenate([self.embed([""]).repeat(count, 0), self.embed(texts)])
        for timestep in timesteps:
            inputs = np.concatenate([latents, latents]).astype(np.float32)
            feed = {"sample": inputs, "timestep": np.full(2 * count, timestep, np.int64), "encoder_hidden_states": embedding}
            without, with_text = np.split(self.unet.run(None, feed)[0], 2)
            prediction = torch.from_numpy(without + guidance * (with_text - without))
            latents = self.scheduler.step(prediction, int(timestep), torch.from_numpy(latents).float()).prev_sample.numpy()
        images = self.decoder.run(None, {"latent_sample": (latents / self.scale).astype(np.float32)})[0]
        return np.clip((images.transpose(0, 2, 3, 1) + 1) * 127.5, 0, 255).round().astype(np.uint8)


PALETTE = np.array(list(COLOURS.values()), np.float32)


def cells_of(pixels: np.ndarray) -> np.ndarray:
    """[16, 16, 3] mean colour of each cell."""
    step = SIZE // CELLS
    return pixels.reshape(CELLS, step, CELLS, step, 3).astype(np.float32).mean((1, 3))


def keeps_truth(picture: Picture, painted: np.ndarray, inside: float = 45, outside: float = 40) -> bool:
    """Whether each thing's body still has its colour, and its surroundings still are without things.

    Mean distance of the cells' colours (0 to 441) within each connected thing's cells, and the 98th percentile of it outside of all.
    """
    from scipy import ndimage

    distance = np.linalg.norm(cells_of(picture.pixels) - cells_of(painted), axis=-1)
    parts, count = ndimage.label(picture.objects > 0)
    if any(distance[parts == part].mean() > inside for part in range(1, count + 1)):
        return False
    around = ~ndimage.binary_dilation(picture.objects > 0)
    return not around.any() or float(np.quantile(distance[around], 0.98)) <= outside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=12000, help="pictures to be kept")
    parser.add_argument("--seed", type=int, default=555)
    parser.add_argument("--starts", default="2,3,3,4", help=f"timesteps of {STEPS} to begin at, drawn per batch; {HALF_WAY} is half way")
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    source = ImageSource(options.model)
    rng = np.random.default_rng(options.seed)
    starts = [int(start) for start in options.starts.split(",")]
    scenes, rendered, painted, tried, began = [], [], [], 0, time.time()
    while len(scenes) < options.count:
        batch = [draw_scene(rng, KINDS) for _ in range(options.batch)]
        pictures = [render(rng, scene) for scene in batch]
        pixels = np.stack([picture.pixels for picture in pictures])
        start, guidance = starts[rng.integers(len(starts))], rng.uniform(2.5, 5)
        results = source.paint(pixels, [caption(scene) for scene in batch], start, guidance, rng)
        tried += len(batch)
        for scene, picture, result in zip(batch, pictures, results):
            if keeps_truth(picture, result) and len(scenes) < options.count:
                scenes.append(scene)
                rendered.append(picture)
                painted.append(result)
        if tried % 640 == 0:
            print(f"{len(scenes)} of {tried} kept, {time.time() - began:.0f} s", flush=True)
    arrays = {name: np.stack([getattr(picture, name) for picture in rendered]) for name in ("objects", "colours", "centres")}
    np.savez_compressed(options.out, painted=np.stack(painted), rendered=np.stack([p.pixels for p in rendered]), **arrays)
    options.out.with_suffix(".pkl").write_bytes(pickle.dumps(scenes))
    print(f"{len(scenes)} of {tried} kept, {time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
