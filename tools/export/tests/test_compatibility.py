"""Checkpoints as people bring them: other prefixes, variants, quantised weights, damaged configs."""

import json
import random
import shutil

import pytest
import sources
import torch
from checkpoint_command import refused
from checkpoints import CheckpointError, read_weights
from quantisation import dequantised
from safetensors.torch import save_file

UNET = "model.diffusion_model."


def opened(tiny, path, **options):
    """Opens a checkpoint and loads every module. Returns the modules and the remarks."""
    remarks = []
    kind = {"prediction_type": "v_prediction"} if tiny.layout == "sd2" else {}
    options = {"configs": tiny.configs, "report": remarks.append, **kind, **options}
    source = sources.open_source(path, **options)
    return {name: source.load(name) for name in source.modules}, remarks


def expect_same(modules, tiny, names=None):
    for name in names or modules:
        for key, weight in tiny.modules[name].state_dict().items():
            torch.testing.assert_close(modules[name].state_dict()[key], weight, rtol=0, atol=0)


def renamed(tensors, rename):
    return {rename(key): tensor for key, tensor in tensors.items()}


@pytest.mark.parametrize(
    "rename",
    [
        lambda key: f"module.{key}",
        lambda key: f"_orig_mod.{key}",
        lambda key: f"state_dict.module.{key}",
        lambda key: key.removeprefix("model.") if key.startswith(UNET) else key,
        lambda key: key.removeprefix(UNET),
    ],
    ids=["DDP", "compiled", "state", "diffusion_model", "bare"],
)
def test_prefixes(tiny, rename):
    path = tiny.save("prefixed.safetensors", renamed(tiny.tensors, rename))
    modules, remarks = opened(tiny, path)
    expect_same(modules, tiny)
    assert remarks


def averaged(tensors):
    return {
        f"model_ema.{key.removeprefix('model.').replace('.', '')}": tensor
        for key, tensor in tensors.items()
        if key.startswith(UNET)
    }


@pytest.mark.parametrize("use_ema", [False, True])
def test_averaged_weights_alone(tiny, use_ema):
    rest = {key: tensor for key, tensor in tiny.tensors.items() if not key.startswith(UNET)}
    path = tiny.save("ema.safetensors", rest | averaged(tiny.tensors))
    modules, remarks = opened(tiny, path, use_ema=use_ema)
    expect_same(modules, tiny)
    assert "averaged" in remarks[0]


@pytest.mark.parametrize("prefix", [UNET, "diffusion_model.", ""])
def test_a_unet_alone(tiny, prefix):
    whole = tiny.save("whole.safetensors")
    unet = {
        prefix + key.removeprefix(UNET): tensor
        for key, tensor in tiny.tensors.items()
        if key.startswith(UNET)
    }
    path = tiny.save("unet.safetensors", unet)
    with pytest.raises(CheckpointError, match="UNet alone.*--vae and --text-encoder"):
        opened(tiny, path)
    modules, _ = opened(tiny, path, vae=whole, text_encoder=whole)
    expect_same(modules, tiny)


def test_text_encoders_out_of_a_diffusers_folder(sd1, tmp_path):
    sd1.modules["text_encoder"].save_pretrained(tmp_path / "pipeline" / "text_encoder")
    drop = sd1.save("no-text.safetensors", drop=lambda key: key.startswith("cond_stage_model."))
    modules, _ = opened(sd1, drop, text_encoder=tmp_path / "pipeline")
    expect_same(modules, sd1)
    with pytest.raises(CheckpointError, match="has no text_encoder"):
        opened(sd1, drop, text_encoder=tmp_path)


def test_a_file_is_read_by_its_content(sd1):
    path = sd1.save("named.safetensors")
    named = path.rename(path.with_name("wrong.ckpt"))
    assert read_weights(named).keys() == sd1.tensors.keys()
    pickled = sd1.save("named.ckpt")
    assert read_weights(pickled.rename(pickled.with_name("wrong.safetensors"))).keys() == sd1.tensors.keys()


def test_no_message_advises_to_run_code(tmp_path):
    for content in (b"\x80\x02}q\x00.", b"\x80\x05\x95\xff", b"\x80\x04cos\nsystem\n."):
        path = tmp_path / "odd.ckpt"
        path.write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            read_weights(path)
        assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize(
    ("start", "words"), [(b"GGUF\x03\0\0\0", "GGUF"), (b"\x89HDF\r\n", "HDF5"), (b"\x1f\x8b\x08", "gzip")]
)
def test_files_of_other_programs(tmp_path, start, words):
    path = tmp_path / "model.safetensors"
    path.write_bytes(start + bytes(99))
    with pytest.raises(CheckpointError, match=words):
        read_weights(path)


