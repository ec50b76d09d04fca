// SPDX-License-Identifier: Apache-2.0
// The emulated libraries: a cuBLASLt matmul against a naive one, and NCCL's collectives between
// threads, between processes, and where ranks do not fit together.
#include "cublasLt.h"
#include "nccl.h"

#include <cstdlib>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

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

TEST(CublasLt, MatMulWithEpilogue) {
  const int64_t m = 5, n = 7, k = 9, lda = 12, ldb = 8, ldd = 6;
  // A is k x m and transposed, B is n x k and transposed, D is m x n; all column by column.
  std::vector<float> a(size_t(lda * m)), b(size_t(ldb * k)), bias(m);
  for (size_t i = 0; i < a.size(); ++i)
    a[i] = float(i % 13) - 6;
  for (size_t i = 0; i < b.size(); ++i)
    b[i] = float(i % 7) - 3;
  for (size_t i = 0; i < bias.size(); ++i)
    bias[i] = float(i);
  float *A = floats(a.size()), *B = floats(b.size()), *bias_ = floats(bias.size());
  float *D = floats(size_t(ldd * n)), *workspace = floats(256);
  fill(A, a), fill(B, b), fill(bias_, bias);
  cublasLtHandle_t handle;
  cublasLtMatmulDesc_t desc;
  cublasLtMatrixLayout_t la, lb, ld, wrong;
  cublasLtMatmulPreference_t preference;
  ASSERT_EQ(cublasLtCreate(&handle), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), CUBLAS_STATUS_SUCCESS);
  cublasOperation_t transposed = CUBLAS_OP_T;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_RELU_BIAS;
  auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto &value) {
    ASSERT_EQ(cublasLtMatmulDescSetAttribute(desc, attribute, &value, sizeof(value)),
              CUBLAS_STATUS_SUCCESS);
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, transposed);
  set(CUBLASLT_MATMUL_DESC_TRANSB, transposed);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
  set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias_);
  ASSERT_EQ(cublasLtMatrixLayoutCreate(&la, CUDA_R_32F, k, m, lda), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(cublasLtMatrixLayoutCreate(&lb, CUDA_R_32F, n, k, ldb), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(cublasLtMatrixLayoutCreate(&ld, CUDA_R_32F, m, n, ldd), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(cublasLtMatrixLayoutCreate(&wrong, CUDA_R_32F, m, n, m - 1), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(cublasLtMatmulPreferenceCreate(&preference), CUBLAS_STATUS_SUCCESS);
  uint64_t room = 1024;
  ASSERT_EQ(cublasLtMatmulPreferenceSetAttribute(
                preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room, sizeof(room)),
            CUBLAS_STATUS_SUCCESS);
  cublasLtMatmulHeuristicResult_t results[4];
  int count = 0;
  EXPECT_EQ(cublasLtMatmulAlgoGetHeuristic(handle, desc, la, lb, wrong, wrong, preference, 4,
                                           results, &count),
            CUBLAS_STATUS_INVALID_VALUE);
  ASSERT_EQ(
      cublasLtMatmulAlgoGetHeuristic(handle, desc, la, lb, ld, ld, preference, 4, results, &count),
      CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(count, 2);
  const float alpha = 0.5f, beta = 0;
  for (int algo = 0; algo < count; ++algo) {
    EXPECT_EQ(cublasLtMatmul(handle, desc, &alpha, A, la, B, lb, &beta, D, ld, D, ld,
                             &results[algo].algo, nullptr, 0, nullptr),
              CUBLAS_STATUS_INVALID_VALUE);
    EXPECT_EQ(cublasLtMatmul(handle, desc, &alpha, A, la, B, lb, &beta, D, ld, D, ld,
                             &results[algo].algo, workspace, 1024, nullptr),
              CUBLAS_STATUS_SUCCESS);
    std::vector<float> d = read(D, size_t(ldd * n));
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        float sum = 0;
        for (int64_t x = 0; x < k; ++x)
          sum += a[size_t(x + i * lda)] * b[size_t(j + x * ldb)];
        EXPECT_EQ(d[size_t(i + j * ldd)], std::max(0.0f, sum / 2 + bias[size_t(i)]));
      }
  }
  cublasLtMatmulPreferenceDestroy(preference);
  for (cublasLtMatrixLayout_t layout : {la, lb, ld, wrong})
    cublasLtMatrixLayoutDestroy(layout);
  cublasLtMatmulDescDestroy(desc);
  cublasLtDestroy(handle);
  for (float *memory : {A, B, bias_, D, workspace})
    cudaFree(memory);
}

/// Runs `body(rank, comm, stream)` on one thread per rank.
template <typename Body> void onRanks(int ranks, int blocking, Body body) {
  ncclUniqueId id;
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([=] {
      ASSERT_EQ(cudaSetDevice(rank), cudaSuccess);
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.blocking = blocking;
      ncclComm_t comm = nullptr;
      ncclResult_t result = ncclCommInitRankConfig(&comm, ranks, id, rank, &config);
      EXPECT_EQ(result, blocking ? ncclSuccess : ncclInProgress);
      auto finish = [comm](ncclResult_t pending) {
        while (pending == ncclInProgress)
          EXPECT_EQ(ncclCommGetAsyncError(comm, &pending), ncclSuccess);
        EXPECT_EQ(pending, ncclSuccess);
      };
      finish(result);
      cudaStream_t stream = nullptr;
      ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
      body(rank, comm, stream, finish);
      finish(ncclCommFinalize(comm));
      EXPECT_EQ(ncclCommDestroy(comm), ncclSuccess);
      EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
    });
  for (std::thread &thread : threads)
    thread.join();
}

TEST(Nccl, CollectivesBetweenThreads) {
  for (int blocking : {0, 1})
    for (size_t count : {size_t(1), size_t(5), size_t(100003)})
      onRanks(3, blocking, [=](int rank, ncclComm_t comm, cudaStream_t stream, auto finish) {
        float *x = floats(count * 3), *y = floats(count * 3);
        std::vector<float> values(count * 3);
        for (size_t i = 0; i < values.size(); ++i)
          values[i] = float(i % 1000) * float(rank + 1);
        fill(x, values);
        auto check = [&](size_t size, auto expected) {
          EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
          std::vector<float> out = read(y, size);
          size_t wrong = 0;
          for (size_t i = 0; i < size; ++i)
            wrong += out[i] != expected(i);
          EXPECT_EQ(wrong, 0u);
        };
        finish(ncclAllReduce(x, y, count, ncclFloat32, ncclSum, comm, stream));
        check(count, [](size_t i) { return float(i % 1000) * 6; });
        finish(ncclAllGather(x, y, count, ncclFloat32, comm, stream));
        check(count * 3, [&](size_t i) { return float(i % count % 1000) * float(i / count + 1); });
        finish(ncclReduceScatter(x, y, count, ncclFloat32, ncclMax, comm, stream));
        check(count, [&](size_t i) { return float((i + size_t(rank) * count) % 1000) * 3; });
        EXPECT_EQ(ncclGroupStart(), ncclSuccess);
        for (int peer = 0; peer < 3; ++peer) {
          EXPECT_EQ(ncclSend(x + size_t(peer) * count, count, ncclFloat32, peer, comm, stream),
                    ncclSuccess);
          EXPECT_EQ(ncclRecv(y + size_t(peer) * count, count, ncclFloat32, peer, comm, stream),
                    ncclSuccess);
        }
        finish(ncclGroupEnd());
        check(count * 3, [&](size_t i) {
          return float((i % count + size_t(rank) * count) % 1000) * float(i / count + 1);
        });
        finish(ncclBroadcast(x, y, count, ncclFloat32, 2, comm, stream));
        check(count, [](size_t i) { return float(i % 1000) * 3; });
        // In place, and replayed.
        cudaGraph_t graph = nullptr;
        cudaGraphExec_t exec = nullptr;
        EXPECT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
        finish(ncclAllReduce(y, y, count, ncclFloat32, ncclSum, comm, stream));
        EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
        EXPECT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
        for (int i = 0; i < 2; ++i)
          EXPECT_EQ(cudaGraphLaunch(exec, stream), cudaSuccess);
        check(count, [](size_t i) { return float(i % 1000) * 27; });
        cudaGraphExecDestroy(exec);
        cudaGraphDestroy(graph);
        cudaFree(x);
        cudaFree(y);
      });
}

// Two processes that share a GPU and pass for two hosts.
TEST(Nccl, Processes) {
  ncclUniqueId id;
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  auto run = [&](int rank) {
    setenv("NCCL_HOSTID", rank ? "one" : "zero", 1);
    ncclComm_t comm = nullptr;
    if (ncclCommInitRank(&comm, 2, id, rank) != ncclSuccess)
      return false;
    float *data = floats(10000);
    fill(data, std::vector<float>(10000, float(rank + 1)));
    bool right =
        ncclAllReduce(data, data, 10000, ncclFloat32, ncclSum, comm, nullptr) == ncclSuccess &&
        read(data, 10000) == std::vector<float>(10000, 3);
    (void)cudaFree(data);
    return ncclCommDestroy(comm) == ncclSuccess && right;
  };
  pid_t child = fork();
  if (child == 0)
    _exit(run(1) ? 0 : 1);
  EXPECT_TRUE(run(0));
  unsetenv("NCCL_HOSTID");
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// Counts that differ hang, as with NCCL, and write nothing outside.
TEST(Nccl, DifferentCounts) {
  ncclUniqueId id;
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank)
    threads.emplace_back([=] {
      cudaSetDevice(rank);
      ncclComm_t comm = nullptr;
      EXPECT_EQ(ncclCommInitRank(&comm, 2, id, rank), ncclSuccess);
      const size_t count = rank ? 64 : 32;
      float *data = floats(count);
      EXPECT_EQ(ncclAllReduce(data, data, count, ncclFloat32, ncclSum, comm, nullptr), ncclSuccess);
      for (int i = 0; i < 100; ++i)
        EXPECT_EQ(cudaStreamQuery(nullptr), cudaErrorNotReady);
      EXPECT_EQ(ncclCommAbort(comm), ncclSuccess);
      EXPECT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
      EXPECT_EQ(cudaFree(data), cudaSuccess);
    });
  for (std::thread &thread : threads)
    thread.join();
}

TEST(Nccl, DuplicateGpu) {
  ncclUniqueId id;
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank)
    threads.emplace_back([=] {
      cudaSetDevice(1);
      ncclComm_t comm = nullptr;
      EXPECT_EQ(ncclCommInitRank(&comm, 2, id, rank), ncclInvalidUsage);
      EXPECT_NE(std::string(ncclGetLastError(nullptr)).find("Duplicate GPU"), std::string::npos);
    });
  for (std::thread &thread : threads)
    thread.join();
}

} // namespace
