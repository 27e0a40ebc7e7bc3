"""What a spoken calculation means: a phrase is rewritten to an expression.

The rules must account for every word; where a word is left over there is no expression, rather than
a wrong one.
"""

from __future__ import annotations

import re

from omni_tools.expressions import tokens
from omni_tools.spoken import digits

NUMBER = r"(-?\d+(?:\.\d+)?(?:/\d+)?)"

MONEY = re.compile(r"[$€£]|\b(?:dollars?|euros?|bucks|cents|bill|tip|price|costs?|discount)\b", re.I)
ROUNDING = re.compile(
    rf"[,\s]*(?:(?:rounded )?to|with) {NUMBER} "
    r"(decimal places?|decimals?|digits?|places?|significant (?:digits|figures))\s*[?.!]*$",
    re.I,
)

_LEAD = re.compile(
    r"^(?:(?:please|hey|ok(?:ay)?|so|and|omni|then|now|quickly|just|um|uh)\b[,\s]*)*"
    r"(?:(?:can|could|would|will) you (?:please )?)?(?:(?:please )?(?:tell me|give me|show me|help me) )?"
    r"(?:(?:i (?:need|want)(?: to know)?|i(?:'d| would) like to know|i wonder|do you know|let me know) )?"
    r"(?:what(?:'s| is| are| would be| was| will be| do you get)?|whats|"
    r"how much(?: is| are| would be| does| do| money is)?|"
    r"calculate|compute|work out|figure out|evaluate|find|determine|the (?:value|result) of)?\b\s*"
    r"(?:(?:if )?you |i )?(?:calculate |compute )?(?:the (?:value|result|answer) (?:of|to) )?",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"(?:[\s,]*\b(?:please|pls|thanks|for me|equal(?:s)?(?: to)?|make|makes|give(?: you)?|come to|exactly|"
    r"altogether|in total|right now|then|is that|would that be|be|together|quickly)\b)*(?:(?<=[a-z])!+)?[\s?.,=]*$",
    re.IGNORECASE,
)
_CURRENCY = re.compile(r"[$€£]\s?|\s?\b(?:dollars?|euros?|bucks|usd|eur|gbp)\b", re.I)

#: A phrase and the expression it means. N stands for a number, PCT for "percent", WAYS for "people" and the like.
_TEMPLATES: tuple[tuple[str, str], ...] = (
    (r"NPCT tip (?:on|for|of) (?:a |an |the )?(?:bill (?:of|for) )?N(?: bill)?", r"\2*\1/100"),
    (r"(?:a |the )?tip of NPCT (?:on|for|of) (?:a |the )?(?:bill of )?N", r"\2*\1/100"),
    (r"(?:a |an )?NPCT (?:of|from|on) N", r"\2*\1/100"),
    (
        r"(?:if )?(?:the|my|our) (?:bill|total|check) (?:is|was|comes to) N.*?\bNPCT\b.*?"
        r"(?:how much|what)(?:'s| is| would)?(?: the| that)? ?tip.*",
        r"\1*\2/100",
    ),
    (r"N (?:plus|and|with|increased by|more) NPCT(?: (?:tax|tip|vat|more|on top))?", r"\1*(1+\2/100)"),
    (r"N (?:minus|less|with|reduced by|decreased by|take away) NPCT(?: (?:off|discount|less))?", r"\1*(1-\2/100)"),
    (r"NPCT off (?:of )?N", r"\2*(1-\1/100)"),
    (
        r"(?:do|would|will|must) (?:i|we|you) (?:have to )?pay for (?:a |an |the |my |some )?N (?:[a-z-]+ ){1,3}?"
        r"(?:when|if|with|at|that|and)(?: it| there)?(?:'s| is)? (?:a )?NPCT (?:off|discount|less|reduction)",
        r"\1*(1-\2/100)",
    ),
    (r"(?:do i get |is it |happens )?(?:if|when) (?:i|we|you) add NPCT to N", r"\2*(1+\1/100)"),
    (
        r"(?:there (?:are|were) |we (?:are|were) )?N(?: of us| people| friends)?,? and (?:the |our )?[a-z]+ "
        r"(?:came to|comes to|was|is|cost) N\W+.*\b(?:each|everybody|everyone|every)\b.*",
        r"\2/\1",
    ),
    (r"(?:the |our )?[a-z]+ for N (?:people )?(?:came to|comes to|was|is|cost) N\W+.*\beach\b.*", r"\2/\1"),
    (r"(?:what ?)?PCT(?:age)? (?:of|is) N (?:is|of) N", r"100*\2/\1"),
    (r"N as aPCT(?:age)? of N", r"100*\1/\2"),
    (r"N is whatPCT(?:age)? of N", r"100*\1/\2"),
    (r"divide N by N", r"\1/\2"),
    (r"multiply N (?:by|with|and) N", r"\1*\2"),
    (r"subtract N from N", r"\2-\1"),
    (r"add (?:up )?N (?:and|to|plus) N", r"\1+\2"),
    (r"(?:the )?sum of N and N", r"\1+\2"),
    (r"(?:the )?difference (?:between|of) N and N", r"\1-\2"),
    (r"(?:the )?product of N and N", r"\1*\2"),
    (r"(?:the )?(?:average|mean) of N and N", r"(\1+\2)/2"),
    (r"(?:the )?(?:average|mean) of N,? N,? and N", r"(\1+\2+\3)/3"),
    (r"(?:split|share|divide) N (?:between|among|amongst|by|into|over|across) NWAYS", r"\1/\2"),
    (r"N (?:split|divided|shared) (?:between|among|amongst|into) NWAYS", r"\1/\2"),
    (r"(?:a )?half of N", r"\1/2"),
    (r"(?:a )?third of N", r"\1/3"),
    (r"(?:a )?quarter of N", r"\1/4"),
    (r"(?:double|twice) N", r"2*\1"),
    (r"N of N", r"\1*\2"),
)
_PHRASES = tuple(
    (
        re.compile(
            template.replace("NWAYS", "N(?: (?:people|persons|friends|ways|of us|parts|guests|kids))?")
            .replace("PCT", r" ?(?:%|per ?cent)")
            .replace("N", NUMBER)
        ),
        expression,
    )
    for template, expression in _TEMPLATES
)

