"""Graphs for NVIDIA GPUs: `model_cuda.onnx` beside `model.onnx`, with nodes that ONNX Runtime's optimizer
fuses.
"""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import fused_norms
import fused_rms_norms
import onnx
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

NAME = "model_cuda.onnx"
KINDS = {
    "text_encoder": "clip",
    "text_encoder_2": "clip",
    "unet": "unet",
    "transformer": "mmdit",
    "vae_decoder": "vae",
}


@dataclass(frozen=True)
class Fusion:
    """One fusion: each node `source` of the plain graph can become one node of the types `fused`."""

    name: str
    source: str
    fused: tuple[str, ...]


GROUP_NORM = Fusion("GroupNorm", "InstanceNormalization", ("GroupNorm", "SkipGroupNorm"))
NHWC_CONV = Fusion("NhwcConv", "Conv", ("NhwcConv",))
ATTENTION = Fusion("MultiHeadAttention", "MultiHeadAttention", ("MultiHeadAttention",))
# Widths for which the CUDA kernel of BiasSplitGelu exists (those of Stable Diffusion 1.x, 2.x, XL).
GATED_GELU_WIDTHS = {1280, 2560, 5120}
GATED_GELU = Fusion("BiasSplitGelu", "Erf", ("BiasSplitGelu",))
SKIP_LAYER_NORM = Fusion("SkipLayerNormalization", "LayerNormalization", ("SkipLayerNormalization",))
GELU = Fusion("Gelu", "Erf", ("BiasGelu", "Gelu", "FastGelu"))
QUICK_GELU = Fusion("QuickGelu", "Sigmoid", ("QuickGelu",))
TANH_GELU = Fusion("FastGelu", "Tanh", ("FastGelu",))
RMS_NORM = Fusion("RMSNorm", "ReduceMean", ("SimplifiedLayerNormalization",))
FUSIONS = {
    "unet": [GROUP_NORM, NHWC_CONV, ATTENTION, GATED_GELU, SKIP_LAYER_NORM],
    "vae": [GROUP_NORM, NHWC_CONV, ATTENTION],
    "mmdit": [RMS_NORM, ATTENTION, TANH_GELU],
    "clip": [SKIP_LAYER_NORM, GELU, QUICK_GELU],
}


def write(path: Path, part: str, dtype: str, external: bool, deterministic: bool = False) -> str | None:
    """Writes the graph beside `path`. Returns what was fused, such as "61 of 61 GroupNorm", or None for parts
    that the optimizer does not know, for which nothing is written.

    The nodes (group norms, NHWC convolutions, skip and bias fusions) have kernels only on CUDA, so nothing
    runs the graph here.
    deterministic: leaves group norms as they are. The CUDA kernel of GroupNorm adds partial sums in the order
    in which its blocks end (atomicAdd), so the last bits of its results may differ between two runs.
    Raises RuntimeError when a fusion finds none of the nodes that the graph has.
    """
    kind = KINDS.get(part)
    if kind is None:
        return None
    model = onnx.load(str(path))
    available = count(model.graph)
    # These kernels are made for float16. In float32, cuDNN chooses better layouts.
    left_out = [GROUP_NORM] * deterministic + [NHWC_CONV] * (dtype != "fp16")
    if not gated_gelu_widths(model.graph) <= GATED_GELU_WIDTHS:
        left_out.append(GATED_GELU)
    fused = fuse(model, kind, [fusion for fusion in FUSIONS[kind] if fusion not in left_out])
    line = report(path, kind, available, count(fused.graph), left_out)
    is_beside = external or (path.parent / "model.onnx_data").exists()
    onnx.save(
        fused,
        str(path.with_name(NAME)),
        save_as_external_data=is_beside,
        location=NAME + "_data",
        size_threshold=1024,
    )
    return line


def fuse(model: onnx.ModelProto, kind: str, fusions: list[Fusion]) -> onnx.ModelProto:
    """Runs the optimizer for a kind of `KINDS`. Changes `model`."""
    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    options = FusionOptions(kind)
    # `fused_norms` fuses them before.
    options.enable_group_norm = False
    options.enable_skip_group_norm = GROUP_NORM in fusions
    options.enable_nhwc_conv = NHWC_CONV in fusions
    options.enable_bias_splitgelu = GATED_GELU in fusions
    if GROUP_NORM in fusions:
        model = fused_norms.fuse(model)
    if RMS_NORM in fusions:
        fused_rms_norms.fuse(model.graph)
    optimized = optimize_model(
        model,
        model_type=kind,
        num_heads=0,
        hidden_size=0,
        opt_level=0,
        optimization_options=options,
        use_gpu=True,
    )
    drop_casts_before_convolutions(optimized.model.graph)
    if "com.microsoft" not in {opset.domain for opset in optimized.model.opset_import}:
        optimized.model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    return optimized.model


def drop_casts_before_convolutions(graph: onnx.GraphProto) -> None:
    """Removes the Cast that `FusionNhwcConv` puts before every convolution. It changes no type, because the
    input of a convolution has the type of its weight.
    """
    made = {node.output[0]: node for node in graph.node}
    for node in graph.node:
        before = made.get(node.input[0]) if node.op_type == "NhwcConv" else None
        if before is not None and before.op_type == "Cast":
            node.input[0] = before.input[0]
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for node in [node for node in graph.node if node.op_type == "Cast" and node.output[0] not in used]:
        graph.node.remove(node)


def gated_gelu_widths(graph: onnx.GraphProto) -> set[int]:
    """Widths of the results of a UNet's gated feed-forward layers."""
    biases = [tensor for tensor in graph.initializer if tensor.name.endswith(".ff.net.0.proj.bias")]
    return {tensor.dims[0] // 2 for tensor in biases}


def count(graph: onnx.GraphProto) -> Counter[str]:
    """Number of nodes by operator."""
    return Counter(node.op_type for node in graph.node)


def report(path: Path, kind: str, before: Counter[str], after: Counter[str], left_out: list[Fusion]) -> str:
    """What was fused, as "61 of 61 GroupNorm, 98 of 98 NhwcConv".

    Raises RuntimeError when a fusion found none of the nodes that the graph has.
    """
    lines = []
    for fusion in FUSIONS[kind]:
        available = before[fusion.source]
        if not available or fusion in left_out:
            continue
        fused = sum(after[name] for name in fusion.fused)
        if not fused:
            raise RuntimeError(
                f"{path}: none of {available} {fusion.source} became {fusion.name}, so the graph for CUDA "
                "would be slow. Install exactly tools/export/requirements.txt and run the command again, or "
                "leave out --cuda (CUDA then runs model.onnx), and report the model."
            )
        lines.append(f"{fused} of {available} {fusion.name}")
    return ", ".join(lines)
