// SPDX-License-Identifier: Apache-2.0
#include "NamedPins.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

/// The names that transformers knows for what a plan can say; those for gradients and for experts
/// say something else.
static std::optional<PinStyle> styleOf(StringRef word) {
  static const llvm::StringMap<PinStyle> words{{"colwise", PinStyle::Column},
                                               {"colwise_rep", PinStyle::Column},
                                               {"colwise_gather_output", PinStyle::Column},
                                               {"packed_colwise", PinStyle::Column},
                                               {"embedding_colwise", PinStyle::Column},
                                               {"rowwise", PinStyle::Row},
                                               {"rowwise_rep", PinStyle::Row},
                                               {"rowwise_split_input", PinStyle::Row},
                                               {"packed_rowwise", PinStyle::Row},
                                               {"embedding_rowwise", PinStyle::Row},
                                               {"sequence_parallel", PinStyle::Sequence},
                                               {"replicate", PinStyle::Replicated},
                                               {"replicated", PinStyle::Replicated}};
  auto at = words.find(word);
  return at == words.end() ? std::nullopt : std::optional(at->second);
}

std::optional<std::vector<NamedPin>> tenon::layerPlan(ModuleOp module) {
  auto plan = module->getAttrOfType<DictionaryAttr>(kLayerPlanAttr);
  if (!plan)
    return std::nullopt;
  std::vector<NamedPin> pins;
  for (NamedAttribute entry : plan)
    if (std::optional<PinStyle> style = styleOf(cast<StringAttr>(entry.getValue())))
      pins.push_back({entry.getName().str(), *style});
  return pins;
}

std::optional<std::vector<NamedPin>> tenon::readPins(const std::string &path, std::string &error) {
  auto file = llvm::MemoryBuffer::getFile(path);
  if (!file) {
    error = "cannot read the pins '" + path + "': " + file.getError().message();
    return std::nullopt;
  }
  llvm::Expected<llvm::json::Value> json = llvm::json::parse((*file)->getBuffer());
  if (!json) {
    error = path + ": " + llvm::toString(json.takeError());
    return std::nullopt;
  }
  const llvm::json::Object *object = json->getAsObject();
  if (!object) {
    error = path + ": expected an object of patterns and styles";
    return std::nullopt;
  }
  std::vector<NamedPin> pins;
  for (const auto &[pattern, value] : *object) {
    auto word = value.getAsString();
    std::optional<PinStyle> style = styleOf(word.value_or(""));
    if (!style) {
      error = path + ": '" + pattern.str() +
              "': expected colwise, rowwise, sequence_parallel or replicate, found " +
              (word ? word->str() : std::string("no string"));
      return std::nullopt;
    }
    pins.push_back({pattern.str(), *style});
  }
  // Objects have no order; messages should.
  llvm::sort(pins, [](const NamedPin &a, const NamedPin &b) { return a.pattern < b.pattern; });
  return pins;
}

static bool matchesWhole(StringRef pattern, StringRef text) {
  const size_t star = pattern.find('*');
  if (star == StringRef::npos)
    return pattern == text;
  if (!text.consume_front(pattern.take_front(star)))
    return false;
  pattern = pattern.drop_front(star + 1);
  for (size_t length = 0; length <= text.size(); ++length) {
    if (matchesWhole(pattern, text.drop_front(length)))
      return true;
    if (length < text.size() && text[length] == '.')
      break;
  }
  return false;
}

bool tenon::matches(StringRef pattern, StringRef layer) {
  for (;;) {
    if (matchesWhole(pattern, layer))
      return true;
    const size_t dot = layer.find('.');
    if (dot == StringRef::npos)
      return false;
    layer = layer.drop_front(dot + 1);
  }
}

