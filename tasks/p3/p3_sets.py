"""The data sets of P3 that have prompts to train on.

They are T0++'s 54 training sets, and ANLI, CB, RTE and Winogrande, which T0 keeps for evaluation.
That P3-Sense-3K is a cap on these is a reconstruction: neither its selection was found, nor whether
its "sub-dataset" means a data set or one prompt of it. P3's bias sets and Story Cloze, which have
no rows to train on, are left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.data import split_slices
from teacherlm_jax.tasks.catalogue.dataset import DATASETS, Dataset

# A line a data set: its name in t-zero's table, and where they differ from it, the data sets of the
# catalogue that it consists of.
_LINES = """
    super_glue/wsc.fixed super_glue_wsc_fixed
    winogrande/winogrande_xl winogrande
    super_glue/cb
    super_glue/rte
    anli anli_r1 anli_r2 anli_r3
    glue/mrpc
    glue/qqp
    paws/labeled_final paws_wiki
    ai2_arc/ARC-Challenge arc_challenge
    ai2_arc/ARC-Easy arc_easy
    kilt_tasks/hotpotqa
    trivia_qa/unfiltered
    web_questions
    wiki_qa
    adversarial_qa/dbidaf
    adversarial_qa/dbert
    adversarial_qa/droberta
    duorc/SelfRC duorc_selfrc
    duorc/ParaphraseRC duorc_paraphraserc
    ropes
    squad_v2
    super_glue/record
    quoref
    cos_e/v1.11 cos_e
    cosmos_qa
    dream
    openbookqa/main openbookqa
    qasc
    quail
    quarel
    quartz
    race/high
    race/middle
    sciq
    social_i_qa
    super_glue/boolq
    super_glue/copa
    super_glue/multirc
    wiki_hop/original
    wiqa
    piqa
    amazon_polarity
    app_reviews
    imdb imdb_reviews
    rotten_tomatoes
    yelp_review_full
    hellaswag
    common_gen
    wiki_bio
    cnn_dailymail/3.0.0 cnn_dailymail
    gigaword
    multi_news
    samsum
    xsum
    ag_news ag_news_subset
    dbpedia_14
    trec
    super_glue/wic
"""

# TFDS's rows of RACE are articles; these are questions.
_SAMPLES = {"race_high": 62_445, "race_middle": 25_421}

# Rows to read for each example wanted, where prompts or lists of exclusions leave many rows out: a
# twentieth of WikiQA's sentences are answers, a tenth of SciQ's questions have no paragraph, and a
# fifth of CoS-E's questions are in ECQA's test file.
ROWS_PER_EXAMPLE = {"wiki_qa": 20, "sciq": 2, "cos_e": 2}

# Training samples that have a field which others lack.
SAMPLES_WITH_FIELD = {("wiki_qa", "answer_sentence"): 1_040}


@dataclasses.dataclass(frozen=True)
class P3Set:
    """A data set of P3.

    Attributes:
      name: t-zero's, with a slash before its config.
      parts: names in the catalogue; more than one share the cap.
    """

    name: str
    parts: tuple[str, ...]


def _parsed() -> Iterator[P3Set]:
    for line in _LINES.split("\n"):
        if line.strip():
            name, *parts = line.split()
            yield P3Set(name, tuple(parts) or (name.replace("/", "_"),))


P3_SETS: tuple[P3Set, ...] = tuple(_parsed())
PARTS: tuple[str, ...] = tuple(part for p3_set in P3_SETS for part in p3_set.parts)
"""All names in the catalogue."""


def splits(dataset: Dataset) -> dict[str, str]:
    """The catalogue's, which Muffin trains and validates on too.

    P3's own are the source's whole splits. Then what Muffin validates on would be trained on in a
    mixture of both, and validation rows of SuperGLUE would be those that evaluation reports on.
    """
    return {
        name: dataset.splits[name] for name in ("train", "validation") if name in dataset.splits
    }


def training_samples(name: str) -> int:
    """Training samples of a data set of the catalogue before any cap, by the public tables."""
    dataset = DATASETS[name]
    rows = split_slices.count(splits(dataset)["train"], dataset.counts)
    return _SAMPLES.get(name, rows or 0)
