"""Prompts for questions that are answered from memory."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

_ARC = (
    Template(
        "quiz_master",
        "You are a contestant in a science quiz. The question is: {question}\nYou may say one of"
        " these:\n{options}\nWhat do you say?",
        "{answer}",
    ),
    Template(
        "mark_the_letter",
        "Science test. Mark one letter.\n{question}\n{lettered_options}",
        "{letter}",
    ),
    Template(
        "which_holds",
        "{options}\n\nWhich of the lines above answers this? {question}",
        "{answer}",
    ),
    Template(
        "invent_the_question",
        "A science teacher needs one more question for a test. Its choices are these:\n"
        '{options}\nPupils should choose "{answer}". Write the question.',
        "{question}",
        is_inverted=True,
    ),
)

_HOTPOT_QA = (
    Template(
        "combine_facts",
        "You have to put together more than one fact to answer this: {question}",
        "{answer}",
    ),
    Template(
        "short_reply",
        "{question}\nReply with a name, a date, a few words, or yes or no.",
        "{answer}",
    ),
    Template(
        "trivia_night",
        'The host of a trivia night reads out: "{question}" What should be written on the sheet?',
        "{answer}",
    ),
    Template(
        "question_for_answer",
        'Make up a trivia question that takes two steps to solve and ends at "{answer}".',
        "{question}",
        is_inverted=True,
    ),
)

_TRIVIA_QA = (
    Template("plain_question", "Trivia: {question}", "{answer}"),
    Template(
        "guess",
        "I was asked the following and did not know. Can you help me out?\n\n{question}",
        "{answer}",
    ),
    Template(
        "answer_card",
        "On the front of a quiz card stands:\n{question}\nWhat stands on its back?",
        "{answer}",
    ),
    Template(
        "front_of_card",
        'The back of a quiz card says "{answer}". What question could be on its front?',
        "{question}",
        is_inverted=True,
    ),
)

_WEB_QUESTIONS = (
    Template(
        "search_box", "Somebody types into a search engine: {question}\nTell them.", "{answer}"
    ),
    Template("whats_the_answer", "Do you know this? {question}", "{answer}"),
    Template(
        "facts_only", "{question}\nGive the fact alone, without a sentence around it.", "{answer}"
    ),
    Template(
        "what_was_searched",
        'A search on the web turned up "{answer}". What had been asked?',
        "{question}",
        is_inverted=True,
    ),
)

_WIKI_QA = (
    Template(
        "is_it_an_answer",
        'Asked "{question}", somebody quotes Wikipedia: "{sentence}" Does the quotation contain'
        " what was asked for?\n{options}",
        "{answer}",
    ),
    Template(
        "found_it",
        "I look for: {question}\nIn the article {title} I read: {sentence}\nIs that it? Give the"
        " letter. {lettered_options}",
        "{letter}",
    ),
    Template(
        "title_then_verdict",
        "Article: {title}\nSentence: {sentence}\nQuestion: {question}\nThe sentence answers the"
        " question: no or yes?",
        "{answer}",
    ),
    Template(
        "answer_it",
        "{question}\nAnswer in a sentence, as an encyclopedia would.",
        "{answer_sentence}",
        is_inverted=True,
    ),
    Template(
        "ask_for_sentence",
        'From the article on {title}: "{answer_sentence}" Which question is answered here?',
        "{question}",
        is_inverted=True,
    ),
    Template(
        "name_the_article",
        "A user wants to know: {question}\nThis helps: {answer_sentence}\nWhat is the title of the"
        " article that it is from?",
        "{title}",
        is_inverted=True,
    ),
)

TEMPLATES = {
    "arc_challenge": _ARC,
    "arc_easy": _ARC,
    "kilt_tasks_hotpotqa": _HOTPOT_QA,
    "trivia_qa_unfiltered": _TRIVIA_QA,
    "web_questions": _WEB_QUESTIONS,
    "wiki_qa": _WIKI_QA,
}
