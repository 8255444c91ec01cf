"""Turns a Stable Diffusion checkpoint into a findery bundle.

    python tools/export/import_checkpoint.py CHECKPOINT OUT [--dtype fp16] [--vae FILE] [--lora FILE:0.8]

CHECKPOINT is one .safetensors or .ckpt file in the original key layout (Stable Diffusion 1.x, 2.x, XL), or
the folder of a diffusers pipeline (those, LCM, Stable Diffusion 3, FLUX.1). Nothing is downloaded, and code
in a file is never executed. Every graph is compared with PyTorch. OUT appears complete or not at all; the
same command continues after an interruption.
"""

import argparse
import sys
import warnings
from pathlib import Path

from checkpoints import CheckpointError
from workspace import WorkspaceError


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint file, or folder of a diffusers pipeline")
    parser.add_argument("out", type=Path, help="folder to be made, inside one that FINDERY_MODELS names")
    parser.add_argument(
        "--dtype", choices=["fp32", "fp16"], default="fp32", help="of weights and computation"
    )
    parser.add_argument(
        "--vae-dtype",
        choices=["fp32", "fp16"],
        help="of the VAE alone; left out: as --dtype, and fp32 where that overflows",
    )
    parser.add_argument(
        "--vae", type=Path, help="autoencoder in place of the checkpoint's own (one file only)"
    )
    parser.add_argument(
        "--text-encoder",
        type=Path,
        help="checkpoint, file or folder with the text encoders, for a checkpoint that has none (one file "
        "only)",
    )
    parser.add_argument(
        "--variant", help="of the weights in a folder, such as fp16; left out: the only one there is"
    )
    parser.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="FILE[:WEIGHT]",
        help="merged in; may be given several times",
    )
    parser.add_argument(
        "--attention",
        choices=["fused", "plain"],
        default="fused",
        help="plain: for execution providers other than cpu, cuda, webgpu and dml",
    )
    parser.add_argument(
        "--cuda",
        action="store_true",
        help="also writes graphs with more fused nodes, which only NVIDIA GPUs run, beside the others",
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="with --cuda: no fused group norms, whose last bits may differ between two runs",
    )
    parser.add_argument(
        "--external-data", action="store_true", help="weights beside each graph, also where they are small"
    )
    parser.add_argument(
        "--prediction-type",
        choices=["epsilon", "v_prediction"],
        help="needed for the 2.x family, whose files do not tell",
    )
    parser.add_argument(
        "--size", type=int, help="pixels that the model was trained for, where that is not the family's own"
    )
    parser.add_argument(
        "--configs", type=Path, help="diffusers' configs of another architecture in the same layout"
    )
    parser.add_argument(
        "--ema", action="store_true", help="takes the averaged weights of a training checkpoint"
    )
    parser.add_argument(
        "--ignore-unknown-keys",
        action="store_true",
        help="leaves out weights that the architecture has no place for",
    )
    parser.add_argument("--debug", action="store_true", help="shows where an unexpected failure came from")
    return parser


def run(args: argparse.Namespace) -> None:
    """Runs the command.

    Raises CheckpointError, WorkspaceError or RuntimeError; the message says what to do.
    """
    import bundle
    import lora
    import sources

    single = dict(
        vae=args.vae,
        text_encoder=args.text_encoder,
        configs=args.configs,
        prediction_type=args.prediction_type,
        size=args.size,
        use_ema=args.ema,
        ignore_unknown=args.ignore_unknown_keys,
    )
    if args.checkpoint.is_dir():
        given = [name for name, value in single.items() if value]
        if given:
            raise CheckpointError(
                f"--{given[0].replace('_', '-')} is for single files; a diffusers folder says it itself."
            )
        single = {"variant": args.variant}
    elif args.variant:
        raise CheckpointError("--variant is for folders; a single file has no variants.")
    if args.size is not None and (args.size < 64 or args.size % 64):
        raise CheckpointError(f"--size {args.size} is not valid; it takes a multiple of 64, such as 512.")
    source = sources.open_source(args.checkpoint, **single)
    loras = [lora.read(*lora.parse(text)) for text in args.lora]
    if args.deterministic and not args.cuda:
        raise CheckpointError("--deterministic changes the graphs of --cuda; add --cuda, or leave it out.")
    options = bundle.Options(
        args.dtype, args.vae_dtype, args.external_data, args.attention, args.cuda, args.deterministic
    )
    bundle.export(source, args.out, options, loras)


def main() -> None:
    args = arguments().parse_args()
    warnings.simplefilter("ignore")
    try:
        run(args)
    except (CheckpointError, WorkspaceError, RuntimeError, MemoryError) as error:
        sys.exit(str(error) or "Not enough memory.")
    except OSError as error:
        sys.exit(f"{error.filename or args.out}: {error.strerror or error}.")
    except KeyboardInterrupt:
        sys.exit("Interrupted; the same command goes on from here.")
    except Exception as error:  # a fault of ours or of a library: one line, and how to see the rest
        if args.debug:
            raise
        reason = next(iter(str(error).splitlines()), "")
        sys.exit(
            f"{args.checkpoint} can't be imported ({type(error).__name__}: {reason}). Is it what its name "
            "says? --debug shows where it failed."
        )
    print(
        f"{args.out} is ready. Put {args.out.absolute().parent} into FINDERY_MODELS, or run: findery "
        f"models add {args.out}"
    )


if __name__ == "__main__":
    main()
