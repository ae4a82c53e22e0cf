// Behavioural models of iCE40 UltraPlus primitives, as far as boards use them. Times are in nanoseconds.

// Pad without registers: an input, or an output that is enabled or not.
module SB_IO #(parameter PIN_TYPE = 6'b000000, PULLUP = 1'b0, NEG_TRIGGER = 1'b0, IO_STANDARD = "SB_LVCMOS") (
    inout PACKAGE_PIN,
    input OUTPUT_ENABLE,
    input D_OUT_0,
    output D_IN_0
);
    initial if (PIN_TYPE != 6'b000001 && PIN_TYPE != 6'b101001)
        $fatal(1, "SB_IO: only pads without registers are modelled, not PIN_TYPE %b", PIN_TYPE);
    generate
        if (PIN_TYPE[5]) assign PACKAGE_PIN = OUTPUT_ENABLE ? D_OUT_0 : 1'bz;
    endgenerate
    assign D_IN_0 = PACKAGE_PIN;
endmodule

// PLL at the pad of its source, with a simple feedback: the oscillator is DIVF + 1 times as fast as the source over
// DIVR + 1, and 2 to the power of DIVQ times as fast as what is out.
// With `+pll_unlocked=1` it never locks, and with `+pll_slower=2` its clock has half its rate.
module SB_PLL40_PAD #(
    parameter FEEDBACK_PATH = "SIMPLE",
    parameter PLLOUT_SELECT = "GENCLK",
    parameter [3:0] DIVR = 0,
    parameter [6:0] DIVF = 0,
    parameter [2:0] DIVQ = 0,
    parameter [2:0] FILTER_RANGE = 0
) (
    inout PACKAGEPIN,
    input RESETB,
    input BYPASS,
    output reg PLLOUTGLOBAL = 0,
    output reg LOCK = 0
);
    // iCE40 UltraPlus Family Data Sheet, sysCLOCK PLL Timing, in MHz, beside what is rounded.
    localparam real DETECTOR_LOWEST = 10, DETECTOR_HIGHEST = 133, VCO_LOWEST = 533, VCO_HIGHEST = 1066;
    localparam real MARGIN = 1.0001;
    localparam PERIODS = 16;    // of the source, until the lock is certain

    integer unlocked = 0;
    real slower = 1;
    initial begin
        void'($value$plusargs("pll_unlocked=%d", unlocked));
        void'($value$plusargs("pll_slower=%f", slower));
        if (FEEDBACK_PATH != "SIMPLE" || PLLOUT_SELECT != "GENCLK")
            $fatal(1, "SB_PLL40_PAD: only a simple feedback is modelled");
    end

    realtime risen = 0, period = 0;
    real detector_mhz, vco_mhz;
    integer alike = 0;
    always @(posedge PACKAGEPIN) begin
        if (risen != 0 && RESETB && !BYPASS) begin
            detector_mhz = 1e3 / ($realtime - risen) / (DIVR + 1);
            vco_mhz = detector_mhz * (DIVF + 1);
            if (detector_mhz * MARGIN < DETECTOR_LOWEST || detector_mhz > DETECTOR_HIGHEST * MARGIN)
                $fatal(1, "SB_PLL40_PAD: the phase detector would run at %g MHz", detector_mhz);
            if (vco_mhz * MARGIN < VCO_LOWEST || vco_mhz > VCO_HIGHEST * MARGIN)
                $fatal(1, "SB_PLL40_PAD: the oscillator would run at %g MHz", vco_mhz);
            period = slower * 1e3 * (1 << DIVQ) / vco_mhz;
            alike <= alike + 1;
            if (alike == PERIODS && unlocked == 0) LOCK <= 1;
        end
        risen = $realtime;
    end

    always begin
        wait (period > 0);
        PLLOUTGLOBAL = 1;
        #(period / 2);
        PLLOUTGLOBAL = 0;
        #(period / 2);
    end
endmodule
