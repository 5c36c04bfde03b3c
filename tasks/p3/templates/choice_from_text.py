"""Prompts for questions with options that a text decides."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

_COSMOS_QA = (
    Template(
        "between_the_lines",
        "Read between the lines of this diary.\n{context}\n\n{question}\n{options}",
        "{answer}",
    ),
    Template(
        "letter_after_diary",
        "{context}\nNow answer with a letter. {question} {lettered_options}",
        "{letter}",
    ),
    Template(
        "question_leads",
        "{question}\nThat is asked about the following.\n{context}\nIt can be one of:\n{options}",
        "{answer}",
    ),
    Template(
        "ask_the_writer",
        '{context}\n\nAsk something that the writer leaves unsaid, and that "{answer}" replies to.',
        "{question}",
        is_inverted=True,
    ),
)

_DREAM = (
    Template(
        "overheard",
        "You overhear a talk:\n{dialogue}\n\nLater you are asked: {question}\n{options}",
        "{answer}",
    ),
    Template(
        "listening_test",
        "Listening test. Mark A, B or C.\n{dialogue}\n{question}\n{lettered_options}",
        "{letter}",
    ),
    Template("no_options", "{dialogue}\n\nAfter this talk: {question}", "{answer}"),
    Template(
        "write_the_talk",
        'Write a talk between two people from which one learns that the question "{question}" has'
        ' the answer "{answer}".',
        "{dialogue}",
        is_inverted=True,
    ),
    Template(
        "test_the_listener",
        '{dialogue}\n\nFor a listening test, write the question that "{answer}" is the answer to.',
        "{question}",
        is_inverted=True,
    ),
)

_QUAIL = (
    Template(
        "even_if_unsaid",
        "{context}\n\n{question} One of these is right, and it may be that the text does not"
        " tell:\n{options}",
        "{answer}",
    ),
    Template(
        "letter_of_four",
        "{question} {lettered_options}\nFind the letter by reading:\n{context}",
        "{letter}",
    ),
    Template("open_reply", "Text: {context}\nQuestion: {question}\nReply:", "{answer}"),
    Template(
        "question_wanted",
        '{context}\n\nThe right reply is "{answer}", and it was chosen out of these:\n'
        "{options}\nWhat is the question?",
        "{question}",
        is_inverted=True,
    ),
)

_QUARTZ = (
    Template(
        "use_the_rule",
        "A rule: {passage}\nUse it. {question}\n{options}",
        "{answer}",
    ),
    Template(
        "letter_by_rule",
        "{question} {lettered_options}\nDecide by this, and give the letter: {passage}",
        "{letter}",
    ),
    Template(
        "rule_unsaid",
        "{question}\nThe choice is between these two:\n{options}",
        "{answer}",
    ),
    Template(
        "which_rule",
        "Explain by a general rule why the last line answers what stands before it.\n{question}\n"
        "{answer}",
        "{passage}",
        is_inverted=True,
    ),
    Template(
        "exercise_for_rule",
        '{passage}\n\nSet an exercise on this whose solution is "{answer}".',
        "{question}",
        is_inverted=True,
    ),
)

_RACE = (
    Template(
        "english_exam",
        "English exam, reading part.\n\n{article}\n\n{question}\n{options}",
        "{answer}",
    ),
    Template(
        "exam_letter",
        "{article}\n\nWhich letter would you mark? {question} {lettered_options}",
        "{letter}",
    ),
    Template(
        "know_what_to_look_for",
        "Before you read, know what you look for: {question}\nCandidates:\n{options}\n\n{article}",
        "{answer}",
    ),
    Template("without_choices", "{article}\n\n{question}\nAnswer in your own words.", "{answer}"),
    Template(
        "examiner",
        'You set an exam on the article below. Write the question to which "{answer}" is right.\n\n'
        "{article}",
        "{question}",
        is_inverted=True,
    ),
)

_BOOLQ = (
    Template(
        "settle_it",
        "We cannot agree on this: {question} Here is what we found:\n{passage}\nIs it no, or is it"
        " yes?",
        "{answer}",
    ),
    Template(
        "passage_says",
        "{passage}\n\nGoing by that: {question}\n{options}",
        "{answer}",
    ),
    Template("letter_for_truth", "{question} {lettered_options}\n{passage}\nLetter:", "{letter}"),
    Template(
        "yes_no_question",
        '{passage}\n\nAsk about this, so that the truth is "{answer}".',
        "{question}",
        is_inverted=True,
    ),
)

_MULTIRC = (
    Template(
        "grade_the_reply",
        "You grade a pupil. The text:\n{paragraph}\nThe question: {question}\nThe pupil wrote:"
        " {candidate}\nIs that correct?\n{options}",
        "{answer}",
    ),
    Template(
        "correct_or_not",
        'Could "{candidate}" be an answer to "{question}"? Say no or yes by this text alone.\n'
        "{paragraph}",
        "{answer}",
    ),
    Template(
        "letter_of_grade",
        "{paragraph}\n\n{question} {candidate}\nAs an answer, does that hold? {lettered_options}",
        "{letter}",
    ),
    Template(
        "what_was_the_question",
        "{paragraph}\n\nA teacher asked about this. A pupil said: {candidate}\nWas that right:"
        " {answer}\nWhat had the teacher asked?",
        "{question}",
        is_inverted=True,
    ),
)

_WIKI_HOP = (
    Template(
        "gather_and_choose",
        "Gather what these texts say.\n{supports}\n\nThe {relation} of {subject} is one of:\n"
        "{options}",
        "{answer}",
    ),
    Template(
        "complete_the_record",
        "{supports}\n\nComplete the record.\nentry: {subject}\n{relation}:",
        "{answer}",
    ),
    Template(
        "candidates_first",
        "Candidates:\n{options}\nWhich of them is the {relation} of {subject}? Some of the texts"
        " below help.\n{supports}",
        "{answer}",
    ),
    Template(
        "name_the_relation",
        'Somewhere in these texts, "{subject}" has to do with "{answer}". What is the latter to the'
        " former?\n{supports}",
        "{relation}",
        is_inverted=True,
    ),
    Template(
        "name_the_subject",
        "{supports}\n\nWhat, of all that is told of here, has as its {relation} {answer}?",
        "{subject}",
        is_inverted=True,
    ),
)

_WIQA = (
    Template(
        "what_changes",
        "How it goes:\n{process}\n\nNow imagine. {question}\n{options}",
        "{answer}",
    ),
    Template(
        "letter_of_effect",
        "{question}\nSay A, B or C: {lettered_options}\nThe steps are these:\n{process}",
        "{letter}",
    ),
    Template(
        "effect_in_words",
        "{process}\nGiven these steps: {question} Say more, less or no effect.",
        "{answer}",
    ),
    Template(
        "imagine_a_change",
        '{process}\n\nThink of a change to this and ask what comes of it, so that "{answer}" is'
        " true.",
        "{question}",
        is_inverted=True,
    ),
)

TEMPLATES = {
    "cosmos_qa": _COSMOS_QA,
    "dream": _DREAM,
    "quail": _QUAIL,
    "quartz": _QUARTZ,
    "race_high": _RACE,
    "race_middle": _RACE,
    "super_glue_boolq": _BOOLQ,
    "super_glue_multirc": _MULTIRC,
    "wiki_hop_original": _WIKI_HOP,
    "wiqa": _WIQA,
}
