// Steps a Verilated board top on request, bit by bit: bytes and a number of cycles in, bytes and
// cycles out. Requests and answers are those of stepper.cpp; the percentage is that of bytes before
// which the host pauses, by up to three bytes' time.
//
// The host's UART here shares nothing with the gateware's: it counts time in fractions of a cycle,
// and its clock is its own.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <random>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

constexpr uint32_t LINGER_BYTES = 6;
constexpr int FRAME_BITS = 10;

// Puts bytes on a line that is read once per cycle.
class Talker {
public:
    explicit Talker(double bit_cycles) : m_bit(bit_cycles) {}

    bool idle(double now) const { return now >= m_end; }

    void send(uint8_t byte, double start) {
        m_frame = ~0u << 9 | uint32_t(byte) << 1;
        m_start = start;
        m_end = start + FRAME_BITS * m_bit;
    }

    double end() const { return m_end; }

    bool level(double now) const {
        if (now < m_start || now >= m_end) return true;
        return m_frame >> int((now - m_start) / m_bit) & 1;
    }

private:
    double m_bit, m_start = 0, m_end = 0;
    uint32_t m_frame = 0;
};

// Takes bytes from a line; the middle of each bit counts.
class Listener {
public:
    explicit Listener(double bit_cycles) : m_bit(bit_cycles) {}

    // Returns whether a byte has ended.
    bool hear(bool level, double now) {
        if (m_index < 0) {
            if (m_last && !level) {
                m_index = 0;
                m_next = now + m_bit / 2;
            }
        } else if (now >= m_next) {
            m_frame = (m_frame & ~(1u << m_index)) | uint32_t(level) << m_index;
            m_next += m_bit;
            if (++m_index == FRAME_BITS) {
                m_index = -1;
                if ((m_frame & 1) || !(m_frame >> 9 & 1)) {
                    std::fprintf(stderr, "line: start or stop bit is wrong\n");
                    std::exit(1);
                }
                m_last = level;
                return true;
            }
        }
        m_last = level;
        return false;
    }

    uint8_t byte() const { return uint8_t(m_frame >> 1); }

private:
    double m_bit, m_next = 0;
    int m_index = -1;
    uint32_t m_frame = 0;
    bool m_last = true;
};

bool read_all(void* data, size_t size) { return std::fread(data, 1, size, stdin) == size; }

}  // namespace

double sc_time_stamp() { return 0; }

int main(int count, char** arguments) {
    if (count != 3) {
        std::fprintf(stderr, "usage: line CYCLES_PER_BIT SEED\n");
        return 2;
    }
    const double bit = std::strtod(arguments[1], nullptr);
    VerilatedContext context;
    Vtop top{&context};
    std::mt19937 random(std::strtoul(arguments[2], nullptr, 10));
    std::deque<uint8_t> waiting;
    std::vector<uint8_t> come;
    Talker talker(bit);
    Listener listener(bit);
    double now = 0;

    const auto tick = [&] {
        top.rx = talker.level(now);
        top.clk = 1;
        top.eval();
        top.clk = 0;
        top.eval();
        now += 1;
    };
    top.rst = 1;
    tick();
    top.rst = 0;

    uint32_t request[3];
    while (read_all(request, sizeof request)) {
        std::vector<uint8_t> data(request[2]);
        if (!read_all(data.data(), data.size())) return 1;
        waiting.insert(waiting.end(), data.begin(), data.end());
        come.clear();

        uint32_t cycles = 0, end = request[0];
        for (; cycles < end; ++cycles) {
            if (!waiting.empty() && talker.idle(now)) {
                const bool pause = random() % 100 < request[1];
                const double later = pause ? 3 * FRAME_BITS * bit * (random() % 1000) / 1000 : 0;
                // A byte that follows at once begins where the one before ended, within a cycle.
                talker.send(waiting.front(), std::max(now - 1, talker.end()) + later);
                waiting.pop_front();
            }
            tick();
            if (listener.hear(top.tx, now)) {
                const uint32_t linger = uint32_t(LINGER_BYTES * FRAME_BITS * bit);
                if (come.empty() && end - cycles > linger) end = cycles + linger;
                come.push_back(listener.byte());
            }
        }
        const uint32_t answer[2] = {cycles, uint32_t(come.size())};
        std::fwrite(answer, sizeof answer, 1, stdout);
        std::fwrite(come.data(), 1, come.size(), stdout);
        std::fflush(stdout);
    }
    return 0;
}
