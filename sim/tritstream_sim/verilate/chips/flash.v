// An SPI flash memory at its pins, as far as it is read: it holds its user to the times of its data
// sheet, in nanoseconds, of the slower of IS25LP128F and W25Q128JV. It takes FAST READ.
//
// What the ways from the FPGA to the chip and back take can be set for a run, `+flash_out=NS` and
// `+flash_in=NS`, and so can the chip's own, `+flash_access=NS`. `+flash_image=FILE` is what it holds
// from the byte IMAGE_AT on; the rest is erased. With `+flash_continuous=1` it has been left in the
// mode in which it takes addresses without a command, until it has been selected with ones alone.
module flash #(
    parameter BYTES = 1 << 24,
    parameter IMAGE_AT = 0
) (
    input clk_pin,
    input cs_n_pin,
    input copi_pin,
    input wp_n_pin,
    input hold_n_pin,
    output cipo_pin
);
    localparam [7:0] FAST_READ = 8'h0b, NOTHING = 8'hff;
    localparam ADDRESS_AT = 8, DATA_AT = 8 + 24 + 8;
    localparam real SHORTEST_CLOCK = 7.5, SELECT_SETUP = 5, SELECT_HOLD = 5, SELECT_HIGH = 50;
    localparam real SETUP = 2, HOLD = 3, ACCESS = 8, KEPT = 1.5;
    localparam real ROUNDING = 0.001;

    // Nobody has measured the way of the clock, which leaves the FPGA by a part of its own.
    real access = ACCESS, out = 6, in = 3;
    initial begin
        void'($value$plusargs("flash_access=%f", access));
        void'($value$plusargs("flash_out=%f", out));
        void'($value$plusargs("flash_in=%f", in));
    end

    reg clk = 0, cs_n = 1, copi = 0;
    always @(clk_pin) clk <= #(out) clk_pin;
    always @(cs_n_pin) cs_n <= #(out) cs_n_pin;
    always @(copi_pin) copi <= #(out) copi_pin;

    reg [7:0] cells [0:BYTES-1];
    integer continuous = 0;
    string image;
    integer file, bytes;
    initial begin
        void'($value$plusargs("flash_continuous=%d", continuous));
        for (integer n = 0; n < BYTES; ++n) cells[n] = 8'hff;
        if ($value$plusargs("flash_image=%s", image)) begin
            file = $fopen(image, "rb");
            if (file == 0) $fatal(1, "flash: %s cannot be read", image);
            bytes = $fread(cells, file, IMAGE_AT);
            $fclose(file);
        end
    end

    realtime rose = -1e9, fell = -1e9, selected = -1e9, released = -1e9, changed = -1e9;
    integer bits = 0;                   // since it was selected
    reg [7:0] command;
    reg [23:0] address;
    reg all_ones, shown = 1, drives = 0;
    assign cipo_pin = drives ? shown : 'z;

    task expect_that(input kept, input string rule);
        if (!kept) $fatal(1, "flash: at %0.1f ns %s", $realtime, rule);
    endtask

    task apart(input realtime since, input real least, input string rule);
        if ($realtime - since < least - ROUNDING)
            $fatal(1, "flash: at %0.1f ns %s is %0.1f ns", $realtime, rule, $realtime - since);
    endtask

    always @(copi) begin
        changed = $realtime;
        if (!cs_n) apart(rose, HOLD, "tCHDX");
    end

    always @(negedge cs_n) begin
        apart(released, SELECT_HIGH, "tSHSL");
        expect_that(hold_n_pin && wp_n_pin, "/HOLD or /WP is low");
        expect_that(!clk, "the clock is high when the chip is selected");
        selected = $realtime;
        bits = 0;
        all_ones = 1;
    end

    always @(posedge cs_n) begin
        apart(rose, SELECT_HOLD, "tCHSH");
        released = $realtime;
        if (bits >= 16 && all_ones) continuous = 0;
        drives <= 0;
    end

    always @(posedge clk) begin
        apart(rose, SHORTEST_CLOCK, "the period of the clock");
        apart(fell, 0.4 * SHORTEST_CLOCK, "tCL");
        rose = $realtime;
        if (!cs_n) begin
            apart(selected, SELECT_SETUP, "tSLCH");
            apart(changed, SETUP, "tDVCH");
            all_ones &= copi;
            if (bits < ADDRESS_AT) command = {command[6:0], copi};
            else if (bits < ADDRESS_AT + 24) address = {address[22:0], copi};
            bits += 1;
            if (bits == ADDRESS_AT && continuous == 0) expect_that(
                command == FAST_READ || command == NOTHING, "the command is none that is modelled");
        end
    end

    always @(negedge clk) begin
        apart(rose, 0.4 * SHORTEST_CLOCK, "tCH");
        fell = $realtime;
        if (!cs_n && command == FAST_READ && bits >= DATA_AT && continuous == 0) begin
            // What the pin shows between a bit and the next is wrong.
            shown <= #(KEPT + in) !cells[int'(address) % BYTES][7 - (bits - DATA_AT) % 8];
            shown <= #(access + in) cells[int'(address) % BYTES][7 - (bits - DATA_AT) % 8];
            drives <= #(KEPT + in) 1;
            if ((bits - DATA_AT) % 8 == 7) address += 1;
        end
    end
endmodule
