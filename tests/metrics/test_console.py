"""What is printed on the console of a run, in processes of their own: it takes over the output of a whole process."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import logging, subprocess, sys
from pathlib import Path
from pepo_rlhf.metrics import console
logger, library = logging.getLogger("pepo_rlhf.part"), logging.getLogger("library")
with console.open_console(verbose={verbose}) as library_output:
    handler = logging.StreamHandler()
    library.addHandler(handler)
    library.warning("before the folder")
    if library_output is not None:
        library_output.keep(Path(sys.argv[1]) / "logs" / "driver.log")
    library.warning("after it")
    print("chatter")
    with console.all_errors_taken():
        subprocess.run(["sh", "-c", "echo compiler >&2"])
    logger.info("step [1] of 2")
    logger.debug("detail")
    logger.warning("look")
    logger.warning("look")
    with console.phase("loading"):
        pass
print("end")
1 / 0
"""
OURS = ["step [1] of 2", "warning: look", "loading ...", "loading: 0 s"]


def run(folder: Path, verbose: bool) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", PROGRAM.format(verbose=verbose), str(folder)]
    return subprocess.run(command, capture_output=True, text=True)


def test_libraries_print_to_a_file_and_the_package_to_the_console(tmp_path):
    done = run(tmp_path, verbose=False)
    assert done.stdout.splitlines() == [*OURS, "end"]
    assert (tmp_path / "logs" / "driver.log").read_text() == "before the folder\nafter it\nchatter\ncompiler\n"
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n"), "a mistake after it is seen"
    assert run(tmp_path, verbose=False).returncode == 1
    assert (tmp_path / "logs" / "driver.log").read_text().count("chatter") == 2, "an earlier attempt's lines stay"


def test_verbose_brings_everything_back(tmp_path):
    done = run(tmp_path, verbose=True)
    assert [line for line in done.stdout.splitlines() if line != "chatter"] == [*OURS, "end"]
    assert "chatter" in done.stdout and done.stderr.startswith("before the folder\nafter it\ncompiler\n")
    assert not (tmp_path / "logs").exists()
