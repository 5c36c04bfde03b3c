"""Words for telling praise from complaint."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

TEMPLATES: dict[str, tuple[Template, ...]] = {
    "imdb_reviews": (
        Template(
            "after",
            "{review}\n\nDid the writer of this review like the film? Call the review one of:\n"
            "{options}",
            "{answer}",
        ),
        Template(
            "before",
            "Is the following review of a film negative or positive?\n\n{review}\n\n{options}",
            "{answer}",
        ),
        Template(
            "letter",
            "Review: {review}\nSentiment: {lettered_options}\nWhich letter is right?",
            "{letter}",
        ),
        Template(
            "cinema",
            "A cinema sorts what people write about its films into two heaps,"
            " {lettered_options}. Onto which of them goes this?\n\n{review}",
            "{answer}",
        ),
        Template("label", "{review}\n\nOverall, this review is", "{answer}"),
        Template("write", "Write a {answer} review of a film.", "{review}", is_inverted=True),
        Template(
            "critic",
            "You have just seen a film, and your opinion of it is {answer}. What do you write about"
            " it?",
            "{review}",
            is_inverted=True,
        ),
    ),
    "sentiment140": (
        Template("after", "{tweet}\n\nWhat is the mood of this tweet?\n{options}", "{answer}"),
        Template(
            "friend",
            'A friend of yours posts "{tweet}". How does your friend seem to feel about it?\n'
            "{options}",
            "{answer}",
        ),
        Template("letter", "Tweet: {tweet}\nSentiment? {lettered_options}\nLetter:", "{letter}"),
        Template(
            "sort",
            "Sort this post by the feeling that it shows, {lettered_options}: {tweet}",
            "{answer}",
        ),
        Template("write", "Write a tweet with {answer} sentiment.", "{tweet}", is_inverted=True),
        Template(
            "feeling",
            "Your feelings about something that happened today are {answer}. Put that into a short"
            " post.",
            "{tweet}",
            is_inverted=True,
        ),
    ),
    "yelp_polarity_reviews": (
        Template(
            "after",
            "{review}\n\nWhat does this customer think of the place, all in all?\n{options}",
            "{answer}",
        ),
        Template(
            "owner",
            "The owner of a business reads what a customer wrote about it:\n{review}\n\nIs it"
            " praise or complaint? Use the words of this list.\n{options}",
            "{answer}",
        ),
        Template(
            "letter",
            "Which sentiment does this review have? {lettered_options}\n\n{review}\n\nLetter:",
            "{letter}",
        ),
        Template(
            "label",
            "Customer's review: {review}\nNegative or positive? {lettered_options}\nAnswer:",
            "{answer}",
        ),
        Template(
            "write",
            "Write a {answer} review of a restaurant, a shop or another business.",
            "{review}",
            is_inverted=True,
        ),
    ),
    "glue_sst2": (
        Template(
            "after",
            "{sentence}\n\nHow does the critic who wrote this feel about the film?\n{options}",
            "{answer}",
        ),
        Template(
            "phrase",
            'These words are from a review of a film: "{sentence}" Is their sentiment negative or'
            " positive?\n{options}",
            "{answer}",
        ),
        Template(
            "letter",
            "{sentence} What sentiment is this? {lettered_options}\nLetter:",
            "{letter}",
        ),
        Template(
            "recommend",
            'Would a review with the words "{sentence}" be for or against its film? Say it by one'
            " of {lettered_options}.",
            "{answer}",
        ),
        Template(
            "write",
            "Give a few words from a review of a film that are {answer}.",
            "{sentence}",
            is_inverted=True,
        ),
    ),
}
"""By the name of the data set."""
