"""
Prompt → named features: what can be seen of a prompt's difficulty in one pass over its words.

Three kinds: words that say what work is asked for, the shape of the text (length, numbers, how the
question is put), and what it is about. Own word lists, whole words only. Only the head and the tail
of a long prompt are read (instructions stand there); the length counts in full.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.router.domain.words import GLUE, ORDERS, SUBJECTS, WHO, WORK

HEAD_CHARS = 4_000
TAIL_CHARS = 2_000
CHARS_PER_WORD = 6  # for scripts that write no spaces; English prose has about 6 with the space
PASSAGE_FROM = 100  # words: beyond it there is something to read before the question
SHORT_BELOW = 20
COMMON_LETTERS = 4
MOST_LETTERS = 8  # scripts without spaces have "words" of any length

COUNTS = (  # shown as log(1 + count): the tenth `if` says less than the first
    *WORK,
    "length",
    "numbers",
    "questions",
    "lines",
    "signs",
    "repeats",  # words that stood there before
    "quotes",
    "options",  # lines that offer an answer: "B. 17"
    "blanks",
    "names",  # capitals within a sentence
    "commas",
    "formulas",
    "sentences",
    *SUBJECTS,
)
SHAPES = (
    "long_words",  # letters that the mean word has beyond COMMON_LETTERS
    "sentence_length",  # log of words
    "asks",  # ends with a question mark; 0 or 1 as those below without a unit
    "open_ended",  # ends in the middle of a sentence: to be continued
    "orders",  # begins with an imperative
    "passage",  # log of how often PASSAGE_FROM fits
    "short",  # log of how often the prompt fits in SHORT_BELOW
    "bare",  # share of words that carry meaning
    "quantity",  # asks how many
    "which",
    "what",
    "who",
    "number_share",
    "name_share",  # names by the root of words
)
NAMES = (*COUNTS, *SHAPES)

_CODE_SIGNS = ("```", "();", "{", "==", "=>", "->", "</", "def ", "import ", "::")
_FORMULA_SIGNS = ("=", "^", "+", "*", "/", "<", ">", "\\", "~", "≤", "≥", "√", "∑", "∫", "→", "•")
_MATHS_SIGNS = ("=", "^", "≤", "≥", "√", "∑", "∫", "≠", "\\frac", "\\sum", "\\int", "$$")
_TOKEN = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*|\d+(?:[.,]\d+)*")
_NAME = re.compile(r"[a-z,;] [A-Z]")
_SENTENCE = re.compile(r"[.?!](?=\s|$)")
_OPTION = re.compile(r"^\s{0,4}\(?[A-E][.):]\s", re.MULTILINE)


def _by_word() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for name, words in (WORK | SUBJECTS).items():
        place = COUNTS.index(name)
        for word in set(words.split()):
            found[word] = (*found.get(word, ()), place)
    for word in list(found):
        found.setdefault(f"{word}s", found[word])
    return found


_PLACES_OF = _by_word()
_PLACE = {name: place for place, name in enumerate(COUNTS)}
_LOG1P = tuple(math.log1p(count) for count in range(1_000))


@dataclass(frozen=True, slots=True)
class Features:
    words: int  # in the whole prompt; estimated beyond head and tail
    values: dict[str, float]  # by name, in the order of NAMES; none below 0


def features_of(text: str) -> Features:
    """Read the named features off *text*."""
    seen = text
    if len(text) > HEAD_CHARS + TAIL_CHARS:
        seen = f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"
    lower = seen.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    tokens = _TOKEN.findall(lower)

    words = max(len(tokens), len(seen) // CHARS_PER_WORD if not seen.isascii() else 0)
    words = round(words * len(text) / len(seen)) if seen else 0
    counts, letters = _count_words(tokens)
    _count_signs(seen, lower, counts)
    counts[_PLACE["length"]] = words
    shape = _shape(tokens, lower.rstrip(), counts, letters)
    values = [_LOG1P[n] if n < len(_LOG1P) else math.log1p(n) for n in counts]
    return Features(words, dict(zip(NAMES, (*values, *shape), strict=True)))


def _count_words(tokens: Sequence[str]) -> tuple[list[int], int]:
    """Count the words of each list, the numbers and the repeats; and the letters of all words."""
    counts = [0] * len(COUNTS)
    letters = numbers = 0
    places_of = _PLACES_OF.get
    for token in tokens:
        if found := places_of(token):
            for place in found:
                counts[place] += 1
        if token[0].isdigit():
            numbers += 1
        else:
            letters += len(token)
    counts[_PLACE["numbers"]] = numbers
    counts[_PLACE["repeats"]] = len(tokens) - len(set(tokens))
    return counts, letters


def _count_signs(seen: str, lower: str, counts: list[int]) -> None:
    counts[_PLACE["code"]] += sum(map(lower.count, _CODE_SIGNS))
    counts[_PLACE["mathematics"]] += sum(map(lower.count, _MATHS_SIGNS))
    counts[_PLACE["questions"]] = seen.count("?")
    counts[_PLACE["lines"]] = seen.count("\n")
    counts[_PLACE["signs"]] = sum(map(seen.count, _FORMULA_SIGNS))
    counts[_PLACE["quotes"]] = seen.count('"') + seen.count("\N{LEFT DOUBLE QUOTATION MARK}")
    counts[_PLACE["options"]] = len(_OPTION.findall(seen))
    counts[_PLACE["blanks"]] = seen.count("__")
    counts[_PLACE["names"]] = len(_NAME.findall(seen))
    counts[_PLACE["commas"]] = seen.count(",")
    counts[_PLACE["formulas"]] = seen.count("$") + seen.count("\\")
    counts[_PLACE["sentences"]] = max(len(_SENTENCE.findall(seen)), 1)


def _shape(
    tokens: Sequence[str], lower: str, counts: Sequence[int], letters: int
) -> tuple[float, ...]:
    """Say how the text is put, in the order of SHAPES."""
    many = max(len(tokens), 1)
    words = max(counts[_PLACE["length"]], 1)
    numbers = counts[_PLACE["numbers"]]
    distinct = set(tokens)
    last = lower[-1:]
    return (
        max(0.0, min(letters / max(len(tokens) - numbers, 1), MOST_LETTERS) - COMMON_LETTERS),
        max(math.log(words / counts[_PLACE["sentences"]]), 0.0),
        float(last == "?"),
        float(last.isalnum() or last in (",", "_")),
        float(bool(tokens) and tokens[0] in ORDERS),
        max(0.0, math.log(words / PASSAGE_FROM)),
        max(0.0, math.log(SHORT_BELOW / words)),
        1 - sum(map(GLUE.__contains__, tokens)) / many,
        float("how many" in lower or "how much" in lower),
        float("which" in distinct),
        float("what" in distinct),
        float(not distinct.isdisjoint(WHO)),
        numbers / many,
        counts[_PLACE["names"]] / math.sqrt(many),
    )
