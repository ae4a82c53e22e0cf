// Behavioural models of ECP5 primitives, as far as boards use them. Times are in nanoseconds.

module IB(input I, output O);
    assign O = I;
endmodule

module OBZ(input I, input T, output O);
    assign O = T ? 1'bz : I;
endmodule

// Gate of a clock. The enable is heeded while the clock is low, so that there is no glitch.
module DCCA(input CLKI, input CE, output CLKO);
    reg enabled = 0;
    always @(negedge CLKI) enabled <= CE;
    assign CLKO = CLKI & enabled;
endmodule

// PLL whose feedback is its output. Its oscillator makes CLKFB / CLKFB_DIV as fast as
// CLKI / CLKI_DIV, and CLKOP is a CLKOP_DIV-th of it. Phases are not modelled.
module EHXPLLL #(
    parameter CLKI_DIV = 1,
    parameter CLKFB_DIV = 1,
    parameter CLKOP_DIV = 8,
    parameter CLKOP_CPHASE = 0,
    parameter CLKOP_FPHASE = 0,
    parameter CLKOP_ENABLE = "DISABLED",
    parameter FEEDBK_PATH = "CLKOP"
) (
    input CLKI,
    input CLKFB,
    input RST,
    input STDBY,
    input PHASESEL0,
    input PHASESEL1,
    input PHASEDIR,
    input PHASESTEP,
    input PHASELOADREG,
    input PLLWAKESYNC,
    input ENCLKOP,
    output reg CLKOP = 0,
    output reg LOCK = 0
);
    // ECP5 and ECP5-5G Family Data Sheet, sysCLOCK PLL Timing, in MHz, beside what is rounded.
    localparam real CLKI_LOWEST = 8, CLKI_HIGHEST = 400, VCO_LOWEST = 400, VCO_HIGHEST = 800;
    localparam real MARGIN = 1.0001;
    localparam PERIODS = 16;    // of the phase detector, until the lock is certain

    realtime risen = 0, half_period = 0;
    real clki_mhz, vco_mhz;
    always @(posedge CLKI) begin
        if (risen != 0) begin
            clki_mhz = 1e3 / ($realtime - risen);
            vco_mhz = clki_mhz / CLKI_DIV * CLKFB_DIV * CLKOP_DIV;
            if (clki_mhz * MARGIN < CLKI_LOWEST || clki_mhz > CLKI_HIGHEST * MARGIN)
                $fatal(1, "EHXPLLL: CLKI is at %g MHz", clki_mhz);
            if (vco_mhz * MARGIN < VCO_LOWEST || vco_mhz > VCO_HIGHEST * MARGIN)
                $fatal(1, "EHXPLLL: the oscillator would run at %g MHz", vco_mhz);
            half_period = 1e3 * CLKOP_DIV / vco_mhz / 2;
        end
        risen = $realtime;
    end

    initial if (FEEDBK_PATH != "CLKOP" || CLKOP_ENABLE != "ENABLED")
        $fatal(1, "EHXPLLL: only a feedback from CLKOP is modelled");

    always begin
        wait (half_period > 0 && !RST && !STDBY);
        #(half_period) CLKOP = ~CLKOP;
    end

    // It locks only if its output does come back.
    integer come = 0;
    always @(posedge CLKFB) come <= come + 1;

    integer divided = 0, seen = 0, alike = 0;
    always @(posedge CLKI) begin
        divided <= divided + 1;
        if (divided + 1 == CLKI_DIV) begin
            divided <= 0;
            seen <= come;
            alike <= come - seen == CLKFB_DIV ? alike + 1 : 0;
            if (alike == PERIODS) LOCK <= 1;
        end
        if (RST || STDBY) begin
            alike <= 0;
            LOCK <= 0;
        end
    end
endmodule
