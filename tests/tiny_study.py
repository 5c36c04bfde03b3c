"""The smallest study: pets and their colours, as a subject of experiments, and a model to match.

Two pets of a world are asked about in every way; what students and teachers of it learn is of no
interest. It runs in a second what the embedded world runs in minutes.
"""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import seqio
from flax.core import meta

from teacherlm_jax.checkpoints import manager
from teacherlm_jax.data.records import TeacherDataRecord
from teacherlm_jax.data.vocabularies import WordVocabulary, split_words
from teacherlm_jax.models import parameters
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.scoring.metrics import rank_classification
from teacherlm_jax.tasks.world.sources import RowsSource
from teacherlm_jax.teacher import prompts

PETS = ("cat", "dog", "owl", "fox", "hen", "cow", "ram", "rat")
KNOWN_PETS = ("pig", "bee", "ant", "eel", "bat", "yak", "elk", "emu")
COLOURS = ("red", "blue", "green", "grey")
TYPES = ("two", "three")
ARM_FIELDS: Mapping[str, tuple[str, ...]] = {
    "plain": (),
    "fundamentals": ("fundamentals",),
    "all": prompts.EXPLANATION_FIELDS,
}

MODEL = DecoderConfig(
    vocab_size=64,
    num_layers=1,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    mlp_dim=32,
    norm="rmsnorm",
    embedding_norm=False,
    use_bias=False,
    logits_via_embedding=False,
    embedding_init_scale=1.0,
    scan_layers=False,
)

Row = dict[str, Any]


@functools.cache
def vocabulary() -> WordVocabulary:
    """Every word of every text."""
    texts = [
        *prompts.MARKERS.values(),
        prompts.evaluation_prompt("is the pet? which pet is?", ["yes", "no", ""]) + ").",
        "so the is not a but beware",
    ]
    words = sorted({word for text in texts for word in split_words(text)})
    return WordVocabulary([*words, *PETS, *KNOWN_PETS, *COLOURS])


@functools.cache
def random_params(seed: int = 0, eos_bias: float = 1.0) -> Any:
    """Parameters at random, with logits far apart; `eos_bias` makes an end likelier."""
    # By NumPy: to compile the initialisers takes longer than all that is done with them.
    generator = np.random.default_rng(seed)

    def draw(path: Any, leaf: Any) -> Any:
        if path[-1].key == "scale":
            return jnp.ones(leaf.shape, leaf.dtype)
        deviation = 1.0 if path[-1].key == "embedding" else leaf.shape[0] ** -0.5
        return jnp.asarray(generator.normal(0.0, deviation, leaf.shape), leaf.dtype)

    boxed = parameters.boxed_params(Decoder(MODEL))
    params = jax.tree_util.tree_map_with_path(draw, meta.unbox(boxed))
    kernel = params["logits_dense"]["kernel"] * 3.0
    params["logits_dense"]["kernel"] = kernel.at[:, vocabulary().eos_id].mul(eos_bias)
    return params


def save_checkpoint(folder: pathlib.Path, params: Any, replicas: int | None = None) -> str:
    """Saves parameters as a stage does; returns the `checkpoints` folder."""
    metadata: dict[str, Any] = {"model": dataclasses.asdict(MODEL), "rows": []}
    if replicas is not None:
        metadata["replicas"] = replicas
    directory = folder / "checkpoints"
    with manager.Checkpoints(directory, manager.SavePolicy(asynchronous=False)) as checkpoints:
        checkpoints.save(7, params, {"step": np.int32(7)}, metadata)
    return str(directory)


