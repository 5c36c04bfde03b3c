"""Folders with tokenizers as public repositories have them, trained here in a moment."""

import json
import pathlib
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer

CORPUS = [
    "The answer is (A). Let's think: which animal has fur? An otter's fur is dense!",
    "Der schnelle braune Fuchs springt über den faulen Hund, süß und naïve.",
    "def main():\n    return 'hello  world'\n\n\tprint(3.14159)\r\n",
    "今天天气很好。 Привет, мир! 🙂🙂",
] * 20
BLOOM_WORDS = r" ?[^(\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"
LLAMA_BYTES = [f"<0x{number:02X}>" for number in range(256)]


def rewritten(
    folder: pathlib.Path, target: pathlib.Path, name: str, change: dict[str, Any]
) -> pathlib.Path:
    """A copy of a folder in which one JSON file has other entries."""
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    path = target / f"{name}.json"
    value = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**value, **change}))
    return target


def _write(folder: pathlib.Path, **files: Any) -> pathlib.Path:
    """Writes JSON files: `config={...}` becomes config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


def _byte_level(special: list[str], regex: str | None = None, vocab_size: int = 400) -> Tokenizer:
    """Special tokens first; then the bytes, of which `!` is the first."""
    tokenizer = Tokenizer(models.BPE())
    if regex is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(regex), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def bloom(folder: pathlib.Path) -> pathlib.Path:
    """BLOOM's: its own split, special tokens 0 to 3, truncation and padding left switched on."""
    tokenizer = _byte_level(["<unk>", "<s>", "</s>", "<pad>"], BLOOM_WORDS)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(pad_id=3, pad_token="<pad>", length=5)
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return _write(
        folder,
        tokenizer=json.loads(tokenizer.to_str()),
        tokenizer_config={**names, "tokenizer_class": "PreTrainedTokenizerFast"},
        special_tokens_map=names,
        config={"model_type": "bloom", "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3},
    )


def gpt2(folder: pathlib.Path) -> pathlib.Path:
    """GPT-2's: id 0 is `!`; config.json alone names the one special token, which is the last."""
    tokenizer = _byte_level([])
    tokenizer.add_special_tokens(["<|endoftext|>"])
    number = tokenizer.token_to_id("<|endoftext|>")
    return _write(
        folder,
        tokenizer=json.loads(tokenizer.to_str()),
        tokenizer_config={"model_max_length": 1024, "tokenizer_class": "PreTrainedTokenizerFast"},
        config={"model_type": "gpt2", "bos_token_id": number, "eos_token_id": number},
    )


def qwen2(folder: pathlib.Path) -> pathlib.Path:
    """Qwen2's: NFC, its own split, `!` as id 0, BOS null, several EOS, a token not special."""
    tokenizer = _byte_level(
        [],
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    )
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens(["<tool_call>"])
    first = tokenizer.token_to_id("<|endoftext|>")
    return _write(
        folder,
        tokenizer=json.loads(tokenizer.to_str()),
        tokenizer_config={
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        config={"model_type": "qwen2", "bos_token_id": first, "eos_token_id": first},
        generation_config={"eos_token_id": [first + 2, first], "pad_token_id": first},
    )


def llama(folder: pathlib.Path) -> pathlib.Path:
    """Llama's: spaces are `▁`, unknown characters bytes, and a template that adds BOS."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    trained.train_from_iterator(
        CORPUS[:2] * 20, BpeTrainer(vocab_size=300, special_tokens=[], show_progress=False)
    )
    model = json.loads(trained.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].get)
    tokens = ["<unk>", "<s>", "</s>", *LLAMA_BYTES, *pieces]
    tokenizer = Tokenizer(
        models.BPE(
            {token: number for number, token in enumerate(tokens)},
            [tuple(merge) for merge in model["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = trained.normalizer
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip()]
    )
    data = json.loads(tokenizer.to_str())
    data["decoder"]["decoders"][-1] = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.add_special_tokens(tokens[:3])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return _write(
        folder,
        tokenizer=json.loads(tokenizer.to_str()),
        tokenizer_config={"add_bos_token": True, "tokenizer_class": "PreTrainedTokenizerFast"},
        special_tokens_map={name: {"content": text, **flags} for name, text in names.items()},
        config={"model_type": "llama", "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": -1},
    )


def opt(folder: pathlib.Path) -> pathlib.Path:
    """OPT's: vocab.json and merges.txt, `</s>` as BOS and EOS, and a BOS before each text."""
    tokenizer = _byte_level(["<s>", "<pad>", "</s>", "<unk>"])
    model = json.loads(tokenizer.to_str())["model"]
    flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    end = {"__type": "AddedToken", "content": "</s>", **flags}
    _write(
        folder,
        vocab=model["vocab"],
        tokenizer_config={
            "errors": "replace",
            "unk_token": end,
            "bos_token": end,
            "eos_token": end,
            "pad_token": "<pad>",
            "add_prefix_space": False,
            "add_bos_token": True,
            "tokenizer_class": "GPT2Tokenizer",
        },
        special_tokens_map={"bos_token": end, "eos_token": end, "pad_token": "<pad>"},
        config={"model_type": "opt", "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1},
    )
    lines = ["#version: 0.2", *(" ".join(merge) for merge in model["merges"]), ""]
    (folder / "merges.txt").write_bytes("\n".join(lines).encode())
    return folder


FAMILIES = {"bloom": bloom, "gpt2": gpt2, "qwen2": qwen2, "llama": llama, "opt": opt}
