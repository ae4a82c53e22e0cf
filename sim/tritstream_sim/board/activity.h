// What the blocks of the accelerator do while a pass runs.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

// The file has the latest pass, of which the lines `run BLOCK BEGIN END BUSY` of each stage are
// followed by `stage BEGIN END`; cycles count from the begin of the pass, END is the one behind the
// last. A run goes on over pauses of up to PAUSE cycles, else a row of sums would be one, but not
// over the end of a stage.
class Activity {
public:
    static constexpr uint64_t PAUSE = 16;
    static constexpr unsigned BLOCKS = 8;

    explicit Activity(const std::string& path) {
        if (path.empty()) return;
        m_file = std::fopen(path.c_str(), "w");
        if (!m_file) {
            std::fprintf(stderr, "board: %s cannot be written (%s): give another file.\n",
                         path.c_str(), std::strerror(errno));
            std::exit(2);
        }
    }

    Activity(const Activity&) = delete;

    ~Activity() {
        if (m_file) std::fclose(m_file);
    }

    // Takes a cycle: a bit for each block, whether a pass begins with the next cycle, and whether a
    // stage ends with this one.
    void step(unsigned busy, bool pass_starts, bool stage_ends) {
        if (!m_file) return;
        if (pass_starts) {
            begin();
            return;
        }
        for (; busy; busy &= busy - 1) extend(__builtin_ctz(busy));
        ++m_cycle;
        if (stage_ends) end_stage();
    }

private:
    struct Run {
        uint64_t begin, end, busy;      // busy is 0: there is none
    };

    void begin() {
        std::rewind(m_file);
        if (ftruncate(fileno(m_file), 0) != 0) return give_up();
        for (Run& run : m_runs) run.busy = 0;
        m_cycle = m_stage = 0;
    }

    void extend(unsigned block) {
        Run& run = m_runs[block];
        if (run.busy && m_cycle - run.end > PAUSE) flush(block);
        if (!run.busy) run.begin = m_cycle;
        run.end = m_cycle + 1;
        ++run.busy;
    }

    void flush(unsigned block) {
        Run& run = m_runs[block];
        if (!run.busy) return;
        std::fprintf(m_file, "run %u %llu %llu %llu\n", block,
                     static_cast<unsigned long long>(run.begin),
                     static_cast<unsigned long long>(run.end),
                     static_cast<unsigned long long>(run.busy));
        run.busy = 0;
    }

    void end_stage() {
        for (unsigned block = 0; block < BLOCKS; ++block) flush(block);
        std::fprintf(m_file, "stage %llu %llu\n", static_cast<unsigned long long>(m_stage),
                     static_cast<unsigned long long>(m_cycle));
        m_stage = m_cycle;
        // The host reads it as soon as the pass has been answered.
        if (std::fflush(m_file) != 0) give_up();
    }

    // A disk without room is no reason to end the board: there is no more of it in the file.
    void give_up() {
        if (ftruncate(fileno(m_file), 0) != 0) std::perror("board: what the blocks do is lost");
        std::fclose(m_file);
        m_file = nullptr;
    }

    std::FILE* m_file = nullptr;
    Run m_runs[BLOCKS] = {};
    uint64_t m_cycle = 0, m_stage = 0;
};
