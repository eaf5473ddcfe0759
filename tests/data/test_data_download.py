"""Against a server that does everything wrong: a complete file or a clear error, never a silent half."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from loopback import Page, serving

from hsisr_core.data.download import Patience, download
from hsisr_core.errors import HsisrError

DATA = b"PK" + np.random.default_rng(3).bytes(60_000)
SHA = hashlib.sha256(DATA).hexdigest()
HASTY = Patience(tries=3, pause=0.01, silence=0.5, slow=0.3, rate=2000)


def get(tmp_path: Path, page: Page, *more: Page, size: int | None = None, sha256: str | None = None) -> str:
    """Download from `page` and then `more`; return the path on the server that gave the file."""
    pages = {f"/{index}.zip": item for index, item in enumerate((page, *more))}
    with serving(pages) as address:
        urls = [address + path for path in pages]
        url = download(urls, tmp_path / "a.zip", size=size, sha256=sha256, patience=HASTY, advice="By hand.")
    return url.removeprefix(address)


def complete(tmp_path: Path) -> None:
    """The file is whole, and nothing else is left."""
    assert (tmp_path / "a.zip").read_bytes() == DATA
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


def refused(
    tmp_path: Path, page: Page, *parts: str, size: int | None = None, sha256: str | None = None
) -> None:
    with pytest.raises(HsisrError) as caught:
        get(tmp_path, page, size=size, sha256=sha256)
    for part in (*parts, "a.zip could not be downloaded", "/0.zip (", "By hand."):
        assert part in str(caught.value)
    assert not (tmp_path / "a.zip").exists()


def test_a_file_arrives(tmp_path: Path) -> None:
    assert get(tmp_path, Page(DATA), size=len(DATA), sha256=SHA) == "/0.zip"
    complete(tmp_path)


def test_a_broken_transfer_goes_on_where_it_stopped(tmp_path: Path) -> None:
    page = Page(DATA, drop=[20_000, 0, 0, 15_000, 0])
    get(tmp_path, page)
    complete(tmp_path)
    assert page.asked == [
        None,
        "bytes=20000-",
        "bytes=20000-",
        "bytes=20000-",
        "bytes=35000-",
        "bytes=35000-",
    ]


def test_a_later_start_goes_on_too(tmp_path: Path) -> None:
    broken = Page(DATA, drop=[30_000, 0, 0, 0])
    page = Page(DATA)
    pages = {"/a.zip": broken}
    with serving(pages) as address:
        with pytest.raises(HsisrError, match=r"broke off after 30000 bytes, 3 times"):
            download([address + "/a.zip"], tmp_path / "a.zip", patience=HASTY)
        assert not (tmp_path / "a.zip").exists()
        pages["/a.zip"] = page
        download([address + "/a.zip"], tmp_path / "a.zip", patience=HASTY)
    assert page.asked == ["bytes=30000-"]
    complete(tmp_path)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_changed_meanwhile_is_not_mixed_with_the_old_one(tmp_path: Path, ranges: bool) -> None:
    pages = {"/a.zip": Page(b"PK" + bytes(60_000), drop=[30_000, 0, 0, 0])}
    with serving(pages) as address:
        with pytest.raises(HsisrError):
            download([address + "/a.zip"], tmp_path / "a.zip", patience=HASTY)
        pages["/a.zip"] = Page(DATA, ranges=ranges)
        download([address + "/a.zip"], tmp_path / "a.zip", patience=HASTY)
    complete(tmp_path)


def test_without_an_identity_of_the_file_it_starts_anew(tmp_path: Path) -> None:
    page = Page(DATA, drop=[30_000], validators=False)
    get(tmp_path, page)
    complete(tmp_path)
    assert page.asked == [None, None]


def test_a_continuation_of_a_file_of_another_size_is_thrown_away(tmp_path: Path) -> None:
    pages = {"/a.zip": Page(DATA, drop=[30_000, 0, 0, 0])}
    with serving(pages) as address:
        with pytest.raises(HsisrError):
            download([address + "/a.zip"], tmp_path / "a.zip", patience=HASTY)
        notes = tmp_path / ".a.zip.part.json"
        assert str(len(DATA)) in notes.read_text()
        notes.write_text(notes.read_text().replace(str(len(DATA)), str(len(DATA) - 1)))
        download([address + "/a.zip"], tmp_path / "a.zip", patience=HASTY)
    assert pages["/a.zip"].asked[-2:] == ["bytes=30000-", None]
    complete(tmp_path)


def test_the_next_mirror_is_asked(tmp_path: Path) -> None:
    assert get(tmp_path, Page(status=[404]), Page(status=[500] * 3), Page(DATA)) == "/2.zip"
    complete(tmp_path)


def test_nothing_of_one_mirror_is_used_for_another(tmp_path: Path) -> None:
    other = b"PK" + bytes(len(DATA) - 2)
    assert get(tmp_path, Page(other, drop=[30_000, 0, 0, 0]), Page(DATA)) == "/1.zip"
    complete(tmp_path)


def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    get(tmp_path, Page(DATA, status=[503, 429]))
    complete(tmp_path)


def test_a_redirect_is_followed_but_not_for_ever(tmp_path: Path) -> None:
    get(tmp_path, Page(redirect="/1.zip"), Page(DATA))
    complete(tmp_path)
    (tmp_path / "a.zip").unlink()
    refused(tmp_path, Page(redirect="/0.zip"), "redirects without end")


def test_every_address_is_named_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(HsisrError) as caught:
        get(tmp_path, Page(status=[404]), Page(b"<html>Not here</html>"), Page(status=[403]))
    for part in (
        "/0.zip (it answered 404 Not Found)",
        "/1.zip (it gave a web page instead of a .zip file)",
        "/2.zip (it answered 403 Forbidden)",
    ):
        assert part in str(caught.value)


def test_an_address_where_nobody_listens(tmp_path: Path) -> None:
    with serving({}) as address:
        pass
    with pytest.raises(HsisrError, match=r"Connection refused, 3 times\)\. By hand\."):
        download([address + "/a.zip"], tmp_path / "a.zip", patience=HASTY, advice="By hand.")
    with pytest.raises(HsisrError, match="no address is known"):
        download([], tmp_path / "a.zip")


def test_a_wrong_size_is_refused_before_it_is_downloaded(tmp_path: Path) -> None:
    refused(tmp_path, Page(DATA), "it offers 60002 bytes, expected 60001", size=60_001)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [60_001, 60_003])
def test_a_wrong_size_that_is_not_announced_is_refused_too(tmp_path: Path, size: int) -> None:
    refused(tmp_path, Page(DATA, chunked=True), str(size), size=size)


def test_wrong_bytes_are_refused_and_thrown_away(tmp_path: Path) -> None:
    wrong = DATA[:-1] + b"?"
    refused(tmp_path, Page(wrong), f"another SHA-256 than {SHA}", sha256=SHA)
    assert list(tmp_path.iterdir()) == []
    assert get(tmp_path, Page(wrong), Page(DATA), sha256=SHA) == "/1.zip"
    complete(tmp_path)


def test_too_little_is_never_taken_for_all(tmp_path: Path) -> None:
    refused(tmp_path, Page(DATA, length=len(DATA) + 5), "it did not continue the file, 3 times")
    refused(
        tmp_path, Page(DATA, chunked=True, drop=[20_000, 0, 0, 0]), "broke off after 20000 bytes, 3 times"
    )
    # without a length, the end of the connection may be the end of the file or not
    refused(tmp_path, Page(DATA, length=None), "does not say how long the file is")


def test_an_unknown_length_is_no_harm_where_size_or_hash_is_known(tmp_path: Path) -> None:
    get(tmp_path, Page(DATA, chunked=True))
    complete(tmp_path)
    (tmp_path / "a.zip").unlink()
    get(tmp_path, Page(DATA, length=None), sha256=SHA)
    complete(tmp_path)
    (tmp_path / "a.zip").unlink()
    get(tmp_path, Page(DATA, length=None), size=len(DATA))
    complete(tmp_path)
    (tmp_path / "a.zip").unlink()
    refused(tmp_path, Page(DATA[:-9], length=None), "59993 bytes, expected 60002", size=len(DATA))


def test_a_slow_drip_ends_in_a_file_or_in_an_error(tmp_path: Path) -> None:
    get(tmp_path, Page(DATA[:2000], pause=0.001))
    assert (tmp_path / "a.zip").read_bytes() == DATA[:2000]
    (tmp_path / "a.zip").unlink()
    refused(tmp_path, Page(DATA, pause=0.05), "it is too slow: ")


def test_silence_is_given_up(tmp_path: Path) -> None:
    refused(tmp_path, Page(DATA, pause=2.0), "it fell silent, 3 times")


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    with serving({"/a.zip": Page(DATA)}) as address, pytest.raises(HsisrError, match="Cannot write"):
        download([address + "/a.zip"], tmp_path / "taken" / "a.zip", patience=HASTY)
