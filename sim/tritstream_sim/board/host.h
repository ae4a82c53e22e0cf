// The host's end of the link: one TCP connection at a time, without blocking.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>

// Hosts are served one after the other. Bytes under way in either direction are gone when one leaves,
// as on a serial cable. One that is silent makes way when another waits: after FIRST_SECONDS if it has
// never said anything, after QUIET_SECONDS otherwise. (The driver, while it waits, says something
// every second, and waits 10 s for its turn.) One that has waited for TURN_SECONDS is hung up on
// without a byte, which tells it that the board is busy.
class Host {
public:
    static constexpr double FIRST_SECONDS = 3, QUIET_SECONDS = 30, TURN_SECONDS = 5;
    static constexpr size_t MOST_WAITING = 16;

    // Listens on 127.0.0.1; port 0 is any free one.
    explicit Host(uint16_t port, bool watch_stdin) : m_watch_stdin(watch_stdin) {
        m_listener = socket(AF_INET, SOCK_STREAM, 0);
        const int yes = 1;
        setsockopt(m_listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(port);
        if (bind(m_listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0
            || listen(m_listener, 4) != 0) {
            std::fprintf(stderr, "board: port %u cannot be opened (%s): choose another.\n", port,
                         std::strerror(errno));
            std::exit(2);
        }
        fcntl(m_listener, F_SETFL, O_NONBLOCK);
    }

    ~Host() {
        hang_up();
        for (const Waiting& one : m_waiting) close(one.connection);
        close(m_listener);
    }

    unsigned port() const {
        sockaddr_in address{};
        socklen_t size = sizeof address;
        getsockname(m_listener, reinterpret_cast<sockaddr*>(&address), &size);
        return ntohs(address.sin_port);
    }

    // Exchanges what there is; waits for something to happen at most so many milliseconds.
    void exchange(int milliseconds) {
        take_turns();
        pollfd watched[3] = {{m_connection, LEAVES, 0},       // poll heeds no number below 0
                             {m_waiting.size() < MOST_WAITING ? m_listener : -1, POLLIN, 0},
                             {m_watch_stdin ? STDIN_FILENO : -1, POLLIN, 0}};
        if (m_taken == m_come) watched[0].events |= POLLIN;
        if (m_sent != m_made) watched[0].events |= POLLOUT;
        if (poll(watched, 3, milliseconds) <= 0) return;
        if (watched[2].revents) watch_stdin();
        if (watched[1].revents) answer();
        if (watched[0].revents) {
            if (watched[0].revents & LEAVES) hang_up();
            if (m_connection >= 0 && m_sent != m_made) send_some();
            if (m_connection >= 0 && m_taken == m_come) receive_some();
        }
    }

    bool connected() const { return m_connection >= 0; }
    bool incoming() const { return m_taken != m_come; }
    uint8_t front() const { return m_in[m_taken]; }
    void pop() { ++m_taken; }

    bool room() const { return m_made != sizeof m_out; }
    void push(uint8_t byte) {
        if (m_connection >= 0) m_out[m_made++] = byte;
    }

    bool pending() const { return m_taken != m_come || m_sent != m_made; }
    bool has_left() const { return m_has_left; }         // some host did
    double alone_seconds() const { return connected() ? 0 : seconds_since(m_changed_at); }
    bool abandoned() const { return m_abandoned; }       // standard input has ended

private:
    using Clock = std::chrono::steady_clock;

#ifdef POLLRDHUP
    static constexpr short LEAVES = POLLRDHUP;      // seen even while there is input to be taken
#else
    static constexpr short LEAVES = 0;
#endif

    static double seconds_since(Clock::time_point then) {
        return std::chrono::duration<double>(Clock::now() - then).count();
    }

    bool is_overdue() const {
        return seconds_since(m_changed_at) >= (m_has_spoken ? QUIET_SECONDS : FIRST_SECONDS);
    }

    struct Waiting {
        int connection;
        Clock::time_point since;
    };

    void answer() {
        const int connection = accept(m_listener, nullptr, nullptr);
        if (connection < 0) return;
        const int yes = 1;
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        fcntl(connection, F_SETFL, O_NONBLOCK);
        m_waiting.push_back({connection, Clock::now()});
        take_turns();
    }

    // Serves the first that waits if nobody else is, or a silent one, and tells the others.
    void take_turns() {
        if (m_waiting.empty()) return;
        if (m_connection >= 0 && is_overdue()) hang_up();
        if (m_connection < 0) {
            m_connection = m_waiting.front().connection;
            m_waiting.pop_front();
            m_has_spoken = false;
            m_changed_at = Clock::now();
        }
        while (!m_waiting.empty() && seconds_since(m_waiting.front().since) >= TURN_SECONDS) {
            close(m_waiting.front().connection);
            m_waiting.pop_front();
        }
    }

    void receive_some() {
        const ssize_t count = recv(m_connection, m_in, sizeof m_in, 0);
        if (count > 0) {
            m_taken = 0;
            m_come = size_t(count);
            m_has_spoken = true;
            m_changed_at = Clock::now();
        } else if (count == 0 || !is_temporary()) {
            hang_up();
        }
    }

    void send_some() {
        const ssize_t count = send(m_connection, m_out + m_sent, m_made - m_sent, MSG_NOSIGNAL);
        if (count < 0) {
            if (!is_temporary()) hang_up();
            return;
        }
        m_sent += size_t(count);
        if (m_sent == m_made) m_sent = m_made = 0;
    }

    static bool is_temporary() {
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    }

    void hang_up() {
        if (m_connection < 0) return;
        close(m_connection);
        m_connection = -1;
        m_taken = m_come = m_sent = m_made = 0;
        m_has_left = true;
        m_changed_at = Clock::now();
    }

    void watch_stdin() {
        char ignored[256];
        if (read(STDIN_FILENO, ignored, sizeof ignored) == 0) m_abandoned = true;
    }

    int m_listener = -1, m_connection = -1;
    bool m_watch_stdin, m_has_left = false, m_abandoned = false;
    std::deque<Waiting> m_waiting;                      // hosts whose turn it is not yet
    bool m_has_spoken = false;                          // the host that is connected
    Clock::time_point m_changed_at = Clock::now();      // a host came, spoke or left
    uint8_t m_in[1 << 16], m_out[1 << 16];
    size_t m_taken = 0, m_come = 0;     // of m_in
    size_t m_sent = 0, m_made = 0;      // of m_out
};
