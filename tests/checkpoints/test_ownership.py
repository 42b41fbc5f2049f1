import os
from pathlib import Path

import pytest

from pepo_rlhf.checkpoints.ownership import require_own


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    run_dir = tmp_path / "run"
    state = run_dir / "checkpoints" / "_actor" / "global_step2"
    state.mkdir(parents=True)
    (state / "mp_rank_00_model_states.pt").write_bytes(b"state")
    return run_dir


def test_a_checkpoint_of_ones_own_passes(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_own(run_dir / "checkpoints", run_dir)
    require_own(run_dir / "checkpoints" / "_actor" / "global_step2" / "mp_rank_00_model_states.pt", run_dir)
    monkeypatch.chdir(run_dir.parent)
    require_own("run/checkpoints", "run")


def test_the_run_folder_itself_may_be_reached_by_a_link(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run_dir)
    require_own(tmp_path / "link" / "checkpoints", tmp_path / "link")
    require_own(run_dir / "checkpoints", tmp_path / "link")


@pytest.mark.parametrize("name", ["other", "run_two", "run/../other"])
def test_a_checkpoint_outside_the_run_is_refused(run_dir: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "run_two").mkdir()
    with pytest.raises(ValueError, match="lies outside the run folder .*: resume with the --run.dir"):
        require_own(tmp_path / name, run_dir)


@pytest.mark.parametrize("place", ["", "checkpoints", "checkpoints/_actor/global_step2/mp_rank_00_model_states.pt"])
def test_what_everybody_can_write_is_refused(run_dir: Path, place: str) -> None:
    entry = run_dir / place
    entry.chmod(entry.stat().st_mode | 0o002)
    with pytest.raises(ValueError, match=f"^{entry} can be written by every user.*chmod"):
        require_own(run_dir / "checkpoints", run_dir)


def test_what_the_group_can_write_passes(run_dir: Path) -> None:
    for folder, _, files in os.walk(run_dir):
        for entry in [Path(folder), *(Path(folder, file) for file in files)]:
            entry.chmod(entry.stat().st_mode | 0o020)
    require_own(run_dir / "checkpoints", run_dir)


def test_another_users_file_is_refused(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Giving a file away takes root; being somebody else is the same to the check.
    somebody = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody)
    with pytest.raises(ValueError, match=rf"belongs to user {somebody - 1}, not to you \(user {somebody}\).*chown"):
        require_own(run_dir / "checkpoints", run_dir)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file to another user takes root")
def test_one_file_of_another_user_in_the_folder_is_enough(run_dir: Path) -> None:
    file = run_dir / "checkpoints" / "_actor" / "global_step2" / "mp_rank_00_model_states.pt"
    os.chown(file, 12345, -1)
    with pytest.raises(ValueError, match=f"^{file} belongs to user 12345"):
        require_own(run_dir / "checkpoints", run_dir)


def test_a_link_is_refused_wherever_it_points(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.pt").write_bytes(b"state")
    (run_dir / "checkpoints" / "_actor" / "global_step3").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="global_step3 is no plain file or folder"):
        require_own(run_dir / "checkpoints", run_dir)


def test_a_checkpoint_that_is_not_there_is_an_os_error(run_dir: Path) -> None:
    with pytest.raises(FileNotFoundError):
        require_own(run_dir / "checkpoints" / "global_step9", run_dir)
