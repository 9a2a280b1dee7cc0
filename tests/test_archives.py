"""Archives of others: what is unpacked, and what is refused."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from evalkit.archives import unpack
from evalkit.errors import EvalkitError


def zipped(path: Path, members: dict[str, bytes], modes: dict[str, int] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
    return path


def tarred(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return path


MEMBERS = {
    "audio/": b"",
    "audio/34/1.2min.mp3": b"one",
    "audio/35/2.2min.mp3": b"two",
    "__MACOSX/._1": b"x",
    "a.txt": b"",
}


@pytest.mark.parametrize("make", [zipped, tarred])
def test_files_that_match_are_written_and_the_rest_stays(tmp_path: Path, make) -> None:
    members = {name: data for name, data in MEMBERS.items() if make is zipped or not name.endswith("/")}
    folder = tmp_path / "folder"
    folder.mkdir()
    assert unpack(make(tmp_path / "archive", members), folder, ["*.mp3"]) == 2
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files == {"audio/34/1.2min.mp3": b"one", "audio/35/2.2min.mp3": b"two"}


def test_an_archive_of_the_folder_itself(tmp_path: Path) -> None:
    (tmp_path / "in/audiodata").mkdir(parents=True)
    (tmp_path / "in/audiodata/a.wav").write_bytes(b"a")
    with tarfile.open(tmp_path / "archive", "w:gz") as archive:
        archive.add(tmp_path / "in", ".")  # as "tar -c ." does
    (tmp_path / "out").mkdir()
    assert unpack(tmp_path / "archive", tmp_path / "out") == 1
    assert (tmp_path / "out/audiodata/a.wav").read_bytes() == b"a"


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("/etc/a.mp3", "has a path of its own"),
        ("C:/a.mp3", "has a path of its own"),
        ("audio\\a.mp3", "has a path of its own"),
        ("../a.mp3", "leads out of the folder"),
        ("audio/../../a.mp3", "leads out of the folder"),
        ("audio//a.mp3", "leads out of the folder"),
        ("AUDIO/34/1.2MIN.mp3", "is there twice"),
        ("audio/34/1.2min.mp3/a.mp3", "is a file and a folder"),
        ("audio/34", "is a file and a folder"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, make, name: str, problem: str) -> None:
    archive = make(tmp_path / "archive", {"audio/34/1.2min.mp3": b"one", name: b"two"})
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(EvalkitError, match=f"{problem}: it is not to be trusted"):
        unpack(archive, folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "folder"]
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["1.2min.mp3"]


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link = zipped(tmp_path / "a.zip", {"a.mp3": b"/etc/passwd"}, {"a.mp3": stat.S_IFLNK | 0o777})
    for archive in (link, tarred(tmp_path / "a.tgz", {}, {"a.mp3": "/etc/passwd"})):
        with pytest.raises(EvalkitError, match=r"'a\.mp3' is a link"):
            unpack(archive, tmp_path / "folder")
    assert not list((tmp_path / "folder").iterdir())


def test_what_is_no_archive_or_half_of_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    damaged = []
    for make in (zipped, tarred):
        path = make(tmp_path / make.__name__, {"a.mp3": bytes(range(256)) * 500})
        damaged.append(path.read_bytes()[: path.stat().st_size // 2])
    for data in (b"", b"no archive", *damaged):
        (tmp_path / "archive").write_bytes(data)
        with pytest.raises(EvalkitError, match=r"\Athe archive cannot be read: .*\Z"):  # one line
            unpack(tmp_path / "archive", tmp_path / "folder")
    with pytest.raises(EvalkitError, match=r"holds no file such as \*\.mp3"):
        unpack(zipped(tmp_path / "archive", {"a.txt": b"a"}), tmp_path / "folder", ["*.mp3"])


def test_a_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.mp3": b"abcdefgh" * 100})
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abcdefgX", 1))
    (tmp_path / "folder").mkdir()
    with pytest.raises(EvalkitError, match="cannot be read: Bad CRC-32"):
        unpack(path, tmp_path / "folder")
