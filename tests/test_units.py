"""The agent's systemd unit takes from it what it does not need."""

import pathlib
import subprocess

AGENT = pathlib.Path(__file__).parent.parent / "packaging/guideway-agent.service"


def test_the_agents_exposure_is_under_three():
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=30", "--no-pager"]
    result = subprocess.run([*command, AGENT], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