_OPERATORS = tuple(
    (re.compile(pattern), symbol)
    for pattern, symbol in (
        (r"\b(?:to the power of|to the power|raised to(?: the power of)?)\b", "^"),
        (r"\bsquared\b", "^2"),
        (r"\bcubed\b", "^3"),
        (r"\b(?:the )?square root of\b", " sqrt "),
        (r"\b(?:the )?(?:cube|cubic|third) root of\b", " cbrt "),
        (r"\b(?:the )?natural (?:log|logarithm) of\b", " ln "),
        (r"\b(?:the )?(?:log|logarithm) of\b", " log "),
        (r"\b(?:the )?sine of\b", " sin "),
        (r"\b(?:the )?cosine of\b", " cos "),
        (r"\b(?:the )?tangent of\b", " tan "),
        (r"\b(?:the )?factorial of (\d+)\b", r"\1!"),
        (r"\b(\d+) factorial\b", r"\1!"),
        (r"\bmultiplied by\b|\btimes\b|(?<=[\d)a-z]) x (?=[\d(])", "*"),
        (r"(?<=\d)x(?=\d)", "*"),
        (r"\bdivided by\b|\bover\b", "/"),
        (r"\bplus\b|(?<=\d) and (?=\d)", "+"),
        (r"\bminus\b|\bless\b|\btake away\b", "-"),
        (r"\bmodulo\b|\bmodulus\b", "mod"),
        (r"\bper ?cent\b", "%"),
        (r"%\s+of\b", "%*"),
        (r"\b(?:open|left) (?:bracket|parenthesis)\b", "("),
        (r"\b(?:close|right) (?:bracket|parenthesis)\b", ")"),
    )
)

#: A conversion of units: the groups `from` and `to`, and the number before or between them.
CONVERSIONS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?:convert |change |turn )?{NUMBER} ?(?P<from>[a-z°/ ]+?) "
        r"(?:to|into|in|as|are in|is in|expressed in) (?P<to>[a-z°/0-9 ]+)",
        r"(?:convert )?(?:how )?(?:many|much) (?P<to>[a-z°/0-9 ]+?) "
        r"(?:are|is|in|make|do|does|equals?|are there in|is there in|there are in)"
        rf"(?: there)?(?: in)? {NUMBER} ?(?P<from>[a-z°/0-9 ]+)",
        rf"(?:how )?(?:many|much) (?P<to>[a-z°/]+?) {NUMBER} ?(?P<from>[a-z°/]+)(?: is| are| makes?)?",
        rf"(?:i have |there are )?{NUMBER} ?(?P<from>[a-z°/ ]+?)(?: of [a-z ]+)?,? "
        r"(?:what(?:'s| is) (?:that|it) in|how (?:many|much) is (?:that|it) in|how many) "
        r"(?P<to>[a-z°/ ]+?)(?: is that)?",
    )
)


def clean(text: str) -> str:
    """A request with its number words as digits, and politeness and lead-in gone."""
    text = digits(text.replace("’", "'").strip())
    return _TAIL.sub("", _LEAD.sub("", text, count=1)).strip()


def to_expression(phrase: str) -> str:
    """The expression a cleaned phrase means. Raises `BadInput` when words are left over that mean nothing."""
    plain = _CURRENCY.sub("", phrase).strip().lower()
    for pattern, expression in _PHRASES:
        if match := pattern.fullmatch(plain):
            return match.expand(expression)
    for pattern, symbol in _OPERATORS:
        plain = pattern.sub(symbol, plain)
    plain = re.sub(r"\b(?:the|a|an|of|is)\b", " ", plain)
    tokens(plain)
    return " ".join(plain.split())
