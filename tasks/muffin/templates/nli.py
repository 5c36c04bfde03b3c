"""Words for inference: does one text make another true?"""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

_ANLI = (
    Template(
        "claim",
        "{premise}\n\nClaim: {hypothesis}\nDoes the text above make the claim true?\n{options}",
        "{answer}",
    ),
    Template(
        "fact_checker",
        "You check facts, and this passage is all that you may rely on:\n{premise}\n\nA reader"
        " wonders whether the following is so: {hypothesis}\nGive one of these verdicts:\n"
        "{options}",
        "{answer}",
    ),
    Template(
        "letter",
        "Passage: {premise}\nStatement: {hypothesis}\nIs the statement right, going by the passage?"
        " {lettered_options}\nLetter:",
        "{letter}",
    ),
    Template(
        "short",
        'Suppose that "{premise}" is true. Is it then true that "{hypothesis}"? {lettered_options}',
        "{answer}",
    ),
    Template(
        "statement_of_answer",
        "{premise}\n\nMake a statement. Asked whether this passage makes it true, people should say"
        ' "{answer}".',
        "{hypothesis}",
        is_inverted=True,
    ),
    Template(
        "passage_of_answer",
        'Write a passage. To "Is this so, going by the passage? {hypothesis}" the right answer'
        ' should be "{answer}".',
        "{premise}",
        is_inverted=True,
    ),
)

_CB = (
    Template(
        "speaker",
        "{premise}\n\nAfter reading this, would you say that it is so: {hypothesis}\n{options}",
        "{answer}",
    ),
    Template(
        "committed",
        "Somebody says or writes:\n{premise}\n\nGoing by that, is this right? {hypothesis}\nReply"
        " with one of these.\n{options}",
        "{answer}",
    ),
    Template(
        "letter",
        "Text: {premise}\nConclusion: {hypothesis}\nIs the conclusion right? {lettered_options}"
        "\nThe letter of the right reply:",
        "{letter}",
    ),
    Template(
        "trust",
        'Take it from me: "{premise}" So is it true that "{hypothesis}"?\n{lettered_options}',
        "{answer}",
    ),
    Template(
        "conclusion_of_answer",
        "{premise}\n\nWhat could somebody conclude from this, where the reply to whether they are"
        ' right is "{answer}"?',
        "{hypothesis}",
        is_inverted=True,
    ),
)

_RTE = (
    Template(
        "follows",
        '{premise}\n\nDoes it follow from this that "{hypothesis}"?\n{options}',
        "{answer}",
    ),
    Template(
        "news",
        "A newspaper reports: {premise}\n\nMay a reader conclude the following from the report?"
        " {hypothesis}\n{options}",
        "{answer}",
    ),
    Template(
        "letter",
        "Text: {premise}\nHypothesis: {hypothesis}\nDoes the text entail the hypothesis?"
        " {lettered_options}\nAnswer with a letter:",
        "{letter}",
    ),
    Template(
        "enough",
        'Is this enough to know that "{hypothesis}"?\n\n{premise}\n\n{lettered_options}',
        "{answer}",
    ),
    Template(
        "hypothesis_of_answer",
        'Text: {premise}\n\nDoes the text entail the hypothesis? The answer is "{answer}". Write'
        " the hypothesis.",
        "{hypothesis}",
        is_inverted=True,
    ),
)

_MNLI = (
    Template(
        "must",
        "{premise}\n\nBased on this alone, is the next sentence true?\n{hypothesis}\n{options}",
        "{answer}",
    ),
    Template(
        "two_sentences",
        "Sentence 1: {premise}\nSentence 2: {hypothesis}\nIf sentence 1 is true, is sentence 2 true"
        " as well?\n{options}",
        "{answer}",
    ),
    Template(
        "overheard",
        'I overheard this: "{premise}"\nWould I be right to think "{hypothesis}"?'
        " {lettered_options}",
        "{answer}",
    ),
    Template(
        "letter",
        "Premise: {premise}\nHypothesis: {hypothesis}\nDoes the premise mean that the hypothesis is"
        " true? {lettered_options}\nLetter:",
        "{letter}",
    ),
    Template("bare", "Given: {premise}\nIs this so? {hypothesis}", "{answer}"),
    Template(
        "hypothesis_of_answer",
        'Premise: {premise}\n\nWrite a hypothesis. To "Does the premise make it true?" the answer'
        ' should be "{answer}".',
        "{hypothesis}",
        is_inverted=True,
    ),
)

