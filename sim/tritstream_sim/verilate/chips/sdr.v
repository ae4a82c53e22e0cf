// An SDR SDRAM at its pins: it holds data, and its controller to every time of its data sheet, in
// nanoseconds. Bursts of eight words that are read, and single words that are written, are modelled.
//
// Each time is a parameter, and that of one run can be set: `+sdr_rcd=30` is a chip that is slower
// than its data sheet. So can what the ways from the FPGA's flip-flops to the chip and back take,
// with `+pads_out=NS` and `+pads_in=NS`: as a rule about as the FPGA's data sheet has it, with the
// clock tree in the PLL's feedback. `+sdr_image=FILE` is what it holds from the first byte on, and
// `+sdr_stuck=BIT` a data line that is 0 whatever is written; with `+sdr_swapped=1` what is written
// to the bytes of a word goes into each other's place.
module sdr #(
    parameter WORD_BITS = 16,
    parameter COLUMN_BITS = 9,
    parameter ROW_BITS = 13,
    parameter CAS_LATENCY = 3,
    parameter MRD_CYCLES = 2,
    parameter real RCD = 21, RP = 21, RAS = 45, RFC = 70, WR = 15, REFI = 7812.5, POWER_UP = 200000
) (
    input clk_pin,
    input cke_pin,
    input cs_n_pin,
    input ras_n_pin,
    input cas_n_pin,
    input we_n_pin,
    input [WORD_BITS/8-1:0] dqm_pin,
    input [1:0] ba_pin,
    input [ROW_BITS-1:0] a_pin,
    inout [WORD_BITS-1:0] dq_pin
);
    localparam WORDS = 1 << (COLUMN_BITS + ROW_BITS + 2);
    localparam BURST = 8;
    localparam MOST_OWED = 9;           // refreshes: eight may be postponed
    localparam [12:0] MODE = 13'h203 | 13'(CAS_LATENCY) << 4;
    // Of the slowest of the chips at speed grade 7.
    localparam real SHORTEST_CLOCK = 7.0, SETUP = 1.5, HOLD = 0.8, ACCESS = 5.4, KEPT = 2.5;
    localparam real ROUNDING = 0.001;

    real rcd = RCD, rp = RP, ras = RAS, rfc = RFC, wr = WR, refi = REFI, power_up = POWER_UP;
    real access = ACCESS, setup = SETUP, hold = HOLD, out = 2.5, in = 1.0;
    initial begin
        void'($value$plusargs("sdr_rcd=%f", rcd));
        void'($value$plusargs("sdr_rp=%f", rp));
        void'($value$plusargs("sdr_ras=%f", ras));
        void'($value$plusargs("sdr_rfc=%f", rfc));
        void'($value$plusargs("sdr_wr=%f", wr));
        void'($value$plusargs("sdr_refi=%f", refi));
        void'($value$plusargs("sdr_power_up=%f", power_up));
        void'($value$plusargs("sdr_access=%f", access));
        void'($value$plusargs("sdr_setup=%f", setup));
        void'($value$plusargs("sdr_hold=%f", hold));
        void'($value$plusargs("pads_out=%f", out));
        void'($value$plusargs("pads_in=%f", in));
    end

    // What comes to the chip, late.
    reg clk = 0, cke = 0, cs_n = 0, ras_n = 0, cas_n = 0, we_n = 0;
    reg [WORD_BITS/8-1:0] dqm = 0;
    reg [1:0] ba = 0;
    reg [ROW_BITS-1:0] a = 0;
    reg [WORD_BITS-1:0] dq = 0;
    reg clk_halfway = 0;                // an edge may still be on its way when the next one comes
    always @(clk_pin) clk_halfway <= #(out / 2) clk_pin;
    always @(clk_halfway) clk <= #(out / 2) clk_halfway;
    always @(cke_pin, cs_n_pin, ras_n_pin, cas_n_pin, we_n_pin, dqm_pin, ba_pin, a_pin)
        {cke, cs_n, ras_n, cas_n, we_n, dqm, ba, a} <= #(out)
            {cke_pin, cs_n_pin, ras_n_pin, cas_n_pin, we_n_pin, dqm_pin, ba_pin, a_pin};
    always @(dq_pin) dq <= #(out) dq_pin;

    // In the order of their addresses: the banks take turns.
    reg [WORD_BITS-1:0] cells [0:WORDS-1];
    integer stuck = -1, swapped = 0;
    initial begin
        void'($value$plusargs("sdr_stuck=%d", stuck));
        void'($value$plusargs("sdr_swapped=%d", swapped));
    end
    string image;
    integer file, bytes;
    initial if ($value$plusargs("sdr_image=%s", image)) begin
        file = $fopen(image, "rb");
        if (file == 0) $fatal(1, "sdr: %s cannot be read", image);
        bytes = $fread(cells, file);                    // the high byte first
        $fclose(file);
        for (integer n = 0; n < bytes * 8 / WORD_BITS; ++n) cells[n] = {<<8{cells[n]}};
    end

    // What stands at the pins does so for a while before an edge, and after it.
    realtime edge_at = -1e9, changed = -1e9, data_changed = -1e9;
    reg commanded = 0, written = 0;     // by the last edge
    always @(cke, cs_n, ras_n, cas_n, we_n, dqm, ba, a) begin
        changed = $realtime;
        if (commanded) apart(edge_at, hold, "tH");
    end
    always @(dq) begin
        data_changed = $realtime;
        if (written) apart(edge_at, hold, "tH of data");
    end

    reg [3:0] is_open = 0;
    reg [ROW_BITS-1:0] row [0:3];
    realtime activated [0:3], precharged [0:3], wrote [0:3], asked [0:3];
    realtime begun = -1, refreshed = -1e9, moded = -1e9, period;
    reg configured = 0;
    integer refreshes = 0;
    real owed = 0;                      // refreshes that should have been, less those that were
    initial for (integer n = 0; n < 4; ++n) begin
        activated[n] = -1e9;
        precharged[n] = -1e9;
        wrote[n] = -1e9;
        asked[n] = -1e9;
    end

    // Words on their way; the first is driven at the next edge.
    localparam QUEUE = CAS_LATENCY - 1 + BURST;
    reg [WORD_BITS-1:0] words [0:QUEUE-1];
    reg [QUEUE-1:0] coming = 0;
    reg [WORD_BITS-1:0] word;
    reg driven = 0, valid = 0;
    assign dq_pin = driven ? word : 'z;

    task expect_that(input kept, input string rule);
        if (!kept) $fatal(1, "sdr: at %0.1f ns %s", $realtime, rule);
    endtask

    task apart(input realtime since, input real least, input string rule);
        if ($realtime - since < least - ROUNDING)
            $fatal(1, "sdr: at %0.1f ns %s is %0.1f ns", $realtime, rule, $realtime - since);
    endtask

    task ready;
        apart(refreshed, rfc, "tRFC");
        apart(moded, MRD_CYCLES * period, "tMRD");
    endtask

    task all_closed;
        expect_that(is_open == 0, "a row is open");
        for (integer n = 0; n < 4; ++n) apart(precharged[n], rp, "tRP");
    endtask

    task precharge(input [1:0] bank);
        if (is_open[bank]) begin
            apart(activated[bank], ras, "tRAS");
            apart(wrote[bank], wr, "tWR");
            apart(asked[bank], BURST * period, "a burst that is cut short");
        end
        is_open[bank] = 0;
        precharged[bank] = $realtime;
    endtask

    function integer place(input [COLUMN_BITS-1:0] column);
        place = int'({row[ba], ba, column});
    endfunction

    task column;
        expect_that(is_open[ba], "no row is open");
        apart(activated[ba], rcd, "tRCD");
    endtask

    task obey;
        case ({ras_n, cas_n, we_n})
        3'b000: begin
            ready;
            all_closed;
            expect_that(refreshes >= 2, "the mode is set before two refreshes");
            expect_that(a == MODE, "the mode is none that is modelled");
            configured = 1;
            moded = $realtime;
        end
        3'b001: begin
            ready;
            all_closed;
            refreshed = $realtime;
            refreshes += 1;
            owed -= 1;
        end
        3'b010: begin
            apart(begun, power_up, "the time to power up");
            ready;
            for (integer n = 0; n < 4; ++n) if (a[10] || n == int'(ba)) precharge(n[1:0]);
        end
        3'b011: begin
            ready;
            expect_that(configured, "the mode is not set");
            expect_that(!is_open[ba], "the row before is still open");
            apart(precharged[ba], rp, "tRP");
            apart(activated[ba], ras + rp, "tRC");
            for (integer n = 0; n < 4; ++n) apart(activated[n], 2 * period, "tRRD");
            is_open[ba] = 1;
            row[ba] = a;
            activated[ba] = $realtime;
        end
        3'b100: begin
            column;
            apart(data_changed, setup, "tS of data");
            expect_that(!driven && coming == 0, "the data pins are driven twice");
            written = 1;
            cells[place(a[COLUMN_BITS-1:0])] =
                (swapped != 0 ? {<<8{dq}} : dq) & (stuck < 0 ? '1 : ~(WORD_BITS'(1) << stuck));
            wrote[ba] = $realtime;
        end
        3'b101: begin
            column;
            for (integer n = 0; n < BURST; ++n) begin
                words[CAS_LATENCY - 2 + n] = cells[place(a[COLUMN_BITS-1:0] ^ COLUMN_BITS'(n))];
                coming[CAS_LATENCY - 2 + n] = 1;
            end
            expect_that(a[2:0] == 0, "a burst that does not begin at its start is not modelled");
            asked[ba] = $realtime;
        end
        default: ;
        endcase
    endtask

    always @(posedge clk) begin
        period = $realtime - edge_at;
        edge_at = $realtime;
        if (begun < 0) begin
            begun = $realtime;
            period = SHORTEST_CLOCK;
        end
        expect_that(period >= SHORTEST_CLOCK - ROUNDING, "the clock is too fast");
        expect_that(!valid || dq_pin == word, "the data pins are driven twice");
        commanded = cke && !cs_n && {ras_n, cas_n, we_n} != 3'b111;
        written = 0;

        // The word before stays for a while; what the pins show between it and the next is wrong.
        if (driven || coming[0]) begin
            {driven, valid, word} <= #(KEPT + in) {2'b10, ~word};
            {driven, valid, word} <= #(access + in) {coming[0], coming[0], words[0]};
        end
        coming = coming >> 1;
        for (integer n = 0; n < QUEUE - 1; ++n) words[n] = words[n + 1];

        if (cke) expect_that(dqm == 0, "masks are not modelled");
        if (commanded) begin
            apart(changed, setup, "tS");
            obey;
        end
        if (configured) begin
            owed += period / refi;
            expect_that(owed < MOST_OWED, "refresh is late");
        end
    end
endmodule
