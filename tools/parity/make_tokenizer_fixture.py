"""Records the token ids of transformers' tokenizers, which ours must give too.

    python tools/parity/make_tokenizer_fixture.py

CLIP's is models/stickers/tokenizer. BERT's (WordPiece) and T5's (SentencePiece with its normalisation, nmt_nfkc) are trained on the texts of this
file and written to test/fixtures/tokenizers/{bert,t5}. The ids are in test/fixtures/tokenizers/{clip,bert,t5}.json:
    window  tokens that the model reads, with start and end
    cases   text; ids and mask: padded to the window; whole: the ids of all of the text, without padding
"""

import json
import tempfile
from pathlib import Path

import sentencepiece
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, BertTokenizerFast, CLIPTokenizer

ROOT = Path(__file__).resolve().parents[2]

TEXTS = [
    # sentences
    "a green dog on the grass",
    "A Green DOG on The Grass",
    "two red hearts, one blue star & three yellow moons",
    "a brown bear above a white boat",
    "Photograph of an astronaut riding a horse",
    "the quick brown fox jumps over the lazy dog",
    "supercalifragilisticexpialidocious",
    "x",
    # punctuation
    "a dog, a cat; a bird: a fish. really?! yes...",
    "(a red book) [a vase] {a boat}",
    "red/green/blue",
    "e-mail: someone@example.com #sticker $5 50% 2^3 a_b",
    "\"quoted\" 'single' `back` “curly” ‘curly’ «guillemets»",
    "--- *** !!! ???",
    "a dog -- no, a cat – or — a bird",
    "...",
    "<dog> &amp; <br/>",
    # contractions
    "it's a dog's life, isn't it? they're sure we've won; I'm here, she'll go, he'd stay",
    "IT'S THE DOG'S",
    "rock'n'roll 'tis 'sup 'llama 'dog",
    "it’s a dog’s life",
    # digits
    "5 dogs and 12 cats in 2024",
    "3.14159 1,000,000 0x7f 1e-5",
    "a4 b52 4x4 2nd 3rd",
    "٣ dogs ½ cat ² ⅷ",
    # emoji
    "a dog 🐶 and a cat 🐱",
    "👨‍👩‍👧‍👦 family 👍🏽 🇫🇷",
    "❤️ red heart ☃ snowman",
    # other scripts
    "草地上的一只绿色的狗",
    "一只dog和一只cat",
    "緑の犬 みどりのいぬ ミドリ",
    "зелёная собака на траве",
    "ΠΡΆΣΙΝΟΣ ΣΚΎΛΟΣ",
    "كلب أخضر على العشب",
    "कुत्ता हरा",
    "초록색 개",
    "İstanbul ISPARTA ıspanak",
    "GROẞE STRAßE",
    # accents, composed and decomposed
    "caf\u00e9 cr\u00e8me br\u00fbl\u00e9e",
    "cafe\u0301 cre\u0300me bru\u0302le\u0301e",
    "\u00c9COLE \u00c5NGSTR\u00d6M \u212b",
    "\ufb01sh \ufb02ag \uff21\uff22\uff23",
    "z\u0351\u0343a\u0323\u0302lgo",
    # control characters and other whitespace
    "a\u0000dog",
    "a\u0007red\u001bdog\u007f",
    "a\ttab\nand a line\r\nend",
    "zero\u200bwidth\u200djoin\ufeff mark",
    "no\u00a0break\u2003em\u3000ideographic\u2028line",
    "\ud7ff \ue000 \ufffd \U0010ffff",
    # nothing
    "",
    " ",
    " \t\n ",
    "  a   dog  ",
    # special tokens in the text
    "a dog<|endoftext|>a cat",
    "<|startoftext|>a dog<|endoftext|>",
    "a dog <|endoftext|>",
    "a <|ENDOFTEXT|> dog",
    "<|endoftext",
    "dog</w> cat</w>",
    # longer than the window
    " ".join(["a green dog and a red cat"] * 6),
    "草地上的一只绿色的狗" * 5,
    "🐶" * 40,
    "dog" * 400,
    ", ".join(str(number) for number in range(60)),
    "one two three four five six seven eight nine ten eleven twelve thirteen, it's café time",
]


FOLDER = ROOT / "test" / "fixtures" / "tokenizers"


def bert(folder: Path):
    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.normalizer = normalizers.BertNormalizer()
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trained.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=900, special_tokens=special, show_progress=False))
    by_id = sorted(trained.get_vocab().items(), key=lambda item: item[1])
    (folder / "vocab.txt").write_text("".join(token + "\n" for token, _ in by_id), encoding="utf8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 24, "do_lower_case": True}) + "\n")
    return BertTokenizerFast.from_pretrained(folder)


def t5(folder: Path):
    with tempfile.TemporaryDirectory() as name:
        source = Path(name)
        (source / "texts").write_text("\n".join(text.replace("\0", " ") for text in TEXTS), encoding="utf8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(source / "texts"),
            model_prefix=str(source / "spiece"),
            vocab_size=600,
            hard_vocab_limit=False,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            minloglevel=2,
        )
        config = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "model_max_length": 32}
        (source / "tokenizer_config.json").write_text(json.dumps(config))
        tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.save_pretrained(folder)
    return tokenizer


def main():
    for kind, make in (
        ("clip", lambda _: CLIPTokenizer.from_pretrained(ROOT / "models" / "stickers" / "tokenizer")),
        ("bert", bert),
        ("t5", t5),
    ):
        if kind != "clip":
            (FOLDER / kind).mkdir(parents=True, exist_ok=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        tokenizer = make(FOLDER / kind)
        cases = []
        for text in TEXTS:
            padded = tokenizer(text, padding="max_length", truncation=True)
            whole = tokenizer(text, truncation=False, verbose=False).input_ids
            cases.append({"text": text, "ids": padded.input_ids, "mask": padded.attention_mask, "whole": whole})
        fixture = {
            "madeWith": f"transformers {transformers.__version__}",
            "window": tokenizer.model_max_length,
            "cases": cases,
        }
        path = FOLDER / f"{kind}.json"
        path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
        print(f"{path.name}: {path.stat().st_size} bytes, {len(cases)} texts")


if __name__ == "__main__":
    main()
