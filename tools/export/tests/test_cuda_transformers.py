"""Graphs for CUDA of the transformers of Stable Diffusion 3, 3.5 and FLUX.1."""

from pathlib import Path

import components
import cuda_graphs
import diffusers
import graphs
import import_checkpoint
import onnx
import pytest
import tiny_pipelines
import torch
from fused_attention import fused_in_transformers
from reference_operators import TOLERANCE, difference

BLOCKS = 3
JOINT = dict(
    sample_size=8,
    patch_size=2,
    in_channels=16,
    out_channels=16,
    num_layers=BLOCKS,
    attention_head_dim=8,
    num_attention_heads=4,
    joint_attention_dim=64,
    caption_projection_dim=32,
    pooled_projection_dim=40,
    pos_embed_max_size=16,
)
FLUX = dict(
    patch_size=1,
    in_channels=64,
    num_layers=BLOCKS,
    num_single_layers=2,
    attention_head_dim=16,
    num_attention_heads=2,
    joint_attention_dim=32,
    pooled_projection_dim=16,
    guidance_embeds=True,
    axes_dims_rope=(4, 6, 6),
)


def make(family: str) -> components.Component:
    torch.manual_seed(3)
    if family == "flux":
        return components.flux_transformer(diffusers.FluxTransformer2DModel(**FLUX).eval(), 20)
    own = dict(qk_norm="rms_norm", dual_attention_layers=(0, 1)) if family == "sd3.5" else {}
    return components.sd3_transformer(diffusers.SD3Transformer2DModel(**JOINT, **own).eval(), 20)


def write(component: components.Component, folder: Path, dtype: str) -> Path:
    with fused_in_transformers():
        return graphs.write(component, folder, dtype)


def rms_norms(module: torch.nn.Module) -> int:
    return sum(type(part).__name__ == "RMSNorm" for part in module.modules())


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("family", ["sd3", "sd3.5", "flux"])
def test_a_fused_transformer_computes_what_pytorch_computes(family, dtype, tmp_path):
    component = make(family)
    expected = graphs.reference(component)
    norms = rms_norms(component.module)
    # 3.5 attends twice in two of its blocks. FLUX has two blocks of a single stream.
    attentions = BLOCKS if family == "sd3" else BLOCKS + 2
    # One for each stream; the last block of Stable Diffusion 3 has no text stream any more.
    gelus = 2 * BLOCKS + 2 if family == "flux" else 2 * BLOCKS - 1
    path = write(component, tmp_path / "transformer", dtype)
    assert graphs.compare(expected, path, dtype) < TOLERANCE[dtype]
    line = cuda_graphs.write(path, "transformer", dtype, external=False)
    counted = [f"{norms} of {norms} RMSNorm"] * (norms > 0)
    counted += [f"{attentions} of {attentions} MultiHeadAttention", f"{gelus} of {gelus} FastGelu"]
    assert line == ", ".join(counted)
    assert (norms > 0) == (family != "sd3")
    model = onnx.load(str(path.with_name("model_cuda.onnx")))
    assert not cuda_graphs.count(model.graph)["Softmax"]
    assert difference(model, expected) < TOLERANCE[dtype]


def test_attention_of_pytorch_is_itself_again_after_the_trace():
    before = torch.nn.functional.scaled_dot_product_attention
    with pytest.raises(NotImplementedError, match="--attention plain"), fused_in_transformers():
        heads = torch.zeros(1, 1, 2, 4)
        torch.nn.functional.scaled_dot_product_attention(heads, heads, heads, is_causal=True)
    assert torch.nn.functional.scaled_dot_product_attention is before


@pytest.mark.parametrize("attention", ["fused", "plain"])
def test_the_command_fuses_flux(attention, tmp_path, capsys):
    pipeline = tiny_pipelines.flux(guidance=True)
    pipeline.save_pretrained(tmp_path / "pipeline")
    arguments = [str(tmp_path / "pipeline"), str(tmp_path / "mine"), "--dtype", "fp16", "--cuda"]
    import_checkpoint.run(import_checkpoint.arguments().parse_args([*arguments, "--attention", attention]))
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("transformer:"))
    norms = rms_norms(pipeline.transformer)
    assert f"{norms} of {norms} RMSNorm" in line
    assert ("2 of 2 MultiHeadAttention" in line) == (attention == "fused")
