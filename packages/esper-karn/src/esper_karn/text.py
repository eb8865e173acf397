"""Makes text from logs, paths and errors safe to print on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Returns the text with every character that is not visible escaped.

    Escape sequences, other control characters, line breaks, bidirectional overrides,
    zero-width characters and lone surrogates (bytes of a file name that are not UTF-8)
    become ``\x1b``, ``\n``, ``\u202e`` and so on. The result is one line and can be
    encoded as UTF-8. Rich markup such as ``[red]`` is left alone: views print ``Text``
    objects, which do not read markup.

    Args:
        text: Any text that this process did not write itself.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
