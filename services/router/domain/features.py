"""
Prompt → named features: what can be seen of a prompt's difficulty in one pass over its words.

Own word lists, whole words only, one regular expression. Only the head and the tail of a long
prompt are read (instructions stand there); the length counts in full.
"""

import math
import re
from dataclasses import dataclass

HEAD_CHARS = 4_000
TAIL_CHARS = 2_000
CHARS_PER_WORD = 6  # for scripts that write no spaces; English prose has about 6 with the space

WORDS: dict[str, str] = {
    "code": "api array async backend bug class code compile compiler css database dataframe debug"
    " docker endpoint exception frontend function git html implement implementation java"
    " javascript json kubernetes library method microservice module multithreaded parser php"
    " program programming python query react refactor regex regexp rust schema script sql stack"
    " test tests thread traceback typescript unit yaml",
    "mathematics": "algebra calculate calculus combinatorics compute coordinates cosine derivative"
    " determinant differential divisible eigenvalue eigenvalues equation equations expectation"
    " exponent factorial formula fraction function geometry gradient graph hypothesis inequality"
    " integer integers integral integrate lemma limit logarithm math mathematical mathematics"
    " matrix modulo multiply optimum permutation polynomial prime probability proof"
    " prove quadratic ratio regression remainder root sequence series simplify sine solve sqrt"
    " square statistic statistics sum theorem triangle variance vector",
    "reasoning": "analyse analysis analyze architect architecture argue argument assess compare"
    " comparison consequence consequences contrast critique deduce deep derive design diagnose"
    " distinguish evaluate evidence explain explanation implications infer interpret investigate"
    " justify optimal optimise optimize plan prove rationale reason reasoning recommend"
    " recommendation research scenario strategies strategy synthesize thorough tradeoff tradeoffs"
    " trade-off trade-offs why",
    "steps": "after afterwards before finally first firstly following last lastly next part parts"
    " phase phases second secondly sequentially stage stages step steps step-by-step subsequently"
    " then third",
    "conditions": "although assume assuming case cases depending either else given if otherwise"
    " provided suppose supposing though unless until when whenever whereas whether while",
    "constraints": "all always any avoid between both bullet bullets each ensure every"
    " exact exactly fewer format include including least limit limited maximum minimum more must"
    " only precisely required requirement requirements respectively should table within words",
    "negation": "aren't can't cannot didn't doesn't don't except excluding isn't mustn't neither"
    " never no nobody none nor not nothing shouldn't won't without wouldn't",
    "greeting": "bye cheers greetings hello hey hi howdy morning thank thanks welcome yo",
    "lookup": "abbreviation acronym address antonym birthday capital colour color currency date"
    " define definition located meaning name plural population pronounce spell synonym"
    " tallest when where who whose year",
    "translation": "arabic chinese dutch french german hindi italian japanese korean polish"
    " portuguese russian spanish swedish translate translation turkish",
    "creative": "birthday caption creative fairytale fiction funny haiku joke jokes limerick lyrics"
    " poem poems poetry rhyme slogan song sonnet story tagline tale tweet",
}
_SIGNS = {  # single signs and pieces of code or formulas, counted as they stand
    "code": ("```", "();", "{", "==", "=>", "->", "</", "def ", "import ", "::"),
    "mathematics": ("=", "^", "≤", "≥", "√", "∑", "∫", "≠", "\\frac", "\\sum", "\\int", "$$"),
}
NAMES = ("length", *WORDS, "numbers", "questions", "lines")

_TOKEN = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*|\d+(?:[.,]\d+)*")


def _by_word() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, words in WORDS.items():
        for word in set(words.split()):
            found[word] = (*found.get(word, ()), name)
    return found


_NAMES_OF = _by_word()


@dataclass(frozen=True, slots=True)
class Features:
    """Values are log(1 + count): the tenth `if` says less than the first."""

    words: int  # in the whole prompt; estimated beyond head and tail
    values: dict[str, float]  # by name, in the order of NAMES


def features_of(text: str) -> Features:
    """Read the named features off *text*."""
    seen = text
    if len(text) > HEAD_CHARS + TAIL_CHARS:
        seen = f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"
    seen = seen.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")

    counts = dict.fromkeys(NAMES, 0)
    tokens = _TOKEN.findall(seen)
    for token in tokens:
        for name in _NAMES_OF.get(token, ()):
            counts[name] += 1
        if token[0].isdigit():
            counts["numbers"] += 1
    for name, signs in _SIGNS.items():
        counts[name] += sum(map(seen.count, signs))
    counts["questions"] = seen.count("?")
    counts["lines"] = seen.count("\n")

    words = max(len(tokens), len(seen) // CHARS_PER_WORD if not seen.isascii() else 0)
    words = round(words * len(text) / len(seen)) if seen else 0
    counts["length"] = words
    return Features(words, {name: math.log1p(count) for name, count in counts.items()})
