"""Parts of documents that commands write, between two marks."""

import pathlib

from tritstream.support.files import write_whole

__all__ = ["write_between"]


def write_between(path: pathlib.Path, marks: tuple[str, str], text: str) -> None:
    """Replace what a document has between two marks, each on a line of its own.

    Raises
    ------
    ValueError
        It lacks one of them.
    """
    whole = path.read_text()
    begin, end = (whole.index(mark) for mark in marks)
    write_whole(path, f"{whole[:begin + len(marks[0])]}\n{text}\n{whole[end:]}".encode())