class TinyStudy:
    """Pets of one seed; fulfils `students.subject.Subject`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.name = f"tiny{seed}"
        self.chance = (50.0 + 100.0 / 3) / 2
        self.questions_task = f"{self.name}_questions"
        self.evaluation = f"{self.name}_eval"
        self.base_evaluation = f"{self.name}_base_eval"
        self._questions = _questions(seed, PETS)
        self._known = _questions(seed, KNOWN_PETS)
        self._register()

    def records(self) -> list[TeacherDataRecord]:
        """The students' questions, without explanations."""
        return [self._record(row) for row in self._of("student")]

    def gold(self, record: TeacherDataRecord) -> dict[str, str]:
        """The right explanations of a question."""
        choice = record.choices["ABC".index(record.answer)]
        pet = choice if choice in PETS + KNOWN_PETS else record.question.split()[2]
        colour = self.colour_of[pet]
        return {
            "fundamentals": f"the {pet} is {colour}.",
            "chain_of_thought": f"the {pet} is {colour}. so the answer is {choice}.",
            "common_mistakes": f"beware: the {pet} is not a but {colour}.",
        }

    @functools.cached_property
    def colour_of(self) -> dict[str, str]:
        """Pet -> colour."""
        return {**_colours(self.seed, PETS), **_colours(self.seed, KNOWN_PETS)}

    def register_arm(self, arm: str, records: Sequence[TeacherDataRecord]) -> str:
        self.meaning(arm)
        name = f"{self.name}_student_{arm}"
        rates = {}
        for type_ in TYPES:
            rows = [
                _row(r, {f: getattr(r, f) for f in ARM_FIELDS[arm] if getattr(r, f)})
                for r in records
                if len(r.choices) == 2 + TYPES.index(type_)
            ]
            task = f"{name}_{type_}"
            seqio.TaskRegistry.remove(task)
            _add_training_task(task, rows)
            rates[task] = 0.3
        rates |= {f"{self.name}_base_plain_{type_}": 0.2 for type_ in TYPES}
        seqio.MixtureRegistry.remove(name)
        seqio.MixtureRegistry.add(name, list(rates.items()))
        return name

    def meaning(self, arm: str) -> str:
        if arm not in ARM_FIELDS:
            raise ValueError(f"arm = {arm!r}, but it must be one of {', '.join(ARM_FIELDS)}.")
        return f"Pets with {', '.join(ARM_FIELDS[arm]) or 'nothing more'}."

    def clean(
        self, records: Sequence[TeacherDataRecord]
    ) -> tuple[list[TeacherDataRecord], dict[str, int]]:
        return list(records), dict.fromkeys(prompts.EXPLANATION_FIELDS, self.seed)

    def quality(self, records: Sequence[TeacherDataRecord]) -> dict[str, dict[str, float]]:
        """Share of the gold's words that a text has at their place: a tiny teacher has some."""

        def share(record: TeacherDataRecord, field: str) -> float:
            gold = self.gold(record)[field].split()
            pairs = zip((getattr(record, field) or "").split(), gold)
            return sum(word == right for word, right in pairs) / len(gold)

        rates = {
            field: 100.0 * sum(share(record, field) for record in records) / len(records)
            for field in prompts.EXPLANATION_FIELDS
        }
        return {"truth_rate": rates}

    def coverage(
        self, records: Sequence[TeacherDataRecord], arms: Sequence[str]
    ) -> dict[str, float]:
        return dict.fromkeys(arms, 10.0 * self.seed)

    def samples(self, records: Sequence[TeacherDataRecord], count: int) -> list[dict[str, Any]]:
        return [
            {
                "question": record.question,
                "choices": list(record.choices),
                "answer": record.answer,
                "explanations": {
                    field: {"teacher": getattr(record, field), "gold": gold}
                    for field, gold in self.gold(record).items()
                },
            }
            for record in records[:count]
        ]

    def _of(self, split: str, type_: str | None = None) -> list[tuple[str, Row]]:
        rows = self._known if split.startswith("base") else self._questions
        return [
            (kind, row)
            for number, (kind, row) in enumerate(rows)
            if type_ in (None, kind)
            and ("student", "validation", "test")[number % 3] == split.removeprefix("base_")
        ]

    def _record(self, row: tuple[str, Row]) -> TeacherDataRecord:
        return TeacherDataRecord.create(**row[1], task=self.questions_task, split="student")

    def _register(self) -> None:
        if self.questions_task in seqio.TaskRegistry.names():
            return
        records = [record.to_features() for record in self.records()]
        _add_task(
            self.questions_task,
            {"train": records},
            [_question_and_letter, seqio.preprocessors.tokenize],
        )
        for type_ in TYPES:
            known = [self._record(row) for row in self._of("base_student", type_)]
            _add_training_task(f"{self.name}_base_plain_{type_}", [_row(r, {}) for r in known])
            splits = {s: self._evaluation_rows(s, type_) for s in ("validation", "test")}
            add_evaluation(f"{self.name}_{type_}_eval", splits)
            add_evaluation(
                f"{self.name}_base_{type_}_eval",
                {"test": self._evaluation_rows("base_test", type_)},
            )
        replay = [f"{self.name}_base_plain_{type_}" for type_ in TYPES]
        seqio.MixtureRegistry.add(f"{self.name}_base", replay, default_rate=1)
        gold = [_row(record, self.gold(record)) for record in map(self._record, self._known)]
        _add_training_task(f"{self.name}_gold", gold)
        for name in ("", "_base"):
            tasks = [f"{self.name}{name}_{type_}_eval" for type_ in TYPES]
            seqio.MixtureRegistry.add(f"{self.name}{name}_eval", tasks, default_rate=1)

    def _evaluation_rows(self, split: str, type_: str) -> list[Row]:
        rows = []
        for number, (_, row) in enumerate(self._of(split, type_)):
            prompt = prompts.evaluation_prompt(row["question"], row["choices"])
            for option, letter in enumerate("ABC"[: len(row["choices"])]):
                rows.append(
                    {
                        "inputs": prompt,
                        "targets": letter,
                        "idx": [number, option],
                        "is_correct": letter == row["answer"],
                    }
                )
        return rows


