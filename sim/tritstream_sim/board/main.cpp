// The simulated board: a Verilated SoC, its memory, and a TCP port as its cable.

#include <getopt.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>

#include "Vtop.h"
#include "host.h"
#include "memory.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_fst_c.h"
#endif

namespace {

constexpr unsigned POLL_CYCLES = 256;       // a system call costs about as much as a cycle
constexpr int SLEEP_MILLISECONDS = 200;     // bounds how long a signal may go unseen

volatile std::sig_atomic_t g_stop = 0;

struct Options {
    uint16_t port = 0;
    MemoryOptions memory;
    uint64_t idle_cycles = 200'000;
    uint64_t max_cycles = UINT64_MAX;
    std::string trace;
    bool quit_on_disconnect = false;
    bool watch_stdin = false;
    bool stats = false;
};

const char* const USAGE =
    "board: options are --port N  --memory BYTES  --bandwidth BYTES_PER_CYCLE  --latency CYCLES\n"
    "  --refresh INTERVAL:CYCLES  --idle CYCLES  --max-cycles N  --trace FILE.fst  --stats\n"
    "  --quit-on-disconnect  --quit-on-eof\n";

[[noreturn]] void fail(const std::string& why) {
    std::fprintf(stderr, "board: %s\n%s", why.c_str(), USAGE);
    std::exit(2);
}

double number(const char* text, double most) {
    char* end;
    const double value = std::strtod(text, &end);
    if (end == text || *end || !(value >= 0 && value <= most)) {
        fail(std::string(text) + " is not a number from 0 to " + std::to_string(uint64_t(most)));
    }
    return value;
}

void parse_refresh(const std::string& text, MemoryOptions& memory) {
    const size_t colon = text.find(':');
    if (colon == std::string::npos) fail(text + " is not INTERVAL:CYCLES");
    memory.refresh_interval = uint64_t(number(text.substr(0, colon).c_str(), 1e9));
    memory.refresh_cycles = uint64_t(number(text.substr(colon + 1).c_str(), 1e9));
    if (memory.refresh_interval <= memory.refresh_cycles) fail(text + " leaves no time to read");
}

Options parse(int count, char** arguments) {
    static const option known[] = {
        {"port", required_argument, nullptr, 'p'},
        {"memory", required_argument, nullptr, 'm'},
        {"bandwidth", required_argument, nullptr, 'b'},
        {"latency", required_argument, nullptr, 'l'},
        {"refresh", required_argument, nullptr, 'r'},
        {"idle", required_argument, nullptr, 'i'},
        {"max-cycles", required_argument, nullptr, 'c'},
        {"trace", required_argument, nullptr, 't'},
        {"stats", no_argument, nullptr, 's'},
        {"quit-on-disconnect", no_argument, nullptr, 'q'},
        {"quit-on-eof", no_argument, nullptr, 'e'},
        {nullptr, 0, nullptr, 0},
    };
    Options options;
    for (int letter; (letter = getopt_long(count, arguments, "", known, nullptr)) != -1;) {
        switch (letter) {
        case 'p': options.port = uint16_t(number(optarg, 65535)); break;
        case 'm': options.memory.bytes = uint64_t(number(optarg, 1e12)); break;
        case 'b': options.memory.bandwidth = number(optarg, 64); break;
        case 'l': options.memory.latency = uint64_t(number(optarg, 1e9)); break;
        case 'r': parse_refresh(optarg, options.memory); break;
        case 'i': options.idle_cycles = uint64_t(number(optarg, 1e12)); break;
        case 'c': options.max_cycles = uint64_t(number(optarg, 1e18)); break;
        case 't': options.trace = optarg; break;
        case 's': options.stats = true; break;
        case 'q': options.quit_on_disconnect = true; break;
        case 'e': options.watch_stdin = true; break;
        default: fail("the command line is not understood");
        }
    }
    if (optind != count) fail(std::string(arguments[optind]) + " is not an option");
#if !VM_TRACE
    if (!options.trace.empty()) fail("this build cannot record; build it with tracing");
#endif
    return options;
}

// The model, and everything that happens in a cycle.
class Board {
public:
    explicit Board(const Options& options)
        : m_options(options), m_top(&m_context), m_memory(m_top, options.memory),
          m_host(options.port, options.watch_stdin) {
#if VM_TRACE
        if (!options.trace.empty()) {
            m_context.traceEverOn(true);
            m_trace = std::make_unique<VerilatedFstC>();
            m_top.trace(m_trace.get(), 99);
            m_trace->open(options.trace.c_str());
        }
#endif
    }

    ~Board() {
#if VM_TRACE
        if (m_trace) m_trace->close();
#endif
        m_top.final();
    }

    void run() {
        std::printf("{\"port\": %u}\n", m_host.port());
        std::fflush(stdout);
        while (!over()) {
            // Time stands still while nobody is connected, and when the board has nothing to do.
            // What it still has to do shows at a port before `idle_cycles` have passed: the link
            // repeats what has not been acknowledged.
            if (!m_host.connected() || m_quiet >= m_options.idle_cycles) {
                m_host.exchange(SLEEP_MILLISECONDS);
                if (!m_host.incoming()) continue;
                m_quiet = 0;
            } else {
                m_host.exchange(0);
            }
            for (unsigned left = POLL_CYCLES; left; --left) cycle();
        }
        if (m_options.stats) {
            const double seconds = double(std::clock()) / CLOCKS_PER_SEC;
            std::fprintf(stderr, "{\"cycles\": %llu, \"cpu_seconds\": %.3f, \"rate\": %.0f}\n",
                         static_cast<unsigned long long>(m_cycle), seconds, m_cycle / seconds);
        }
    }

private:
    bool over() const {
        return g_stop || m_cycle >= m_options.max_cycles || m_host.abandoned()
               || (m_options.quit_on_disconnect && m_host.has_left());
    }

    void cycle() {
        m_top.rx_valid = m_host.incoming();
        if (m_host.incoming()) m_top.rx_payload = m_host.front();
        m_top.tx_ready = m_host.room();
        m_memory.drive();
        edge(0);
        const bool comes = m_top.rx_valid && m_top.rx_ready;
        const bool goes = m_top.tx_valid && m_top.tx_ready;
        const uint8_t byte = m_top.tx_payload;
        const bool busy = m_memory.step(m_cycle);
        edge(1);
        if (comes) m_host.pop();
        if (goes) m_host.push(byte);
        m_quiet = busy || m_top.tx_valid || m_host.pending() ? 0 : m_quiet + 1;
        ++m_cycle;
    }

    void edge(bool clk) {
        m_top.clk = clk;
        m_top.eval();
#if VM_TRACE
        if (m_trace) m_trace->dump(2 * m_cycle + clk);
#endif
    }

    const Options& m_options;
    VerilatedContext m_context;
    Vtop m_top;
    typename MemoryOf<Vtop>::Type m_memory;
    Host m_host;
#if VM_TRACE
    std::unique_ptr<VerilatedFstC> m_trace;
#endif
    uint64_t m_cycle = 0;
    uint64_t m_quiet = 0;               // cycles in which nothing happened at any port
};

}  // namespace

int main(int count, char** arguments) {
    const Options options = parse(count, arguments);
    for (int signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { g_stop = 1; });
    auto board = std::make_unique<Board>(options);
    board->run();
}
