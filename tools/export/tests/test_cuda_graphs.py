"""Graphs for CUDA: what is fused, and that the fused graphs compute what PyTorch computes.

Nothing here can run them on a GPU. onnx's ReferenceEvaluator runs them with reference_operators.py.
"""

from collections import Counter
from pathlib import Path

import components
import cuda_graphs
import fused_norms
import graphs
import import_checkpoint
import onnx
import pytest
import tiny_pipelines
import torch
from checkpoints import CheckpointError
from fused_attention import FusedProcessor
from reference_operators import TOLERANCE, difference


@pytest.fixture(autouse=True)
def widths(monkeypatch):
    """Treats the widths of tiny models as widths that the CUDA kernel of BiasSplitGelu has."""
    monkeypatch.setattr(cuda_graphs, "GATED_GELU_WIDTHS", {128, 256})


def run(arguments: list[str]) -> None:
    import_checkpoint.run(import_checkpoint.arguments().parse_args(arguments))


def fused(out: Path, part: str) -> onnx.ModelProto:
    return onnx.load(str(out / part / "model_cuda.onnx"))


def modules(module: torch.nn.Module, kind: type) -> int:
    return sum(isinstance(part, kind) for part in module.modules())


def convolutions(module: torch.nn.Module) -> int:
    return modules(module, torch.nn.Conv2d)


def test_every_group_norm_convolution_and_attention_is_fused_and_counted(tiny, tmp_path, capsys):
    run(tiny.options(tiny.save(), tmp_path / "mine", "--dtype", "fp16", "--cuda"))
    lines = {line.partition(":")[0]: line for line in capsys.readouterr().out.splitlines()}
    unet, vae = tiny.modules["unet"], tiny.modules["vae"]
    blocks = sum(type(part).__name__ == "BasicTransformerBlock" for part in unet.modules())
    decoder = convolutions(vae.decoder) + convolutions(vae.post_quant_conv)
    for part, norms, convolved, attentions in (
        ("unet", modules(unet, torch.nn.GroupNorm), convolutions(unet), 2 * blocks),
        ("vae_decoder", modules(vae.decoder, torch.nn.GroupNorm), decoder, 1),
    ):
        # The norm of the VAE's attention has three axes.
        unfused = 1 if part == "vae_decoder" else 0
        graph = fused(tmp_path / "mine", part).graph
        nodes = cuda_graphs.count(graph)
        assert nodes["GroupNorm"] + nodes["SkipGroupNorm"] == norms - unfused > 20
        assert nodes["SkipGroupNorm"] > 0
        assert nodes["NhwcConv"] == convolved
        assert nodes["MultiHeadAttention"] == attentions
        assert nodes["InstanceNormalization"] == unfused and not nodes["Conv"]
        casts = {node.output[0] for node in graph.node if node.op_type == "Cast"}
        assert not any(node.input[0] in casts for node in graph.node if node.op_type == "NhwcConv")
        assert (
            f"for CUDA: {norms - unfused} of {norms} GroupNorm, {convolved} of {convolved} NhwcConv, "
            in lines[part]
        )
    assert cuda_graphs.count(fused(tmp_path / "mine", "unet").graph)["BiasSplitGelu"] == blocks


def component(tiny, name: str) -> components.Component:
    module = tiny.modules[name]
    if name == "unet":
        return components.unet(module, 77)
    if name == "vae":
        return components.vae_decoder(module)
    return components.text_encoder(name, module, tiny.layout)


@pytest.fixture(params=["unet", "vae", "text_encoder", "text_encoder_2"])
def part(request, tiny) -> components.Component:
    """A component of each family, with the attention of the importer."""
    if request.param not in tiny.modules:
        pytest.skip(f"{tiny.layout} has no {request.param}")
    result = component(tiny, request.param)
    result.expected = graphs.reference(result)
    if request.param in ("unet", "vae"):
        processors = result.module.attn_processors
        result.module.set_attn_processor(FusedProcessor())
        yield result
        result.module.set_attn_processor(processors)
    else:
        yield result


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_a_fused_graph_computes_what_pytorch_computes(part, dtype, tmp_path):
    path = graphs.write(part, tmp_path / part.folder, dtype)
    cuda_graphs.write(path, part.folder, dtype, external=False)
    model = fused(tmp_path, part.folder)
    onnx.checker.check_model(model)
    assert difference(model, part.expected) < TOLERANCE[dtype]


def test_the_comparison_notices_a_norm_without_its_activation(sd1, tmp_path):
    result = component(sd1, "vae")
    expected = graphs.reference(result)
    path = graphs.write(result, tmp_path / "vae_decoder", "fp16")
    cuda_graphs.write(path, "vae_decoder", "fp16", external=False)
    model = fused(tmp_path, "vae_decoder")
    norm = [node for node in model.graph.node if node.op_type == "GroupNorm"][-1]
    next(attribute for attribute in norm.attribute if attribute.name == "activation").i = 0
    assert difference(model, expected) > 10 * TOLERANCE["fp16"]


