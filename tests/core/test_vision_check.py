import pytest
import torch

from pepo_rlhf.core.vision_check import LIMITS, Changes, Findings, Limits, LogProbs, compare, describe, find_fault

SEEING = Changes(again=0.0, blank=0.3, swapped=0.2)
BLIND = Changes(again=0.0, blank=0.0, swapped=0.0)
LIMIT = Limits(change=0.001, gap=0.1)


def log_probs(true, again, blank, swapped):
    return LogProbs(*(torch.tensor(values) for values in (true, again, blank, swapped)))


def findings(policy=SEEING, engine=SEEING, gap=0.01):
    return Findings(policy, engine, gap, num_responses=4, num_tokens=100)


def test_changes_and_gap_are_means_over_the_tokens_of_all_responses():
    policy = [
        log_probs([-1.0, -2.0], [-1.0, -2.0], [-1.5, -2.0], [-1.0, -1.0]),
        log_probs([-3.0], [-3.0], [-4.0], [-3.0]),
    ]
    engine = [
        log_probs([-1.0, -2.25], [-1.0, -2.0], [-1.0, -2.25], [-1.0, -2.25]),
        log_probs([-2.75], [-2.75], [-2.75], [-5.75]),
    ]
    measured = compare(policy, engine)
    assert measured.policy == Changes(again=0.0, blank=pytest.approx(1.5 / 3), swapped=pytest.approx(1.0 / 3))
    assert measured.engine == Changes(again=pytest.approx(0.25 / 3), blank=0.0, swapped=pytest.approx(3.0 / 3))
    assert measured.gap == pytest.approx((0 + 0.25 + 0.25) / 3)
    assert (measured.num_responses, measured.num_tokens) == (2, 3)


def test_sides_that_see_and_agree_pass():
    assert find_fault(findings(), LIMIT) is None


@pytest.mark.parametrize(
    ("policy", "engine", "names"),
    [
        (BLIND, SEEING, "policy is blind"),
        (SEEING, BLIND, "rollout engine is blind"),
        (BLIND, BLIND, "policy and rollout engine are blind"),
    ],
)
def test_the_blind_side_is_named_with_what_to_look_at(policy, engine, names):
    # Blindness is the cause where both are wrong, so it is told and the gap is not.
    fault = find_fault(findings(policy, engine, gap=5.0), LIMIT)
    assert fault.startswith(f"{names}: ")
    assert all(word in fault for word in ("placeholders", "processor", "vision encoder"))


@pytest.mark.parametrize("changes", [Changes(0.0, 0.3, 0.0), Changes(0.0, 0.0, 0.3)])
def test_one_other_image_that_makes_a_difference_is_enough(changes):
    """A true image may itself be grey, and two rows may share one."""
    assert find_fault(findings(policy=changes), LIMIT) is None


@pytest.mark.parametrize(
    ("again", "blind"),
    [(0.09, False), (0.11, True)],  # three times 0.09 is below the change of 0.3, three times 0.11 above it
)
def test_a_change_within_what_repetition_changes_is_none(again, blind):
    fault = find_fault(findings(policy=Changes(again, blank=0.3, swapped=0.1)), LIMIT)
    assert (fault is not None) == blind


def test_a_gap_beyond_rounding_is_told_with_both_numbers():
    assert find_fault(findings(gap=0.1), LIMIT) is None
    fault = find_fault(findings(gap=0.25), LIMIT)
    assert fault.startswith("policy and rollout engine disagree by 0.25 nats a token, where rounding explains 0.1")
    assert "same weights" in fault and "--data.max_pixels" in fault


@pytest.mark.parametrize(
    "broken", [findings(gap=float("nan")), findings(policy=Changes(0.0, float("nan"), float("nan")))]
)
def test_numbers_that_are_none_do_not_pass(broken):
    assert find_fault(broken, LIMIT)


def test_float32_is_held_to_tighter_limits_than_bfloat16():
    assert LIMITS["fp32"].gap < LIMITS["fp16"].gap < LIMITS["bf16"].gap
    assert LIMITS["fp32"].change < LIMITS["fp16"].change < LIMITS["bf16"].change


def test_the_line_holds_every_measured_number():
    line = describe(findings(policy=Changes(0.01, 0.31, 0.22), engine=Changes(0.02, 0.33, 0.24), gap=0.05))
    assert all(number in line for number in ("0.01", "0.31", "0.22", "0.02", "0.33", "0.24", "0.05", "4", "100"))
