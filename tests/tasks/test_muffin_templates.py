"""Templates of the data sets in `catalogue_rows_b`; the others' are in `test_muffin_template`."""

import pytest

from teacherlm_jax.data.row_rendering import RawRow
from teacherlm_jax.tasks.muffin import registry
from teacherlm_jax.tasks.muffin.flan_tasks import FLAN_TASKS
from teacherlm_jax.tasks.muffin.template import render
from teacherlm_jax.tasks.muffin.templates import TEMPLATES
from tests.tasks.catalogue_rows_b import CASES

CLOSED = {name for name, case in CASES.items() if case.sample.options}

# Task -> template, inputs and targets of its case as the first row of a split, with seed 0.
GOLDEN: dict[str, tuple[str, str, str]] = {
    "aeslc": (
        "subject_after",
        (
            "The {old} ferry was sold.\nIt sails no more.\n\nWhat should stand in the subject line"
            " of this?"
        ),
        ("Ferry sold"),
    ),
    "cnn_dailymail": (
        "article_of_highlights",
        ("These are the highlights of a news story:\nFerry sold\n\nWrite the story."),
        ("The {old} ferry was sold.\nIt sails no more."),
    ),
    "gigaword": (
        "shorten",
        (
            "Say the following in as few words as you can: The {old} ferry was sold.\n"
            "It sails no more."
        ),
        ("Ferry sold"),
    ),
    "multi_news": (
        "reports_of_summary",
        ("Ferry sold\n\nThis is a digest of news reports. Write what they may have said in full."),
        ("The {old} ferry was sold.\nIt sails no more.\n\nMore of it."),
    ),
    "newsroom": (
        "with_title",
        ("A sale\n\nThe {old} ferry was sold.\nIt sails no more.\n\nSummarize this article."),
        ("Ferry sold"),
    ),
    "samsum": (
        "label",
        ("Conversation:\nThe {old} ferry was sold.\nIt sails no more.\n\nSummary:"),
        ("Ferry sold"),
    ),
    "xsum": (
        "label",
        ("Report: The {old} ferry was sold.\nIt sails no more.\n\nIn one sentence:"),
        ("Ferry sold"),
    ),
    "ag_news_subset": (
        "topic_before",
        (
            "Choose the topic of the news item.\n"
            "- World\n"
            "- Sports\n"
            "- Business\n"
            "- Science/Tech\n"
            "\n"
            "Item: Cup final. They won.\n"
            "Topic:"
        ),
        ("Sports"),
    ),
    "opinion_abstracts_rotten_tomatoes": (
        "consensus_before",
        (
            'Sum up in a sentence or two what critics think of the film "Ferries".\n'
            "\n"
            "1. Point 0 is made.\n"
            "2. Point 1 is made.\n"
            "3. Point 2 is made.\n"
            "4. Point 3 is made.\n"
            "5. Point 4 is made.\n"
            "6. Point 5 is made.\n"
            "7. Point 6 is made.\n"
            "8. Point 7 is made.\n"
            "9. Point 8 is made.\n"
            "10. Point 9 is made."
        ),
        ("Ferry sold"),
    ),
    "opinion_abstracts_idebate": (
        "arguments_of_claim",
        (
            "In the debate on Ferries, somebody claims: Ferry sold\n\n"
            "List the arguments for it, numbered."
        ),
        (
            "1. Point 0 is made.\n"
            "2. Point 1 is made.\n"
            "3. Point 2 is made.\n"
            "4. Point 3 is made.\n"
            "5. Point 4 is made.\n"
            "6. Point 5 is made.\n"
            "7. Point 6 is made.\n"
            "8. Point 7 is made.\n"
            "9. Point 8 is made.\n"
            "10. Point 9 is made."
        ),
    ),
    "wiki_lingua_english_en": (
        "note",
        (
            "Turn these instructions into a note that fits on a card.\n"
            "\n"
            "The {old} ferry was sold.\n"
            "It sails no more."
        ),
        ("Ferry sold"),
    ),
    "web_nlg_en": (
        "label",
        ("Data:\nOld Ferry | year | 1803\nOld Ferry | state | sold\nText:"),
        ("Ferry sold"),
    ),
    "common_gen": ("label", ("Words: ferry, sell\nSentence:"), ("Ferry sold")),
    "e2e_nlg": (
        "attributes_of_text",
        (
            "Ferry sold\n"
            "\n"
            "Write the attributes that this tells, as name[value] with commas between them."
        ),
        ("name[The Ferry], food[fish]"),
    ),
    "dart": ("label", ("Facts:\nFerry YEAR 1803\nFerry STATE sold\nIn words:"), ("Ferry sold")),
    "trivia_qa": ("plain", ("Which is Norway's capital?"), ("oslo")),
    "natural_questions": ("label", ("Q: who sold the ferry?\nA:"), ("Anna")),
    "arc_challenge": (
        "question_of_options",
        (
            "Write an exam question that can be answered by one of these:\n"
            "- ice\n"
            "- water\n"
            "- sand\n"
            "- salt\n"
            "\n"
            "The right answer should be: water"
        ),
        ("What boils?"),
    ),
    "arc_easy": (
        "question_of_options",
        (
            "Write an exam question that can be answered by one of these:\n"
            "- ice\n"
            "- water\n"
            "- sand\n"
            "- salt\n"
            "\n"
            "The right answer should be: water"
        ),
        ("What boils?"),
    ),
    "true_case": (
        "keyboard",
        (
            "The shift key of my keyboard is broken. Please put the capitals into this: "
            "bring the boat home, anna!"
        ),
        ("Bring the Boat home, Anna!"),
    ),
    "fix_punct": (
        "transcript",
        (
            "Software has written down speech, and left out every punctuation mark. Put "
            "them in: Bring the Boat home Anna"
        ),
        ("Bring the Boat home, Anna!"),
    ),
    "word_segment": (
        "label",
        ("Joined: BringtheBoathome,Anna!\nWith spaces:"),
        ("Bring the Boat home, Anna!"),
    ),
    "para_crawl_enes": (
        "label_english",
        ("Spanish: {Anna}!\nEnglish:"),
        ("Bring the Boat home, Anna!"),
    ),
    "wmt14_enfr": (
        "how",
        ("Bring the Boat home, Anna!\n\nWhat would that be in French?"),
        ("{Anna}!"),
    ),
    "wmt16_translate_csen": (
        "how",
        ("Bring the Boat home, Anna!\n\nWhat would that be in Czech?"),
        ("{Anna}!"),
    ),
    "wmt16_translate_deen": (
        "into",
        ("Translate into German: Bring the Boat home, Anna!"),
        ("{Anna}!"),
    ),
    "wmt16_translate_fien": (
        "what_english",
        ("{Anna}!\n\nThis is Finnish. What does it say in English?"),
        ("Bring the Boat home, Anna!"),
    ),
    "wmt16_translate_roen": (
        "label_english",
        ("Romanian: {Anna}!\nEnglish:"),
        ("Bring the Boat home, Anna!"),
    ),
    "wmt16_translate_ruen": (
        "label_english",
        ("Russian: {Anna}!\nEnglish:"),
        ("Bring the Boat home, Anna!"),
    ),
    "wmt16_translate_tren": (
        "what_english",
        ("{Anna}!\n\nThis is Turkish. What does it say in English?"),
        ("Bring the Boat home, Anna!"),
    ),
    "math_dataset": (
        "problem_of_solution",
        (
            "Make up a linear equation with one unknown that has the solution 4, and ask "
            "for the unknown."
        ),
        ("Solve 3*x = 12 for x."),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_first_row_of_a_task(name):
    row = RawRow(CASES[name].hub or CASES[name].row, 0, "")
    (example,) = registry.examples(row, FLAN_TASKS[name], TEMPLATES[name], seed=0)
    template, inputs, targets = GOLDEN[name]
    assert example == {"id": f"{name}:0:{template}", "inputs": inputs, "targets": targets}


@pytest.mark.parametrize("name", CASES)
def test_templates_are_several_and_tell_what_they_ask_for(name):
    templates, sample = TEMPLATES[name], CASES[name].sample
    assert len({template.name for template in templates}) == len(templates)
    assert len({template.inputs for template in templates}) == len(templates)
    assert sum(not template.is_inverted for template in templates) >= 3
    assert any(template.is_inverted for template in templates)
    if name in CLOSED:
        assert sum(template.shows_options for template in templates) >= 3
    for template in templates:
        inputs, targets = render(template, sample)
        filled = template.inputs + template.targets
        if template.is_inverted:
            # Given the answer, a field is asked for.
            assert "{answer}" in template.inputs
            assert targets in sample.fields.values()
        else:
            # Asked for the answer, of which the field tells all there is.
            assert template.targets in ("{answer}", "{letter}")
            assert any(f"{{{field}}}" in template.inputs for field in sample.fields)
            assert template.shows_options or sample.answer not in inputs
        assert targets not in inputs or template.shows_options, template.name
        assert all(f"{{{field}}}" in filled for field in sample.fields) or len(sample.fields) > 1


def test_languages_are_named():
    for name, case in CASES.items():
        if "language" in case.sample.fields:
            for template in TEMPLATES[name]:
                assert case.sample.fields["language"] in render(template, case.sample)[0]
