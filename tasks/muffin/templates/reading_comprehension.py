"""Words for questions about a text that is given."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

TEMPLATES: dict[str, tuple[Template, ...]] = {
    "squad_v1": (
        Template("after", "{context}\n\n{question}", "{answer}"),
        Template(
            "titled",
            "This is from an article on {title}:\n{context}\n\nAnswer by words of the text:"
            " {question}",
            "{answer}",
        ),
        Template(
            "look_up",
            'I should like to know: "{question}" Look it up for me in the following.\n\n{context}',
            "{answer}",
        ),
        Template("label", "Passage: {context}\nQuestion: {question}\nAnswer:", "{answer}"),
        Template(
            "question_of_answer",
            '{context}\n\nAsk something about this passage that is answered by "{answer}".',
            "{question}",
            is_inverted=True,
        ),
        Template(
            "passage_of_answer",
            "Write a paragraph for an article on {title}. A reader should find out from it that the"
            ' answer to "{question}" is "{answer}".',
            "{context}",
            is_inverted=True,
        ),
    ),
    "squad_v2": (
        Template(
            "after",
            '{context}\n\n{question} Where the text does not say, reply "unanswerable".',
            "{answer}",
        ),
        Template(
            "titled",
            "Article: {title}\n{context}\n\nHere is a question that the article may or may not"
            ' answer: {question}\nQuote the answer, or write "unanswerable".',
            "{answer}",
        ),
        Template(
            "trick",
            "Careful, this could be a trick question, to be met with the one word unanswerable."
            " {question}\n\n{context}",
            "{answer}",
        ),
        Template(
            "label",
            "Passage: {context}\nQuestion: {question}\nAnswer, unless unanswerable:",
            "{answer}",
        ),
        Template(
            "question_of_answer",
            '{context}\n\nAsk a question about this to which the right reply is "{answer}". (What'
            ' the text leaves open has the reply "unanswerable".)',
            "{question}",
            is_inverted=True,
        ),
    ),
    "drop": (
        Template("after", "{passage}\n\n{question}", "{answer}"),
        Template(
            "work_out",
            "Work out the answer from the text. You may have to count, compare or calculate."
            "\n\n{passage}\n\n{question}",
            "{answer}",
        ),
        Template("label", "Passage: {passage}\nQuestion: {question}\nAnswer:", "{answer}"),
        Template(
            "before",
            "{question}\nWhat you need for that is in here:\n{passage}",
            "{answer}",
        ),
        Template(
            "question_of_answer",
            '{passage}\n\nThink up a question about this text whose answer is "{answer}".',
            "{question}",
            is_inverted=True,
        ),
    ),
    "super_glue_multirc": (
        Template(
            "right",
            '{paragraph}\n\nQuestion: {question}\nIs "{candidate}" a right answer?\n{options}',
            "{answer}",
        ),
        Template(
            "mark",
            "You mark a test of reading.\nText: {paragraph}\nQuestion: {question}\nWhat a pupil"
            " wrote: {candidate}\nIs it correct?\n{options}",
            "{answer}",
        ),
        Template(
            "letter",
            '{paragraph}\n\nMay one answer "{question}" by "{candidate}"? {lettered_options}'
            "\nLetter:",
            "{letter}",
        ),
        Template(
            "going_by",
            "Q: {question}\nA: {candidate}\nGoing by the text below, does the answer hold?"
            " {lettered_options}\n\n{paragraph}",
            "{answer}",
        ),
        Template(
            "candidate_of_answer",
            "{paragraph}\n\n{question}\nSuggest an answer. Should it be a right one? {answer}",
            "{candidate}",
            is_inverted=True,
        ),
    ),
    "openbookqa": (
        Template("fact", "{fact}\n\n{question}\n{options}", "{answer}"),
        Template(
            "bear_in_mind",
            "Bear in mind that {fact}. Now choose how this goes on, or what answers it:"
            " {question}\n{options}",
            "{answer}",
        ),
        Template("letter", "{question} {lettered_options}\nLetter:", "{letter}"),
        Template(
            "label",
            "Fact: {fact}\nQuestion: {question}\nChoices: {lettered_options}\nAnswer:",
            "{answer}",
        ),
        Template(
            "question_of_answer",
            'A lesson was about this: {fact}\nWrite a question for a test on it, with "{answer}" as'
            " the right answer.",
            "{question}",
            is_inverted=True,
        ),
        Template(
            "question_of_options",
            'Of these choices, "{answer}" is right:\n{options}\n\nWhat might the question be?',
            "{question}",
            is_inverted=True,
        ),
    ),
    "bool_q": (
        Template("after", "{passage}\n\n{question}\n{options}", "{answer}"),
        Template(
            "settle",
            'Two friends argue over "{question}" and find this passage:\n{passage}\n\nWhat does it'
            " tell them?\n{options}",
            "{answer}",
        ),
        Template(
            "letter",
            "Text: {passage}\nQuestion: {question} {lettered_options}\nLetter:",
            "{letter}",
        ),
        Template(
            "before",
            "{question} Find out from the text below. {lettered_options}\n\n{passage}",
            "{answer}",
        ),
        Template(
            "question_of_answer",
            '{passage}\n\nAsk a question on this that is to be answered by "{answer}".',
            "{question}",
            is_inverted=True,
        ),
    ),
    "super_glue_record": (
        Template(
            "placeholder",
            "{passage}\n\n{query}\n\nWhich of these does @placeholder stand for?\n{options}",
            "{answer}",
        ),
        Template(
            "name",
            "A name in the last sentence of this report has been replaced by @placeholder. Put it"
            " back.\n\n{passage}\n{query}\n\nNames:\n{options}",
            "{answer}",
        ),
        Template(
            "letter",
            "News: {passage}\nSentence: {query}\n@placeholder is: {lettered_options}\nLetter:",
            "{letter}",
        ),
        Template("bare", "{passage}\n\nWho or what is @placeholder here? {query}", "{answer}"),
        Template(
            "sentence_of_answer",
            '{passage}\n\nGo on with a sentence in which @placeholder stands for "{answer}".',
            "{query}",
            is_inverted=True,
        ),
    ),
    "cosmos_qa": (
        Template("after", "{context}\n\n{question}\n{options}", "{answer}"),
        Template(
            "between_lines",
            "The answer stands between the lines of this text.\n{context}\n\nQuestion: {question}"
            "\nWhich of these is it?\n{options}",
            "{answer}",
        ),
        Template(
            "letter",
            "{context} {question} {lettered_options}\nLetter:",
            "{letter}",
        ),
        Template(
            "blog",
            'Somebody writes on a blog: "{context}" {question} Choose what is most likely:'
            " {lettered_options}",
            "{answer}",
        ),
        Template(
            "question_of_answer",
            '{context}\n\nAsk a question about this text whose likely answer is "{answer}".',
            "{question}",
            is_inverted=True,
        ),
        Template(
            "text_of_answer",
            'Write a few lines, from which a reader would answer "{question}" by "{answer}".',
            "{context}",
            is_inverted=True,
        ),
    ),
}
"""By the name of the data set."""
