"""Records the token ids of transformers' tokenizers, which findery must reproduce.

    python tools/parity/make_tokenizer_fixture.py [FOLDER]

FOLDER defaults to test/fixtures/tokenizers. Written there:
    bert/       BERT with a small vocabulary, as in ImageReward: vocab.txt, 35 tokens, [DEC] as bos_token,
                [ENC]
    bert-json/  the same without these tokens, as tokenizer.json
    t5/         T5 with a small vocabulary and a small character map of SentencePiece
    clip-exclamation/  padding of Stable Diffusion 2: special_tokens_map.json with "!"; the vocabulary is
                       that of models/stickers/tokenizer
    expected.json      texts (nasty_texts.py), and per tokenizer `folder`, `window`, `size` (largest id + 1),
                       `pad`, and for every text `ids` (truncated to the window, not padded) and `whole`
                       (number of ids without truncation)
"""

import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import sentencepiece
import transformers
from nasty_texts import NASTY_TEXTS
from sentencepiece import sentencepiece_model_pb2
from tokenizers import normalizers, pre_tokenizers
from transformers import BertTokenizer, CLIPTokenizer, T5Tokenizer

ROOT = Path(__file__).resolve().parents[2]
STICKERS = ROOT / "models" / "stickers" / "tokenizer"

# Character map as in SentencePiece's rules; an empty value removes the character.
RULES = {
    **{chr(0xFF01 + i): chr(0x21 + i) for i in range(94)},
    **{chr(number): "" for number in [*range(1, 9), *range(14, 32), 127, 0x200B, 0xAD]},
    **{character: " " for character in "\t\n\r\x0b\x0c\u00a0\u2003\u2028\u3000\u2581\ufeff"},
    "\ufb01": "fi",
    "\ufb02": "fl",
    "\u00bd": "1\u20442",
    "\u2122": "TM",
    "\u2168": "IX",
    "e\u0301": "\u00e9",
    "a\u0300": "\u00e0",
    "a\u0300\u0301": "A",
    "\u1112\u1161\u11ab": "\ud55c",
    "\u304b\u3099": "\u304c",
}


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ENDINGS = [
    "##s",
    "##ing",
    "##ed",
    "##ly",
    "##ness",
    "##able",
    "##ous",
    "##tic",
    "##ant",
    "##ment",
    "##al",
    "##er",
    "##happi",
    "##aff",
]


def make_bert(folder):
    """The most frequent characters, their continuations and the most frequent words of the texts.
    Deterministic.
    """
    normalizer = normalizers.BertNormalizer(lowercase=True)
    words = Counter()
    for text in NASTY_TEXTS:
        pieces = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(normalizer.normalize_str(text))
        words.update({word for word, _ in pieces})
    characters = Counter(character for word in words for character in word)

    def common(counter: Counter, count: int) -> list[str]:
        return sorted(counter, key=lambda key: (-counter[key], key))[:count]

    letters = common(characters, 180)
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters[:120]), *common(words, 150), *ENDINGS]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(pieces))}
    tokenizer = BertTokenizer(vocabulary, model_max_length=35)
    with tempfile.TemporaryDirectory() as temporary:
        tokenizer.save_pretrained(temporary)
        folder.with_name("bert-json").mkdir(parents=True)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(Path(temporary, name), folder.with_name("bert-json"))
    folder.mkdir()
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in vocabulary), encoding="utf-8")
    config = {
        "tokenizer_class": "BertTokenizer",
        "model_max_length": 35,
        "do_lower_case": True,
        "bos_token": "[DEC]",
        "additional_special_tokens": ["[ENC]"],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def train_t5(folder):
    with tempfile.TemporaryDirectory() as temporary:
        rules = Path(temporary, "rules.tsv")

        def hexadecimal(text: str) -> str:
            return " ".join(f"{ord(character):X}" for character in text)

        rules.write_text(
            "".join(f"{hexadecimal(source)}\t{hexadecimal(target)}\n" for source, target in RULES.items())
        )
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(text for text in NASTY_TEXTS if text and "\0" not in text),
            model_prefix=f"{temporary}/spiece",
            vocab_size=500,
            model_type="unigram",
            character_coverage=0.98,
            normalization_rule_tsv=str(rules),
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
        )
        processor = sentencepiece.SentencePieceProcessor(model_file=f"{temporary}/spiece.model")
        model = sentencepiece_model_pb2.ModelProto.FromString(Path(temporary, "spiece.model").read_bytes())
    size = processor.get_piece_size()
    vocabulary = [(processor.id_to_piece(i), round(processor.get_score(i), 4)) for i in range(size)]
    tokenizer = T5Tokenizer(
        vocabulary,
        _spm_precompiled_charsmap=model.normalizer_spec.precompiled_charsmap,
        extra_ids=4,
        model_max_length=64,
    )
    tokenizer.save_pretrained(folder)


def pad_with_exclamation(folder):
    folder.mkdir()

    def token(content: str) -> dict:
        return {
            "content": content,
            "lstrip": False,
            "normalized": True,
            "rstrip": False,
            "single_word": False,
        }

    names = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    tokens = {**{name: token(content) for name, content in names.items()}, "pad_token": "!"}
    (folder / "special_tokens_map.json").write_text(json.dumps(tokens, indent=2) + "\n")


def record(name, tokenizer, folder):
    cut = tokenizer(NASTY_TEXTS, truncation=True, max_length=tokenizer.model_max_length)
    whole = tokenizer(NASTY_TEXTS, truncation=False, verbose=False)
    return {
        "name": name,
        "folder": folder,
        "window": tokenizer.model_max_length,
        "size": max(tokenizer.get_vocab().values()) + 1,
        "pad": tokenizer.pad_token_id,
        "ids": cut.input_ids,
        "whole": [len(ids) for ids in whole.input_ids],
    }


def main():
    base = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "test" / "fixtures" / "tokenizers"
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir(parents=True)
    make_bert(base / "bert")
    train_t5(base / "t5")
    pad_with_exclamation(base / "clip-exclamation")
    with tempfile.TemporaryDirectory() as temporary:
        shutil.copytree(STICKERS, temporary, dirs_exist_ok=True)
        config = json.loads(Path(temporary, "tokenizer_config.json").read_text())
        config.pop("pad_token", None)
        Path(temporary, "tokenizer_config.json").write_text(json.dumps(config))
        shutil.copytree(base / "clip-exclamation", temporary, dirs_exist_ok=True)
        exclamation = CLIPTokenizer.from_pretrained(temporary)
    fixture = {
        "madeWith": f"transformers {transformers.__version__}",
        "texts": NASTY_TEXTS,
        "tokenizers": [
            record("CLIP", CLIPTokenizer.from_pretrained(STICKERS), "stickers"),
            record('CLIP padded with "!"', exclamation, "clip-exclamation"),
            record("BERT, vocab.txt", BertTokenizer.from_pretrained(base / "bert"), "bert"),
            record("BERT, tokenizer.json", BertTokenizer.from_pretrained(base / "bert-json"), "bert-json"),
            record("T5", T5Tokenizer.from_pretrained(base / "t5"), "t5"),
        ],
    }
    (base / "expected.json").write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
    files = [path for path in base.rglob("*") if path.is_file()]
    for path in files:
        print(f"{path}: {path.stat().st_size} bytes")
    print(f"{sum(path.stat().st_size for path in files)} bytes, {len(NASTY_TEXTS)} texts")


if __name__ == "__main__":
    main()
