"""A full disk is the user's to mend: said in one line, and nothing half-written is left."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from kubeloop.data.tables import staged
from kubeloop.errors import InputError

SCRIPT = """
import random, sys
from pathlib import Path
from kubeloop.contract.data import Column, Data, Source
from kubeloop.contract.target import Target
from kubeloop.contract.sections import IngestSection
from kubeloop.data.ingest import ingest
from kubeloop.errors import InputError
from kubeloop.site.model import laptop

inputs, out = Path(sys.argv[1]), Path(sys.argv[2])
columns = {"x": Column(type="number"), "y": Column(type="integer")}
data = Data(sources=(Source(name="s", path="t.csv"),), columns=columns)
section = IngestSection(name="demo", data=data, target=Target(column="y", task="binary"))
try:
    ingest(section, laptop(inputs / "home", inputs), out / "table")
except InputError as error:
    print(error.problem, "|", error.fix, "|", [path.name for path in out.iterdir()])
"""


def test_a_real_full_disk(tmp_path):
    probe = ["unshare", "-rm", "sh", "-c", f"mount -t tmpfs -o size=1m tmpfs {tmp_path}"]
    if subprocess.run(probe, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    (tmp_path / "disk").mkdir()
    rows = "".join(f"{i * 0.7310585786:.12f},{i % 2}\n" for i in range(400_000))
    (tmp_path / "t.csv").write_text("x,y\n" + rows)
    (tmp_path / "script.py").write_text(SCRIPT)
    line = f'mount -t tmpfs -o size=1m tmpfs {tmp_path}/disk && "$0" script.py {tmp_path} {tmp_path}/disk'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", line, sys.executable], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "no space left on the disk" in done.stdout
    assert "| free space on that disk, then run the same command again | []" in done.stdout


def test_other_errors_of_the_system_stay_what_they_are(tmp_path):
    with pytest.raises(OSError, match="Input/output error"), staged(tmp_path / "table"):
        raise OSError(errno.EIO, "Input/output error")
    assert list(tmp_path.iterdir()) == []


def test_full_while_writing(tmp_path):
    def write(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match="no space left on the disk"), staged(tmp_path / "table") as partial:
        write(partial)
    assert list(tmp_path.iterdir()) == []
