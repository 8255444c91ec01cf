"""LoRA files under every name, with every scale, against PEFT or the definition of their kind."""

import copy
import json

import lora
import pytest
import torch
from checkpoints import CheckpointError
from safetensors.torch import save_file
from unet_names import original_name

NAME = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
ORIGINAL = "middle_block.1.transformer_blocks.0.attn1.to_q"


@pytest.fixture
def merged(sd1, tmp_path):
    """Merges tensors into the UNet. Returns how the weight NAME changed, and the remarks."""

    def merge(tensors: dict, metadata: dict | None = None, weight: float = 1.0, name: str = NAME):
        unet = sd1.modules["unet"]
        path = tmp_path / "style.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, metadata)
        remarks = []
        read = lora.read(path, weight, remarks.append)
        names = {
            "unet": [name for name, _ in unet.named_modules()],
            "text_encoder": [name for name, _ in sd1.modules["text_encoder"].named_modules()],
        }
        lora.refuse_strangers([read], names, dict(unet.config))
        changed = copy.deepcopy(unet)
        assert lora.merge(changed, "unet", [read]) == 1
        difference = changed.get_submodule(name).weight - unet.get_submodule(name).weight
        return difference.detach(), remarks

    return merge


@pytest.fixture
def pair(sd1):
    generator = torch.Generator().manual_seed(1)
    rows, columns = sd1.modules["unet"].get_submodule(NAME).weight.shape
    return torch.randn(4, columns, generator=generator), torch.randn(rows, 4, generator=generator)


PREFIXES = [
    f"unet.{NAME}",
    NAME,
    f"base_model.model.{NAME}",
    f"base_model.model.unet.{NAME}",
    f"module.base_model.model.{NAME}",
    f"diffusion_model.{NAME}",
    f"diffusion_model.{ORIGINAL}",
    f"model.diffusion_model.{ORIGINAL}",
    ORIGINAL,
    "lora_unet_" + NAME.replace(".", "_"),
    "lora_unet_" + ORIGINAL.replace(".", "_"),
    "lycoris_" + NAME.replace(".", "_"),
]
ENDINGS = [
    (".lora_A.weight", ".lora_B.weight"),
    (".lora_A.default.weight", ".lora_B.default.weight"),
    (".lora_down.weight", ".lora_up.weight"),
    (".lora.down.weight", ".lora.up.weight"),
    (".processor_lora.down.weight", ".processor_lora.up.weight"),
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_names(merged, pair, prefix):
    down, up = pair
    for first, second in ENDINGS[:4]:
        difference, remarks = merged({prefix + first: down, prefix + second: up})
        torch.testing.assert_close(difference, up @ down)
        assert remarks == []


def test_every_module_of_a_unet_has_its_original_name(sd1):
    unet, config = sd1.modules["unet"], sd1.module_configs["unet"]
    for name in unet.state_dict():
        assert f"model.diffusion_model.{original_name(name, config)}" in sd1.tensors
    assert original_name("encoder_hid_proj.weight", config) is None


@pytest.mark.parametrize(
    ("settings", "factor"),
    [
        ({"unet.r": 4, "unet.lora_alpha": 16}, 4.0),
        ({"unet.r": 4, "unet.lora_alpha": 16, "unet.use_rslora": True}, 8.0),
        ({"unet.r": 4, "unet.lora_alpha": 16, "unet.alpha_pattern": {"attn1.to_q": 2}}, 0.5),
        ({"unet.r": 4, "unet.lora_alpha": 16, "unet.alpha_pattern": {"attn2.to_q": 2}}, 4.0),
        ({"text_encoder.lora_alpha": 16}, 1.0),
        ({}, 1.0),
    ],
)
def test_scales_in_the_metadata(merged, pair, settings, factor):
    tensors = {f"unet.{NAME}.lora_A.weight": pair[0], f"unet.{NAME}.lora_B.weight": pair[1]}
    difference, _ = merged(tensors, {"lora_adapter_metadata": json.dumps(settings)})
    torch.testing.assert_close(difference, factor * pair[1] @ pair[0])


def test_scales_equal_those_of_diffusers_with_peft(sd1, pair, tmp_path):
    peft = pytest.importorskip("peft")
    for rslora in (False, True):
        model = copy.deepcopy(sd1.modules["unet"])
        model.add_adapter(peft.LoraConfig(r=4, lora_alpha=16, use_rslora=rslora, target_modules=["to_q"]))
        layer = model.get_submodule(NAME)
        assert layer.scaling["default"] == (8.0 if rslora else 4.0)


def test_an_alpha_beside_the_weights(merged, pair):
    key = "lora_unet_" + NAME.replace(".", "_")
    tensors = {f"{key}.lora_down.weight": pair[0], f"{key}.lora_up.weight": pair[1]}
    difference, _ = merged(tensors | {f"{key}.alpha": torch.tensor(2.0)}, weight=0.5)
    torch.testing.assert_close(difference, 0.5 * 2 / 4 * pair[1] @ pair[0])
    difference, remarks = merged(tensors | {f"{key}.alpha": torch.tensor(0.0)})
    assert difference.abs().max() == 0
    assert "alpha is 0 in 1 of 1 modules" in remarks[0]


def test_adapter_config_beside_the_file_of_peft(sd1, pair, tmp_path):
    path = tmp_path / "adapter_model.safetensors"
    key = f"base_model.model.{NAME}"
    save_file({f"{key}.lora_A.weight": pair[0], f"{key}.lora_B.weight": pair[1]}, path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 16}))
    assert lora.read(path, 1.0).scales == {NAME: 4.0}
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="settings of its LoRA can't be read"):
        lora.read(path, 1.0)


