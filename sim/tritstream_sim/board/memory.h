// The memories behind the ports: bandwidth, latency and refresh of real ones.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <type_traits>
#include <utility>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ports are copied byte by byte");

struct MemoryOptions {
    uint64_t bytes = 0;             // size
    std::string preload;            // file whose contents it holds from byte 0 on; empty: none
    double bandwidth = 0;           // bytes per cycle of all together, 0: one beat of each per cycle
    uint64_t latency = 0;           // cycles from a request to its first beat, at least 1
    uint64_t refresh_interval = 0;  // cycles from one refresh to the next, 0: none
    uint64_t refresh_cycles = 0;    // of these, cycles in which nothing is read
};

// Reads of all requests come in order and are pipelined: latency counts from each request, so that
// the second of two follows the first without a gap. A beat that is not taken holds up the next but
// one: reading ahead is the gateware's. Writes take no time: the link is slower than any memory.
// Of several memories each has its own commands, and refreshes when the others do not; a stripe,
// which is a beat of each, lies in the content as in the payload of a port.
template <class Top>
class Memory {
public:
    Memory(Top& top, const MemoryOptions& options)
        : m_top(top), m_options(options),
          m_content(static_cast<uint8_t*>(std::calloc(options.bytes, 1))) {
        if (!m_content) {
            std::fprintf(stderr, "board: there is no room for a memory of %llu bytes.\n",
                         static_cast<unsigned long long>(options.bytes));
            std::exit(4);
        }
        if (!options.preload.empty()) preload();
        const double bandwidth = options.bandwidth > 0 ? options.bandwidth / GROUPS : BEAT;
        m_per_cycle = uint64_t(bandwidth * ONE);
        if (m_per_cycle > BEAT * ONE) m_per_cycle = BEAT * ONE;
        if (m_per_cycle == 0) m_per_cycle = 1;
    }

    // Sets the inputs of the model for this cycle.
    void drive() {
        uint64_t ready = 0, valid = 0;
        for (unsigned group = 0; group < GROUPS; ++group) {
            const Port& port = m_ports[group];
            // Commands are carried out in their order: a write waits for the reads before it.
            const bool takes = port.requests.empty() || (!bit(m_top.command_write, group)
                                                         && port.requests.size() < REQUESTS);
            ready |= uint64_t(takes) << group;
            valid |= uint64_t(port.fetched != 0) << group;
            if (port.fetched) {
                std::memcpy(part(m_top.data_payload, group), at(port.requests.front().beat, group),
                            BEAT);
            }
        }
        m_top.command_ready = ready;
        m_top.data_valid = valid;
    }

    // Does what the clock's edge does, with the ports as they are before it; says whether anything
    // was under way.
    bool step(uint64_t cycle) {
        bool busy = false;
        for (unsigned group = 0; group < GROUPS; ++group) busy |= step(m_ports[group], group, cycle);
        return busy;
    }

    bool written() const { return m_written; }      // since the start

private:
    struct Request {
        uint32_t beat;      // the next to be taken
        uint32_t left;      // to be taken
        uint64_t ready;     // cycle from which on it is fetched
    };

    struct Port {
        std::deque<Request> requests;
        uint32_t fetched = 0;       // beats that wait
        uint64_t credit = 0;        // bandwidth that has not been used
    };

    // A payload has the next larger size that a model's port can have, less than twice as much.
    static constexpr unsigned beat_bytes() {
        unsigned bytes = 1;
        while (2 * bytes * GROUPS <= sizeof(Top::data_payload)) bytes *= 2;
        return bytes;
    }

    static constexpr unsigned GROUPS = sizeof(Top::command_beats) / sizeof(uint32_t);
    static constexpr unsigned BEAT = beat_bytes();
    static constexpr unsigned STRIPE = BEAT * GROUPS;
    static constexpr uint64_t ONE = 1 << 16;        // fixed point of bandwidth
    static constexpr unsigned REQUESTS = 4;         // that wait in the controller
    static constexpr unsigned FETCHED_BEATS = 2;     // that wait at the port

    static bool bit(uint64_t value, unsigned group) { return value >> group & 1; }

