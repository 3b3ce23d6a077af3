"""The normal form of an answer, and the numbers in it.

`normal` brings two writings of one answer to one text, in this order: LaTeX that only lays out (`\\,`, `\\$`,
`\\text{}`, `\\frac{1}{2}`) and calculator notes (`<<2*3=6>>`) go; Unicode NFKC, case folded; invisible and direction
marks go, control characters are spaces, spaces collapse; digits of all scripts are 0 to 9, `½` is 1/2 and `3½` is
3 1/2; hyphens, en dash and minus are `-`; thousands separators (`1,000`, also a no-break or thin space) go; currency
and percent signs go, without scaling: 50% is 50, never 0.5; emphasis, quotes and the trailing period go; a lone
choice letter stands without its brackets (`(B)`, `b.`). What would be nothing afterwards (`$`, `...`) stays.

`number` reads a normal form that is a number as a whole: `1000`, `-.5`, `1e3`, `1/2`, `3 1/2`; as a fraction, so
that 0.5 = 1/2 = .50 and 3.0 = 3. More than 400 digits, or an exponent past 400, is no number (1e999999999 would fill
the memory), and neither is a division by zero.
"""

import re
import unicodedata
from fractions import Fraction

_DIGITS = 400
_COMMAND = r"(?<!\\)\\++"  # possessive, and from its first backslash only: a long run of them takes linear time
_LATEX = (
    (re.compile(_COMMAND + r"[dt]?frac\s?\{\s?([0-9]{1,40})\s?\}\s?\{\s?([0-9]{1,40})\s?\}"), r" \1/\2 "),
    (re.compile(_COMMAND + r"(?:text|textbf|mathrm|mathbf)\s?\{([^{}]{0,2000})\}"), r" \1 "),
    (re.compile(r"\{,\}"), ","),
    (re.compile(_COMMAND + r"[!,;:](?=[0-9]{3}(?![0-9]))"), ""),  # \, as a thousands separator
    (re.compile(_COMMAND + r"([$%])"), r"\1"),
    (re.compile(_COMMAND + r"[,!;:()\[\]]"), " "),
)
_NOTE = re.compile(r"<<[^<>\n]{0,500}>>")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef]"
)
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x9f]")
_THIN_THOUSANDS = re.compile("(?<=[0-9])[\u00a0\u202f\u2009](?=[0-9]{3}(?![0-9]))")
_VULGAR = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞↉])")
_POWER = re.compile(r"(?<=[\d)])(?=[²³¹⁰⁴-⁹])")
_DASHES = {ord(dash): "-" for dash in "\u2010\u2011\u2012\u2013\u2212"}
_SIGNS = re.compile(r"[%$¢-¥֏؋߾߿৲৳৻૱௹฿៛₠-⃀]")
_THOUSANDS = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})++(?![0-9]|,[0-9])")
_WRAP = ' *`"“”«»„'
_CHOICE = re.compile(r"[(\[]?([a-z])[)\]]?[.:]?")
_DECIMAL = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?) ?(?:(?P<whole>[0-9]+) (?P<part>[0-9]+)/(?P<of>[0-9]+)"
    rf"|(?P<over>{_DECIMAL})/(?P<under>{_DECIMAL})|(?P<plain>{_DECIMAL})(?:e(?P<exponent>[-+]?[0-9]+))?)"
)
_TOKEN = re.compile(
    r"(?<![\w.^√/])[-+]?(?:[0-9]{1,40} [0-9]{1,40}/[0-9]{1,40}(?![0-9/.,:\-]*[0-9])"
    r"|(?:[0-9]|\.[0-9])[0-9.,:/\-]*(?:e[-+]?[0-9]+)?)"
)
_NOT_ALONE = re.compile(r"[\^_{]|[a-z]+[0-9]")  # behind a number: it is part of an expression or a name


def _unicode(text: str) -> str:
    text = _INVISIBLE.sub("", text)
    text = _THIN_THOUSANDS.sub("", text)
    text = _POWER.sub("^", _VULGAR.sub(" ", text))
    text = unicodedata.normalize("NFKC", _bounded_marks(text)).casefold()
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = _INVISIBLE.sub("", text).translate(_DASHES).replace("\u2044", "/")
    return "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)


def _bounded_marks(text: str) -> str:
    """Drop combining marks past the 30th on one letter: sorting a long run of them takes quadratic time."""
    kept: list[str] = []
    run = 0
    for char in text:
        run = run + 1 if unicodedata.combining(char) else 0
        if run <= 30:
            kept.append(char)
    return "".join(kept)


def _peeled(text: str) -> str:
    """Take off what wraps an answer: spaces, emphasis, quotes, and the period at its end."""
    start, end = 0, len(text)
    while start < end:
        before = (start, end)
        while start < end and text[start] in _WRAP:
            start += 1
        while start < end and (text[end - 1] in _WRAP or text[end - 1] in ".。"):
            end -= 1
        if end - start > 1 and text[start] == text[end - 1] == "'":
            start, end = start + 1, end - 1
        if (start, end) == before:
            break
    return text[start:end]


def normal(text: str) -> str:
    """The normal form of an answer; the normal form of a normal form is itself. Linear in the text."""
    if "\\" in text or "{" in text:
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
    if "<<" in text:
        text = _NOTE.sub("", text)
    text = text.lower() if text.isascii() else _unicode(text)
    text = " ".join(_CONTROL.sub(" ", text).split())
    plain = _SIGNS.sub("", _THOUSANDS.sub(lambda match: match.group().replace(",", ""), text))
    plain = _peeled(" ".join(plain.split()))
    choice = _CHOICE.fullmatch(plain)
    return choice.group(1) if choice else plain or text


def number(text: str) -> Fraction | None:
    """The value of a normal form that is one number as a whole; None for anything else."""
    if len(text) <= _DIGITS and text.isascii() and text.isdigit():
        return Fraction(int(text))
    match = _NUMBER.fullmatch(text) if len(text) <= 2 * _DIGITS + 20 else None
    if match is None:
        return None
    part = match.groupdict()
    sign = -1 if part["sign"] == "-" else 1
    if part["whole"]:
        whole, upper, lower = (_decimal(part[name]) for name in ("whole", "part", "of"))
        if whole is None or upper is None or lower is None or not upper < lower:
            return None
        return sign * (whole + upper / lower)
    if part["over"]:
        upper, lower = _decimal(part["over"]), _decimal(part["under"])
        return sign * upper / lower if upper is not None and lower else None
    value = _decimal(part["plain"])
    exponent = part["exponent"] or "0"
    if value is None or len(exponent) > 4 or abs(int(exponent)) > _DIGITS:
        return None
    return sign * value * Fraction(10) ** int(exponent)


def _decimal(text: str) -> Fraction | None:
    if len(text) > _DIGITS:
        return None
    whole, _, rest = text.partition(".")
    return Fraction(int((whole + rest) or "0"), 10 ** len(rest))


def numbers(text: str) -> list[tuple[str, Fraction | None]]:
    """What looks like a number in a normal form, in order.

    Returns:
        The text of each and its value; None for what has digits and is no number: dates, times, versions, ranges,
        `1,5`, the 3 of `3x4`.
    """
    found = []
    for match in _TOKEN.finditer(text):
        token = match.group().rstrip(".,:/-")
        alone = match.end() - match.start() != len(token) or not _NOT_ALONE.match(text, match.end())
        found.append((token, number(token) if alone else None))
    return found
