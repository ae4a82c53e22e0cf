"""Inputs that nobody would write: each is refused with a sentence, or the same on every device.

A target is a context manager that yields a function of a seeded generator; the function makes one
case, tries it, and says in a word or two what came of it. `BadInput` and its like are what a user
may see, and count as such; anything else that is raised is a fault of the program.
`tritstream_sim.fuzz.run` does the counting, `python -m tritstream_sim.fuzz` is its command line.
"""
