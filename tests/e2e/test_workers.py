"""Policy, reference and rollout workers on one set of real engines: scores, weight sync, placeholders, blindness."""

import copy
import io
import json
from pathlib import Path

import pytest
import ray
import torch
from PIL import Image
from vllm import SamplingParams

from pepo_rlhf.config import Config, to_arguments
from pepo_rlhf.controller import cluster, vision_check
from pepo_rlhf.controller.prompts import PromptDataset
from pepo_rlhf.core.similarity import visual_similarity
from pepo_rlhf.data import LoadedRows, Row, load_rows
from pepo_rlhf.data.images import decode_image
from pepo_rlhf.data.prompt import choose_prompts
from pepo_rlhf.workers.policy import vision_token_ids


@pytest.fixture(scope="module")
def args(tiny_model, problems, tmp_path_factory):
    config = Config()
    config.actor.model_name_or_path, config.data.prompt_dataset = str(tiny_model), str(problems)
    config.actor.freeze_visual_encoder = False
    config.data.max_len = 448
    config.data.min_pixels, config.data.max_pixels = 84 * 84, 140 * 140  # the model's own: 56 * 56, 112 * 112
    config.train.batch_size = config.train.micro_batch_size = 4
    config.vllm.enforce_eager = True
    config.run.dir = str(tmp_path_factory.mktemp("run"))
    return to_arguments(config)


@pytest.fixture(scope="module")
def groups(args):
    """(policy group, engines): one worker each, loaded from the same folder."""
    from openrlhf.trainer.ray.launcher import RayActorGroup
    from openrlhf.utils import get_strategy

    from pepo_rlhf.controller import placement
    from pepo_rlhf.workers.policy import PolicyActor

    cluster.connect(args)
    engines = placement.start_engines(args, None)
    policy = RayActorGroup(1, 1, PolicyActor, num_gpus_per_actor=1)
    ray.get(policy.async_init_model_from_pretrained(get_strategy(args), args.actor.model_name_or_path, 10, engines))
    yield policy, engines
    placement.stop_engines(engines)
    ray.shutdown()


@pytest.fixture(scope="module")
def workers(groups):
    """(policy actor, engine)."""
    policy, engines = groups
    return policy._actor_handlers[0], engines[0]


@pytest.fixture(scope="module")
def processor(args):
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(args.actor.model_name_or_path)


@pytest.fixture(scope="module")
def prompt(args, processor):
    """(prompt text, label, images) of the first problem."""
    return PromptDataset(load_rows(args.data.prompt_dataset), processor)[0][1:]


def sample(engine, args, prompt, num_samples=2, seed=0, **params):
    text, label, images = prompt
    defaults = {"temperature": 1.0, "max_tokens": 24, "logprobs": 0, "seed": seed}
    return ray.get(
        engine.generate_responses.remote(
            text, label, images, SamplingParams(**(defaults | params)), args.data.max_len, num_samples
        )
    )


def micro_batch(response):
    """One response as the arguments of the policy's forward."""
    sequences = torch.tensor([response["observation_tokens"]])
    start, end = response["action_ranges"][0]
    action_mask = torch.zeros(1, sequences.shape[1] - 1, dtype=torch.long)
    action_mask[:, start - 1 : end - 1] = 1
    return {
        "sequences": sequences,
        "action_mask": action_mask,
        "attention_mask": torch.ones_like(sequences),
        "mm_train_inputs_list": [response["mm_train_inputs"]],
    }


def score(policy, response):
    """The policy's scores of one response, and the log-probs that it was sampled with, at its tokens."""
    start, end = response["action_ranges"][0]
    scores = ray.get(policy.forward.remote(**micro_batch(response)))
    return scores, torch.tensor(response["rollout_log_probs"][start:]), slice(start - 1, end - 1)


def gap(policy, responses):
    """Mean |rollout - trainer| log-prob in nats."""
    gaps = []
    for response in responses:
        scores, rollout, columns = score(policy, response)
        gaps.append((scores.action_log_probs[0, columns] - rollout).abs())
    return torch.cat(gaps).mean().item()


