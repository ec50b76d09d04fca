// SPDX-License-Identifier: Apache-2.0
// The conformance suite as an MPI program: `mpirun -n N mpi-conformance [messages]`. Exits 0 when
// every case holds on every rank. With `messages` nothing goes through shared memory.
#include "Conformance.h"

#include <cstdio>
#include <cstring>
#include <unistd.h>

int main(int argc, char **argv) {
  using namespace tenon::runtime;
  MpiOptions options;
  bool disagree = false;
  for (int i = 1; i < argc; ++i) {
    options.sharedMemory = options.sharedMemory && std::strcmp(argv[i], "messages") != 0;
    disagree = disagree || std::strcmp(argv[i], "disagree") == 0;
  }
  auto world = makeMpiCommunicator(&argc, &argv, options);
  if (!world) {
    std::fprintf(stderr, "%s\n", world.status().message().c_str());
    return int(world.status().code());
  }
  if (disagree) {
    // Rank 1 brings another count: with checking, all must see it.
    float x[64] = {}, out[64];
    (*world)->checkTags(true);
    tenon::Status status =
        (*world)->allReduce(x, out, (*world)->rank() == 1 ? 7 : 8, tenon::plan::DataType::F32,
                            tenon::plan::ReduceKind::Sum);
    bool right = status.code() == tenon::Code::Disagree &&
                 (status.message() == peerFailed ||
                  (status.message().find("of 7 f32") != std::string::npos &&
                   status.message().find("of 8 f32") != std::string::npos));
    std::fprintf(stderr, "rank %d: %s\n", (*world)->rank(), status.message().c_str());
    return right ? 0 : 1;
  }
  int failures = 0;
  for (const test::ConformanceCase &conformance : test::conformanceCases()) {
    std::string wrong = conformance.run(**world);
    if (!wrong.empty()) {
      std::fprintf(stderr, "FAILED %s: %s\n", conformance.name, wrong.c_str());
      fflush(stderr);
      _exit(1); // the others may wait for this rank
    }
  }
  // Shared memory knows of a failure that was told before; messages cannot.
  (void)(*world)->barrier();
  if ((*world)->rank() == 0 && (*world)->size() > 1) {
    bool first = (*world)->cancel(tenon::Code::Device),
         again = (*world)->cancel(tenon::Code::Device);
    if (!first || again != !options.sharedMemory) {
      std::fprintf(stderr, "FAILED: expected %s\n",
                   options.sharedMemory ? "shared memory" : "messages");
      ++failures;
    }
  }
  return failures;
}
