"""Files that are whole, a cache that makes everything once, and the threads of products."""

import os
import pwd
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import threadpoolctl

from tritstream.errors import BadInput
from tritstream.support import cache
from tritstream.support.blas import LARGE, short_products
from tritstream.support.cache import cache_directory, get_or_make
from tritstream.support.files import replacing, write_whole


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tritstream"


def test_threads_that_write_one_file_lose_nothing(tmp_path):
    """Every write succeeds, and what stands there at the end is one of them, whole."""
    path = tmp_path / "file"
    contents = [bytes([number]) * 10_000 for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: write_whole(path, contents[number % 4]), range(400)))
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["file"]


def test_a_name_of_any_length_can_be_written(tmp_path):
    path = tmp_path / ("ü" * 127)           # 254 bytes of the 255 that a name may have
    write_whole(path, b"x")
    assert path.read_bytes() == b"x"


def test_an_error_leaves_what_was_there(tmp_path):
    write_whole(tmp_path / "file", b"old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "file") as part:
        part.write_bytes(b"new")
        raise ZeroDivisionError
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("place", ["absent/file", "directory", "file/below", "circle"])
def test_places_that_cannot_be_written(tmp_path, place):
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(BadInput, match="cannot be written"):
        write_whole(tmp_path / place, b"")


def test_the_cache_makes_a_thing_once(home):
    made = []

    def make(path):
        made.append(path.name)
        path.write_text("whole")

    assert get_or_make("kind", "name", make) == home / "kind" / "name"
    assert get_or_make("kind", "name", make, read=lambda path: path.read_text()) == "whole"
    assert len(made) == 1


def test_threads_wait_for_the_one_that_makes_it():
    made, begun = [], threading.Barrier(4)

    def make(path):
        made.append(threading.get_ident())
        path.write_text("whole")

    def want(_):
        begun.wait(10)
        return get_or_make("kind", "name", make, read=lambda path: path.read_text())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(want, range(4))) == ["whole"] * 4
    assert len(made) == 1


def test_what_is_damaged_is_made_again(home):
    def read(path):
        if path.read_text() != "whole":
            raise BadInput("torn")
        return "read"

    (home / "kind").mkdir(parents=True)
    (home / "kind" / "name").write_text("who")
    assert get_or_make("kind", "name", lambda path: path.write_text("whole"), read=read) == "read"


def test_what_is_made_wrong_is_told():
    def read(path):
        raise BadInput("torn")

    with pytest.raises(BadInput, match="torn"):
        get_or_make("kind", "name", lambda path: path.write_text("x"), read=read)


def test_what_was_interrupted_is_not_there(home):
    def make(path):
        path.write_text("who")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get_or_make("kind", "name", make)
    assert not list((home / "kind").glob("*name*[!k]"))
    assert get_or_make("kind", "name", lambda path: path.write_text("whole")).exists()


def test_nobody_is_waited_for_without_end(home, monkeypatch):
    monkeypatch.setattr(cache, "LOCK_SECONDS", 0.1)

    def make(path):
        with ThreadPoolExecutor(1) as pool, pytest.raises(BadInput, match="Another process"):
            pool.submit(get_or_make, "kind", "name", make).result(10)
        path.touch()

    assert get_or_make("kind", "name", make) == home / "kind" / "name"


@pytest.mark.parametrize("blocked", ["", "tritstream", "tritstream/kind"])
def test_a_cache_that_cannot_be_written(tmp_path, blocked):
    place = tmp_path / "cache" / blocked
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()
    with pytest.raises(BadInput, match="kind cannot hold .* set XDG_CACHE_HOME"):
        get_or_make("kind", "name", lambda path: path.touch())


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """A user whom the system does not know, as in containers; the temporary directory."""
    def unknown(number):
        raise KeyError(number)

    monkeypatch.setenv("XDG_CACHE_HOME", "")    # put back afterwards, whatever it becomes
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path / f"cache-{os.getuid()}"


def test_who_has_no_home_has_a_cache_of_his_own(nobody):
    path = get_or_make("kind", "name", lambda path: path.touch())
    assert path == nobody / "tritstream" / "kind" / "name"
    assert os.environ["XDG_CACHE_HOME"] == str(nobody)      # for Yosys, which has a cache as well
    assert nobody.stat().st_mode & 0o77 == 0


def test_a_cache_that_somebody_else_has_put_there_is_not_used(nobody, tmp_path):
    (tmp_path / "trap").mkdir()
    nobody.symlink_to(tmp_path / "trap")
    with pytest.raises(BadInput, match="belongs to somebody else.*XDG_CACHE_HOME"):
        cache_directory("kind")


def test_short_products_have_one_thread():
    """Whoever else makes some meanwhile, and none that is large."""
    libraries = threadpoolctl.ThreadpoolController().select(user_api="blas")

    def threads():
        return {library["num_threads"] for library in libraries.info()}

    with libraries.limit(limits=2):
        several = threads()
        with short_products(LARGE):
            assert threads() == several
        with short_products(1):
            assert threads() <= {1}
            with short_products(LARGE - 1):
                assert threads() <= {1}
            assert threads() <= {1}
        assert threads() == several


def apart(action):
    """Do something in a thread that has ended then; what it returns."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(action).result()


def test_short_products_of_any_thread_have_one_thread():
    """Also of one that is not the first that makes some, as a scheduler's."""
    libraries = threadpoolctl.ThreadpoolController().select(user_api="blas")

    def threads():
        return {library["num_threads"] for library in libraries.info()}

    def inside():
        with short_products(1):
            return threads()

    limit = apart(lambda: libraries.limit(limits=2))
    try:
        several = threads()
        for inside_of in (inside(), apart(inside), apart(inside), inside()):
            assert inside_of <= {1}
            assert threads() == several
    finally:
        apart(limit.restore_original_limits)
