"""Words for what people know of the world without being told."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

TEMPLATES: dict[str, tuple[Template, ...]] = {
    "super_glue_copa": (
        Template("asked", "{premise} {asked}\n{options}", "{answer}"),
        Template(
            "relation",
            "Which of the two is more likely to be the {relation} of what the line below tells?\n"
            "{premise}\n{options}",
            "{answer}",
        ),
        Template(
            "letter",
            "{premise} {asked} {lettered_options}\nLetter of the more likely one:",
            "{letter}",
        ),
        Template(
            "connective", '{premise}\nGo on with "{connective}": {lettered_options}', "{answer}"
        ),
        Template("bare", "{premise}\n{asked}", "{answer}"),
        Template(
            "event_of_answer",
            "Tell of an event that has the following as a likely {relation}: {answer}",
            "{premise}",
            is_inverted=True,
        ),
    ),
    "hellaswag": (
        Template(
            "goes_on",
            "{activity}\n{context}\n\nWhich of these goes on from here in a sensible way?\n"
            "{options}",
            "{answer}",
        ),
        Template(
            "next",
            "Read the beginning and say what comes next.\nBeginning: {context}\nChoices:\n"
            "{options}",
            "{answer}",
        ),
        Template(
            "letter",
            "Topic: {activity}\nText: {context}\nContinuation: {lettered_options}\nLetter:",
            "{letter}",
        ),
        Template(
            "torn",
            'The end of a page about "{activity}" is torn off, and the rest says: {context}\nWhich'
            " of these was on the piece that is gone?\n{options}",
            "{answer}",
        ),
        Template(
            "beginning_of_answer",
            'A text on the topic "{activity}" ends like this: {answer}\nWrite what stands before'
            " that.",
            "{context}",
            is_inverted=True,
        ),
    ),
    "story_cloze_2016": (
        Template(
            "ending",
            "{context}\n\nWhich ending suits this story better?\n{options}",
            "{answer}",
        ),
        Template(
            "author",
            "The author of a story has written four sentences, and hesitates between two last ones."
            "\nStory: {context}\nLast sentence:\n{options}\nWhich do you advise?",
            "{answer}",
        ),
        Template(
            "letter",
            "{context} How does it end? {lettered_options}\nLetter:",
            "{letter}",
        ),
        Template("bare", "Story: {context}\nA last sentence:", "{answer}"),
        Template(
            "story_of_answer",
            "Write the four sentences of a short story that come before this ending: {answer}",
            "{context}",
            is_inverted=True,
        ),
    ),
    "piqa": (
        Template(
            "way",
            "{goal}\n\nWhich of the two gets this done?\n{options}",
            "{answer}",
        ),
        Template(
            "advice",
            "Somebody wants help with this: {goal}\nThere are two pieces of advice, of which one"
            " is good.\n{options}\nWhich one?",
            "{answer}",
        ),
        Template(
            "letter",
            "Goal: {goal}\nSolution: {lettered_options}\nThe better one is",
            "{letter}",
        ),
        Template("handy", "Pick what works. {goal} {lettered_options}", "{answer}"),
        Template("bare", "Goal: {goal}\nHow to do it:", "{answer}"),
        Template(
            "goal_of_answer",
            "What is somebody trying to do who does the following? {answer}",
            "{goal}",
            is_inverted=True,
        ),
    ),
}
"""By the name of the data set."""
