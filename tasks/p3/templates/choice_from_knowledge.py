"""Prompts for questions with options that what one knows of the world decides."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

_COS_E = (
    Template(
        "most_sensible",
        "{question}\nEverybody knows which of these is the most sensible:\n{options}",
        "{answer}",
    ),
    Template(
        "letter_of_sense",
        "Use common sense and name a letter. {question} {lettered_options}",
        "{letter}",
    ),
    Template("no_choices", "{question} Answer in a word or two.", "{answer}"),
    Template(
        "why_is_it",
        'The question was "{question}", the choices were:\n{options}\nThe answer is "{answer}".'
        " Why?",
        "{explanation}",
        is_inverted=True,
    ),
    Template(
        "reason_then_choice",
        "{question}\n{options}\nA hint: {explanation}\nSo which?",
        "{answer}",
    ),
    Template(
        "what_was_asked",
        'One of these was right, and it was "{answer}":\n{options}\nWhat was the question?',
        "{question}",
        is_inverted=True,
    ),
)

_OPENBOOKQA = (
    Template(
        "finish_the_thought",
        "{question}\n\nFinish this with one of the following, as science has it:\n{options}",
        "{answer}",
    ),
    Template("pick_a_letter", "{lettered_options}\nWhich fits? {question}", "{letter}"),
    Template(
        "book_is_open",
        "Your book says: {fact}.\nYou are asked: {question}\n{options}\nYou choose",
        "{answer}",
    ),
    Template(
        "which_fact",
        'To know that "{question}" goes with "{answer}", which fact must one have learned?',
        "{fact}",
        is_inverted=True,
    ),
    Template(
        "stem_for_choices",
        "Think of a question, or of the beginning of a sentence, that one of these choices"
        " completes:\n{options}\nThe right one: {answer}",
        "{question}",
        is_inverted=True,
    ),
)

_QASC = (
    Template("eight_choices", "{question}\nThere are eight choices:\n{options}", "{answer}"),
    Template(
        "letter_of_eight",
        "Of A to H, which answers the question? {question}\n{lettered_options}",
        "{letter}",
    ),
    Template(
        "two_facts",
        "1. {fact1}\n2. {fact2}\nPut the two together to answer: {question}\n{options}",
        "{answer}",
    ),
    Template(
        "conclude",
        "What follows when these are put together?\n- {fact1}\n- {fact2}",
        "{fact}",
        is_inverted=True,
    ),
    Template(
        "question_from_fact",
        'Pupils should learn this: {fact}\nAsk them a question with the answer "{answer}".',
        "{question}",
        is_inverted=True,
    ),
)

_QUAREL = (
    Template(
        "more_or_less",
        "Think about which is more and which is less. {question}\n{options}",
        "{answer}",
    ),
    Template("a_or_b", "{question} {lettered_options}\nA or B?", "{letter}"),
    Template(
        "either_or",
        "Only one of these can be meant:\n{options}\n\n{question}",
        "{answer}",
    ),
    Template(
        "story_of_two",
        'Tell of a situation and ask about it, so that of these two "{answer}" is right:\n'
        "{options}",
        "{question}",
        is_inverted=True,
    ),
)

_SCIQ = (
    Template(
        "with_support",
        "Lesson: {support}\n\nCheck: {question}\n{options}",
        "{answer}",
    ),
    Template(
        "closed_book",
        "A question from a class in natural science, books closed. {question} Your answer:",
        "{answer}",
    ),
    Template(
        "letters_of_sciq",
        "Choose A, B, C or D. {question}\n{lettered_options}",
        "{letter}",
    ),
    Template(
        "write_the_lesson",
        "{question} The answer is: {answer}. Write the paragraph of a textbook that tells so.",
        "{support}",
        is_inverted=True,
    ),
    Template(
        "exam_from_lesson",
        '{support}\n\nExamine whether a pupil has understood this. The reply should be "{answer}".',
        "{question}",
        is_inverted=True,
    ),
)

_COPA = (
    Template(
        "connect",
        "{premise} {asked} Connect it with one of these:\n{options}",
        "{answer}",
    ),
    Template(
        "letter_of_two",
        "Premise: {premise}\n{asked} {lettered_options}\nLetter:",
        "{letter}",
    ),
    Template(
        "choose_the_link",
        "Of two sentences, tell me which is the {relation} of this: {premise}\n{options}",
        "{answer}",
    ),
    Template(
        "premise_wanted",
        'It is known that the {relation} of something is the following: "{answer}" What may that'
        " something be?",
        "{premise}",
        is_inverted=True,
    ),
)

_PIQA = (
    Template(
        "which_works",
        "Two ways are proposed for this aim: {goal}\n{options}\nWhich one would work?",
        "{answer}",
    ),
    Template(
        "letter_of_way",
        "Aim: {goal}\nWays: {lettered_options}\nThe letter of the better way is",
        "{letter}",
    ),
    Template("tell_me_how", "Tell me how to do this at home: {goal}", "{answer}"),
    Template(
        "what_is_it_for",
        "Somebody does this: {answer}\nWhat do they want to achieve?",
        "{goal}",
        is_inverted=True,
    ),
)

_SOCIAL_I_QA = (
    Template(
        "feel_for_them",
        "{context} {question} Think of how people feel and act, and choose:\n{options}",
        "{answer}",
    ),
    Template(
        "letter_of_three",
        "{context}\n{question}\n{lettered_options}\nOnly the letter, please.",
        "{letter}",
    ),
    Template("own_words", "What happened: {context}\nWhat I wonder: {question}", "{answer}"),
    Template(
        "ask_about_people",
        'Something happened: {context}\nAsk a question about the people in it to which "{answer}"'
        " is a good answer.",
        "{question}",
        is_inverted=True,
    ),
)

TEMPLATES = {
    "cos_e": _COS_E,
    "openbookqa": _OPENBOOKQA,
    "qasc": _QASC,
    "quarel": _QUAREL,
    "sciq": _SCIQ,
    "super_glue_copa": _COPA,
    "piqa": _PIQA,
    "social_i_qa": _SOCIAL_I_QA,
}
