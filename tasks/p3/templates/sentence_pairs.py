"""Prompts about two sentences, and about what a word or a pronoun in a sentence means."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

_CB = (
    Template(
        "speaker_believes",
        'Somebody says: "{premise}" Do they hold this? {hypothesis}\n{options}',
        "{answer}",
    ),
    Template(
        "three_letters",
        "Take the first as said. Is the second so?\n1. {premise}\n2. {hypothesis}\n"
        "{lettered_options}",
        "{letter}",
    ),
    Template(
        "judge_the_claim",
        'Claim: {hypothesis}\nAll the evidence there is: {premise}\nIs the claim right? "Yes", "No"'
        ' or "It\'s impossible to say"?',
        "{answer}",
    ),
    Template(
        "claim_for_verdict",
        '{premise}\n\nMake a claim about this for which the verdict would be "{answer}".',
        "{hypothesis}",
        is_inverted=True,
    ),
)

_RTE = (
    Template(
        "can_we_conclude",
        "News: {premise}\nMay an editor print, on this ground, the line below?\n{hypothesis}\n"
        "{options}",
        "{answer}",
    ),
    Template(
        "letter_for_line",
        "{premise}\nThe line: {hypothesis}\nIs it borne out? {lettered_options}",
        "{letter}",
    ),
    Template(
        "true_given",
        "Suppose that this is true: {premise}\nMust this be true then? {hypothesis}\nYes or no:",
        "{answer}",
    ),
    Template(
        "line_for_verdict",
        '{premise}\nWrite a line. "Does it follow from the above?" should get the answer'
        ' "{answer}".',
        "{hypothesis}",
        is_inverted=True,
    ),
)

_ANLI = (
    Template(
        "careful_reader",
        'A careful reader knows only this:\n{premise}\nTo the statement "{hypothesis}" the reader'
        " says one of:\n{options}",
        "{answer}",
    ),
    Template(
        "letter_of_reader",
        "{hypothesis}\nIs that so, going by the text below? {lettered_options}\n{premise}",
        "{letter}",
    ),
    Template(
        "so_is_it_true",
        "{premise}\n\nSo is the following true? {hypothesis}\nAnswer Yes, No, or It's impossible to"
        " say.",
        "{answer}",
    ),
    Template(
        "fool_the_machine",
        "{premise}\n\nWrite a statement on this that a machine may judge wrongly. The right"
        " judgement is: {answer}",
        "{hypothesis}",
        is_inverted=True,
    ),
)

_MRPC = (
    Template(
        "two_agencies",
        "Two agencies report.\nThe one: {sentence1}\nThe other: {sentence2}\nDo they report the"
        " same?\n{options}",
        "{answer}",
    ),
    Template(
        "could_replace",
        'Could an editor put "{sentence2}" in place of "{sentence1}" and change nothing that is'
        " said? no or yes:",
        "{answer}",
    ),
    Template(
        "letter_of_same",
        "{lettered_options} Is what these say one and the same?\n- {sentence1}\n- {sentence2}",
        "{letter}",
    ),
    Template(
        "second_report",
        "A report says: {sentence1}\nWrite the line of another report. Whether both lines say the"
        " same: {answer}",
        "{sentence2}",
        is_inverted=True,
    ),
)

_QQP = (
    Template(
        "merge_threads",
        "A forum merges threads that ask the same.\nThread 1: {question1}\nThread 2: {question2}\n"
        "Should it merge them?\n{options}",
        "{answer}",
    ),
    Template(
        "answered_already",
        'I answered "{question1}" yesterday. Today I am asked "{question2}" May I send the same'
        " answer? Say no or yes.",
        "{answer}",
    ),
    Template(
        "letter_of_duplicate",
        "{question1} / {question2}\nDuplicates? {lettered_options}",
        "{letter}",
    ),
    Template(
        "other_thread",
        "Write the title of a thread beside this one: {question1}\nWhether the two ask the same:"
        " {answer}",
        "{question2}",
        is_inverted=True,
    ),
)

_PAWS = (
    Template(
        "mind_the_order",
        "The words are nearly the same; mind their order.\n(1) {sentence1}\n(2) {sentence2}\nIs the"
        " meaning the same?\n{options}",
        "{answer}",
    ),
    Template(
        "rewritten",
        "Original: {sentence1}\nRewritten: {sentence2}\nWas the sense kept? Write no or yes.",
        "{answer}",
    ),
    Template(
        "letter_of_sense_kept",
        "{lettered_options}\nDoes sentence 2 state what sentence 1 states?\nSentence 1: {sentence1}"
        "\nSentence 2: {sentence2}",
        "{letter}",
    ),
    Template(
        "shuffle_words",
        "Rewrite this with nearly the same words. Should the meaning stay? {answer}\n{sentence1}",
        "{sentence2}",
        is_inverted=True,
    ),
)

_WSC = (
    Template(
        "put_the_noun_in",
        'In the sentence "{text}", can one put "{noun}" for *{pronoun}* without changing what it'
        " tells?\n{options}",
        "{answer}",
    ),
    Template(
        "who_is_it",
        "{text}\nI think that *{pronoun}* means {noun}. Am I right? Tell me no or yes.",
        "{answer}",
    ),
    Template(
        "letter_of_pronoun",
        "{text} *{pronoun}* = {noun}? {lettered_options}",
        "{letter}",
    ),
    Template(
        "noun_for_verdict",
        "{text}\nName something in this sentence. Whether *{pronoun}* means it: {answer}",
        "{noun}",
        is_inverted=True,
    ),
)

_WINOGRANDE = (
    Template(
        "mind_the_gap",
        "Something is left out at the _ of this sentence: {sentence}\nPut back what makes sense:\n"
        "{options}",
        "{answer}",
    ),
    Template(
        "letter_for_gap",
        "{lettered_options}\n{sentence}\nThe letter of what the _ hides:",
        "{letter}",
    ),
    Template(
        "whom_is_it_about",
        "Whom or what does the _ stand for? {sentence}\nIt is one of these two:\n{options}",
        "{answer}",
    ),
    Template(
        "sentence_with_gap",
        "Write a sentence with a gap, _, that only common sense can fill. These might stand"
        ' there:\n{options}\nRight is "{answer}".',
        "{sentence}",
        is_inverted=True,
    ),
)

_WIC = (
    Template(
        "same_entry",
        'A dictionary lists the meanings of "{word}". Do these two uses belong to different'
        " meanings or to the same meaning?\n{sentence1}\n{sentence2}\n{options}",
        "{answer}",
    ),
    Template(
        "letter_of_use",
        "{word}: {sentence1} | {sentence2}\nIn these, the word has {lettered_options}\nLetter:",
        "{letter}",
    ),
    Template(
        "learner_asks",
        'A learner of English asks whether "{word}" is used alike in "{sentence1}" and in'
        ' "{sentence2}". Tell the learner: different meanings, or the same meaning.',
        "{answer}",
    ),
    Template(
        "second_example",
        'An example of "{word}": {sentence1}\nGive one more example, in which the word has, beside'
        " the first: {answer}",
        "{sentence2}",
        is_inverted=True,
    ),
)

_HELLASWAG = (
    Template(
        "next_scene",
        "Topic: {activity}\nIt begins like this: {context}\nWhich of these comes next?\n{options}",
        "{answer}",
    ),
    Template(
        "letter_of_scene",
        "{context}\nOf these, the likeliest to follow is: {lettered_options}\nLetter:",
        "{letter}",
    ),
    Template("keep_writing", "Write on, in a sentence or two: {context}", "{answer}"),
    Template(
        "what_activity",
        "Somebody tells: {context} {answer}\nIn two or three words, what is this about?",
        "{activity}",
        is_inverted=True,
    ),
    Template(
        "scene_before",
        'The topic is {activity}, and it ends like this: "{answer}" How did it begin?',
        "{context}",
        is_inverted=True,
    ),
)

TEMPLATES = {
    "super_glue_cb": _CB,
    "super_glue_rte": _RTE,
    "anli_r1": _ANLI,
    "anli_r2": _ANLI,
    "anli_r3": _ANLI,
    "glue_mrpc": _MRPC,
    "glue_qqp": _QQP,
    "paws_wiki": _PAWS,
    "super_glue_wsc_fixed": _WSC,
    "winogrande": _WINOGRANDE,
    "super_glue_wic": _WIC,
    "hellaswag": _HELLASWAG,
}
