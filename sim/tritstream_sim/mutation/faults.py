"""The faults that the tests have to notice, block by block; `mutants` runs them."""

from tritstream_sim.mutation.mutant import Mutant

__all__ = ["MUTANTS"]

TRIT = "hw/tritstream_hw/gemv/trit.py"
CORE = "hw/tritstream_hw/gemv/core.py"
ACTIVATIONS = "hw/tritstream_hw/gemv/activations.py"
FEEDER = "hw/tritstream_hw/gemv/feeder.py"
SERIALISER = "hw/tritstream_hw/gemv/serialiser.py"
TOPK = "hw/tritstream_hw/head/topk.py"
DIGEST = "hw/tritstream_hw/head/digest.py"
CHAIN = "hw/tritstream_hw/head/chain.py"
CRC = "hw/tritstream_hw/arithmetic/crc.py"

RTL_CORE = "tests/test_rtl_core.py::test_core[4-3]"
RTL_DECODER = "tests/test_rtl_core.py::test_decoder_equals_the_table_for_all_codes"
RTL_GEMV = "tests/test_rtl_gemv.py::test_gemv[4-2-2-4-192]"
RTL_TOPK = "tests/test_rtl_topk.py::test_head_and_digest"
FORMAL_CORE = "tests/test_formal_core.py::test_core"
FORMAL_FEEDER = "tests/test_formal_core.py::test_feeder"
FORMAL_TOPK = "tests/test_formal_core.py::test_topk"
FORMAL_CHAIN = "tests/test_formal_core.py::test_chain"

MULTIPLY = "hw/tritstream_hw/arithmetic/multiply.py"
PIPELINE = "hw/tritstream_hw/stream/delay.py"
REGISTER = "hw/tritstream_hw/stream/register.py"
SKID = "hw/tritstream_hw/stream/skid.py"
READER = "hw/tritstream_hw/stream/reader.py"
STREAM = "tests/test_stream.py"
DEQUANTISE = "hw/tritstream_hw/elements/dequantise.py"
RESIDUAL = "hw/tritstream_hw/elements/residual.py"
SIGMOID = "hw/tritstream_hw/elements/sigmoid.py"
RECURRENCE = "hw/tritstream_hw/elements/recurrence.py"
GATE = "hw/tritstream_hw/elements/gate.py"
MIXER = "hw/tritstream_hw/elements/mixer.py"

RTL_ELEMENTWISE = "tests/test_rtl_elementwise.py::test_elementwise"

TAPE = "hw/tritstream_hw/tape/reader.py"
ROW = "hw/tritstream_hw/tape/row.py"
ELEMENTS = "hw/tritstream_hw/elements/path.py"
SEQUENCER = "hw/tritstream_hw/sequencer.py"
STAGE = "hw/tritstream_hw/stage.py"
HEAD = "hw/tritstream_hw/head/head.py"
CONTENDERS = "hw/tritstream_hw/head/contenders.py"
ACCELERATOR = "hw/tritstream_hw/accelerator.py"
RTL_TAPE = "tests/test_rtl_tape.py::test_tape[4]"
RTL_ACCELERATOR = "tests/test_rtl_accelerator.py::test_accelerator[4-2-2-4-64]"
RTL_NARROW_ACCELERATOR = "tests/test_rtl_accelerator.py::test_accelerator[1-1-1-1-32]"
RTL_WIDE_ACCELERATOR = "tests/test_rtl_accelerator.py::test_accelerator[64-4-4-1-64]"
RTL_SHAPES = "tests/test_rtl_shapes.py"
STAGE_DECODER = "tests/test_stage.py"

SDR_ROWS = "hw/tritstream_hw/memory/sdr/rows.py"
SDR_UPKEEP = "hw/tritstream_hw/memory/sdr/upkeep.py"
SDR_COLUMNS = "hw/tritstream_hw/memory/sdr/columns.py"
CROSSING = "hw/tritstream_hw/memory/crossing.py"
SDR_PHY = "hw/tritstream_hw/phy/sdr.py"
SDR = "tests/test_rtl_sdr.py"

STATISTICS = "hw/tritstream_hw/norm/statistics.py"
ROW_STATISTICS = "hw/tritstream_hw/norm/row_statistics.py"
SHIFTER = "hw/tritstream_hw/arithmetic/shifter.py"
DIVIDER = "hw/tritstream_hw/arithmetic/divider.py"
SQUARE_ROOT = "hw/tritstream_hw/arithmetic/square_root.py"
NORM = "hw/tritstream_hw/norm/root.py"
SCALARS = "hw/tritstream_hw/norm/scalars.py"
QUANTISER = "hw/tritstream_hw/norm/quantiser.py"
BANKS = "hw/tritstream_hw/tape/gains.py"
VECTORS = "hw/tritstream_hw/elements/vectors.py"
STATE = "hw/tritstream_hw/elements/state.py"

RTL_STATISTICS = "tests/test_rtl_numbers.py::test_statistics"
RTL_SCALARS = "tests/test_rtl_numbers.py::test_scalars"
RTL_QUANTISER = "tests/test_rtl_numbers.py::test_quantiser"
RTL_BANKS = "tests/test_rtl_numbers.py::test_banks"