def test_scores_equal_the_formulas_over_hidden_states_and_logits(args, workers, prompt):
    policy, engine = workers
    response = sample(engine, args, prompt, num_samples=1)[0]
    scores, _, columns = score(policy, response)

    def reference(worker):
        """The definition, from Hugging Face's own outputs of the very same model."""
        ids = torch.tensor([response["observation_tokens"]])
        model = worker.actor.model.module
        mask = ids == model.config.image_token_id
        with torch.no_grad():
            output = model(
                input_ids=ids, mm_token_type_ids=mask.int(), output_hidden_states=True, **response["mm_train_inputs"]
            )
        log_probs = output.logits.double().log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)[0, :-1]
        taken = log_probs[0, :-1].gather(-1, ids[0, 1:, None])[:, 0]
        return taken, visual_similarity(output.hidden_states, mask)[0, 1:], entropy, int(mask.sum())

    log_probs, similarity, entropy, num_visual = ray.get(policy.__ray_call__.remote(reference))
    assert num_visual > 4
    torch.testing.assert_close(scores.action_log_probs[0, columns].double(), log_probs[columns], atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(scores.visual_similarity[0, columns], similarity[columns], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(scores.entropy[0, columns].double(), entropy[columns], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("side", "num_visual"),
    [
        (28, 9),  # enlarged to 84 x 84: 3 x 3 visual tokens of 28 x 28 pixels, where the model's own limit makes 4
        (112, 16),  # within the limits
        (280, 25),  # shrunk to 140 x 140: 5 x 5, where the model's own limit makes 16
    ],
)
def test_pixel_limits_hold_in_trainer_and_engine(args, workers, processor, side, num_visual):
    """The engine's prompt is compared with the trainer's in every call: had it other limits, this would raise."""
    _, engine = workers
    png = io.BytesIO()
    Image.new("RGB", (side, side), "white").save(png, "PNG")
    row = Row("<image>Find x.", (png.getvalue(),), "13", "here:row 1", "here")
    (item,) = PromptDataset(LoadedRows([row], num_skipped=0), processor)
    response = sample(engine, args, item[1:], num_samples=1)[0]
    assert response["observation_tokens"].count(processor.image_token_id) == num_visual


def test_rollout_and_trainer_agree_before_any_update(args, workers, prompt):
    policy, engine = workers
    assert gap(policy, sample(engine, args, prompt)) < 0.03


def test_same_seed_same_responses_and_samples_differ(args, workers, prompt):
    _, engine = workers
    first, again = (sample(engine, args, prompt, seed=5) for _ in range(2))
    assert [r["observation_tokens"] for r in first] == [r["observation_tokens"] for r in again]
    assert first[0]["observation_tokens"] != first[1]["observation_tokens"]


def test_more_prompts_at_once_than_one_engine_step_takes(args, workers, prompt):
    """vLLM would cut the last of them in two, and die of it on a CPU: see compat/cpu.py."""
    _, engine = workers
    text, label, images = prompt
    params = SamplingParams(temperature=1.0, max_tokens=2, logprobs=0, seed=0)
    calls = [engine.generate_responses.remote(text, label, images, params, args.data.max_len, 4) for _ in range(40)]
    assert [len(responses) for responses in ray.get(calls)] == [4] * 40


def test_placeholders_cannot_be_sampled(args, workers, prompt, processor):
    """Even when the policy wants nothing else: the bias that the samples generator sets beats any logit."""
    from pepo_rlhf.controller.rollouts import forbidden_tokens

    _, engine = workers
    ids = vision_token_ids(processor)
    wanted = {token: 60.0 for token in ids}
    wanting = sample(engine, args, prompt, max_tokens=4, logit_bias=wanted, num_samples=1)[0]
    start = wanting["action_ranges"][0][0]
    assert set(wanting["observation_tokens"][start:]) <= ids, "the test's premise: unforbidden, they are sampled"
    forbidden = sample(
        engine, args, prompt, temperature=2.0, max_tokens=24, num_samples=16, logit_bias=forbidden_tokens(processor)
    )
    for response in forbidden:
        assert not ids & set(response["observation_tokens"][response["action_ranges"][0][0] :])


def test_prompt_that_does_not_fit_is_refused_with_the_flag(args, workers, prompt):
    _, engine = workers
    with pytest.raises(ray.exceptions.RayTaskError, match="--data.max_len"):
        sample(engine, args, prompt, max_tokens=args.data.max_len)


@pytest.fixture
def gate(args, groups, processor):
    """Runs the blindness gate; returns what is wrong, and the record in the run folder."""
    prompts = choose_prompts(PromptDataset(load_rows(args.data.prompt_dataset), processor))

    def run():
        fault = vision_check.gate(args, *groups, prompts, processor)
        return fault, json.loads((Path(args.run.dir) / "blindness.json").read_text())

    return run


def change_weights(policy, part, change):
    """Replaces weights of the policy whose name contains `part`, and returns a call that puts the old ones back."""

    def edit(worker):
        named = {name: weight for name, weight in worker.actor.model.module.named_parameters() if part in name}
        assert named, part
        old = {name: weight.detach().clone() for name, weight in named.items()}
        with torch.no_grad():
            for weight in named.values():
                weight.copy_(change(weight))
        return old

    def restore(worker, old):
        with torch.no_grad():
            for name, weight in worker.actor.model.module.named_parameters():
                if name in old:
                    weight.copy_(old[name])

    old = ray.get(policy.__ray_call__.remote(edit))
    return lambda: ray.get(policy.__ray_call__.remote(restore, old))


def test_blindness_gate_passes_a_random_model(gate):
    fault, measured = gate()
    assert fault is None
    assert measured["num_responses"] == 4
    # Another image changes more than repetition does, by a wide margin.
    for side in ("policy", "engine"):
        assert min(measured[side]["blank"], measured[side]["swapped"]) > 5 * measured["limits"]["change"]


def test_blindness_gate_names_the_side_whose_image_path_is_cut(workers, gate):
    policy, _ = workers
    restore = change_weights(policy, "visual.merger.mlp.2", torch.zeros_like)  # weight and bias: features are constant
    assert gate()[0].startswith("policy is blind: ")
    ray.get(policy.broadcast_to_vllm.remote())
    fault, measured = gate()
    assert fault.startswith("policy and rollout engine are blind: ")
    assert measured["policy"]["blank"] == measured["engine"]["blank"] == 0
    restore()
    assert gate()[0].startswith("rollout engine is blind: ")
    ray.get(policy.broadcast_to_vllm.remote())
    assert gate()[0] is None


def test_blindness_gate_stops_where_policy_and_engine_have_different_weights(workers, gate):
    policy, _ = workers

    def disturb(weight):
        return weight + torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)).to(weight.dtype) * 0.1

    restore = change_weights(policy, "language_model", disturb)
    fault, measured = gate()
    assert fault.startswith("policy and rollout engine disagree by ")
    assert measured["gap"] > measured["limits"]["gap"]
    restore()
    assert gate()[0] is None


