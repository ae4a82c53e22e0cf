// The file by which a kept board is found again.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

// Where the note is, and locked, there is this board, with its memory as it was at the start. The
// system takes the lock from a board that ends in any way, so that of one that was killed nobody
// takes what has its port next for it.
class Note {
public:
    explicit Note(const std::string& path) : m_path(path) {}

    // Takes the place of any other under this name, whole.
    void write(unsigned port) {
        if (m_path.empty()) return;
        const std::string part = m_path + ".part";
        const std::string text = "tcp:127.0.0.1:" + std::to_string(port);
        std::remove(part.c_str());
        m_file = open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600);
        if (m_file < 0 || flock(m_file, LOCK_EX | LOCK_NB) != 0
            || ::write(m_file, text.data(), text.size()) != ssize_t(text.size())
            || std::rename(part.c_str(), m_path.c_str()) != 0) {
            std::fprintf(stderr, "board: %s cannot be written (%s): make room, or set "
                         "XDG_CACHE_HOME to another place.\n", m_path.c_str(),
                         std::strerror(errno));
            std::remove(part.c_str());
            std::exit(2);
        }
    }

    void remove() {
        if (m_file < 0) return;
        struct stat own, there;
        if (fstat(m_file, &own) == 0 && stat(m_path.c_str(), &there) == 0
            && own.st_dev == there.st_dev && own.st_ino == there.st_ino) {
            std::remove(m_path.c_str());
        }
        close(m_file);
        m_file = -1;
    }

private:
    const std::string m_path;       // empty: there is none
    int m_file = -1;                // open and locked as long as the note stands
};