std::string tenon::layerOf(Operation *op) {
  std::string name;
  op->getLoc()->walk([&](Location loc) {
    if (auto named = dyn_cast<NameLoc>(loc)) {
      name = named.getName().str();
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  return name;
}

static bool isWeight(Value value) {
  return isa_and_nonnull<ml_program::GlobalLoadConstOp>(value.getDefiningOp());
}

/// Operand number of a matmul's weight, or -1.
static int weightOf(MatMulOp matmul) {
  return isWeight(matmul.getRhs()) ? 1 : isWeight(matmul.getLhs()) ? 0 : -1;
}

/// True when the value is made from a matmul or attention, with nothing in between that needs it
/// whole: a norm, a lookup, a residual sum.
static bool followsCutValues(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (isa<MatMulOp, AttentionOp, SdpaOp>(op))
      return true;
    if (isa<LayerNormOp, RmsNormOp, EmbeddingOp, ml_program::GlobalLoadConstOp, ConstantOp>(op) ||
        op->getNumOperands() == 0)
      return false;
    auto made = [](Value operand) {
      return !isWeight(operand) && !isa_and_nonnull<ConstantOp>(operand.getDefiningOp());
    };
    auto binary = dyn_cast<BinaryOp>(op);
    if (binary && binary.getKind() == BinaryKind::Add && made(binary.getLhs()) &&
        made(binary.getRhs()))
      return false;
    auto next = llvm::find_if(op->getOperands(), made);
    if (next == op->operand_end())
      return false;
    value = *next;
  }
  return false;
}

std::optional<PinStyle> tenon::megatronStyle(Operation *op) {
  if (auto matmul = dyn_cast<MatMulOp>(op)) {
    const int weight = weightOf(matmul);
    if (weight < 0)
      return std::nullopt;
    return followsCutValues(matmul->getOperand(1 - weight)) ? PinStyle::Row : PinStyle::Column;
  }
  if (auto lookup = dyn_cast<EmbeddingOp>(op))
    return isWeight(lookup.getTable()) ? std::optional(PinStyle::Row) : std::nullopt;
  // Norms of single heads lie between cut values.
  if (isa<LayerNormOp, RmsNormOp>(op))
    return cast<RankedTensorType>(op->getResult(0).getType()).getRank() <= 3
               ? std::optional(PinStyle::Replicated)
               : std::nullopt;
  return std::nullopt;
}

/// Which of the rule's factors the style cuts; nullopt when it says nothing about the op.
static std::optional<std::vector<bool>> wantedFactors(Operation *op, PinStyle style,
                                                      const sharding::Rule &rule) {
  std::vector<bool> wanted(rule.factors.size(), false);
  auto want = [&](StringRef name) {
    for (auto [index, factor] : llvm::enumerate(rule.factors))
      wanted[index] = wanted[index] || name == factor.name;
  };
  const bool norm = isa<LayerNormOp, RmsNormOp>(op);
  if (style == PinStyle::Replicated)
    return norm || isa<MatMulOp, EmbeddingOp>(op) ? std::optional(wanted) : std::nullopt;
  if (style == PinStyle::Sequence) {
    if (!norm || rule.results[0].size() < 2)
      return std::nullopt;
    for (int factor : rule.results[0][1])
      wanted[factor] = true;
    return wanted;
  }
  if (auto matmul = dyn_cast<MatMulOp>(op)) {
    const int weight = weightOf(matmul);
    FailureOr<Einsum> einsum = parseEinsum(matmul.getEinsum());
    if (weight < 0 || failed(einsum))
      return std::nullopt;
    const std::string &own = weight == 0 ? einsum->lhs : einsum->rhs;
    // [b,s,..,heads,depth]: a head is not cut.
    const bool heads = einsum->result.size() >= 4;
    const bool joins = own.size() >= 3 && !heads;
    for (char letter : own) {
      const bool kept = einsum->result.find(letter) != std::string::npos;
      const bool depth = (heads && letter == einsum->result.back()) ||
                         (joins && letter == (weight == 0 ? einsum->rhs : einsum->lhs).back());
      if (kept == (style == PinStyle::Column) && !depth)
        want(std::string(1, letter));
    }
    return wanted;
  }
  if (isa<EmbeddingOp>(op)) {
    for (auto [index, factor] : llvm::enumerate(rule.factors))
      wanted[index] =
          style == PinStyle::Row ? factor.name == "v" : StringRef(factor.name).starts_with("h");
    return wanted;
  }
  return std::nullopt;
}

std::optional<std::vector<int>>
tenon::strategiesOf(Operation *op, PinStyle style, const sharding::Rule &rule,
                    const std::vector<sharding::Strategy> &strategies, const sharding::Mesh &mesh) {
  const std::optional<std::vector<bool>> wanted = wantedFactors(op, style, rule);
  if (!wanted)
    return std::nullopt;
  std::vector<int> best;
  int64_t most = style == PinStyle::Replicated ? 1 : 2;
  for (auto [index, strategy] : llvm::enumerate(strategies)) {
    int64_t ranks = 1;
    bool others = !strategy.partial.empty();
    for (size_t f = 0; f < rule.factors.size(); ++f) {
      others |= !(*wanted)[f] && !strategy.factorAxes[f].empty();
      ranks *= mesh.size(strategy.factorAxes[f]);
    }
    if (others || ranks < most)
      continue;
    if (ranks > most)
      best.clear();
    most = ranks;
    best.push_back(static_cast<int>(index));
  }
  return best;
}
