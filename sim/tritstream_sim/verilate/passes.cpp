// Plays passes through a Verilated accelerator, whose beats come when they are wanted or are
// withheld for known numbers of cycles.
//
// A request is eight little-endian 64-bit words: the payload of `start`, three of them, a number of
// digests, a number of words of the records, a number of gaps, a number of beats and the bytes of a
// beat; then the gaps, two 64-bit words each, the beat and the cycles for which it is withheld; then
// the beats. The answer is the payload of `done` and the number of beats taken, two 64-bit words,
// then the digests of the first lanes and the words of the records, 32 bits each.

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

constexpr uint8_t OK = 0;                   // status in the lowest byte of the payload of `done`
constexpr uint64_t PATIENCE = 100'000;      // cycles without a beat after which a pass has failed

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

    // Plays a pass; returns the payload of `done` and the beats taken. What a bad pass has left
    // behind ends with a reset.
    std::pair<uint64_t, uint64_t> play(const uint64_t* start, const std::map<uint64_t, uint64_t>& gaps,
                                       const std::vector<uint8_t>& data, size_t beat_bytes) {
        const uint64_t beats = data.size() / beat_bytes;
        uint64_t beat = 0, left = withheld(gaps, 0), quiet = 0, done = 0;
        std::memcpy(&m_top.start___05Fpayload, start, sizeof m_top.start___05Fpayload);
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
                present(&data[beat * beat_bytes], beat_bytes, beat == beats - 1);
            } else {
                poison(beat_bytes);
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
        if (uint8_t(done) != OK) {
            m_top.beats___05Fvalid = m_top.start___05Fvalid = 0;
            m_top.rst = 1;
            tick();
            m_top.rst = 0;
        }
        return {done, beat};
    }

    uint32_t digest(uint32_t lane) {
        m_top.lane = lane;
        m_top.eval();
        return m_top.digest;
    }

    uint32_t record(uint32_t address) {
        m_top.debug___05Frecords_read___05Faddr = address;
        tick();
        tick();
        return m_top.debug___05Frecords_read___05Fdata;
    }

private:
    static uint64_t withheld(const std::map<uint64_t, uint64_t>& gaps, uint64_t beat) {
        const auto found = gaps.find(beat);
        return found == gaps.end() ? 0 : found->second;
    }

    // The bytes of a beat, and above them whether it is the last of the pass.
    void present(const uint8_t* beat, size_t beat_bytes, bool last) {
        uint8_t* payload = reinterpret_cast<uint8_t*>(&m_top.beats___05Fpayload);
        std::memcpy(payload, beat, beat_bytes);
        payload[beat_bytes] = last;
    }

    // A payload that is not offered means nothing.
    void poison(size_t beat_bytes) {
        std::vector<uint8_t> junk(beat_bytes);
        for (uint8_t& byte : junk) byte = uint8_t(m_random());
        present(junk.data(), beat_bytes, m_random() & 1);
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
    uint64_t request[8];
    while (read_all(request, sizeof request)) {
        std::map<uint64_t, uint64_t> gaps;
        for (uint64_t n = 0; n < request[5]; ++n) {
            uint64_t gap[2];
            if (!read_all(gap, sizeof gap)) return 1;
            gaps[gap[0]] = gap[1];
        }
        std::vector<uint8_t> data(request[6] * request[7]);
        if (!read_all(data.data(), data.size())) return 1;
        const auto [done, taken] = passes.play(request, gaps, data, request[7]);
        const uint64_t answer[2] = {done, taken};
        std::fwrite(answer, sizeof answer, 1, stdout);
        for (uint32_t lane = 0; lane < request[3]; ++lane) {
            const uint32_t digest = passes.digest(lane);
            std::fwrite(&digest, sizeof digest, 1, stdout);
        }
        for (uint32_t address = 0; address < request[4]; ++address) {
            const uint32_t word = passes.record(address);
            std::fwrite(&word, sizeof word, 1, stdout);
        }
        std::fflush(stdout);
    }
    return 0;
}
