"""`taskroute new`, and completion."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kit.command_line import CommandLine
from tests.kit.command_process import running
from tests.kit.waiting import PROCESS_DEADLINE


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(tmp_path, capsys, monkeypatch)


def test_new_service_has_no_finding_and_passes_its_test(line: CommandLine) -> None:
    ended = line.run("new", "deep/my-shop")

    folder = line.folder / "deep" / "my-shop"
    assert (ended.code, ended.err) == (0, "")
    assert "taskroute run my_shop.service:service" in ended.out
    assert line.run("check", "my_shop.service:service", "--strict", "--app-dir", str(folder)).code == 0
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    tests = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PROCESS_DEADLINE, check=False)
    assert "3 passed" in tests.stdout, tests.stdout + tests.stderr


def test_new_service_runs_without_a_server_until_it_is_told_to_stop(line: CommandLine) -> None:
    line.run("new", "my-shop")

    with running("run", "my_shop.service:service", folder=line.folder / "my-shop") as service:
        service.wait_for("consuming queue=packing")
        service.send(signal.SIGTERM)

        assert service.wait() == 0, service.text


def test_new_service_has_what_it_is_deployed_with(line: CommandLine) -> None:
    line.run("new", "my-shop")

    folder = line.folder / "my-shop"
    unit = (folder / "deploy" / "my-shop.service").read_text()
    assert "ExecStart=/opt/my-shop/.venv/bin/taskroute run my_shop.service:service\n" in unit
    assert '"run", "my_shop.service:service"]' in (folder / "Containerfile").read_text()
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in written if "$" in path.read_text()]


@pytest.mark.parametrize(
    ("folder", "complaint"),
    [
        ("full", "FOLDER 'full' has files in it: name one that is empty"),
        ("wiring.py", "FOLDER 'wiring.py' cannot be written: Not a directory"),
        ("wiring.py/shop", "FOLDER 'wiring.py/shop' cannot be written: Not a directory"),
        ("2fast", "FOLDER: '2fast' cannot be the name of a package"),
        ("class", "FOLDER: 'class' cannot be the name of a package"),
        ("a b", "FOLDER: 'a b' cannot be the name of a package: use letters, digits and -"),
        ("shöp", "FOLDER: 'shöp' cannot be the name of a package"),
        ("-shop", "FOLDER: '-shop' cannot be the name of a package"),
        ("shop-", "FOLDER: 'shop-' cannot be the name of a package"),
        ("_shop", "FOLDER: '_shop' cannot be the name of a package"),
        ("json", "FOLDER: a package named 'json' would hide another one"),
        ("tests", "FOLDER: a package named 'tests' would hide another one"),
    ],
)
def test_new_refuses_a_folder_that_it_cannot_use(line: CommandLine, folder: str, complaint: str) -> None:
    line.write("full/notes.txt", "mine")

    ended = line.run("new", "--", folder)

    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert complaint in ended.err
    assert [path.name for path in (line.folder / "full").iterdir()] == ["notes.txt"]


def test_new_fills_an_empty_folder(line: CommandLine) -> None:
    (line.folder / "shop").mkdir()

    assert line.run("new", "shop").code == 0


def test_new_in_a_folder_with_a_space_quotes_it(line: CommandLine) -> None:
    assert "\n  cd 'my work/shop'\n" in line.run("new", "my work/shop").out


def test_new_here_is_told_by_its_name(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    (line.folder / "shop").mkdir()
    monkeypatch.chdir(line.folder / "shop")

    ended = line.run("new", ".")

    assert ended.out.startswith("shop has a service of two handlers, with a test. Try:\n  taskroute check shop.")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command_and_its_options(line: CommandLine, shell: str) -> None:
    pytest.importorskip("shtab")

    script = line.run("completion", shell).out

    assert "explain" in script
    assert "strict" in script


def test_completion_without_its_extra_says_how_to_get_it(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)

    ended = line.run("completion", "bash")

    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "taskroute completion: completion needs shtab: pip install shtab\n"
