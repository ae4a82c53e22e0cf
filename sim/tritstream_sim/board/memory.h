// The memory behind the port: bandwidth, latency and refresh of a real one.
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
    double bandwidth = 0;           // bytes per cycle, 0: one beat per cycle
    uint64_t latency = 0;           // cycles from a request to its first beat, at least 1
    uint64_t refresh_interval = 0;  // cycles from one refresh to the next, 0: none
    uint64_t refresh_cycles = 0;    // of these, cycles in which nothing is read
};

// Reads of all requests come in order and are pipelined: latency counts from each request, so that
// the second of two follows the first without a gap. A beat that is not taken holds up the next but
// one: reading ahead is the gateware's. Writes take no time: the link is slower than any memory.
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
        const double bandwidth = options.bandwidth > 0 ? options.bandwidth : BEAT;
        m_per_cycle = uint64_t(bandwidth * ONE);
        if (m_per_cycle > BEAT * ONE) m_per_cycle = BEAT * ONE;
        if (m_per_cycle == 0) m_per_cycle = 1;
    }

    // Sets the inputs of the model for this cycle.
    void drive() {
        // Commands are carried out in their order: a write waits for the reads before it.
        m_top.command_ready = m_requests.empty()
                              || (!m_top.command_write && m_requests.size() < REQUESTS);
        m_top.data_valid = m_fetched != 0;
        if (m_fetched) {
            const Request& front = m_requests.front();
            std::memcpy(&m_top.data_payload, at(front.beat), BEAT);
        }
    }

    // Does what the clock's edge does, with the ports as they are before it; says whether anything
    // was under way.
    bool step(uint64_t cycle) {
        bool busy = !m_requests.empty();
        if (m_fetched && m_top.data_ready) take();
        if (m_top.command_valid && m_top.command_ready) {
            if (m_top.command_write) {
                std::memcpy(at(m_top.command_beat), &m_top.command_data, BEAT);
                m_written = true;
            } else {
                m_requests.push_back(
                    {m_top.command_beat, m_top.command_beats, cycle + m_options.latency});
            }
            busy = true;
        }
        fetch(cycle);
        return busy;
    }

    bool written() const { return m_written; }      // since the start

private:
    struct Request {
        uint32_t beat;      // the next to be taken
        uint32_t left;      // to be taken
        uint64_t ready;     // cycle from which on it is fetched
    };

    static constexpr unsigned BEAT = sizeof(Top::data_payload);
    static constexpr uint64_t ONE = 1 << 16;        // fixed point of bandwidth
    static constexpr unsigned REQUESTS = 4;         // that wait in the controller
    static constexpr unsigned FETCHED_BEATS = 2;     // that wait at the port

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

    uint8_t* at(uint64_t beat) {
        if ((beat + 1) * BEAT > m_options.bytes) {
            std::fprintf(stderr, "board: the accelerator asked for beat %llu of a memory of %llu.\n",
                         static_cast<unsigned long long>(beat),
                         static_cast<unsigned long long>(m_options.bytes / BEAT));
            std::abort();
        }
        return &m_content[beat * BEAT];
    }

    void take() {
        Request& front = m_requests.front();
        ++front.beat;
        --m_fetched;
        if (--front.left == 0) m_requests.pop_front();
    }

    void fetch(uint64_t cycle) {
        if (m_requests.empty()) return;
        if (m_options.refresh_interval
            && cycle % m_options.refresh_interval < m_options.refresh_cycles) return;
        if (m_credit < BEAT * ONE) m_credit += m_per_cycle;
        if (m_credit < BEAT * ONE || m_fetched == FETCHED_BEATS) return;
        // Beats fetched belong to the front requests; the first beat behind them is the next.
        uint32_t behind = m_fetched;
        for (const Request& request : m_requests) {
            if (behind < request.left) {
                if (cycle >= request.ready) {
                    ++m_fetched;
                    m_credit -= BEAT * ONE;
                }
                return;
            }
            behind -= request.left;
        }
    }

    Top& m_top;
    const MemoryOptions m_options;
    uint8_t* const m_content;       // lives as long as the process
    std::deque<Request> m_requests;
    bool m_written = false;
    uint32_t m_fetched = 0;         // beats that wait
    uint64_t m_credit = 0;          // bandwidth that has not been used
    uint64_t m_per_cycle;
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
