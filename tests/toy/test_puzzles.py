from __future__ import annotations

from pepo_rlhf.rewards import load_rewards
from pepo_rlhf.toy.puzzles import COLOURS, PuzzleRow, generate


def test_the_pattern_by_hand() -> None:
    # red green blue / green blue red / blue red ?
    row = PuzzleRow(("red", "green", "blue"), 8, ("orange", "green", "blue", "red"))
    assert row.answer == "green"
    assert row.problem.endswith("A. orange\nB. green\nC. blue\nD. red\nAnswer with the letter of the right option.")
    picture = row.draw()
    seen = [[picture.getpixel((28 * column + 14, 28 * line + 20)) for column in range(3)] for line in range(3)]
    red, green, blue = COLOURS["red"], COLOURS["green"], COLOURS["blue"]
    assert seen[0] == [red, green, blue] and seen[1] == [green, blue, red] and seen[2][:2] == [blue, red]
    assert seen[2][2] not in COLOURS.values()


def test_answers_score_by_letter_and_by_value() -> None:
    reward = load_rewards(["choice"])
    for row in generate(20, seed=0):
        for letter, option in zip("ABCD", row.options, strict=True):
            for answer in (letter, option):
                score = reward(f"<think></think><answer>{answer}</answer>", row.label)["choice"]
                assert score == (option == row.answer)


def test_seeds_repeat_and_splits_share_no_puzzle() -> None:
    train, test = generate(100, seed=0), generate(30, seed=0, split="test")
    assert generate(100, seed=0) == train
    assert set(train).isdisjoint(test)


def test_splits_share_no_picture() -> None:
    held_out = {row.draw().tobytes() for row in generate(100, seed=0, split="test")}
    assert held_out.isdisjoint(row.draw().tobytes() for row in generate(300, seed=0))
