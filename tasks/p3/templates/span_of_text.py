"""Prompts for questions that words of a text answer."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

_ADVERSARIAL_QA = (
    Template(
        "copy_the_words",
        "Find the words in the paragraph that answer the question, and copy them.\n\n{context}\n\n"
        "{question}",
        "{answer}",
    ),
    Template(
        "hard_for_machines",
        "Machines got this one wrong: {question}\nThe paragraph, on {title}, was:\n{context}\nWhat"
        " should they have said?",
        "{answer}",
    ),
    Template(
        "question_first",
        "{question} Look it up below.\n\n{context}",
        "{answer}",
    ),
    Template(
        "ask_about",
        'Read this:\n{context}\n\nWrite a tricky question whose answer is "{answer}".',
        "{question}",
        is_inverted=True,
    ),
    Template(
        "headline_of_paragraph",
        "{context}\n\nGive the title of the article that this paragraph is from.",
        "{title}",
        is_inverted=True,
    ),
)

_DUORC = (
    Template(
        "ask_a_cinephile",
        'A friend who has seen "{title}" tells you the plot:\n{plot}\n\nYou ask: {question}\nYour'
        ' friend, who says "unanswerable" where the plot leaves it open, replies:',
        "{answer}",
    ),
    Template(
        "from_the_plot",
        "Plot:\n{plot}\n\nQuestion: {question}\nIf the plot does not tell, the answer is"
        ' "unanswerable". Answer:',
        "{answer}",
    ),
    Template(
        "question_then_plot",
        "{question} (Or is it unanswerable?) All you know of the film {title} is this:\n{plot}",
        "{answer}",
    ),
    Template(
        "make_a_question",
        '{plot}\n\nWhat could be asked about this film so that "{answer}" is right? ("Unanswerable"'
        " stands for what the plot keeps silent about.)",
        "{question}",
        is_inverted=True,
    ),
    Template(
        "which_film",
        "Which title would suit the film that goes like this?\n{plot}",
        "{title}",
        is_inverted=True,
    ),
)

_ROPES = (
    Template(
        "apply_the_rule",
        "Something is explained, and then a case is described. Apply the one to the other.\n\n"
        "Explained: {background}\n\nThe case: {situation}\n\n{question}",
        "{answer}",
    ),
    Template(
        "case_first",
        "{situation}\n\nHint: {background}\n\n{question}",
        "{answer}",
    ),
    Template(
        "without_background",
        "{situation}\n{question} Use what you know of the world.",
        "{answer}",
    ),
    Template(
        "pose_the_question",
        "A textbook says:\n{background}\n\nAn exercise tells:\n{situation}\n\nThe solution is"
        ' "{answer}". What does the exercise ask?',
        "{question}",
        is_inverted=True,
    ),
    Template(
        "recall_the_background",
        "To see why the answer below is right, one has to know something. Write it down.\n\n"
        "{situation}\n{question} {answer}",
        "{background}",
        is_inverted=True,
    ),
)

_SQUAD_V2 = (
    Template(
        "only_if_told",
        "{context}\n\n{question}\nCopy the answer from the text, or write unanswerable if it is not"
        " there.",
        "{answer}",
    ),
    Template(
        "article_and_question",
        "In an encyclopedia's article on {title} stands:\n{context}\nA reader asks: {question}\nSay"
        ' "unanswerable" unless the passage answers the reader.',
        "{answer}",
    ),
    Template(
        "trick_questions",
        "Some questions here are traps, and the right reply to a trap is: unanswerable.\n"
        "Q: {question}\nText: {context}",
        "{answer}",
    ),
    Template(
        "guess_the_question",
        "A reader asked something about this passage:\n{context}\nThe reply was: {answer}\nWhat"
        " did the reader ask?",
        "{question}",
        is_inverted=True,
    ),
    Template(
        "guess_the_title",
        "What might the article be called that has this passage?\n{context}",
        "{title}",
        is_inverted=True,
    ),
)

_RECORD = (
    Template(
        "who_is_hidden",
        "News:\n{passage}\n\nA name in this sentence was replaced by @placeholder: {query}\nChoose"
        " it from:\n{options}",
        "{answer}",
    ),
    Template(
        "fill_the_placeholder",
        "{query}\n\nThe report below tells what @placeholder is. Name it.\n\n{passage}",
        "{answer}",
    ),
    Template(
        "names_before_text",
        "These occur in a report:\n{options}\n\nThe report:\n{passage}\n\nOne of them belongs where"
        " @placeholder stands: {query}",
        "{answer}",
    ),
    Template(
        "continue_with_blank",
        "{passage}\n\nAdd a sentence on {answer} that follows from this report, and write"
        " @placeholder for that name.",
        "{query}",
        is_inverted=True,
    ),
)

_QUOREF = (
    Template(
        "follow_the_pronouns",
        "To answer, find out whom or what the pronouns mean.\n\n{context}\n\n{question}",
        "{answer}",
    ),
    Template(
        "about_title",
        'This is from "{title}".\n{context}\nNow tell: {question}',
        "{answer}",
    ),
    Template(
        "read_and_reply",
        "Question: {question}\nWhere to look: {context}\nWhat it says:",
        "{answer}",
    ),
    Template(
        "ask_for_mention",
        '{context}\n\nThink of a question about this that is answered by "{answer}".',
        "{question}",
        is_inverted=True,
    ),
    Template(
        "title_of_text",
        "Name the page that this text was taken from:\n{context}",
        "{title}",
        is_inverted=True,
    ),
)

TEMPLATES = {
    "adversarial_qa_dbidaf": _ADVERSARIAL_QA,
    "adversarial_qa_dbert": _ADVERSARIAL_QA,
    "adversarial_qa_droberta": _ADVERSARIAL_QA,
    "duorc_selfrc": _DUORC,
    "duorc_paraphraserc": _DUORC,
    "ropes": _ROPES,
    "squad_v2": _SQUAD_V2,
    "super_glue_record": _RECORD,
    "quoref": _QUOREF,
}