def _colours(seed: int, pets: Sequence[str]) -> dict[str, str]:
    colours = np.random.default_rng(seed).permutation(np.repeat(COLOURS, 2))
    return dict(zip(pets, map(str, colours)))


def _questions(seed: int, pets: Sequence[str]) -> list[tuple[str, Row]]:
    """(type, question) in random order: all of two options, and as many of three."""
    colour_of = _colours(seed, pets)
    rows: list[tuple[str, Row]] = []
    for pet, colour in itertools.product(pets, COLOURS):
        answer = "A" if colour_of[pet] == colour else "B"
        question = {"question": f"is the {pet} {colour}?", "choices": ["yes", "no"]}
        rows.append(("two", {**question, "answer": answer}))
    for pet, place in itertools.product(pets, range(3)):
        others = [other for other in pets if colour_of[other] != colour_of[pet]][place : place + 2]
        choices = [*others[:place], pet, *others[place:]]
        question = {"question": f"which pet is {colour_of[pet]}?", "choices": choices}
        rows.append(("three", {**question, "answer": "ABC"[place]}))
    order = np.random.default_rng(seed + 1).permutation(len(rows))
    return [rows[number] for number in order]


def _row(record: TeacherDataRecord, explanations: Mapping[str, str]) -> Row:
    spaced = {field: f" {text}" for field, text in explanations.items()}
    inputs, targets = prompts.training_text(record.question, record.choices, record.answer, spaced)
    return {"inputs": inputs, "targets": targets}


def _question_and_letter(dataset: Any) -> Any:
    return dataset.map(lambda ex: {**ex, "inputs": ex["question"], "targets": ex["answer"]})


def _index_and_correctness(
    output: str, example: Mapping[str, Any], is_target: bool = False
) -> tuple[Any, bool]:
    return example["idx"], bool(example["is_correct"])


def _add_training_task(name: str, rows: Sequence[Row]) -> None:
    _add_task(
        name,
        {"train": rows},
        [seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
    )


def add_evaluation(name: str, splits: Mapping[str, Sequence[Row]]) -> None:
    """Registers a task of rank classification."""
    _add_task(
        name,
        splits,
        [seqio.preprocessors.tokenize],
        add_eos=False,
        postprocess_fn=_index_and_correctness,
        metric_fns=[rank_classification],
    )


def _add_task(
    name: str,
    splits: Mapping[str, Sequence[Row]],
    preprocessors: Sequence[Any],
    add_eos: bool = True,
    **others: Any,
) -> None:
    features = {
        "inputs": seqio.Feature(vocabulary(), add_eos=False, required=False),
        "targets": seqio.Feature(vocabulary(), add_eos=add_eos),
    }
    rows = {split: functools.partial(list, rows) for split, rows in splits.items()}
    seqio.TaskRegistry.add(
        name, RowsSource(rows), features, preprocessors=list(preprocessors), **others
    )
