"""What prompts put around a question, taken off: templates are no part of what may leak."""

from __future__ import annotations

import re

# Of the paper's prompts (see `teacher.prompts`), and what FLAN and P3 write around options.
_BEFORE = re.compile(
    r"""(?:
    Q(?:uestion)?:
    | The\ following\ are\ multiple\ choice\ questions\ \(with\ answers\)\ about\ [^.]{1,80}\.
    | Determine\ the\ correctness\ of\ the\ following\ sentence[.:]
    )\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_AFTER = re.compile(
    r"""(?:^|\s+)(?:
    A(?:nswer)?:
    | A:\ The\ answer\ is(?:\ \(.{0,3})?
    | Let's\ think\ step\ by\ step\.?
    | The\ common\ mistakes\ are:
    | The\ fundamental\ of\ this\ question\ is:
    | \(A\)\s.*\s\(B\)\s.*
    | Options:.*
    )\s*$""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_FACTS = re.compile(r"^(?P<facts>.+?)\s+Given (?:these|the) facts above,\s+", re.DOTALL)


def question_parts(text: str) -> dict[str, str]:
    """A question's own texts: without introduction, "Q:", options, and cues for an answer.

    Args:
      text: a question, or a prompt with one.

    Returns:
      "question", and "facts" where the paper's prompt of StrategyQA has them before it.
    """
    text = text.strip()
    before = None
    while before != text:
        before = text
        if begin := _BEFORE.match(text):
            text = text[begin.end() :]
        text = _AFTER.sub("", text)
    if facts := _FACTS.match(text):
        return {"question": text[facts.end() :], "facts": facts["facts"]}
    return {"question": text}
