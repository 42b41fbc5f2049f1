"""Prints known vulnerabilities and the licences of what is installed beside this interpreter.

Advice: both change without a change of ours, so that the exit status is 0 whatever is found.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

BIN = Path(sys.executable).parent
LOCK = Path(__file__).with_name("cpu.lock")
# By these a package may be used and passed on with little more than its notice.
PERMISSIVE = re.compile(r"apache|mit|bsd|isc|psf|python software|mpl|mozilla|unlicense|cc0|cnri|zlib|boost", re.I)


def audit() -> str:
    command = [BIN / "pip-audit", "--no-deps", "--disable-pip", "--format", "json", "--requirement", LOCK]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
        packages = json.loads(result.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return "the advisory index did not answer within 60 s; nothing is known"
    except ValueError:
        reason = (result.stderr.strip().splitlines() or ["no output"])[-1]
        return f"the advisory index cannot be reached; nothing is known ({reason[:160]})"
    audited = [package for package in packages if "vulns" in package]
    if not audited:
        return f"the index has no advisories for any of {len(packages)} packages, as a mirror has; nothing is known"
    lines = [
        f"\n  {package['name']} {package['version']}: {vulnerability['id']}, mended in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version'}"
        for package in audited
        for vulnerability in package["vulns"]
    ]
    return f"{len(lines)} known vulnerabilities in {len(audited)} of {len(packages)} packages looked up{''.join(lines)}"


def list_licences() -> str:
    command = [BIN / "pip-licenses", "--format", "json"]
    packages = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    licences = {package["Name"]: " ".join(package["License"].split())[:60] for package in packages}
    counts = ", ".join(f"{licence} {number}" for licence, number in Counter(licences.values()).most_common(8))
    others = [f"{name} ({licence})" for name, licence in licences.items() if not PERMISSIVE.search(licence)]
    return f"{len(packages)} packages, most often {counts}\n  to be looked at: {', '.join(others) or 'none'}"


if __name__ == "__main__":
    print(f"pip-audit (advisory): {audit()}\npip-licenses (advisory): {list_licences()}")
