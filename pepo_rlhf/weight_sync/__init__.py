"""The way of new weights from the policy's ranks to the rollout engines.

`sync.py` does what every sync needs: engines drain, take the weights, report what arrived, and forget what they have
computed with old ones. A transport only carries tensors: `file.py` on a CPU, `cuda_ipc.py` between processes that share
a GPU, `nccl.py` a broadcast a weight, `packed.py` large NCCL buffers. `receiver.py` is the engine actor's side and
`engine_extension.py` the side of vLLM's own worker processes.
"""