    template <class Signal>
    static uint8_t* part(Signal& signal, unsigned group) {
        return reinterpret_cast<uint8_t*>(&signal) + group * BEAT;
    }

    template <class Signal>
    static uint32_t word(const Signal& signal, unsigned group) {
        uint32_t value;
        std::memcpy(&value, reinterpret_cast<const uint8_t*>(&signal) + group * sizeof value,
                    sizeof value);
        return value;
    }

    void preload() {
        const char* const name = m_options.preload.c_str();
        std::FILE* const file = std::fopen(name, "rb");
        if (!file) {
            std::fprintf(stderr, "board: %s cannot be read (%s).\n", name, std::strerror(errno));
            std::exit(2);
        }
        // What is not in the file stays 0.
        for (uint64_t done = 0, count = 1; count && done < m_options.bytes; done += count) {
            count = std::fread(m_content + done, 1, m_options.bytes - done, file);
        }
        if (std::ferror(file) || std::fgetc(file) != EOF) {
            std::fprintf(stderr, "board: %s cannot be read, or is larger than the memory of %llu "
                         "bytes.\n", name, static_cast<unsigned long long>(m_options.bytes));
            std::exit(2);
        }
        std::fclose(file);
    }

    uint8_t* at(uint64_t beat, unsigned group) {
        if ((beat + 1) * STRIPE > m_options.bytes) {
            std::fprintf(stderr, "board: the accelerator asked for beat %llu of a memory of %llu.\n",
                         static_cast<unsigned long long>(beat),
                         static_cast<unsigned long long>(m_options.bytes / STRIPE));
            std::abort();
        }
        return &m_content[beat * STRIPE + group * BEAT];
    }

    bool step(Port& port, unsigned group, uint64_t cycle) {
        bool busy = !port.requests.empty();
        if (port.fetched && bit(m_top.data_ready, group)) take(port);
        if (bit(m_top.command_valid, group) && bit(m_top.command_ready, group)) {
            const uint32_t beat = word(m_top.command_beat, group);
            if (bit(m_top.command_write, group)) {
                std::memcpy(at(beat, group), part(m_top.command_data, group), BEAT);
                m_written = true;
            } else {
                port.requests.push_back(
                    {beat, word(m_top.command_beats, group), cycle + m_options.latency});
            }
            busy = true;
        }
        fetch(port, group, cycle);
        return busy;
    }

    void take(Port& port) {
        Request& front = port.requests.front();
        ++front.beat;
        --port.fetched;
        if (--front.left == 0) port.requests.pop_front();
    }

    void fetch(Port& port, unsigned group, uint64_t cycle) {
        if (port.requests.empty()) return;
        const uint64_t interval = m_options.refresh_interval;
        if (interval && (cycle + group * interval / GROUPS) % interval < m_options.refresh_cycles) {
            return;
        }
        if (port.credit < BEAT * ONE) port.credit += m_per_cycle;
        if (port.credit < BEAT * ONE || port.fetched == FETCHED_BEATS) return;
        // Beats fetched belong to the front requests; the first beat behind them is the next.
        uint32_t behind = port.fetched;
        for (const Request& request : port.requests) {
            if (behind < request.left) {
                if (cycle >= request.ready) {
                    ++port.fetched;
                    port.credit -= BEAT * ONE;
                }
                return;
            }
            behind -= request.left;
        }
    }

    Top& m_top;
    const MemoryOptions m_options;
    uint8_t* const m_content;       // lives as long as the process
    Port m_ports[GROUPS];
    bool m_written = false;
    uint64_t m_per_cycle;           // of each
};

// A board without memory has no port for it.
struct NoMemory {
    template <class Top>
    NoMemory(Top&, const MemoryOptions&) {}
    void drive() {}
    bool step(uint64_t) { return false; }
    bool written() const { return false; }
};

template <class Top, class = void>
struct MemoryOf {
    using Type = NoMemory;
};

template <class Top>
struct MemoryOf<Top, std::void_t<decltype(std::declval<Top&>().command_valid)>> {
    using Type = Memory<Top>;
};
