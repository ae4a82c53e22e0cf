// Behavioural models of ECP5 primitives, as far as boards use them. Times are in nanoseconds.

module IB(input I, output O);
    assign O = I;
endmodule

module OBZ(input I, input T, output O);
    assign O = T ? 1'bz : I;
endmodule

module BB(input I, input T, output O, inout B);
    assign B = T ? 1'bz : I;
    assign O = B;
endmodule

// Two bits of a carry chain: a bit either hands the carry on or makes one of its inputs A and B.
module CCU2C #(
    parameter [15:0] INIT0 = 0, INIT1 = 0,
    parameter INJECT1_0 = "YES", INJECT1_1 = "YES"
) (
    input CIN, A0, B0, C0, D0, A1, B1, C1, D1,
    output S0, S1, COUT
);
    initial if (INJECT1_0 != "NO" || INJECT1_1 != "NO")
        $fatal(1, "CCU2C: only chains whose carries go on are modelled");
    wire hands_on_0 = INIT0[{D0, C0, B0, A0}], hands_on_1 = INIT1[{D1, C1, B1, A1}];
    wire carry = hands_on_0 ? CIN : INIT0[{2'b00, B0, A0}];
    assign S0 = hands_on_0 ^ CIN, S1 = hands_on_1 ^ carry;
    assign COUT = hands_on_1 ? carry : INIT1[{2'b00, B1, A1}];
endmodule

// Flip-flops of pads. The time that their ways to and from the chip take is modelled there.
module OFS1P3DX(input SCLK, input SP, input CD, input D, output reg Q = 0);
    always @(posedge SCLK) if (SP) Q <= D && !CD;
endmodule

module IFS1P3DX(input SCLK, input SP, input CD, input D, output reg Q = 0);
    always @(posedge SCLK) if (SP) Q <= D && !CD;
endmodule

// D0 is out in the first half of a period, D1 in the second, two periods later.
module ODDRX1F(input SCLK, input RST, input D0, input D1, output Q);
    reg [1:0] first = 0, second = 0;
    always @(posedge SCLK) begin
        first <= {first[0], D0 && !RST};
        second <= {second[0], D1 && !RST};
    end
    assign Q = SCLK ? first[1] : second[1];
endmodule

module FD1S3AX(input CK, input D, output reg Q = 0);
    always @(posedge CK) Q <= D;
endmodule

// The pin of the clock of the flash memory has no place in a board's file: it is here.
package ecp5;
    bit mclk = 0;
endpackage

module USRMCLK(input USRMCLKI, input USRMCLKTS);
    always @(USRMCLKI, USRMCLKTS) ecp5::mclk = USRMCLKI && !USRMCLKTS;
endmodule

// Gate of a clock. The enable is heeded while the clock is low, so that there is no glitch.
module DCCA(input CLKI, input CE, output CLKO);
    reg enabled = 0;
    always @(negedge CLKI) enabled <= CE;
    assign CLKO = CLKI & enabled;
endmodule

// The same of a clock at the edge of the FPGA, which stands still while it is told to.
module ECLKSYNCB(input ECLKI, input STOP, output ECLKO);
    DCCA gate(.CLKI(ECLKI), .CE(!STOP), .CLKO(ECLKO));
endmodule

module ECLKBRIDGECS(input CLK0, input CLK1, input SEL, output ECSOUT);
    assign ECSOUT = SEL ? CLK1 : CLK0;
endmodule

// Half of a clock; low while it is reset.
module CLKDIVF #(parameter DIV = "2.0") (
    input CLKI, input RST, input ALIGNWD, output reg CDIVX = 0
);
    initial if (DIV != "2.0") $fatal(1, "CLKDIVF: only a half is modelled");
    always @(posedge CLKI, posedge RST) CDIVX = !RST && !CDIVX;
endmodule

// DLL of DDR pads. How late it makes what it delays is not modelled, only when it locks.
module DDRDLLA(
    input CLK, input RST, input UDDCNTLN, input FREEZE, output DDRDEL, output LOCK
);
    localparam PERIODS = 64;
    integer seen = 0;
    always @(posedge CLK, posedge RST) if (RST) seen = 0; else if (seen != PERIODS) seen = seen + 1;
    assign LOCK = seen == PERIODS, DDRDEL = 0;
endmodule

// PLL whose feedback is its output CLKOP. Its oscillator makes CLKFB / CLKFB_DIV as fast as
// CLKI / CLKI_DIV, and each output is a part of it. The phases of outputs to each other are right.
// With `+pll_unlocked=1` it never locks, and with `+pll_slower=2` all its clocks have half their rate.
module EHXPLLL #(
    parameter CLKI_DIV = 1,
    parameter CLKFB_DIV = 1,
    parameter CLKOP_DIV = 8, CLKOS_DIV = 8, CLKOS2_DIV = 8,
    parameter CLKOP_CPHASE = 0, CLKOS_CPHASE = 0, CLKOS2_CPHASE = 0,
    parameter CLKOP_FPHASE = 0, CLKOS_FPHASE = 0, CLKOS2_FPHASE = 0,
    parameter CLKOP_ENABLE = "DISABLED", CLKOS_ENABLE = "DISABLED", CLKOS2_ENABLE = "DISABLED",
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
    input ENCLKOS,
    input ENCLKOS2,
    output CLKOP,
    output CLKOS,
    output CLKOS2,
    output reg LOCK = 0
);
    // ECP5 and ECP5-5G Family Data Sheet, sysCLOCK PLL Timing, in MHz, beside what is rounded.
    localparam real CLKI_LOWEST = 8, CLKI_HIGHEST = 400, VCO_LOWEST = 400, VCO_HIGHEST = 800;
    localparam real MARGIN = 1.0001;
    localparam PERIODS = 16;    // of the phase detector, until the lock is certain

    integer unlocked = 0;
    real slower = 1;
    initial begin
        void'($value$plusargs("pll_unlocked=%d", unlocked));
        void'($value$plusargs("pll_slower=%f", slower));
    end

    realtime risen = 0, period = 0;     // the latter of the oscillator
    real clki_mhz, vco_mhz;
    always @(posedge CLKI) begin
        if (risen != 0) begin
            clki_mhz = 1e3 / ($realtime - risen);
            vco_mhz = clki_mhz / CLKI_DIV * CLKFB_DIV * CLKOP_DIV;
            if (clki_mhz * MARGIN < CLKI_LOWEST || clki_mhz > CLKI_HIGHEST * MARGIN)
                $fatal(1, "EHXPLLL: CLKI is at %g MHz", clki_mhz);
            if (vco_mhz * MARGIN < VCO_LOWEST || vco_mhz > VCO_HIGHEST * MARGIN)
                $fatal(1, "EHXPLLL: the oscillator would run at %g MHz", vco_mhz);
            period = slower * 1e3 / vco_mhz;
        end
        risen = $realtime;
    end

    initial if (FEEDBK_PATH != "CLKOP" || CLKOP_ENABLE != "ENABLED")
        $fatal(1, "EHXPLLL: only a feedback from CLKOP is modelled");

    wire runs = period > 0 && !RST && !STDBY;
    ehxplll_output #(CLKOP_DIV, CLKOP_CPHASE, CLKOP_FPHASE) op(runs, period, CLKOP);
    generate
        if (CLKOS_ENABLE == "ENABLED")
            ehxplll_output #(CLKOS_DIV, CLKOS_CPHASE, CLKOS_FPHASE) os(runs, period, CLKOS);
        if (CLKOS2_ENABLE == "ENABLED")
            ehxplll_output #(CLKOS2_DIV, CLKOS2_CPHASE, CLKOS2_FPHASE) os2(runs, period, CLKOS2);
    endgenerate

    // It locks only if its output does come back.
    integer come = 0;
    always @(posedge CLKFB) come <= come + 1;

    integer divided = 0, seen = 0, alike = 0;
    always @(posedge CLKI) begin
        divided <= divided + 1;
        if (divided + 1 == CLKI_DIV) begin
            divided <= 0;
            seen <= come;
            // A slower clock need not have a whole number of edges in one of these periods.
            alike <= slower * (come - seen) > CLKFB_DIV - slower
                     && slower * (come - seen) < CLKFB_DIV + slower ? alike + 1 : 0;
            if (alike == PERIODS && unlocked == 0) LOCK <= 1;
        end
        if (RST || STDBY) begin
            alike <= 0;
            LOCK <= 0;
        end
    end
endmodule

// An output of the PLL: with a CPHASE of DIV - 1 it rises with the oscillator's common start.
module ehxplll_output #(
    parameter DIV = 8,
    parameter CPHASE = 0,
    parameter FPHASE = 0
) (input runs, input realtime period, output reg clock = 0);
    always begin
        wait (runs);
        #((CPHASE + FPHASE / 8.0 + 1) * period);
        while (runs) begin
            clock = 1;
            #(DIV * period / 2);
            clock = 0;
            #(DIV * period / 2);
        end
    end
endmodule