def test_edm_is_refused_by_its_name(sd1):
    for mark in ("edm_vpred.sigma_max", "edm_mean", "edm_std"):
        path = sd1.save("edm.safetensors", sd1.tensors | {mark: torch.ones(1)})
        with pytest.raises(CheckpointError, match=f"EDM.*{mark}"):
            opened(sd1, path)


def test_not_a_number_names_key_and_file(sd1):
    key = f"{UNET}middle_block.0.in_layers.2.weight"
    for value in (torch.nan, torch.inf):
        broken = sd1.tensors[key].clone()
        broken.view(-1)[3] = value
        path = sd1.save("nan.safetensors", sd1.tensors | {key: broken})
        with pytest.raises(CheckpointError, match=f"nan.safetensors.*{key} has numbers that are not finite"):
            opened(sd1, path)


# Quantised weights.


def test_scaled_fp8(sd1):
    key = f"{UNET}middle_block.1.proj_in.weight"
    weight = sd1.tensors[key]
    for name, scale in (
        ("scale_weight", torch.tensor(0.25)),
        ("weight_scale", torch.rand(weight.shape[0]) + 1),
    ):
        shaped = scale.reshape(-1, *[1] * (weight.dim() - 1)) if scale.dim() else scale
        stored = (weight / shaped).to(torch.float8_e4m3fn)
        stem = key.removesuffix(".weight")
        changes = {key: stored, f"{stem}.{name}": scale, f"{stem}.scale_input": torch.ones(())}
        path = sd1.save(
            "fp8.safetensors", sd1.tensors | changes | {"scaled_fp8": torch.zeros(2).to(stored.dtype)}
        )
        modules, _ = opened(sd1, path)
        found = modules["unet"].mid_block.attentions[0].proj_in.weight
        torch.testing.assert_close(found.detach(), stored.float() * shaped, rtol=0, atol=0)


def test_int8_with_row_maxima(tmp_path):
    stored = torch.randint(-127, 128, (4, 8), dtype=torch.int8)
    maxima = torch.rand(4)
    found = dequantised(tmp_path, {"x.weight": stored, "x.SCB": maxima, "x.weight_format": torch.zeros(1)})
    torch.testing.assert_close(found["x.weight"], stored.float() * maxima[:, None] / 127)
    assert found.keys() == {"x.weight"}


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (".weight.quant_state.bitsandbytes__nf4", "bitsandbytes nf4"),
        (".weight.absmax", "bitsandbytes"),
        (".qweight", "GPTQ or AWQ"),
        (".wscales", "SVDQuant"),
        (".weight_scale_2", "nvfp4"),
    ],
)
def test_quantised_weights_are_refused_by_their_name(sd1, ending, kind):
    stem = f"{UNET}middle_block.1.proj_in"
    path = sd1.save("q.safetensors", sd1.tensors | {stem + ending: torch.zeros(3, dtype=torch.uint8)})
    with pytest.raises(CheckpointError, match=rf"quantised \({kind}"):
        opened(sd1, path)


def test_int8_without_scales(sd1):
    key = f"{UNET}middle_block.1.proj_in.weight"
    path = sd1.save("int8.safetensors", sd1.tensors | {key: (sd1.tensors[key] * 99).to(torch.int8)})
    with pytest.raises(CheckpointError, match=r"quantised \(int8 without scales\)"):
        opened(sd1, path)


# Folders.


@pytest.fixture
def folder(sd1, tmp_path):
    """A pipeline folder of diffusers."""
    path = tmp_path / "pipeline"
    shutil.copytree(sd1.configs, path)
    for name, module in sd1.modules.items():
        shutil.rmtree(path / name)
        module.save_pretrained(path / name)
    return path


def rename_weights(folder, variant):
    for path in list(folder.glob("*/*.safetensors")):
        path.rename(path.with_name(path.name.replace(".safetensors", f".{variant}.safetensors")))


