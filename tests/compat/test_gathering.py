"""ZeRO-3 between two processes of a CPU: what is written into gathered weights stays."""

import os
import socket
import subprocess
import sys

PROGRAM = """
from pepo_rlhf import compat
compat.install()
import deepspeed, torch
deepspeed.init_distributed("gloo", verbose=False)
config = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": 3}}
with deepspeed.zero.Init(config_dict_or_path=config):
    model = torch.nn.Linear(64, 8192)  # the weight takes longer to gather than the bias
for number in range(100):
    with deepspeed.zero.GatheredParameters(list(model.parameters()), modifier_rank=0):
        if torch.distributed.get_rank() == 0:
            for parameter in model.parameters():
                parameter.data.fill_(number)
    with deepspeed.zero.GatheredParameters([model.weight]):
        assert (model.weight == number).all(), number
print("all stayed")
"""


def test_weights_that_are_written_while_gathered_stay_as_they_were_written():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []
    for rank in ("0", "1"):
        place = {"RANK": rank, "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", PROGRAM],
                env=os.environ | place | {"OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0 and "all stayed" in output, output[-2000:]
