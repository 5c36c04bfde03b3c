"""The sets of questions other than MMLU: where they are, and how those of the paper are asked."""

from __future__ import annotations

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks.catalogue.dataset import Sample
from teacherlm_jax.tasks.catalogue.ecqa import ECQA
from teacherlm_jax.tasks.evaluation.questions import WITHOUT_TEST, EvaluationSet


def _doubled(sample: Sample) -> str:
    return f"Q: {ECQA.question.format_map(sample.fields)}"


def _after_facts(sample: Sample) -> str:
    """The authors' prompt: the facts, the question in lower case, double spaces collapsed once."""
    if "facts" not in sample.fields:
        raise RowError("no field 'facts', which this task asks with: use the task without facts.")
    asked = sample.fields["question"].lower()
    return f"{sample.fields['facts']} Given these facts above, {asked}".replace("  ", " ")


PAPER = (
    EvaluationSet("creak", "creak", "validation", WITHOUT_TEST),
    EvaluationSet("ecqa", "ecqa", "test"),
    EvaluationSet("strategyqa", "strategyqa", "validation"),
    EvaluationSet("strategyqa_with_facts", "strategyqa", "validation", ask=_after_facts),
)

# In letters alone: what the authors ran, where a "Q: " of the data met that of the prompt.
ECQA_DOUBLED = EvaluationSet("ecqa_doubled", "ecqa", "test", ask=_doubled)

COMMONSENSE = (
    EvaluationSet("arc_challenge", "arc_challenge", "test"),
    EvaluationSet("arc_easy", "arc_easy", "test"),
    EvaluationSet("boolq", "super_glue_boolq", "validation", WITHOUT_TEST),
    EvaluationSet("commonsense_qa", "commonsense_qa", "validation", WITHOUT_TEST),
    EvaluationSet("copa", "super_glue_copa", "validation", WITHOUT_TEST),
    EvaluationSet("cosmos_qa", "cosmos_qa", "validation", WITHOUT_TEST),
    EvaluationSet("hellaswag", "hellaswag", "validation", WITHOUT_TEST),
    EvaluationSet("openbookqa", "openbookqa", "test"),
    EvaluationSet("piqa", "piqa", "validation", WITHOUT_TEST),
    EvaluationSet("qasc", "qasc", "validation", WITHOUT_TEST),
    EvaluationSet("social_iqa", "social_i_qa", "validation", WITHOUT_TEST),
    EvaluationSet(
        "winogrande",
        "winogrande",
        "validation",
        {"train": "train_xl", "validation": "validation"},
    ),
)

INFERENCE = (
    EvaluationSet("anli_r1", "anli_r1", "test"),
    EvaluationSet("anli_r2", "anli_r2", "test"),
    EvaluationSet("anli_r3", "anli_r3", "test"),
    EvaluationSet("cb", "super_glue_cb", "validation", WITHOUT_TEST),
    EvaluationSet("rte", "glue_rte", "validation", WITHOUT_TEST),
    EvaluationSet("wic", "super_glue_wic", "validation", WITHOUT_TEST),
)

EXAMS = (
    EvaluationSet("logiqa", "logiqa", "test"),
    EvaluationSet("logiqa2", "logiqa2", "test"),
    EvaluationSet("math_qa", "math_qa", "test"),
    EvaluationSet("sciq", "sciq", "test"),
)

# CommonsenseQA's questions once more, so in no mixture.
COS_E = EvaluationSet("cos_e", "cos_e", "validation", WITHOUT_TEST)
