// Behavioural models of Gowin primitives, as far as boards use them. Times are in nanoseconds.

module IBUF(input I, output O);
    assign O = I;
endmodule

module TBUF(input I, input OEN, output O);
    assign O = OEN ? 1'bz : I;
endmodule

module IOBUF(input I, input OEN, output O, inout IO);
    assign IO = OEN ? 1'bz : I;
    assign O = IO;
endmodule

// D0 is out in the first half of a period, D1 in the second, two periods after that at whose begin
// they were taken; TX stands beside them (UG289, ODDR).
module ODDR #(parameter TXCLK_POL = 0) (input CLK, input D0, input D1, input TX, output Q0, output reg Q1 = 0);
    reg [2:0] taken = 0, next = 0, out = 0;
    always @(posedge CLK) begin
        taken <= {D0, D1, TX};
        next <= taken;
        {out, Q1} <= {next, next[0]};
    end
    assign Q0 = CLK ? out[2] : out[1];
    initial if (TXCLK_POL != 0) $fatal(1, "ODDR: only TX at rising edges is modelled");
endmodule

// Q0 is what there was at a rising edge, a period later (UG289, IDDR).
module IDDR(input CLK, input D, output reg Q0 = 0, output reg Q1 = 0);
    reg first = 0, second = 0;
    always @(posedge CLK) {first, Q0, Q1} <= {D, first, second};
    always @(negedge CLK) second <= D;
endmodule

// Gate of a clock. The enable is heeded while the clock is low, so that there is no glitch.
module DQCE(input CLKIN, input CE, output CLKOUT);
    reg enabled = 0;
    always @(negedge CLKIN) enabled <= CE;
    assign CLKOUT = CLKIN & enabled;
endmodule

// Multiplier of signed numbers, its operands and its product in registers.
module MULT18X18 #(
    parameter AREG = 0, BREG = 0, OUT_REG = 0, PIPE_REG = 0, ASIGN_REG = 0, BSIGN_REG = 0, SOA_REG = 0,
    parameter MULT_RESET_MODE = "SYNC"
) (
    input signed [17:0] A, B,
    input [17:0] SIA, SIB,
    input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET,
    output reg signed [35:0] DOUT = 0
);
    initial if ({AREG[0], BREG[0], OUT_REG[0], PIPE_REG[0], ASIGN_REG[0], BSIGN_REG[0]} != 6'b111000)
        $fatal(1, "MULT18X18: only registers of operands and of the product are modelled");
    always @(posedge CLK) if (!ASIGN || !BSIGN || ASEL || BSEL)
        $fatal(1, "MULT18X18: only signed operands A and B are modelled");

    reg signed [17:0] a = 0, b = 0;
    always @(posedge CLK) begin
        if (RESET) {a, b, DOUT} <= 0;
        else if (CE) begin
            a <= A;
            b <= B;
            DOUT <= a * b;
        end
    end
endmodule

// PLL whose feedback is its output CLKOUT, inside: that is FBDIV_SEL + 1 times as fast as CLKIN over
// IDIV_SEL + 1, and CLKOUTP the same, by sixteenths of a period behind.
// With `+pll_unlocked=1` it never locks, and with `+pll_slower=2` its clocks have half their rate.
module rPLL #(
    parameter FCLKIN = "100.0",
    parameter DEVICE = "",
    parameter IDIV_SEL = 0,
    parameter FBDIV_SEL = 0,
    parameter ODIV_SEL = 8,
    parameter [31:0] PSDA_SEL = "0000",
    parameter [31:0] DUTYDA_SEL = "1000",
    parameter CLKFB_SEL = "internal"
) (
    input CLKIN,
    input CLKFB,
    input RESET,
    input RESET_P,
    input [5:0] IDSEL,
    input [5:0] FBDSEL,
    input [5:0] ODSEL,
    input [3:0] PSDA,
    input [3:0] DUTYDA,
    input [3:0] FDLY,
    output reg CLKOUT = 0,
    output reg CLKOUTP = 0,
    output reg LOCK = 0
);
    // GW2AR series Data Sheet, PLL Switching Characteristics at C8/I7, in MHz, beside what is rounded.
    localparam real DETECTOR_LOWEST = 3, DETECTOR_HIGHEST = 500, VCO_LOWEST = 500, VCO_HIGHEST = 1250;
    localparam real MARGIN = 1.0001;
    localparam PERIODS = 16;    // of CLKIN, until the lock is certain
    // The last bit of a digit is its value.
    localparam [3:0] PHASE = {PSDA_SEL[24], PSDA_SEL[16], PSDA_SEL[8], PSDA_SEL[0]};

    integer unlocked = 0;
    real slower = 1;
    initial begin
        void'($value$plusargs("pll_unlocked=%d", unlocked));
        void'($value$plusargs("pll_slower=%f", slower));
        if (CLKFB_SEL != "internal" || DUTYDA_SEL != "1000")
            $fatal(1, "rPLL: only an internal feedback, and half a period, are modelled");
    end

    realtime risen = 0, period = 0;     // the latter of CLKOUT
    real detector_mhz, vco_mhz;
    integer alike = 0;
    always @(posedge CLKIN) begin
        if (risen != 0) begin
            detector_mhz = 1e3 / ($realtime - risen) / (IDIV_SEL + 1);
            vco_mhz = detector_mhz * (FBDIV_SEL + 1) * ODIV_SEL;
            if (detector_mhz * MARGIN < DETECTOR_LOWEST || detector_mhz > DETECTOR_HIGHEST * MARGIN)
                $fatal(1, "rPLL: the phase detector would run at %g MHz", detector_mhz);
            if (vco_mhz * MARGIN < VCO_LOWEST || vco_mhz > VCO_HIGHEST * MARGIN)
                $fatal(1, "rPLL: the oscillator would run at %g MHz", vco_mhz);
            period = slower * 1e3 * ODIV_SEL / vco_mhz;
            alike <= alike + 1;
            if (alike == PERIODS && unlocked == 0) LOCK <= 1;
        end
        risen = $realtime;
    end

    always begin
        wait (period > 0);
        CLKOUT = 1;
        #(period / 2);
        CLKOUT = 0;
        #(period / 2);
    end
    always begin
        wait (period > 0);
        if (PHASE != 0) #(PHASE * period / 16);
        while (period > 0) begin
            CLKOUTP = 1;
            #(period / 2);
            CLKOUTP = 0;
            #(period / 2);
        end
    end
endmodule
