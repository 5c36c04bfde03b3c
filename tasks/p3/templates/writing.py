"""Prompts that ask for a text: summaries, sentences of given words, lives of given facts."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

_COMMON_GEN = (
    Template(
        "everyday_scene",
        "Describe an everyday scene in one sentence. It has to have all of: {concepts}",
        "{answer}",
    ),
    Template("words_to_sentence", "{concepts}\nTie these words together.", "{answer}"),
    Template(
        "teacher_gives_words",
        "A language teacher puts on the board: {concepts}\nA pupil makes a sentence of it:",
        "{answer}",
    ),
    Template(
        "words_of_sentence",
        'List the notions, things and doings alike, that "{answer}" was made of.',
        "{concepts}",
        is_inverted=True,
    ),
)

_WIKI_BIO = (
    Template(
        "begin_the_article",
        "Begin an article on {person} with what this table has:\n{facts}",
        "{answer}",
    ),
    Template(
        "who_is_this",
        "{facts}\n\nTell in running text who this is.",
        "{answer}",
    ),
    Template(
        "archive_card",
        "An archive keeps a card on {person}:\n{facts}\nWrite the lines that a visitor would read.",
        "{answer}",
    ),
    Template(
        "make_the_table",
        "Turn this into a table of facts, one a line.\n{answer}",
        "{facts}",
        is_inverted=True,
    ),
    Template(
        "whose_life",
        "Whose life is told here?\n{answer}",
        "{person}",
        is_inverted=True,
    ),
)

_CNN_DAILYMAIL = (
    Template(
        "three_bullets",
        "{article}\n\nFor readers in a hurry, in a few short lines:",
        "{answer}",
    ),
    Template(
        "editor_asks",
        "Your editor wants the main points of this story to stand above it.\n{article}",
        "{answer}",
    ),
    Template("too_long", "That is too long for me:\n{article}\nWhat matters in it?", "{answer}"),
    Template(
        "story_from_points",
        "Write the story that these points stand above.\n{answer}",
        "{article}",
        is_inverted=True,
    ),
)

_GIGAWORD = (
    Template("headline", "{text}\n\nPut a headline above that.", "{answer}"),
    Template(
        "ticker",
        'A ticker has room for a few words. What does it show for "{text}"?',
        "{answer}",
    ),
    Template("in_few_words", "In as few words as a headline has: {text}", "{answer}"),
    Template(
        "sentence_from_headline",
        'Write the first sentence of the report with the headline "{answer}".',
        "{text}",
        is_inverted=True,
    ),
)

_MULTI_NEWS = (
    Template(
        "one_from_many",
        "Several papers wrote about one event. Make one report of theirs.\n\n{articles}",
        "{answer}",
    ),
    Template(
        "digest",
        "{articles}\n\nWrite the digest of all that, leaving out what they repeat.",
        "{answer}",
    ),
    Template(
        "tell_me_the_news",
        "I have no time for all of these articles; tell me what they come to.\n{articles}",
        "{answer}",
    ),
    Template(
        "many_from_one",
        "This digest was made from longer articles. Write what they may have said.\n{answer}",
        "{articles}",
        is_inverted=True,
    ),
)

_SAMSUM = (
    Template(
        "missed_the_chat",
        "I missed this chat. What was it about?\n{dialogue}",
        "{answer}",
    ),
    Template(
        "third_person",
        "Retell the chat in the third person, and briefly.\n{dialogue}",
        "{answer}",
    ),
    Template("minutes", "{dialogue}\n\nFor the minutes:", "{answer}"),
    Template(
        "chat_from_minutes",
        "Write the messages that led to this note.\n{answer}",
        "{dialogue}",
        is_inverted=True,
    ),
)

_XSUM = (
    Template("standfirst", "{article}\n\nWrite the one sentence to go on top in bold.", "{answer}"),
    Template(
        "what_happened",
        "Say in a single sentence what has happened.\n{article}",
        "{answer}",
    ),
    Template("radio_line", "The radio has five seconds for this:\n{article}\nIt says:", "{answer}"),
    Template(
        "report_from_line",
        'A report opens with "{answer}" Write the rest of it.',
        "{article}",
        is_inverted=True,
    ),
)

TEMPLATES = {
    "common_gen": _COMMON_GEN,
    "wiki_bio": _WIKI_BIO,
    "cnn_dailymail": _CNN_DAILYMAIL,
    "gigaword": _GIGAWORD,
    "multi_news": _MULTI_NEWS,
    "samsum": _SAMSUM,
    "xsum": _XSUM,
}
