"""A set is looked for where it is promised to be, and fetched only when asked for: whole, or not at all."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from striate.data import datasets, open_data
from striate.data.datasets import SETS, NamedSet, find
from striate.errors import BadData
from striate.fetching import File, fetch

CONTENT = bytes(range(256)) * 4000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *args): ...


@pytest.fixture
def server(tmp_path):
    """A publisher on this machine: the folder it serves, and its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "a.bin").write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{http.server_port}/"
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """A cache and a data folder of this test's own; a working folder that is neither."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("STRIATE_DATA", str(tmp_path / "data"))
    for name in ("data", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")


def file_of(address: str, content: bytes = CONTENT, name: str = "a.bin") -> File:
    return File(address + name, len(content), hashlib.md5(content).hexdigest())


def test_a_relative_path_is_looked_up_here_then_under_striate_data(tmp_path):
    (tmp_path / "data" / "pets").mkdir()
    assert find("pets") == tmp_path / "data" / "pets"
    (tmp_path / "work" / "pets").mkdir()
    assert find("pets").resolve() == tmp_path / "work" / "pets"


def test_named_sets_are_found_under_their_usual_names(tmp_path):
    for name in ("cifar-10-batches-py", "cifar10.zip", "cifar10"):
        (tmp_path / "data" / name).mkdir()
        assert find("cifar10") == tmp_path / "data" / name


def test_what_is_not_there_says_where_it_was_looked_for(tmp_path, monkeypatch):
    with pytest.raises(
        BadData, match=r"mnits: neither in the working folder \(.*work\) nor under STRIATE_DATA"
    ):
        find("mnits")
    with pytest.raises(BadData, match="did you mean mnist"):
        find("mnits")
    monkeypatch.delenv("STRIATE_DATA")
    with pytest.raises(BadData, match="and STRIATE_DATA is not set; named sets: digits, mnist"):
        find("what")


def test_nothing_is_fetched_unasked(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", None)
    with pytest.raises(BadData, match=r"mnist: not found .*; --download fetches it \(12 MB, LeCun.*CC BY-SA"):
        open_data("mnist")
    assert not (tmp_path / "cache").exists()


def test_download_says_what_and_ends_in_the_cache(server, tmp_path, monkeypatch, capsys):
    made = NamedSet("A toy set", "CC0", (file_of(server[1]),))
    monkeypatch.setitem(SETS, "toy", made)
    folder = find("toy", download=True)
    assert folder == tmp_path / "cache/striate/data/toy"
    assert [p.name for p in folder.iterdir()] == ["a.bin"] and (folder / "a.bin").read_bytes() == CONTENT
    said = capsys.readouterr()
    assert "A toy set\nfetching 1 MB to" in said.err and "licence: CC0" in said.err and not said.out
    (server[0] / "a.bin").unlink()
    assert find("toy") == folder  # from now on without a network


def test_progress_goes_to_standard_error(server, tmp_path, capsys):
    fetch(file_of(server[1]), tmp_path)
    said = capsys.readouterr()
    assert "a.bin 100 %" in said.err and not said.out


@pytest.mark.parametrize("served", [CONTENT[:-1], CONTENT[:-1] + b"x", CONTENT * 3, b""])
def test_a_wrong_sum_leaves_nothing_behind(server, tmp_path, served):
    (server[0] / "a.bin").write_bytes(served)
    with pytest.raises(BadData, match="a.bin: came with the sum [0-9a-f]{32}, not [0-9a-f]{32}"):
        fetch(file_of(server[1]), tmp_path / "to")
    assert not list((tmp_path / "to").iterdir())


def test_a_missing_file_or_server_is_said(server, tmp_path):
    with pytest.raises(BadData, match="b.bin: could not be fetched: .*404.*or put b.bin into"):
        fetch(file_of(server[1], name="b.bin"), tmp_path / "to")
    with pytest.raises(BadData, match="could not be fetched"):
        fetch(file_of("http://127.0.0.1:9/"), tmp_path / "to")
    assert not list((tmp_path / "to").iterdir())


def test_the_table_is_complete():
    for name, known in SETS.items():
        assert known.licence and known.title
        assert known.files or name == "digits"
        for file in known.files:
            assert len(file.sum) == 32 and int(file.sum, 16) and file.size > 1000


@pytest.mark.slow  # importing torchvision takes seconds
def test_the_sums_are_those_torchvision_checks():
    from torchvision.datasets import CIFAR10, CIFAR100, MNIST, FashionMNIST

    for name, peer in (("mnist", MNIST), ("fashion-mnist", FashionMNIST)):
        assert [(f.name, f.sum) for f in SETS[name].files] == peer.resources
    for name, peer in (("cifar10", CIFAR10), ("cifar100", CIFAR100)):
        assert [(f.url, f.sum) for f in SETS[name].files] == [(peer.url, peer.tgz_md5)]


def test_digits_need_no_network(monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", None)
    source = open_data("digits")
    assert source.name == "digits" and "CC BY" in source.licence
    assert datasets.find("digits").name == "digits.csv.gz"
