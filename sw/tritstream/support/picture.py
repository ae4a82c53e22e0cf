"""Pictures as files."""

import io
from pathlib import Path

from tritstream.support.files import write_whole

__all__ = ["FORMATS", "write_picture"]

FORMATS = (".png", ".svg")


def write_picture(figure, path: Path):
    """Write a figure of matplotlib, in the format that the suffix of `path` says: one of `FORMATS`.

    It is drawn before its file is opened: an error of drawing is none of writing. The same figure
    gives the same bytes.
    """
    drawn = io.BytesIO()
    form = path.suffix.lower().removeprefix(".")
    figure.savefig(drawn, format=form, dpi=120, metadata={"Date": None} if form == "svg" else None)
    write_whole(path, drawn.getvalue())