def test_weights_beside_the_graph_are_fused_as_those_inside(sd1, tmp_path):
    run(sd1.options(sd1.save(), tmp_path / "mine", "--dtype", "fp16", "--cuda", "--external-data"))
    assert (tmp_path / "mine" / "unet" / "model_cuda.onnx_data").exists()
    nodes = cuda_graphs.count(fused(tmp_path / "mine", "unet").graph)
    assert nodes["GroupNorm"] + nodes["SkipGroupNorm"] == modules(sd1.modules["unet"], torch.nn.GroupNorm)


def test_a_fusion_that_finds_nothing_is_an_error_that_says_what_to_do(sd1, tmp_path, monkeypatch):
    """Without the mend, ONNX Runtime finds no group norm in these graphs."""
    monkeypatch.setattr(fused_norms, "fold_unsqueezed_weights", lambda graph: 0)
    with pytest.raises(RuntimeError) as refusal:
        run(sd1.options(sd1.save(), tmp_path / "mine", "--dtype", "fp16", "--cuda"))
    norms = modules(sd1.modules["unet"], torch.nn.GroupNorm)
    assert f"none of {norms} InstanceNormalization became GroupNorm" in str(refusal.value)
    assert "requirements.txt" in str(refusal.value) and "leave out --cuda" in str(refusal.value)
    assert not (tmp_path / "mine").exists()


def test_a_fusion_that_finds_some_is_counted():
    plain = Counter({"InstanceNormalization": 61, "Conv": 98})
    line = cuda_graphs.report(
        Path("model.onnx"), "unet", plain, Counter({"GroupNorm": 40, "SkipGroupNorm": 20, "NhwcConv": 98}), []
    )
    assert line == "60 of 61 GroupNorm, 98 of 98 NhwcConv"


def test_deterministic_graphs_have_no_fused_group_norms(sd1, tmp_path, capsys):
    options = ("--dtype", "fp16", "--cuda", "--deterministic")
    run(sd1.options(sd1.save(), tmp_path / "mine", *options))
    nodes = cuda_graphs.count(fused(tmp_path / "mine", "unet").graph)
    assert nodes["InstanceNormalization"] == modules(sd1.modules["unet"], torch.nn.GroupNorm)
    assert not nodes["GroupNorm"] and not nodes["SkipGroupNorm"]
    assert nodes["NhwcConv"] == convolutions(sd1.modules["unet"])
    assert "GroupNorm" not in capsys.readouterr().out


def test_deterministic_needs_cuda(sd1, tmp_path):
    with pytest.raises(CheckpointError, match="add --cuda"):
        run(sd1.options(sd1.save(), tmp_path / "mine", "--deterministic"))


def test_float32_graphs_keep_their_convolutions(sd1, tmp_path, capsys):
    run(sd1.options(sd1.save(), tmp_path / "mine", "--cuda"))
    nodes = cuda_graphs.count(fused(tmp_path / "mine", "unet").graph)
    assert nodes["Conv"] == convolutions(sd1.modules["unet"]) and not nodes["NhwcConv"]
    assert nodes["GroupNorm"] + nodes["SkipGroupNorm"] == modules(sd1.modules["unet"], torch.nn.GroupNorm)
    assert "NhwcConv" not in capsys.readouterr().out


def test_what_the_cuda_kernels_have_no_form_for_stays_as_it_is(sd1, tmp_path, monkeypatch):
    """Other widths of BiasSplitGelu, and an odd number of channels in a group of GroupNorm."""
    monkeypatch.setattr(cuda_graphs, "GATED_GELU_WIDTHS", {1280, 2560, 5120})
    path = graphs.write(component(sd1, "unet"), tmp_path / "unet", "fp16")
    assert "BiasSplitGelu" not in cuda_graphs.write(path, "unet", "fp16", external=False)
    assert not cuda_graphs.count(fused(tmp_path, "unet").graph)["BiasSplitGelu"]

    # Channels by group: 1 in the blocks of 4 channels, 2 in those of 8.
    vae = tiny_pipelines.vae()
    norms = [part for part in vae.decoder.modules() if isinstance(part, torch.nn.GroupNorm)]
    even = sum(norm.num_channels // norm.num_groups % 2 == 0 for norm in norms)
    assert 0 < even < len(norms)
    part = components.vae_decoder(vae)
    expected = graphs.reference(part)
    vae.set_attn_processor(FusedProcessor())
    path = graphs.write(part, tmp_path / "vae_decoder", "fp32")
    line = cuda_graphs.write(path, "vae_decoder", "fp32", external=False)
    assert line.startswith(f"{even - 1} of {len(norms)} GroupNorm")
    assert difference(fused(tmp_path, "vae_decoder"), expected) < TOLERANCE["fp32"]
