"""Small models of transformers with tokenizers, at random and briefly trained."""

import functools
import json
import pathlib
import re
import tempfile
from collections.abc import Sequence
from typing import Any

import torch
import transformers

from tests.data import tiny_tokenizers
from tests.weights import reference_models

FAMILIES = ("bloom", "opt", "llama")
MAX_LENGTH = 1024

_folders = tempfile.TemporaryDirectory()


@functools.cache
def folder(family: str, trained: bool) -> pathlib.Path:
    """A Hugging Face directory: config.json, model.safetensors and a tokenizer."""
    path = pathlib.Path(tempfile.mkdtemp(dir=_folders.name))
    getattr(tiny_tokenizers, family)(path)
    if family == "llama":
        _words_apart(path / "tokenizer.json")
    model_type, fields = reference_models.VARIANTS[family]
    names = {"max_position_embeddings": MAX_LENGTH} if family != "bloom" else {}
    ids = {"opt": (2, 2, 1), "bloom": (1, 2, 3), "llama": (1, 2, None)}[family]
    special = dict(zip(("bos_token_id", "eos_token_id", "pad_token_id"), ids, strict=True))
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    # More rows than tokens, as public models have.
    size = -(-len(tokenizer) // 16) * 16 + 16
    config = transformers.AutoConfig.for_model(
        model_type, **{**fields, "vocab_size": size, **names, **special}
    )
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    reference_models.draw(model)
    if trained:
        _train(model, tokenizer)
    model.save_pretrained(path)
    return path


def _words_apart(path: pathlib.Path) -> None:
    """Forgets merges over words and brackets, which public tokenizers do not learn."""
    tokenizer = json.loads(path.read_text())
    merges = tokenizer["model"]["merges"]
    whole = re.compile(r"▁?(\w+|[^\w▁]+)|▁+")
    tokenizer["model"]["merges"] = [pair for pair in merges if whole.fullmatch("".join(pair))]
    path.write_text(json.dumps(tokenizer))


def _train(model: Any, tokenizer: Any) -> None:
    """A few steps on text in the questions' form: the logits are no longer those of chance."""
    text = "".join(
        f"Q: {question} A: The answer is {choices[0]}. ({letter}) "
        for question, choices, letter in SAMPLES
    )
    tokens = torch.tensor([tokenizer.encode(text, truncation=False)[:128]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(8):
        loss = model(tokens, labels=tokens).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


SAMPLES: Sequence[tuple[str, tuple[str, ...], str]] = (
    ("Which animal has fur?", ("an otter", "a trout"), "A"),
    ("Is a fox fast?", ("no", "yes, it runs"), "B"),
    ("Was ist süß?", ("der Zucker", "das Salz"), "A"),
    ("What does print('hi') do?\n", ("it prints", "nothing"), "A"),
    ("Which number is 3.14159 near?", ("e", "pi", "22/7", "four"), "B"),
    ("Which of these is not an animal?", ("otter", "fox", "trout", "owl", "stone"), "E"),
    ("今天天气好?", ("很好", "Да", "🙂"), "A"),
    ("A question of one option?", ("the only one",), "A"),
    ("Options that begin alike?", ("answer", "answers", "answer is dense"), "C"),
)
"""Questions of our own: several scripts, one to five options, of one token and of many."""
