"""Names in LoRA files: which module a tensor changes, and its role in the change.

Files come from kohya's scripts and LyCORIS (`lora_unet_...`), diffusers, PEFT (`base_model.model.`) and
ComfyUI (`diffusion_model.`), with diffusers' names of the modules or the original ones.
"""

import re

import unet_names

# kohya's prefixes of each component, whose modules are spelled with underscores, by diffusers' name.
UNDERSCORED = {
    "unet": ("lora_unet_", "lycoris_", "lycoris_unet_"),
    "transformer": ("lora_unet_", "lora_transformer_", "lycoris_"),
    "text_encoder": ("lora_te_", "lora_te1_", "lycoris_te_", "lycoris_te1_"),
    "text_encoder_2": ("lora_te2_", "lycoris_te2_"),
    "text_encoder_3": ("lora_te3_",),
}
# Prefixes before the plain names of modules.
DOTTED = {
    "unet": ("unet.", "diffusion_model.", ""),
    "transformer": ("transformer.", "diffusion_model.", ""),
    "text_encoder": ("text_encoder.", "te.", "te1.", "text_encoders.clip_l.transformer.", ""),
    "text_encoder_2": ("text_encoder_2.", "te2.", "text_encoders.clip_g.transformer."),
    "text_encoder_3": ("text_encoder_3.", "text_encoders.t5xxl.transformer."),
}
# Prefixes of programs that wrap a model.
WRAPPERS = re.compile(
    r"^(module\.|_orig_mod\.|base_model\.model\.)*(base_model\.model\.)?(model\.(?=diffusion_model\.))?"
)
ROLES = [
    (re.compile(r"(\.|_)lora(\.|_)(down|A)(\.default)?\.weight$"), "down"),
    (re.compile(r"(\.|_)lora(\.|_)(up|B)(\.default)?\.weight$"), "up"),
    (re.compile(r"\.(lora_)?mid\.weight$"), "mid"),
    (re.compile(r"\.alpha$"), "alpha"),
    (re.compile(r"\.lora_magnitude_vector(\.default)?(\.weight)?$"), "magnitude"),
    (re.compile(r"\.dora_scale$"), "magnitude"),
    (re.compile(r"\.(?=hada_(w[12]_[ab]|t[12])$)"), None),
    (re.compile(r"\.(?=lokr_(w[12](_[ab])?|t2)$)"), None),
    (re.compile(r"\.(?=diff(_b)?$)"), None),
]
# Kinds of changes that can't be merged, by a part of their keys.
OTHER_KINDS = {
    "oft_": "an OFT",
    "boft_": "a BOFT",
    "ia3_": "an IA3",
    ".on_input": "an IA3",
    ".a1.weight": "a GLoRA",
    ".lora_A.bias": "a LoRA with biases",
    ".lora_B.bias": "a LoRA with biases",
    ".set_weight": "a set of whole weights",
    "lora_embedding_": "a LoRA of embeddings",
}
# Keys of embeddings that some trainers store beside a LoRA.
EMBEDDINGS = ("bundle_emb.", "emb_params", "string_to_param", "clip_l_emb", "clip_g_emb")


def split(key: str) -> tuple[str | None, str]:
    """Returns the role of a tensor (None: unknown) and the name of the module that it changes, without the
    prefixes of wrappers.
    """
    bare = WRAPPERS.sub("", key, count=1)
    for pattern, role in ROLES:
        match = pattern.search(bare)
        if match:
            return role or bare[match.end() :], bare[: match.start()].replace(".processor.", ".")
    return None, bare


def aliases(component: str, name: str, config: dict | None = None) -> list[str]:
    """Names that a module may have in a LoRA file.

    component, name: as in diffusers, such as "unet" and "mid_block.attentions.0.proj_in"
    config: of the UNet, for names of the original layout
    """
    names = [name]
    if component.startswith("text_encoder"):
        # Versions of transformers differ in this level of the name.
        names.append(
            name.removeprefix("text_model.") if name.startswith("text_model.") else "text_model." + name
        )
    if component == "unet" and config:
        original = unet_names.original_name(f"{name}.weight", config)
        names += [original.removesuffix(".weight")] if original else []
    names += [each.replace(".to_out.0", ".to_out") for each in names if ".to_out.0" in each]
    dotted = [prefix + each for prefix in DOTTED.get(component, ()) for each in names]
    return dotted + [
        prefix + each.replace(".", "_") for prefix in UNDERSCORED.get(component, ()) for each in names
    ]
