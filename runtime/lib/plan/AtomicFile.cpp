// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/AtomicFile.h"

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>

namespace tenon {
namespace {

// One write at a time and process: rank 0 writes results, every rank its own dump in turn. A write
// that finds the place taken goes on without it.
char temporaryPath[PATH_MAX];
std::atomic<int> temporaryState{0}; // 0 free, 1 being filled in, 2 valid

/// Keeps the path where a signal handler finds it.
class Announced {
public:
  explicit Announced(const std::string &path) {
    int free = 0;
    if (path.size() >= sizeof(temporaryPath) || !temporaryState.compare_exchange_strong(free, 1))
      return;
    std::memcpy(temporaryPath, path.c_str(), path.size() + 1);
    temporaryState.store(2);
    mine_ = true;
  }
  ~Announced() {
    if (mine_)
      temporaryState.store(0);
  }
  Announced(const Announced &) = delete;
  Announced &operator=(const Announced &) = delete;

private:
  bool mine_ = false;
};

std::string systemError() { return std::strerror(errno); }

/// The file behind a link, so that the link stays; the path itself where there is none.
std::string followed(const std::string &path) {
  std::unique_ptr<char, void (*)(void *)> real(realpath(path.c_str(), nullptr), std::free);
  return real ? std::string(real.get()) : path;
}

} // namespace

Status writeFileAtomically(const std::string &path, const void *head, size_t headBytes,
                           const void *body, size_t bodyBytes) {
  struct stat info{};
  const bool special = stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode);
  const std::string target = special ? path : followed(path);
  const std::string temporary = special ? path : target + ".partial-" + std::to_string(getpid());
  auto failed = [&](const char *what) {
    Status status(Code::Device, path + ": cannot " + what + ": " + systemError());
    if (!special)
      unlink(temporary.c_str());
    return status;
  };
  Announced announced(special ? std::string(PATH_MAX, ' ') : temporary);
  std::unique_ptr<std::FILE, int (*)(std::FILE *)> file(std::fopen(temporary.c_str(), "wb"),
                                                        std::fclose);
  if (!file)
    return failed("create");
  if ((headBytes && std::fwrite(head, 1, headBytes, file.get()) != headBytes) ||
      (bodyBytes && std::fwrite(body, 1, bodyBytes, file.get()) != bodyBytes) ||
      std::fflush(file.get()) != 0)
    return failed("write");
  if (std::fclose(file.release()) != 0)
    return failed("write");
  if (!special && std::rename(temporary.c_str(), target.c_str()) != 0)
    return failed("rename");
  return Status();
}

Status checkWritable(const std::string &path) {
  struct stat info{};
  if (stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode))
      return Status(Code::Plan, path + ": expected a file to write, found a directory");
    if (!S_ISREG(info.st_mode)) {
      if (access(path.c_str(), W_OK) != 0)
        return Status(Code::Plan, path + ": cannot write: " + systemError());
      return Status();
    }
  }
  const std::string target = followed(path);
  const size_t slash = target.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : target.substr(0, slash + 1);
  if (access(directory.c_str(), W_OK | X_OK) != 0)
    return Status(Code::Plan, path + ": cannot write into " + directory + ": " + systemError());
  return Status();
}

void removeTemporaryFile() noexcept {
  if (temporaryState.load() == 2)
    unlink(temporaryPath);
}

} // namespace tenon
