// The line between a USB host and a Verilated device: packets one way, the answers the other way.
//
// The host is another process. A request of it is three little-endian 32-bit words, what to do, a number
// and a number of bytes, then those bytes. The answer is two words, a number and a number of bytes, then
// those bytes. What there is to do:
//
//   0 packet   send these bytes, if any, as a packet; wait for so many bits for the answer. The number
//              is that of bits between both, or NONE.
//   1 line     hold the line at a state for so many bits: the first byte, see `State`. The number is the
//              state in which the device leaves it.
//   2 feed     give the device's own side these bytes to send
//   3 drain    return what has come out at the device's own side
//   4 stall    let both streams of that side pause in this percentage of cycles
//   5 time     return how many bits have passed
//
// At full speed the host is at the two pads, with a clock of its own that is off by 0.25 %, either way, and
// edges that come up to 3 ns late on each of both. At high speed it is behind a ULPI PHY, which decides about NXT;
// bits are counted in eights there.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <random>
#include <vector>

#include <unistd.h>

#include "Vtop.h"
#include "verilated.h"

namespace {

constexpr uint32_t NONE = ~0u;

enum State : uint8_t { SE0 = 0, J = 1, K = 2, RELEASED = 3 };

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "usb: %s\n", what);
    std::exit(1);
}

// The device's own side: its streams, whose clock here is as fast as that of the port, half a cycle behind.
class Streams {
public:
    explicit Streams(Vtop& top) : m_top(top) {}

    std::deque<uint8_t> to_send;
    std::vector<uint8_t> come;
    uint32_t percent = 0;
    std::mt19937 random;

    // Is called before each edge; all that the device says comes out of registers.
    void edge() {
        m_offered = !to_send.empty() && (m_offered || !pauses());
        m_top.i___05Fvalid = m_offered;
        m_top.i___05Fpayload = m_offered ? to_send.front() : 0xEE;
        m_top.o___05Fready = !pauses();
        if (m_offered && m_top.i___05Fready) {
            to_send.pop_front();
            m_offered = false;
        }
        if (m_top.o___05Fvalid && m_top.o___05Fready) come.push_back(m_top.o___05Fpayload);
    }

private:
    bool pauses() { return percent && random() % 100 < percent; }

    Vtop& m_top;
    bool m_offered = false;
};

// Two pads, sampled by the device four times per bit of its own clock.
class FullSpeed {
public:
    FullSpeed(Vtop& top, Streams& streams)
        : m_top(top), m_streams(streams),
          m_bit(4 * IO_PS * (streams.random() % 2 ? 1 + OFF : 1 - OFF)) {}

    double bits() const { return m_now / m_bit; }

    void packet(const std::vector<uint8_t>& bytes) {
        pass(GAP * m_bit);
        double edge = m_now;
        bool level = true;              // J
        int ones = 0;
        const auto bit = [&](bool one) {
            if (!one) level = !level;
            hold(level ? J : K, edge += m_bit);
            ones = one ? ones + 1 : 0;
        };
        const auto stuffed = [&](bool one) {
            bit(one);
            if (ones == 6) bit(false);
        };
        for (int n = 0; n < 8; ++n) stuffed(n == 7);
        for (const uint8_t byte : bytes) {
            for (int n = 0; n < 8; ++n) stuffed(byte >> n & 1);
        }
        hold(SE0, edge += 2 * m_bit);
        m_ended = edge;
        hold(J, edge += m_bit);
        m_state = RELEASED;
    }

    // Returns bits from the end of the host's packet to the device's first edge.
    uint32_t answer(uint32_t patience, std::vector<uint8_t>& bytes) {
        const double end = m_ended + patience * m_bit;
        while (!m_top.full_oe || m_top.full_dp_o) {
            if (m_now > end) return NONE;
            tick();
        }
        const uint32_t turnaround = uint32_t((m_now - m_ended) / m_bit + 0.5);
        bool last = true;
        int ones = 0, silent = 0;
        std::vector<bool> got;
        tick();
        tick();                         // to the middle of the first bit
        for (;; tick4()) {
            if (!m_top.full_oe) fail("the device has let go of the line inside a packet");
            if (!m_top.full_dp_o && !m_top.full_dn_o) {
                if (++silent == 2) break;
                continue;
            }
            if (silent || m_top.full_dp_o == m_top.full_dn_o) fail("a state of the line is none");
            const bool one = bool(m_top.full_dp_o) == last;
            last = m_top.full_dp_o;
            if (ones == 6) {
                if (one) fail("seven ones follow each other");
                ones = 0;
                continue;
            }
            ones = one ? ones + 1 : 0;
            got.push_back(one);
        }
        for (int n = 0; n < 16 && m_top.full_oe; ++n) tick();
        if (m_top.full_oe) fail("the device holds the line behind a packet");
        if (got.size() % 8 || got.size() < 16) fail("a packet is not one of whole bytes");
        for (size_t n = 0; n < got.size(); n += 8) {
            uint8_t byte = 0;
            for (int bit = 0; bit < 8; ++bit) byte |= got[n + bit] << bit;
            bytes.push_back(byte);
        }
        if (bytes.front() != 0x80) fail("a packet does not begin with SYNC");
        bytes.erase(bytes.begin());
        m_ended = m_now;
        return turnaround;
    }

