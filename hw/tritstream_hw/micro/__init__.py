"""A device small enough for an iCE40UP5K: one datapath of 32 bits under a program in block RAM.

Everything that other builds have gates for is a program here: frames and commands of the link,
headers of the tape, and all arithmetic but the sums of trits. The machine has an accumulator A, its
upper half H for products and pairs, a carry, and 512 slots for variables and constants, of which an
instruction names one (`isa`). It has no stack and no interrupts: a function's variables have slots
of their own, and bytes that come go to a ring that the program looks at from time to time.

`program` is written in Python of whole numbers, with the abilities that `language` lists, and is
made instructions by `compiler`; `core` carries them out, with `multiplier`, `dot` and `data_memory`
beside it; `device` joins the two for a build. What the instructions do is written down a second
time in the simulations' twin of the machine, which gates and program are held to.
"""
