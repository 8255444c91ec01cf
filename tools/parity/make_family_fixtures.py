"""Makes tiny random pipelines of every family, exported by tools/export, with the pictures of diffusers.

    python tools/parity/make_family_fixtures.py [FAMILY ...]

Writes test/fixtures/families/NAME (a bundle), NAME-fp16, and NAME.json:

    {"channels": C, "tokens": ids of the prompt by tokenizer, "cases": [
        {"call": parameters of the pipeline, "scheduler": class name or null (that of the pipeline),
         "size": [width, height], "latents": base64 of float32 [2, C, h, w],
         "stepNoises": base64 of float32 [steps, 2, C, h, w] or null,
         "picture": base64 of uint8 [2, height, width, 3]}]}

Latents are N(0, 1) noise, not yet scaled by the scheduler. Each case runs two noises in one batch.
"""

import base64
import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import diffusers
import numpy
import torch
from family_cases import FAMILIES, PROMPT
from graph_variants import compact, drop_twins, make_variants

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "export"))
import bundle as bundles  # noqa: E402
import sources  # noqa: E402

OUT = ROOT / "test" / "fixtures" / "families"
SCALE = 8  # pixels a latent


def encode(array) -> str:
    """The bytes of an array in base64."""
    return base64.b64encode(numpy.ascontiguousarray(array).tobytes()).decode()


def generate(pipeline, call: dict, scheduler: str | None, size: tuple[int, int], channels: int):
    """Pictures of two noises, the noises, and the step noises if the scheduler used any."""
    width, height = size
    shape = (2, channels, height // SCALE, width // SCALE)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(7))
    steps = call["num_inference_steps"]
    noises = torch.randn((steps, *shape), generator=torch.Generator().manual_seed(8))
    own = pipeline.scheduler
    if scheduler:
        pipeline.scheduler = getattr(diffusers, scheduler).from_config(own.config)
    module = sys.modules[type(pipeline.scheduler).__module__]
    used = []

    def randn_tensor(_shape, **_):
        used.append(pipeline.scheduler.step_index)
        return noises[pipeline.scheduler.step_index]

    if hasattr(module, "randn_tensor"):
        original, module.randn_tensor = module.randn_tensor, randn_tensor
    given = {**call, "prompt": [call["prompt"]] * 2}
    if "negative_prompt" in call:
        given["negative_prompt"] = [call["negative_prompt"]] * 2
    packed = latents
    if isinstance(pipeline, diffusers.FluxPipeline):
        packed = pipeline._pack_latents(latents, 2, channels, shape[2], shape[3])
    images = pipeline(**given, latents=packed.clone(), width=width, height=height, output_type="np").images
    if hasattr(module, "randn_tensor"):
        module.randn_tensor = original
    pipeline.scheduler = own
    pictures = (images * 255).round().astype(numpy.uint8)
    return pictures, latents, noises if used else None


def make(name: str) -> None:
    """Writes the fixtures of a family."""
    with tempfile.TemporaryDirectory() as folder:
        make_in(Path(folder) / "pipeline", name)


def make_in(source: Path, name: str) -> None:
    build, cases, has_half = FAMILIES[name]
    pipeline = build()
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(source)
    # As for users: a config that was read has every key, and a scheduler made from it takes all of them.
    pipeline.scheduler = type(pipeline.scheduler).from_pretrained(source / "scheduler")
    channels = pipeline.vae.config.latent_channels
    written = []
    first = None
    for call, scheduler, size in cases:
        pictures, latents, noises = generate(pipeline, call, scheduler, size, channels)
        unlike = (
            ""
            if first is None or first.shape != pictures.shape
            else (f", differs from the first case by {numpy.abs(first.astype(int) - pictures).max()}")
        )
        first = pictures if first is None else first
        print(f"{name}: {scheduler or 'own scheduler'} {size}: deviation {pictures.std():.0f}{unlike}")
        written.append(
            dict(
                call=call,
                scheduler=scheduler,
                size=size,
                latents=encode(latents.numpy()),
                stepNoises=None if noises is None else encode(noises.numpy()),
                picture=encode(pictures),
            )
        )
    tokens = {
        key: getattr(pipeline, key)(PROMPT).input_ids
        for key in ("tokenizer", "tokenizer_2", "tokenizer_3")
        if getattr(pipeline, key, None)
    }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.json").write_text(
        json.dumps(dict(channels=channels, tokens=tokens, cases=written)) + "\n"
    )
    for dtype, target in (("fp32", OUT / name), ("fp16", OUT / f"{name}-fp16")):
        shutil.rmtree(target, ignore_errors=True)
        if dtype == "fp32" or has_half:
            bundles.export(sources.open_source(source), target, bundles.Options(dtype))
            for path in target.glob("*/model.onnx"):
                compact(path)
            drop_twins(target, OUT)
    if name == "sd15":
        make_variants(OUT / name, OUT / "sd15-variants")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for family in sys.argv[1:] or FAMILIES:
        make(family)
