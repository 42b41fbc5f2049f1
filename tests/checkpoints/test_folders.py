"""Folders and manifests, without the engines that fill them."""

import json
import shutil

import pytest

from pepo_rlhf.checkpoints import folders
from pepo_rlhf.config import Config, to_arguments


def write(folder, name, content=b"weights", **settings):
    """A committed checkpoint of one file."""
    checkpoint = folder / name
    folders.begin(checkpoint)
    path = folders.partial(checkpoint) / "deepspeed" / "states.pt"
    path.parent.mkdir()
    path.write_bytes(content)
    args = to_arguments(Config())
    args.train.seed = settings.get("seed", 42)
    folders.commit(checkpoint, {"deepspeed/states.pt": folders.seal(path)}, args)
    return checkpoint


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_committed_checkpoint_is_whole_and_nothing_else_is_left(tmp_path):
    checkpoint = write(tmp_path, "global_step3")
    assert names(tmp_path) == ["global_step3"]
    assert folders.what_is_wrong(checkpoint) is None
    record = json.loads((checkpoint / "manifest.json").read_text())["files"]["deepspeed/states.pt"]
    # printf weights | sha256sum
    assert record == {"num_bytes": 7, "sha256": "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"}


def test_the_newest_is_found_by_number_not_by_name(tmp_path):
    for step in (9, 10, 2):
        write(tmp_path, f"global_step{step}")
    assert folders.newest_complete(tmp_path).name == "global_step10"


def test_of_one_step_the_best_is_newer(tmp_path):
    """It is written after the evaluation, and knows the best metric."""
    write(tmp_path, "best_global_step4")
    write(tmp_path, "global_step4")
    assert folders.newest_complete(tmp_path).name == "best_global_step4"


def test_there_may_be_none(tmp_path):
    assert folders.newest_complete(tmp_path / "nowhere") is None
    assert folders.newest_complete(tmp_path) is None


def truncate(checkpoint):
    (checkpoint / "deepspeed" / "states.pt").write_bytes(b"weigh")


def flip_a_byte(checkpoint):
    (checkpoint / "deepspeed" / "states.pt").write_bytes(b"wEights")


def lose_a_file(checkpoint):
    (checkpoint / "deepspeed" / "states.pt").unlink()


def lose_the_manifest(checkpoint):
    (checkpoint / "manifest.json").unlink()


def cut_the_manifest(checkpoint):
    (checkpoint / "manifest.json").write_text('{"files": {"deepsp')


def empty_the_manifest(checkpoint):
    (checkpoint / "manifest.json").write_text("[]")


def lose_the_settings(checkpoint):
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    (checkpoint / "manifest.json").write_text(json.dumps({"files": manifest["files"]}))


def empty_the_list_of_files(checkpoint):
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    (checkpoint / "manifest.json").write_text(json.dumps(manifest | {"files": {}}))


def make_the_manifest_a_folder(checkpoint):
    lose_the_manifest(checkpoint)
    (checkpoint / "manifest.json").mkdir()


def make_the_folder_a_file(checkpoint):
    shutil.rmtree(checkpoint / "deepspeed")
    (checkpoint / "deepspeed").write_text("")


def link_a_file_to_itself(checkpoint):
    lose_a_file(checkpoint)
    (checkpoint / "deepspeed" / "states.pt").symlink_to("states.pt")


def name_a_file_elsewhere(checkpoint):
    manifest = {"settings": {}, "files": {"/nowhere/states.pt": {"num_bytes": 7}}}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate, "has 5 bytes and the manifest says 7"),
        (flip_a_byte, "is not what was written"),
        (lose_a_file, "deepspeed/states.pt is missing"),
        (lose_the_manifest, "manifest.json is missing"),
        (cut_the_manifest, "manifest.json cannot be read"),
        (empty_the_manifest, "manifest.json cannot be read"),
        (empty_the_list_of_files, "manifest.json lists no files"),
        (lose_the_settings, "manifest.json does not say what settings it was written with"),
        (make_the_manifest_a_folder, "it cannot be read: [Errno 21] Is a directory"),
        (make_the_folder_a_file, "it cannot be read: [Errno 20] Not a directory"),
        (link_a_file_to_itself, "it cannot be read: [Errno 40] Too many levels of symbolic links"),
        (name_a_file_elsewhere, "nowhere/states.pt is missing"),
        (shutil.rmtree, None),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_damaged_checkpoint_is_skipped_with_a_warning_for_the_one_before(tmp_path, caplog, damage, reason):
    write(tmp_path, "global_step2")
    damage(write(tmp_path, "global_step4"))
    assert folders.newest_complete(tmp_path).name == "global_step2"
    warning = "".join(caplog.messages)
    if reason is None:
        assert warning == ""
    else:
        assert warning.startswith("checkpoint ") and "global_step4 is skipped" in warning and reason in warning
        assert len(warning.splitlines()) == 1


