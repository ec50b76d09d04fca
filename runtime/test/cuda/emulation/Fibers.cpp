// SPDX-License-Identifier: Apache-2.0
// Fibers: runs the blocks of a kernel one after another, and the threads of a block as calls on one
// fiber. Only a thread that waits for others keeps its fiber, and the next threads go on another:
// kernels without barriers never switch. A wait that cannot end aborts with block and thread.
#include "Emulation.h"

#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>

#if !defined(__x86_64__) && !defined(__aarch64__)
#define TENON_EMULATION_UCONTEXT
#include <ucontext.h>
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

// tenonSwitchStack(save, stack): pushes what a call preserves, stores the stack pointer in *save
// and goes on where `stack` was stored.
#if defined(__x86_64__)
asm(R"(
.text
.hidden tenonSwitchStack
.globl tenonSwitchStack
.type tenonSwitchStack, @function
tenonSwitchStack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size tenonSwitchStack, .-tenonSwitchStack
)");
static constexpr size_t kSavedWords = 6, kEntryWord = 6;
#elif defined(__aarch64__)
asm(R"(
.text
.hidden tenonSwitchStack
.globl tenonSwitchStack
.type tenonSwitchStack, %function
tenonSwitchStack:
  stp x29, x30, [sp, #-160]!
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #16]
  ldp x21, x22, [sp, #32]
  ldp x23, x24, [sp, #48]
  ldp x25, x26, [sp, #64]
  ldp x27, x28, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  ldp x29, x30, [sp], #160
  ret
.size tenonSwitchStack, .-tenonSwitchStack
)");
static constexpr size_t kSavedWords = 20, kEntryWord = 1;
#endif
#ifndef TENON_EMULATION_UCONTEXT
extern "C" void tenonSwitchStack(void **save, void *stack);
#endif

namespace tenon::emulation {
namespace {

// The address sanitizer spreads a function's variables out.
#ifdef __SANITIZE_ADDRESS__
constexpr size_t kStack = 256 << 10;
#else
constexpr size_t kStack = 64 << 10;
#endif
constexpr size_t kGuard = 4096, kThreads = 1024;

struct Fiber {
#ifdef TENON_EMULATION_UCONTEXT
  ucontext_t context;
#else
  void *stack = nullptr;
#endif
  char *bottom = nullptr;
  void *fakeStack = nullptr;
};

enum class State : unsigned char { Fresh, Running, Barrier, Warp, Finished };

/// One thread of the block.
struct Slot {
  State state = State::Fresh;
  Exchange exchange = Exchange::None;
  unsigned mask = 0, source = 0;
  uint64_t bits = 0, result = 0;
  Fiber *fiber = nullptr;
};

/// Runs blocks on the calling host thread.
class Machine {
public:
  ~Machine();
  void runBlock(const std::function<void()> &thread);
  void meetBlock();
  uint64_t meetWarp(unsigned mask, Exchange exchange, unsigned source, uint64_t bits);
  unsigned lane() const { return current_ % 32; }
  bool busy() const { return body_; }

private:
  void start();
  void resume(Fiber *fiber);
  void suspend();
  [[noreturn]] static void enter();
  void runFresh(Fiber *self);
  void select(unsigned thread);
  void completeWarp(unsigned warp);
  [[noreturn]] void stuck();

  const std::function<void()> *body_ = nullptr;
  unsigned count_ = 0, next_ = 0, finished_ = 0, atBarrier_ = 0, current_ = 0;
  std::vector<Slot> slots_ = std::vector<Slot>(kThreads);
  /// Per warp, one bit per lane: waits for others of its warp; exists and has not ended.
  unsigned arrived_[kThreads / 32] = {}, alive_[kThreads / 32] = {};
  std::deque<unsigned> ready_;
  std::vector<Fiber *> idle_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  Fiber *active_ = nullptr;
  Fiber host_;
  const void *hostBottom_ = nullptr;
  size_t hostBytes_ = 0;
};

thread_local Machine machine;

Machine::~Machine() {
  for (const std::unique_ptr<Fiber> &fiber : fibers_)
    munmap(fiber->bottom - kGuard, kStack + kGuard);
}

// Fibers are switched only between the host's stack and one of them, never with each other.
void Machine::resume(Fiber *fiber) {
  active_ = fiber;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&host_.fakeStack, fiber->bottom, kStack);
#endif
#ifdef TENON_EMULATION_UCONTEXT
  swapcontext(&host_.context, &fiber->context);
#else
  tenonSwitchStack(&host_.stack, fiber->stack);
#endif
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(host_.fakeStack, nullptr, nullptr);
#endif
  active_ = nullptr;
}

void Machine::suspend() {
  Fiber *self = active_;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&self->fakeStack, hostBottom_, hostBytes_);
#endif
#ifdef TENON_EMULATION_UCONTEXT
  swapcontext(&self->context, &host_.context);
#else
  tenonSwitchStack(&self->stack, host_.stack);
#endif
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(self->fakeStack, &hostBottom_, &hostBytes_);
#endif
}

void Machine::enter() {
  Machine &self = machine;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &self.hostBottom_, &self.hostBytes_);
#endif
  Fiber *fiber = self.active_;
  for (;;) {
    self.runFresh(fiber);
    self.idle_.push_back(fiber);
    self.suspend();
  }
}

/// Threads that have not begun, until one keeps this fiber or none is left.
void Machine::runFresh(Fiber *self) {
  while (next_ < count_) {
    const unsigned thread = next_++;
    slots_[thread].state = State::Running;
    slots_[thread].fiber = self;
    select(thread);
    (*body_)();
    const unsigned ended = current_;
    slots_[ended].state = State::Finished;
    ++finished_;
    alive_[ended / 32] &= ~(1u << ended % 32);
    if (arrived_[ended / 32])
      completeWarp(ended / 32);
  }
}

/// A fiber that starts threads.
void Machine::start() {
  if (idle_.empty()) {
    auto fiber = std::make_unique<Fiber>();
    void *memory = mmap(nullptr, kStack + kGuard, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, kGuard, PROT_NONE)) {
      std::fprintf(stderr, "emulation: no memory for the threads of a block\n");
      std::abort();
    }
    fiber->bottom = static_cast<char *>(memory) + kGuard;
#ifdef TENON_EMULATION_UCONTEXT
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->bottom;
    fiber->context.uc_stack.ss_size = kStack;
    makecontext(&fiber->context, reinterpret_cast<void (*)()>(&Machine::enter), 0);
#else
    // As if enter() had been interrupted at its first instruction: two words stay free above, so
    // that the stack is aligned as after a call.
    void **top = reinterpret_cast<void **>(fiber->bottom + kStack) - 2 - kSavedWords;
    top[kEntryWord] = reinterpret_cast<void *>(&Machine::enter);
    fiber->stack = top;
#endif
    idle_.push_back(fiber.get());
    fibers_.push_back(std::move(fiber));
  }
  Fiber *fiber = idle_.back();
  idle_.pop_back();
  resume(fiber);
}

void Machine::select(unsigned thread) {
  current_ = thread;
  threadIdx.x = thread % blockDim.x;
  threadIdx.y = thread / blockDim.x % blockDim.y;
  threadIdx.z = thread / blockDim.x / blockDim.y;
}

void Machine::runBlock(const std::function<void()> &thread) {
  body_ = &thread;
  count_ = blockDim.x * blockDim.y * blockDim.z;
  next_ = finished_ = atBarrier_ = 0;
  for (unsigned i = 0; i < count_; ++i)
    slots_[i].state = State::Fresh;
  for (unsigned i = 0; i < count_; i += 32)
    alive_[i / 32] = count_ - i >= 32 ? ~0u : (1u << (count_ - i)) - 1;
  while (finished_ < count_) {
    if (!ready_.empty()) {
      const unsigned resumed = ready_.front();
      ready_.pop_front();
      slots_[resumed].state = State::Running;
      select(resumed);
      resume(slots_[resumed].fiber);
    } else if (next_ < count_) {
      start();
    } else {
      stuck();
    }
  }
  body_ = nullptr;
}

void Machine::meetBlock() {
  const unsigned self = current_;
  slots_[self].state = State::Barrier;
  if (++atBarrier_ == count_) {
    atBarrier_ = 0;
    for (unsigned i = 0; i < count_; ++i)
      if (i != self)
        ready_.push_back(i);
    slots_[self].state = State::Running;
    return;
  }
  suspend();
}

uint64_t Machine::meetWarp(unsigned mask, Exchange exchange, unsigned source, uint64_t bits) {
  const unsigned self = current_;
  if (!(mask >> (self % 32) & 1)) {
    std::fprintf(stderr,
                 "emulation: block (%u, %u, %u): thread (%u, %u, %u) is not in its own "
                 "mask %08x\n",
                 blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z, mask);
    std::abort();
  }
  Slot &slot = slots_[self];
  slot.state = State::Warp;
  slot.exchange = exchange;
  slot.mask = mask;
  slot.source = source;
  slot.bits = bits;
  arrived_[self / 32] |= 1u << self % 32;
  const unsigned group = mask & alive_[self / 32];
  if ((arrived_[self / 32] & group) == group)
    completeWarp(self / 32);
  // The last to come goes on at once; it is in the queue like the others.
  if (slot.state == State::Warp)
    suspend();
  return slot.result;
}

/// Releases the lanes of a warp that wait for each other and have all come. Lanes that have ended
/// or never were do not count, as on the GPU; what is read from them is garbage.
void Machine::completeWarp(unsigned warp) {
  const unsigned first = warp * 32;
  const unsigned alive = alive_[warp];
  for (unsigned i = 0; i < 32; ++i) {
    if (!(arrived_[warp] >> i & 1))
      continue;
    const Slot &leader = slots_[first + i];
    const unsigned group = leader.mask & alive;
    if ((arrived_[warp] & group) != group)
      continue;
    bool same = true;
    uint64_t ballot = 0;
    for (unsigned j = 0; j < 32; ++j)
      if (group >> j & 1) {
        const Slot &slot = slots_[first + j];
        same &= slot.mask == leader.mask && slot.exchange == leader.exchange;
        ballot |= uint64_t(slot.bits != 0) << j;
      }
    if (!same)
      continue;
    for (unsigned j = 0; j < 32; ++j)
      if (group >> j & 1) {
        Slot &slot = slots_[first + j];
        if (slot.exchange == Exchange::Ballot)
          slot.result = ballot;
        else
          slot.result = slot.source < 32 && (group >> slot.source & 1)
                            ? slots_[first + slot.source].bits
                            : ~uint64_t(0);
        if (first + j == current_)
          slot.state = State::Running;
        else
          ready_.push_back(first + j);
      }
    arrived_[warp] &= ~group;
  }
}

void Machine::stuck() {
  auto at = [](unsigned thread) {
    return uint3{thread % blockDim.x, thread / blockDim.x % blockDim.y,
                 thread / blockDim.x / blockDim.y};
  };
  unsigned waiting = 0, other = 0;
  while (slots_[waiting].state == State::Finished)
    ++waiting;
  while (other < count_ && slots_[other].state == slots_[waiting].state)
    ++other;
  auto describe = [&](unsigned thread) {
    switch (slots_[thread].state) {
    case State::Barrier:
      return "waits at __syncthreads";
    case State::Warp:
      return "waits for its warp";
    case State::Finished:
      return "has ended";
    default:
      return "runs";
    }
  };
  uint3 a = at(waiting);
  std::fprintf(stderr, "emulation: divergent barrier: block (%u, %u, %u): thread (%u, %u, %u) %s",
               blockIdx.x, blockIdx.y, blockIdx.z, a.x, a.y, a.z, describe(waiting));
  if (other < count_) {
    uint3 b = at(other);
    std::fprintf(stderr, ", thread (%u, %u, %u) %s", b.x, b.y, b.z, describe(other));
  }
  std::fprintf(stderr, "\n");
  std::abort();
}

} // namespace

void meetBlock() { machine.meetBlock(); }
unsigned lane() { return machine.lane(); }
uint64_t meetWarp(unsigned mask, Exchange exchange, unsigned source, uint64_t bits) {
  return machine.meetWarp(mask, exchange, source, bits);
}

void runGrid(dim3 grid, dim3 block, size_t sharedBytes, const std::function<void()> &thread) {
  // As large as asked for and not larger: the address sanitizer sees overruns.
  void *shared = nullptr;
  if (sharedBytes && posix_memalign(&shared, 256, sharedBytes)) {
    std::fprintf(stderr, "emulation: no memory for shared memory\n");
    std::abort();
  }
  dynamicShared = static_cast<unsigned char *>(shared);
  gridDim = grid;
  blockDim = block;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        if (shared)
          std::memset(shared, 0xff, sharedBytes);
        machine.runBlock(thread);
      }
  dynamicShared = nullptr;
  std::free(shared);
}

} // namespace tenon::emulation