def test_a_folder_of_a_variant(sd1, folder):
    rename_weights(folder, "fp16")
    modules, remarks = opened(sd1, folder)
    expect_same(modules, sd1)
    assert "variant fp16" in remarks[0]
    with pytest.raises(CheckpointError, match="no weights of the variant 'bf16'; it has fp16"):
        opened(sd1, folder, variant="bf16")
    modules, remarks = opened(sd1, folder, variant="fp16")
    assert remarks == []


def test_several_variants(sd1, folder):
    rename_weights(folder, "ema")
    for path in list(folder.glob("*/*.safetensors")):
        shutil.copy(path, path.with_name(path.name.replace(".ema.", ".bf16.")))
    with pytest.raises(CheckpointError, match="bf16, ema; choose one with --variant"):
        opened(sd1, folder)
    expect_same(opened(sd1, folder, variant="ema")[0], sd1)


def test_hidden_files_beside_others(sd1, folder):
    for path in list(folder.glob("*/*.safetensors")):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7" + bytes(99))
    expect_same(opened(sd1, folder)[0], sd1)


@pytest.mark.parametrize("length", [None, 1000000000000000019884624838656, "77", -1, 1e30])
def test_a_tokenizer_without_a_usable_length(sd1, folder, length):
    path = folder / "tokenizer" / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config.pop("model_max_length")
    path.write_text(json.dumps(config if length is None else {**config, "model_max_length": length}))
    source = sources.open_source(folder, report=print)
    assert source.tokens == 77


def test_an_edm_folder(folder):
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "_class_name": "EDMEulerScheduler"}))
    with pytest.raises(CheckpointError, match="EDM model"):
        sources.open_source(folder)


def test_an_autoencoder_with_its_former_names(sd1, tmp_path):
    state = sd1.modules["vae"].state_dict()
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for shape in (lambda tensor: tensor, lambda tensor: tensor[:, :, None, None]):
        former = {}
        for key, tensor in state.items():
            for new, name in old.items():
                if ".attentions." in key and f".{new}." in key:
                    key = key.replace(f".{new}.", f".{name}.")
                    tensor = shape(tensor) if key.endswith("weight") else tensor
            former[key] = tensor.contiguous()
        assert former.keys() != state.keys()
        vae = tmp_path / "vae"
        vae.mkdir(exist_ok=True)
        save_file(former, vae / "diffusion_pytorch_model.safetensors")
        modules, _ = opened(sd1, sd1.save(), vae=vae)
        expect_same(modules, sd1, ["vae"])


# No input ends in a traceback.


def damage(tensors, chance):
    """Changes some tensors or keys of a checkpoint."""
    tensors = dict(tensors)
    for _ in range(chance.randint(1, 3)):
        key = chance.choice(sorted(tensors))
        tensor = tensors[key]
        kind = chance.randrange(9)
        if kind == 0:
            del tensors[key]
        elif kind == 1:
            tensors[key + chance.choice([".x", "0", ".weight"])] = tensors.pop(key)
        elif kind == 2:
            tensors[chance.choice(["", "module.", "edm_", "lora_"]) + key] = tensor.clone()
        elif kind == 3:
            tensors[key] = tensor.to(chance.choice([torch.int8, torch.int64, torch.bool, torch.float16]))
        elif kind == 4:
            tensors[key] = tensor.reshape(-1)
        elif kind == 5:
            tensors[key] = tensor[..., None]
        elif kind == 6 and tensor.numel():
            tensors[key] = torch.full_like(tensor.float(), chance.choice([torch.nan, torch.inf]))
        elif kind == 7:
            tensors[key] = torch.zeros(())
        else:
            tensors[key] = torch.zeros(0)
    return tensors


def test_damaged_checkpoints_are_read_or_refused(sd1, tmp_path):
    """import_checkpoint's main turns any other exception into a line; here it would be a fault."""
    chance = random.Random(23)
    accepted = 0
    for round in range(60):
        path = tmp_path / "damaged.safetensors"
        tensors = damage(sd1.tensors, chance)
        metadata = {"x": "y" * 100_000} if round % 10 == 0 else None
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, metadata)
        try:
            opened(sd1, path)
            accepted += 1
        except CheckpointError:
            pass
    assert 0 < accepted < 60


def test_an_unexpected_failure_is_one_line(sd1, tmp_path):
    configs = tmp_path / "configs"
    shutil.copytree(sd1.configs, configs)
    path = configs / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "block_out_channels": "wide"}))
    refused(
        [str(sd1.save()), str(tmp_path / "out"), "--configs", str(configs)], "can't be imported", "--debug"
    )