_SNLI = (
    Template(
        "photograph",
        "The caption of a photograph says: {premise}\nIs this true of what the photograph shows?"
        " {hypothesis}\n{options}",
        "{answer}",
    ),
    Template(
        "scene",
        "Imagine this scene. {premise}\n\nSomebody describes the same scene by these words:"
        " {hypothesis}\nAre they right?\n{options}",
        "{answer}",
    ),
    Template(
        "letter",
        "{premise} Does this mean that the following is true? {hypothesis} {lettered_options}"
        "\nLetter of the answer:",
        "{letter}",
    ),
    Template(
        "label",
        "Premise: {premise}\nHypothesis: {hypothesis}\nTrue? {lettered_options}\nAnswer:",
        "{answer}",
    ),
    Template(
        "caption_of_answer",
        "A photograph has this caption: {premise}\n\nWrite a sentence about the photograph. The"
        ' reply to whether the caption shows it to be true should be "{answer}".',
        "{hypothesis}",
        is_inverted=True,
    ),
)

_QNLI = (
    Template(
        "answers",
        "Question: {question}\nSentence: {sentence}\nIs the answer to the question in the sentence?"
        "\n{options}",
        "{answer}",
    ),
    Template(
        "enough",
        'I want to know: "{question}" All that I have found is this: "{sentence}" Does that tell'
        " me?\n{options}",
        "{answer}",
    ),
    Template(
        "letter",
        "{sentence}\n\nCan somebody who has read this line answer the following? {question}"
        " {lettered_options}\nLetter:",
        "{letter}",
    ),
    Template(
        "search",
        'A search for "{question}" has brought up this sentence:\n{sentence}\nDoes it hold the'
        " answer? {lettered_options}",
        "{answer}",
    ),
    Template(
        "question_of_answer",
        '{sentence}\n\nAsk a question for which "Does the line above answer it?" is to be met by'
        ' "{answer}".',
        "{question}",
        is_inverted=True,
    ),
    Template(
        "sentence_of_answer",
        'Write a sentence. Does it say what is asked by "{question}"? It should be: {answer}',
        "{sentence}",
        is_inverted=True,
    ),
)

_WNLI = (
    Template(
        "must",
        "{premise}\nIf that is true, must this be true as well? {hypothesis}\n{options}",
        "{answer}",
    ),
    Template(
        "understood",
        "A pupil has read the first sentence and says the second. Has the pupil understood it?\n"
        "First: {premise}\nSecond: {hypothesis}\n{options}",
        "{answer}",
    ),
    Template(
        "letter",
        "1. {premise}\n2. {hypothesis}\nDoes 2 follow from 1? {lettered_options}\nLetter:",
        "{letter}",
    ),
    Template(
        "says",
        'Does "{premise}" tell us that "{hypothesis}"? {lettered_options}',
        "{answer}",
    ),
    Template(
        "sentence_of_answer",
        '{premise}\n\nWrite a sentence about the same people or things. To "Does it follow?" the'
        ' answer should be "{answer}".',
        "{hypothesis}",
        is_inverted=True,
    ),
)

TEMPLATES: dict[str, tuple[Template, ...]] = {
    "anli_r1": _ANLI,
    "anli_r2": _ANLI,
    "anli_r3": _ANLI,
    "glue_mnli": _MNLI,
    "glue_qnli": _QNLI,
    "glue_wnli": _WNLI,
    "snli": _SNLI,
    "super_glue_cb": _CB,
    "super_glue_rte": _RTE,
}
"""By the name of the data set."""
