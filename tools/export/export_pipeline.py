"""Turns a diffusers pipeline folder into a findery bundle.

    python tools/export/export_pipeline.py PIPELINE OUT [--dtype fp32|fp16] [--external-data]

Every graph is run against PyTorch at the end; the largest difference is printed. OUT appears whole or not at all.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import diffusers

import components
import graphs

FAMILIES = {
    "sd": ("StableDiffusionPipeline", "LatentConsistencyModelPipeline"),
    "sdxl": ("StableDiffusionXLPipeline",),
    "sd3": ("StableDiffusion3Pipeline",),
    "flux": ("FluxPipeline",),
}


def family_of(pipeline) -> str:
    name = type(pipeline).__name__
    for family, classes in FAMILIES.items():
        if name in classes:
            return family
    accepted = ", ".join(name for classes in FAMILIES.values() for name in classes)
    raise SystemExit(f"{name} is no pipeline that can be exported; there are {accepted}.")


def list_components(pipeline, family: str) -> list[components.Component]:
    encoders = [name for name in ("text_encoder", "text_encoder_2", "text_encoder_3") if getattr(pipeline, name, None)]
    found = [components.text_encoder(name, getattr(pipeline, name), family) for name in encoders]
    tokens = pipeline.tokenizer.model_max_length
    if family == "sd3":
        found.append(components.sd3_transformer(pipeline.transformer, 2 * tokens))
    elif family == "flux":
        found.append(components.flux_transformer(pipeline.transformer, 2 * tokens))
    else:
        found.append(components.unet(pipeline.unet, tokens))
    found.append(components.vae_decoder(pipeline.vae))
    return found


def copy_files(source: Path, out: Path, pipeline) -> None:
    """Tokenizers, the scheduler's config and the list of components, as they are; configs of the graphs beside them."""
    shutil.copy(source / "model_index.json", out / "model_index.json")
    for folder in source.iterdir():
        if folder.is_dir() and (folder.name.startswith("tokenizer") or folder.name == "scheduler"):
            shutil.copytree(folder, out / folder.name, dirs_exist_ok=True)
    for name in ("text_encoder", "text_encoder_2", "text_encoder_3", "unet", "transformer", "vae"):
        config = source / name / "config.json"
        target = out / ("vae_decoder" if name == "vae" else name)
        if config.exists() and target.exists():
            shutil.copy(config, target / "config.json")


def write_card(out: Path, title: str) -> None:
    card = {"kind": "text-to-image", "title": title, "licence": None}
    (out / "findery.json").write_text(json.dumps(card, indent=2) + "\n")


def export(source: Path, out: Path, dtype: str = "fp32", external: bool = False, report=print) -> None:
    """Raises SystemExit with what to do when the folder is no such pipeline or the result differs from PyTorch."""
    if not (source / "model_index.json").exists():
        raise SystemExit(f"{source} has no model_index.json; give the folder of a diffusers pipeline.")
    if out.exists():
        raise SystemExit(f"{out} is already there; choose another name, or remove it.")
    pipeline = diffusers.DiffusionPipeline.from_pretrained(source, local_files_only=True)
    family = family_of(pipeline)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as unfinished:
        bundle = Path(unfinished) / out.name
        for component in list_components(pipeline, family):
            component.module.eval().float()
            path = graphs.write(component, bundle, dtype, external)
            difference = graphs.compare(component, path, dtype)
            size = sum(file.stat().st_size for file in path.parent.iterdir())
            report(f"{component.folder}: {size / 1e6:.1f} MB, largest difference from PyTorch {difference:.1e}")
        copy_files(source, bundle, pipeline)
        write_card(bundle, out.name)
        bundle.rename(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", type=Path, help="folder of a diffusers pipeline")
    parser.add_argument("out", type=Path, help="folder to be made")
    parser.add_argument("--dtype", choices=["fp32", "fp16"], default="fp32")
    parser.add_argument("--external-data", action="store_true", help="weights beside each graph, in model.onnx_data")
    args = parser.parse_args()
    try:
        export(args.pipeline, args.out, args.dtype, args.external_data)
    except RuntimeError as error:
        sys.exit(str(error))
    print(f"{args.out} is ready: put its parent folder into FINDERY_MODELS.")


if __name__ == "__main__":
    main()
