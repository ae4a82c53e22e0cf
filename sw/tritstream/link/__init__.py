"""The host's end of the link: frames, messages, a reliable byte stream; see `docs/link.md`."""