    uint32_t line(State state, uint32_t bits) {
        hold(state, m_now + bits * m_bit);
        m_state = RELEASED;
        return m_top.full_pullup ? J : SE0;
    }

private:
    static constexpr double IO_PS = 1e6 / 48;
    static constexpr double OFF = 0.0025;
    static constexpr double LATE = 3'000;
    static constexpr double GAP = 3;    // bits from packet to packet

    void pass(double ps) {
        const double end = m_now + ps;
        while (m_now < end) tick();
    }

    void hold(State state, double end) {
        m_before = m_state;
        m_state = state;
        m_changed = m_now;
        for (double& late : m_late) late = LATE * (m_streams.random() % 1000) / 1000;
        while (m_now < end) tick();
    }

    bool pad(int number) const {
        if (m_top.full_oe) return number ? m_top.full_dn_o : m_top.full_dp_o;
        State state = m_now - m_changed < m_late[number] ? m_before : m_state;
        if (state == RELEASED) state = m_top.full_pullup ? J : SE0;
        return state == (number ? K : J);
    }

    void tick() {
        m_now += IO_PS;
        if (m_top.full_oe && m_state != RELEASED) fail("device and host drive the line");
        m_top.full_dp_i = pad(0);
        m_top.full_dn_i = pad(1);
        m_top.usb_io_clk = 1;
        m_top.usb_clk = m_count++ % 4 < 2;
        m_top.clk = 0;
        m_top.eval();
        m_streams.edge();
        m_top.usb_io_clk = 0;
        m_top.clk = 1;
        m_top.eval();
    }

    void tick4() {
        for (int n = 0; n < 4; ++n) tick();
    }

    Vtop& m_top;
    Streams& m_streams;
    const double m_bit;
    State m_state = RELEASED, m_before = RELEASED;
    double m_now = 0, m_changed = 0, m_ended = 0, m_late[2] = {};
    unsigned m_count = 0;
};

// A ULPI PHY, by its specification (revision 1.1), with delays as data sheets have them.
class HighSpeed {
public:
    HighSpeed(Vtop& top, Streams& streams) : m_top(top), m_streams(streams) {}

    double bits() const { return m_cycles; }

    void packet(const std::vector<uint8_t>& bytes) {
        pass(GAP);
        settle();
        pass(SYNC + DELAY);
        m_packet.clear();
        m_top.ulpi_dir = 1;
        // Either of the ways in which it may begin; what is told by a status takes the device longer.
        const bool at_once = m_streams.random() % 2;
        m_top.ulpi_nxt = at_once;
        cycle();
        for (int n = at_once ? 1 : 3; n; --n) status(RX_ACTIVE);
        for (const uint8_t byte : bytes) {
            while (m_streams.random() % 16 == 0) status(RX_ACTIVE);
            m_top.ulpi_nxt = 1;
            m_top.ulpi_data_i = byte;
            cycle();
        }
        status(0);
        release();
        m_ended = m_cycles;
    }

    uint32_t answer(uint32_t patience, std::vector<uint8_t>& bytes) {
        const uint64_t end = m_ended + patience;
        while (m_packet.empty() || m_sending) {
            if (m_cycles > end && !m_sending) return NONE;
            cycle();
        }
        bytes.swap(m_packet);
        pass(SYNC + DELAY);
        m_ended = m_cycles;
        return uint32_t(m_began - m_sent_end);
    }

    uint32_t line(State state, uint32_t cycles) {
        settle();
        m_line = state == RELEASED ? SE0 : state;
        m_top.ulpi_dir = 1;
        m_top.ulpi_nxt = 0;
        cycle();
        status(0);
        release();
        pass(cycles);
        return m_sending ? K : m_line;
    }

private:
    static constexpr int GAP = 11, SYNC = 4, DELAY = 4;
    static constexpr uint8_t RX_ACTIVE = 1 << 4, VBUS_VALID = 3 << 2;

