"""Imports and serves a complete checkpoint, and compares it with diffusers reading the same file: same
prompt, noise and two steps.

    python tools/parity/check_checkpoint.py CHECKPOINT WORK [--dtype fp16] [--vae FILE] [--lora FILE:0.8]
        [--reward FOLDER]

CHECKPOINT is a single file of Stable Diffusion 1.x (original_layout.py makes a random one of full size). WORK
gets the bundle and the pictures and needs about 10 GB. With --reward, a job of 4 images over HTTP follows,
scored by that reward bundle. Needs `npm ci` and, for --lora, the package peft.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy

ROOT = Path(__file__).resolve().parents[2]
EXPORT = ROOT / "tools" / "export"
TOLERANCE = {"fp32": 2, "fp16": 6}


def imported(args, bundle: Path) -> None:
    command = [
        sys.executable,
        str(EXPORT / "import_checkpoint.py"),
        str(args.checkpoint),
        str(bundle),
        "--dtype",
        args.dtype,
    ]
    command += ["--vae", str(args.vae)] if args.vae else []
    command += [part for text in args.lora for part in ("--lora", text)]
    began = time.monotonic()
    subprocess.run(command, check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"imported in {time.monotonic() - began:.0f} s, at most {peak:.2f} GiB resident")


def served(args, bundle: Path) -> None:
    if args.reward:
        target = bundle.parent / args.reward.name
        if not target.exists():
            shutil.copytree(args.reward, target, copy_function=os.link)
    node = ROOT / "node_modules" / ".bin" / "node"
    command = [
        str(node),
        "--disable-warning=ExperimentalWarning",
        str(ROOT / "tools/parity/serve-checkpoint.ts"),
    ]
    command += [str(bundle.parent), bundle.name, str(args.work), *([args.reward.name] if args.reward else [])]
    # The processes that it starts need the pinned Node on the PATH, too.
    path = f"{node.parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(command, check=True, env={**os.environ, "PATH": path})


def painted(args, asked: dict, noise: numpy.ndarray) -> numpy.ndarray:
    """Picture of diffusers in float32 on the CPU."""
    import diffusers
    import torch

    sys.path.insert(0, str(EXPORT))
    import lora

    configs = args.work / "configs"
    shutil.copytree(EXPORT / "configs" / "sd1", configs, dirs_exist_ok=True)
    for file in (EXPORT / "configs" / "clip-tokenizer").iterdir():
        shutil.copy(file, configs / "tokenizer" / file.name)
    pipeline = diffusers.StableDiffusionPipeline.from_single_file(
        str(args.checkpoint),
        config=str(configs),
        local_files_only=True,
        torch_dtype=torch.float32,
        safety_checker=None,
    )
    if args.vae:
        pipeline.vae = diffusers.AutoencoderKL.from_single_file(
            str(args.vae),
            config=str(configs),
            subfolder="vae",
            local_files_only=True,
            torch_dtype=torch.float32,
        )
    for i, text in enumerate(args.lora):
        path, weight = lora.parse(text)
        pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=f"lora{i}")
        pipeline.fuse_lora(lora_scale=weight, adapter_names=[f"lora{i}"])
        pipeline.unload_lora_weights()
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline(
        asked["prompt"],
        latents=torch.from_numpy(noise),
        num_inference_steps=asked["steps"],
        guidance_scale=asked["guidanceScale"],
        width=asked["width"],
        height=asked["height"],
        output_type="np",
    ).images[0]
    return (picture * 255).round().astype(numpy.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--dtype", choices=["fp32", "fp16"], default="fp32")
    parser.add_argument("--vae", type=Path)
    parser.add_argument("--lora", action="append", default=[])
    parser.add_argument("--reward", type=Path)
    args = parser.parse_args()
    bundle = args.work / "models" / args.checkpoint.stem
    if not bundle.exists():
        imported(args, bundle)
    served(args, bundle)
    asked = json.loads((args.work / "picture.json").read_text())
    width, height = asked["width"], asked["height"]
    noise = numpy.fromfile(args.work / "noise.f32", dtype=numpy.float32).reshape(
        1, 4, height // 8, width // 8
    )
    ours = numpy.fromfile(args.work / "picture.rgb", dtype=numpy.uint8).reshape(height, width, 3)
    theirs = painted(args, asked, noise)
    largest = int(numpy.abs(ours.astype(int) - theirs).max())
    print(
        f"{width}x{height}, deviation {theirs.std():.0f}: largest difference from diffusers {largest}/255 "
        f"(at most {TOLERANCE[args.dtype]} is accepted)"
    )
    sys.exit(largest > TOLERANCE[args.dtype])


if __name__ == "__main__":
    main()