def test_probe_leaves_the_sampling_temperature_out(args, workers, prompt):
    policy, engine = workers
    response = sample(engine, args, prompt, num_samples=1)[0]
    at_one = score(policy, response)[0].action_log_probs

    def probe_at_two(worker, batch):
        worker.actor.sampling_temperature = 2.0
        probed, scored = worker.probe(**batch), worker.forward(**batch).action_log_probs
        worker.actor.sampling_temperature = 1.0
        return probed, scored

    probed, at_two = ray.get(policy.__ray_call__.remote(probe_at_two, micro_batch(response)))
    assert probed.equal(at_one)
    assert not at_two.equal(at_one)


def test_probe_names_a_prompt_without_image_tokens(args, workers, prompt):
    _, engine = workers
    text, _, images = prompt
    blind = text.replace("<|vision_start|><|image_pad|><|vision_end|>", "")
    assert blind != text
    with pytest.raises(ray.exceptions.RayTaskError, match="has no image tokens.*chat template"):
        ray.get(engine.probe.remote(blind, images, images, SamplingParams(max_tokens=4), args.data.max_len))


def test_sync_carries_language_and_vision_weights_and_drops_old_images(args, workers, prompt):
    policy, engine = workers

    def disturb(worker, part):
        with torch.no_grad():
            generator = torch.Generator().manual_seed(1)
            for name, weight in worker.actor.model.module.named_parameters():
                if part in name and weight.dim() > 1:
                    weight.add_(torch.randn(weight.shape, generator=generator) * 0.2)

    for part in ("language_model", "visual"):
        ray.get(policy.__ray_call__.remote(disturb, part))
        stale = gap(policy, sample(engine, args, prompt))
        ray.get(policy.broadcast_to_vllm.remote())
        fresh = gap(policy, sample(engine, args, prompt))
        assert stale > 0.1, f"disturbing {part} must show before the sync"
        assert fresh < 0.06, f"after the sync the engine still answers with old {part} weights"


