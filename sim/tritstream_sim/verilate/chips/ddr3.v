// What a run can set of a DDR3 SDRAM, of which LiteDRAM's model stands behind its controller.
//
// Each byte lane is read right at one bitslip and in a run of delays, which are drawn anew for each
// `+ddr3_seed=N`; of seed 0 as the controller begins, and with any delay. With `+ddr3_stuck=N` data line N is always read as 0, and with `+ddr3_deaf=N` byte
// lane N is read right nowhere.
module ddr3 #(parameter LANES = 2) (
    output reg [8 * LANES - 1:0] windows,   // of each lane: bitslip, first and last delay
    output reg [8 * LANES - 1:0] stuck
);
    integer seed = 1, line = -1, deaf = -1, lane;
    reg [1:0] bitslip;
    reg [2:0] first, last;
    initial begin
        void'($value$plusargs("ddr3_seed=%d", seed));
        void'($value$plusargs("ddr3_stuck=%d", line));
        void'($value$plusargs("ddr3_deaf=%d", deaf));
        stuck = 0;
        if (line >= 0) stuck[line] = 1;
        for (lane = 0; lane < LANES; lane = lane + 1) begin
            bitslip = $urandom(seed + lane);
            first = $urandom;
            last = first + $urandom % (8 - first);
            if (seed == 0) {last, first, bitslip} = {3'd7, 3'd0, 2'd0};
            if (lane == deaf) {first, last} = {3'd1, 3'd0};
            windows[8 * lane +: 8] = {last, first, bitslip};
        end
    end
endmodule
