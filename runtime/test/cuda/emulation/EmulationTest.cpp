// SPDX-License-Identifier: Apache-2.0
// The emulation itself: that barriers, streams, captures, matmuls and collectives do what CUDA's
// do, and that it finds the mistakes it is there to find.
#include "CudaPlatform.h"

#include <cstdlib>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

using tenon::runtime::cuda::allowSharedMemory;
using tenon::runtime::cuda::launch;
using tenon::runtime::cuda::sharedMemory;

namespace {

// Reverses each block through shared memory.
__global__ void __launch_bounds__(1024) reverse(float *data) {
  float *shared = sharedMemory<float>();
  __shared__ int twice[1024];
  float *mine = data + blockIdx.x * blockDim.x;
  shared[threadIdx.x] = mine[threadIdx.x];
  twice[threadIdx.x] = 2 * int(threadIdx.x);
  __syncthreads();
  unsigned other = blockDim.x - 1 - threadIdx.x;
  mine[threadIdx.x] = shared[other] + float(twice[other]);
}

// Sums of the lanes of each warp, three ways.
__global__ void warpSums(float *sums, long long *last, unsigned *ballots) {
  const int thread = int(threadIdx.x + blockDim.x * threadIdx.y);
  float value = float(thread);
  for (int bits = 16; bits > 0; bits /= 2)
    value += __shfl_xor_sync(0xffffffff, value, bits);
  float down = float(thread);
  for (int delta = 16; delta > 0; delta /= 2)
    down += __shfl_down_sync(0xffffffff, down, unsigned(delta));
  sums[thread] = __shfl_sync(0xffffffff, down, 0) == value ? value : -1;
  last[thread] = __shfl_sync(0xffffffff, (1ll << 40) + thread, 31);
  ballots[thread] = __ballot_sync(0xffffffff, thread % 2);
  __syncwarp();
}

__global__ void leaveEarly(float *data) {
  if (threadIdx.x == 3)
    return;
  __syncthreads();
  data[threadIdx.x] = 1;
}

__global__ void add(float *data, float value) { data[threadIdx.x] += value; }
__global__ void copy(float *to, const float *from) { to[threadIdx.x] = from[threadIdx.x]; }
__global__ void nothing() {}

float *floats(size_t count) {
  void *memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, count * 4), cudaSuccess);
  return static_cast<float *>(memory);
}

std::vector<float> read(const float *data, size_t count) {
  std::vector<float> values(count);
  EXPECT_EQ(cudaMemcpy(values.data(), data, count * 4, cudaMemcpyDeviceToHost), cudaSuccess);
  return values;
}

void fill(float *data, const std::vector<float> &values) {
  EXPECT_EQ(cudaMemcpy(data, values.data(), values.size() * 4, cudaMemcpyHostToDevice),
            cudaSuccess);
}

class Starving : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    setenv("TENON_EMULATION_STARVE", GetParam(), 1);
    for (cudaStream_t &stream : streams)
      ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  }
  void TearDown() override {
    for (cudaStream_t stream : streams)
      EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
    unsetenv("TENON_EMULATION_STARVE");
  }
  cudaStream_t streams[2] = {};
};

TEST(Fibers, BarriersAndSharedMemory) {
  for (unsigned threads : {1u, 33u, 1024u}) {
    const unsigned blocks = 3;
    std::vector<float> values(blocks * threads);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = float(i);
    float *data = floats(values.size());
    fill(data, values);
    ASSERT_EQ(launch(reverse, blocks, threads, threads * 4, nullptr, data), cudaSuccess);
    std::vector<float> out = read(data, values.size());
    for (size_t i = 0; i < out.size(); ++i) {
      size_t other = threads - 1 - i % threads;
      EXPECT_EQ(out[i], float(i / threads * threads + other + 2 * other));
    }
    EXPECT_EQ(cudaFree(data), cudaSuccess);
  }
}

TEST(Fibers, Shuffles) {
  float *sums = floats(64);
  long long *last = nullptr;
  unsigned *ballots = nullptr;
  ASSERT_EQ(cudaHostAlloc(&last, 64 * 8, cudaHostAllocDefault), cudaSuccess);
  ASSERT_EQ(cudaMallocHost(&ballots, 64 * 4), cudaSuccess);
  ASSERT_EQ(launch(warpSums, 1, dim3(16, 4), 0, nullptr, sums, last, ballots), cudaSuccess);
  std::vector<float> out = read(sums, 64);
  for (int i = 0; i < 64; ++i) {
    EXPECT_EQ(out[size_t(i)], float(31 * 16 + i / 32 * 32 * 32));
    EXPECT_EQ(last[i], (1ll << 40) + i / 32 * 32 + 31);
    EXPECT_EQ(ballots[i], 0xaaaaaaaau);
  }
  cudaFree(sums);
  cudaFreeHost(last);
  cudaFreeHost(ballots);
}

