"""JSON from files: strict, bounded, and never a wait."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import ConfigError, LeylineError, read_config
from esper_leyline.files.json_files import MOST_BYTES, MOST_LEVELS, parse_json, read_json

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_a_json_round_trip_changes_nothing(value):
    assert parse_json(json.dumps(value)) == value


@given(st.text() | st.text(alphabet='[]{}":,\\ 0e1.+-"aN'))
def test_any_text_is_json_or_an_error_of_one_line(text):
    message = complaint(text)
    assert message.isprintable()
    assert len(message) < 400


def complaint(text: str) -> str:
    """Returns why a text is refused; nothing where it is JSON."""
    try:
        parse_json(text)
    except LeylineError as error:
        return str(error)
    return ""


@given(st.text(), values, values)
def test_a_key_given_twice_is_refused(key, first, second):
    name, one, two = map(json.dumps, (key, first, second))
    with pytest.raises(LeylineError, match="twice in one object"):
        parse_json(f'[{{{name}: {one}, "other {len(key)}": 0, {name}: {two}}}]')


@given(st.integers(0, 2 * MOST_LEVELS), st.sampled_from(["[]", '{"a":}']))
def test_nesting_has_a_limit(levels, brackets):
    begin, end = brackets[:-1], brackets[-1]
    text = begin * levels + "0" + end * levels
    if levels <= MOST_LEVELS:
        parse_json(text)
    else:
        with pytest.raises(LeylineError, match=f"nested more than {MOST_LEVELS} levels"):
            parse_json(text)


def test_brackets_in_texts_do_not_count():
    assert parse_json(json.dumps("[" * 1000 + '"' + "{" * 1000)).count("[") == 1000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 3000 + "]" * 3000, "levels deep"),
        ('{"a": ' * 3000 + "1" + "}" * 3000, "levels deep"),
        ('{"a": 1, "a": 2}', "names the key 'a' twice"),
        ("NaN", "contains NaN"),
        ("[-Infinity]", "contains -Infinity"),
        ("1e999", "contains 1e999, which is beyond"),
        ("9" * 5000, "is not JSON: "),
        ("", "is not JSON: "),
        (" " * (MOST_BYTES + 1), "has more than 1,000,000 characters"),
    ],
)
def test_invalid_json_is_refused(text, says):
    with pytest.raises(LeylineError, match=says):
        parse_json(text)


def places(folder: Path) -> dict[Path, str]:
    """Returns paths that are no regular files, and what a message calls each of them."""
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    return {
        pipe: "is a named pipe",
        folder: "is a folder",
        Path("/dev/zero"): "is a device",
        folder / "missing": "cannot be read: No such file",
        folder / ("n" * 300): "cannot be read: File name too long",
    }


def test_only_regular_files_are_opened(tmp_path):
    for path, words in places(tmp_path).items():
        with pytest.raises(LeylineError, match=words):
            read_json(path)
        with pytest.raises(ConfigError, match=words):
            read_config(path)


def test_a_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(2**40)  # a sparse file, as endless as a disk allows
    with pytest.raises(ConfigError, match=r"has more than 1,000,000 bytes"):
        read_config(path)
