"""Turns the checkpoint of ImageReward into a reward bundle.

    python tools/export/import_image_reward.py ImageReward.pt OUT [--dtype fp32|fp16]

ImageReward.pt is the file of THUDM/ImageReward. The graph takes pixel_values [N, 3, 224, 224], input_ids and
attention_mask [N, 35], and returns reward [N, 1], normalized as by the package's `score`. Code in a file is
never executed. OUT appears complete or not at all.
"""

import argparse
import json
from pathlib import Path

import image_reward
import reward_bundle
import torch
from checkpoints import CheckpointError, read_weights, size_of
from components import Component
from tqdm import tqdm
from workspace import Workspace

VOCABULARY = Path(__file__).parent / "configs" / "bert-base-uncased" / "vocab.txt"
TOKENS = 35
# Tokens that BLIP appends to the vocabulary.
ADDED = ["[DEC]", "[ENC]"]


def preprocessor(size: int) -> dict:
    """The transforms of ImageReward.py: torchvision's Resize(size, BICUBIC), CenterCrop(size), ToTensor,
    Normalize.
    """
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": size},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "crop_rounding": "nearest",
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "do_convert_rgb": True,
    }


def read_vocabulary(path: Path, size: int) -> list[str]:
    """Returns the tokens of vocab.txt, one a line. Raises CheckpointError when their number, with ADDED, is
    not that of the model.
    """
    try:
        tokens = path.read_text(encoding="utf8").split("\n")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read as vocab.txt of bert-base-uncased ({error}).") from None
    tokens = [token.rstrip("\r") for token in tokens if token.strip()]
    wanted = size - len(ADDED)
    if len(tokens) != wanted or "[CLS]" not in tokens:
        raise CheckpointError(
            f"{path} has {len(tokens)} tokens, and the checkpoint was trained with {wanted}; give "
            "vocab.txt of bert-base-uncased."
        )
    return tokens


def component(model: torch.nn.Module, shape: image_reward.Shape) -> Component:
    mask = torch.ones(2, TOKENS, dtype=torch.int64)
    mask[1, TOKENS // 2 :] = 0
    inputs = {
        "pixel_values": torch.randn(2, 3, shape.image_size, shape.image_size),
        "input_ids": torch.randint(shape.vocabulary, (2, TOKENS)),
        "attention_mask": mask,
    }
    axes = {name: {0: "batch"} for name in [*inputs, "reward"]}
    return Component("", model, lambda module, *tensors: (module(*tensors),), inputs, ["reward"], axes)


def export(
    checkpoint: Path,
    out: Path,
    dtype: str = "fp32",
    vocabulary: Path = VOCABULARY,
    med_config: Path | None = None,
    report=tqdm.write,
) -> float:
    """Creates the folder `out`. Returns the largest relative difference from PyTorch.

    Raises CheckpointError, WorkspaceError or RuntimeError; the message says what to do.
    """
    Workspace(out, {})  # refuses an existing folder
    weights = read_weights(checkpoint)
    shape = image_reward.read_shape(weights, checkpoint, med_config)
    if shape.text["max_position_embeddings"] < TOKENS:
        raise CheckpointError(
            f"{checkpoint} reads {shape.text['max_position_embeddings']} tokens, and ImageReward {TOKENS}; "
            "it is another architecture."
        )
    tokens = read_vocabulary(vocabulary, shape.vocabulary)
    reward_bundle.needs(
        out, sum(tensor.numel() for tensor in weights.values()), size_of(checkpoint), dtype, report
    )

    def files(folder: Path) -> None:
        (folder / "vocab.txt").write_text(
            "".join(token + "\n" for token in [*tokens, *ADDED]), encoding="utf8"
        )
        # Names of the two tokens that the package adds. A prompt that contains them gets their ids
        # there too.
        added = {"bos_token": ADDED[0], "additional_special_tokens": [ADDED[1]]}
        tokenizer = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": True,
            "model_max_length": TOKENS,
            **added,
        }
        for name, content in (
            ("preprocessor_config.json", preprocessor(shape.image_size)),
            ("tokenizer_config.json", tokenizer),
        ):
            (folder / name).write_text(json.dumps(content, indent=2) + "\n")

    card = {
        "kind": "reward",
        "title": "ImageReward",
        "licence": "Apache-2.0",
        "reads": ["image", "text"],
        "range": [-2.3, 2.3],
    }
    with reward_bundle.progress() as step:
        step("reading")
        # Not bound to a name, so that the model is freed before the graph is opened.
        return reward_bundle.write(
            component(image_reward.build(shape, weights, checkpoint), shape), out, dtype, files, card, step
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="ImageReward.pt")
    parser.add_argument("out", type=Path, help="folder to be made, inside one that FINDERY_MODELS names")
    parser.add_argument(
        "--dtype", choices=["fp32", "fp16"], default="fp32", help="of weights and computation"
    )
    parser.add_argument(
        "--vocabulary", type=Path, default=VOCABULARY, help="vocab.txt, where it is not bert-base-uncased's"
    )
    parser.add_argument("--med-config", type=Path, help="med_config.json, where it is not the published one")
    args = parser.parse_args()
    reward_bundle.main(
        lambda: export(args.checkpoint, args.out, args.dtype, args.vocabulary, args.med_config), args.out
    )


if __name__ == "__main__":
    main()
