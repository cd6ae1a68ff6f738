"""A file that is written whole is the former one or the new one, whatever happens on the way."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ser_toolkit.system.files import ignores_case, whole, write_bytes, write_json, write_text

KILLED = """
import sys, time
from pathlib import Path
from ser_toolkit.system.files import ignores_case, whole
with whole(Path(sys.argv[1])) as partial:
    partial.write_text("half of the n")
    print("half", flush=True)
    time.sleep(60)
"""


def test_a_file_and_its_folder_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "ä\n")
    write_json(tmp_path / "new" / "b.json", {"ä": [1, None]})
    write_bytes(tmp_path / "new" / "c", b"\x00", durable=False)
    assert (tmp_path / "new" / "a.txt").read_bytes() == "ä\n".encode()
    assert json.loads((tmp_path / "new" / "b.json").read_text(encoding="utf-8")) == {"ä": [1, None]}
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.txt", "b.json", "c"]


def test_a_kill_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("former")
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert path.read_text() == "former"
    write_text(path, "new")
    assert path.read_text() == "new"


def test_an_error_leaves_the_former_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("former")
    with pytest.raises(KeyError), whole(path) as partial:
        partial.write_text("half")
        raise KeyError
    assert path.read_text() == "former" and os.listdir(tmp_path) == ["run.json"]


def test_an_error_names_the_file_that_was_wanted(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="refused") as found, whole(tmp_path / "run.json") as partial:
        raise PermissionError(errno.EACCES, "refused", str(partial))
    assert found.value.filename == str(tmp_path / "run.json")


def test_the_mode_is_that_of_the_former_file_or_of_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "open" / "run.json"
    path.parent.mkdir()
    for folder, mode in ((0o777, 0o664), (0o750, 0o640)):
        path.parent.chmod(folder)
        write_text(path, "")
        assert path.stat().st_mode & 0o777 == mode
        path.unlink()
    path.touch(mode=0o600)
    write_text(path, "")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_goes_on_pointing_where_it_pointed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_text() == "text"


def test_whether_a_folder_ignores_case_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").touch()
    assert ignores_case(tmp_path) == (tmp_path / "A").exists()
    monkeypatch.setattr(
        Path, "exists", lambda path: any(path.name.lower() == one.lower() for one in os.listdir(tmp_path))
    )
    assert ignores_case(tmp_path)
    assert os.listdir(tmp_path) == ["a"]