UART = "hw/tritstream_hw/phy/uart.py"
PLAYER = "hw/tritstream_hw/memory/player.py"
FETCHER = "hw/tritstream_hw/memory/fetcher.py"
BLOCK = "hw/tritstream_hw/memory/block.py"
PLAYLIST = "hw/tritstream_hw/control/playlist.py"
JUDGE = "hw/tritstream_hw/tape/judge.py"
DEFRAMER = "hw/tritstream_hw/link/deframer.py"
PACKET_QUEUE = "hw/tritstream_hw/stream/packet_queue.py"
ACKNOWLEDGER = "hw/tritstream_hw/link/acknowledger.py"
OUTBOX = "hw/tritstream_hw/link/outbox.py"
WINDOW = "hw/tritstream_hw/link/window.py"
SOC = "hw/tritstream_hw/soc.py"
ECP5 = "hw/tritstream_hw/boards/ecp5.py"
UART_TOP = "hw/tritstream_hw/boards/uart_top.py"
CLOCKS = "hw/tritstream_hw/boards/clocks.py"
RUN = "hw/tritstream_hw/control/run.py"
CONTRACT = "tests/test_contract.py::test_contract[conversations_that_go_on_together-sim]"
CONTRACT_STEP = "tests/test_contract.py::test_contract[conversations_in_one_step-sim]"
ACCESS = "hw/tritstream_hw/control/access.py"
BOUNDS = "hw/tritstream_hw/control/bounds.py"
SPACES = "hw/tritstream_hw/control/spaces.py"
REPLY = "hw/tritstream_hw/control/reply.py"
CHECKSUM = "hw/tritstream_hw/memory/checksum.py"

RTL_UART = "tests/test_uart.py"
RTL_BOARD = "tests/test_rtl_board_top.py::test_build_id_is_checked"
RTL_SDRAM = "tests/test_rtl_board_sdram.py::test_tiny_generates_at_the_speed_of_the_memory"
RTL_MEMORY = "tests/test_rtl_memory.py"
FORMAL_PLAYER = "tests/test_formal_player.py"
RTL_LINK = "tests/test_rtl_link.py"
RTL_CONTROL = "tests/test_rtl_control.py"
RTL_REFUSALS = "tests/test_rtl_refusals.py::test_a_header_that_would_hang_is_refused"
RTL_REFUSED_PASSES = "tests/test_rtl_refusals.py::test_a_pass_of_another_length_is_refused"
RTL_SOC = "tests/test_rtl_refusals.py::test_the_next_run_works"

