from pepo_rlhf.config import Config
from pepo_rlhf.controller.prompts import Prompt
from pepo_rlhf.controller.vision_check import check_vision


def test_data_without_images_is_skipped_with_a_line(capsys):
    check_vision(Config(), None, None, [Prompt(0, "data", "text only", "1", ())], None)
    assert capsys.readouterr().out == "vision check: skipped, since no prompt has an image\n"