def test_a_prompt_is_cached_for_its_samples_until_a_sync(args, workers, prompt):
    policy, engine = workers
    text, label, images = prompt
    response = sample(engine, args, (text + "count " * 50, label, images), num_samples=1)[0]
    tokens = response["observation_tokens"][: response["action_ranges"][0][0]]
    assert len(tokens) > 256, "vLLM caches whole blocks, of 128 tokens on a CPU"
    pictures = {"image": [decode_image(image) for image in images]}

    def num_cached():
        return ray.get(engine.generate.remote(tokens, SamplingParams(max_tokens=1), pictures)).num_cached_tokens

    assert num_cached() == 256
    ray.get(policy.broadcast_to_vllm.remote())
    assert num_cached() == 0, "keys and values of old weights"
    assert num_cached() == 256


def test_a_prompt_is_encoded_once_for_its_samples(args, workers, prompt):
    _, engine = workers

    def count(worker):
        from pepo_rlhf.workers import rollout

        worker.originals, worker.counts = {}, {}
        for name in ("encode_prompt", "decode_image"):
            worker.originals[name], worker.counts[name] = getattr(rollout, name), 0

            def counted(*arguments, name=name):
                worker.counts[name] += 1
                return worker.originals[name](*arguments)

            setattr(rollout, name, counted)

    def restore(worker):
        from pepo_rlhf.workers import rollout

        for name, original in worker.originals.items():
            setattr(rollout, name, original)
        return worker.counts

    ray.get(engine.__ray_call__.remote(count))
    responses = sample(engine, args, prompt, num_samples=4)
    assert len(responses) == 4 and len(prompt[2]) == 1
    assert ray.get(engine.__ray_call__.remote(restore)) == {"encode_prompt": 1, "decode_image": 1}


def test_a_weight_that_does_not_arrive_is_named(workers):
    policy, _ = workers

    def hide_one_weight(worker):
        worker.actor.model.module.register_parameter("forgotten", torch.nn.Parameter(torch.zeros(1)))
        send = worker.trainer._reload_engines

        def send_all_but_it():
            forgotten = worker.actor.model.module._parameters.pop("forgotten")
            send()
            worker.actor.model.module.register_parameter("forgotten", forgotten)

        worker.trainer._reload_engines = send_all_but_it

    def restore(worker):
        del worker.actor.model.module._parameters["forgotten"], worker.trainer._reload_engines

    ray.get(policy.__ray_call__.remote(hide_one_weight))
    with pytest.raises(ray.exceptions.RayTaskError, match="did not receive 1 weights.*forgotten"):
        ray.get(policy.broadcast_to_vllm.remote())
    ray.get(policy.__ray_call__.remote(restore))
    ray.get(policy.broadcast_to_vllm.remote())


def test_a_blind_prompt_is_an_error(args, workers, prompt):
    policy, engine = workers
    response = copy.deepcopy(sample(engine, args, prompt, num_samples=1)[0])
    image_token = max(set(response["observation_tokens"]), key=response["observation_tokens"].count)
    response["observation_tokens"] = [5 if token == image_token else token for token in response["observation_tokens"]]
    with pytest.raises(
        ray.exceptions.RayTaskError, match="1 prompts of a micro-batch have an image without image tokens"
    ):
        score(policy, response)
