// Plays passes through a Verilated accelerator, whose beats come when they are wanted or are
// withheld for known numbers of cycles.
//
// A request is four little-endian 64-bit words: the payload of `start`, a number of words of the
// records, a number of gaps and a number of beats; then the gaps, two 64-bit words each, the beat
// and the cycles for which it is withheld; then the beats. The answer is the payload of `done` and
// the number of beats taken, two 64-bit words, then the words of the records, 32 bits each.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

constexpr size_t BEAT = sizeof(Vtop::beats___05Fpayload);
constexpr uint64_t PATIENCE = 100'000;      // cycles without a beat after which a pass has failed
constexpr uint8_t RECORDS = 2;              // the debug port's space

bool read_all(void* data, size_t size) { return std::fread(data, 1, size, stdin) == size; }

class Passes {
public:
    Passes() {
        m_top.clk = 0;
        m_top.rst = 1;
        m_top.logits___05Fready = 1;
        tick();
        m_top.rst = 0;
    }

    // Plays a pass; returns the payload of `done` and the beats taken.
    std::pair<uint64_t, uint64_t> play(uint64_t start, const std::map<uint64_t, uint64_t>& gaps,
                                       const std::vector<uint8_t>& data) {
        const uint64_t beats = data.size() / BEAT;
        uint64_t beat = 0, left = withheld(gaps, 0), quiet = 0, done = 0;
        m_top.start___05Fpayload = start;
        m_top.start___05Fvalid = 1;
        m_top.done___05Fready = 1;
        for (bool ended = false; !ended; ++quiet) {
            if (quiet == PATIENCE) {
                std::fprintf(stderr, "passes: beat %llu of %llu, then nothing for %llu cycles.\n",
                             (unsigned long long)beat, (unsigned long long)beats,
                             (unsigned long long)PATIENCE);
                std::exit(1);
            }
            const bool offered = beat < beats && left == 0;
            m_top.beats___05Fvalid = offered;
            if (offered) {
                std::memcpy(&m_top.beats___05Fpayload, &data[beat * BEAT], BEAT);
            } else {
                poison();
            }
            m_top.eval();
            const bool taken = offered && m_top.beats___05Fready;
            const bool started = m_top.start___05Fvalid && m_top.start___05Fready;
            ended = m_top.done___05Fvalid;
            done = m_top.done___05Fpayload;
            if (left) --left;
            if (taken) {
                left = withheld(gaps, ++beat);
                quiet = 0;
            }
            tick();
            if (started) m_top.start___05Fvalid = 0;
        }
        m_top.done___05Fready = 0;
        return {done, beat};
    }

    uint32_t record(uint32_t address) {
        m_top.memory___05Fspace = RECORDS;
        m_top.memory___05Faddress = address;
        m_top.memory___05Fread = 1;
        tick();
        m_top.memory___05Fread = 0;
        while (!m_top.memory___05Fdata_valid) tick();
        return m_top.memory___05Fdata;
    }

private:
    static uint64_t withheld(const std::map<uint64_t, uint64_t>& gaps, uint64_t beat) {
        const auto found = gaps.find(beat);
        return found == gaps.end() ? 0 : found->second;
    }

    // A payload that is not offered means nothing.
    void poison() {
        uint8_t junk[BEAT];
        for (uint8_t& byte : junk) byte = uint8_t(m_random());
        std::memcpy(&m_top.beats___05Fpayload, junk, BEAT);
    }

    void tick() {
        m_top.clk = 1;
        m_top.eval();
        m_top.clk = 0;
        m_top.eval();
    }

    VerilatedContext m_context;
    Vtop m_top{&m_context};
    std::minstd_rand m_random;
};

}  // namespace

double sc_time_stamp() { return 0; }

int main() {
    Passes passes;
    uint64_t request[4];
    while (read_all(request, sizeof request)) {
        std::map<uint64_t, uint64_t> gaps;
        for (uint64_t n = 0; n < request[2]; ++n) {
            uint64_t gap[2];
            if (!read_all(gap, sizeof gap)) return 1;
            gaps[gap[0]] = gap[1];
        }
        std::vector<uint8_t> data(request[3] * BEAT);
        if (!read_all(data.data(), data.size())) return 1;
        const auto [done, taken] = passes.play(request[0], gaps, data);
        const uint64_t answer[2] = {done, taken};
        std::fwrite(answer, sizeof answer, 1, stdout);
        for (uint32_t address = 0; address < request[1]; ++address) {
            const uint32_t word = passes.record(address);
            std::fwrite(&word, sizeof word, 1, stdout);
        }
        std::fflush(stdout);
    }
    return 0;
}
