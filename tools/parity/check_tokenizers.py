"""Compares findery's tokenizer with that of transformers on any texts. Exits with 1 when a text differs.

    python tools/parity/check_tokenizers.py FOLDER [FILE ...] [--code-points] [--show 10]

FOLDER holds a tokenizer (CLIP, BERT or T5). FILE holds texts: `.txt` one a line, `.csv` and `.tsv` a column
whose name begins with "prompt", `.json` and `.jsonl` objects with "prompt". The texts of nasty_texts.py are
always included. --code-points adds every code point of Unicode, alone and inside a word. Compares the ids
padded and truncated to the window, the attention mask, and the largest id + 1.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from nasty_texts import NASTY_TEXTS
from transformers import AutoTokenizer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CHUNK = 50_000


def read_texts(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return [row["prompt"] for row in json.loads(text)]
    if path.suffix == ".jsonl":
        return [json.loads(line)["prompt"] for line in text.splitlines() if line.strip()]
    if path.suffix in (".csv", ".tsv"):
        # Tab-separated files have no quoting.
        options = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if path.suffix == ".tsv" else {}
        rows = list(csv.DictReader(text.splitlines(), **options))
        (column,) = [name for name in rows[0] if name.lower().startswith("prompt")]
        return [row[column] for row in rows]
    return text.splitlines()


def code_points():
    for number in range(0x110000):
        if not 0xD800 <= number < 0xE000:
            yield chr(number)
            yield f"a{chr(number)}b. {chr(number)}!"


def ours(folder, texts):
    with tempfile.TemporaryDirectory() as temporary:
        source, target = Path(temporary, "texts.json"), Path(temporary, "ids.json")
        source.write_text(json.dumps(texts))
        node = ROOT / "node_modules" / ".bin" / "node"
        command = [
            node if node.exists() else "node",
            "--disable-warning=ExperimentalWarning",
            HERE / "check-tokenizer.ts",
        ]
        subprocess.run([*command, folder, source, target], check=True)
        return json.loads(target.read_text())


def compare(folder, tokenizer, texts, show):
    """Returns the number of texts that differ. Prints the first `show` of them."""
    answer = ours(folder, texts)
    if answer["window"] not in (tokenizer.model_max_length, tokenizer.init_kwargs.get("max_length")):
        sys.exit(f"our window is {answer['window']}, transformers' {tokenizer.model_max_length}")
    size = max(tokenizer.get_vocab().values()) + 1
    if answer["vocabularySize"] != size:
        sys.exit(f"our vocabulary ends before {answer['vocabularySize']}, transformers' before {size}")
    expected = tokenizer(texts, padding="max_length", truncation=True, max_length=answer["window"])
    wrong = 0
    for text, row, ids, mask in zip(
        texts, answer["rows"], expected.input_ids, expected.attention_mask, strict=True
    ):
        if row["ids"] == ids and row["mask"] == mask:
            continue
        wrong += 1
        if wrong <= show:
            count = min(40, max(sum(row["mask"]), sum(mask)))
            print(f"{text[:60]!a}\n  transformers {ids[:count]}\n  ours         {row['ids'][:count]}")
    return wrong


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--code-points", action="store_true")
    parser.add_argument("--show", type=int, default=10)
    arguments = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(arguments.folder)
    folder = arguments.folder.resolve()
    texts = [*NASTY_TEXTS, *(text for path in arguments.files for text in read_texts(path))]
    if arguments.code_points:
        texts.extend(code_points())
    wrong = 0
    for start in range(0, len(texts), CHUNK):
        wrong += compare(folder, tokenizer, texts[start : start + CHUNK], arguments.show - wrong)
    print(
        f"{type(tokenizer).__name__} {arguments.folder.name}: {len(texts) - wrong} of {len(texts)} texts "
        "equal"
    )
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
