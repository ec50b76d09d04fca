// SPDX-License-Identifier: Apache-2.0
#include "MatMulAlgorithms.h"

#include "tenon/runtime/AtomicFile.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace tenon::runtime::cuda {
namespace {

// What cuBLASLt's algorithms for Hopper ask for; a workspace of another size would change the
// choice.
constexpr int64_t kWorkspaceBytes = int64_t(32) << 20;
constexpr int kCandidates = 8;
constexpr int kTimedRuns = 5;
// Operands of up to this many ops of one shape take turns, so that weights come from memory and not
// from the cache as they do in a step.
constexpr size_t kExamples = 16;

cudaDataType_t cudaType(plan::DataType type) {
  return type == plan::DataType::BF16  ? CUDA_R_16BF
         : type == plan::DataType::F16 ? CUDA_R_16F
                                       : CUDA_R_32F;
}

std::string hex(const cublasLtMatmulAlgo_t &algorithm) {
  std::string text;
  char digits[3];
  for (size_t i = 0; i < sizeof(algorithm); ++i) {
    std::snprintf(digits, sizeof(digits), "%02x",
                  reinterpret_cast<const unsigned char *>(&algorithm)[i]);
    text += digits;
  }
  return text;
}

bool fromHex(const std::string &text, cublasLtMatmulAlgo_t &algorithm) {
  if (text.size() != 2 * sizeof(algorithm) ||
      text.find_first_not_of("0123456789abcdef") != std::string::npos)
    return false;
  for (size_t i = 0; i < sizeof(algorithm); ++i)
    reinterpret_cast<unsigned char *>(&algorithm)[i] =
        static_cast<unsigned char>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
  return true;
}

/// Lines "KEY ALGORITHM", keys without spaces.
std::map<std::string, cublasLtMatmulAlgo_t> parse(const std::string &text) {
  std::map<std::string, cublasLtMatmulAlgo_t> choices;
  std::istringstream in(text);
  std::string key, algorithm;
  while (in >> key >> algorithm)
    if (cublasLtMatmulAlgo_t parsed = {}; fromHex(algorithm, parsed))
      choices[key] = parsed;
  return choices;
}

} // namespace

Status statusOf(cublasStatus_t error, const std::string &what) {
  if (error == CUBLAS_STATUS_SUCCESS)
    return Status();
  return Status(error == CUBLAS_STATUS_ALLOC_FAILED ? Code::Memory : Code::Device,
                what + ": cuBLASLt: " + cublasLtGetStatusString(error) + " (" +
                    cublasLtGetStatusName(error) + ")");
}

std::string ProductShape::key() const {
  std::ostringstream text;
  text << plan::name(in) << '-' << plan::name(out) << (tf32 ? "-tf32" : "") << ':' << m << 'x' << n
       << 'x' << k << 'x' << batch << ':' << (aTransposed ? 't' : 'n') << (bTransposed ? 't' : 'n')
       << ':' << lda << ',' << ldb << ',' << (adds ? ldc : 0) << ',' << ldd << ':' << aStep << ','
       << bStep << ',' << (adds ? cStep : 0) << ',' << dStep << ":e" << int(epilogue)
       << (adds ? "+c" : "") << ":a" << aAlignment << ',' << bAlignment << ',' << cAlignment << ','
       << dAlignment;
  return text.str();
}

Product::~Product() {
  for (cublasLtMatrixLayout_t layout : {a, b, c, d})
    if (layout)
      (void)cublasLtMatrixLayoutDestroy(layout);
  if (description)
    (void)cublasLtMatmulDescDestroy(description);
}

MatMulAlgorithms::~MatMulAlgorithms() {
  products_.clear();
  if (handle_)
    (void)cublasLtDestroy(handle_);
}

Status MatMulAlgorithms::open() {
  if (handle_)
    return Status();
  if (Status status = statusOf(cublasLtCreate(&handle_), "cublasLtCreate"); !status)
    return status;
  Expected<Allocation> workspace = Allocation::make(kWorkspaceBytes);
  if (!workspace)
    return workspace.status();
  workspace_ = std::move(*workspace);
  readCache();
  return Status();
}

