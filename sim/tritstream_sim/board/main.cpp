// The simulated board: a Verilated SoC, its memory, and a TCP port as its cable.

#include <fcntl.h>
#include <getopt.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>

#include "Vtop.h"
#include "activity.h"
#include "host.h"
#include "memory.h"
#include "note.h"
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
    std::string activity;           // file that gets what the blocks do in a pass; empty: none
    double keep_seconds = 0;        // in the background without a host; 0: in the foreground
    std::string note;               // file that leads to the board; empty: none
    bool quit_on_disconnect = false;
    bool watch_stdin = false;
    bool stats = false;
};

const char* const USAGE =
    "board: options are --port N  --memory BYTES  --preload FILE  --bandwidth BYTES_PER_CYCLE\n"
    "  --latency CYCLES  --refresh INTERVAL:CYCLES  --idle CYCLES  --max-cycles N  --trace FILE.fst\n"
    "  --activity FILE  --stats  --keep SECONDS  --note FILE  --quit-on-disconnect  --quit-on-eof\n";

[[noreturn]] void fail(const std::string& why) {
    std::fprintf(stderr, "board: %s\n%s", why.c_str(), USAGE);
    std::exit(2);
}

double number(const std::string& text, double most) {
    char* end;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end || !(value > 0 && value <= most)) {
        fail(text + " is not a number above 0 and up to " + std::to_string(uint64_t(most)));
    }
    return value;
}

uint64_t whole(const std::string& text, uint64_t most) {
    const bool digits = !text.empty() && text.find_first_not_of("0123456789") == text.npos;
    if (!digits || text.size() > 19 || std::stoull(text) > most) {
        fail(text + " is not a whole number from 0 to " + std::to_string(most));
    }
    return std::stoull(text);
}

