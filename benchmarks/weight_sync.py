"""One weight sync of a model with more than 700 parameters into a real vLLM engine: in one transfer, and one by one.

Both drain the engine before and drop its caches after. One by one is upstream's way on CUDA: a remote call to the
engine for each parameter, which passes it to its worker. A CPU engine can only be reloaded as a whole, so there the
worker collects them and reloads at the end. What is counted are the calls to the engine.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import ray
import transformers
from safetensors.torch import load_file, save_file

from benchmarks.measure import row
from pepo_rlhf.config import Config
from pepo_rlhf.weight_sync.engine_extension import WeightSyncExtension
from pepo_rlhf.workers.rollout import RolloutWorker

NUM_LAYERS = 60


class CollectingExtension(WeightSyncExtension):
    def collect(self, path: str) -> None:
        self.collected = getattr(self, "collected", {}) | load_file(path)

    def reload_collected(self) -> None:
        self.reload_weights(weights_iterator=iter(self.collected.items()))
        self.collected = {}


class CollectingRollout(RolloutWorker):
    async def collect(self, name: str, tensor) -> None:
        with tempfile.NamedTemporaryFile(dir="/dev/shm", suffix=".safetensors") as file:
            save_file({name: tensor}, file.name)
            await self.llm.collective_rpc("collect", args=(file.name,))

    async def reload_collected(self) -> None:
        await self.llm.collective_rpc("reload_collected")


def run(rounds: int) -> list[dict]:
    from pepo_rlhf.controller import cluster, placement

    with tempfile.TemporaryDirectory() as folder:
        model = _build_model(Path(folder, "model"))
        weights = dict(model.named_parameters())
        config = _settings(folder)
        cluster.connect(config)
        placement.RolloutActor = ray.remote(CollectingRollout)
        engine_arguments = placement.engine_arguments
        placement.engine_arguments = lambda config: (
            engine_arguments(config) | {"worker_extension_cls": "benchmarks.weight_sync.CollectingExtension"}
        )
        engines = placement.start_engines(config, None)
        try:
            return _measure(engines[0], {name: weight.detach() for name, weight in weights.items()}, rounds)
        finally:
            placement.stop_engines(engines)
            ray.shutdown()


def _measure(engine, weights: dict, rounds: int) -> list[dict]:
    calls: dict[str, int] = {}

    def call(variant: str, method: str, *arguments) -> None:
        calls[variant] = calls.get(variant, 0) + 1
        ray.get(getattr(engine, method).remote(*arguments))

    def one_by_one(variant: str) -> None:
        for name, weight in weights.items():
            call(variant, "collect", name, weight)
        call(variant, "reload_collected")

    def in_one_transfer(variant: str) -> None:
        call(variant, "reload_weights", ray.put(weights))

    variants = {"one by one": one_by_one, "in one transfer": in_one_transfer}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds):
        for name, sync in variants.items():
            start = time.perf_counter()
            call(name, "begin_weight_update")
            sync(name)
            call(name, "finish_weight_update", number)
            seconds[name].append(time.perf_counter() - start)
    title = f"weight sync of {len(weights)} parameters"
    num_bytes = sum(weight.numel() * weight.element_size() for weight in weights.values())
    return [
        row(title, f"{name}: {calls[name] // rounds} remote calls", times, seconds["one by one"]) | {"bytes": num_bytes}
        for name, times in seconds.items()
    ]


def _build_model(path: Path):
    from pepo_rlhf.toy import tiny_vlm

    processor = tiny_vlm.build_processor()
    config = tiny_vlm.build_config(processor.tokenizer)
    config.text_config.num_hidden_layers = NUM_LAYERS
    config.text_config.layer_types = ["full_attention"] * NUM_LAYERS
    model = transformers.Qwen2_5_VLForConditionalGeneration(config)
    tiny_vlm.save(path, model, processor)
    return model.float()


def _settings(folder: str) -> Config:
    config = Config()
    config.actor.model_name_or_path = f"{folder}/model"
    config.data.max_len = 128
    config.ds.param_dtype = "fp32"
    config.vllm.enforce_eager = True
    config.run.dir = f"{folder}/run"
    return config