Status MatMulAlgorithms::describe(Product &product) {
  const ProductShape &shape = product.shape;
  const bool exact = shape.in != plan::DataType::F32 || !shape.tf32;
  cublasComputeType_t compute = exact ? CUBLAS_COMPUTE_32F : CUBLAS_COMPUTE_32F_FAST_TF32;
  if (Status status = statusOf(cublasLtMatmulDescCreate(&product.description, compute, CUDA_R_32F),
                               "matmul description");
      !status)
    return status;
  auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto &value) {
    return statusOf(
        cublasLtMatmulDescSetAttribute(product.description, attribute, &value, sizeof(value)),
        "matmul attribute");
  };
  cublasOperation_t a = shape.aTransposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  cublasOperation_t b = shape.bTransposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  Status status = set(CUBLASLT_MATMUL_DESC_TRANSA, a);
  if (status)
    status = set(CUBLASLT_MATMUL_DESC_TRANSB, b);
  if (status)
    status = set(CUBLASLT_MATMUL_DESC_EPILOGUE, shape.epilogue);
  if (status && shape.bias)
    status = set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, cudaType(shape.out));
  auto layout = [&](cublasLtMatrixLayout_t &made, plan::DataType type, int64_t rows,
                    int64_t columns, int64_t ld, int64_t step) {
    if (status)
      status = statusOf(
          cublasLtMatrixLayoutCreate(&made, cudaType(type), uint64_t(rows), uint64_t(columns), ld),
          "matrix layout");
    const int32_t batch = int32_t(shape.batch);
    if (status && shape.batch > 1)
      status = statusOf(cublasLtMatrixLayoutSetAttribute(made, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                                                         &batch, sizeof(batch)),
                        "matrix layout");
    if (status && shape.batch > 1)
      status = statusOf(cublasLtMatrixLayoutSetAttribute(
                            made, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof(step)),
                        "matrix layout");
  };
  layout(product.a, shape.in, shape.aTransposed ? shape.k : shape.m,
         shape.aTransposed ? shape.m : shape.k, shape.lda, shape.aStep);
  layout(product.b, shape.in, shape.bTransposed ? shape.n : shape.k,
         shape.bTransposed ? shape.k : shape.n, shape.ldb, shape.bStep);
  layout(product.c, shape.out, shape.m, shape.n, shape.adds ? shape.ldc : shape.ldd,
         shape.adds ? shape.cStep : shape.dStep);
  layout(product.d, shape.out, shape.m, shape.n, shape.ldd, shape.dStep);
  return status;
}

Status MatMulAlgorithms::propose(Product &product) {
  cublasLtMatmulPreference_t preference = nullptr;
  Status status = statusOf(cublasLtMatmulPreferenceCreate(&preference), "matmul preference");
  if (!status)
    return status;
  auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto &value) {
    if (status)
      status = statusOf(
          cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)),
          "matmul preference");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t(kWorkspaceBytes));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, uint32_t(product.shape.aAlignment));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, uint32_t(product.shape.bAlignment));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, uint32_t(product.shape.cAlignment));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, uint32_t(product.shape.dAlignment));
  cublasLtMatmulHeuristicResult_t results[kCandidates] = {};
  int found = 0;
  if (status) {
    // No algorithm is an answer, not a failure; some versions return success and none.
    cublasStatus_t asked = cublasLtMatmulAlgoGetHeuristic(handle_, product.description, product.a,
                                                          product.b, product.c, product.d,
                                                          preference, kCandidates, results, &found);
    if (asked != CUBLAS_STATUS_SUCCESS)
      found = 0;
    if (asked != CUBLAS_STATUS_SUCCESS && asked != CUBLAS_STATUS_NOT_SUPPORTED)
      status = statusOf(asked, "matmul heuristic");
  }
  (void)cublasLtMatmulPreferenceDestroy(preference);
  for (int i = 0; i < found && status; ++i)
    if (results[i].state == CUBLAS_STATUS_SUCCESS && results[i].workspaceSize <= kWorkspaceBytes)
      product.candidates.push_back(results[i].algo);
  return status;
}

Expected<Product *> MatMulAlgorithms::get(const ProductShape &shape,
                                          const ProductOperands &example) {
  if (Status status = open(); !status)
    return status;
  const std::string key = shape.key();
  std::unique_ptr<Product> &product = products_[key];
  if (!product) {
    product = std::make_unique<Product>();
    product->key = key;
    product->shape = shape;
    Status status = describe(*product);
    if (status)
      status = propose(*product);
    if (!status) {
      products_.erase(key);
      return status;
    }
    if (!product->candidates.empty())
      product->algorithm = product->candidates.front();
  }
  if (product->candidates.empty())
    return static_cast<Product *>(nullptr);
  if (std::vector<ProductOperands> &examples = examples_[key]; examples.size() < kExamples)
    examples.push_back(example);
  return product.get();
}

cublasStatus_t MatMulAlgorithms::enqueue(const Product &product, const ProductOperands &operands,
                                         const cublasLtMatmulAlgo_t &algorithm,
                                         cudaStream_t stream) {
  if (product.shape.bias) {
    // The description belongs to the shape; the address is read when the product is enqueued.
    cublasStatus_t set =
        cublasLtMatmulDescSetAttribute(product.description, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                       &operands.bias, sizeof(operands.bias));
    if (set != CUBLAS_STATUS_SUCCESS)
      return set;
  }
  const float one = 1, beta = product.shape.adds ? 1 : 0;
  return cublasLtMatmul(handle_, product.description, &one, operands.a, product.a, operands.b,
                        product.b, &beta, product.shape.adds ? operands.c : operands.d, product.c,
                        operands.d, product.d, &algorithm, workspace_.data(),
                        size_t(workspace_.bytes()), stream);
}

