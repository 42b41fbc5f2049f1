"""What the policy worker computes of a micro-batch, by the names that it is asked for. No Ray, no DeepSpeed."""

import pytest

from pepo_rlhf.core.signals import BUILT_IN
from pepo_rlhf.workers.micro_batch import MicroBatch


@pytest.mark.parametrize(
    ("asked", "found", "num_passes"),
    [
        ((), {"entropy"}, 1),
        (("visual_similarity",), {"entropy", "visual_similarity"}, 1),
        (BUILT_IN, set(BUILT_IN), 2),
    ],
)
def test_what_is_not_asked_for_is_not_computed(worker, micro_batch, asked, found, num_passes):
    passes = []
    hook = worker.actor.model.register_forward_hook(lambda *arguments: passes.append(1))
    scores = worker.score(micro_batch, asked)
    hook.remove()
    assert scores.signals.keys() == found and len(passes) == num_passes
    assert all(values.shape == micro_batch.action_mask.shape for values in scores.signals.values())


def test_a_row_without_an_image_depends_on_none_and_others_do(worker, micro_batch):
    signals = worker.score(micro_batch, BUILT_IN).signals
    mask = micro_batch.action_mask.bool()
    for name in ("image_dependence", "image_sensitivity"):
        assert signals[name][2].abs().max() < 1e-5
        assert signals[name][:2][mask[:2]].max() > 1e-3
        assert not signals[name][~mask].any()


def test_a_micro_batch_without_any_image_makes_the_second_pass_too(worker, micro_batch):
    """Its rank must, under ZeRO-3, when the others do."""
    rows = MicroBatch(*(tensor[2:] for tensor in micro_batch[:3]), [None], [None])
    passes = []
    hook = worker.actor.model.register_forward_hook(lambda *arguments: passes.append(1))
    signals = worker.score(rows, ("image_dependence",)).signals
    hook.remove()
    assert len(passes) == 2 and signals["image_dependence"].abs().max() < 1e-5