    void pass(int cycles) {
        for (int n = 0; n < cycles; ++n) cycle();
    }

    // The PHY interrupts nobody here: it waits until the device is done.
    void settle() {
        while (m_sending || m_register || (m_top.ulpi_data_o && !m_top.ulpi_dir)) cycle();
    }

    void status(uint8_t active) {
        m_top.ulpi_nxt = 0;
        m_top.ulpi_data_i = (active ? J : m_line) | VBUS_VALID | active;
        cycle();
    }

    void release() {
        m_top.ulpi_dir = m_top.ulpi_nxt = 0;
        m_sent_end = m_cycles;
        cycle();
    }

    void cycle() {
        ++m_cycles;
        const bool listens = !m_top.ulpi_dir;
        if (listens) m_top.ulpi_nxt = next();
        m_streams.edge();
        m_top.ulpi_clk = 0;
        m_top.clk = 1;
        m_top.eval();
        if (listens && m_top.ulpi_oe == 0) fail("nobody drives the bus of the PHY");
        if (listens) take();
        m_top.ulpi_clk = 1;
        m_top.clk = 0;
        m_top.eval();
    }

    // Whether the PHY takes what the device has on the bus in this cycle.
    bool next() {
        if (!m_sending && !m_register && !m_top.ulpi_data_o) return false;
        return m_streams.random() % 8 != 0;
    }

    void take() {
        const uint8_t byte = m_top.ulpi_data_o;
        if (m_sending) {
            if (m_top.ulpi_stp) {
                m_sending = false;
                if (byte && !m_chirp) fail("the device gives a packet up");
            } else if (m_top.ulpi_nxt && !m_chirp) {
                m_packet.push_back(byte);
            }
        } else if (m_register) {
            if (m_top.ulpi_stp) m_register = false;
        } else if (m_top.ulpi_nxt && byte >> 6 == 1) {
            m_sending = true;
            m_began = m_cycles;
            m_packet.clear();
            m_chirp = !(byte & 15);     // the one thing that begins with no PID
            if (!m_chirp) m_packet.push_back(uint8_t((byte & 15) | ~byte << 4));
        } else if (m_top.ulpi_nxt && byte >> 6 == 2) {
            m_register = true;
        } else if (m_top.ulpi_nxt) {
            fail("a command to the PHY is none");
        }
    }

    Vtop& m_top;
    Streams& m_streams;
    uint8_t m_line = J;
    bool m_sending = false, m_chirp = false, m_register = false;
    std::vector<uint8_t> m_packet;
    uint64_t m_cycles = 0, m_ended = 0, m_began = 0, m_sent_end = 0;
};

bool read_all(void* data, size_t size) { return std::fread(data, 1, size, stdin) == size; }

template <class Line>
int serve(Line line, Streams& streams, std::FILE* answers) {
    uint32_t request[3];
    while (read_all(request, sizeof request)) {
        std::vector<uint8_t> data(request[2]), out;
        if (!read_all(data.data(), data.size())) return 1;
        uint32_t number = 0;
        switch (request[0]) {
            case 0:
                if (!data.empty()) line.packet(data);
                number = request[1] ? line.answer(request[1], out) : NONE;
                break;
            case 1: number = line.line(State(data.at(0)), request[1]); break;
            case 2: streams.to_send.insert(streams.to_send.end(), data.begin(), data.end()); break;
            case 3: out.swap(streams.come); break;
            case 4: streams.percent = request[1]; break;
            case 5: number = uint32_t(line.bits()); break;
            default: fail("a request is none");
        }
        const uint32_t answer[2] = {number, uint32_t(out.size())};
        std::fwrite(answer, sizeof answer, 1, answers);
        std::fwrite(out.data(), 1, out.size(), answers);
        std::fflush(answers);
    }
    return 0;
}

}  // namespace

double sc_time_stamp() { return 0; }

int main(int count, char** arguments) {
    if (count != 4) {
        std::fprintf(stderr, "usage: usb full|high SEED streams|link\n");
        return 2;
    }
    std::FILE* const answers = fdopen(dup(STDOUT_FILENO), "wb");
    dup2(STDERR_FILENO, STDOUT_FILENO);
    VerilatedContext context;
    Vtop top{&context};
    Streams streams(top);
    streams.random.seed(std::strtoul(arguments[2], nullptr, 10));
    top.high = arguments[1][0] == 'h';
    top.linked = arguments[3][0] == 'l';
    return top.high ? serve(HighSpeed(top, streams), streams, answers)
                    : serve(FullSpeed(top, streams), streams, answers);
}
