"""The 70 tasks of FLAN v1, and which of the FLAN paper's 62 data sets each belongs to.

That the paper's 62 are these is a reconstruction: its repository trains on 69 tasks. Merging the
parts of ANLI, MNLI, ARC and SQuAD, and leaving out true_case, word_segment and wsc, gives 62.
WSC273 has no training rows, so wsc stands in for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from teacherlm_jax.tasks.catalogue.dataset import Sample

ARC_OPTIONS = 4


@dataclasses.dataclass(frozen=True)
class FlanTask:
    """A task of FLAN v1.

    Attributes:
      name: FLAN's.
      cluster: FLAN's name for its kind of task.
      dataset: name in our catalogue and templates.
      of_62: the data set of the 62 that its training rows belong to; None: of none.
      keep: whether training uses a sample; None: all.
    """

    name: str
    cluster: str
    dataset: str
    of_62: str | None
    keep: Callable[[Sample], bool] | None = None


def _has_four_options(sample: Sample) -> bool:
    return len(sample.options) == ARC_OPTIONS


# A line a task: FLAN's name, and where they differ from it, names in the catalogue and of the 62.
_CLUSTERS: dict[str, str] = {
    "summarization": """
        aeslc
        cnn_dailymail
        gigaword
        multi_news
        newsroom
        samsum
        xsum
        ag_news_subset
        opinion_abstracts_rotten_tomatoes
        opinion_abstracts_idebate
        wiki_lingua_english_en""",
    "structure_to_text": """
        web_nlg_en
        common_gen
        e2e_nlg
        dart""",
    "reading_comprehension": """
        squad_v1 of=squad
        squad_v2 of=squad
        drop
        multirc catalogue=super_glue_multirc
        openbookqa
        bool_q""",
    "open_domain_qa": """
        trivia_qa
        natural_questions
        arc_challenge of=arc
        arc_easy of=arc""",
    "paraphrase": """
        glue_mrpc
        glue_qqp
        paws_wiki
        stsb catalogue=glue_stsb""",
    "sentiment": """
        imdb_reviews
        sentiment140
        yelp_polarity_reviews
        sst2 catalogue=glue_sst2""",
    "text_formatting": """
        true_case of=
        fix_punct
        word_segment of=""",
    "common_sense": """
        copa catalogue=super_glue_copa
        hellaswag
        story_cloze catalogue=story_cloze_2016
        piqa""",
    "translation": """
        para_crawl_enes
        wmt14_enfr
        wmt16_translate_deen
        wmt16_translate_tren
        wmt16_translate_csen
        wmt16_translate_fien
        wmt16_translate_roen
        wmt16_translate_ruen""",
    "coreference": """
        definite_pronoun_resolution
        winogrande
        wsc catalogue=super_glue_wsc of=wsc273
        wsc273 of=""",
    "entailment": """
        anli_r1 of=anli
        anli_r2 of=anli
        anli_r3 of=anli
        cb catalogue=super_glue_cb
        rte catalogue=super_glue_rte
        mnli_matched catalogue=glue_mnli of=mnli
        mnli_mismatched catalogue=glue_mnli of=
        qnli catalogue=glue_qnli
        wnli catalogue=glue_wnli
        snli""",
    "math": """
        math_dataset""",
    "conversational_qa": """
        quac
        coqa""",
    "word_disambiguation": """
        wic catalogue=super_glue_wic""",
    "linguistic_acceptability": """
        cola catalogue=glue_cola""",
    "question_classification": """
        trec""",
    "read_comp_and_common_sense": """
        record catalogue=super_glue_record
        cosmos_qa""",
}
_KEEP = {"arc_challenge": _has_four_options, "arc_easy": _has_four_options}


def _parsed() -> Iterator[FlanTask]:
    for cluster, lines in _CLUSTERS.items():
        for line in lines.split("\n"):
            if line.strip():
                name, *others = line.split()
                given = dict(part.split("=") for part in others)
                yield FlanTask(
                    name,
                    cluster,
                    given.get("catalogue", name),
                    given.get("of", name) or None,
                    _KEEP.get(name),
                )


FLAN_TASKS: dict[str, FlanTask] = {task.name: task for task in _parsed()}
"""By name. mnli_mismatched has the training rows of mnli_matched, so one of them counts."""


def the_62() -> dict[str, list[FlanTask]]:
    """Data set of the 62 -> the tasks with its training rows."""
    found: dict[str, list[FlanTask]] = {}
    for task in FLAN_TASKS.values():
        if task.of_62 is not None:
            found.setdefault(task.of_62, []).append(task)
    return found
