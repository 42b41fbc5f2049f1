import logging

from pepo_rlhf.config import Config
from pepo_rlhf.controller.prompts import Prompt
from pepo_rlhf.controller.vision_check import check_vision


def test_data_without_images_is_skipped_with_a_line(caplog):
    caplog.set_level(logging.INFO, logger="pepo_rlhf")
    check_vision(Config(), None, None, [Prompt(0, "data", "text only", "1", ())], None)
    assert caplog.messages == ["vision check: skipped, since no prompt has an image"]
