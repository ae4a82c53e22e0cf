"""Models behind HTTP, as clients of OpenAI's interface expect them, and a page."""
