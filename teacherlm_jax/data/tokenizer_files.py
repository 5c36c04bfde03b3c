"""What the files of a public tokenizer say: the tokenizer's JSON and the ids of special tokens.

tokenizer.json describes a tokenizer whole; vocab.json and merges.txt those of GPT-2's kind. Nothing
here needs the package `tokenizers`.
"""

import dataclasses
import itertools
import json
from collections.abc import Mapping, Set
from typing import Any

from etils import epath

# Says that the files tell an id; None would say that there is no such token.
FROM_FILES = "from files"

_TOKEN_FILES = ("tokenizer_config.json", "special_tokens_map.json")
_ID_FILES = ("config.json", "generation_config.json")
# Of what says vocab.json and merges.txt: others (Qwen2) split text by another pattern.
_GPT2_CLASSES = ("GPT2Tokenizer", "GPT2TokenizerFast")
_GPT2_MODELS = ("gpt2", "opt", "gpt_neo", "gptj")

Settings = Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class TokenizerFiles:
    """What a folder says.

    Attributes:
      json: a tokenizer.json, keys sorted, less truncation, padding, dropout and post-processor.
      vocab_size: the highest id + 1, added tokens included.
      added_tokens: text -> id of the tokens beside the model's own.
      special: ids of added tokens that any file calls special.
      ids: of "bos", "eos", "pad" and "unk"; None: there is no such token.
      adds_bos: whether the published tokenizer puts BOS before every text.
    """

    json: str
    vocab_size: int
    added_tokens: Mapping[str, int]
    special: Set[int]
    ids: Mapping[str, int | None]
    adds_bos: bool = False


def read(directory: epath.PathLike, arguments: Mapping[str, int | str | None]) -> TokenizerFiles:
    """Reads a folder, local or gs://.

    Args:
      directory: where the files lie.
      arguments: role ("bos", "eos", "pad", "unk") -> id, None or FROM_FILES.

    Raises:
      ValueError: a file is missing or damaged, or names a token that the tokenizer does not hold.
    """
    try:
        return _read(epath.Path(directory), arguments)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError) as error:
        raise ValueError(
            f"{directory}: the tokenizer's files are not as transformers writes them "
            f"({type(error).__name__}: {error}): fetch them anew."
        ) from error


def _read(folder: epath.Path, arguments: Mapping[str, int | str | None]) -> TokenizerFiles:
    settings = {name: _read_object(folder / name) for name in (*_TOKEN_FILES, *_ID_FILES)}
    data = _read_tokenizer(folder, settings)
    adds_bos = settings["tokenizer_config.json"].get("add_bos_token")
    if adds_bos is None:
        adds_bos = _begins_with_token(data.get("post_processor"))
    data["post_processor"] = None
    lookup = _Lookup(str(folder), data, settings)
    ids = {role: lookup.special_id(role, argument) for role, argument in arguments.items()}
    special = _mark_special(data, settings, set(ids.values()))
    return TokenizerFiles(
        json=json.dumps(data, sort_keys=True),
        vocab_size=max(lookup.id_of_token.values()) + 1,
        added_tokens={token["content"]: token["id"] for token in data["added_tokens"]},
        special=special,
        ids=ids,
        adds_bos=bool(adds_bos) and ids.get("bos") is not None,
    )


def _begins_with_token(processor: Any) -> bool:
    """Whether a tokenizer.json's post-processor is a template that puts a token before a text."""
    if not isinstance(processor, dict):
        return False
    if processor.get("type") == "Sequence":
        return any(map(_begins_with_token, processor.get("processors", ())))
    template = processor.get("single") if processor.get("type") == "TemplateProcessing" else ()
    return any("SpecialToken" in piece for piece in (template or ())[:1])


def _read_object(path: epath.Path) -> dict[str, Any]:
    """A file's JSON object; empty where there is no such file."""
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}): fetch the file anew.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a {type(value).__name__}, but must hold a JSON object.")
    return value


def _read_tokenizer(folder: epath.Path, settings: Settings) -> dict[str, Any]:
    """What tokenizer.json says, or would say, less all that does more than split text."""
    present = sorted(path.name for path in folder.iterdir()) if folder.exists() else None
    if present is not None and "tokenizer.json" in present:
        data = _read_object(folder / "tokenizer.json")
        if not isinstance(data.get("model"), dict) or not data["model"].get("vocab"):
            raise ValueError(f"{folder / 'tokenizer.json'} has no model with a vocabulary.")
    elif present is not None and {"vocab.json", "merges.txt"} <= set(present):
        data = _gpt2_tokenizer(folder, settings)
    else:
        there = "there is no such folder" if present is None else f"the folder holds {present}"
        raise ValueError(
            f"no tokenizer in {folder}, which must hold tokenizer.json, or vocab.json and "
            f"merges.txt; {there}. Checkpoints with a SentencePiece model alone get their "
            "tokenizer.json from transformers: "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)."
        )
    data["added_tokens"] = data.get("added_tokens") or []
    data.update(truncation=None, padding=None)
    if "dropout" in data["model"]:
        data["model"]["dropout"] = None
    return data


