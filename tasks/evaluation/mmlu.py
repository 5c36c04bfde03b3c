"""The 57 subjects of MMLU and their groups.

The groups are those of the original table, with anatomy under "other"; lm-eval has it under STEM.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.tasks.evaluation.questions import EvaluationSet

GROUPS: Mapping[str, tuple[str, ...]] = {
    "stem": (
        "abstract_algebra",
        "astronomy",
        "college_biology",
        "college_chemistry",
        "college_computer_science",
        "college_mathematics",
        "college_physics",
        "computer_security",
        "conceptual_physics",
        "electrical_engineering",
        "elementary_mathematics",
        "high_school_biology",
        "high_school_chemistry",
        "high_school_computer_science",
        "high_school_mathematics",
        "high_school_physics",
        "high_school_statistics",
        "machine_learning",
    ),
    "humanities": (
        "formal_logic",
        "high_school_european_history",
        "high_school_us_history",
        "high_school_world_history",
        "international_law",
        "jurisprudence",
        "logical_fallacies",
        "moral_disputes",
        "moral_scenarios",
        "philosophy",
        "prehistory",
        "professional_law",
        "world_religions",
    ),
    "social_sciences": (
        "econometrics",
        "high_school_geography",
        "high_school_government_and_politics",
        "high_school_macroeconomics",
        "high_school_microeconomics",
        "high_school_psychology",
        "human_sexuality",
        "professional_psychology",
        "public_relations",
        "security_studies",
        "sociology",
        "us_foreign_policy",
    ),
    "other": (
        "anatomy",
        "business_ethics",
        "clinical_knowledge",
        "college_medicine",
        "global_facts",
        "human_aging",
        "management",
        "marketing",
        "medical_genetics",
        "miscellaneous",
        "nutrition",
        "professional_accounting",
        "professional_medicine",
        "virology",
    ),
}

LM_EVAL_GROUPS: Mapping[str, tuple[str, ...]] = {
    **GROUPS,
    "stem": tuple(sorted((*GROUPS["stem"], "anatomy"))),
    "other": tuple(subject for subject in GROUPS["other"] if subject != "anatomy"),
}

SUBJECTS = tuple(sorted(subject for group in GROUPS.values() for subject in group))


def introduction(subject: str) -> str:
    """What the prompts of a subject begin with."""
    spoken = subject.replace("_", " ")
    return f"The following are multiple choice questions (with answers) about {spoken}. "


_WITHOUT_NAME = re.compile(rb'"(?:subject|task)"\s*:\s*[^"\s]')


def _is_of(subject: str, row: Mapping[str, Any]) -> bool:
    # Rows without a subject are for the reader to refuse.
    found = row.get("subject", row.get("task"))
    return not isinstance(found, str) or found.strip().replace(" ", "_") == subject


def _may_be_of(subject: str, row: bytes) -> bool:
    """Most of the time of 57 readings of all rows would go into rows of other subjects."""
    return (
        subject.encode() in row
        or subject.replace("_", " ").encode() in row
        or (b'"subject"' not in row and b'"task"' not in row)
        or _WITHOUT_NAME.search(row) is not None
    )


SETS = tuple(
    EvaluationSet(
        f"mmlu_{subject}",
        "mmlu",
        "validation",
        {"train": "dev", "validation": "validation", "test": "test"},
        prefix=introduction(subject),
        subject=subject,
        has=functools.partial(_is_of, subject),
        may_have=functools.partial(_may_be_of, subject),
    )
    for subject in SUBJECTS
)
