"""Prompts for texts that get a label: how they judge, and what they are about."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

_AMAZON_POLARITY = (
    Template(
        "would_they_buy_again",
        'A customer titled a review "{title}" and wrote:\n{review}\nIs the customer\'s view'
        " negative or positive?",
        "{answer}",
    ),
    Template(
        "shop_owner",
        "{review}\n\nThe owner of the shop sorts this under\n{options}",
        "{answer}",
    ),
    Template(
        "letter_of_view",
        "{title}. {review}\nThe customer's view, by letter: {lettered_options}",
        "{letter}",
    ),
    Template(
        "title_the_review",
        "Give this {answer} review of a product its title.\n{review}",
        "{title}",
        is_inverted=True,
    ),
    Template(
        "write_the_review",
        'Write a {answer} review of something bought online, with the title "{title}".',
        "{review}",
        is_inverted=True,
    ),
)

_APP_REVIEWS = (
    Template(
        "stars_for_app",
        "Of {app}, somebody writes: {review}\nTheir rating is one of\n{options}",
        "{answer}",
    ),
    Template(
        "letter_of_stars",
        "{lettered_options}\nWhich of these ratings goes with this? {review}",
        "{letter}",
    ),
    Template(
        "how_many_stars",
        "In the app store, from 1 star to 5 stars, how many go with these words? {review}",
        "{answer}",
    ),
    Template(
        "comment_for_stars",
        "You give the app {app} {answer}. What do you write?",
        "{review}",
        is_inverted=True,
    ),
)

_IMDB = (
    Template(
        "liked_it",
        "After the cinema, somebody writes:\n{review}\n\nOn the whole, is this negative or"
        " positive?",
        "{answer}",
    ),
    Template(
        "sort_the_post",
        "Sort a reader's letter on a film under one of\n{options}\nThe letter: {review}",
        "{answer}",
    ),
    Template("letter_of_film", "{review}\nVerdict: {lettered_options}", "{letter}"),
    Template(
        "write_on_a_film",
        "Write on a film at some length. Your view of it is {answer}.",
        "{review}",
        is_inverted=True,
    ),
)

_ROTTEN_TOMATOES = (
    Template(
        "fresh_or_rotten",
        'A critic sums up: "{review}" Would that critic call the film worth seeing? Then it is'
        " positive, else negative.",
        "{answer}",
    ),
    Template(
        "poster_line",
        "{options}\nOne of these words says how this line takes the film: {review}",
        "{answer}",
    ),
    Template("letter_of_critic", "{review} {lettered_options}\nLetter:", "{letter}"),
    Template(
        "one_line_review",
        "In one line, as critics do, say something {answer} of a film.",
        "{review}",
        is_inverted=True,
    ),
)

_YELP = (
    Template(
        "rate_the_visit",
        "{review}\n\nHow does this guest rate the visit?\n{options}",
        "{answer}",
    ),
    Template(
        "letter_of_visit",
        "{lettered_options}\nWhich letter goes with this guest's report? {review}",
        "{letter}",
    ),
    Template(
        "missing_stars",
        "The stars are missing here, between 1 star and 5 stars. Put them in.\n{review}",
        "{answer}",
    ),
    Template(
        "report_for_stars",
        "A guest gives a place {answer} and tells why. Write what the guest tells.",
        "{review}",
        is_inverted=True,
    ),
)

_AG_NEWS = (
    Template(
        "which_desk",
        "An editor hands this to one of four desks. To which?\n{article}\n{options}",
        "{answer}",
    ),
    Template("letter_of_desk", "{lettered_options}\nFile under a letter: {article}", "{letter}"),
    Template(
        "who_would_read",
        "{article}\nIs that World, Sports, Business or Science/Tech?",
        "{answer}",
    ),
    Template(
        "write_news",
        "Write the beginning of a report for the {answer} pages.",
        "{article}",
        is_inverted=True,
    ),
)

_DBPEDIA = (
    Template(
        "kind_of_thing",
        "{title} has an article that begins: {content}\nWhat kind of thing is {title}?\n{options}",
        "{answer}",
    ),
    Template(
        "letter_of_kind",
        "Assign a letter.\n{lettered_options}\n{content}",
        "{letter}",
    ),
    Template(
        "by_name_alone",
        'Going by its name alone, of which of these kinds is "{title}"?\n{options}',
        "{answer}",
    ),
    Template(
        "find_the_title",
        "What does this describe? {content}\n(It is of this kind: {answer}.)",
        "{title}",
        is_inverted=True,
    ),
    Template(
        "describe_it",
        'Begin an article on "{title}", which is of the kind {answer}.',
        "{content}",
        is_inverted=True,
    ),
)

_TREC = (
    Template(
        "what_is_wanted",
        'Whoever asks "{question}" wants to hear one of these. Which?\n{options}',
        "{answer}",
    ),
    Template("letter_of_want", "{question} {lettered_options}\nSort it by letter.", "{letter}"),
    Template(
        "route_the_question",
        "A help desk routes questions to description, entity, abbreviation, human, numeric or"
        " location. Where does this one go? {question}",
        "{answer}",
    ),
    Template(
        "ask_for_kind",
        "Ask a general question. What it asks for is of this sort: {answer}",
        "{question}",
        is_inverted=True,
    ),
)

TEMPLATES = {
    "amazon_polarity": _AMAZON_POLARITY,
    "app_reviews": _APP_REVIEWS,
    "imdb_reviews": _IMDB,
    "rotten_tomatoes": _ROTTEN_TOMATOES,
    "yelp_review_full": _YELP,
    "ag_news_subset": _AG_NEWS,
    "dbpedia_14": _DBPEDIA,
    "trec": _TREC,
}
