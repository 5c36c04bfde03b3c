"""Words for summaries, headlines and news topics."""

from __future__ import annotations

from teacherlm_jax.tasks.muffin.template import Template

TEMPLATES: dict[str, tuple[Template, ...]] = {
    "aeslc": (
        Template(
            "subject_after",
            "{email}\n\nWhat should stand in the subject line of this?",
            "{answer}",
        ),
        Template(
            "subject_before",
            "The email below was sent without a subject. Which one would you give it?\n\n{email}",
            "{answer}",
        ),
        Template("header", "Message:\n{email}\n\nSubject:", "{answer}"),
        Template(
            "inbox",
            "An inbox shows a few words for every mail, so that the reader knows what it is about."
            " What should it show for this one?\n\n{email}",
            "{answer}",
        ),
        Template(
            "email_of_subject",
            'The subject of an email is "{answer}". Write the email.',
            "{email}",
            is_inverted=True,
        ),
        Template(
            "body_of_subject",
            "Subject: {answer}\n\nWhat might the body of this message be?",
            "{email}",
            is_inverted=True,
        ),
    ),
    "cnn_dailymail": (
        Template(
            "highlights_after",
            "{article}\n\nList the highlights of this article.",
            "{answer}",
        ),
        Template(
            "main_points",
            "Read the news story and write down its main points in a few sentences.\n\n{article}",
            "{answer}",
        ),
        Template("summary_label", "News story: {article}\n\nHighlights:", "{answer}"),
        Template(
            "busy_reader",
            "A reader in a hurry wants to know what the following report says. Tell them briefly."
            "\n\n{article}",
            "{answer}",
        ),
        Template(
            "article_of_highlights",
            "These are the highlights of a news story:\n{answer}\n\nWrite the story.",
            "{article}",
            is_inverted=True,
        ),
    ),
    "gigaword": (
        Template("headline_after", "{text}\n\nGive this a short headline.", "{answer}"),
        Template(
            "headline_before",
            "Which headline would a news agency put above this sentence?\n\n{text}",
            "{answer}",
        ),
        Template("shorten", "Say the following in as few words as you can: {text}", "{answer}"),
        Template("label", "Text: {text}\nHeadline:", "{answer}"),
        Template(
            "sentence_of_headline",
            'A news item has the headline "{answer}". How might it begin?',
            "{text}",
            is_inverted=True,
        ),
    ),
    "multi_news": (
        Template(
            "one_summary",
            "{articles}\n\nWrite one summary of everything above.",
            "{answer}",
        ),
        Template(
            "digest",
            "What follows is the coverage of a piece of news, from one source or several. Make a"
            " digest of it.\n\n{articles}",
            "{answer}",
        ),
        Template("label", "Reports:\n{articles}\n\nTaken together, they say:", "{answer}"),
        Template(
            "reports_of_summary",
            "{answer}\n\nThis is a digest of news reports. Write what they may have said in full.",
            "{articles}",
            is_inverted=True,
        ),
    ),
    "newsroom": (
        Template(
            "with_title",
            "{title}\n\n{article}\n\nSummarize this article.",
            "{answer}",
        ),
        Template(
            "front_page",
            'The article "{title}" gets a place on the front page, with a line or two on what it'
            " says. Write them.\n\n{article}",
            "{answer}",
        ),
        Template("without_title", "What does this article say, in short?\n\n{article}", "{answer}"),
        Template(
            "title_of_summary",
            "{answer}\n\nThat is the summary of an article. What is the article's title?",
            "{title}",
            is_inverted=True,
        ),
        Template(
            "article_of_summary",
            '"{title}" is the title of an article that comes to this: {answer}\nWrite it.',
            "{article}",
            is_inverted=True,
        ),
    ),
    "samsum": (
        Template("after", "{dialogue}\n\nWhat was this chat about?", "{answer}"),
        Template(
            "absent_friend",
            "Somebody was not there when these messages were written. Tell them in a sentence or"
            " two what they missed.\n\n{dialogue}",
            "{answer}",
        ),
        Template("label", "Conversation:\n{dialogue}\n\nSummary:", "{answer}"),
        Template(
            "chat_of_summary",
            "Write a chat in which the following happens. {answer}",
            "{dialogue}",
            is_inverted=True,
        ),
        Template(
            "messages_of_summary",
            "{answer}\n\nWhich messages might have been exchanged?",
            "{dialogue}",
            is_inverted=True,
        ),
    ),
    "xsum": (
        Template(
            "one_sentence", "{article}\n\nPut what this says into a single sentence.", "{answer}"
        ),
        Template(
            "opening_line",
            "The first sentence of a news report, which says what it is about, is missing here."
            " Write it.\n\n{article}",
            "{answer}",
        ),
        Template("label", "Report: {article}\n\nIn one sentence:", "{answer}"),
        Template(
            "report_of_sentence",
            "A news report begins with this sentence: {answer}\n\nHow does it go on?",
            "{article}",
            is_inverted=True,
        ),
    ),
    "ag_news_subset": (
        Template(
            "section_after",
            "{article}\n\nWhich section of a newspaper does this belong in?\n{options}",
            "{answer}",
        ),
        Template(
            "topic_before",
            "Choose the topic of the news item.\n{options}\n\nItem: {article}\nTopic:",
            "{answer}",
        ),
        Template(
            "letter",
            "{article}\nThis is about: {lettered_options}\nAnswer with a letter.",
            "{letter}",
        ),
        Template(
            "lettered",
            "Sort this into a category. Categories: {lettered_options}\n\n{article}",
            "{answer}",
        ),
        Template("no_options", "{article}\n\nWhat kind of news is this, broadly?", "{answer}"),
        Template(
            "item_of_topic",
            'Write a short news item for the section "{answer}".',
            "{article}",
            is_inverted=True,
        ),
    ),
    "opinion_abstracts_rotten_tomatoes": (
        Template(
            "consensus_after",
            'Critics on "{movie}":\n{reviews}\n\nWhat do they say on the whole?',
            "{answer}",
        ),
        Template(
            "consensus_before",
            'Sum up in a sentence or two what critics think of the film "{movie}".\n\n{reviews}',
            "{answer}",
        ),
        Template(
            "label",
            "Film: {movie}\nReviews:\n{reviews}\nConsensus:",
            "{answer}",
        ),
        Template(
            "reviews_of_consensus",
            'Of the film "{movie}" a site says: {answer}\n\nWhat did the critics themselves write?'
            " Number them.",
            "{reviews}",
            is_inverted=True,
        ),
        Template(
            "movie_of_reviews",
            "{reviews}\n\nIn short: {answer}\n\nWhich film is this about?",
            "{movie}",
            is_inverted=True,
        ),
    ),
    "opinion_abstracts_idebate": (
        Template(
            "claim_after",
            "In a debate on {debate}, these arguments were made:\n{arguments}\n\nWhich claim do"
            " they support?",
            "{answer}",
        ),
        Template(
            "claim_before",
            "Find the one claim that all of the arguments below are made for.\n\n{arguments}",
            "{answer}",
        ),
        Template("label", "Debate: {debate}\nArguments:\n{arguments}\nClaim:", "{answer}"),
        Template(
            "arguments_of_claim",
            "In the debate on {debate}, somebody claims: {answer}\n\nList the arguments for it,"
            " numbered.",
            "{arguments}",
            is_inverted=True,
        ),
        Template(
            "debate_of_claim",
            "Claim: {answer}\nArguments:\n{arguments}\nWhat is the debate called?",
            "{debate}",
            is_inverted=True,
        ),
    ),
    "wiki_lingua_english_en": (
        Template(
            "steps_after", "{guide}\n\nWrite down the steps of this guide in short.", "{answer}"
        ),
        Template(
            "note",
            "Turn these instructions into a note that fits on a card.\n\n{guide}",
            "{answer}",
        ),
        Template("label", "How-to: {guide}\n\nIn brief:", "{answer}"),
        Template(
            "guide_of_steps",
            "{answer}\n\nExplain in detail how to do this.",
            "{guide}",
            is_inverted=True,
        ),
    ),
}
"""By the name of the data set."""
