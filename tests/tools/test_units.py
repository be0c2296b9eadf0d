"""The systemd units and drop-ins are well-formed, and deny the programs the permissions that they do not need."""

import re
import subprocess

import pytest
from support.unit import PACKAGING, Unit

UNITS = sorted(path.name for path in PACKAGING.glob("*.service"))
FORWARDING = ("guideway.service", "guideway-controller.service", "guideway-bird.service")
DROP_INS = sorted(path.name for path in PACKAGING.glob("drop-ins/*.conf"))


def analyze(*arguments, **options):
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, **options)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_exposure_is_under_three(unit):
    # The threshold is in tenths, and is inclusive.
    code, output = analyze("security", "--offline=true", "--threshold=29", "--no-pager", PACKAGING / unit)
    assert code == 0, output


def test_users_groups_and_the_common_directory_are_made(tmp_path):
    (tmp_path / "etc").mkdir()
    made = PACKAGING / "sysusers.d/guideway.conf"
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", made], check=True, timeout=30)
    texts = ((tmp_path / "etc" / name).read_text() for name in ("passwd", "group"))
    users, groups = (set(re.findall("^[^:]+", text, re.MULTILINE)) for text in texts)
    for unit in map(Unit, FORWARDING):
        assert groups.issuperset(unit.values("Group") + unit.values("SupplementaryGroups"))
        assert users.issuperset(unit.values("User"))
    # Each of the two writes there and reads what the other wrote, by the common group.
    [line] = [line for line in (PACKAGING / "tmpfiles.d/guideway.conf").read_text().splitlines() if line[0] != "#"]
    kind, directory, mode, user, group, _ = line.split()
    controller, bird = Unit("guideway-controller.service"), Unit("guideway-bird.service")
    assert (kind, mode, [user], [group]) == ("d", "2770", controller.values("User"), bird.values("Group"))
    assert group in controller.values("SupplementaryGroups")
    assert [directory] == controller.values("ReadWritePaths") == bird.values("ReadWritePaths")
    assert f"{directory}/bird.conf" in bird.values("ExecStart") and f"{directory}/bird.ctl" in bird.values("ExecStart")
    assert [f"{directory}/bird.conf"] == Unit("guideway-bird.path").values("PathExists")
    assert f'"{directory}"' in (PACKAGING.parent / "docs/configuration.md").read_text()


def test_the_daemons_have_their_default_directories():
    [name] = Unit("guideway.service").values("StateDirectory")
    assert f"/var/lib/{name}" in (PACKAGING.parent / "docs/configuration.md").read_text()
    daemons = (PACKAGING.parent / "api/src/announce.rs").read_text()
    for unit in map(Unit, ("guideway.service", "guideway-controller.service")):
        # systemd removes the directory with its unit: another daemon's socket must not be in it.
        [name] = unit.values("RuntimeDirectory")
        assert daemons.count(f'"/run/{name}/') == 1


def test_the_controller_outlives_the_forwarder():
    controller = Unit("guideway-controller.service")
    assert "guideway.service" in controller.values("After")
    assert not [key for key in ("BindsTo", "Requires", "PartOf", "Requisite") if controller.values(key)]


def installed(directory, unit, *drop_ins):
    """Copies the unit to where systemd expects it, with a program that exists."""
    text = (PACKAGING / unit).read_text()
    path = directory / unit
    path.write_text(re.sub(r"/usr/local/bin/[\w-]+|/usr/sbin/bird\b", "/bin/true", text))
    (directory / f"{unit}.d").mkdir()
    for drop_in in drop_ins:
        (directory / f"{unit}.d" / drop_in).write_text((PACKAGING / "drop-ins" / drop_in).read_text())
    return path


@pytest.mark.parametrize("unit, drop_ins", [(unit, []) for unit in UNITS] + [("guideway.service", [name]) for name in DROP_INS])
def test_systemd_understands_every_line(tmp_path, unit, drop_ins):
    assert analyze("verify", "--man=no", installed(tmp_path, unit, *drop_ins)) == (0, "")


def test_systemd_finds_what_the_path_starts(tmp_path):
    installed(tmp_path, "guideway-bird.service")
    path = tmp_path / "guideway-bird.path"
    path.write_text((PACKAGING / path.name).read_text())
    assert analyze("verify", "--man=no", path) == (0, "")


def test_systemd_does_not_understand_a_misspelt_line(tmp_path):
    path = installed(tmp_path, "guideway.service", *DROP_INS)
    (tmp_path / "guideway.service.d/more.conf").write_text("[Service]\nProtectSytem=strict\n")
    code, output = analyze("verify", "--man=no", path)
    assert "more.conf" in output and "ProtectSytem" in output, (code, output)
