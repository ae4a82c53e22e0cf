"""The manifest that `tritstream build` leaves beside a bitstream."""

import json
import pathlib

from tritstream.errors import BadInput
from tritstream.support.inputs import check_input

__all__ = ["MANIFEST", "read_build_id", "read_manifest"]

MANIFEST = "manifest.json"
MOST_BYTES = 1 << 20


def read_build_id(directory: pathlib.Path | str) -> bytes:
    """Return the eight bytes by which a device that holds this bitstream is known again.

    Raises
    ------
    BadInput
        If there is no manifest in the directory, or not one of a build.
    """
    return bytes.fromhex(read_manifest(directory)["build_id"])


def read_manifest(directory: pathlib.Path | str) -> dict:
    """Return the manifest in a directory, which has a build id.

    Raises
    ------
    BadInput
        If there is none, or it is not one of a build.
    """
    path = pathlib.Path(directory) / MANIFEST
    try:
        check_input(path, most=MOST_BYTES)
        manifest = json.loads(path.read_text())
        identity = bytes.fromhex(manifest["build_id"])
    except BadInput:                    # a `ValueError`, too
        raise
    except OSError as error:
        raise BadInput(f"There is no manifest at {path} ({error.strerror}): give the directory "
                       "that `tritstream build` wrote.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"{path} is not the manifest of a build ({type(error).__name__}: {error}): "
                       "build the bitstream again.") from error
    if len(identity) != 8:
        raise BadInput(f"{path} has a build id of {len(identity)} bytes, not 8: build the "
                       "bitstream again.")
    return manifest
