"""Labels are read alike from TFDS, from the hub and from CSV, and nothing else passes for one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from teacherlm_jax.data.row_rendering import RowError
from teacherlm_jax.tasks import catalogue as catalogue
from teacherlm_jax.tasks.catalogue import reading
from teacherlm_jax.tasks.catalogue.dataset import DATASETS, samples
from tests.tasks import catalogue_rows_a, catalogue_rows_b, catalogue_rows_evaluation
from tests.tasks import catalogue_rows_p3 as catalogue_rows_p3

LABELS = (
    *("answer", "answerKey", "answer_index", "answer_right_ending", "coarse_label"),
    *("correct_answer_id", "is_impossible", "label", "label-coarse", "no_answer", "polarity"),
    *("pronoun_loc", "pronoun_start", "sentiment", "span2_index", "star"),
)
COUNT = ("drop", "math_dataset")  # Their answers are texts, here of numbers.
DUORC = ("duorc_selfrc", "duorc_paraphraserc")
NO_LABELS = (True, False, 0.0, 1.0, "1.0", "+1", "--1", "²", "", None, [1])


def case_rows() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of all cases."""
    for module in (
        catalogue_rows_a,
        catalogue_rows_b,
        catalogue_rows_evaluation,
        catalogue_rows_p3,
    ):
        for name, case in {**module.CASES, **getattr(module, "OTHERS", {})}.items():
            yield from ((name, row) for row in (case.row, case.hub) if row is not None)


def labelled() -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Every row of the cases with each of its fields that may be a label."""
    for name, row in case_rows():
        if name not in COUNT:
            yield from ((name, row, field) for field in LABELS if field in row)


def test_numbers_and_texts_that_spell_them_are_the_same_label() -> None:
    seen, left_out = set(), set()
    for name, row, field in labelled():
        whole = reading.as_whole_number(row[field])
        if whole is None:
            continue
        seen.add(name)
        wanted = samples(DATASETS[name], row)
        for spelled in (whole, str(whole), f" {whole}\n"):
            assert samples(DATASETS[name], {**row, field: spelled}) == wanted, (name, field)
        for no_label in NO_LABELS:
            try:
                assert not samples(DATASETS[name], {**row, field: no_label}), (name, no_label)
                left_out.add((name, no_label))
            except RowError as error:
                assert f"field {field!r} is " in str(error), (name, no_label, error)
    assert len(seen) == 48
    hidden = ("arc_challenge", "arc_easy", "hellaswag", "winogrande")
    assert left_out == {(name, "") for name in hidden}


def test_true_and_false_may_be_texts_and_other_values_are_neither() -> None:
    seen = set()
    for name, row, field in labelled():
        if str(row[field]).lower() not in ("true", "false"):
            continue
        seen.add(name)
        wanted = samples(DATASETS[name], row)
        true_or_false = str(row[field]).lower()
        for spelled in (true_or_false, true_or_false.title(), true_or_false == "true"):
            assert samples(DATASETS[name], {**row, field: spelled}) == wanted, (name, field)
        for neither in (0, 1, "0", "yes", "f"):
            with pytest.raises(RowError, match=f"field '{field}' is {neither!r}"):
                samples(DATASETS[name], {**row, field: neither})
    assert seen == {"bool_q", "creak", *DUORC, "squad_v2", "strategyqa"}


def test_only_what_a_question_needs_can_make_a_row_malformed() -> None:
    asked = {"id": 1, "question_stem": "Q", "answerKey": "B"}
    asked |= {"choices": {"text": ["a", "b"], "label": ["A", "B"]}}
    for facts in ({}, {"fact1": None}, {"fact1": " "}, {"fact1": "f"}):
        (sample,) = samples(DATASETS["openbookqa"], {**asked, **facts})
        known = {"fact": "f"} if facts.get("fact1") == "f" else {}
        assert sample.fields == {"question": "Q", **known}
    for name, unused in [
        ("cos_e", ("abstractive_explanation",)),
        ("qasc", ("fact1", "fact2", "combinedfact", "id")),
        ("sciq", ("support",)),
        ("squad_v1", ("title", "id")),
        ("super_glue_boolq", ("title", "idx")),
        ("trivia_qa", ("question_id",)),
        ("arc_easy", ("id",)),
    ]:
        *_, row = (row for of, row in case_rows() if of == name)  # The hub's, where it differs.
        (whole,) = samples(DATASETS[name], row)
        for nothing in ({}, dict.fromkeys(unused), dict.fromkeys(unused, "")):
            without = {field: row[field] for field in row if field not in unused}
            (sample,) = samples(DATASETS[name], {**without, **nothing})
            assert (sample.answer, sample.options) == (whole.answer, whole.options)
            assert DATASETS[name].question.format_map(sample.fields)


def test_a_field_that_is_no_text_is_named() -> None:
    with pytest.raises(RowError, match="field 'premise' is 3; it must be a text"):
        samples(DATASETS["anli_r1"], {"premise": 3, "hypothesis": "H.", "label": 0})


@pytest.mark.parametrize("escaped", ['a \\""new\\"" tire.\\nB', 'a \\"new\\" tire.\\nB'])
@pytest.mark.parametrize("name", ["yelp_review_full", "yelp_polarity_reviews"])
def test_marks_of_yelp_are_unescaped_as_either_reader_of_csv_leaves_them(
    name: str, escaped: str
) -> None:
    (sample,) = samples(DATASETS[name], {"text": escaped, "label": 0})
    assert sample.fields["review"] == 'a "new" tire.\nB'
