"""Tables at every width: columns are left out and named, no number is cut."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from esper_karn import ClosingTable, RunReport
from esper_karn.terminal.layout import Column, FittedTable, TableVariant, wrapped
from esper_leyline import RoundSummary, RunSummary

UNLIMITED = 100_000
FLOATS = st.sampled_from([float("nan"), 1e308, -1e308, -0.0, 1e12, 12345.678, -1.5, 1e-320])
COUNTS = st.sampled_from([0, 7, 1234, 10**12, 10**15])
OPS = ["WAIT", "GERMINATE", "SET_ALPHA_TARGET", "PRUNE", "FOSSILIZE", "ADVANCE"]


def printed(renderable, width):
    console = Console(file=io.StringIO(), width=width, _environ={})
    console.print(renderable)
    return console.file.getvalue()


def pieces(text):
    """Numbers and words: what stands between blanks, dashes of ranges, slashes and commas."""
    return set(re.split(r"[\s/–;:()]+|,\s", text))


@st.composite
def rounds(draw):
    return RoundSummary(
        round=1,
        episodes=2,
        mean_return=draw(FLOATS),
        mean_accuracy=draw(FLOATS),
        best_accuracy=draw(FLOATS),
        ops={name: draw(COUNTS) for name in OPS},
        germinated=draw(COUNTS),
        fossilized=draw(COUNTS),
        pruned=draw(COUNTS),
        grown_parameters=draw(FLOATS),
        seconds=1.0,
    )


def summary_of(*summaries):
    numbered = [each.model_copy(update={"round": n}) for n, each in enumerate(summaries, 1)]
    return RunSummary(
        run_id="r",
        command="ppo",
        task="mnist1d",
        status="completed",
        started=0.0,
        seconds=3725.0,
        rounds=tuple(numbered),
        host_parameters=10**12,
    )


@settings(max_examples=40)
@given(width=st.integers(20, 300), summaries=st.lists(rounds(), min_size=1, max_size=3))
def test_no_number_of_a_closing_table_is_cut_at_any_width(width, summaries):
    table = ClosingTable(RunReport.of(summary_of(*summaries)))
    whole = printed(table, UNLIMITED)
    lines = printed(table, width).splitlines()
    assert max(len(line) for line in lines) <= width
    shown = pieces("\n".join(lines))
    known = pieces(whole) | {"acc%", "best%", "germ", "alph", "prun", "foss", "adv", "seeds"}
    left_out = {"left", "out", "at", "columns", str(width)}
    left_out |= pieces("a wider screen or a pipe (| cat) has them")
    bars = {piece for piece in shown if set(piece) <= {"─"}}
    assert shown - known - left_out - bars <= {""}


@settings(max_examples=40)
@given(
    width=st.integers(20, 300),
    cells=st.lists(
        st.lists(st.integers(0, 10**14), min_size=3, max_size=3), min_size=1, max_size=9
    ),
)
@example(width=20, cells=[(10**14, 10**14, 10**14)])
def test_a_column_is_printed_whole_or_named(width, cells):
    names = [f"column{number}" for number in range(len(cells))]
    columns = [
        Column(head=name, cells=[f"{value:,}" for value in column], rank=number)
        for number, (name, column) in enumerate(zip(names, cells, strict=True))
    ]
    text = printed(FittedTable(TableVariant(columns=columns)), width)
    named = set(re.findall(r"column\d", text.partition("left out")[2]))
    for column in columns:
        whole = all(re.search(rf"(?<![\d,]){cell}(?![\d,])", text) for cell in column.cells)
        assert whole or column.head in named


def table(name="one", **changes):
    columns = [
        Column(head="name", cells=[name, "two"], left=True),
        Column(head="value", cells=["1", "22"], rank=1),
        Column(head="wait", cells=["3,000", "4"], rank=2),
    ]
    return FittedTable(TableVariant(columns=columns), **changes)


def test_the_column_of_the_highest_rank_is_left_out_first_and_named():
    assert (
        printed(table(rule=False), 18)
        == "name  value   wait\none       1  3,000\ntwo      22      4\n"
    )
    assert printed(table(rule=False), 17) == (
        "name  value\none       1\ntwo      22\n"
        "left out at 17\ncolumns: wait; a\nwider screen or a\npipe (| cat) has\nthem\n"
    )


def test_each_value_has_a_line_if_nothing_fits():
    assert printed(table("first-run"), 7).splitlines() == [
        *("name", "first-r", "un", "  value", "  1", "  wait", "  3,000"),
        *("name", "two", "  value", "  22", "  wait", "  4"),
    ]


def test_the_first_variant_that_fits_is_printed():
    short = TableVariant(columns=[Column(head="n", cells=["1"])], notes=["n: the number"])
    both = FittedTable(
        TableVariant(columns=[Column(head="numbers", cells=["1"])]), short, rule=False
    )
    assert printed(both, 7) == "numbers\n      1\n"
    assert printed(both, 6) == "n\n1\nn: the\nnumber\n"


def test_sections_rules_and_styles():
    column = Column(head="a", cells=["1", "2"], styles=["red", ""])
    plain = printed(FittedTable(TableVariant(columns=[column]), breaks=frozenset({1})), 10)
    assert plain == "a\n─\n1\n\n2\n"
    console = Console(file=io.StringIO(), width=10, force_terminal=True, _environ={"TERM": "xterm"})
    console.print(FittedTable(TableVariant(columns=[column])))
    assert "\x1b[31m1\x1b[0m" in console.file.getvalue()


def test_wide_characters_are_measured_in_columns_of_the_terminal():
    columns = [Column(head="名前", cells=["x"], left=True), Column(head="n", cells=["1"])]
    assert (
        printed(FittedTable(TableVariant(columns=columns), rule=False), 20) == "名前  n\nx     1\n"
    )


def test_escape_sequences_in_cells_and_heads_are_escaped():
    column = Column(head="a\x1b[2J", cells=["\x9bm\r\n\u202e"])
    text = printed(FittedTable(TableVariant(columns=[column])), 100)
    assert "\\x9bm\\r\\n\\u202e" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("+1.25 to +2.50", ["+1.25 to", "+2.50"]),
        ("10–20", ["10–20"]),
        ("1234567–89", ["1234567–", "89"]),
        ("123456789012", ["12345678", "9012"]),
        ("", [""]),
    ],
)
def test_long_values_break_between_numbers(text, lines):
    assert list(wrapped(text, 8)) == lines


def test_a_long_name_is_folded_before_a_column_is_left_out():
    name = "schedule:germinate=1,blueprint=norm"
    columns = [
        Column(head="arm", cells=[name], left=True, fold=True),
        Column(head="value", cells=["12"], rank=1, name="value of arm"),
    ]
    fitted = FittedTable(TableVariant(columns=columns), rule=False)
    assert printed(fitted, 45).splitlines()[1] == f"{name}     12"
    assert [line.rstrip() for line in printed(fitted, 30).splitlines()] == [
        "arm                      value",
        "schedule:germinate=1,bl     12",
        "ueprint=norm",
    ]
    assert "value of arm; a wider" in " ".join(printed(fitted, 20).split())
