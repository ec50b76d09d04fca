// SPDX-License-Identifier: Apache-2.0
// The table of one level.
#include "RowFamilies.h"

namespace tenon::runtime::cpu {

const RowKernels &TENON_ISA_TABLE() {
  using namespace TENON_ISA;
  static const RowKernels table = {
      loadRow,   storeRow,      unaryRow,     binaryRow,           selectRow, powerRow,
      reduceRow, accumulateRow, softmaxRow,   expSumRow,           scaleRow,  normRow,
      ropeRow,   panelWidth,    productPanel, packTransposedPanel, dotRows,   addRows,
  };
  return table;
}

} // namespace tenon::runtime::cpu
