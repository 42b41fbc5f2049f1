from __future__ import annotations

import subprocess
import sys


def test_importing_the_settings_loads_no_heavy_library():
    script = "import sys, pepo_rlhf.config; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "jsonargparse" in loaded
    assert not {"torch", "ray", "vllm", "transformers", "openrlhf", "deepspeed"} & set(loaded)