TEST(FibersDeath, DivergentBarrier) {
  float *data = floats(8);
  auto run = [&] {
    (void)launch(leaveEarly, dim3(1, 2), 8, 0, nullptr, data);
    cudaDeviceSynchronize();
  };
  EXPECT_DEATH(run(), "divergent barrier: block \\(0, 0, 0\\): thread \\(0, 0, 0\\) waits at "
                      "__syncthreads, thread \\(3, 0, 0\\) has ended");
  cudaFree(data);
}

TEST(Launch, Limits) {
  EXPECT_EQ(launch(nothing, 0, 32, 0, nullptr), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(nothing, 1, 1025, 0, nullptr), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(nothing, dim3(1, 65536), 32, 0, nullptr), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(nothing, 1, 32, (48 << 10) + 1, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(allowSharedMemory(nothing, (227 << 10) + 1), cudaErrorInvalidValue);
  EXPECT_EQ(allowSharedMemory(nothing, 100 << 10), cudaSuccess);
  EXPECT_EQ(launch(nothing, 1, 32, 100 << 10, nullptr), cudaSuccess);
  EXPECT_EQ(allowSharedMemory(nothing, 0), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  cudaGetLastError();
}

TEST(Memory, Limits) {
  size_t before = 0, during = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&before, &total), cudaSuccess);
  void *data = nullptr;
  EXPECT_EQ(cudaMalloc(&data, total + 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(data, nullptr);
  ASSERT_EQ(cudaMalloc(&data, 1 << 20), cudaSuccess);
  ASSERT_EQ(cudaMemGetInfo(&during, &total), cudaSuccess);
  EXPECT_EQ(before - during, size_t(1) << 20);
  char host[16] = {};
  EXPECT_EQ(cudaMemcpy(static_cast<char *>(data) + (1 << 20) - 8, host, 16, cudaMemcpyHostToDevice),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(data, host, 16, cudaMemcpyDeviceToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(data), cudaSuccess);
  EXPECT_EQ(cudaFree(host), cudaErrorInvalidValue);
  cudaGetLastError();
}

TEST(MemoryDeath, Overrun) {
  auto run = [] {
    float *data = floats(8);
    (void)launch(add, 1, 9, 0, nullptr, data, 1.0f);
    (void)cudaFree(data);
  };
  EXPECT_DEATH(run(), "was written outside, near its end|use-after-poison");
}

TEST(Driver, None) {
  setenv("TENON_EMULATION_DRIVER", "none", 1);
  int count = -1, version = -1;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
  EXPECT_EQ(cudaDriverGetVersion(&version), cudaSuccess);
  EXPECT_EQ(version, 0);
  unsetenv("TENON_EMULATION_DRIVER");
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  EXPECT_EQ(count, 8);
  cudaGetLastError();
}

INSTANTIATE_TEST_SUITE_P(All, Starving, testing::Values("-1", "0", "1"));

TEST_P(Starving, NothingRunsBeforeItIsAskedFor) {
  float *data = floats(1);
  fill(data, {1});
  ASSERT_EQ(launch(add, 1, 1, 0, streams[0], data, 2.0f), cudaSuccess);
  EXPECT_EQ(*data, 1); // Only the emulation can look.
  EXPECT_EQ(cudaStreamQuery(streams[0]), cudaSuccess);
  EXPECT_EQ(*data, 3);
  cudaFree(data);
}

TEST_P(Starving, EventsOrderStreams) {
  float *data = floats(2);
  fill(data, {0, 0});
  cudaEvent_t event = nullptr;
  ASSERT_EQ(cudaEventCreateWithFlags(&event, cudaEventDefault), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess); // Never recorded.
  for (int from : {0, 1}) {
    EXPECT_EQ(launch(add, 1, 1, 0, streams[from], data, 5.0f), cudaSuccess);
    EXPECT_EQ(cudaEventRecord(event, streams[from]), cudaSuccess);
    EXPECT_EQ(cudaStreamWaitEvent(streams[1 - from], event), cudaSuccess);
    EXPECT_EQ(launch(copy, 1, 1, 0, streams[1 - from], data + 1, data), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(streams[1 - from]), cudaSuccess);
    EXPECT_EQ(cudaEventQuery(event), cudaSuccess);
    EXPECT_EQ(data[1], from == 0 ? 5 : 10);
  }
  cudaEventDestroy(event);
  cudaFree(data);
}

TEST_P(Starving, MissingEventShows) {
  float *data = floats(2);
  fill(data, {0, 0});
  launch(add, 1, 1, 0, streams[0], data, 5.0f);
  launch(copy, 1, 1, 0, streams[1], data + 1, data);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  if (GetParam() == std::string("0")) {
    EXPECT_EQ(data[1], 0);
  }
  if (GetParam() == std::string("1")) {
    EXPECT_EQ(data[1], 5);
  }
  cudaFree(data);
}

TEST_P(Starving, CapturedForkAndJoin) {
  float *data = floats(2);
  fill(data, {0, 0});
  cudaEvent_t fork, join, done, begin;
  for (cudaEvent_t *event : {&fork, &join, &done, &begin})
    ASSERT_EQ(cudaEventCreateWithFlags(event, 0), cudaSuccess);
  ASSERT_EQ(cudaStreamBeginCapture(streams[0], cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_EQ(cudaEventRecordWithFlags(begin, streams[0], cudaEventRecordExternal), cudaSuccess);
  EXPECT_EQ(launch(add, 1, 1, 0, streams[0], data, 1.0f), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(fork, streams[0]), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(streams[1], fork), cudaSuccess);
  EXPECT_EQ(launch(copy, 1, 1, 0, streams[1], data + 1, data), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(join, streams[1]), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(streams[0], join), cudaSuccess);
  EXPECT_EQ(launch(add, 1, 1, 0, streams[0], data, 10.0f), cudaSuccess);
  EXPECT_EQ(cudaEventRecordWithFlags(done, streams[0], cudaEventRecordExternal), cudaSuccess);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(streams[0], &graph), cudaSuccess);
  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(fork), cudaErrorCapturedEvent);
  EXPECT_EQ(data[0], 0);
  for (int i = 1; i <= 3; ++i) {
    ASSERT_EQ(cudaGraphLaunch(exec, streams[0]), cudaSuccess);
    EXPECT_EQ(cudaEventQuery(done), cudaErrorNotReady);
    EXPECT_EQ(cudaEventSynchronize(done), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(streams[0]), cudaSuccess);
    EXPECT_EQ(data[0], float(11 * i));
    EXPECT_EQ(data[1], float(11 * i - 10));
    float milliseconds = -1;
    EXPECT_EQ(cudaEventElapsedTime(&milliseconds, begin, done), cudaSuccess);
    EXPECT_GE(milliseconds, 0);
  }
  cudaGraphExecDestroy(exec);
  for (cudaEvent_t event : {fork, join, done, begin})
    cudaEventDestroy(event);
  cudaFree(data);
  cudaGetLastError();
}

TEST_P(Starving, CaptureRules) {
  cudaEvent_t event, before;
  ASSERT_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
  ASSERT_EQ(cudaEventCreateWithFlags(&before, cudaEventDisableTiming), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(before, streams[0]), cudaSuccess);
  cudaGraph_t graph = nullptr;
  auto begin = [&] {
    ASSERT_EQ(cudaStreamBeginCapture(streams[0], cudaStreamCaptureModeThreadLocal), cudaSuccess);
    ASSERT_EQ(launch(nothing, 1, 1, 0, streams[0]), cudaSuccess);
  };
  auto spoiled = [&] {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    EXPECT_EQ(cudaStreamIsCapturing(streams[0], &status), cudaSuccess);
    EXPECT_EQ(status, cudaStreamCaptureStatusInvalidated);
    EXPECT_EQ(launch(nothing, 1, 1, 0, streams[0]), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(cudaStreamEndCapture(streams[0], &graph), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(graph, nullptr);
  };
  void *memory = nullptr;
  begin();
  EXPECT_EQ(cudaMalloc(&memory, 64), cudaErrorStreamCaptureUnsupported);
  spoiled();
  begin();
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  EXPECT_EQ(cudaThreadExchangeStreamCaptureMode(&mode), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&memory, 64), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(cudaThreadExchangeStreamCaptureMode(&mode), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(streams[0]), cudaErrorStreamCaptureUnsupported);
  spoiled();
  begin();
  EXPECT_EQ(cudaStreamWaitEvent(streams[0], before), cudaErrorStreamCaptureIsolation);
  spoiled();
  begin();
  EXPECT_EQ(launch(nothing, 1, 1, 0, streams[1]), cudaErrorStreamCaptureUnsupported);
  spoiled();
  begin();
  EXPECT_EQ(launch(nothing, 1, 1, 0, nullptr), cudaErrorStreamCaptureImplicit);
  spoiled();
  // A stream that is not joined back.
  begin();
  EXPECT_EQ(cudaEventRecord(event, streams[0]), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(streams[1], event), cudaSuccess);
  EXPECT_EQ(launch(nothing, 1, 1, 0, streams[1]), cudaSuccess);
  EXPECT_EQ(cudaStreamEndCapture(streams[0], &graph), cudaErrorStreamCaptureUnjoined);
  // Another thread does not disturb a thread-local capture.
  begin();
  std::thread([&] {
    EXPECT_EQ(cudaMalloc(&memory, 64), cudaSuccess);
    EXPECT_EQ(cudaFree(memory), cudaSuccess);
  }).join();
  EXPECT_EQ(cudaStreamEndCapture(streams[0], &graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  cudaEventDestroy(event);
  cudaEventDestroy(before);
  cudaGetLastError();
}

} // namespace
