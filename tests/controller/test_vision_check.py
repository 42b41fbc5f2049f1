from types import SimpleNamespace

from pepo_rlhf.controller.vision_check import gate
from pepo_rlhf.data.prompt import choose_prompts


def test_data_without_images_is_skipped_with_a_line(capsys):
    args = SimpleNamespace()
    assert gate(args, None, [], choose_prompts([("data", "text only", "1", [])]), None) is None
    assert capsys.readouterr().out == "blindness gate: skipped, since no prompt has an image\n"
