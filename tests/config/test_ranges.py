import argparse

import pytest

from pepo_rlhf.config.ranges import AT_LEAST_1, FROM_0_TO_2, argument


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=argument(int, AT_LEAST_1))
    parser.add_argument("--heat", type=argument(float, FROM_0_TO_2))
    return parser


def test_numbers_in_the_range_are_taken(parser):
    assert vars(parser.parse_args(["--rows", "1", "--heat", "2"])) == {"rows": 1, "heat": 2.0}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--rows", "0"], "--rows: must be at least 1, not 0"),
        (["--rows", "-3"], "--rows: must be at least 1, not -3"),
        (["--rows", "1.5"], "--rows: must be a whole number, not 1.5"),
        (["--rows", str(2**63)], "--rows: is too large a number: give a smaller one"),
        (["--heat", "2.1"], "--heat: must be from 0 to 2, not 2.1"),
        (["--heat", "nan"], "--heat: is not a number: give one"),
        (["--heat", "hot"], "--heat: must be a number, not hot"),
    ],
)
def test_others_are_refused_by_their_flag(parser, capsys, words, problem):
    with pytest.raises(SystemExit):
        parser.parse_args(words)
    assert f"error: argument {problem}" in capsys.readouterr().err