def _gpt2_tokenizer(folder: epath.Path, settings: Settings) -> dict[str, Any]:
    """GPT-2's byte-level BPE as tokenizer.json says it."""
    config = settings["tokenizer_config.json"]
    kind, model_type = config.get("tokenizer_class"), settings["config.json"].get("model_type")
    if kind not in _GPT2_CLASSES if kind else model_type not in (None, *_GPT2_MODELS):
        raise ValueError(
            f"{folder} has vocab.json and merges.txt of {kind or model_type!r}, but without "
            f"tokenizer.json only {_GPT2_CLASSES} are known, since others split text otherwise: "
            "write a tokenizer.json with transformers' save_pretrained."
        )
    lines = (folder / "merges.txt").read_bytes().decode("utf-8").split("\n")
    merges = [line.rstrip("\r").split(" ") for line in lines if not line.startswith("#version")]
    space = bool(config.get("add_prefix_space", False))
    split = {"add_prefix_space": space, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": _gpt2_added_tokens(folder, settings),
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", **split},
        "decoder": {"type": "ByteLevel", **split},
        "model": {
            "type": "BPE",
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "vocab": _read_object(folder / "vocab.json"),
            "merges": [merge for merge in merges if merge != [""]],
        },
    }


def _gpt2_added_tokens(folder: epath.Path, settings: Settings) -> list[dict[str, Any]]:
    """Tokens beside vocab.json: of tokenizer_config.json, or of the older added_tokens.json."""
    found = {
        number: {"content": t} for t, number in _read_object(folder / "added_tokens.json").items()
    }
    decoder = settings["tokenizer_config.json"].get("added_tokens_decoder") or {}
    found.update({int(number): token for number, token in decoder.items()})
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return [
        {**flags, **{key: token[key] for key in ("content", *flags) if key in token}, "id": number}
        for number, token in sorted(found.items())
    ]


class _Lookup:
    """Ids of the tokens that files and arguments name."""

    def __init__(self, directory: str, data: Mapping[str, Any], settings: Settings) -> None:
        self._directory = directory
        self._settings = settings
        self._model = data["model"]
        vocabulary = self._model["vocab"]
        if isinstance(vocabulary, list):  # Unigram's: pairs of token and score.
            vocabulary = {token: number for number, (token, _) in enumerate(vocabulary)}
        added = {token["content"]: token["id"] for token in data["added_tokens"]}
        self.id_of_token: dict[str, int] = {**vocabulary, **added}
        self._ids = set(self.id_of_token.values())

    def special_id(self, role: str, argument: int | str | None) -> int | None:
        """The id of BOS, EOS, padding or the unknown token; None: there is none."""
        if argument is None:
            return None
        if argument != FROM_FILES:
            if not isinstance(argument, int):
                raise ValueError(
                    f"{role}_id = {argument!r}, but it must be an id, None, or {FROM_FILES!r}."
                )
            return self._checked(argument, "the argument", role)
        key = f"{role}_token"
        named = [name for name in _TOKEN_FILES if key in self._settings[name]]
        for name in named:
            token = _text(self._settings[name][key])
            if token is not None:
                return self._found(token, f"{name}'s {key}", role)
        if role == "bos" and named:
            return None
        for name in _ID_FILES:
            ids = self._settings[name].get(f"{key}_id")
            number = next(iter(ids), None) if isinstance(ids, list) else ids
            if number is not None and number >= 0:
                return self._checked(number, f"{name}'s {key}_id", role)
        if role == "unk" and isinstance(token := self._model.get("unk_token"), str):
            return self._found(token, "tokenizer.json's unk_token", role)
        return None

    def _found(self, token: Any, source: str, role: str) -> int:
        if token not in self.id_of_token:
            raise ValueError(
                f"{self._directory}: {source} is {token!r}, but the tokenizer holds no such token: "
                f"complete the files, or give {role}_id (None: there is none)."
            )
        return self.id_of_token[token]

    def _checked(self, number: int, source: str, role: str) -> int:
        if number not in self._ids:
            raise ValueError(
                f"{self._directory}: {source} is {number}, but the tokenizer's ids go from "
                f"{min(self._ids)} to {max(self._ids)}, and none of its tokens has that one: give "
                f"{role}_id as the id of a token (None: there is none)."
            )
        return number


def _text(token: Any) -> Any:
    """A token as files name it: its text, or an object that holds it."""
    return token.get("content") if isinstance(token, dict) else token


def _mark_special(
    data: Mapping[str, Any], settings: Settings, ids: Set[int | None]
) -> frozenset[int]:
    """Marks added tokens as special that any file calls so; returns the ids of all such."""
    extra: list[Any] = []
    for name, key in itertools.product(
        _TOKEN_FILES, ("additional_special_tokens", "extra_special_tokens")
    ):
        tokens = settings[name].get(key) or []
        extra += tokens.values() if isinstance(tokens, dict) else tokens
    named = set(map(_text, extra))
    for token in data["added_tokens"]:
        special = token.get("special") or token["id"] in ids or token["content"] in named
        token["special"] = bool(special)
    return frozenset(token["id"] for token in data["added_tokens"] if token["special"])
