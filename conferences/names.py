"""Normalise names and comments, and find characters in them that are not displayed (RFC 8265, RFC 8266)."""

import re
import unicodedata

# The most code points that are normalised. A name has at most 128 characters, and this allows 4 code points for each.
# Normalisation blocks all other threads, and takes time in proportion to the square of the length of a run of combining
# marks.
LONGEST_TYPED = 4 * 128

# Characters that a comment must not contain: control characters except the newline, lone surrogates, and those that
# change the direction of the text around them. Other invisible characters are allowed, because emoji contain them.
_NOT_IN_COMMENTS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SPACES = re.compile("[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
# Control and format characters (zero-width, bidirectional), lone surrogates, line and paragraph separators.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Other characters that are not displayed: Default_Ignorable_Code_Point (Unicode Standard Annex 44) except the variation
# selectors of emoji, blank characters (Braille, Khitan, a musical notehead), and noncharacters.
_HIDDEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0d\uffa0\ufff0-\ufff8"
    "\U00016fe4\U0001d159\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ufdd0-\ufdef]"
    "|[" + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF)) + "]"
)
# A variation selector is hidden, except after an emoji or in a keycap. Emoji have the category So, except those in
# `_OTHER_EMOJI`.
_SELECTOR = re.compile("[\ufe0e\ufe0f]")
_KEYCAP = re.compile("[0-9#*]\ufe0f\u20e3")
_OTHER_EMOJI = frozenset("\u203c\u2049\u2139\u2194\u25fb\u25fc\u25fd\u25fe\u2934\u2935\u3030")


def normalize_name(name: str) -> str:
    """Return the form in which names are stored and compared: NFC with single ASCII spaces (RFC 8266 section 2.1)."""
    return _SPACES.sub(" ", unicodedata.normalize("NFC", name)).strip(" ")


def has_hidden(name: str) -> bool:
    """Tell whether a name contains characters that are not displayed. Such a name could imitate another one."""
    if _HIDDEN.search(name) or any(unicodedata.category(character) in _HIDDEN_CATEGORIES for character in name):
        return True
    rest = f" {_KEYCAP.sub('', name)}"
    return any(
        unicodedata.category(before) != "So" and before not in _OTHER_EMOJI
        for before in (rest[match.start() - 1] for match in _SELECTOR.finditer(rest))
    )


def is_visible(name: str) -> bool:
    """Tell whether a name contains a visible character. Spaces and combining marks do not count."""
    return any(unicodedata.category(character)[0] not in "ZM" for character in name)


def normalize_comment(comment: str) -> str:
    """Return the form in which comments are stored: NFC, without surrounding white space."""
    return unicodedata.normalize("NFC", comment).strip()


def is_plain(comment: str) -> bool:
    """Tell whether a comment has no control characters except newlines, and none that change its direction."""
    return _NOT_IN_COMMENTS.search(comment) is None
