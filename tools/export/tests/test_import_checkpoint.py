"""Imports valid checkpoints and compares them with diffusers reading the same files."""

import json
from pathlib import Path

import diffusers
import import_checkpoint
import lora
import numpy
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file


def run(arguments: list[str]) -> None:
    import_checkpoint.run(import_checkpoint.arguments().parse_args(arguments))


def graph(bundle: Path, part: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(bundle / part / "model.onnx"), providers=["CPUExecutionProvider"])


def decoded(bundle: Path, latents: numpy.ndarray) -> numpy.ndarray:
    session = graph(bundle, "vae_decoder")
    half = session.get_inputs()[0].type == "tensor(float16)"
    return session.run(None, {"latent_sample": latents.astype(numpy.float16) if half else latents})[0].astype(
        numpy.float32
    )


LATENTS = numpy.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(numpy.float32)


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_every_layout_gives_the_modules_that_it_was_made_of(tiny, tmp_path, suffix):
    out = tmp_path / "models" / "mine"
    run(tiny.options(tiny.save("tiny" + suffix), out))
    assert {path.name for path in out.iterdir()} >= {
        "model_index.json",
        "findery.json",
        "scheduler",
        "tokenizer",
        "unet",
        "vae_decoder",
        "text_encoder",
    }
    assert [path.name for path in out.parent.iterdir()] == ["mine"]
    with torch.no_grad():
        expected = tiny.modules["vae"].decode(torch.from_numpy(LATENTS)).sample.numpy()
        tokens = torch.arange(77)[None]
        text = tiny.modules["text_encoder"](tokens).last_hidden_state.numpy()
    assert numpy.abs(decoded(out, LATENTS) - expected).max() < 1e-4
    assert (
        numpy.abs(
            graph(out, "text_encoder").run(["last_hidden_state"], {"input_ids": tokens.numpy()})[0] - text
        ).max()
        < 1e-4
    )
    scheduler = json.loads((out / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["prediction_type"] == ("v_prediction" if tiny.layout == "sd2" else "epsilon")
    assert json.loads((out / "tokenizer" / "tokenizer_config.json").read_text())["pad_token"] == (
        "!" if tiny.layout == "sd2" else "<|endoftext|>"
    )


def test_the_unet_is_the_one_that_diffusers_reads_from_the_same_file(tiny, tmp_path):
    path = tiny.save()
    theirs = diffusers.UNet2DConditionModel.from_single_file(
        str(path), config=str(tiny.configs), subfolder="unet", local_files_only=True
    )
    for name, weight in theirs.state_dict().items():
        assert torch.equal(weight, tiny.modules["unet"].state_dict()[name]), name


def test_a_marked_file_is_a_v_prediction_model_with_zero_terminal_snr(sd1, tmp_path):
    path = sd1.save("marked.safetensors", {**sd1.tensors, "v_pred": torch.zeros(1), "ztsnr": torch.zeros(1)})
    run(sd1.options(path, tmp_path / "mine"))
    config = json.loads((tmp_path / "mine" / "scheduler" / "scheduler_config.json").read_text())
    assert (config["prediction_type"], config["rescale_betas_zero_snr"], config["timestep_spacing"]) == (
        "v_prediction",
        True,
        "trailing",
    )


def test_half_precision_and_the_size(sd1, tmp_path):
    halves = {key: value.half() if value.is_floating_point() else value for key, value in sd1.tensors.items()}
    run(
        sd1.options(
            sd1.save("half.safetensors", halves), tmp_path / "mine", "--dtype", "fp16", "--size", "128"
        )
    )
    assert graph(tmp_path / "mine", "unet").get_inputs()[0].type == "tensor(float16)"
    assert json.loads((tmp_path / "mine" / "unet" / "config.json").read_text())["sample_size"] == 16


@pytest.mark.parametrize("form", ["bare", "prefixed", "diffusers"])
def test_a_separate_vae_takes_the_place_of_the_own_one(sd1, tmp_path, form):
    vae = {
        key.removeprefix("first_stage_model."): value * 0.9
        for key, value in sd1.tensors.items()
        if key.startswith("first_stage_model.")
    }
    if form == "prefixed":
        vae = {"first_stage_model." + key: value for key, value in vae.items()}
    if form == "diffusers":
        vae = {key: value * 0.9 for key, value in sd1.modules["vae"].state_dict().items()}
    save_file({key: value.contiguous() for key, value in vae.items()}, tmp_path / "vae.safetensors")
    # A checkpoint without a VAE, often published as "VAE not baked".
    path = sd1.save("without.safetensors", drop=lambda key: key.startswith("first_stage_model."))
    run(sd1.options(path, tmp_path / "mine", "--vae", str(tmp_path / "vae.safetensors")))
    theirs = diffusers.AutoencoderKL.from_config(sd1.module_configs["vae"])
    theirs.load_state_dict({key: value * 0.9 for key, value in sd1.modules["vae"].state_dict().items()})
    with torch.no_grad():
        expected = theirs.eval().decode(torch.from_numpy(LATENTS)).sample.numpy()
    assert numpy.abs(decoded(tmp_path / "mine", LATENTS) - expected).max() < 1e-4


def kohya(modules: dict, rank: int = 2) -> dict[str, torch.Tensor]:
    """A LoRA of attention, feed-forward and convolution layers with kohya's names."""
    generator = torch.Generator().manual_seed(5)
    out = {}
    for component, prefix in (("unet", "lora_unet_"), ("text_encoder", "lora_te_text_model_")):
        for name, part in modules[component].named_modules():
            if not any(
                name.endswith(end)
                for end in ("to_q", "to_out.0", "proj_in", "q_proj", "fc1", "ff.net.2", "conv1")
            ):
                continue
            key = prefix + name.replace(".", "_")
            shape = part.weight.shape
            out[key + ".lora_down.weight"] = torch.randn((rank, *shape[1:]), generator=generator) * 0.1
            out[key + ".lora_up.weight"] = (
                torch.randn((shape[0], rank, *[1] * (len(shape) - 2)), generator=generator) * 0.1
            )
            out[key + ".alpha"] = torch.tensor(1.0)
    return out


def test_a_lora_changes_the_weights_as_diffusers_does_it(sd1, tmp_path):
    pytest.importorskip("peft")
    save_file(kohya(sd1.modules), tmp_path / "style.safetensors")
    pipeline = diffusers.StableDiffusionPipeline(
        vae=None,
        text_encoder=clone(sd1.modules["text_encoder"]),
        tokenizer=None,
        unet=clone(sd1.modules["unet"]),
        scheduler=None,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.load_lora_weights(str(tmp_path), weight_name="style.safetensors")
    pipeline.fuse_lora(lora_scale=0.7)
    pipeline.unload_lora_weights()
    read = lora.read(tmp_path / "style.safetensors", 0.7)
    ours = clone(sd1.modules["unet"])
    assert lora.merge(ours, "unet", [read]) > 0
    theirs = pipeline.unet.state_dict()
    for name, weight in ours.state_dict().items():
        assert torch.allclose(weight, theirs[name], atol=1e-5), name
    assert any(
        not torch.equal(weight, sd1.modules["unet"].state_dict()[name])
        for name, weight in ours.state_dict().items()
    )


def test_a_lora_changes_the_text_encoder_too(sd1, tmp_path):
    """Compared with the formula, because this diffusers can't load a text encoder's LoRA with this
    transformers.
    """
    tensors = kohya(sd1.modules)
    save_file(tensors, tmp_path / "style.safetensors")
    expected = clone(sd1.modules["text_encoder"])
    for name, part in expected.named_modules():
        key = "lora_te_text_model_" + name.replace(".", "_")
        if key + ".alpha" in tensors:
            change = tensors[key + ".lora_up.weight"] @ tensors[key + ".lora_down.weight"]
            part.weight = torch.nn.Parameter(part.weight + 0.7 * (1.0 / 2) * change)
    run(sd1.options(sd1.save(), tmp_path / "mine", "--lora", f"{tmp_path / 'style.safetensors'}:0.7"))
    tokens = torch.arange(77)[None]
    with torch.no_grad():
        wanted = expected(tokens).last_hidden_state.numpy()
        plain = sd1.modules["text_encoder"](tokens).last_hidden_state.numpy()
    got = graph(tmp_path / "mine", "text_encoder").run(["last_hidden_state"], {"input_ids": tokens.numpy()})[
        0
    ]
    assert numpy.abs(got - wanted).max() < 1e-4 < numpy.abs(plain - wanted).max()


def clone(module: torch.nn.Module) -> torch.nn.Module:
    import copy

    return copy.deepcopy(module)


def test_a_pipeline_folder_gives_the_same_graphs_as_the_file(sd1, tmp_path):
    folder = tmp_path / "pipeline"
    for name, module in sd1.modules.items():
        module.save_pretrained(folder / name)
    import sources

    source = sources.open_source(sd1.save(), configs=sd1.configs)
    source.copy_files(folder)
    run([str(folder), str(tmp_path / "of-folder")])
    run(sd1.options(sd1.save(), tmp_path / "of-file"))
    for part in ("unet", "vae_decoder", "text_encoder"):
        of_folder, of_file = (tmp_path / name / part / "model.onnx" for name in ("of-folder", "of-file"))
        assert of_folder.read_bytes() == of_file.read_bytes(), part


def test_an_interrupted_run_goes_on_with_what_it_had(sd1, tmp_path, monkeypatch, capsys):
    import bundle

    out = tmp_path / "mine"
    arguments = sd1.options(sd1.save(), out)
    make = bundle._make

    def interrupt(source, name, *rest):
        if name == "vae":
            raise KeyboardInterrupt
        return make(source, name, *rest)

    monkeypatch.setattr(bundle, "_make", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(arguments)
    assert not out.exists()
    made = []
    monkeypatch.setattr(
        bundle, "_make", lambda source, name, *rest: made.append(name) or make(source, name, *rest)
    )
    run(arguments)
    assert made == ["vae"]
    assert (out / "unet" / "model.onnx").exists() and [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_another_task_does_not_go_on_with_it(sd1, tmp_path, monkeypatch):
    import bundle

    make = bundle._make
    made = []

    def interrupt(source, name, *rest):
        made.append(name)
        if name == "vae" and len(made) < 4:
            raise KeyboardInterrupt
        return make(source, name, *rest)

    monkeypatch.setattr(bundle, "_make", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(sd1.options(sd1.save(), tmp_path / "mine"))
    run(sd1.options(sd1.save(), tmp_path / "mine", "--dtype", "fp16"))
    assert sorted(made[3:]) == ["text_encoder", "unet", "vae"]


def test_graphs_for_cuda_are_written_beside_the_others(sd1, tmp_path):
    """Checks nodes and weights only, because nothing here can run these graphs."""
    import onnx

    run(sd1.options(sd1.save(), tmp_path / "mine", "--dtype", "fp16", "--cuda"))
    for part, fused in (
        ("unet", {"NhwcConv", "MultiHeadAttention", "SkipLayerNormalization"}),
        ("vae_decoder", {"NhwcConv"}),
        ("text_encoder", {"QuickGelu"}),
    ):
        model = onnx.load(str(tmp_path / "mine" / part / "model_cuda.onnx"))
        assert fused <= {node.op_type for node in model.graph.node}, part
        plain = onnx.load(str(tmp_path / "mine" / part / "model.onnx"))
        assert [value.name for value in model.graph.input] == [value.name for value in plain.graph.input]
        assert [value.name for value in model.graph.output] == [value.name for value in plain.graph.output]


def test_plain_attention_gives_the_same_picture_with_the_operators_of_onnx_alone(sd1, tmp_path):
    import onnx

    for attention in ("plain", "fused"):
        run(sd1.options(sd1.save(), tmp_path / attention, "--attention", attention))
        for part in ("unet", "vae_decoder"):
            model = onnx.load(str(tmp_path / attention / part / "model.onnx"))
            assert any(node.domain == "com.microsoft" for node in model.graph.node) == (attention == "fused")
    plain, fused = (decoded(tmp_path / attention, LATENTS) for attention in ("plain", "fused"))
    assert numpy.abs(plain - fused).max() < 1e-4