// Takes the candidate with the shortest run: noise only adds.
Status MatMulAlgorithms::time(Product &product, cudaStream_t stream) {
  const std::vector<ProductOperands> &examples = examples_[product.key];
  cudaEvent_t begin = nullptr, end = nullptr;
  Status status = statusOf(cudaEventCreateWithFlags(&begin, cudaEventDefault), "timing matmul");
  if (status)
    status = statusOf(cudaEventCreateWithFlags(&end, cudaEventDefault), "timing matmul");
  float best = -1;
  for (const cublasLtMatmulAlgo_t &candidate : product.candidates) {
    if (!status)
      break;
    float shortest = -1;
    bool runs = true;
    for (int run = 0; run <= kTimedRuns && runs && status; ++run) {
      const ProductOperands &operands = examples[size_t(run) % examples.size()];
      status = statusOf(cudaEventRecord(begin, stream), "timing matmul");
      // A candidate that the library refuses is no failure of the op.
      runs = enqueue(product, operands, candidate, stream) == CUBLAS_STATUS_SUCCESS;
      if (status)
        status = statusOf(cudaEventRecord(end, stream), "timing matmul");
      if (status)
        status = statusOf(cudaEventSynchronize(end), "timing matmul");
      float milliseconds = 0;
      if (status)
        status = statusOf(cudaEventElapsedTime(&milliseconds, begin, end), "timing matmul");
      // The first run loads the kernel.
      if (run > 0 && (shortest < 0 || milliseconds < shortest))
        shortest = milliseconds;
    }
    if (runs && status && (best < 0 || shortest < best)) {
      best = shortest;
      product.algorithm = candidate;
    }
  }
  for (cudaEvent_t event : {begin, end})
    if (event)
      (void)cudaEventDestroy(event);
  if (status && best < 0)
    return Status(Code::Device, "cuBLASLt runs none of its algorithms for " + product.key);
  return status;
}

Status MatMulAlgorithms::settle(Communicator &mesh, cudaStream_t stream) {
  Status mine;
  std::string choices;
  if (mesh.rank() == 0) {
    bool chose = false;
    for (auto &[key, product] : products_) {
      if (product->candidates.empty() || !mine)
        continue;
      auto known = known_.find(key);
      cublasLtMatmulHeuristicResult_t result = {};
      const bool usable =
          known != known_.end() &&
          cublasLtMatmulAlgoCheck(handle_, product->description, product->a, product->b, product->c,
                                  product->d, &known->second, &result) == CUBLAS_STATUS_SUCCESS &&
          result.workspaceSize <= size_t(kWorkspaceBytes);
      if (usable) {
        product->algorithm = known->second;
      } else if (product->candidates.size() > 1) {
        mine = time(*product, stream);
        known_[key] = product->algorithm;
        chose = true;
      }
      choices += key + " " + hex(product->algorithm) + "\n";
    }
    if (chose && mine)
      writeCache();
  }
  Expected<std::vector<std::string>> all = mesh.gatherStrings(choices);
  if (!all)
    return all.status();
  if (!mine)
    return mine;
  for (const auto &[key, algorithm] : parse((*all)[0])) {
    auto found = products_.find(key);
    if (found == products_.end())
      continue;
    Product &product = *found->second;
    cublasLtMatmulHeuristicResult_t result = {};
    Status status =
        statusOf(cublasLtMatmulAlgoCheck(handle_, product.description, product.a, product.b,
                                         product.c, product.d, &algorithm, &result),
                 "the algorithm that rank 0 chose for " + key);
    if (!status)
      return Status(Code::Disagree, status.message());
    product.algorithm = algorithm;
  }
  examples_.clear();
  return Status();
}

std::string MatMulAlgorithms::cacheFile() const {
  if (context_.cacheFolder.empty())
    return "";
  std::string name = context_.gpuName;
  for (char &c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)))
      c = '-';
  return context_.cacheFolder + "/matmul-" + name + "-cublaslt-" +
         std::to_string(cublasLtGetVersion()) + ".txt";
}

void MatMulAlgorithms::readCache() {
  std::ifstream in(cacheFile());
  std::stringstream text;
  text << in.rdbuf();
  known_ = parse(text.str());
}

// A cache that cannot be written costs the next run its time, nothing else.
void MatMulAlgorithms::writeCache() const {
  const std::string file = cacheFile();
  std::error_code error;
  if (file.empty() || (!std::filesystem::create_directories(context_.cacheFolder, error) && error))
    return;
  std::string text;
  for (const auto &[key, algorithm] : known_)
    text += key + " " + hex(algorithm) + "\n";
  std::ignore = writeFileAtomically(file, text.data(), text.size(), nullptr, 0);
}

} // namespace tenon::runtime::cuda
