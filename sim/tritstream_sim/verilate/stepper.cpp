// Steps a Verilated device on request: bytes and a number of cycles in, bytes and cycles out.
//
// A request is three little-endian 32-bit words, the most cycles to simulate, the percentage of
// cycles in which either port pauses, and a number of bytes, then those bytes. The answer is two
// words, the cycles simulated and a number of bytes, then those bytes. A turn ends early, LINGER
// cycles after the first byte has come.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <random>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

constexpr uint32_t LINGER = 600;

void tick(Vtop& top) {
    top.clk = 1;
    top.eval();
    top.clk = 0;
    top.eval();
}

bool read_all(void* data, size_t size) { return std::fread(data, 1, size, stdin) == size; }

}  // namespace

double sc_time_stamp() { return 0; }

int main(int count, char** arguments) {
    if (count != 3) {
        std::fprintf(stderr, "usage: stepper DEVICE SEED\n");
        return 2;
    }
    VerilatedContext context;
    Vtop top{&context};
    std::mt19937 random(std::strtoul(arguments[2], nullptr, 10));
    std::deque<uint8_t> waiting;
    std::vector<uint8_t> come;

    top.select = std::strtoul(arguments[1], nullptr, 10);
    top.rst = 1;
    top.clk = 0;
    top.eval();
    tick(top);
    top.rst = 0;

    uint32_t request[3];
    bool offered = false;
    while (read_all(request, sizeof request)) {
        std::vector<uint8_t> data(request[2]);
        if (!read_all(data.data(), data.size())) return 1;
        waiting.insert(waiting.end(), data.begin(), data.end());
        come.clear();

        uint32_t cycles = 0, end = request[0];
        while (cycles < end) {
            offered = !waiting.empty() && (offered || random() % 100 >= request[1]);
            top.rx___05Fvalid = offered;
            if (offered) top.rx___05Fpayload = waiting.front();
            top.tx___05Fready = random() % 100 >= request[1];
            top.eval();
            if (offered && top.rx___05Fready) {
                waiting.pop_front();
                offered = false;
            }
            if (top.tx___05Fvalid && top.tx___05Fready) {
                if (come.empty() && end - cycles > LINGER) end = cycles + LINGER;
                come.push_back(top.tx___05Fpayload);
            }
            tick(top);
            ++cycles;
        }
        const uint32_t answer[2] = {cycles, uint32_t(come.size())};
        std::fwrite(answer, sizeof answer, 1, stdout);
        std::fwrite(come.data(), 1, come.size(), stdout);
        std::fflush(stdout);
    }
    return 0;
}
