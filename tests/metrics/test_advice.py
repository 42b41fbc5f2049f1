from pepo_rlhf.config import Config
from pepo_rlhf.metrics.advice import diagnose

HEALTHY = {"zero_std_groups": 0.25, "weight_p20": 0.9, "weight_p80": 1.1, "truncated": 0.0, "reward_errors": 0.0}


def findings(*changes, method="pepo", dynamic_filtering=False, estimator="group_norm"):
    """Of a run whose steps are healthy but for the changes."""
    config = Config()
    config.pepo.method, config.algo.advantage.estimator = method, estimator
    config.algo.dynamic_filtering_enable = dynamic_filtering
    return diagnose([HEALTHY | change for change in changes], config)


def test_a_healthy_run_gets_no_advice():
    assert findings(*[{}] * 12) == {}


def test_equal_rewards_name_the_filter():
    assert "--algo.dynamic_filtering_enable" in findings({"zero_std_groups": 1.0})["equal_rewards"]
    assert not findings({"zero_std_groups": 1.0}, {"zero_std_groups": 0.875})
    assert not findings({"zero_std_groups": 1.0}, estimator="reinforce"), "which learns from equal rewards too"
    assert "max_resamples" in findings({"zero_std_groups": 1.0}, dynamic_filtering=True)["equal_rewards"]


def test_even_weights_name_the_temperature_unless_they_are_meant_to_be_even():
    even = {"weight_p20": 0.995, "weight_p80": 1.014}  # 1.0191 apart
    assert "lower --pepo.settings.temperature" in findings(even)["even_weights"]
    assert not findings({"weight_p20": 0.99, "weight_p80": 1.01})  # 1.0202 apart
    assert not findings(even, method="uniform")


def test_even_weights_of_other_methods_name_what_spreads_those():
    even = {"weight_p20": 1.0, "weight_p80": 1.01}
    assert "lower --pepo.settings.top_fraction" in findings(even, method="high_entropy")["even_weights"]
    assert "raise --pepo.settings.alpha" in findings(even, method="vgpo")["even_weights"]
    assert "--pepo.no_image" in findings({"weight_p20": 1.0, "weight_p80": 1.0})["even_weights"]


def test_a_hard_mask_is_not_even():
    assert not findings({"weight_p20": 0.0, "weight_p80": 1.0}, method="high_entropy")
    assert not findings({"weight_p20": 0.0, "weight_p80": 0.0}, method="high_entropy")


def test_a_batch_without_token_metrics_gets_no_advice_on_weights():
    assert diagnose([{"truncated": 0.0}], Config()) == {}


def test_high_truncation_names_the_length():
    assert "--rollout.max_new_tokens" in findings(*[{"truncated": 0.3}] * 2)["truncation"]


def test_growing_truncation_is_told_before_it_is_high():
    growing = [{"truncated": 0.05}] * 5 + [{"truncated": 0.1}] * 5
    assert "truncation" in findings(*growing)
    assert not findings(*growing[:-1])
    assert not findings(*[{"truncated": 0.1}] * 10), "a share that stays is not growing"


def test_slow_growth_is_found_too():
    slow = [{"truncated": share} for share in (0.05, 0.09, 0.16) for _ in range(5)]
    assert "truncation" in findings(*slow), "0.16 is more than twice 0.05, ten steps before"
    assert not findings(*slow[:10])


def test_grader_errors_of_a_runs_first_steps_are_found():
    assert "grader_errors" in findings(*[{}] * 3, *[{"reward_errors": 0.05}] * 3)


def test_growing_grader_errors_name_the_limits():
    line = findings(*[{}] * 9, {"reward_errors": 0.01})["grader_errors"]
    assert "--reward.timeout_seconds" in line and "0.2%" in line
    assert not findings(*[{"reward_errors": 0.01}] * 10)
