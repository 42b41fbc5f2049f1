"""What the policy worker computes of a micro-batch, by the names that it is asked for. No Ray, no DeepSpeed."""

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from pepo_rlhf.config import Config
from pepo_rlhf.core.signals import BUILT_IN
from pepo_rlhf.data.perturbations import Perturbation, perturb
from pepo_rlhf.data.prompt import encode_prompt
from pepo_rlhf.toy.tiny_vlm import build_tiny_qwen2_5_vl
from pepo_rlhf.workers.micro_batch import MicroBatch
from pepo_rlhf.workers.model import VisionLanguageActor
from pepo_rlhf.workers.policy import PolicyWorker

TEXT = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Find x.<|im_end|>\n"


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    folder = build_tiny_qwen2_5_vl(tmp_path_factory.mktemp("models") / "tiny")
    worker = object.__new__(PolicyWorker)
    worker.config, worker.tokenizer = Config(), AutoProcessor.from_pretrained(folder)
    worker.actor = VisionLanguageActor(str(folder), param_dtype="fp32")
    return worker


@pytest.fixture(scope="module")
def micro_batch(worker):
    """Two rows that share an image, and one without; the perturbed image is another one's."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (112, 84, 3), generator=generator, dtype=torch.uint8).numpy()
    picture = Image.fromarray(pixels)
    prompt, images = encode_prompt(worker.tokenizer, TEXT, [picture], {})
    _, perturbed = encode_prompt(worker.tokenizer, TEXT, perturb([picture], Perturbation("blank")), {})
    plain, _ = encode_prompt(worker.tokenizer, TEXT.replace("<|vision_start|><|image_pad|><|vision_end|>", ""), [], {})
    rows = [torch.tensor([*start, *range(20, 20 + length)]) for start, length in ((prompt, 5), (prompt, 3), (plain, 4))]
    sequences = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    attention_mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    action_mask = attention_mask.clone()
    for row, start in enumerate((prompt, prompt, plain)):
        action_mask[row, : len(start)] = 0
    return MicroBatch(
        sequences, action_mask[:, 1:], attention_mask, [images, images, None], [perturbed, perturbed, None]
    )


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
