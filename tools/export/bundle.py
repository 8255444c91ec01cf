"""Exports the modules of a source as a findery bundle, one by one, each compared with PyTorch."""

import gc
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import components
import cuda_graphs
import graphs
import lora
import torch
import weights
from fused_attention import FusedProcessor, fused_in_transformers
from pipeline_source import Source
from sources import weights_size
from tqdm import tqdm
from workspace import Workspace, state_needs


@dataclass(frozen=True)
class Options:
    """Options of an export.

    dtype: "fp32" or "fp16", for all graphs.
    vae_dtype: the same for the VAE alone; None: `dtype`, or "fp32" if the VAE overflows in float16.
    external: whether to store weights beside the graphs even if they are small.
    attention: "fused" (one node; less memory; for the execution providers cpu, cuda, webgpu and dml) or
    "plain" (ONNX operators; for every provider).
    cuda: whether to also write graphs with more fused nodes, for NVIDIA GPUs.
    deterministic: whether those graphs leave out the fusions whose results differ between runs in their last
    bits.
    """

    dtype: str = "fp32"
    vae_dtype: str | None = None
    external: bool = False
    attention: str = "fused"
    cuda: bool = False
    deterministic: bool = False


DEFAULTS = Options()


def export(
    source: Source,
    out: Path,
    options: Options = DEFAULTS,
    loras: Sequence[lora.Lora] = (),
    report: Callable[[str], None] = tqdm.write,
) -> None:
    """Creates the folder `out`, complete or not at all. An interrupted run is continued by the same call.

    Raises CheckpointError, WorkspaceError or RuntimeError; the message says what to do.
    """
    files = [*source.files, *(each.path for each in loras)]
    task = {
        "files": [
            [str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns]
            if path.exists()
            else str(path)
            for path in files
        ],
        "configs": {name: source.config(name) for name in source.modules},
        "options": vars(options),
        "loras": [[str(each.path), each.weight] for each in loras],
    }
    if loras:
        unet = source.config("unet") if "unet" in source.modules else None
        lora.refuse_strangers(loras, {name: source.names(name) for name in source.modules}, unet)
    workspace = Workspace(out, task)
    count = {name: source.count(name) for name in source.modules}
    factor = (2 if options.dtype == "fp16" else 4) * (2 if options.cuda else 1)
    state_needs(
        out, disk=sum(count.values()) * factor * 1.02 + 2e7, memory=_memory(source, count), report=report
    )
    workspace.open()
    with tqdm(
        total=3 * len(source.modules),
        unit="step",
        bar_format="{desc:<28}{percentage:3.0f}% |{bar}| {elapsed}",
    ) as bar:
        for name in source.modules:
            folder = "vae_decoder" if name == "vae" else name
            if workspace.is_finished(folder):
                report(f"{workspace.result(folder)} (from an earlier run)")
                bar.update(3)
                continue
            with workspace.part(folder) as path:
                line = _make(source, name, path, options, loras, bar)
                (path / "config.json").write_text(json.dumps(source.config(name), indent=2) + "\n")
            workspace.finish(folder, line)
            report(line)
            gc.collect()
    source.copy_files(workspace.folder)
    card = {"kind": "text-to-image", "title": out.name, "licence": None}
    (workspace.folder / "findery.json").write_text(json.dumps(card, indent=2) + "\n")
    workspace.publish()


def _make(
    source: Source, name: str, folder: Path, options: Options, loras: Sequence[lora.Lora], bar: tqdm
) -> str:
    def step(what: str) -> None:
        bar.set_description_str(f"{name}: {what}")
        bar.update(1)

    bar.set_description_str(f"{name}: reading")
    module = source.load(name).float().eval().requires_grad_(False)
    merged = lora.merge(module, name, loras)
    component = _component(source, name, module)
    # The reference comes from the unchanged module. The steps below only change how its attention
    # is written.
    expected = graphs.reference(component)
    if options.attention == "fused" and name in ("unet", "vae"):
        module.set_attn_processor(FusedProcessor())
    in_transformer = options.attention == "fused" and name == "transformer"
    step("tracing and writing")
    # Without an explicit vae_dtype, float16 is tried first: some autoencoders overflow in it.
    dtypes = [options.vae_dtype or options.dtype] if name == "vae" else [options.dtype]
    if name == "vae" and dtypes == ["fp16"] and options.vae_dtype is None:
        dtypes.append("fp32")
    for dtype in dtypes:
        try:
            with fused_in_transformers() if in_transformer else nullcontext():
                path = graphs.write(component, folder, dtype, options.external)
            if dtype == dtypes[-1]:
                del module
                component.module = None
            if dtype == dtypes[0]:
                step("comparing with PyTorch")
            difference = graphs.compare(expected, path, dtype)
            fused = None
            if options.cuda:
                fused = cuda_graphs.write(path, folder.name, dtype, options.external, options.deterministic)
            break
        except weights.OverflowInHalfError:
            if dtype == dtypes[-1]:
                raise
            for file in folder.iterdir():
                file.unlink()
    step("finished")
    size = sum(file.stat().st_size for file in folder.iterdir())
    notes = [
        dtype
        if dtype == options.dtype
        else f"{dtype}, because it overflows in {options.dtype}"
        if options.vae_dtype is None
        else dtype
    ]
    notes += [f"{merged} weights changed by LoRA"] if merged else []
    return (
        f"{folder.name}: {size / 1e6:.1f} MB ({', '.join(notes)}), "
        f"largest difference from PyTorch {difference:.1e}" + (f"; for CUDA: {fused}" if fused else "")
    )


def _component(source: Source, name: str, module: torch.nn.Module) -> components.Component:
    if name.startswith("text_encoder"):
        return components.text_encoder(name, module, source.family)
    if name == "vae":
        return components.vae_decoder(module)
    if source.family == "sd3":
        return components.sd3_transformer(module, 2 * source.tokens)
    if source.family == "flux":
        return components.flux_transformer(module, 2 * source.tokens)
    return components.unet(module, source.tokens)


def _memory(source: Source, count: dict[str, int]) -> float:
    """Estimated peak memory: the largest module in float32, the mapped pages of the checkpoint, and the
    tracer's share.
    """
    return max(count.values()) * 4 * 1.35 + min(weights_size(source), max(count.values()) * 4) + 1.2e9