def test_embeddings_beside_a_lora_are_left_out(merged, pair):
    key = f"unet.{NAME}"
    tensors = {f"{key}.lora_A.weight": pair[0], f"{key}.lora_B.weight": pair[1]}
    difference, remarks = merged(tensors | {"bundle_emb.cat.string_to_param.*": torch.zeros(1, 8)})
    torch.testing.assert_close(difference, pair[1] @ pair[0])
    assert "bundle_emb.cat" in remarks[0] and "left out" in remarks[0]


def test_dora_by_its_definition(merged, pair, sd1):
    down, up = pair
    weight = sd1.modules["unet"].get_submodule(NAME).weight.detach()
    new = weight + up @ down
    key = f"base_model.model.{NAME}"
    tensors = {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}
    rows = torch.rand(weight.shape[0]) + 0.5
    difference, _ = merged(tensors | {f"{key}.lora_magnitude_vector": rows}, weight=0.5)
    expected = new * (rows / new.norm(dim=1))[:, None]
    torch.testing.assert_close(difference, 0.5 * (expected - weight))
    # LyCORIS: the norm of columns.
    key = "lora_unet_" + NAME.replace(".", "_")
    columns = torch.rand(1, weight.shape[1]) + 0.5
    difference, _ = merged(
        {
            f"{key}.lora_down.weight": down,
            f"{key}.lora_up.weight": up,
            f"{key}.alpha": torch.tensor(4.0),
            f"{key}.dora_scale": columns,
        }
    )
    expected = new * (columns / new.norm(dim=0, keepdim=True))
    torch.testing.assert_close(difference, expected - weight)


def test_loha_and_lokr_by_their_definitions(merged, sd1):
    rows, columns = sd1.modules["unet"].get_submodule(NAME).weight.shape
    generator = torch.Generator().manual_seed(2)

    def random(*shape):
        return torch.randn(shape, generator=generator)

    key = "lora_unet_" + NAME.replace(".", "_")
    a, b, c, d = random(rows, 2), random(2, columns), random(rows, 2), random(2, columns)
    parts = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": d, "alpha": torch.tensor(1.0)}
    difference, _ = merged({f"{key}.{name}": tensor for name, tensor in parts.items()})
    torch.testing.assert_close(difference, 0.5 * (a @ b) * (c @ d))

    first, second_a, second_b = random(2, 2), random(rows // 2, 3), random(3, columns // 2)
    parts = {"lokr_w1": first, "lokr_w2_a": second_a, "lokr_w2_b": second_b, "alpha": torch.tensor(6.0)}
    difference, _ = merged({f"{key}.{name}": tensor for name, tensor in parts.items()})
    torch.testing.assert_close(difference, 2 * torch.kron(first, second_a @ second_b))


def test_convolutions_of_every_kind(merged, sd1):
    name = "mid_block.resnets.0.conv1"
    rows, columns, _, _ = sd1.modules["unet"].get_submodule(name).weight.shape
    generator = torch.Generator().manual_seed(3)

    def random(*shape):
        return torch.randn(shape, generator=generator)

    key = "lora_unet_middle_block_0_in_layers_2"
    down, up = random(2, columns, 3, 3), random(rows, 2, 1, 1)
    expected = torch.einsum("or,rikl->oikl", up[:, :, 0, 0], down)
    tensors = {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
    torch.testing.assert_close(merged(tensors, name=name)[0], expected)
    down, mid = random(2, columns, 1, 1), random(2, 2, 3, 3)
    expected = torch.einsum("or,rskl,si->oikl", up[:, :, 0, 0], mid, down[:, :, 0, 0])
    tensors = {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.lora_mid.weight": mid}
    torch.testing.assert_close(merged(tensors, name=name)[0], expected)
    whole = random(rows, columns, 3, 3)
    torch.testing.assert_close(merged({f"{key}.diff": whole}, name=name)[0], whole, rtol=1e-5, atol=1e-5)
    first, second = random(2, 2), random(rows // 2, columns // 2, 3, 3)
    tensors = {f"{key}.lokr_w1": first, f"{key}.lokr_w2": second}
    expected = torch.kron(first[:, :, None, None], second)
    torch.testing.assert_close(merged(tensors, name=name)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"lora_unet_x.oft_blocks": [1]}, "is an OFT"),
        ({"lora_unet_x.a1.weight": [1]}, "is a GLoRA"),
        ({"unet.x.lora_B.bias": [1]}, "a LoRA with biases"),
        ({"unet.x.weights": [1]}, "belongs to no LoRA"),
        ({"unet.x.lora_A.weight": [1, 1]}, "lacks one half of unet.x"),
        ({"lora_unet_x.lokr_w1": [1, 1]}, "lacks a part of the LoKr"),
        ({"bundle_emb.x": [1]}, "holds no LoRA"),
        ({"unet.x.lora_A.weight": [1, 1], "unet.x.lora_B.weight": [1, 1]}, "changes unet.x"),
        ({f"unet.{NAME}.lora_A.weight": [4, 3], f"unet.{NAME}.lora_B.weight": [3, 4]}, "does not fit"),
    ],
)
def test_what_can_not_be_merged_is_named(merged, tensors, words):
    with pytest.raises(CheckpointError, match=words):
        merged({key: torch.ones(shape) for key, shape in tensors.items()})


def test_numbers_that_are_not_finite(merged, pair):
    broken = pair[0].clone()
    broken[0, 0] = torch.nan
    with pytest.raises(CheckpointError, match=f"unet.{NAME}.lora_A.weight has numbers that are not finite"):
        merged({f"unet.{NAME}.lora_A.weight": broken, f"unet.{NAME}.lora_B.weight": pair[1]})
