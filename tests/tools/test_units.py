"""The systemd units and drop-ins are well-formed, and deny the programs the permissions that they do not need."""

import subprocess

import pytest
from support.unit import PACKAGING, Unit

UNITS = sorted(path.name for path in PACKAGING.glob("*.service"))
DROP_INS = sorted(path.name for path in PACKAGING.glob("drop-ins/*.conf"))


def analyze(*arguments, **options):
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, **options)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_exposure_is_under_three(unit):
    # The threshold is in tenths, and is inclusive.
    code, output = analyze("security", "--offline=true", "--threshold=29", "--no-pager", PACKAGING / unit)
    assert code == 0, output


def test_the_group_of_the_forwarder_is_made(tmp_path):
    (tmp_path / "etc").mkdir()
    made = PACKAGING / "sysusers.d/guideway.conf"
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", made], check=True, timeout=30)
    [group] = Unit("guideway.service").values("Group")
    assert f"\n{group}:" in "\n" + (tmp_path / "etc/group").read_text()


def test_the_forwarder_has_its_default_state_directory():
    [name] = Unit("guideway.service").values("StateDirectory")
    assert f"/var/lib/{name}" in (PACKAGING.parent / "docs/configuration.md").read_text()


def installed(directory, unit, *drop_ins):
    """Copies the unit to where systemd expects it, with a program that exists."""
    text = (PACKAGING / unit).read_text()
    assert "/usr/local/bin/" in text
    path = directory / unit
    path.write_text(text.replace("/usr/local/bin/guideway-agent", "/bin/true").replace("/usr/local/bin/guideway", "/bin/true"))
    (directory / f"{unit}.d").mkdir()
    for drop_in in drop_ins:
        (directory / f"{unit}.d" / drop_in).write_text((PACKAGING / "drop-ins" / drop_in).read_text())
    return path


@pytest.mark.parametrize("unit, drop_ins", [(unit, []) for unit in UNITS] + [("guideway.service", [name]) for name in DROP_INS])
def test_systemd_understands_every_line(tmp_path, unit, drop_ins):
    assert analyze("verify", "--man=no", installed(tmp_path, unit, *drop_ins)) == (0, "")


def test_systemd_does_not_understand_a_misspelt_line(tmp_path):
    path = installed(tmp_path, "guideway.service", *DROP_INS)
    (tmp_path / "guideway.service.d/more.conf").write_text("[Service]\nProtectSytem=strict\n")
    code, output = analyze("verify", "--man=no", path)
    assert "more.conf" in output and "ProtectSytem" in output, (code, output)
