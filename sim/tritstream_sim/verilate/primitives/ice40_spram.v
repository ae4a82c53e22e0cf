// Memory of 16 Ki words with one port. What is read behind a cycle that has written is undefined, as is what it holds
// at first; of these, bits are set that nobody expects.
module SB_SPRAM256KA(
    input [13:0] ADDRESS,
    input [15:0] DATAIN,
    input [3:0] MASKWREN,
    input WREN,
    input CHIPSELECT,
    input CLOCK,
    input STANDBY,
    input SLEEP,
    input POWEROFF,             // low: off
    output reg [15:0] DATAOUT
);
    localparam [15:0] UNKNOWN = 16'hdead;
    reg [15:0] words[0:16383];
    integer n;
    initial begin
        DATAOUT = UNKNOWN;
        for (n = 0; n < 16384; n = n + 1) words[n] = UNKNOWN ^ n[15:0];
    end
    always @(posedge CLOCK) begin
        if (STANDBY || SLEEP || !POWEROFF)
            $fatal(1, "SB_SPRAM256KA: only a memory that is on is modelled");
        if (CHIPSELECT) begin
            if (WREN) begin
                if (MASKWREN[0]) words[ADDRESS][3:0] <= DATAIN[3:0];
                if (MASKWREN[1]) words[ADDRESS][7:4] <= DATAIN[7:4];
                if (MASKWREN[2]) words[ADDRESS][11:8] <= DATAIN[11:8];
                if (MASKWREN[3]) words[ADDRESS][15:12] <= DATAIN[15:12];
                DATAOUT <= UNKNOWN;
            end else DATAOUT <= words[ADDRESS];
        end
    end
endmodule
