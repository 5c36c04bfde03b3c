"""Options that the prompt lists, and that are answered by their letters.

    Q: Is ice cold? (A) yes (B) no A: The answer is (     then   A

or a line for each, `A. yes`, `B. no`, `Answer:`, and then " A". There a letter does not say which
option it is: the text behind it in the prompt does.
"""

from __future__ import annotations

import dataclasses
import re
import string
from collections.abc import Callable, Sequence

# How a list may write its letters: anywhere, or where a line begins.
_STYLES: tuple[Callable[[str], re.Pattern[str]], ...] = (
    lambda letter: re.compile(rf"\({letter}\)"),
    lambda letter: re.compile(rf"^{letter}[.)](?=\s)", re.MULTILINE),
)
# Where the last option ends. What is asked for in no such way is not known to be a list.
_END = re.compile(r"\n|\s(?:A|Answer):|\s[Tt]he (?:\w+ )?answer\b")


@dataclasses.dataclass(frozen=True)
class Listing:
    """A list in a prompt.

    Attributes:
      head: the prompt before it.
      texts: of each option, without spaces around and without the mark that ends it.
      tail: the prompt behind it.
    """

    head: str
    texts: tuple[str, ...]
    tail: str

    @property
    def around(self) -> str:
        """The prompt without the list."""
        return f"{self.head} ... {self.tail}"


def find(prompt: str, continuations: Sequence[str]) -> Listing | None:
    """The last list in a prompt; None: there is none, or options are not letters from A on.

    Args:
      prompt: examples, which list options of their own, may stand before the question.
      continuations: what may follow the prompt.
    """
    letters = [text.strip(" ().") for text in continuations]
    if len(letters) < 2 or letters != list(string.ascii_uppercase[: len(letters)]):
        return None
    for style in _STYLES:
        patterns = [style(letter) for letter in letters]
        for first in reversed(list(patterns[0].finditer(prompt))):
            if found := _listing(prompt, first, patterns[1:]):
                return found
    return None


def _listing(
    prompt: str, first: re.Match[str], patterns: Sequence[re.Pattern[str]]
) -> Listing | None:
    texts, at = [], first.end()
    for pattern in patterns:
        following = pattern.search(prompt, at)
        if following is None:
            return None
        texts.append(prompt[at : following.start()])
        at = following.end()
    end = _END.search(prompt, at + 1)  # Behind the space before the text.
    if end is None:
        return None
    texts.append(prompt[at : end.start()])
    return Listing(prompt[: first.start()], tuple(map(plain, texts)), prompt[end.start() :])


def plain(text: str) -> str:
    """An option's text as lists are compared: without spaces around or the mark that ends it."""
    return text.strip().rstrip(".,;").rstrip()
