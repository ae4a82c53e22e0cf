// Steps a Verilated device on request: bytes and a number of cycles in, bytes and cycles out.
//
// A request is three little-endian 32-bit words, the most cycles to simulate, a percentage of pauses
// and a number of bytes, then those bytes. The answer is two words, the cycles simulated and a
// number of bytes, then those bytes. A turn ends early, a while after the first byte has come.
//
// The port is either two streams of bytes, `rx` and `tx`, beside which `select` is the number of one of
// several devices with one clock, or the two wires `rx` and `tx` of a UART at the pads of a board,
// which makes its clocks. Its cycles are steps of 10 ns.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <random>
#include <type_traits>
#include <utility>
#include <vector>

#include <unistd.h>

#include "Vtop.h"
#include "verilated.h"

namespace {

struct Traffic {
    std::mt19937 random;
    std::deque<uint8_t> waiting;    // for the device
    std::vector<uint8_t> come;      // from it
    uint32_t percent = 0;           // of pauses

    bool pauses() { return random() % 100 < percent; }

    uint8_t next() {
        const uint8_t byte = waiting.front();
        waiting.pop_front();
        return byte;
    }
};

template <class Top>
void tick(Top& top) {
    top.clk = 1;
    top.eval();
    top.clk = 0;
    top.eval();
}

// Streams of bytes; in the given percentage of cycles either of them pauses.
template <class Top>
class Streams {
public:
    Streams(Top& top, double select) : m_top(top) {
        top.select = uint8_t(select);
        top.rst = 1;
        top.clk = 0;
        top.eval();
        tick(top);
        top.rst = 0;
    }

    uint32_t linger() const { return 600; }

    void cycle(Traffic& traffic) {
        m_offered = !traffic.waiting.empty() && (m_offered || !traffic.pauses());
        m_top.rx___05Fvalid = m_offered;
        if (m_offered) m_top.rx___05Fpayload = traffic.waiting.front();
        m_top.tx___05Fready = !traffic.pauses();
        m_top.eval();
        if (m_offered && m_top.rx___05Fready) {
            traffic.next();
            m_offered = false;
        }
        if (m_top.tx___05Fvalid && m_top.tx___05Fready) {
            traffic.come.push_back(m_top.tx___05Fpayload);
        }
        tick(m_top);
    }

private:
    Top& m_top;
    bool m_offered = false;
};

// Wires; before the given percentage of bytes the host pauses, by up to three bytes' time. The UART
// here shares nothing with the board: it counts time in fractions of a cycle, and its clock is its own.
template <class Top>
class Wires {
public:
    Wires(Top& top, double bit_cycles) : m_top(top), m_bit(bit_cycles) {
        top.rx = 1;
        top.eval();
    }

    uint32_t linger() const { return uint32_t(6 * FRAME_BITS * m_bit); }

    void cycle(Traffic& traffic) {
        if (!traffic.waiting.empty() && m_now >= m_out_end) send(traffic);
        if (m_top.rx != level()) {
            m_top.rx = level();
            m_top.eval();
        }
        pass_time();
        m_now += 1;
        if (receive(m_top.tx)) traffic.come.push_back(uint8_t(m_in >> 1));
    }

private:
    static constexpr int FRAME_BITS = 10;
    static constexpr uint64_t CYCLE = 10'000'000;       // in the model's unit, femtoseconds

    void pass_time() {
        VerilatedContext& context = *m_top.contextp();
        const uint64_t end = context.time() + CYCLE;
        while (m_top.nextTimeSlot() <= end) {           // an oscillator never ends
            context.time(m_top.nextTimeSlot());
            m_top.eval();
        }
        context.time(end);
    }

    void send(Traffic& traffic) {
        const double longest = traffic.pauses() ? 3 * FRAME_BITS * m_bit : 0;
        const double pause = longest ? longest * (traffic.random() % 1000) / 1000 : 0;
        // A byte that follows at once begins where the one before ended, within a cycle.
        m_out_start = std::max(m_now - 1, m_out_end) + pause;
        m_out_end = m_out_start + FRAME_BITS * m_bit;
        m_out = ~0u << 9 | uint32_t(traffic.next()) << 1;
    }

    bool level() const {
        if (m_now < m_out_start || m_now >= m_out_end) return true;
        return m_out >> int((m_now - m_out_start) / m_bit) & 1;
    }

    // Returns whether a byte has ended; the middle of each bit counts.
    bool receive(bool level) {
        const bool falls = m_last && !level;
        m_last = level;
        if (m_index < 0) {
            if (falls) {
                m_index = 0;
                m_middle = m_now + m_bit / 2;
            }
            return false;
        }
        if (m_now < m_middle) return false;
        m_in = (m_in & ~(1u << m_index)) | uint32_t(level) << m_index;
        m_middle += m_bit;
        if (++m_index != FRAME_BITS) return false;
        m_index = -1;
        if ((m_in & 1) || !(m_in >> 9 & 1)) {
            std::fprintf(stderr, "step: start or stop bit is wrong\n");
            std::exit(1);
        }
        return true;
    }

    Top& m_top;
    const double m_bit;
    double m_now = 0;
    double m_out_start = 0, m_out_end = 0;
    uint32_t m_out = 0;
    double m_middle = 0;
    int m_index = -1;               // of the bit that is coming, -1: none
    uint32_t m_in = 0;
    bool m_last = true;
};

template <class Top, class = void>
struct PortOf {
    using Type = Wires<Top>;
};

template <class Top>
struct PortOf<Top, std::void_t<decltype(std::declval<Top&>().rx___05Fvalid)>> {
    using Type = Streams<Top>;
};

bool read_all(void* data, size_t size) { return std::fread(data, 1, size, stdin) == size; }

}  // namespace

double sc_time_stamp() { return 0; }

int main(int count, char** arguments) {
    if (count < 3) {
        std::fprintf(stderr, "usage: step DEVICE_OR_CYCLES_PER_BIT SEED [+NAME=VALUE]...\n");
        return 2;
    }
    std::FILE* const answers = fdopen(dup(STDOUT_FILENO), "wb");
    dup2(STDERR_FILENO, STDOUT_FILENO);     // what the models have to say is for people
    VerilatedContext context;
    context.commandArgs(count, arguments);
    Vtop top{&context};
    PortOf<Vtop>::Type port(top, std::strtod(arguments[1], nullptr));
    Traffic traffic;
    traffic.random.seed(std::strtoul(arguments[2], nullptr, 10));

    uint32_t request[3];
    while (read_all(request, sizeof request)) {
        std::vector<uint8_t> data(request[2]);
        if (!read_all(data.data(), data.size())) return 1;
        traffic.waiting.insert(traffic.waiting.end(), data.begin(), data.end());
        traffic.come.clear();
        traffic.percent = request[1];

        uint32_t cycles = 0, end = request[0];
        while (cycles < end) {
            const bool silent = traffic.come.empty();
            port.cycle(traffic);
            if (silent && !traffic.come.empty()) end = std::min(end, cycles + port.linger());
            ++cycles;
        }
        const uint32_t answer[2] = {cycles, uint32_t(traffic.come.size())};
        std::fwrite(answer, sizeof answer, 1, answers);
        std::fwrite(traffic.come.data(), 1, traffic.come.size(), answers);
        std::fflush(answers);
    }
    return 0;
}
