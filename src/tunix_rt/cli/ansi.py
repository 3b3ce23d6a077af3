"""What a run printed, made safe for a terminal: colours may stay, nothing else is obeyed.

A run's output is hostile text: an escape sequence in it may set the clipboard, move the cursor over what was said
before, or retitle the window. Only the colours of SGR (`ESC [ numbers m`) pass, and only where the reader wants them;
line feeds, tabs and carriage returns stay; everything else that is not text is shown as an escape.
"""

import codecs
import re

RESET = "\x1b[0m"

# An SGR sequence longer than this is no colour, and a terminal need not wait for its end.
_SGR = re.compile(r"\x1b\[([0-9;:]{0,64})m")
_SGR_BEGUN = re.compile(r"\x1b(?:\[[0-9;:]{0,64})?\Z")

# Controls (C0, DEL, C1), and what is drawn as nothing but changes the order or the breaks of what is: marks and
# overrides of writing direction, line and paragraph separators, invisible operators, tags. Joiners stay: words need
# them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


class Filter:
    """Filters one stream of bytes, fed in pieces; where the pieces are cut changes nothing.

    Args:
        colours: keep the colours; else they are taken out.
    """

    def __init__(self, *, colours: bool) -> None:
        self.colours = colours
        self.coloured = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._held = ""

    def feed(self, piece: bytes) -> str:
        """The text that is certain after `piece`; a sequence that may go on is held back.

        Bytes that are not UTF-8 are shown as `\\xff`.
        """
        return self._pass(self._decoder.decode(piece), final=False)

    def end(self) -> str:
        """The rest, at the end of the stream; colours that are still on are switched off."""
        text = self._pass(self._decoder.decode(b"", final=True), final=True)
        reset, self.coloured = RESET if self.coloured else "", False
        return text + reset

    def _pass(self, text: str, final: bool) -> str:
        text = self._held + text
        begun = None if final else _SGR_BEGUN.search(text)
        if begun:
            text, self._held = text[: begun.start()], begun.group()
        else:
            self._held = ""
        shown, start = [], 0
        for found in _SGR.finditer(text):
            shown.append(_UNSAFE.sub(_escaped, text[start : found.start()]))
            if self.colours:
                shown.append(found.group())
                self.coloured = found.group(1).strip("0;") != ""
            start = found.end()
        shown.append(_UNSAFE.sub(_escaped, text[start:]))
        return "".join(shown)


def safe(text: str, *, colours: bool) -> str:
    """Filter a text that is there as a whole."""
    filter_ = Filter(colours=colours)
    return filter_.feed(text.encode("utf-8", "backslashreplace")) + filter_.end()


def _escaped(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode()
