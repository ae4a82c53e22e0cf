"""The program of the micro machine: everything that other builds have gates for.

These modules are read by `tritstream_hw.micro.compiler` and never run as Python. `main` is where it
begins, `layout` says where everything lies; `link` is the frames, `commands` the messages, `run`
the passes, `stage` what happens in a stage, `rows`, `elements` and `head` to each of its rows,
`vectors` and `scales` what is done once for a vector, and `numbers` is arithmetic.
"""