void parse_refresh(const std::string& text, MemoryOptions& memory) {
    const size_t colon = text.find(':');
    if (colon == text.npos) fail(text + " is not INTERVAL:CYCLES");
    memory.refresh_interval = whole(text.substr(0, colon), 1'000'000'000);
    memory.refresh_cycles = whole(text.substr(colon + 1), 1'000'000'000);
    if (memory.refresh_interval <= memory.refresh_cycles) fail(text + " leaves no time to read");
}

Options parse(int count, char** arguments) {
    static const option known[] = {
        {"port", required_argument, nullptr, 'p'},
        {"memory", required_argument, nullptr, 'm'},
        {"preload", required_argument, nullptr, 'f'},
        {"bandwidth", required_argument, nullptr, 'b'},
        {"latency", required_argument, nullptr, 'l'},
        {"refresh", required_argument, nullptr, 'r'},
        {"idle", required_argument, nullptr, 'i'},
        {"max-cycles", required_argument, nullptr, 'c'},
        {"trace", required_argument, nullptr, 't'},
        {"activity", required_argument, nullptr, 'a'},
        {"stats", no_argument, nullptr, 's'},
        {"keep", required_argument, nullptr, 'k'},
        {"note", required_argument, nullptr, 'n'},
        {"quit-on-disconnect", no_argument, nullptr, 'q'},
        {"quit-on-eof", no_argument, nullptr, 'e'},
        {nullptr, 0, nullptr, 0},
    };
    Options options;
    for (int letter; (letter = getopt_long(count, arguments, "", known, nullptr)) != -1;) {
        switch (letter) {
        case 'p': options.port = uint16_t(whole(optarg, 65'535)); break;
        case 'm': options.memory.bytes = whole(optarg, 1'000'000'000'000); break;
        case 'f': options.memory.preload = optarg; break;
        case 'b': options.memory.bandwidth = number(optarg, 16'384); break;
        case 'l': options.memory.latency = whole(optarg, 1'000'000'000); break;
        case 'r': parse_refresh(optarg, options.memory); break;
        case 'i': options.idle_cycles = whole(optarg, 1'000'000'000'000); break;
        case 'c': options.max_cycles = whole(optarg, 1'000'000'000'000'000'000); break;
        case 't': options.trace = optarg; break;
        case 'a': options.activity = optarg; break;
        case 's': options.stats = true; break;
        case 'n': options.note = optarg; break;
        case 'k': options.keep_seconds = number(optarg, 86'400); break;
        case 'q': options.quit_on_disconnect = true; break;
        case 'e': options.watch_stdin = true; break;
        default: fail("the command line is not understood");
        }
    }
    if (optind != count) fail(std::string(arguments[optind]) + " is not an option");
    if (options.memory.preload.size() && !options.memory.bytes) {
        fail("a board without memory cannot be preloaded");
    }
#if !VM_TRACE
    if (!options.trace.empty()) fail("this build cannot record; build it with tracing");
#endif
    return options;
}

// A stream that was closed is replaced, or the next file that is opened would take its number; to
// write to it fails as before.
void reserve_streams() {
    int number;
    while ((number = open("/dev/null", O_RDONLY)) <= STDERR_FILENO && number >= 0) {}
    if (number >= 0) close(number);
}

// A process that whoever started it need not wait for, nor for what it could print.
class Background {
public:
    // Goes on in a child; the parent ends when that detaches, or as it does.
    explicit Background(bool wanted) {
        int ends[2];
        if (!wanted) return;
        const pid_t child = pipe(ends) == 0 ? fork() : -1;
        if (child < 0) {
            std::perror("board: no process in the background");
            std::exit(4);
        }
        if (child == 0) {
            close(ends[0]);
            m_parent = ends[1];
            setsid();
            return;
        }
        close(ends[1]);
        char ready;
        if (read(ends[0], &ready, 1) == 1) _exit(0);
        int status = 0;
        waitpid(child, &status, 0);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 4);
    }

    void detach() {
        if (m_parent < 0) return;
        const int nowhere = open("/dev/null", O_RDWR);
        for (int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(nowhere, stream);
        if (write(m_parent, "", 1) != 1) std::exit(4);      // the parent was killed
        close(m_parent);
    }

private:
    int m_parent = -1;
};

// The model, and everything that happens in a cycle.
class Board {
public:
    Board(const Options& options, Background& background)
        : m_options(options), m_background(background), m_top(&m_context),
          m_memory(m_top, options.memory),
          m_host(options.port, options.watch_stdin), m_note(options.note),
          m_activity(options.activity) {
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
        m_note.write(m_host.port());
        tell_port();
        m_background.detach();
        while (!over()) {
            // Time stands still while nobody is connected, and when the board has nothing to do.
            // What it still has to do shows at a port before `idle_cycles` have passed: the link
            // repeats what has not been acknowledged.
            if (!m_host.connected() || m_quiet >= m_options.idle_cycles) {
                m_host.exchange(SLEEP_MILLISECONDS);
                if (!m_host.incoming()) continue;
                m_quiet = 0;
            } else {
                // A host that takes nothing costs no processor time either.
                m_host.exchange(m_host.room() ? 0 : SLEEP_MILLISECONDS);
            }
            for (unsigned left = POLL_CYCLES; left; --left) cycle();
            if (m_memory.written()) m_note.remove();
        }
        m_note.remove();
        if (m_options.stats) {
            const double seconds = double(std::clock()) / CLOCKS_PER_SEC;
            std::fprintf(stderr, "{\"cycles\": %llu, \"cpu_seconds\": %.3f, \"rate\": %.0f}\n",
                         static_cast<unsigned long long>(m_cycle), seconds, m_cycle / seconds);
        }
    }

private:
    bool over() const {
        return g_stop || m_cycle >= m_options.max_cycles || m_host.abandoned()
               || (m_options.quit_on_disconnect && m_host.has_left())
               || (m_options.keep_seconds && m_host.alone_seconds() >= m_options.keep_seconds);
    }

    void tell_port() {
        std::printf("{\"port\": %u}\n", m_host.port());
        if (std::fflush(stdout) == 0) return;
        std::fprintf(stderr, "board: its port cannot be told (%s): give it an output that can be "
                     "written.\n", std::strerror(errno));
        m_note.remove();
        std::exit(2);
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
        m_activity.step(m_top.busy, m_top.pass_starts, m_top.stage_ends);
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
    Background& m_background;
    VerilatedContext m_context;
    Vtop m_top;
    typename MemoryOf<Vtop>::Type m_memory;
    Host m_host;
    Note m_note;
    Activity m_activity;
#if VM_TRACE
    std::unique_ptr<VerilatedFstC> m_trace;
#endif
    uint64_t m_cycle = 0;
    uint64_t m_quiet = 0;               // cycles in which nothing happened at any port
};

}  // namespace

int main(int count, char** arguments) {
    reserve_streams();
    const Options options = parse(count, arguments);
    for (int signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { g_stop = 1; });
    std::signal(SIGPIPE, SIG_IGN);          // a reader who has left is an error like another
    Background background(options.keep_seconds > 0);
    auto board = std::make_unique<Board>(options, background);
    board->run();
}