MUTANTS = [
    Mutant("trit.both-ninth", "a byte whose pairs are both the ninth decodes only one of them",
           TRIT, "escape & (~q[2] | p[:2].all())", "escape & ~q[2]", RTL_DECODER),
    Mutant("trit.pair-index", "the escaped pair Q loses its high bit",
           TRIT, "Mux(p_ninth, p[2], q[2])", "q[2]", RTL_DECODER),
    Mutant("core.carry-lost", "an adder keeps only one of its operands' two carries",
           CORE, "carry.eq(handed_on)", "carry.eq(0)", RTL_CORE),
    Mutant("core.adder-width", "the sums of a tree do not grow",
           CORE, "Signal(signed(len(a) + 1), name=f\"total_{where}\"",
           "Signal(signed(len(a)), name=f\"total_{where}\"", RTL_CORE),
    Mutant("core.zero-trit", "a zero trit lets its activation through",
           CORE, "(act ^ ones[0]) & ones[1]", "act ^ ones[0]", RTL_CORE),
    Mutant("core.rows-swapped", "the rows of a byte come out in reverse",
           CORE, "tree.trits[column].eq(trits[row])",
           "tree.trits[column].eq(trits[ROWS - 1 - row])", RTL_CORE),
    Mutant("core.columns-swapped", "the columns of a beat meet the wrong activations",
           CORE, "m.d.sync += trits[column].eq(decoder.trits)",
           "m.d.sync += trits[-1 - column].eq(decoder.trits)", RTL_CORE),
    Mutant("core.acc-kept", "a group begins with the sum of the one before",
           CORE, "m.d.sync += acc.eq(0)", "m.d.sync += acc.eq(total)", RTL_CORE),
    Mutant("core.idle-counted", "the accumulators also add in cycles without a beat",
           CORE, "with m.Elif(self.lives[-1]):", "with m.Else():", RTL_CORE),
    Mutant("core.place-too-many", "one group more is promised than the queue holds",
           CORE, "< self.places - 1)", "< self.places)", FORMAL_CORE),
    Mutant("core.stall-dropped", "a beat counts as taken although the core was not ready",
           CORE, "taken.eq(self.i.valid & self.i.ready)", "taken.eq(self.i.valid)", FORMAL_CORE),
    Mutant("activations.part", "a write of V elements fills all parts of a beat",
           ACTIVATIONS, "write.en.eq(self.write.en << Cat(part, self.write.lane))",

           "write.en.eq(self.write.en.replicate(len(write.en)))", RTL_GEMV),
    Mutant("activations.vector", "reads follow the vector that is being written",
           ACTIVATIONS, "Cat(self.read.beat, self.read.vector)",
           "Cat(self.read.beat, self.write.vector)", RTL_GEMV),
    Mutant("feeder.interlock-late", "a beat is read one too early",
           FEEDER, "m.d.sync += limit.eq(self.available[vector])",
           "m.d.sync += limit.eq(self.available[vector] + 1)", FORMAL_FEEDER),
    Mutant("feeder.interlock-vector", "the first beat of a vector waits for the vector before it",
           FEEDER, "self.available[following]", "self.available[vector]", FORMAL_FEEDER),
    Mutant("feeder.shared-vector", "every projection reads a vector of its own",
           FEEDER, "separate & (projection != last_projection)", "projection != last_projection",
           RTL_GEMV),
    Mutant("feeder.stall-dropped", "a beat is read although the one before still waits",
           FEEDER, "permitted.eq(there & register.i.ready)", "permitted.eq(there)",
           FORMAL_FEEDER),
    Mutant("feeder.last-lost", "only the last group of a block ends",
           FEEDER, "register.i.p.last.eq(group_ends)", "register.i.p.last.eq(block_ends)",
           RTL_GEMV),
    Mutant("serialiser.padding", "rows that only fill up the last block come out",
           SERIALISER, "live & Mux(last_word, there, -1)", "live", RTL_GEMV),
    Mutant("serialiser.last-early", "the last word of each block is marked last",
           SERIALISER, "register.i.p.last.eq(command_ends)", "register.i.p.last.eq(block_ends)",
           RTL_GEMV),
    Mutant("serialiser.word", "a word that two blocks share is counted twice",
           SERIALISER, "word.eq(word + word_ends), first_word.eq(word + word_ends)",
           "word.eq(word + 1), first_word.eq(word + 1)", RTL_GEMV),
    Mutant("serialiser.kept", "a block's first group is that of the block before",
           SERIALISER, "with m.If(projection == n):", "with m.If(projection == n + 1):", RTL_GEMV),
    Mutant("serialiser.stall-dropped", "a word is overwritten while it waits",
           SERIALISER, "self.i.valid & register.i.ready),\n            last_word",
           "self.i.valid),\n            last_word", RTL_GEMV),
    Mutant("chain.tie", "of equal logits the later one wins",
           CHAIN, "(kept.acc - offer.acc)[-1]", "~(offer.acc - kept.acc)[-1]", FORMAL_CHAIN),
    Mutant("chain.displaced", "a displaced logit is compared again and loses a tie",
           CHAIN, "self.displaced[n] | ~self.keeps[n]", "~self.keeps[n]", RTL_TOPK),
    Mutant("chain.clear", "a logit on its way survives a clear",
           CHAIN, "[self.offered[1:].eq(0), self.keeps.eq(0)]", "self.keeps.eq(0)", RTL_TOPK),
    Mutant("chain.settled-early", "a ranking is settled as soon as the last logit is taken",
           CHAIN, "self.settled | ended[-1]", "self.settled | (taken & self.i.p.last)",
           RTL_TOPK),
    Mutant("topk.tie", "of equal logits the later one wins",
           TOPK, "~_less(read.data.acc, fresh.acc)", "_less(fresh.acc, read.data.acc)",
           FORMAL_TOPK),
    Mutant("topk.least", "the least of the best is what it was when there were enough",
           TOPK, "with m.If(place == most - 1):", "with m.If((place == most - 1) & ~self.full):",
           (FORMAL_TOPK, RTL_TOPK)),
    Mutant("topk.clear", "a logit on its way survives a clear",
           TOPK, "[self.counts.eq(0), self.sorting.eq(0), ended.eq(0)]",
           "[self.counts.eq(0), ended.eq(0)]", RTL_TOPK),
    Mutant("topk.settled-early", "the ranking is called settled as soon as the last logit is taken",
           TOPK, "self.settled.eq(ended & ~self.sorting)", "self.settled.eq(ended)", RTL_TOPK),
    Mutant("digest.clear", "a word that comes with a clear is added to the old digest",
           CRC, " | self.clear.bit_select(self.stream, 1).replicate(BITS)", "", RTL_TOPK),
    Mutant("digest.idle", "a clear without a word is not heeded",
           CRC, "with m.If(self.clear[n] | (mine & self.valid.any())):",
           "with m.If(mine & self.valid.any()):", RTL_TOPK),
    Mutant("digest.order", "of several words the last is taken first",
           CRC, "self.data.word_select(n, self._data_bits)",
           "self.data.word_select(len(self.valid) - 1 - n, self._data_bits)", RTL_TOPK),
    Mutant("multiply.limb-sign", "a low limb counts as signed",
           MULTIPLY, "Cat(value[n * _LIMB:(n + 1) * _LIMB], C(0, 1)).as_signed()",
           "value[n * _LIMB:(n + 1) * _LIMB].as_signed()", RTL_ELEMENTWISE),
    Mutant("multiply.weight", "partial products are added one limb apart, whatever their weights",
           MULTIPLY, "y << (high - low)", "y << _LIMB", RTL_ELEMENTWISE),
    Mutant("pipeline.reset", "what is under way survives a reset",
           PIPELINE, "reset_less=reset_less", "reset_less=True", RTL_WIDE_ACCELERATOR),
    Mutant("dequantise.round", "elements are truncated",
           DEQUANTISE, "fine[1:].as_signed() + fine[0]", "fine[1:].as_signed()", RTL_ELEMENTWISE),
    Mutant("dequantise.dropped", "a bit too many is dropped between the shifter's steps",
           DEQUANTISE, "signed(kept + 7)", "signed(kept + 6)", RTL_ELEMENTWISE),
    Mutant("residual.embed", "an embedding row is added to what is there",
           RESIDUAL, "Mux(self.embed, 0, self.x)", "self.x", RTL_ELEMENTWISE),
    Mutant("residual.late", "an element is added to the x of the one before",
           RESIDUAL, "delay(m, self.i, 2,", "delay(m, self.i, 1,", RTL_ELEMENTWISE),
    Mutant("sigmoid.saturation", "an argument beyond 16 wraps round",
           SIGMOID, "fine | fine[SIGMOID_ARGUMENT:].any().replicate(SIGMOID_ARGUMENT)", "fine",
           RTL_ELEMENTWISE),
    Mutant("sigmoid.magnitude", "the lowest argument counts as 0",
           SIGMOID, "magnitude = Signal(bits,", "magnitude = Signal(bits - 1,", RTL_ELEMENTWISE),
    Mutant("sigmoid.fraction", "the second step of the shift takes the next argument's fraction",
           SIGMOID, "delay(m, fraction[:3], 1, name=\"fine_fraction\")", "fraction[:3]",
           RTL_ELEMENTWISE),
    Mutant("recurrence.width", "the difference of two states overflows",
           RECURRENCE, "signed(FORMATS.state_bits + 1)", "signed(FORMATS.state_bits)",
           RTL_ELEMENTWISE),
    Mutant("gate.round", "products are truncated",
           GATE, "multiplier.o[GATE_SHIFT:].as_signed() + multiplier.o[GATE_SHIFT - 1]",
           "multiplier.o[GATE_SHIFT:].as_signed()", RTL_ELEMENTWISE),
    Mutant("mixer.negate", "the forget gate opens where it should close",
           MIXER, "negate=1)", "negate=0)", RTL_ELEMENTWISE),
    Mutant("mixer.fraction", "f is read with the fraction bits of i",
           MIXER, "fraction=fractions[1]", "fraction=fractions[0]", RTL_ELEMENTWISE),
    Mutant("mixer.turn", "the state has its product with a sigmoid in the turn of f",
           MIXER, "self._use(m, silu, self.state_latency + 1,",
           "self._use(m, silu, self.state_latency,", RTL_ELEMENTWISE),
    Mutant("mixer.keep", "f meets its lower bound a cycle too early where elements have turns",
           MIXER, "delay(m, self.keep, self.stagger,", "delay(m, self.keep, 0,", RTL_ELEMENTWISE),
    Mutant("mixer.fresh", "a fresh conversation begins with the state of the last",
           MIXER, "Mux(self.fresh, 0, self.h)", "self.h", RTL_ELEMENTWISE),
    Mutant("mixer.follows", "a token that follows goes on from what lies in its slot",
           MIXER, "Mux(follows, recurrence.o, h)", "h", RTL_ELEMENTWISE),
    Mutant("serialiser.pace", "a token that follows does not wait for the state before it",
           SERIALISER, "& follows.bit_select(lane, 1) & (age != ROWS - 1)", "& 0", RTL_GEMV),
    Mutant("digest.body", "the head is in the digest of a token that is only body",
           DIGEST, "Mux(self.body.bit_select(logits.p.lane, 1), 0, logits.p.live)",
           "logits.p.live", RTL_ACCELERATOR),
    Mutant("path.slot", "all conversations have one state",
           ELEMENTS, "Cat(element, table[place.lane].slot)", "element", RTL_ACCELERATOR),
    Mutant("path.scales", "a row is shifted as those of another token",
           ELEMENTS, "of(later, cycles + 1)", "of(lane, cycles + 1)", RTL_ACCELERATOR),
    Mutant("path.turn", "a row makes room for the next before its third projection had its turn",
           ELEMENTS, "begun & (turn == VECTORS - 1)", "begun & (turn == VECTORS - 2)",
           RTL_NARROW_ACCELERATOR),
    Mutant("path.scales-turn", "a projection is shifted as the one whose turn is next",
           ELEMENTS, "self._shared(tables[lane], turned(turn, cycles))",
           "self._shared(tables[lane], turn)", RTL_NARROW_ACCELERATOR),
    Mutant("quantiser.lane", "a product begins when the first token's vector is there",
           QUANTISER, "(place.bank == index) & (place.lane == self.last)", "(place.bank == index)",
           RTL_ACCELERATOR),
    Mutant("accelerator.late-maxima", "reciprocals behind the last stage run into the next pass",
           ACCELERATOR, "self.statistics.done & ~self.sequencer.is_last", "self.statistics.done",
           RTL_ACCELERATOR),
    Mutant("run.slot", "tokens that share a pass have the states of their lanes",
           RUN, "known.slot.eq(one.slot)", "known.slot.eq(lane)", CONTRACT),
    Mutant("mixer.late", "g meets the state of the row before",
           MIXER, "self.mlgru_latency - gate.latency - 1 - 2 * self.stagger",
           "self.mlgru_latency - gate.latency - 2 * self.stagger", RTL_ELEMENTWISE),
    Mutant("path.address", "a new state is written to the row before its own",
           ELEMENTS, "m, lane.state_latency - 1 - lane.glu_latency",
           "m, lane.state_latency - lane.glu_latency", RTL_ACCELERATOR),
    Mutant("state.bank", "a state that does not begin with a word is read from one",
           STATE, "reader.addr.eq((read + before) >> bits)", "reader.addr.eq(read >> bits)",
           RTL_ACCELERATOR),
    Mutant("state.lane", "a new state is written to the lane's own bank, wherever the state begins",
           STATE, "mine = (number - write)[:bits]", "mine = C(number, bits)[:bits]",
           RTL_ACCELERATOR),
    Mutant("delay.place", "what waits in a memory comes out a cycle early",
           PIPELINE, "place == cycles - 2, 0, place + 1", "place == cycles - 3, 0, place + 1",
           RTL_ELEMENTWISE),
    Mutant("row.end", "an embedding row is an element too long",
           ROW, "last_row.eq(self.command.payload - 1)", "last_row.eq(self.command.payload)",
           RTL_ACCELERATOR),
    Mutant("row.exact", "a row that exactly fills what it is padded to never ends",
           ROW, "(in_padding | (completes & last_word))", "in_padding",
           (RTL_TAPE, RTL_SHAPES + "::test_everything_that_ends_at_a_unit[8]")),
    Mutant("row.stall", "a row's byte is used up although its element is not taken",
           ROW, "(~completes | self.o.ready)),", "1),", RTL_TAPE),
    Mutant("row.wide-sign", "elements of 8 bits lose their sign",
           ROW, "chunk.word_select(n, 8).as_signed()", "chunk.word_select(n, 8)", RTL_ACCELERATOR),
    Mutant("tape.bank-units", "gain banks that do not end with a unit are cut short",
           JUDGE, "padded_beats(header.rows,", "padded_beats(header.rows - 31,", RTL_ACCELERATOR),
    Mutant("tape.state-check", "a section whose state is out of range is let through",
           JUDGE, "header.state_base + header.rows <= self._max_state", "1", RTL_ACCELERATOR),
    Mutant("tape.blocks", "a section with fewer blocks than its rows make is let through",
           JUDGE, "(excess >= 0) & (excess <", "(excess <", RTL_REFUSALS + "[blocks-too-few]"),
    Mutant("tape.units", "a section whose length its dimensions do not make is let through",
           TAPE, "with m.If(~judge.consistent):", "with m.If(0):", RTL_REFUSALS + "[units-more]"),
    Mutant("tape.columns", "a product without columns is let through",
           JUDGE, "(header.columns != 0) | (header.op == Op.EMBED)", "1",
           RTL_REFUSALS + "[columns-none-consistent]"),
    Mutant("tape.banks", "unknown banks are let through",
           JUDGE, "header.banks[len(Bank):] == 0", "1", RTL_REFUSALS + "[banks]"),
    Mutant("tape.starved", "a pass that ends too early is waited for",
           TAPE, "with m.If(self.stalled & exhausted):", "with m.If(0):",
           RTL_REFUSED_PASSES),
    Mutant("sequencer.surplus", "a pass with beats left is a good one",
           SEQUENCER, "m.next = \"REST\"", "m.next = \"DONE\"",
           RTL_REFUSED_PASSES),
    Mutant("tape.bank-count", "a counter of bank beats is too narrow for the 370M at P = 4",
           TAPE, "banks_left = Signal.like(judge.bank_units << unit_bits)",
           "banks_left = Signal(10)",
           RTL_SHAPES + "::test_a_layer_and_the_head_of_the_published_370m[4]"),
    Mutant("sequencer.one-stage-more", "a pass that stops early plays one stage too many",
           SEQUENCER, "index + 1 == run.stages", "index == run.stages", RTL_ACCELERATOR),
    Mutant("sequencer.record", "records hold stalls in place of cycles",
           SEQUENCER, "data.cycles.eq(self.cycles)", "data.cycles.eq(self.stalls)",
           RTL_ACCELERATOR),
    Mutant("sequencer.half", "gain banks are overwritten while they are in use",
           SEQUENCER, "self.half.eq(index[0])", "self.half.eq(0)", RTL_ACCELERATOR),
    Mutant("tape.stalls", "waiting for a header that nobody wants yet counts as a stall",
           TAPE, "(~self.collecting | self.header.ready)", "1",
           RTL_SHAPES + "::test_stalls_are_counted_to_the_cycle"),
    Mutant("stage.input", "projections after a gated vector quantise x",
           STAGE, "Mux(self._of_op(lambda op: op.reads_z), z_word, 0)", "0", STAGE_DECODER),
    Mutant("stage.words", "the quantiser is told beats in place of words",
           STAGE, "column_beats << words_per_beat", "column_beats", STAGE_DECODER),
    Mutant("stage.separate", "all projections of MLGRU meet the first vector",
           STAGE, "word.gemv.separate.eq(self._of_op(lambda op: op.vectors == VECTORS))",
           "word.gemv.separate.eq(0)", STAGE_DECODER),
    Mutant("stage.exponent", "the exponents of a header lose their sign",
           STAGE, "scalar.exponent.eq(header[f\"{name}_exponent\"])",
           "scalar.exponent.eq(header[f\"{name}_exponent\"][:15])", STAGE_DECODER),
    Mutant("head.stall", "logits are dropped while the host is not ready",
           HEAD, "topk.i.ready & (~to_host | skid.i.ready)", "topk.i.ready", RTL_ACCELERATOR),
    Mutant("contenders.full", "logits are dropped before there are enough of them",
           CONTENDERS, "self.every | ~full", "self.every", RTL_TOPK),
    Mutant("contenders.one", "of a word only the first contender is ranked",
           CONTENDERS, "more.eq((wanted & ~first).any())", "more.eq(0)", RTL_TOPK),
    Mutant("contenders.last", "a ranking does not end if the last logit is not among the best",
           CONTENDERS, "| ends))", "))", RTL_TOPK),
    Mutant("contenders.every", "the host gets only what may be ranked",
           CONTENDERS, "(self.every | ~full", "(~full", RTL_TOPK),
    Mutant("elements.early", "row sums pass before the scales are there",
           ELEMENTS, "offered.eq(self.command.valid & scales.valid)",
           "offered.eq(self.command.valid)", RTL_ACCELERATOR),
    Mutant("gains.keep-half", "lower bounds are read from the half of the stage before",
           BANKS, "banks.keep_half.eq(self.half)", "banks.keep_half.eq(~self.half)",
           RTL_ACCELERATOR),
    Mutant("vectors.turn", "the quantiser reads the rows of the element path",
           VECTORS, "Mux(self.words.en, self.words.addr, row >> word_bits)", "row >> word_bits",
           RTL_ACCELERATOR),
    Mutant("accelerator.fresh-digest", "a fresh conversation continues the digest of the last",
           ACCELERATOR, "taken(self.start) & lane.fresh", "0",
           RTL_ACCELERATOR),
    Mutant("elements.gate", "the residual sees the elements of the mixer",
           ELEMENTS, "glu, mlgru), residual)", "glu, mlgru), glu)", RTL_ACCELERATOR),
    Mutant("statistics.round", "the product with the first gain is truncated",
           ROW_STATISTICS, "(self._pre.o + (1 << PRE_SHIFT - 1))", "self._pre.o", RTL_STATISTICS),
    Mutant("statistics.width", "the sums of squares are 72 bits wide",
           STATISTICS, "total.eq(total + squares)",
           "total.eq((total + squares)[:72])", RTL_STATISTICS),
    Mutant("statistics.clear", "elements on their way survive a clear",
           STATISTICS, "Mux(self.clear, 0, lives[-1]) if n > 1 else lives[-1]",
           "lives[-1]", RTL_STATISTICS),
    Mutant("statistics.gain", "all maxima are of the first gain",
           ROW_STATISTICS, "multiplier.b.eq(self.gains[f\"gain{index}\"])",
           "multiplier.b.eq(self.gains.gain0)", RTL_STATISTICS),
    Mutant("statistics.shared-gain", "all gains are the first where they share a multiplier",
           ROW_STATISTICS, "gains.eq(Value.cast(gains) >> FORMATS.gain_bits)", "gains.eq(gains)",
           RTL_STATISTICS),
    Mutant("statistics.shared-round", "the product by a shared multiplier is truncated",
           ROW_STATISTICS, "inner.eq((product.o + (1 << PRE_SHIFT - 1)) >> PRE_SHIFT)",
           "inner.eq(product.o >> PRE_SHIFT)", RTL_STATISTICS),
    Mutant("statistics.shared-limb", "a product is squared by its lower limb alone",
           ROW_STATISTICS, "upper.eq(ages[3] | ages[self._inner_age])", "upper.eq(ages[3])",
           RTL_STATISTICS),
    Mutant("statistics.shared-hold", "a product is not kept until it has been squared",
           ROW_STATISTICS, "with m.If(ages[self._inner_age - 2]):", "with m.If(1):",
           RTL_STATISTICS),
    Mutant("statistics.live", "a lane without an element counts",
           STATISTICS, "Mux(self.i.valid, self.i.p.live, 0)",
           "self.i.valid.replicate(len(self._rows))", RTL_STATISTICS),
    Mutant("shifter.top", "a number counts as normalised one bit too early",
           SHIFTER, "self.o[-step:].any()", "self.o[-step - 1:].any()", RTL_SCALARS),
    Mutant("divider.equal", "a remainder as large as the denominator gives the digit 0",
           DIVIDER, "Mux(difference >= 0, difference[:_BITS + bits], following)",
           "Mux(difference > 0, difference[:_BITS + bits], following)", RTL_SCALARS),
    Mutant("square_root.digits", "a root is a bit short",
           SQUARE_ROOT, "left.eq(self._bits), operand", "left.eq(self._bits - 1), operand",
           RTL_SCALARS),
    Mutant("norm.odd", "a norm of odd length is not moved to an even place",
           NORM, "Mux(shifter.left[0], shifter.o[-2 * ROOT_BITS:] >> 1,",
           "Mux(0, shifter.o[-2 * ROOT_BITS:] >> 1,", RTL_SCALARS),
    Mutant("norm.right", "a ratio that shifts S1 far to the right shifts it to the left",
           NORM, "places = Signal(signed(18))", "places = Signal(7)", RTL_SCALARS),
    Mutant("scalars.zero", "a maximum of 0 has a reciprocal",
           SCALARS, "Mux(shifter.left == 0, 0, divider.o)", "divider.o", RTL_SCALARS),
    Mutant("scalars.saturation", "shifts above 62 wrap round",
           SCALARS, "(shifter.left == 0) | (shift > FORMATS.max_shift)", "shifter.left == 0",
           RTL_SCALARS),
    Mutant("scalars.vectors", "projections with a common vector look at maxima of their own",
           SCALARS, "Mux(self.command.p.separate, unit.own[lane][place], first)",
           "unit.own[lane][place]", RTL_SCALARS),
    Mutant("scalars.turn", "a unit makes every reciprocal of the first maximum",
           SCALARS, "normalise(self.amax[lane][place])", "normalise(self.amax[lane][0])",
           RTL_SCALARS),
    Mutant("scalars.early", "a reciprocal is announced before it is under way",
           SCALARS, "with m.If(divider.left == self._lead):", "with m.If(divider.left != 0):",
           RTL_SCALARS),
    Mutant("quantiser.round", "activations are truncated",
           QUANTISER, "(scaled.o + (1 << bits - 1)) >> bits", "scaled.o >> bits", RTL_QUANTISER),
    Mutant("quantiser.tag", "the last words of a vector are scaled like the next one",
           QUANTISER, "places[first.factor_delay - 1]", "places[first.factor_delay - 2]",
           RTL_QUANTISER),
    Mutant("quantiser.available", "a beat is called available with its first word",
           QUANTISER, "column_words // column_beats", "1", RTL_QUANTISER),
    Mutant("quantiser.drain", "a command is taken while words of the last are on their way",
           QUANTISER, "busy.eq(running | valids.any())", "busy.eq(running)", RTL_QUANTISER),
    Mutant("banks.half", "the half that is read is written",
           BANKS, "Cat(address[len(part):][:bits], self.half)",
           "Cat(address[len(part):][:bits], self.read_half)", RTL_BANKS),
    Mutant("banks.order", "banks are filled from the last to the first",
           BANKS, "current.eq(remaining & -remaining)",
           "current.eq(Mux(remaining[4], 16, remaining & -remaining))", RTL_BANKS),
    Mutant("banks.chunk", "every part of a beat is its first",
           BANKS, "word_select(chunk, 8 * chunk_bytes)", "word_select(0, 8 * chunk_bytes)",
           RTL_BANKS),
    Mutant("vectors.member", "a write fills the whole word",
           VECTORS, "write.en.eq(self.write.en << word * self._width)",
           "write.en.eq(self.write.en.replicate(words))", RTL_BANKS),
    Mutant("uart.middle", "bits are sampled where they begin",
           UART, "phase.eq(self._period // 2)", "phase.eq(self._period - self._step)",
           RTL_UART + "::test_receiver_bears_a_clock_that_is_off"),
    Mutant("uart.vote", "one sample decides instead of three",
           UART, "line.eq((a & b) | (b & c) | (a & c))", "line.eq(a)",
           RTL_UART + "::test_receiver_does_not_see_glitches"),
    Mutant("uart.break", "a line that stays low goes on giving bytes",
           UART, "m.next = \"BREAK\"", "m.next = \"IDLE\"",
           RTL_UART + "::test_a_break_is_no_byte"),
    Mutant("uart.overrun", "a byte not taken is overwritten",
           UART, "with m.If(~self.o.valid | self.o.ready):", "with m.If(1):",
           RTL_UART + "::test_received_bytes_stand"),
    Mutant("reader.stall-dropped", "a word is fetched over one that still waits",
           READER, "self.memory.en.eq(self.i.valid & self.i.ready)",
           "self.memory.en.eq(self.i.valid)", STREAM),
    Mutant("register.stall-dropped", "a payload is replaced while it waits",
           REGISTER, "self.i.ready.eq(~self.o.valid | self.o.ready)", "self.i.ready.eq(1)", STREAM),
    Mutant("skid.full", "a skid takes a payload while both places are full",
           SKID, "m.d.comb += self.i.ready.eq(~full)", "m.d.comb += self.i.ready.eq(1)", STREAM),
    Mutant("fetcher.overlap", "a request waits for the end of the one before",
           FETCHER, "(under_way <= MOST_BEATS)", "(under_way == 0)",
           RTL_MEMORY + "::test_fetcher_hides_the_latency"),
    Mutant("fetcher.abandon", "beats that were abandoned are passed on",
           FETCHER, "[dropping.eq(1), left.eq(0)]", "[left.eq(0)]",
           RTL_MEMORY + "::test_fetcher_drops_what_was_abandoned"),
    Mutant("fetcher.last", "the last beat of a pass is marked too early",
           FETCHER, "self.last.eq(asked & (under_way == 1))", "self.last.eq(under_way == 1)",
           FORMAL_PLAYER),
    Mutant("fetcher.request", "every request asks for as many beats as one may",
           FETCHER, "count.eq(Mux(left < MOST_BEATS, left, MOST_BEATS))", "count.eq(MOST_BEATS)",
           FORMAL_PLAYER),
    Mutant("fetcher.early", "a region is taken while beats of an abandoned one still come",
           FETCHER, "asked & ~dropping & ~self.abandon", "asked & ~self.abandon", FORMAL_PLAYER),
    Mutant("prefetch.kept", "beats of a pass that was given up go into the next",
           SOC, "ResetInserter(restart)(prefetch)", "prefetch", RTL_SOC),
    Mutant("player.mark", "the next move takes the mark from a last beat that waits",
           PLAYER, "(~move.streamed & ~move.last", "(~move.streamed", FORMAL_PLAYER),
    Mutant("player.abandon", "bytes of an abandoned move are still taken",
           PLAYER, "m.d.sync += expects.eq(0)", "m.d.sync += expects.eq(expects)",
           FORMAL_PLAYER),
    Mutant("register.kept", "the payload of an empty place changes",
           REGISTER, "with m.If(self.i.valid & self.i.ready):", "with m.If(self.i.ready):",
           FORMAL_PLAYER),
    Mutant("player.order", "a read overtakes the last write",
           PLAYER, "fetcher.request.ready.eq(memory.command.ready & ~writes.o.valid)",
           "fetcher.request.ready.eq(memory.command.ready)", FORMAL_PLAYER),
    Mutant("player.bytes", "data of a command are followed by one byte of the next",
           PLAYER, "expects.eq(left != 1)", "expects.eq(left != 0)",
           RTL_CONTROL + "::test_commands_need_not_wait_for_replies"),
    Mutant("player.drop", "beats of a failed pass are offered all the same",
           PLAYER, "(gearbox.o.valid | fetcher.o.valid) & ~drop",
           "gearbox.o.valid | fetcher.o.valid",
           RTL_MEMORY + "::test_player_drops_beats"),
    Mutant("block.order", "a write is done before the reads that it follows",
           BLOCK, "write.en.eq(taken & command.p.write)",
           "write.en.eq(command.valid & command.p.write)",
           RTL_MEMORY + "::test_block_memory_keeps_the_order_of_its_commands"),
    Mutant("playlist.splice", "the tape begins again behind the row",
           PLAYLIST, "name(what.tape + what.lead_units,", "name(what.tape,",
           RTL_MEMORY + "::test_playlist_splices_the_rows"),
    Mutant("deframer.crc", "a wrong CRC passes",
           DEFRAMER, "self.good.eq(crc.match_detected)", "self.good.eq(1)",
           RTL_LINK + "::test_damage_is_complained_of_once"),
    Mutant("deframer.crc-gap", "a frame that breaks off in its CRC is waited for",
           DEFRAMER, "m.next = \"CHECK\"\n                with m.Elif(given_up):",
           "m.next = \"CHECK\"\n                with m.Elif(0):",
           RTL_LINK + "::test_a_half_frame_is_given_up"),
    Mutant("receiver.rollback", "the payload of a damaged frame is not rolled back",
           PACKET_QUEUE, "m.d.sync += end.eq(head)", "m.d.sync += end.eq(end)",
           RTL_LINK + "::test_faults_lose_nothing"),
    Mutant("acknowledger.thrift", "every frame is acknowledged",
           ACKNOWLEDGER, ">= DEVICE_ROOM // 2", ">= 1",
           RTL_LINK + "::test_throughput_to_the_device"),
    Mutant("outbox.window", "a payload not yet acknowledged is overwritten",
           OUTBOX, "< DEVICE_WINDOW)", "<= DEVICE_WINDOW)",
           RTL_LINK + "::test_faults_lose_nothing"),
    Mutant("window.credit", "more is sent than there is room for",
           WINDOW, "(probe | ((credit != 0) & ~credit[-1]))", "1",
           RTL_LINK + "::test_no_more_than_the_credit_is_sent_but_for_probes"),
    Mutant("soc.reset", "a byte of a reply passes the link after its reset",
           SOC, "sink.valid.eq(source.valid & ~reset)", "sink.valid.eq(source.valid)",
           RTL_CONTROL + "::test_reset_in_the_middle_of_replies[6000]"),
    Mutant("run.failed", "an accelerator that has given a pass up is not reset",
           RUN, "self.failed.eq(accelerator.done.p.status != Status.OK)", "self.failed.eq(0)",
           RTL_SOC),
    Mutant("run.row-early", "a row is checked before it is known",
           RUN, "with m.If(self.command.valid):\n                    m.next = \"OFFSET\"",
           "with m.If(self.command.valid):\n                    m.next = \"CHECK\"",
           RTL_CONTROL + "::test_greedy_run_goes_on_alone"),
    Mutant("run.last", "a run is one pass too long",
           RUN, "(left == 1)", "(left == 0)",
           RTL_CONTROL + "::test_greedy_run_goes_on_alone"),
    Mutant("run.fresh", "every pass of a run is fresh",
           RUN, "[left.eq(left - 1), tokens.table[0].fresh.eq(0)]", "[left.eq(left - 1)]",
           RTL_CONTROL + "::test_greedy_run_goes_on_alone"),
    Mutant("run.body", "a token that is only body is answered with the best logits",
           RUN, "ranked = head & ~tokens.table[lane].body.any()", "ranked = head", CONTRACT_STEP),
    Mutant("board.inverted", "the line to the host is inverted",
           UART_TOP, "tx.o.eq(serial.tx)", "tx.o.eq(~serial.tx)", RTL_BOARD),
    Mutant("board.feedback", "the PLL makes another clock than the UART counts on",
           CLOCKS, "p_CLKFB_DIV=dividers.feedback,", "p_CLKFB_DIV=dividers.feedback + 1,",
           RTL_BOARD),
    Mutant("board.oscillator", "the PLL's oscillator runs faster than it can",
           CLOCKS, 'f"p_{name}_DIV": divider', 'f"p_{name}_DIV": 2 * divider', RTL_BOARD),
    Mutant("access.end", "the last word of a space is out of range",
           BOUNDS, "(first[:bits] + count[:bits] > size)", "(first[:bits] + count[:bits] >= size)",
           RTL_CONTROL + "::test_spaces"),
    Mutant("access.high", "only the low bits of an address and a length are looked at",
           BOUNDS, "(first[bits:].any() | count[bits:].any()", "(C(0, 1)",
           RTL_CONTROL + "::test_spaces"),
    Mutant("access.writable", "records and counters can be written",
           ACCESS, "self.read.valid | C(one in WRITABLE)", "1", RTL_CONTROL + "::test_spaces"),
    Mutant("access.refused", "a word of a refused STORE is written",
           ACCESS, "self.request.valid.eq(ok)", "self.request.valid.eq(1)",
           RTL_CONTROL + "::test_a_refused_store_writes_nothing"),
    Mutant("spaces.kept", "a word is added to the one of another space that was read before",
           SPACES, "with m.If(request.p.space != space):", "with m.If(0):",
           RTL_CONTROL + "::test_spaces"),
    Mutant("spaces.idle", "a word is read and written while a pass runs",
           SPACES, "request.valid & debug.idle", "request.valid",
           RTL_MEMORY + "::test_spaces_wait_for_the_end_of_a_pass"),
    Mutant("reply.gap", "a byte that is not taken counts as sent",
           REPLY, "with m.If(stream.valid & stream.ready):", "with m.If(stream.valid):",
           RTL_MEMORY + "::test_digest_is_the_crc_of_the_bytes"),
    Mutant("checksum.part", "every part of a beat is its first",
           CHECKSUM, "bits.word_select(part, 8 * step)", "bits.word_select(0, 8 * step)",
           RTL_MEMORY + "::test_digest_is_the_crc_of_the_bytes"),
    Mutant("sdr.rfc", "a row is opened a cycle too soon after a refresh",
           SDR_ROWS, "waits.start(m, cycles.rfc)", "waits.start(m, cycles.rfc - 1)", SDR),
    Mutant("sdr.row", "whatever row is open is taken for the right one",
           SDR_ROWS, "opened & (row == segment.row)", "opened", SDR),
    Mutant("sdr.refresh", "nothing is refreshed after the start",
           SDR_UPKEEP, "m.d.sync += count.eq(count + 1)", "pass", SDR),
    Mutant("sdr.turnaround", "a write does not wait for the words of the reads before it",
           SDR_COLUMNS, "idle & (clears < 0)", "idle", SDR),
    Mutant("sdr.last", "the last word of a read is left out",
           SDR_COLUMNS, "(word <= last)", "(word < last)", SDR),
    Mutant("sdr.ras", "a row is closed a cycle too soon after it was opened",
           SDR_ROWS, "active.start(m, cycles.ras)", "active.start(m, cycles.ras - 1)",
           SDR + "::test_a_row_stays_open_for_as_long_as_a_slow_chip_wants"),
    Mutant("pins.refresh", "nothing is refreshed after the start",
           SDR_UPKEEP, "m.d.sync += count.eq(count + 1)", "pass", RTL_SDRAM),
    Mutant("pins.phase", "the chip's clock is in phase with the controller's",
           ECP5, "CHIP_DEGREES = 180", "CHIP_DEGREES = 0", RTL_SDRAM),
    Mutant("pins.bank", "the two pins of the bank are swapped",
           SDR_PHY, '"ba": pads.bank', '"ba": pads.bank[::-1]', RTL_SDRAM),
    Mutant("crossing.room", "reads go on until there is no room for what is on its way",
           CROSSING, "self._beats - self._margin", "self._beats", SDR),
]