def test_what_a_kill_left_half_written_is_not_a_checkpoint_and_is_cleared_away(tmp_path):
    write(tmp_path, "global_step2")
    folders.begin(tmp_path / "global_step4")
    (folders.partial(tmp_path / "global_step4") / "states.pt").write_bytes(b"wei")
    assert folders.newest_complete(tmp_path).name == "global_step2"
    write(tmp_path, "global_step6")
    assert names(tmp_path) == ["global_step2", "global_step6"]


def test_a_damaged_one_is_written_over_when_the_run_comes_by_again(tmp_path):
    truncate(write(tmp_path, "global_step4"))
    assert folders.what_is_wrong(write(tmp_path, "global_step4", b"other")) is None


def test_the_last_k_are_kept_and_the_best_counts_apart(tmp_path):
    write(tmp_path, "best_global_step1")
    for step in (2, 4, 6, 8):
        folders.prune(write(tmp_path, f"global_step{step}"), 2, float("inf"))
    assert names(tmp_path) == ["best_global_step1", "global_step6", "global_step8"]
    folders.prune(write(tmp_path, "best_global_step8"), 2, float("inf"))
    assert names(tmp_path) == ["best_global_step8", "global_step6", "global_step8"]


def test_links_and_files_in_the_place_of_old_checkpoints_go_and_what_a_link_names_stays(tmp_path):
    moved = write(tmp_path / "other_disk", "global_step1")
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "global_step1").symlink_to(moved)
    (folder / "global_step2").write_text("")
    (folder / "left.partial").symlink_to(moved)
    for step in (3, 4):
        folders.prune(write(folder, f"global_step{step}"), 1, float("inf"))
    assert names(folder) == ["global_step4"]
    assert folders.what_is_wrong(moved) is None


def test_a_damaged_one_ahead_costs_no_older_one_its_place(tmp_path):
    write(tmp_path, "global_step2")
    truncate(write(tmp_path, "global_step6"))
    folders.prune(write(tmp_path, "global_step4"), 2, float("inf"))
    assert names(tmp_path) == ["global_step2", "global_step4", "global_step6"]


def test_a_limit_in_gigabytes_takes_the_oldest_and_spares_the_newest(tmp_path):
    for step in (2, 4, 6):
        write(tmp_path, f"global_step{step}", bytes(10_000))
    newest = tmp_path / "global_step6"
    folders.prune(newest, 3, 25_000 / 1024**3)  # a checkpoint has its manifest besides: two fit
    assert names(tmp_path) == ["global_step4", "global_step6"]
    folders.prune(newest, 3, 0)
    assert names(tmp_path) == ["global_step6"]


def test_other_settings_than_the_checkpoint_needs_are_told_by_flag(tmp_path):
    checkpoint = write(tmp_path, "global_step2", seed=7)
    args = to_arguments(Config())
    args.train.seed = 7
    folders.require_same_settings(checkpoint, args)
    args.actor.num_gpus_per_node = 4
    with pytest.raises(ValueError, match="^--actor.num_gpus_per_node is 4, and .*global_step2 was written with 1: .*"):
        folders.require_same_settings(checkpoint, args)
    args.ds.use_universal_ckpt = True
    folders.require_same_settings(checkpoint, args)
    args.train.seed = 8
    with pytest.raises(ValueError, match="^--train.seed is 8"):
        folders.require_same_settings(checkpoint, args)


def test_adapters_on_another_model_are_told_by_flag_and_file(tmp_path):
    base, config = tmp_path / "base", Config()
    base.mkdir()
    for name in ("config.json", "model.safetensors"):
        (base / name).write_text(name)
    config.actor.model_name_or_path, config.ds.lora.rank = str(base), 8
    checkpoint = tmp_path / "global_step2"
    folders.begin(checkpoint)
    folders.commit(checkpoint, {}, config)
    folders.require_same_base(checkpoint, config)
    shutil.copytree(base, other := tmp_path / "other")
    config.actor.model_name_or_path = str(other)
    folders.require_same_base(checkpoint, config)
    (base / "model.safetensors").write_text("trained on")
    config.actor.model_name_or_path = str(base) + "/"  # another spelling, so that the file is read again
    with pytest.raises(
        ValueError, match=r"^--actor.model_name_or_path .*base/ is not the model that the adapters in .*2"
    ):
        folders.require_same_base(checkpoint, config)
    folders.require_same_base(write(tmp_path, "global_step3"), config)


def test_a_setting_that_this_version_does_not_know_is_told(tmp_path):
    checkpoint = write(tmp_path, "global_step2")
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["settings"]["train.magic"] = 1
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="global_step2 depends on train.magic, which this version does not know: go"):
        folders.require_same_settings(checkpoint, to_arguments(Config()))
